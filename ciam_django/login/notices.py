"""What the next login page tells of: a cookie for one minute, gone once it has been read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ciam_django.answers import Answer, answer_to
from ciam_django.errors import CiamError
from ciam_django.login.cookies import SealedCookies

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# Seconds.
_LIFETIME: Final = 60
_COOKIES: Final = SealedCookies(__name__, "notice_", _LIFETIME, most=1)
_NAME: Final = "last"

GOOD_NEWS: Final[dict[str, str | StrPromise]] = {
    "password_changed": _("Your password has been changed. Sign in with the new one."),
}


def keep_error(request: HttpRequest, response: HttpResponse, error: CiamError) -> None:
    """Have the login page tell of an error, which is logged here."""
    answer_to(error, request)
    content = {"code": error.code, "request_id": error.request_id, "stage": error.stage}
    _COOKIES.keep(request, response, _NAME, {"error": content})


def keep_good_news(request: HttpRequest, response: HttpResponse, name: str) -> None:
    """Have the login page tell of what is done."""
    _COOKIES.keep(request, response, _NAME, {"good_news": name})


def kept(request: HttpRequest) -> tuple[Answer | None, str]:
    """The answer to the error, if it is one, and the good news."""
    content = _COOKIES.kept(request, _NAME, _LIFETIME) or {}
    if "error" in content:
        error = CiamError(**content["error"])
        error.is_logged = True
        return answer_to(error, request), ""
    return None, str(GOOD_NEWS.get(content.get("good_news", ""), ""))


def forget(response: HttpResponse) -> None:
    """It has been told."""
    _COOKIES.forget(response, _NAME)
