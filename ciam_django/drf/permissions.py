"""``HasScope``: a view's ``required_scopes`` in, whether the request may pass out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ciam_django.accounts.bearer import Bearer
from ciam_django.drf.scopes import INSUFFICIENT_SCOPE, required_scopes

if TYPE_CHECKING:
    # That module imports this one, where a project's defaults name it.
    from rest_framework.views import APIView


class HasScope(BasePermission):
    """For ``permission_classes``: whether the token has all of the view's ``required_scopes``.

    A person who came without a token, by a session say, passes: scopes say what others may do for
    them. Nobody passes who is nobody, and none of others' tokens does. The refusal is
    REST framework's own exception, so that it can stand beside other permissions;
    ``exception_handler`` answers it with the scopes (RFC 6750, 3.1).
    """

    code = INSUFFICIENT_SCOPE

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the request may pass; ``ImproperlyConfigured`` where the view asks nothing."""
        required = required_scopes(view, request.method)
        # A project may have None for who is nobody.
        if not getattr(request.user, "is_authenticated", False):
            return False
        if isinstance(request.auth, Bearer):
            return request.auth.scopes.issuperset(required)
        return request.auth is None
