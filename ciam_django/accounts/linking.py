"""A user who is signed in, and a person of CIAM in; that the one is the other out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import HttpRequest

from ciam_django.accounts.backends import is_ciam_backend, update_names
from ciam_django.accounts.models import CiamIdentity
from ciam_django.accounts.session_store import (
    ciam_session_of,
    discard_ciam_session,
    end_sessions,
    send_on_commit,
)
from ciam_django.accounts.signals import linked, unlinked
from ciam_django.client.person import Person
from ciam_django.errors import CiamError, Stage

if TYPE_CHECKING:
    # The stubs know only the one user model of the tests.
    from django.contrib.auth.models import User


def link_identity(request: HttpRequest, person: Person) -> CiamIdentity:
    """Let the person sign in as the user who is signed in now, who stays so.

    ``linked_elsewhere`` where they sign in as another user already; ``missing_token`` where nobody
    is signed in. That both are the same human is what signing in to both at once has proved; an
    email address or a phone number would not.
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
    return identity


def unlink_identity(request: HttpRequest, identity_id: int) -> None:
    """Take an identity from the user who is signed in, and end its sessions but for this one.

    ``Resource.NotFound`` where the user has no such identity; ``last_way_in`` where it is the last
    way in: another identity, or a password for one of the project's other backends, has to stay.
    """
    user = _signed_in_user(request)
    with transaction.atomic():
        # Of two at the same moment, the second sees what the first has left.
        get_user_model().objects.select_for_update().get(pk=user.pk)
        identity = CiamIdentity.objects.filter(user=user, pk=identity_id).first()
        if identity is None:
            raise CiamError("Resource.NotFound")
        others = CiamIdentity.objects.filter(user=user).exclude(pk=identity.pk)
        if not (others.exists() or _has_other_login_method(user)):
            raise CiamError("last_way_in")
        ciam_session = ciam_session_of(request)
        if ciam_session and ciam_session.identity_id == identity.pk:
            # The user goes on as one whom CIAM says nothing of.
            discard_ciam_session(request)
        end_sessions(identity.sessions.all(), "unlinked")
        send_on_commit(unlinked, identity, request=request)
        identity.delete()


def _signed_in_user(request: HttpRequest) -> User:
    if not request.user.is_authenticated:
        raise CiamError("missing_token")
    return request.user


def _has_other_login_method(user: User) -> bool:
    """Whether the user can come in without CIAM."""
    others = [path for path in settings.AUTHENTICATION_BACKENDS if not is_ciam_backend(path)]
    return bool(others) and user.has_usable_password()
