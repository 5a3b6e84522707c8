"""``SignInState``, stored in a cookie from the redirect to CIAM or a provider to the callback."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import json
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.crypto import salted_hmac

from ciam_django.client.cache import (
    acquire_once,
    acquired_at,
    get_cached,
    get_encrypted,
    is_acquired,
    set_cached,
    set_encrypted,
)
from ciam_django.client.crypto import from_stored
from ciam_django.events import new_sign_in_id, request_scope
from ciam_django.login.cookies import EncryptedCookies
from ciam_django.login.tenant_config import HOSTED

# Seconds for which a state is valid.
STATE_SECONDS: Final = 600
# Seconds after the first callback in which a second callback has the same outcome.
REPEAT_SECONDS: Final = 30
# The cookie lives longer than the state, so that the page of a late callback can say that the
# state has expired.
_COOKIE_SECONDS: Final = 24 * 3600
_COOKIES: Final = EncryptedCookies("ciam_django.login.state", "state_", _COOKIE_SECONDS)
# Session key of a list of [digest, next] pairs of the last five sign-ins, newest last.
_NEXT_KEY: Final = "ciam_signed_in_by"
_MAX_REMEMBERED: Final = 5


@dataclasses.dataclass(frozen=True, slots=True)
class SignInState:
    """A sign-in that has not ended.

    ``link_to_user`` is the primary key of the user to link the identity to; an empty text signs the
    identity's own user in. ``consents`` are the ids of the terms that the user has agreed to.
    ``redirect_uri`` is the one of the authorization request, which the token request repeats (RFC
    6749, section 4.1.3); it is empty if CIAM's API exchanges the code of a provider.
    ``sign_in`` is the fact of its events.
    """

    state: str = dataclasses.field(repr=False)
    nonce: str = dataclasses.field(repr=False)
    code_verifier: str = dataclasses.field(repr=False)
    provider: str
    next: str = dataclasses.field(repr=False)
    link_to_user: str = ""
    consents: list[str] = dataclasses.field(default_factory=list)
    redirect_uri: str = dataclasses.field(default="", repr=False)
    sign_in: str = dataclasses.field(default_factory=new_sign_in_id)

    @property
    def code_challenge(self) -> str:
        """The S256 challenge of the code verifier (RFC 7636, section 4.2)."""
        digest = hashlib.sha256(self.code_verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    @property
    def digest(self) -> str:
        """The digest of the state, for places that must not contain the state itself."""
        return state_digest(self.state)


def new_sign_in_state(
    *,
    next_url: str,
    provider: str = "ciam",
    link_to_user: str = "",
    redirect_uri: str = "",
) -> SignInState:
    """Return a new sign-in with new secrets. RFC 7636, section 4.1, describes the verifier."""
    sign_in_state = SignInState(
        # WeChat accepts only letters and digits.
        state=secrets.token_hex(24),
        nonce=secrets.token_urlsafe(24),
        code_verifier=secrets.token_urlsafe(48),
        provider=provider,
        next=next_url,
        link_to_user=link_to_user,
        redirect_uri=redirect_uri,
    )
    share_sign_in(sign_in_state)
    return sign_in_state


def share_sign_in(sign_in_state: SignInState) -> None:
    """Let all further events of the request have the id and the login method of the sign-in."""
    if scope := request_scope.get():
        scope.sign_in = sign_in_state.sign_in
        scope.method = HOSTED if sign_in_state.provider == "ciam" else sign_in_state.provider


def set_state_cookie(
    request: HttpRequest, response: HttpResponseBase, sign_in_state: SignInState
) -> None:
    """Store a sign-in in an encrypted cookie, and the host of the request in the cache."""
    _COOKIES.set(request, response, sign_in_state.digest, _members_of(sign_in_state))
    host_key = _host_key(sign_in_state.state)
    set_cached(host_key, request.get_host(), seconds=STATE_SECONDS)


def state_from_cookie(
    request: HttpRequest, state: str, provider: str = "ciam"
) -> SignInState | None:
    """Return the sign-in of a state, or None.

    This browser must have started the sign-in with this provider, at most ``STATE_SECONDS`` ago.
    """
    return _decrypted_state(request, state, provider, STATE_SECONDS)


def is_expired(request: HttpRequest, state: str, provider: str = "ciam") -> bool:
    """Return True if this browser started the sign-in, but more than ``STATE_SECONDS`` ago."""
    sign_in_state = _decrypted_state(request, state, provider, None)
    return sign_in_state is not None and state_from_cookie(request, state, provider) is None


def has_state_cookie(request: HttpRequest, state: str) -> bool:
    """Return True if the request has the cookie of a state, even if its content is invalid."""
    return _COOKIES.has_cookie(request, state_digest(state))


def starting_host(state: str) -> str:
    """Return the host at which a sign-in has started; empty if it is unknown.

    The browser does not send the cookie of a sign-in to another host.
    """
    # Any anonymous user can cause this call, so a broken cache is logged here without a warning.
    return get_cached(_host_key(state), level=logging.INFO) or ""


def _host_key(state: str) -> str:
    return f"ciam_django.host.{state_digest(state)}"


def _decrypted_state(
    request: HttpRequest, state: str, provider: str, max_age: int | None
) -> SignInState | None:
    content = _COOKIES.content(request, state_digest(state), max_age) if state else None
    sign_in_state = from_stored(SignInState, content)
    if sign_in_state is None or sign_in_state.provider != provider:
        return None
    is_same = secrets.compare_digest(sign_in_state.digest, state_digest(state))
    return sign_in_state if is_same else None


def delete_state_cookie(
    request: HttpRequest, response: HttpResponseBase, sign_in_state: SignInState
) -> None:
    """Delete the cookie of a sign-in that has ended."""
    _COOKIES.delete(request, response, sign_in_state.digest)


# --- Used states ------------------------------------------------------------------------------


def claim_state(sign_in_state: SignInState) -> bool:
    """Mark the state as used; return False if a callback in any process has used it before.

    Return True if the cache fails.
    """
    # Without a cache, the cookie and CIAM's single-use code still protect the sign-in.
    return acquire_once(_claim_key(sign_in_state.state), seconds=STATE_SECONDS)


def is_claimed(state: str) -> bool:
    """Return True if ``claim_state`` has marked the state as used; False if the cache fails."""
    # Any anonymous user can cause this call, so a broken cache is logged here without a warning.
    return is_acquired(_claim_key(state), level=logging.INFO)


def may_repeat(sign_in_state: SignInState) -> bool:
    """Return True if a callback has used the state in the last ``REPEAT_SECONDS`` seconds."""
    return time.time() - acquired_at(_claim_key(sign_in_state.state)) <= REPEAT_SECONDS


def try_to_wait(sign_in_state: SignInState, seconds: int) -> bool:
    """Return True for one of the callbacks that want to wait for ``seconds`` at the same time."""
    return acquire_once(f"{_claim_key(sign_in_state.state)}.waiting", seconds=seconds)


# --- The next page of used states and finished flows ------------------------------------------


def remember_next(request: HttpRequest, digest: str, next_url: str) -> None:
    """Store the ``next`` of a finished sign-in in the session, to redirect a repeated request.

    ``digest`` is the digest of a state, or the id of a flow.
    """
    newest = request.session.get(_NEXT_KEY, [])
    request.session[_NEXT_KEY] = [*newest, [digest, next_url]][-_MAX_REMEMBERED:]


def remembered_next(request: HttpRequest, digest: str) -> str | None:
    """Return the ``next`` of a sign-in that started this session; None if it is unknown."""
    next_urls: dict[str, str] = dict(request.session.get(_NEXT_KEY, []))
    return next_urls.get(digest)


# --- The outcome of a callback ----------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class CallbackOutcome:
    """The outcome of the first callback, so that a second callback has the same outcome.

    A success has the URL and the cookies of the redirect, and the key of the session if the
    callback has started a session. A failure has the arguments of the ``CiamError``.
    """

    url: str = dataclasses.field(default="", repr=False)
    cookies: Sequence[str] = dataclasses.field(default=(), repr=False)
    session_key: str = dataclasses.field(default="", repr=False)
    error: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _members_of(stored: SignInState | CallbackOutcome) -> dict[str, Any]:
    """Return name -> value of each member; ``asdict`` would also copy each value."""
    return {name: getattr(stored, name) for name in stored.__slots__}


def record_success(
    request: HttpRequest, response: HttpResponse, sign_in_state: SignInState
) -> CallbackOutcome:
    """Return the outcome of a successful callback, and save its session for other requests."""
    cookies = [morsel.OutputString() for morsel in response.cookies.values()]
    session_key = ""
    next_url = remembered_next(request, sign_in_state.digest)
    if next_url is not None and not sign_in_state.link_to_user:
        # Here, not in Django's middleware: if a browser disconnects, an ASGI server can drop the
        # response of this view before the middleware saves the session.
        _save_once(request.session)
        session_key = str(request.session.session_key)
    return CallbackOutcome(response["Location"], cookies, session_key)


def _save_once(session: SessionBase) -> None:
    """Save the session now. Django's middleware then saves the session only if it has changed."""
    save = session.save
    save()
    # A copy, because a change inside a list or dict of the session also counts.
    saved = session.session_key, copy.deepcopy(dict(session.items()))

    def save_changes(must_create: bool = False) -> None:
        if must_create or (session.session_key, dict(session.items())) != saved:
            save(must_create)

    # Without ``modified``, the middleware would not set the cookie of the session.
    vars(session)["save"] = save_changes


