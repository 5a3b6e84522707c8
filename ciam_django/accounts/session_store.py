"""Create, read and end the ``CiamSession`` rows, and encrypt the tokens in the rows."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any, Final

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.db import router, transaction
from django.dispatch import Signal
from django.http import HttpRequest
from django.utils import timezone

from ciam_django.accounts.models import CiamIdentity, CiamSession, CiamSessionQuerySet
from ciam_django.accounts.signals import signed_in, signed_out
from ciam_django.accounts.transactions import can_leave_transaction, outside_transaction
from ciam_django.client.app import ciam_app
from ciam_django.client.crypto import fernet_for, from_stored
from ciam_django.client.envelope import LIFETIME
from ciam_django.client.person import Person, identity_key, load_issuer
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.events import SIGNED_IN, SIGNED_OUT, Event, record, request_scope
from ciam_django.privacy import clear_frames_on_error
from ciam_django.reporting import report

# The entry in Django's session: the id of the row, the digest of the session key, and the time of
# the next check.
_ENTRY_KEY: Final = "ciam_session"
# The largest number of older rows that one check deletes.
_MAX_DELETED: Final = 50
# Seconds until the next check if CIAM could not be asked.
_RETRY_INTERVAL: Final = 60
# CIAM's API accepts a person's access token only with this scope.
_USER_API: Final = "USER_API"
# An access token is refreshed this number of seconds before its end. A token with a short lifetime
# is refreshed when a tenth of the lifetime is left.
_REFRESH_MARGIN: Final = 300
# Seconds until the session of ``_continuing_keys`` expires, if the process is stopped.
_PROBE_SECONDS: Final = 60
# The key of stored tokens depends on this text: another text ends all sessions.
_PURPOSE: Final = "ciam_django.accounts.tokens"


def create_ciam_session(
    request: HttpRequest, identity: CiamIdentity, person: Person, token_response: Mapping[str, Any]
) -> None:
    """Create the row of the session, and store the id of the row in Django's session.

    The row stores the tokens if ``CIAM_KEEP_TOKENS`` is True. CIAM's logout tokens end the session
    through the row.
    """
    app, keeps_tokens, check_interval = ciam_app(), conf.CIAM_KEEP_TOKENS, conf.CIAM_SESSION_CHECK
    if not request.session.session_key:
        # ``login`` has flushed a session of another user, so that the new session has no key yet.
        request.session.cycle_key()
    scopes = str(token_response.get("scope") or app.client_kwargs["scope"]).split()
    tokens = Tokens(
        str(request.session.session_key),
        may_check=bool(app.api_base_url) and _USER_API in scopes,
    )
    if keeps_tokens:
        # In CIAM's own mode, the id_token proves nothing and is not used.
        tokens = updated_tokens(
            tokens, token_response if app.is_oidc else {**token_response, "id_token": None}
        )
    ciam_session = CiamSession(
        identity=identity,
        sid_key=person.sid_key,
        sealed=encrypted_tokens(tokens),
        ends_at=request.session.get_expiry_date(),
    )
    ciam_session.save()
    request.session[_ENTRY_KEY] = _session_entry(request, ciam_session, tokens, check_interval)


def schedule_next_check(request: HttpRequest, ciam_session: CiamSession, tokens: Tokens) -> None:
    """Store the time of the next check in the session, and save this entry immediately.

    Raises ``CiamError``: ``session_ended`` if another request or CIAM has ended the session.
    """
    entry = _session_entry(request, ciam_session, tokens, conf.CIAM_SESSION_CHECK)
    # Only this entry is saved, and immediately. If Django saved the whole session at the end of the
    # request, the changes of parallel requests would be lost.
    # A copy, because the stores of some packages have more arguments than the key, such as the
    # client address, and write them.
    stored_session = copy.copy(request.session)
    vars(stored_session).pop("_session_cache", None)
    if _ENTRY_KEY in stored_session:
        stored_session[_ENTRY_KEY] = entry
        with contextlib.suppress(UpdateError):
            # Django raises ``UpdateError`` if the user has just signed out.
            stored_session.save()
    # Some stores read first and write later in ``save``, so that they restore a session that was
    # deleted in between. The restored session is deleted here or at the end of ``end_sessions``.
    if not CiamSession.objects.active().filter(pk=ciam_session.pk).exists():
        stored_session.delete()
        raise CiamError("session_ended", stage=Stage.REFRESH)
    is_modified = request.session.modified
    request.session[_ENTRY_KEY] = entry
    request.session.modified = is_modified


def _session_entry(
    request: HttpRequest, ciam_session: CiamSession, tokens: Tokens, check_interval: int
) -> dict[str, Any]:
    now = time.time()
    # Django may extend the session with each request.
    check_times = [now + request.session.get_expiry_age() / 2]
    if check_interval:
        check_times.append(now + check_interval)
    if tokens.refresh_token and tokens.refresh_from:
        check_times.append(max(tokens.refresh_from, now + _RETRY_INTERVAL * tokens.is_refresh_due))
    session_key = _digest(str(request.session.session_key))
    return _members_of(_SessionEntry(ciam_session.pk, session_key, min(check_times)))


@dataclasses.dataclass(frozen=True, slots=True)
class _SessionEntry:
    """The entry of ``_ENTRY_KEY``; the defaults let the next request check the session."""

    id: int
    key: str = ""
    look_at: float = 0


def _stored_entry(request: HttpRequest) -> _SessionEntry | None:
    """Return the entry of the session, or None if the session is not from CIAM.

    An entry that can't be read gives the id of no row, so that the check ends the session.
    """
    entry = request.session.get(_ENTRY_KEY)
    return (from_stored(_SessionEntry, entry) or _SessionEntry(0)) if entry else None


def is_check_due(request: HttpRequest) -> bool:
    """Return True if the check of the session is due; reads only Django's session."""
    entry = _stored_entry(request)
    if entry is None:
        return False
    has_new_key = entry.key != _digest(str(request.session.session_key))
    return has_new_key or entry.look_at <= time.time()


