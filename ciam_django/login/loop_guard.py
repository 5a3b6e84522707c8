"""The guard that stops a loop of sign-ins in a browser that does not store the session cookie.

Without the session cookie, ``next`` redirects to the login page again. If the project's login page
redirects to CIAM by itself and CIAM still has a session, the loop would have no end.
"""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest, HttpResponseBase

from ciam_django.login.cookies import cookie_value, delete_cookie, set_cookie

_COOKIE: Final = "laps"
_VALUES: Final = ("0", "1", "2", "3")
_ONWARD_COOKIE: Final = "onward"
_ONWARD_SECONDS: Final = 10
# Seconds after the last sign-in until the count starts again.
LOOP_SECONDS: Final = 60


def recent_sign_ins(request: HttpRequest) -> int:
    """Return the number of recent sign-ins after which the user is anonymous again, at most 3.

    Return 0 for a signed-in user.
    """
    count = _stored_count(request)
    return count if count and request.user.is_anonymous else 0


def _stored_count(request: HttpRequest) -> int:
    value = cookie_value(request, _COOKIE) or ""
    return _VALUES.index(value) if value in _VALUES else 0


def is_looping(request: HttpRequest) -> bool:
    """Return True if the browser has reached the limit and must not start another sign-in."""
    return recent_sign_ins(request) == len(_VALUES) - 1


def count_sign_in(request: HttpRequest, response: HttpResponseBase, *, was_anonymous: bool) -> None:
    """Add one to the count of the browser, and store the count in a cookie for ``LOOP_SECONDS``.

    The count begins again unless the user was anonymous before this sign-in.
    """
    earlier_sign_ins = _stored_count(request) if was_anonymous else 0
    value = _VALUES[min(earlier_sign_ins + 1, len(_VALUES) - 1)]
    set_cookie(request, response, _COOKIE, value, seconds=LOOP_SECONDS)


def delete_count(request: HttpRequest, response: HttpResponseBase) -> None:
    """Delete the cookie with the count, because the user has signed out."""
    delete_cookie(request, response, _COOKIE)


# --- Between the login page and next ----------------------------------------------------------


def mark_onward_redirect(request: HttpRequest, response: HttpResponseBase) -> None:
    """Store in a cookie that the login page has redirected a signed-in user to ``next``."""
    set_cookie(request, response, _ONWARD_COOKIE, "1", seconds=_ONWARD_SECONDS)


def is_back_at_once(request: HttpRequest) -> bool:
    """Return True if the browser is back at the login page a few seconds after the redirect.

    ``next`` may redirect a user without the permission to the login page. Without this check, the
    two redirects would have no end.
    """
    return cookie_value(request, _ONWARD_COOKIE) is not None
