"""Functions that set, read, delete and encrypt the cookies of a sign-in."""

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
    """Set a cookie for the views of this package, for ``seconds``; scripts cannot read it."""
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
    """Delete a cookie that ``set_cookie`` has set."""
    response.delete_cookie(_PREFIX + name, path=_cookie_path(), samesite="Lax")


def cookie_value(request: HttpRequest, name: str) -> str | None:
    """Return the value of a cookie, or None if the request has no such cookie."""
    return request.COOKIES.get(_PREFIX + name)


def cookie_names(request: HttpRequest, prefix: str) -> list[str]:
    """Return the names of this package's cookies in the request that begin with ``prefix``."""
    full_prefix = _PREFIX + prefix
    return [name.removeprefix(_PREFIX) for name in request.COOKIES if name.startswith(full_prefix)]


def has_any_cookie(request: HttpRequest) -> bool:
    """Return True if the request has a cookie of this package, of the CSRF check or the session."""
    django_names = {settings.CSRF_COOKIE_NAME, settings.SESSION_COOKIE_NAME}
    return bool(cookie_names(request, "") or django_names & set(request.COOKIES))


def _cookie_path() -> str:
    """Return the common path of ``ciam:authorize`` and ``ciam:callback``."""
    common = posixpath.commonpath([reverse("ciam:authorize"), reverse("ciam:callback")])
    return common if common == "/" else f"{common}/"


# --- Encrypted cookies: before the sign-in, no row in the session table is created ------------


@dataclass(frozen=True, slots=True)
class EncryptedCookies:
    """Encrypted cookies of one purpose, whose names begin with ``prefix``.

    A browser stores each cookie for ``seconds``, and at most ``max_count`` cookies at a time: a
    cookie has about 600 bytes, and proxies limit the header to 8 KiB.
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
        """Set a cookie, and delete the oldest cookies above ``max_count``."""
        other_names = [
            other for other in self._names_oldest_first(request) if other != self.prefix + name
        ]
        for other_name in other_names[: max(0, len(other_names) + 1 - self.max_count)]:
            delete_cookie(response, other_name)
        set_cookie(
            request, response, self.prefix + name, self.encrypted(content), seconds=self.seconds
        )

    def content(self, request: HttpRequest, name: str, ttl: int | None) -> dict[str, Any] | None:
        """Return the content of a cookie; None if it is missing, invalid or older than ``ttl``.

        ``ttl`` is in seconds; None allows any age.
        """
        encrypted = cookie_value(request, self.prefix + name)
        return None if encrypted is None else self.decrypted(encrypted, ttl)

    def contents(self, request: HttpRequest, ttl: int | None) -> list[dict[str, Any]]:
        """Return the contents of the newest cookies of the purpose, the newest first.

        At most ``max_count`` cookies are read, because an anonymous user can send any number.
        Cookies that are invalid or older than ``ttl`` seconds are left out.
        """
        names = self._names_oldest_first(request)[: -self.max_count - 1 : -1]
        contents = [self.content(request, name.removeprefix(self.prefix), ttl) for name in names]
        return [content for content in contents if content is not None]

    def has_cookie(self, request: HttpRequest, name: str) -> bool:
        """Return True if the request has the cookie, even if its content is invalid."""
        return cookie_value(request, self.prefix + name) is not None

    def delete(self, response: HttpResponseBase, name: str) -> None:
        """Delete a cookie."""
        delete_cookie(response, self.prefix + name)

    def encrypted(self, content: Mapping[str, Any]) -> str:
        """Return the content as an encrypted and signed text."""
        return fernet_for(self.purpose).encrypt(json.dumps(content).encode()).decode()

    def decrypted(self, encrypted: str, ttl: int | None) -> dict[str, Any] | None:
        """Return the content of an encrypted text; None if it is invalid or older than ``ttl``.

        ``ttl`` is in seconds; None allows any age.
        """
        try:
            content = json.loads(fernet_for(self.purpose).decrypt(encrypted, ttl=ttl))
        except (InvalidToken, ValueError):
            # ValueError: the text is not ASCII, or the content is not JSON.
            return None
        return content if isinstance(content, dict) else None

    def _names_oldest_first(self, request: HttpRequest) -> list[str]:
        def age(name: str) -> int:
            try:
                return fernet_for(self.purpose).extract_timestamp(cookie_value(request, name) or "")
            except (InvalidToken, ValueError):
                return 0

        return sorted(cookie_names(request, self.prefix), key=age)
