"""Functions that set, read, delete and encrypt the cookies of a sign-in and of a known browser."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import posixpath
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from cryptography.fernet import InvalidToken, MultiFernet
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from ciam_django.client.crypto import fernet_for
from ciam_django.conf import conf

_PREFIX: Final = "ciam_"
# Under https, the names begin with this prefix. A browser accepts such a cookie only from the host
# itself and only with the path "/" (RFC 6265bis, section 4.1.3.2). So no other sub-domain can set
# the cookie for this host.
_HOST_PREFIX: Final = "__Host-ciam_"
# The keys of ``META`` with the prefix and the path of the cookies of the request.
_PREFIX_KEY: Final = "ciam_django.cookie_prefix"
_PATH_KEY: Final = "ciam_django.cookie_path"
# The bytes that all cookies of this package together must not reach: proxies and servers limit the
# headers of a request, often to 8 KiB.
_MAX_BYTES: Final = 4096
# A browser has at most ten cookies of this package. A header of 64 KB can have 3,500 cookies.
_MAX_NAMES: Final = 50


def set_cookie(
    request: HttpRequest, response: HttpResponseBase, name: str, value: str, *, seconds: int
) -> None:
    """Set a cookie for the views of this package, for ``seconds``; scripts cannot read it.

    The name of a cookie without encryption has no underscore, see ``EncryptedCookies.set``.
    """
    full_name = _prefix(request) + name
    response.set_cookie(
        full_name,
        value,
        max_age=seconds,
        path=_path_of(request, full_name),
        secure=full_name.startswith(_HOST_PREFIX),
        httponly=True,
        samesite="Lax",
    )


def delete_cookie(request: HttpRequest, response: HttpResponseBase, name: str) -> None:
    """Delete a cookie that ``set_cookie`` has set, under http or under https."""
    full_name = _prefix(request) + name
    _delete_full_name(request, response, full_name)
    if full_name != _PREFIX + name in request.COOKIES:
        _delete_full_name(request, response, _PREFIX + name)


def cookie_value(request: HttpRequest, name: str) -> str | None:
    """Return the value of a cookie, or None if the request has no such cookie."""
    return request.COOKIES.get(_prefix(request) + name)


def has_any_cookie(request: HttpRequest) -> bool:
    """Return True if the request has a cookie of this package, of the CSRF check or the session."""
    django_names = {settings.CSRF_COOKIE_NAME, settings.SESSION_COOKIE_NAME}
    return bool(_full_names(request) or django_names & set(request.COOKIES))


def _full_names(request: HttpRequest) -> list[str]:
    """Return the names of this package's cookies in the request, at most ``_MAX_NAMES``.

    The number is limited, because the views decrypt or delete each cookie.
    """
    names = (name for name in request.COOKIES if name.startswith((_PREFIX, _HOST_PREFIX)))
    return list(itertools.islice(names, _MAX_NAMES))


def _prefix(request: HttpRequest) -> str:
    """Return the prefix of the cookies' names; it is computed once for each request."""
    if _PREFIX_KEY not in request.META:
        is_https = request.is_secure() or conf.CIAM_CALLBACK_URL.startswith("https:")
        request.META[_PREFIX_KEY] = _HOST_PREFIX if is_https else _PREFIX
    prefix: str = request.META[_PREFIX_KEY]
    return prefix


def _delete_full_name(request: HttpRequest, response: HttpResponseBase, full_name: str) -> None:
    response.delete_cookie(full_name, path=_path_of(request, full_name), samesite="Lax")


def _path_of(request: HttpRequest, full_name: str) -> str:
    """Return the path of a cookie: "/" under https, else the path of this package's views.

    The path of the views is computed once for each request.
    """
    if full_name.startswith(_HOST_PREFIX):
        return "/"
    if _PATH_KEY not in request.META:
        common = posixpath.commonpath([reverse("ciam:authorize"), reverse("ciam:callback")])
        request.META[_PATH_KEY] = common if common == "/" else f"{common}/"
    path: str = request.META[_PATH_KEY]
    return path


# --- Encrypted cookies: before the sign-in, no row in the session table is created ------------


