"""Add our answers and our endpoints to drf-spectacular's document."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any, Final

from django.urls import get_script_prefix, get_urlconf
from django.utils.translation import get_language
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import spectacular_settings

from ciam_django.conf import cached_until_settings_change
from ciam_django.drf.authentication import CiamBearerAuthentication
from ciam_django.drf.openapi_answers import (
    PROBLEM,
    SETTINGS_OF_DOCUMENT,
    answer_statuses,
    problem_component,
    problem_responses,
    response_reference,
)
from ciam_django.drf.openapi_endpoints import (
    CSRF_SCHEME,
    endpoint_components,
    endpoint_paths,
    load_available_steps,
)
from ciam_django.drf.permissions import HasScope
from ciam_django.drf.scopes import required_scopes

# The statuses with which a request with a bearer token can fail.
_BEARER_STATUSES: Final = (401, 403, 429, 500, 503)


class CiamAutoSchema(AutoSchema):
    """Document the answers to bearer tokens; for REST framework's ``DEFAULT_SCHEMA_CLASS``.

    Responses that a project documents with ``extend_schema`` do not change.
    """

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Return the operation.

        An operation that accepts CIAM's tokens has our answers. An operation with ``HasScope``
        has the scopes in its description.
        """
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        authenticators = self.view.get_authenticators()
        if any(isinstance(each, CiamBearerAuthentication) for each in authenticators):
            for status in set(_BEARER_STATUSES) & set(answer_statuses()):
                operation["responses"].setdefault(str(status), response_reference(status))
        if any(isinstance(each, HasScope) for each in self.view.get_permissions()):
            scopes = ", ".join(f"`{scope}`" for scope in required_scopes(self.view, self.method))
            description = operation.get("description", "")
            needed = f"A bearer token needs: {scopes or 'nothing'}."
            operation["description"] = f"{description}\n\n{needed}".strip()
        return operation


class CiamBearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as above
    """Document ``CiamBearerAuthentication``, so that the document's pages can send a token."""

    target_class = "ciam_django.drf.authentication.CiamBearerAuthentication"
    name = "CiamBearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Return the security scheme of bearer tokens (RFC 6750)."""
        return {"type": "http", "scheme": "bearer"}


def with_ciam(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add our answers and endpoints to a document; for ``POSTPROCESSING_HOOKS``.

    The setting is in ``SPECTACULAR_SETTINGS``. Returns a new document. The paths of the endpoints
    are in it where the project includes ``ciam_django.urls``. Where the project uses a name of
    ours, the project's definition stays.
    """
    ours = _our_part(
        get_language(),
        get_urlconf(),
        get_script_prefix(),
        str(spectacular_settings.OAS_VERSION),
        load_available_steps(),
    )
    # Each document has its own objects, because a later hook may change them.
    merged: dict[str, Any] = _merged_schema(result, pickle.loads(ours))  # noqa: S301  (our own bytes)
    return merged


@cached_until_settings_change(*SETTINGS_OF_DOCUMENT)
def _our_part(
    language: str | None, urlconf: Any, prefix: str, version: str, steps: tuple[str, ...]
) -> bytes:
    """Return our part of a document, pickled; it depends on the arguments and on the settings.

    A pickle is read in half the time of JSON.
    """
    ours = {"paths": endpoint_paths(), "components": {"schemas": {PROBLEM: problem_component()}}}
    ours["components"]["responses"] = problem_responses()
    if ours["paths"]:
        ours["components"]["schemas"] |= endpoint_components()
        header = {"type": "apiKey", "in": "header", "name": "X-CSRFToken"}
        ours["components"]["securitySchemes"] = {CSRF_SCHEME: header}
    # JSON makes plain texts of the enums, and separate objects of the parts that occur twice.
    return pickle.dumps(json.loads(json.dumps(_in_openapi_version(ours, version))))


def _merged_schema(result: Any, ours: Any) -> Any:
    """Return both documents merged; the project's members override ours of the same name."""
    if not isinstance(result, Mapping) or not isinstance(ours, Mapping):
        return result
    merged = {name: _merged_schema(member, ours.get(name)) for name, member in result.items()}
    return {**ours, **merged}


def _in_openapi_version(node: Any, version: str) -> Any:
    """Write ``nullable`` as OpenAPI 3.1 does, in the type, where the document has that version."""
    if isinstance(node, list):
        return [_in_openapi_version(each, version) for each in node]
    if not isinstance(node, Mapping):
        return node
    converted = {name: _in_openapi_version(value, version) for name, value in node.items()}
    if "nullable" in converted and version.startswith("3.1"):
        del converted["nullable"]
        converted["type"] = [converted["type"], "null"]
    return converted
