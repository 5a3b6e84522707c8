"""Read the scopes that a view requires of a token, and answer their absence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from rest_framework import exceptions
from rest_framework.request import Request

from ciam_django.errors import CiamError, Stage

# RFC 6749, 3.3.
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

INSUFFICIENT_SCOPE: Final = "insufficient_scope"


def required_scopes(view: object, method: str | None) -> tuple[str, ...]:
    """Return the scopes that a view requires for a method.

    ``required_scopes`` of the view is a sequence of scopes (RFC 6749, 3.3), or a dict of HTTP
    method -> sequence. ``HEAD`` needs the scopes of ``GET``, unless the dict has ``HEAD``.
    ``OPTIONS`` needs none, unless the dict has it. Raises ``ImproperlyConfigured`` if the
    attribute is anything else, or if the dict lacks a method that the view has.
    """
    required: Any = getattr(view, "required_scopes", None)
    name = type(view).__name__
    if isinstance(required, Mapping):
        method = "GET" if method == "HEAD" and "HEAD" not in required else str(method)
        if method not in required and method != "OPTIONS" and hasattr(view, method.lower()):
            raise ImproperlyConfigured(f"{name}.required_scopes has no scopes for {method}.")
        required = required.get(method, ())
    if isinstance(required, str) or not _are_scopes(required):
        raise ImproperlyConfigured(
            f"{name}.required_scopes is {required!r}, and must be a list of scopes "
            '(["orders.read"]) or a dict with a list of scopes for each method, because the view '
            "uses HasScope."
        )
    return tuple(required)


def _are_scopes(required: Any) -> bool:
    try:
        return all(isinstance(each, str) and _SCOPE.fullmatch(each) for each in required)
    except TypeError:
        return False


def insufficient_scope_error(exc: Exception, context: Mapping[str, Any]) -> CiamError | None:
    """Return the ``CiamError`` for a refusal by ``HasScope``, or None for any other exception."""
    if not isinstance(exc, exceptions.PermissionDenied):
        return None
    view = context.get("view")
    # Most refusals are of views without scopes.
    if not hasattr(view, "required_scopes"):
        return None
    request = context.get("request")
    if exc.get_codes() != INSUFFICIENT_SCOPE or not isinstance(request, Request | HttpRequest):
        return None
    error = CiamError(INSUFFICIENT_SCOPE, stage=Stage.API)
    error.required_scopes = required_scopes(view, request.method)
    return error