class EncryptedCookies:
    """Encrypted cookies of one purpose, whose names begin with ``prefix``.

    A browser stores each cookie for ``seconds``, and at most ``max_count`` cookies at a time.
    """

    __slots__ = "max_count", "prefix", "purpose", "seconds"

    def __init__(self, purpose: str, prefix: str, seconds: int, max_count: int = 5) -> None:
        self.purpose = purpose
        self.prefix = prefix
        self.seconds = seconds
        self.max_count = max_count

    def set(
        self,
        request: HttpRequest,
        response: HttpResponseBase,
        name: str,
        content: Mapping[str, Any],
    ) -> None:
        """Set a cookie, and delete the oldest cookies above ``max_count`` and ``_MAX_BYTES``."""
        value = self.encrypted(content)
        self._delete_oldest(request, response, _prefix(request) + self.prefix + name, value)
        set_cookie(request, response, self.prefix + name, value, seconds=self.seconds)

    def _delete_oldest(
        self, request: HttpRequest, response: HttpResponseBase, full_name: str, value: str
    ) -> None:
        """Delete the oldest cookies, so that the browser has room for the new cookie.

        All cookies of this package count. The small cookies without encryption are not deleted.
        """
        cookies = {name: request.COOKIES[name] for name in _full_names(request)}
        for name, morsel in response.cookies.items():
            cookies.pop(name, None)
            if morsel.value:
                cookies[name] = morsel.value
        cookies.pop(full_name, None)
        encrypted = (name for name in cookies if "_" in name.partition(_PREFIX)[2])
        names = sorted(encrypted, key=lambda name: _set_at(cookies[name]))
        prefix = full_name.partition(_PREFIX)[0] + _PREFIX + self.prefix
        same_purpose = [name for name in names if name.startswith(prefix)]
        deleted = same_purpose[: max(0, len(same_purpose) + 1 - self.max_count)]
        byte_count = sum(_byte_count(*cookie) for cookie in cookies.items())
        byte_count += _byte_count(full_name, value)
        byte_count -= sum(_byte_count(name, cookies[name]) for name in deleted)
        for name in names:
            if byte_count >= _MAX_BYTES and name not in deleted:
                deleted.append(name)
                byte_count -= _byte_count(name, cookies[name])
        for name in deleted:
            _delete_full_name(request, response, name)

    def set_again(
        self, request: HttpRequest, response: HttpResponseBase, name: str, *, seconds: int
    ) -> None:
        """Set the cookie of the request again with the same value, for ``seconds``."""
        value = self.value(request, name)
        set_cookie(request, response, self.prefix + name, value, seconds=seconds)

    def content(self, request: HttpRequest, name: str, ttl: int | None) -> dict[str, Any] | None:
        """Return the content of a cookie; None if it is missing, invalid or older than ``ttl``.

        ``ttl`` is in seconds; None allows any age.
        """
        encrypted = self.value(request, name)
        return _decrypted(fernet_for(self.purpose), encrypted, ttl) if encrypted else None

    def value(self, request: HttpRequest, name: str) -> str:
        """Return the encrypted content of a cookie, or an empty text without the cookie."""
        return cookie_value(request, self.prefix + name) or ""

    def contents(self, request: HttpRequest, ttl: int | None) -> list[dict[str, Any]]:
        """Return the contents of the newest cookies of the purpose, the newest first.

        At most ``max_count`` cookies are read, because an anonymous user can send any number.
        Cookies that are invalid or older than ``ttl`` seconds are left out.
        """
        prefix = _prefix(request) + self.prefix
        names = [name for name in _full_names(request) if name.startswith(prefix)]
        values = [request.COOKIES[name] for name in names]
        values.sort(key=_set_at, reverse=True)
        fernet = fernet_for(self.purpose)
        contents = [_decrypted(fernet, value, ttl) for value in values[: self.max_count]]
        return [content for content in contents if content is not None]

    def has_cookie(self, request: HttpRequest, name: str) -> bool:
        """Return True if the request has the cookie, even if its content is invalid.

        A cookie with the name that earlier versions used under https is never read, since any
        sub-domain can set it. But the cookie shows that this browser has started the sign-in.
        """
        names = {prefix + self.prefix + name for prefix in (_PREFIX, _HOST_PREFIX)}
        return not names.isdisjoint(request.COOKIES)

    def delete(self, request: HttpRequest, response: HttpResponseBase, name: str) -> None:
        """Delete a cookie."""
        delete_cookie(request, response, self.prefix + name)

    def encrypted(self, content: Mapping[str, Any]) -> str:
        """Return the content as an encrypted and signed text."""
        # Escapes of other letters than ASCII would need up to three times the bytes.
        text = json.dumps(content, ensure_ascii=False).encode(errors="surrogatepass")
        return fernet_for(self.purpose).encrypt(text).decode()

    def decrypted(self, encrypted: str, ttl: int | None) -> dict[str, Any] | None:
        """Return the content of an encrypted text; None if it is invalid or older than ``ttl``.

        ``ttl`` is in seconds; None allows any age.
        """
        return _decrypted(fernet_for(self.purpose), encrypted, ttl)


