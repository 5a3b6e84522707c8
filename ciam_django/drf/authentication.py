"""A request of REST framework's in, the user of its bearer token out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from ciam_django.accounts.bearer import Bearer, user_and_bearer
from ciam_django.errors import CiamError

if TYPE_CHECKING:
    # The stubs know only the one user model of the tests.
    from django.contrib.auth.models import User


class CiamBearerAuthentication(BaseAuthentication):
    """For ``authentication_classes``: CIAM's access tokens, as ``CIAM_BEARER`` has them proved.

    ``request.auth`` is a ``Bearer``. Whoever has no token is left to the authenticators that
    follow; who has one that is refused is answered by ``exception_handler``.
    """

    def authenticate(self, request: Request) -> tuple[User, Bearer] | None:
        """The user and what the token lets them do."""
        try:
            return user_and_bearer(request._request)
        except CiamError:
            # As after REST framework's own exceptions, or its pages would authenticate again.
            request._not_authenticated()  # type: ignore[attr-defined]  # the stubs lack it
            raise

    def authenticate_header(self, request: Request) -> str:
        """RFC 6750, 3: what makes REST framework's own refusals a 401."""
        return "Bearer"
