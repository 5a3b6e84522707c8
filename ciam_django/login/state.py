"""What one sign-in must remember between leaving for CIAM, or a provider, and coming back."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import secrets
from typing import Final

from django.http import HttpRequest, HttpResponseBase

from ciam_django.client.cache import is_first, shared
from ciam_django.login.cookies import SealedCookies

# Seconds.
LIFETIME: Final = 600
# The cookie outlives its sign-in, so that who comes back late can be told that they are late.
_COOKIE_LIFETIME: Final = 24 * 3600
_COOKIES: Final = SealedCookies(__name__, "state_", _COOKIE_LIFETIME)
_LONGEST_STATE: Final = 128


@dataclasses.dataclass(frozen=True, slots=True)
class SignIn:
    """One sign-in under way; ``link_to`` is the user who adds it to theirs, if somebody does."""

    state: str = dataclasses.field(repr=False)
    nonce: str = dataclasses.field(repr=False)
    code_verifier: str = dataclasses.field(repr=False)
    provider: str
    next: str = dataclasses.field(repr=False)
    link_to: str = ""

    @property
    def digest(self) -> str:
        """What names the state where the state itself must not stand."""
        return digest_of(self.state)


def begun(*, next_url: str, provider: str = "ciam", link_to: str = "") -> SignIn:
    """A new sign-in with secrets of its own (for the verifier: RFC 7636, 4.1)."""
    return SignIn(
        # WeChat wants letters and digits alone.
        state=secrets.token_hex(24),
        nonce=secrets.token_urlsafe(24),
        code_verifier=secrets.token_urlsafe(48),
        provider=provider,
        next=next_url,
        link_to=link_to,
    )


def keep(request: HttpRequest, response: HttpResponseBase, sign_in: SignIn) -> None:
    """Set the cookie of a sign-in."""
    _COOKIES.keep(request, response, sign_in.digest, dataclasses.asdict(sign_in))


def kept(request: HttpRequest, state: str, provider: str = "ciam") -> SignIn | None:
    """The sign-in that a state belongs to, if this browser began it less than ten minutes ago."""
    return _opened(request, state, provider, LIFETIME)


def is_late(request: HttpRequest, state: str, provider: str = "ciam") -> bool:
    """Whether this browser began the sign-in that a state belongs to, but longer ago."""
    began = _opened(request, state, provider, None)
    return began is not None and kept(request, state, provider) is None


def began_here(request: HttpRequest, state: str) -> bool:
    """Whether this browser has a cookie by the state's name, which it may have spoilt."""
    return _COOKIES.has(request, digest_of(state))


def _opened(request: HttpRequest, state: str, provider: str, ttl: int | None) -> SignIn | None:
    content = _COOKIES.kept(request, digest_of(state), ttl) if state else None
    try:
        sign_in = SignIn(**content) if content else None
    except TypeError:
        return None
    if sign_in is None or sign_in.provider != provider:
        return None
    is_same = secrets.compare_digest(sign_in.state.encode(), state.encode(errors="replace"))
    return sign_in if is_same else None


def spend(sign_in: SignIn) -> bool:
    """Whether this is the first use of the state; there is no second one, in any process."""
    # Without a cache, the cookie and CIAM's single-use code still guard the login.
    return is_first(_mark_of(sign_in.state), seconds=LIFETIME)


def is_spent(state: str) -> bool:
    """Whether the state has been used already, as far as the cache can tell."""
    # Who asks has proved nothing, and is nothing to warn of.
    return shared(_mark_of(state), level=logging.INFO) is not None


def forget(response: HttpResponseBase, sign_in: SignIn) -> None:
    """Drop the cookie of a sign-in that is over."""
    _COOKIES.forget(response, sign_in.digest)


def _mark_of(state: str) -> str:
    return f"ciam_django.state.{digest_of(state)}"


def digest_of(state: str) -> str:
    """What names a state where the state itself must not stand."""
    return hashlib.sha256(state[: _LONGEST_STATE + 1].encode(errors="replace")).hexdigest()[:32]