def _decrypted(fernet: MultiFernet, encrypted: str, ttl: int | None) -> dict[str, Any] | None:
    """Return the content of an encrypted text; see ``EncryptedCookies.decrypted``."""
    try:
        content = json.loads(fernet.decrypt(encrypted, ttl=ttl))
    except (InvalidToken, ValueError):
        # ValueError: the text is not ASCII, or the content is not JSON.
        return None
    return content if isinstance(content, dict) else None


def _set_at(encrypted: str) -> int:
    """Return the time at which a text was encrypted, or 0 if the text has no such time.

    The time is not verified: it only decides which cookie is deleted first. The first byte of a
    Fernet token is its version, the next eight bytes are the time in seconds since the epoch.
    """
    try:
        start = base64.urlsafe_b64decode(encrypted[:12])
    except ValueError:
        return 0
    set_at = int.from_bytes(start[1:])
    return set_at if len(start) == 9 and set_at <= time.time() else 0


def _byte_count(name: str, value: str) -> int:
    """Return the number of bytes of a cookie in the header of a request."""
    return len(f"{name}={value}; ".encode(errors="replace"))


# --- A browser that has signed in before: its own rate limits, and its last method -------------

# Seconds for which a browser stays known after a sign-in: half a year.
_KNOWN_SECONDS: Final = 180 * 86400
# The name has no underscore: such a cookie is not deleted to make room for newer cookies.
_KNOWN_BROWSERS: Final = EncryptedCookies(
    "ciam_django.login.known_browsers", "browser", _KNOWN_SECONDS, max_count=1
)
_KNOWN_BROWSER: Final = ""
# Only the newest names of a browser are kept.
_MAX_KNOWN_NAMES: Final = 4
# A longer name of a login method is not kept. The names come from the settings of the project.
_LONGEST_METHOD: Final = 40


def known_browser_id(request: HttpRequest, name: str = "") -> str:
    """Return the id of the browser if it has signed in with the name before, or an empty text.

    Without ``name``, any earlier sign-in in the browser counts. A known browser has its own rate
    limits, so that a stranger who enters wrong passwords does not lock out the account's owner.
    """
    known_name = _known_name(name)
    browser_id, names, _ = _stored(request)
    return browser_id if not name or known_name in names else ""


def last_method(request: HttpRequest) -> str:
    """Return the name of the login method or provider of the last sign-in, or an empty text.

    The project may no longer offer the method.
    """
    return _stored(request)[2]


def remember_browser(
    request: HttpRequest, response: HttpResponseBase, typed_name: str = "", method: str = ""
) -> None:
    """Store in a cookie that the browser has signed in, with the name that the user has typed.

    ``method`` is the name of the login method or provider; an empty text keeps the stored method.
    Call this function only after a successful sign-in or the recovery of a password, because a
    stored name counts as proved.
    """
    known_name = _known_name(typed_name)
    browser_id, names, earlier_method = _stored(request)
    if typed_name:
        names = [*dict.fromkeys([known_name, *names])][:_MAX_KNOWN_NAMES]
    if not method or len(method) > _LONGEST_METHOD:
        method = earlier_method
    content = {"id": browser_id or secrets.token_urlsafe(12), "names": names, "method": method}
    _KNOWN_BROWSERS.set(request, response, _KNOWN_BROWSER, content)


def _stored(request: HttpRequest) -> tuple[str, list[str], str]:
    """Return the id, the digests of the names, and the method; empty without a valid cookie."""
    content = _KNOWN_BROWSERS.content(request, _KNOWN_BROWSER, _KNOWN_SECONDS) or {}
    # Another version of this package may have stored other members.
    id_and_names = str(content.get("id", "")), list(content.get("names", ()))
    return *id_and_names, str(content.get("method", ""))


def _known_name(name: str) -> str:
    # The cookie is encrypted. A digest keeps it short.
    return hashlib.sha256(name.casefold().encode(errors="replace")).hexdigest()[:16]
