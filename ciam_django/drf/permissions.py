"""Permit a request only if its access token has the scopes that the view requires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ciam_django.accounts.bearer import Bearer
from ciam_django.drf.scopes import INSUFFICIENT_SCOPE, required_scopes

if TYPE_CHECKING:
    # rest_framework.views imports this module where a project's default permissions name it.
    from rest_framework.views import APIView


class HasScope(BasePermission):
    """Require a token with all of the view's ``required_scopes``; for ``permission_classes``.

    A user without a token, for example with a session, passes: scopes limit what an application
    may do for a user. Anonymous users and the tokens of other authenticators are refused. The
    refusal is REST framework's own exception, so that ``HasScope`` can be combined with other
    permissions; ``exception_handler`` answers the exception with the scopes (RFC 6750, 3.1).
    """

    code = INSUFFICIENT_SCOPE

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True if the request may pass.

        Raises ``ImproperlyConfigured`` if the view has no valid ``required_scopes``.
        """
        required = required_scopes(view, request.method)
        # The anonymous user of a project may be None (UNAUTHENTICATED_USER).
        if not getattr(request.user, "is_authenticated", False):
            return False
        if isinstance(request.auth, Bearer):
            return request.auth.scopes.issuperset(required)
        return request.auth is None
