"""What one sign-in must remember between leaving for CIAM, or a provider, and coming back."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import secrets
from typing import Final

from django.http import HttpRequest, HttpResponseBase

from ciam_django.client.cache import acquire_once, get_cached
from ciam_django.login.cookies import EncryptedCookies

# Seconds.
STATE_SECONDS: Final = 600
# The cookie outlives its sign-in, so that who comes back late can be told that they are late.
_COOKIE_SECONDS: Final = 24 * 3600
_COOKIES: Final = EncryptedCookies("ciam_django.login.state", "state_", _COOKIE_SECONDS)
_LONGEST_STATE: Final = 128


@dataclasses.dataclass(frozen=True, slots=True)
class SignInState:
    """One sign-in under way; ``link_to`` is the user who adds it to theirs, if somebody does."""

    state: str = dataclasses.field(repr=False)
    nonce: str = dataclasses.field(repr=False)
    code_verifier: str = dataclasses.field(repr=False)
    provider: str
    next: str = dataclasses.field(repr=False)
    link_to_user: str = ""

    @property
    def digest(self) -> str:
        """What names the state where the state itself must not stand."""
        return state_digest(self.state)


def new_sign_in_state(*, next_url: str, provider: str = "ciam", link_to: str = "") -> SignInState:
    """A new sign-in with secrets of its own (for the verifier: RFC 7636, 4.1)."""
    return SignInState(
        # WeChat wants letters and digits alone.
        state=secrets.token_hex(24),
        nonce=secrets.token_urlsafe(24),
        code_verifier=secrets.token_urlsafe(48),
        provider=provider,
        next=next_url,
        link_to_user=link_to,
    )


def set_state_cookie(
    request: HttpRequest, response: HttpResponseBase, sign_in_state: SignInState
) -> None:
    """Set the cookie of a sign-in."""
    _COOKIES.set(request, response, sign_in_state.digest, dataclasses.asdict(sign_in_state))


def state_from_cookie(
    request: HttpRequest, state: str, provider: str = "ciam"
) -> SignInState | None:
    """The sign-in that a state belongs to, if this browser began it less than ten minutes ago."""
    return _decrypted_state(request, state, provider, STATE_SECONDS)


def is_expired(request: HttpRequest, state: str, provider: str = "ciam") -> bool:
    """Whether this browser began the sign-in that a state belongs to, but longer ago."""
    began = _decrypted_state(request, state, provider, None)
    return began is not None and state_from_cookie(request, state, provider) is None


def has_state_cookie(request: HttpRequest, state: str) -> bool:
    """Whether this browser has a cookie by the state's name, which it may have spoilt."""
    return _COOKIES.has_cookie(request, state_digest(state))


def _decrypted_state(
    request: HttpRequest, state: str, provider: str, max_age: int | None
) -> SignInState | None:
    content = _COOKIES.content(request, state_digest(state), max_age) if state else None
    try:
        sign_in_state = SignInState(**content) if content else None
    except TypeError:
        return None
    if sign_in_state is None or sign_in_state.provider != provider:
        return None
    is_same = secrets.compare_digest(sign_in_state.state.encode(), state.encode(errors="replace"))
    return sign_in_state if is_same else None


def claim_state(sign_in_state: SignInState) -> bool:
    """Whether this is the first use of the state; there is no second one, in any process."""
    # Without a cache, the cookie and CIAM's single-use code still guard the login.
    return acquire_once(_claim_key(sign_in_state.state), seconds=STATE_SECONDS)


def is_claimed(state: str) -> bool:
    """Whether the state has been used already, as far as the cache can tell."""
    # Who asks has proved nothing, and is nothing to warn of.
    return get_cached(_claim_key(state), level=logging.INFO) is not None


def delete_state_cookie(response: HttpResponseBase, sign_in_state: SignInState) -> None:
    """Drop the cookie of a sign-in that is over."""
    _COOKIES.delete(response, sign_in_state.digest)


def _claim_key(state: str) -> str:
    return f"ciam_django.state.{state_digest(state)}"


def state_digest(state: str) -> str:
    """What names a state where the state itself must not stand."""
    return hashlib.sha256(state[: _LONGEST_STATE + 1].encode(errors="replace")).hexdigest()[:32]
