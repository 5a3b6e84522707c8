"""``CiamBackend``: a person of CIAM in, a user out, made at the first sign-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from django.contrib.auth import load_backend
from django.contrib.auth.backends import ModelBackend
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from ciam_django.accounts.models import CiamIdentity
from ciam_django.accounts.users import create_user
from ciam_django.client.person import Person
from ciam_django.errors import CiamError, Stage

if TYPE_CHECKING:
    from django.contrib.auth.models import User


# The attribute of a request that holds the identity which signs in: one query instead of two.
_IDENTITY: Final = "_ciam_identity"
# The attribute of a request that holds the digest of the name which its failures belong to.
_NAME_DIGEST: Final = "_ciam_tried_by"
# Stored digests depend on this text: another text makes ``CiamIdentity.names`` useless.
_PURPOSE: Final = "ciam_django.accounts.last_failure"
# The claims that a user may type to sign in.
_NAME_CLAIMS: Final = ("email", "preferred_username", "username")
# Only the newest names of an identity are kept.
_MAX_NAMES: Final = 8


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
            vars(request)[_IDENTITY] = identity
        return identity.user if self.user_can_authenticate(identity.user) else None


def is_ciam_backend(path: str) -> bool:
    """Whether the backend is ``CiamBackend``, or a project's own that is made from it."""
    return isinstance(load_backend(path), CiamBackend)


def resolve_identity(request: HttpRequest, person: Person) -> CiamIdentity:
    """The identity that our backend has found for the request, or a project's made from it."""
    identity = vars(request).get(_IDENTITY)
    return identity if isinstance(identity, CiamIdentity) else get_or_create_identity(person)


def get_or_create_identity(person: Person) -> CiamIdentity:
    """The identity that the person has signed in with before, or a new one with its user."""
    key, union_id = person.key, person.union_id
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
    _update_identity(identity, {"union_id": union_id, "provider": person.provider})
    return identity


def refuse_unknown_issuer(person: Person) -> None:
    """``bad_configuration`` for the first of an issuer at a site that knows people of others.

    The mode, the issuer or the client has changed, and everybody would be a stranger.
    """
    known = CiamIdentity.objects.exclude(key=person.key)
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


def _update_identity(identity: CiamIdentity, claimed: Mapping[str, str]) -> None:
    """Store what a later sign-in is the first to tell: the union id, and the provider."""
    stored = vars(identity)
    changed = {name: value for name, value in claimed.items() if value not in ("", stored[name])}
    if changed:
        CiamIdentity.objects.filter(pk=identity.pk).update(**changed)


# --- The names by which an identity and its failures are found ---------------------------------


def name_digest(name: str) -> str:
    """The digest of a name, made with a key of Django's: there are few phone numbers to try."""
    plain = name.strip().casefold().encode(errors="replace")
    return salted_hmac(_PURPOSE, plain, algorithm="sha256").hexdigest()[:32]


def attribute_failures_to(request: HttpRequest, name: str) -> None:
    """Attribute the request's failures to a name that was typed, or to an identity's key."""
    vars(request)[_NAME_DIGEST] = name_digest(name)


def attributed_digest(request: HttpRequest) -> str:
    """The digest of the name that the request's failures belong to; empty where there is none."""
    return str(vars(request).get(_NAME_DIGEST, ""))


def update_names(request: HttpRequest, identity: CiamIdentity, person: Person) -> None:
    """Store the digests of the names of the person: of the claims, and of what the user typed."""
    names = [person.claims.get(claim) for claim in _NAME_CLAIMS]
    digests = [name_digest(name) for name in names if isinstance(name, str) and name]
    typed_digest = attributed_digest(request)
    digests += [typed_digest] if typed_digest else []
    if not set(digests) <= set(identity.names):
        identity.names = [*dict.fromkeys([*digests, *identity.names])][:_MAX_NAMES]
        CiamIdentity.objects.filter(pk=identity.pk).update(names=identity.names)
