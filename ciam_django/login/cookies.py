"""The cookies of a login: how they are set and encrypted, and whether the browser keeps any."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from ciam_django.client.crypto import fernet_for
from ciam_django.conf import conf

_PREFIX: Final = "ciam_"


def set_cookie(
    request: HttpRequest, response: HttpResponseBase, name: str, value: str, *, seconds: int
) -> None:
    """Have the browser keep a value for our own views, and for no script."""
    response.set_cookie(
        _PREFIX + name,
        value,
        max_age=seconds,
        path=_cookie_path(),
        secure=request.is_secure() or conf.CIAM_CALLBACK_URL.startswith("https:"),
        httponly=True,
        samesite="Lax",
    )


def delete_cookie(response: HttpResponseBase, name: str) -> None:
    """Have the browser forget a value."""
    response.delete_cookie(_PREFIX + name, path=_cookie_path(), samesite="Lax")


def cookie_value(request: HttpRequest, name: str) -> str | None:
    """The value that the browser has kept, or None."""
    return request.COOKIES.get(_PREFIX + name)


def cookie_names(request: HttpRequest, prefix: str) -> list[str]:
    """The names that begin so, of all that the browser has kept for us."""
    full_prefix = _PREFIX + prefix
    return [name.removeprefix(_PREFIX) for name in request.COOKIES if name.startswith(full_prefix)]


def has_any_cookie(request: HttpRequest) -> bool:
    """Whether any has come that signing in sets: one of ours, the form's or the session's."""
    django_names = {settings.CSRF_COOKIE_NAME, settings.SESSION_COOKIE_NAME}
    return bool(cookie_names(request, "") or django_names & set(request.COOKIES))


def _cookie_path() -> str:
    """The path that ``ciam:authorize`` and ``ciam:callback`` have in common."""
    common = posixpath.commonpath([reverse("ciam:authorize"), reverse("ciam:callback")])
    return common if common == "/" else f"{common}/"


# --- Encrypted cookies: nobody gets a session row before they have signed in ------------------


@dataclass(frozen=True, slots=True)
class EncryptedCookies:
    """Cookies of one purpose, whose names begin alike; ``seconds`` is how long browsers keep them.

    Of each there are ``most`` at a time: they are of about 600 bytes, in a header that proxies cut
    at 8 KiB.
    """

    purpose: str
    prefix: str
    seconds: int
    max_count: int = 5

    def set(
        self,
        request: HttpRequest,
        response: HttpResponseBase,
        name: str,
        content: Mapping[str, Any],
    ) -> None:
        """Set the cookie of that name, and drop the oldest where there would be too many."""
        others = [
            other for other in self._names_oldest_first(request) if other != self.prefix + name
        ]
        for other in others[: max(0, len(others) + 1 - self.max_count)]:
            delete_cookie(response, other)
        set_cookie(
            request, response, self.prefix + name, self.encrypted(content), seconds=self.seconds
        )

    def content(self, request: HttpRequest, name: str, ttl: int | None) -> dict[str, Any] | None:
        """What this browser has kept by the name for at most so many seconds."""
        encrypted = cookie_value(request, self.prefix + name)
        return None if encrypted is None else self.decrypted(encrypted, ttl)

    def has_cookie(self, request: HttpRequest, name: str) -> bool:
        """Whether this browser has a cookie by the name, which it may have spoilt."""
        return cookie_value(request, self.prefix + name) is not None

    def delete(self, response: HttpResponseBase, name: str) -> None:
        """Drop the cookie of that name."""
        delete_cookie(response, self.prefix + name)

    def encrypted(self, content: Mapping[str, Any]) -> str:
        """The content as a text that tells nothing, and that nobody else can make."""
        return fernet_for(self.purpose).encrypt(json.dumps(content).encode()).decode()

    def decrypted(self, encrypted: str, ttl: int | None) -> dict[str, Any] | None:
        """The content of a text that was sealed at most so many seconds ago."""
        try:
            content = json.loads(fernet_for(self.purpose).decrypt(encrypted, ttl=ttl))
        except (InvalidToken, ValueError):
            # ValueError: what is not even ASCII.
            return None
        return content if isinstance(content, dict) else None

    def _names_oldest_first(self, request: HttpRequest) -> list[str]:
        def age(name: str) -> int:
            try:
                return fernet_for(self.purpose).extract_timestamp(cookie_value(request, name) or "")
            except (InvalidToken, ValueError):
                return 0

        return sorted(cookie_names(request, self.prefix), key=age)
