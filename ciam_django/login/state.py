"""What one sign-in must remember between leaving for CIAM and coming back: a sealed cookie.

Nobody gets a session row before they have signed in, tabs do not disturb each other, and no
answer of ours can bring a spent state back.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import posixpath
import secrets
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.crypto import salted_hmac

from ciam_django.client.shared import is_first
from ciam_django.conf import conf, remembered

# Seconds.
LIFETIME: Final = 600
# Cookies: of about 600 bytes each, in a header that proxies cut at 8 KiB.
_MOST: Final = 5
_PREFIX: Final = "ciam_state_"
_LONGEST_STATE: Final = 128


@dataclasses.dataclass(frozen=True, slots=True)
class SignIn:
    """One sign-in under way."""

    state: str
    nonce: str
    code_verifier: str
    provider: str
    next: str

    @property
    def digest(self) -> str:
        """What names the state where the state itself must not stand."""
        return digest_of(self.state)


def begun(*, next_url: str, provider: str = "ciam") -> SignIn:
    """A new sign-in with secrets of its own (for the verifier: RFC 7636, 4.1)."""
    return SignIn(
        state=secrets.token_urlsafe(24),
        nonce=secrets.token_urlsafe(24),
        code_verifier=secrets.token_urlsafe(48),
        provider=provider,
        next=next_url,
    )


def keep(request: HttpRequest, response: HttpResponseBase, sign_in: SignIn) -> None:
    """Set the cookie of a sign-in, and drop the oldest where there would be too many."""
    names = _oldest_first(request)
    for name in names[: max(0, len(names) + 1 - _MOST)]:
        _drop(response, name)
    content = json.dumps(dataclasses.asdict(sign_in)).encode()
    response.set_cookie(
        _PREFIX + sign_in.digest,
        _seal().encrypt(content).decode(),
        max_age=LIFETIME,
        path=_path(),
        secure=request.is_secure() or conf.CIAM_CALLBACK_URL.startswith("https:"),
        httponly=True,
        samesite="Lax",
    )


def kept(request: HttpRequest, state: str, provider: str = "ciam") -> SignIn | None:
    """The sign-in that a state belongs to, if this browser began it less than ten minutes ago."""
    cookie = request.COOKIES.get(_PREFIX + digest_of(state)) if state else None
    if cookie is None:
        return None
    try:
        content: dict[str, Any] = json.loads(_seal().decrypt(cookie, ttl=LIFETIME))
        sign_in = SignIn(**content)
    except (InvalidToken, ValueError, TypeError):
        return None
    is_same = secrets.compare_digest(sign_in.state.encode(), state.encode())
    return sign_in if is_same and sign_in.provider == provider else None


def spend(sign_in: SignIn) -> bool:
    """Whether this is the first use of the state; there is no second one, in any process."""
    # Without a cache, the cookie and CIAM's single-use code still guard the login.
    return is_first(f"ciam_django.state.{sign_in.digest}", seconds=LIFETIME)


def forget(response: HttpResponseBase, sign_in: SignIn) -> None:
    """Drop the cookie of a sign-in that is over."""
    _drop(response, _PREFIX + sign_in.digest)


def _drop(response: HttpResponseBase, name: str) -> None:
    response.delete_cookie(name, path=_path(), samesite="Lax")


def _oldest_first(request: HttpRequest) -> list[str]:
    def age(name: str) -> int:
        try:
            return _seal().extract_timestamp(request.COOKIES[name])
        except InvalidToken:
            return 0

    return sorted((name for name in request.COOKIES if name.startswith(_PREFIX)), key=age)


def _path() -> str:
    """The path that ``ciam:authorize`` and ``ciam:callback`` have in common."""
    common = posixpath.commonpath([reverse("ciam:authorize"), reverse("ciam:callback")])
    return common if common == "/" else f"{common}/"


def digest_of(state: str) -> str:
    """What names a state where the state itself must not stand."""
    return hashlib.sha256(state[: _LONGEST_STATE + 1].encode()).hexdigest()[:32]


@remembered
def _seal() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet(
        Fernet(
            base64.urlsafe_b64encode(
                salted_hmac(__name__, b"", secret=key, algorithm="sha256").digest()
            )
        )
        for key in keys
    )
