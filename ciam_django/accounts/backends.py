"""``CiamBackend``: find the user of a person of CIAM, or create the user at the first sign-in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from django.conf import settings
from django.contrib.auth import authenticate, get_user_model, load_backend
from django.contrib.auth.backends import ModelBackend
from django.db import IntegrityError, connections, router, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.manager import BaseManager
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from ciam_django.accounts.issuers import commands_for
from ciam_django.accounts.models import CiamIdentity
from ciam_django.accounts.session_store import send_on_commit
from ciam_django.accounts.signals import created
from ciam_django.accounts.users import create_user
from ciam_django.client.person import Person
from ciam_django.errors import CiamError, Stage
from ciam_django.privacy import own_text

if TYPE_CHECKING:
    from django.contrib.auth.models import User


# The request attribute that holds the identity that signs in. The attribute saves a second query.
_IDENTITY: Final = "_ciam_identity"
# The request attribute that holds the digest of the name that the failures belong to.
_NAME_DIGEST: Final = "_ciam_tried_by"
# The request attribute that holds the name that the user has typed.
_TYPED_NAME: Final = "_ciam_typed_name"
# The length of a name in the database of django-axes.
_MAX_NAME_LENGTH: Final = 255
# The text of the database's exception can have the value.
_TAKEN_VALUE: Final = (
    "another user has the value of a unique field, such as the email address, and a sign-in never "
    "finds a user by such a value. Link the users that exist already with ciam_link, or set "
    "CIAM_NEW_USER."
)
# Stored digests depend on this text: another text makes ``CiamIdentity.names`` useless.
_PURPOSE: Final = "ciam_django.accounts.last_failure"
# The claims that a user may type to sign in.
_NAME_CLAIMS: Final = ("email", "preferred_username", "username")
# Only the newest names of an identity are kept.
_MAX_NAMES: Final = 8


class CiamBackend(ModelBackend):
    """An entry of ``AUTHENTICATION_BACKENDS``; Django's ``ModelBackend`` decides on permissions."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        *,
        ciam_person: Person | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the user of the person; create the identity and the user at the first sign-in.

        Return None if the user is inactive, or if the model's default manager does not find the
        user: Django would find no user in the next request. Return None without a person: Django's
        own backend checks user names and passwords. Raises ``CiamError`` like
        ``get_or_create_identity``.
        """
        if ciam_person is None:
            return None
        identity = get_or_create_identity(ciam_person, request)
        if request is not None:
            vars(request)[_IDENTITY] = identity
        return identity.user if may_sign_in(self, identity) else None

    def get_user(self, user_id: Any) -> User | None:
        """Return the user of a session; None if there is no user, or if the user is inactive.

        If a replica does not have the user yet, the user comes from the database that writes.
        """
        user = super().get_user(user_id)
        if user is None and router.db_for_read(get_user_model()) != router.db_for_write(
            CiamIdentity
        ):
            user = _visible_users().filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None


def may_sign_in(backend: CiamBackend, identity: CiamIdentity) -> bool:
    """Return True if the identity's user is active, and if the default manager finds the user."""
    return identity.has_visible_user and backend.user_can_authenticate(identity.user)


def _visible_users() -> QuerySet[User]:
    """Return the users of the default manager, in the database that writes."""
    return get_user_model()._default_manager.using(router.db_for_write(CiamIdentity))


def _are_all_users_visible() -> bool:
    """Return True if the default manager of the user model is a manager that leaves nobody out."""
    manager = get_user_model()._default_manager
    has_own_queryset = type(manager).get_queryset is not BaseManager.get_queryset
    return not has_own_queryset and type(manager.get_queryset()) is QuerySet


def accounts_transaction() -> transaction.Atomic:
    """Return a context manager for one transaction on the database of the identities."""
    database = router.db_for_write(CiamIdentity)
    connection = connections[database]
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        return _ImmediateTransaction(database, savepoint=True, durable=False)
    return transaction.atomic(using=database)


