"""A person in, a signed-in session out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from django.contrib.auth import BACKEND_SESSION_KEY, login
from django.db import transaction
from django.http import HttpRequest

from ciam_django.accounts.backends import CiamBackend
from ciam_django.client.person import Person
from ciam_django.errors import CiamError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

BACKEND: Final = f"{CiamBackend.__module__}.{CiamBackend.__qualname__}"


def sign_in(request: HttpRequest, person: Person) -> None:
    """Sign the person in, or raise a ``CiamError`` and change nothing."""
    # One transaction, so that no user is left without a sign-in, nor a sign-in without a user.
    with transaction.atomic():
        user = CiamBackend().authenticate(request, ciam_person=person)
        if user is None:
            raise CiamError("account_inactive", stage="callback")
        # Changes the session's key, and empties a session that was another user's.
        login(request, cast("User", user), backend=BACKEND)


def is_signed_in_by_ciam(request: HttpRequest) -> bool:
    """Whether this session came from a sign-in at CIAM."""
    return request.session.get(BACKEND_SESSION_KEY) == BACKEND
