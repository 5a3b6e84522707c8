"""Link a person of CIAM to the user who is signed in, and remove such a link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import router
from django.http import HttpRequest

from ciam_django.accounts.backends import accounts_transaction, is_ciam_backend, update_names
from ciam_django.accounts.models import CiamIdentity
from ciam_django.accounts.session_store import (
    ciam_session_of,
    discard_ciam_session,
    record_on_commit,
    send_on_commit,
)
from ciam_django.accounts.signals import linked, unlinked
from ciam_django.client.person import Person
from ciam_django.errors import CiamError, Stage
from ciam_django.events import LINKED, UNLINKED

if TYPE_CHECKING:
    # The stubs know only the one user model of the tests.
    from django.contrib.auth.models import User


def link_identity(request: HttpRequest, person: Person) -> CiamIdentity:
    """Link the person to the user who is signed in, and return the identity.

    The user stays signed in. Raises ``CiamError``: ``linked_elsewhere`` if the person is linked to
    another user, ``missing_token`` if no user is signed in. The browser is signed in as the user
    and as the person at the same time, which proves that both are the same human. An equal email
    address or phone number does not prove this.
    """
    user = _signed_in_user(request)
    key = person.key
    defaults = {
        "user": user,
        "issuer": person.issuer,
        "subject": person.subject,
        "union_id": person.union_id,
        "provider": person.provider,
    }
    identity, is_new = CiamIdentity.objects.get_or_create(key=key, defaults=defaults)
    if identity.user_id != user.pk:
        raise CiamError("linked_elsewhere", stage=Stage.CALLBACK)
    update_names(request, identity, person)
    if is_new:
        send_on_commit(linked, identity, request=request, person=person)
        provider = identity.provider or "ciam"
        record_on_commit(LINKED, request, user=user.pk, provider=provider)
    return identity


def refuse_other_user(request: HttpRequest, link_to_user: str) -> None:
    """Raise ``mismatching_state`` unless the user who started to link an identity is signed in.

    ``link_to_user`` is the primary key of this user.
    """
    if str(request.user.pk) != link_to_user:
        # The user has signed out in another tab, or another user has signed in.
        raise CiamError("mismatching_state", stage=Stage.CALLBACK)


def unlink_identity(request: HttpRequest, identity_id: int) -> None:
    """Remove an identity from the user who is signed in, and end the identity's other sessions.

    The current session continues. Raises ``CiamError``: ``missing_token`` if no user is signed in,
    ``Resource.NotFound`` if the user has no such identity, ``last_way_in`` if the user has no other
    login method. Another login method is another identity, or a password for a backend of the
    project that is not ``CiamBackend``.
    """
    user = _signed_in_user(request)
    with accounts_transaction():
        # The lock makes a second request wait until the first request has removed its identity.
        users = get_user_model()._base_manager.using(router.db_for_write(CiamIdentity))
        users.select_for_update().get(pk=user.pk)
        identity = CiamIdentity.objects.filter(user=user, pk=identity_id).first()
        if identity is None:
            raise CiamError("Resource.NotFound")
        other_identities = CiamIdentity.objects.filter(user=user).exclude(pk=identity.pk)
        if not (other_identities.exists() or _has_other_login_method(user)):
            raise CiamError("last_way_in")
        ciam_session = ciam_session_of(request)
        if ciam_session and ciam_session.identity_id == identity.pk:
            # The user stays signed in, and the session no longer depends on CIAM.
            discard_ciam_session(request)
        send_on_commit(unlinked, identity, request=request)
        provider = identity.provider or "ciam"
        record_on_commit(UNLINKED, request, user=user.pk, provider=provider)
        # This also ends the sessions of the identity.
        identity.delete()


def _signed_in_user(request: HttpRequest) -> User:
    """Return the user of the request; raise ``missing_token`` if no user is signed in."""
    if not request.user.is_authenticated:
        raise CiamError("missing_token")
    return request.user


def _has_other_login_method(user: User) -> bool:
    """Return True if the user can sign in without CIAM."""
    other_paths = [path for path in settings.AUTHENTICATION_BACKENDS if not is_ciam_backend(path)]
    return bool(other_paths) and user.has_usable_password()
