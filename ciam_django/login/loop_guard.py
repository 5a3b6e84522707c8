"""How often a browser was signed in of late without staying so: that must end at a page.

Where the session's cookie does not stick, ``next`` leads to the login page again. A project may
have one that leaves for CIAM by itself, and CIAM knows the person: nobody would be asked.
"""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest, HttpResponseBase

from ciam_django.login.cookies import cookie_value, delete_cookie, set_cookie

_COOKIE: Final = "laps"
_VALUES: Final = ("0", "1", "2", "3")
# Seconds, from the last lap on.
LOOP_SECONDS: Final = 60


def recent_sign_ins(request: HttpRequest) -> int:
    """How often in a row, three times at most; never where the browser has stayed signed in."""
    value = cookie_value(request, _COOKIE) or ""
    return _VALUES.index(value) if value in _VALUES and request.user.is_anonymous else 0


def is_looping(request: HttpRequest) -> bool:
    """Whether one more time would be one too many."""
    return recent_sign_ins(request) == len(_VALUES) - 1


def count_sign_in(request: HttpRequest, response: HttpResponseBase, earlier_sign_ins: int) -> None:
    """Remember that the browser has been signed in once more."""
    value = _VALUES[min(earlier_sign_ins + 1, len(_VALUES) - 1)]
    set_cookie(request, response, _COOKIE, value, seconds=LOOP_SECONDS)


def delete_count(response: HttpResponseBase) -> None:
    """Begin anew: the person has signed out."""
    delete_cookie(response, _COOKIE)
