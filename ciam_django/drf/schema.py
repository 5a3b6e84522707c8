"""drf-spectacular's document, with our answers and our endpoints in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import spectacular_settings

from ciam_django.drf.authentication import CiamBearerAuthentication
from ciam_django.drf.openapi_answers import (
    PROBLEM,
    answer_statuses,
    problem_component,
    problem_responses,
    response_reference,
)
from ciam_django.drf.openapi_endpoints import CSRF_SCHEME, endpoint_components, endpoint_paths
from ciam_django.drf.permissions import HasScope
from ciam_django.drf.scopes import required_scopes

# What a bearer token can come to, as the answers' own statuses.
_BEARER_STATUSES: Final = (401, 403, 429, 500, 503)


class CiamAutoSchema(AutoSchema):
    """For REST framework's ``DEFAULT_SCHEMA_CLASS``: what a bearer token can come to.

    What a project says with ``extend_schema`` stays.
    """

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """The operation, with our answers where it takes CIAM's tokens, and the scopes it needs."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        if any(isinstance(it, CiamBearerAuthentication) for it in self.view.get_authenticators()):
            for status in set(_BEARER_STATUSES) & set(answer_statuses()):
                operation["responses"].setdefault(str(status), response_reference(status))
        if any(isinstance(it, HasScope) for it in self.view.get_permissions()):
            scopes = ", ".join(f"`{it}`" for it in required_scopes(self.view, self.method))
            description = operation.get("description", "")
            needed = f"A bearer token needs: {scopes or 'nothing'}."
            operation["description"] = f"{description}\n\n{needed}".strip()
        return operation


class CiamBearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as above
    """``CiamBearerAuthentication``, for those who try the document out."""

    target_class = "ciam_django.drf.authentication.CiamBearerAuthentication"
    name = "CiamBearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """RFC 6750."""
        return {"type": "http", "scheme": "bearer"}


def with_ciam(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """For ``POSTPROCESSING_HOOKS`` of ``SPECTACULAR_SETTINGS``: the answer, and our endpoints.

    Their paths are there where the project includes ``ciam_django.urls``.
    """
    ours = {"paths": endpoint_paths(), "components": {"schemas": {PROBLEM: problem_component()}}}
    ours["components"]["responses"] = problem_responses()
    if ours["paths"]:
        ours["components"]["schemas"] |= endpoint_components()
        if any("security" in each.get("post", {}) for each in ours["paths"].values()):
            header = {"type": "apiKey", "in": "header", "name": "X-CSRFToken"}
            ours["components"]["securitySchemes"] = {CSRF_SCHEME: header}
    merged: dict[str, Any] = _merged_schema(result, _in_openapi_version(ours))
    return merged


def _merged_schema(result: Any, ours: Any) -> Any:
    """Ours below the project's, which keeps what has the same name."""
    if not isinstance(result, Mapping) or not isinstance(ours, Mapping):
        return result
    return {**ours, **{name: _merged_schema(it, ours.get(name)) for name, it in result.items()}}


def _in_openapi_version(node: Any) -> Any:
    """OpenAPI 3.1 says in the type that a member may be null, where 3.0 has ``nullable``."""
    if isinstance(node, list):
        return [_in_openapi_version(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    found = {name: _in_openapi_version(value) for name, value in node.items()}
    if "nullable" in found and str(spectacular_settings.OAS_VERSION).startswith("3.1"):
        del found["nullable"]
        found["type"] = [found["type"], "null"]
    return found
