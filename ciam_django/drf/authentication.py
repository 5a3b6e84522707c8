"""Authenticate a request of REST framework by its CIAM access token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from ciam_django.accounts.bearer import Bearer, user_and_bearer
from ciam_django.errors import CiamError

if TYPE_CHECKING:
    # The stubs know only the user model of the tests.
    from django.contrib.auth.models import User


class CiamBearerAuthentication(BaseAuthentication):
    """Accept CIAM's access tokens; for ``authentication_classes``.

    The setting ``CIAM_BEARER`` says how a token is verified. ``request.auth`` is a ``Bearer``.
    A request without a token goes to the next authenticator. A refused token raises a
    ``CiamError``, which ``exception_handler`` answers.
    """

    def authenticate(self, request: Request) -> tuple[User, Bearer] | None:
        """Return the user and the ``Bearer``, or None if the request has no token."""
        try:
            return user_and_bearer(request._request)
        except CiamError:
            # REST framework does the same after its own exceptions. Otherwise its browsable API
            # would authenticate the request again.
            request._not_authenticated()  # type: ignore[attr-defined]  # the stubs lack it
            raise

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge (RFC 6750, 3), so that REST framework refuses with a 401."""
        return "Bearer"
