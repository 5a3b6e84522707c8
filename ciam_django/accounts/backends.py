"""``CiamBackend``: a person of CIAM in, a user out, made at the first sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from django.contrib.auth import load_backend
from django.contrib.auth.backends import ModelBackend
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from ciam_django.accounts.models import CiamIdentity, identity_key
from ciam_django.accounts.users import create_user
from ciam_django.client.person import Person
from ciam_django.errors import CiamError, Stage

if TYPE_CHECKING:
    from django.contrib.auth.models import User


# Where a request carries the identity of who signs in, so that nobody asks for it again.
_REQUEST_ATTRIBUTE: Final = "_ciam_identity"


class CiamBackend(ModelBackend):
    """For ``AUTHENTICATION_BACKENDS``; permissions are those of Django's own backend."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        *,
        ciam_person: Person | None = None,
        **kwargs: Any,
    ) -> User | None:
        """The user of the person; None if the project has switched that user off.

        Who comes with a password is for Django's own backend.
        """
        if ciam_person is None:
            return None
        identity = get_or_create_identity(ciam_person)
        if request is not None:
            vars(request)[_REQUEST_ATTRIBUTE] = identity
        return identity.user if self.user_can_authenticate(identity.user) else None


def is_ciam_backend(path: str) -> bool:
    """Whether the backend is ``CiamBackend``, or a project's own that is made from it."""
    return isinstance(load_backend(path), CiamBackend)


def resolve_identity(request: HttpRequest, person: Person) -> CiamIdentity:
    """The identity that our backend has found for the request, or a project's made from it."""
    identity = vars(request).get(_REQUEST_ATTRIBUTE)
    return identity if isinstance(identity, CiamIdentity) else get_or_create_identity(person)


def get_or_create_identity(person: Person) -> CiamIdentity:
    """The identity that the person has signed in with before, or a new one with its user."""
    key = identity_key(person.issuer, person.subject)
    try:
        identity = CiamIdentity.objects.select_related("user").get(key=key)
    except CiamIdentity.DoesNotExist:
        try:
            with transaction.atomic():
                identity = _create_user_and_identity(person)
        except IntegrityError as error:
            # The same person's first sign-in in another tab was faster, or else another user has
            # what has to be unique: an email address, say.
            found = CiamIdentity.objects.select_related("user").filter(key=key).first()
            if found is None:
                raise CiamError("account_exists", stage=Stage.CALLBACK) from error
            identity = found
    _update_identity(identity, person)
    return identity


def refuse_unknown_issuer(person: Person) -> None:
    """``bad_configuration`` for the first of an issuer at a site that knows people of others.

    The mode, the issuer or the client has changed, and everybody would be a stranger.
    """
    known = CiamIdentity.objects.exclude(key=identity_key(person.issuer, person.subject))
    if known.exists() and not known.filter(issuer=person.issuer).exists():
        raise CiamError(
            "bad_configuration",
            stage=Stage.CALLBACK,
            upstream_text=f"nobody is known of {person.issuer}: see manage.py check --database",
        )


def _create_user_and_identity(person: Person) -> CiamIdentity:
    # The stubs know only the one user model of the tests.
    user = cast("User", create_user(person))
    identity = CiamIdentity.objects.create(
        user=user,
        issuer=person.issuer,
        subject=person.subject,
        union_id=person.union_id,
        provider=person.provider,
    )
    identity.is_new = True
    return identity


def _update_identity(identity: CiamIdentity, person: Person) -> None:
    """Note what a later sign-in is the first to tell."""
    claimed = {"union_id": person.union_id, "provider": person.provider}
    stored = vars(identity)
    changed = {name: value for name, value in claimed.items() if value not in ("", stored[name])}
    if changed:
        CiamIdentity.objects.filter(pk=identity.pk).update(**changed)
