"""A person in, a signed-in session out; and what Django's signals tell of those who got none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, authenticate, load_backend, login
from django.contrib.auth.signals import user_login_failed
from django.db import transaction
from django.http import HttpRequest

from ciam_django.accounts.backends import (
    CiamBackend,
    attribute_failures_to,
    is_ciam_backend,
    refuse_unknown_issuer,
    resolve_identity,
    update_names,
)
from ciam_django.accounts.linking import link_identity
from ciam_django.accounts.models import CiamIdentity
from ciam_django.accounts.session_store import (
    create_ciam_session,
    discard_ciam_session,
    end_ciam_session,
    send_on_commit,
)
from ciam_django.accounts.signals import created, signed_in
from ciam_django.answers import Answer
from ciam_django.client.person import Person
from ciam_django.errors import CiamError, Stage

if TYPE_CHECKING:
    # The stubs know only the one user model of the tests.
    from django.contrib.auth.models import User

# Where a person has proved wrong what they typed to us.
_CREDENTIAL_STAGES: Final = frozenset({Stage.PASSWORD, Stage.VERIFY_CODE})


def sign_in(request: HttpRequest, person: Person, token_response: Mapping[str, Any]) -> None:
    """Sign the person in, or raise a ``CiamError`` and change nothing.

    ``token`` is the token answer that named the person, and is kept with the session.
    """
    # One transaction, so that no user is left without a sign-in, nor a sign-in without a user.
    with transaction.atomic():
        user, identity = authenticate_person(request, person)
        discard_ciam_session(request)
        # Changes the session's key, and empties a session that was another user's.
        login(request, user)
        create_ciam_session(request, identity, person, token_response)
        send_on_commit(signed_in, identity, request=request, person=person)


def sign_in_without_session(request: HttpRequest, person: Person) -> None:
    """The same for an app that keeps CIAM's tokens itself, and sends them as bearer tokens."""
    with transaction.atomic():
        _, identity = authenticate_person(request, person)
        send_on_commit(signed_in, identity, request=request, person=person)


def sign_in_or_link(
    request: HttpRequest, person: Person, token_response: Mapping[str, Any], link_to_user: str
) -> None:
    """Sign the person in, or link the person to the user who began this and is still signed in.

    ``link_to_user`` is the primary key of that user, and empty for a plain sign-in.
    """
    if not link_to_user:
        sign_in(request, person, token_response)
    elif str(request.user.pk) == link_to_user:
        link_identity(request, person)
    else:
        # In another tab, the user has signed out, or another user has signed in.
        raise CiamError("mismatching_state", stage=Stage.CALLBACK)


def authenticate_person(request: HttpRequest, person: Person) -> tuple[User, CiamIdentity]:
    """The person's user and identity, which are created at the first sign-in, or a ``CiamError``.

    Django asks every backend of the project, so that a backend which locks users out (such as
    django-axes') may refuse. Django then sends ``user_login_failed``.
    """
    with transaction.atomic():
        user = authenticate(request, ciam_person=person)
        if user:
            identity = resolve_identity(request, person)
            if identity.is_new:
                refuse_unknown_issuer(person)
    if user is None:
        attribute_failures_to(request, person.key)
        raise CiamError(_refusal_code(request), stage=Stage.CALLBACK)
    update_names(request, identity, person)
    if identity.is_new:
        send_on_commit(created, identity, person=person)
    return user, identity


def authenticate_token_holder(request: HttpRequest, person: Person) -> User:
    """The user of a person who holds a token and has no session, or a ``CiamError``.

    Who is unknown is let in as at a first sign-in; who is known does not sign in again.
    """
    identity = CiamIdentity.objects.select_related("user").filter(key=person.key).first()
    ours = [path for path in settings.AUTHENTICATION_BACKENDS if is_ciam_backend(path)]
    if identity is None or not ours:
        return authenticate_person(request, person)[0]
    # A project's own backend may let in others than Django's does.
    backend = cast("CiamBackend", load_backend(ours[0]))
    if not backend.user_can_authenticate(identity.user):
        raise CiamError("account_inactive", stage=Stage.API)
    return identity.user


def _refusal_code(request: HttpRequest) -> str:
    if not any(is_ciam_backend(path) for path in settings.AUTHENTICATION_BACKENDS):
        return "bad_configuration"
    return "too_many_requests" if _is_locked_out(request) else "account_inactive"


def is_signed_in_by_ciam(request: HttpRequest) -> bool:
    """Whether this session came from a sign-in at CIAM."""
    path = request.session.get(BACKEND_SESSION_KEY)
    return path in settings.AUTHENTICATION_BACKENDS and is_ciam_backend(path)


def end_session_on_logout(sender: object, *, request: HttpRequest, **kwargs: Any) -> None:
    """A receiver of Django's ``user_logged_out``: nothing is kept for that session any longer."""
    end_ciam_session(request, "left")


# --- Wrong passwords --------------------------------------------------------------------------


def send_user_login_failed(
    sender: object, *, request: HttpRequest | None, error: CiamError, answer: Answer, **kwargs: Any
) -> None:
    """A receiver of ``login_failed``: Django's own signal, as for a wrong password of Django's.

    The answer decides and not the code: whoever is locked out after wrong passwords, and not
    after names that do not exist, has learnt which do.
    """
    if request and error.stage in _CREDENTIAL_STAGES and answer.kind == "credentials":
        user_login_failed.send_robust(__name__, credentials={}, request=request)


def _is_locked_out(request: HttpRequest) -> bool:
    return getattr(request, "axes_locked_out", False)