def ciam_session_of(request: HttpRequest) -> CiamSession | None:
    """Return the active row of the session; None if the session is not from CIAM or has ended."""
    entry = _stored_entry(request)
    if entry is None:
        return None
    active = CiamSession.objects.active().select_related("identity__user")
    return active.filter(pk=entry.id).first()


@clear_frames_on_error
def sync_ciam_session(request: HttpRequest, ciam_session: CiamSession) -> Tokens:
    """Store the current key and expiry date of Django's session in the row; return the tokens.

    Also delete the identity's older rows whose sessions have ended. Raises ``CiamError``:
    ``session_ended`` if the stored tokens can't be decrypted.
    """
    tokens = _sync_row(request, ciam_session)
    # In a transaction, the caller can have locked these rows, and other requests would have to wait
    # for the caller. The next check outside of a transaction deletes the rows.
    if not can_leave_transaction():
        # Only the newest sign-in of an identity is needed after its end.
        rows = CiamSession.objects.filter(identity=ciam_session.identity_id)
        past_end = rows.filter(pk__lt=ciam_session.pk, ends_at__lt=timezone.now())
        with contextlib.suppress(SessionStoreError):
            # Another browser's session can continue: Django may extend it with each request.
            ended = rows_without_django_session(past_end[:_MAX_DELETED])
            CiamSession.objects.filter(pk__in=[row.pk for row in ended]).delete()
    return tokens


@outside_transaction
def _sync_row(request: HttpRequest, ciam_session: CiamSession) -> Tokens:
    """Update the row, and return the tokens.

    The update is not a part of the caller's transaction, because this transaction must not lock a
    row that a refresh changes.
    """
    tokens = decrypted_tokens(ciam_session.sealed)
    session_key = str(request.session.session_key)
    if tokens.session_key != session_key:
        tokens = tokens.with_session_key(session_key)
        ciam_session.sealed = encrypted_tokens(tokens)
    # The update must not overwrite newer tokens or an ended session. The next check updates again.
    unchanged = CiamSession.objects.active().filter(
        pk=ciam_session.pk, renewals=ciam_session.renewals
    )
    unchanged.update(sealed=ciam_session.sealed, ends_at=request.session.get_expiry_date())
    return tokens


def stored_tokens(request: HttpRequest) -> Tokens | None:
    """Return the stored tokens without a refresh; None if no tokens are stored or readable."""
    ciam_session = ciam_session_of(request)
    with contextlib.suppress(CiamError):
        return decrypted_tokens(ciam_session.sealed) if ciam_session else None
    return None


def discard_ciam_session(request: HttpRequest) -> None:
    """End the row of the session and delete its tokens, without a signal.

    Django's session continues.
    """
    entry = _stored_entry(request)
    if entry:
        request.session.pop(_ENTRY_KEY)
        CiamSession.objects.filter(pk=entry.id).mark_ended()


def end_ciam_session(request: HttpRequest, reason: str) -> None:
    """End the row of the session, delete its tokens, and send ``signed_out`` with the reason.

    The caller ends Django's session.
    """
    ciam_session = ciam_session_of(request)
    discard_ciam_session(request)
    if ciam_session:
        _announce_sign_out(ciam_session.identity, reason, request)


