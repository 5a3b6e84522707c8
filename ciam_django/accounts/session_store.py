"""``CiamSession`` rows: created at sign-in, read with a request, and ended from here or outside."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.db import transaction
from django.dispatch import Signal
from django.http import HttpRequest
from django.utils import timezone

from ciam_django.accounts.models import CiamIdentity, CiamSession, CiamSessionQuerySet
from ciam_django.accounts.signals import signed_out
from ciam_django.client.crypto import fernet_for
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import Person, identity_key, is_subject
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.privacy import clear_frames_on_error

# In Django's session: the row's id, the digest of the session's key, and when to look again.
_ENTRY_KEY: Final = "ciam_session"
# Seconds: until the next look where CIAM could not be asked.
_RETRY_INTERVAL: Final = 60
# The scope without which CIAM's API takes no token of a person's.
_USER_API: Final = "USER_API"
# Seconds before its end from which an access token is renewed; of a short life, a tenth.
_REFRESH_MARGIN: Final = 300
# The key of stored tokens depends on this text: another text ends all sessions.
_PURPOSE: Final = "ciam_django.accounts.tokens"


def create_ciam_session(
    request: HttpRequest, identity: CiamIdentity, person: Person, token_response: Mapping[str, Any]
) -> None:
    """Create the row by which the session's tokens are refreshed, and by which CIAM ends it."""
    sid = person.claims.get("sid")
    sid_key = identity_key(person.issuer, str(sid)) if is_subject(sid) else ""
    app, keeps_tokens, check_interval = ciam_app(), conf.CIAM_KEEP_TOKENS, conf.CIAM_SESSION_CHECK
    if not request.session.session_key:
        # Django has flushed a session that was another user's.
        request.session.cycle_key()
    scopes = str(token_response.get("scope") or app.client_kwargs["scope"]).split()
    tokens = Tokens(
        str(request.session.session_key),
        may_check=bool(app.api_base_url) and _USER_API in scopes,
    )
    if keeps_tokens:
        # The id_token of CIAM's own mode proves nothing and has no use.
        tokens = updated_tokens(
            tokens, token_response if app.is_oidc else {**token_response, "id_token": None}
        )
    ciam_session = identity.sessions.create(
        sid_key=sid_key,
        sealed=encrypted_tokens(tokens),
        ends_at=request.session.get_expiry_date(),
    )
    request.session[_ENTRY_KEY] = _session_entry(request, ciam_session, tokens, check_interval)


def schedule_next_check(request: HttpRequest, ciam_session: CiamSession, tokens: Tokens) -> None:
    """Note in the session when its tokens are to be looked at.

    A ``CiamError``, ``session_ended``, where another request or CIAM has ended it meanwhile.
    """
    entry = _session_entry(request, ciam_session, tokens, conf.CIAM_SESSION_CHECK)
    # At once and alone: with all the rest at the request's end, it would undo what other requests
    # of the session do in the meantime.
    stored_session = type(request.session)(request.session.session_key)
    if _ENTRY_KEY in stored_session:
        stored_session[_ENTRY_KEY] = entry
        with contextlib.suppress(UpdateError):
            # Otherwise somebody has just signed out.
            stored_session.save()
    # Whoever ends a session deletes it last: what some stores' save, which looks first and writes
    # then, has brought back is deleted here or there.
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
    return {
        "id": ciam_session.pk,
        "key": _digest(str(request.session.session_key)),
        "look_at": min(check_times),
    }


def is_check_due(request: HttpRequest) -> bool:
    """Whether it is time to look at the session; nothing is fetched for that."""
    entry = request.session.get(_ENTRY_KEY)
    if not entry:
        return False
    has_new_key = entry["key"] != _digest(str(request.session.session_key))
    return has_new_key or float(entry["look_at"]) <= time.time()


def ciam_session_of(request: HttpRequest) -> CiamSession | None:
    """What is kept for the request's session; None if that was not begun at CIAM, or is ended."""
    entry = request.session.get(_ENTRY_KEY)
    if not entry:
        return None
    active = CiamSession.objects.active().select_related("identity__user")
    return active.filter(pk=entry["id"]).first()


@clear_frames_on_error
def sync_ciam_session(request: HttpRequest, ciam_session: CiamSession) -> Tokens:
    """What the row holds, which has the key and the end that Django has given the session since."""
    tokens = decrypted_tokens(ciam_session.sealed)
    session_key = str(request.session.session_key)
    if tokens.session_key != session_key:
        tokens = tokens.with_session_key(session_key)
        ciam_session.sealed = encrypted_tokens(tokens)
    # Not over newer tokens, nor over the end: the next look sets that right.
    unchanged = CiamSession.objects.active().filter(
        pk=ciam_session.pk, renewals=ciam_session.renewals
    )
    unchanged.update(sealed=ciam_session.sealed, ends_at=request.session.get_expiry_date())
    # Nobody misses the sign-ins before it that are over.
    older = CiamSession.objects.filter(identity=ciam_session.identity_id, pk__lt=ciam_session.pk)
    older.filter(ends_at__lt=timezone.now()).delete()
    return tokens


