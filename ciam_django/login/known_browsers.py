"""The cookie of a browser that has signed in before: its own rate limits, and its last method."""

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
