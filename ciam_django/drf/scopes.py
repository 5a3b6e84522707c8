"""A view in, the scopes that a token needs for it out."""

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
    """The view's ``required_scopes``: a sequence, or a dict of them by method.

    ``HEAD`` needs what ``GET`` does. A method that a dict lacks needs nothing where the view does
    not have it either, or only tells of itself (``OPTIONS``).
    """
    required: Any = getattr(view, "required_scopes", None)
    name = type(view).__name__
    if isinstance(required, Mapping):
        method = "GET" if method == "HEAD" and "HEAD" not in required else str(method)
        if method not in required and method != "OPTIONS" and hasattr(view, method.lower()):
            raise ImproperlyConfigured(f"{name}.required_scopes has nothing for {method}.")
        required = required.get(method, ())
    if isinstance(required, str) or not _are_scopes(required):
        raise ImproperlyConfigured(
            f"{name}.required_scopes is {required!r}, and is to be a list of scopes "
            '(["orders.read"]), or a dict with one for each method, where HasScope is used.'
        )
    return tuple(required)


def _are_scopes(required: Any) -> bool:
    try:
        return all(isinstance(each, str) and _SCOPE.fullmatch(each) for each in required)
    except TypeError:
        return False


def insufficient_scope_error(exc: Exception, context: Mapping[str, Any]) -> CiamError | None:
    """REST framework's exception for a refusal of ``HasScope``, as ours; None for any other."""
    if not isinstance(exc, exceptions.PermissionDenied) or exc.get_codes() != INSUFFICIENT_SCOPE:
        return None
    view, request = context.get("view"), context.get("request")
    if not hasattr(view, "required_scopes") or not isinstance(request, Request | HttpRequest):
        return None
    error = CiamError(INSUFFICIENT_SCOPE, stage=Stage.API)
    error.required_scopes = required_scopes(view, request.method)
    return error