class _ImmediateTransaction(transaction.Atomic):
    """A transaction on SQLite that waits for other writers before it reads.

    A transaction that reads first and writes later fails at once with "database is locked".
    """

    def __enter__(self) -> None:
        connection: Any = transaction.get_connection(self.using)
        # A new connection sets the attribute to the value of OPTIONS.
        connection.ensure_connection()
        mode, connection.transaction_mode = connection.transaction_mode, "IMMEDIATE"
        try:
            super().__enter__()
        finally:
            connection.transaction_mode = mode


def is_ciam_backend(path: str) -> bool:
    """Return True if the path names ``CiamBackend`` or a subclass."""
    return isinstance(load_backend(path), CiamBackend)


def authenticate_person(request: HttpRequest, person: Person) -> tuple[User, CiamIdentity]:
    """Return the user and the identity of the person; create both at the first sign-in.

    Also stores the digests of the person's names. Django calls every backend of the project, so
    that a backend that locks users out (such as the backend of django-axes) can refuse the person.
    If a backend refuses, Django sends ``user_login_failed``, and this function raises a
    ``CiamError``: ``too_many_requests``, ``account_inactive``, or ``bad_configuration`` if
    ``AUTHENTICATION_BACKENDS`` has no ``CiamBackend``. Raises ``bad_configuration`` also for the
    error of ``refuse_unknown_issuer``, and ``account_exists`` like ``get_or_create_identity``.
    """
    # No savepoint: after a failure, the callers roll their whole transaction back.
    with transaction.atomic(using=router.db_for_write(CiamIdentity), savepoint=False):
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


def _refusal_code(request: HttpRequest) -> str:
    if not any(is_ciam_backend(path) for path in settings.AUTHENTICATION_BACKENDS):
        return "bad_configuration"
    return "too_many_requests" if getattr(request, "axes_locked_out", False) else "account_inactive"


def resolve_identity(request: HttpRequest, person: Person) -> CiamIdentity:
    """Return the identity that ``authenticate`` stored in the request, or find or create it."""
    identity = vars(request).get(_IDENTITY)
    return (
        identity if isinstance(identity, CiamIdentity) else get_or_create_identity(person, request)
    )


def get_or_create_identity(person: Person, request: HttpRequest | None = None) -> CiamIdentity:
    """Return the identity of the person; create the identity and its user at the first sign-in.

    A new identity has the digests of the person's names, and of the name typed in the request.
    Stores a changed ``union_id`` or ``provider`` of an existing identity. Raises ``CiamError``:
    ``account_exists`` if another user has a value that must be unique.
    """
    identity = find_identity(person)
    if identity is None:
        try:
            with accounts_transaction():
                identity = _create_user_and_identity(person, request)
        except IntegrityError as error:
            # Either another tab has created the identity meanwhile, or another user has a value
            # that must be unique, such as an email address.
            identity = find_identity(person)
            if identity is None:
                raise CiamError(
                    "account_exists", stage=Stage.CALLBACK, upstream_text=own_text(_TAKEN_VALUE)
                ) from error
    _update_identity(identity, {"union_id": person.union_id, "provider": person.provider})
    return identity


def find_identity(person: Person) -> CiamIdentity | None:
    """Return the identity of the person with its user; None before the first sign-in."""
    manager = CiamIdentity._base_manager.using(router.db_for_write(CiamIdentity))
    identities = manager.select_related("user")
    try:
        if _are_all_users_visible():
            return identities.get(key=person.key)
        user = _visible_users().filter(pk=OuterRef("user_id"))
        identity = identities.annotate(is_visible=Exists(user)).get(key=person.key)
    except CiamIdentity.DoesNotExist:
        return None
    identity.has_visible_user = identity.is_visible
    return identity


def find_visible_user(person: Person) -> User | None:
    """Return the user of the person's identity if the default manager finds the user, or None.

    The query reads the user only, because most requests with a bearer token need nothing else.
    """
    # The key is unique. ``get`` or ``first`` would copy the query once more.
    return next(iter(_visible_users().filter(ciam_identities__key=person.key)), None)


