"""The cookie of a browser that has signed in before, which then has its own rate limits."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from django.http import HttpRequest, HttpResponseBase

from ciam_django.login.cookies import EncryptedCookies

# Seconds for which a browser stays known after a sign-in: half a year.
_KNOWN_SECONDS: Final = 180 * 86400
# The name has no underscore: such a cookie is not deleted to make room for newer cookies.
_KNOWN_BROWSERS: Final = EncryptedCookies(
    "ciam_django.login.known_browsers", "browser", _KNOWN_SECONDS, max_count=1
)
_KNOWN_BROWSER: Final = ""
# Only the newest names of a browser are kept.
_MAX_KNOWN_NAMES: Final = 4


def known_browser_id(request: HttpRequest, name: str = "") -> str:
    """Return the id of the browser if it has signed in with the name before, or an empty text.

    Without ``name``, any earlier sign-in in the browser counts. A known browser has its own rate
    limits, so that a stranger who enters wrong passwords does not lock out the account's owner.
    """
    known_name = _known_name(name)
    browser_id, names = _stored(request)
    return browser_id if not name or known_name in names else ""


def remember_browser(
    request: HttpRequest, response: HttpResponseBase, typed_name: str = ""
) -> None:
    """Store in a cookie that the browser has signed in, with the name that the user has typed.

    Call this function only after a successful sign-in or the recovery of a password, because a
    stored name counts as proved.
    """
    known_name = _known_name(typed_name)
    browser_id, names = _stored(request)
    if typed_name:
        names = [*dict.fromkeys([known_name, *names])][:_MAX_KNOWN_NAMES]
    content = {"id": browser_id or secrets.token_urlsafe(12), "names": names}
    _KNOWN_BROWSERS.set(request, response, _KNOWN_BROWSER, content)


def _stored(request: HttpRequest) -> tuple[str, list[str]]:
    """Return the id of the browser and the digests of its names; empty without a valid cookie."""
    content = _KNOWN_BROWSERS.content(request, _KNOWN_BROWSER, _KNOWN_SECONDS) or {}
    # Another version of this package may have stored other members.
    return str(content.get("id", "")), list(content.get("names", ()))


def _known_name(name: str) -> str:
    # The cookie is encrypted. A digest keeps it short.
    return hashlib.sha256(name.casefold().encode(errors="replace")).hexdigest()[:16]