def store_outcome(
    request: HttpRequest,
    response: HttpResponseBase | None,
    sign_in_state: SignInState,
    outcome: CallbackOutcome,
) -> None:
    """Store the outcome in the cache of all processes, encrypted with ``_outcome_fernet``.

    Also keep the cookie of the state in the response of the first callback, which is None if its
    view has failed.
    """
    content = json.dumps(_members_of(outcome)).encode()
    encrypted = _outcome_fernet(sign_in_state).encrypt(content).decode()
    key = _outcome_key(sign_in_state)
    if response is not None:
        keep_state_cookie(request, response, sign_in_state)
    set_encrypted(key, encrypted, seconds=REPEAT_SECONDS)


def keep_state_cookie(
    request: HttpRequest, response: HttpResponseBase, sign_in_state: SignInState
) -> None:
    """Keep the cookie of a used state as long as a second callback has the same outcome."""
    _COOKIES.set_again(request, response, sign_in_state.digest, seconds=REPEAT_SECONDS)


def stored_outcome(sign_in_state: SignInState) -> CallbackOutcome | None:
    """Return the outcome of the first callback; None if it is not stored or can't be read."""
    encrypted = get_encrypted(_outcome_key(sign_in_state))
    try:
        content = _outcome_fernet(sign_in_state).decrypt(encrypted, ttl=REPEAT_SECONDS)
    except (InvalidToken, ValueError):
        # ValueError: another program has stored a text that is not ASCII.
        return None
    return from_stored(CallbackOutcome, json.loads(content))


def _outcome_fernet(sign_in_state: SignInState) -> Fernet:
    """Return the key of an outcome: only the browser with the cookie of the state has the key.

    The key depends on ``SECRET_KEY`` and on the secrets in the encrypted cookie. So a person who
    can read or write the cache, or who knows one of them, can neither read nor forge the outcome.
    """
    secrets_of_cookie = f"{sign_in_state.state} {sign_in_state.nonce} {sign_in_state.code_verifier}"
    key = salted_hmac("ciam_django.login.outcome", secrets_of_cookie, algorithm="sha256").digest()
    return Fernet(base64.urlsafe_b64encode(key))


def _outcome_key(sign_in_state: SignInState) -> str:
    return f"ciam_django.outcome.{sign_in_state.digest}"


def _claim_key(state: str) -> str:
    return f"ciam_django.state.{state_digest(state)}"


def state_digest(state: str) -> str:
    """Return the digest of a state, for places that must not contain the state itself."""
    return hashlib.sha256(state.encode(errors="replace")).hexdigest()[:32]