def _digest(session_key: str) -> str:
    return hashlib.sha256(session_key.encode()).hexdigest()


# --- Sessions of other requests ---------------------------------------------------------------


def end_sessions(sessions: CiamSessionQuerySet, reason: str) -> int:
    """End the sessions and their Django sessions; return the number of ended sessions."""
    count = 0
    for ciam_session in sessions.active().select_related("identity__user"):
        # First: if Django's session can't be deleted, the row stays active for another attempt.
        _delete_django_session(ciam_session)
        if CiamSession.objects.filter(pk=ciam_session.pk).mark_ended():
            # And last: a check can have restored the session, see ``schedule_next_check``.
            _on_commit(functools.partial(_delete_django_session, ciam_session))
            count += 1
            _announce_sign_out(ciam_session.identity, reason)
    return count


def end_sessions_on_delete(sender: object, *, instance: CiamIdentity, **kwargs: Any) -> None:
    """Receive Django's ``pre_delete``: the sessions of a deleted identity end at once.

    Otherwise each session would continue until its next check.
    """
    end_sessions(instance.sessions.all(), "unlinked")


def end_other_sessions(request: HttpRequest) -> int:
    """End the other sessions of the identity with which the user has signed in.

    A view that changes the password at CIAM calls this function. Return the number of ended
    sessions, which is 0 without a session of CIAM. ``signed_out`` has the reason ``password``.
    """
    ciam_session = ciam_session_of(request)
    if ciam_session is None:
        return 0
    return end_sessions_of_person(ciam_session.identity.key, "password", except_for=request)


def end_sessions_of_user(user_id: str) -> None:
    """End the sessions of the person with this id at CIAM, who has set a new password.

    If the metadata can't be loaded, the failure is reported and no session ends: the password has
    changed, so that the user must not see an error.
    """
    try:
        issuer = load_issuer(ciam_app())
    except CiamError as error:
        report(error)
        return
    end_sessions_of_person(identity_key(issuer, user_id), "password")


def end_sessions_of_person(key: str, reason: str, *, except_for: HttpRequest | None = None) -> int:
    """End the sessions of the identity with this key; return the number of ended sessions.

    The session of the request ``except_for`` continues.
    """
    entry = except_for.session.get(_ENTRY_KEY) if except_for else None
    sessions = CiamSession.objects.filter(identity__key=key)
    return end_sessions(sessions.exclude(pk=entry["id"]) if entry else sessions, reason)


def _delete_django_session(ciam_session: CiamSession) -> None:
    # If no key decrypts the tokens, no key verifies the Django session either.
    with contextlib.suppress(CiamError):
        session_key = decrypted_tokens(ciam_session.sealed).session_key
        import_module(settings.SESSION_ENGINE).SessionStore(session_key).delete()


class SessionStoreError(Exception):
    """The store of Django's sessions has lost a session that was just created."""


def rows_without_django_session(rows: Collection[CiamSession]) -> list[CiamSession]:
    """Return the rows whose Django session has ended.

    Raises ``SessionStoreError``, or the exception of the store if the store fails.
    """
    keys = {}
    for row in rows:
        # If no key decrypts the tokens, no key verifies the Django session either.
        with contextlib.suppress(CiamError):
            keys[row.pk] = decrypted_tokens(row.sealed).session_key
    continuing = _continuing_keys(set(keys.values())) if keys else set()
    return [row for row in rows if keys.get(row.pk) not in continuing]


def _continuing_keys(keys: Collection[str]) -> set[str]:
    """Return the keys of the Django sessions that continue."""
    store_class: Any = import_module(settings.SESSION_ENGINE).SessionStore
    if hasattr(store_class, "get_model_class"):
        model = store_class.get_model_class()
        sessions = model.objects.using(router.db_for_write(model))
        sessions = sessions.filter(session_key__in=keys, expire_date__gt=timezone.now())
        return set(sessions.values_list("session_key", flat=True))
    # Some caches say "no such key" while they are down, and every session seems to have ended. So
    # another session, which is created first, must still exist.
    probe = store_class()
    probe.set_expiry(_PROBE_SECONDS)
    probe.create()
    try:
        continuing = {key for key in keys if probe.exists(key) and store_class(key).load()}
        if not probe.exists(probe.session_key):
            raise SessionStoreError(
                f"SESSION_ENGINE {settings.SESSION_ENGINE!r}: a session that was just created does "
                "not exist."
            )
    finally:
        probe.delete()
    return continuing


