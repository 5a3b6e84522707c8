"""How often a browser was signed in of late without staying so: that must end at a page.

Where the session's cookie does not stick, ``next`` leads to the login page again. A project may
have one that leaves for CIAM by itself, and CIAM knows the person: nobody would be asked.
"""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest, HttpResponseBase

from ciam_django.login.cookies import cookie, drop_cookie, set_cookie

_COOKIE: Final = "laps"
_VALUES: Final = ("0", "1", "2", "3")
# Seconds, from the last lap on.
LIFETIME: Final = 60


def count_of(request: HttpRequest) -> int:
    """How often in a row, three times at most; never where the browser has stayed signed in."""
    value = cookie(request, _COOKIE) or ""
    return _VALUES.index(value) if value in _VALUES and request.user.is_anonymous else 0


def is_circling(request: HttpRequest) -> bool:
    """Whether one more time would be one too many."""
    return count_of(request) == len(_VALUES) - 1


def count(request: HttpRequest, response: HttpResponseBase, laps_before: int) -> None:
    """Remember that the browser has been signed in once more."""
    value = _VALUES[min(laps_before + 1, len(_VALUES) - 1)]
    set_cookie(request, response, _COOKIE, value, seconds=LIFETIME)


def forget(response: HttpResponseBase) -> None:
    """Begin anew: the person has signed out."""
    drop_cookie(response, _COOKIE)