def stored_tokens(request: HttpRequest) -> Tokens | None:
    """What is kept for the request's session, as it is; None where nothing is, or can be read."""
    ciam_session = ciam_session_of(request)
    with contextlib.suppress(CiamError):
        return decrypted_tokens(ciam_session.sealed) if ciam_session else None
    return None


def discard_ciam_session(request: HttpRequest) -> None:
    """Keep nothing more for the request's session."""
    entry = request.session.pop(_ENTRY_KEY, None)
    if entry:
        CiamSession.objects.filter(pk=entry["id"]).mark_ended()


def end_ciam_session(request: HttpRequest, reason: str) -> None:
    """Keep nothing more for a session that is over; ``reason`` is of ``signals.signed_out``."""
    ciam_session = ciam_session_of(request)
    discard_ciam_session(request)
    if ciam_session:
        send_on_commit(signed_out, ciam_session.identity, request=request, reason=reason)


def _digest(session_key: str) -> str:
    return hashlib.sha256(session_key.encode()).hexdigest()


# --- From outside -----------------------------------------------------------------------------


def end_sessions(sessions: CiamSessionQuerySet, reason: str) -> int:
    """End the sessions, Django's with ours; how many there were."""
    count = 0
    for ciam_session in sessions.active().select_related("identity__user"):
        # First: where Django's can't be ended, whoever asked for it has to ask again.
        _delete_django_session(ciam_session)
        if CiamSession.objects.filter(pk=ciam_session.pk).mark_ended():
            # And last: a look at the session may have stored it again, see ``schedule_next_check``.
            transaction.on_commit(
                functools.partial(_delete_django_session, ciam_session), robust=True
            )
            count += 1
            send_on_commit(signed_out, ciam_session.identity, reason=reason)
    return count


def _delete_django_session(ciam_session: CiamSession) -> None:
    # What no key of ours opens names a session that no key of ours opens.
    with contextlib.suppress(CiamError):
        session_key = decrypted_tokens(ciam_session.sealed).session_key
        import_module(settings.SESSION_ENGINE).SessionStore(session_key).delete()


# --- Tokens -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Tokens:
    """What a session holds of CIAM's; times are in seconds since the epoch, 0 where none is known.

    ``session_key`` is Django's, by which the session can be ended from outside. ``may_check`` says
    whether CIAM can be asked of the access token.
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
        """Whether the access token can be used."""
        return bool(self.access_token) and not 0 < self.expires_at <= time.time()

    def with_session_key(self, session_key: str) -> Tokens:
        """The same, for Django's session under its new key."""
        return dataclasses.replace(self, session_key=session_key)

    @property
    def is_refresh_due(self) -> bool:
        """Whether it is time to renew it."""
        return 0 < self.refresh_from <= time.time()


def updated_tokens(tokens: Tokens, token_response: Mapping[str, Any]) -> Tokens:
    """The tokens with those of a token answer in their place (RFC 6749, 5.1 and 6).

    An answer that has no refresh token leaves the one that there is.
    """
    expires_in = token_response.get("expires_in")
    is_number = isinstance(expires_in, int | float) and not isinstance(expires_in, bool)
    seconds: float = max(expires_in or 0, 0) if is_number else 0
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


def encrypted_tokens(tokens: Tokens) -> str:
    """As only this project can read it, by ``SECRET_KEY``."""
    content = json.dumps(dataclasses.asdict(tokens)).encode()
    return fernet_for(_PURPOSE).encrypt(content).decode()


def decrypted_tokens(encrypted: str) -> Tokens:
    """What was sealed, by ``SECRET_KEY`` or one of its fallbacks; ``session_ended`` if by none."""
    try:
        return Tokens(**json.loads(fernet_for(_PURPOSE).decrypt(encrypted)))
    except (InvalidToken, ValueError, TypeError) as error:
        raise CiamError("session_ended", stage=Stage.REFRESH) from error


# --- Signals ----------------------------------------------------------------------------------


def send_on_commit(signal: Signal, identity: CiamIdentity, **more: Any) -> None:
    """Send the signal as soon as what it tells of is certain."""
    send = functools.partial(
        signal.send_robust, CiamIdentity, identity=identity, user=identity.user, **more
    )
    transaction.on_commit(send, robust=True)