# --- Tokens -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a session; times are in seconds since the epoch, and 0 if unknown.

    ``session_key`` is the key of Django's session, so that other requests can end the session.
    ``may_check`` is True if CIAM's API can check the access token.
    """

    session_key: str = dataclasses.field(repr=False)
    access_token: str = dataclasses.field(default="", repr=False)
    refresh_token: str = dataclasses.field(default="", repr=False)
    id_token: str = dataclasses.field(default="", repr=False)
    refresh_from: float = 0
    expires_at: float = 0
    may_check: bool = False

    @property
    def is_usable(self) -> bool:
        """True if there is an access token that has not expired."""
        return bool(self.access_token) and not 0 < self.expires_at <= time.time()

    def with_session_key(self, session_key: str) -> Tokens:
        """Return the same tokens with the new key of Django's session."""
        return dataclasses.replace(self, session_key=session_key)

    @property
    def is_refresh_due(self) -> bool:
        """True if the access token is about to expire."""
        return 0 < self.refresh_from <= time.time()


def updated_tokens(tokens: Tokens, token_response: Mapping[str, Any]) -> Tokens:
    """Return the tokens, replaced by those of a token response (RFC 6749, sections 5.1 and 6).

    If the answer has no refresh token or no id_token, the old token stays.
    """
    lifetime = LIFETIME.fullmatch(str(token_response.get("expires_in")))
    seconds = int(lifetime[1]) if lifetime else 0
    now = time.time()
    return dataclasses.replace(
        tokens,
        access_token=token_response["access_token"],
        refresh_token=_text(token_response.get("refresh_token")) or tokens.refresh_token,
        id_token=_text(token_response.get("id_token")) or tokens.id_token,
        refresh_from=now + max(seconds - _REFRESH_MARGIN, seconds * 0.9) if seconds else 0,
        expires_at=now + seconds if seconds else 0,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _members_of(stored: Tokens | _SessionEntry) -> dict[str, Any]:
    """Return name -> value of each member; ``asdict`` would also copy each value."""
    return {name: getattr(stored, name) for name in stored.__slots__}


def encrypted_tokens(tokens: Tokens) -> str:
    """Return the tokens, encrypted with a key from ``SECRET_KEY``."""
    content = json.dumps(_members_of(tokens)).encode()
    return fernet_for(_PURPOSE).encrypt(content).decode()


@clear_frames_on_error
def decrypted_tokens(encrypted: str) -> Tokens:
    """Return the tokens, decrypted with a key from ``SECRET_KEY`` or its fallbacks.

    Raises ``CiamError``: ``session_ended`` if no key decrypts the tokens, or if the content is not
    that of ``encrypted_tokens``.
    """
    try:
        tokens = from_stored(Tokens, json.loads(fernet_for(_PURPOSE).decrypt(encrypted)))
    except (InvalidToken, ValueError) as error:
        raise CiamError("session_ended", stage=Stage.REFRESH) from error
    if tokens is None:
        raise CiamError("session_ended", stage=Stage.REFRESH)
    return tokens


# --- Signals and events -----------------------------------------------------------------------


def announce_sign_in(
    request: HttpRequest, identity: CiamIdentity, person: Person, *, session: str
) -> None:
    """Send ``signed_in`` and record the event, after the commit.

    ``session`` is ``django``, or ``token`` for an app that stores the tokens itself.
    """
    send_on_commit(signed_in, identity, request=request, person=person)
    record_on_commit(
        SIGNED_IN,
        request,
        user=identity.user_id,
        provider=person.provider or "ciam",
        session=session,
    )


def _announce_sign_out(
    identity: CiamIdentity, reason: str, request: HttpRequest | None = None
) -> None:
    """Send ``signed_out`` and record the event, after the commit."""
    arguments = {"request": request} if request else {}
    send_on_commit(signed_out, identity, reason=reason, **arguments)
    record_on_commit(SIGNED_OUT, request, user=identity.user_id, sign_out_reason=reason)


def record_on_commit(event: Event, request: HttpRequest | None, **facts: Any) -> None:
    """Record the event after the transaction has been committed."""
    # The transaction can end after the view.
    scope = request_scope.get()
    _on_commit(functools.partial(record, event, request, scope=scope, **facts))


def send_on_commit(signal: Signal, identity: CiamIdentity, **arguments: Any) -> None:
    """Send the signal after the transaction has been committed."""
    send = functools.partial(
        signal.send_robust, CiamIdentity, identity=identity, user=identity.user, **arguments
    )
    _on_commit(send)


def _on_commit(function: Callable[[], object]) -> None:
    """Call the function after the commit; an exception of the function is only logged."""
    transaction.on_commit(function, using=router.db_for_write(CiamIdentity), robust=True)