def refuse_unknown_issuer(person: Person) -> None:
    """Raise ``bad_configuration`` if the site has identities, but none of the person's issuer.

    The mode, the issuer or the client has changed, so that each person would get a new user.
    """
    other_identities = CiamIdentity.objects.exclude(key=person.key)
    # The order of the primary key has an index. By the time, the query would sort all identities.
    other_issuer = other_identities.order_by("-pk").values_list("issuer", flat=True).first()
    if other_issuer in (None, person.issuer):
        return
    if not other_identities.filter(issuer=person.issuer).exists():
        raise CiamError(
            "bad_configuration",
            stage=Stage.CALLBACK,
            upstream_text=own_text(
                f"AUTHLIB_OAUTH_CLIENTS['ciam'] means the issuer {person.issuer}, and all "
                f"identities in the database have other issuers, such as {other_issuer}. "
                f"{commands_for(other_issuer)} Or change AUTHLIB_OAUTH_CLIENTS['ciam'] back."
            ),
        )


def _create_user_and_identity(person: Person, request: HttpRequest | None) -> CiamIdentity:
    # The stubs know only the one user model of the tests.
    user = cast("User", create_user(person))
    identity = CiamIdentity.objects.create(
        user=user,
        issuer=person.issuer,
        subject=person.subject,
        union_id=person.union_id,
        provider=person.provider,
        names=_newest_names(_name_digests(request, person)),
    )
    identity.is_new = True
    if not _are_all_users_visible():
        identity.has_visible_user = _visible_users().filter(pk=user.pk).exists()
    return identity


def _update_identity(identity: CiamIdentity, values: Mapping[str, str]) -> None:
    """Store the values that are not empty and that differ from the stored values."""
    stored = vars(identity)
    changed = {name: value for name, value in values.items() if value not in ("", stored[name])}
    if changed:
        CiamIdentity.objects.filter(pk=identity.pk).update(**changed)


# --- The names that a user types, and the names in the record of failures -----------------------


def name_digest(name: str) -> str:
    """Return the digest of a name, which is keyed with ``SECRET_KEY``.

    A digest without a key would reveal a phone number: there are few phone numbers to try.
    """
    plain = name.strip().casefold().encode(errors="replace")
    return salted_hmac(_PURPOSE, plain, algorithm="sha256").hexdigest()[:32]


def attribute_failures_to(request: HttpRequest, name: str) -> None:
    """Attribute the failures of the request to a typed name, or to the key of an identity."""
    vars(request)[_NAME_DIGEST] = name_digest(name)


def record_typed_name(request: HttpRequest, name: str) -> None:
    """Record the name that the user has typed, and attribute the failures of the request to it.

    Another spelling is not another name, because CIAM may ignore the case of letters.
    """
    attribute_failures_to(request, name)
    vars(request)[_TYPED_NAME] = name.casefold()[:_MAX_NAME_LENGTH]


def typed_name_of(request: HttpRequest) -> str:
    """Return the name that the user has typed, in lower case; empty without a name."""
    return str(vars(request).get(_TYPED_NAME, ""))


def attributed_digest(request: HttpRequest) -> str:
    """Return the digest of the name that the failures belong to; empty without a name."""
    return str(vars(request).get(_NAME_DIGEST, ""))


def update_names(request: HttpRequest, identity: CiamIdentity, person: Person) -> None:
    """Store the digests of the person's names, which come from the claims and from the form.

    Only the newest ``_MAX_NAMES`` digests are kept.
    """
    digests = _name_digests(request, person)
    if not set(digests) <= set(identity.names):
        identity.names = _newest_names([*digests, *identity.names])
        CiamIdentity.objects.filter(pk=identity.pk).update(names=identity.names)


def _name_digests(request: HttpRequest | None, person: Person) -> list[str]:
    """Return the digests of the names in the person's claims, and of the name in the request."""
    names = [person.claims.get(claim) for claim in _NAME_CLAIMS]
    digests = [name_digest(name) for name in names if isinstance(name, str) and name]
    typed_digest = attributed_digest(request) if request is not None else ""
    return [*digests, typed_digest] if typed_digest else digests


def _newest_names(digests: Sequence[str]) -> list[str]:
    return [*dict.fromkeys(digests)][:_MAX_NAMES]
