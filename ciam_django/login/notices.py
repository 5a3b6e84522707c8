"""What the next login page tells of: a cookie for one minute, gone once it has been read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ciam_django.answers import Answer, answer_to
from ciam_django.errors import CiamError
from ciam_django.login.cookies import EncryptedCookies
from ciam_django.reporting import report

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# Seconds.
_LIFETIME: Final = 60
_COOKIES: Final = EncryptedCookies("ciam_django.login.notices", "notice_", _LIFETIME, max_count=1)
_NAME: Final = "last"

SUCCESS_TEXTS: Final[dict[str, str | StrPromise]] = {
    "password_changed": _("Your password has been changed. Sign in with the new one."),
}


def set_error_notice(request: HttpRequest, response: HttpResponse, error: CiamError) -> None:
    """Have the login page tell of an error, which is logged here."""
    report(error, request)
    content = {"code": error.code, "request_id": error.reference, "stage": error.stage}
    _COOKIES.set(request, response, _NAME, {"error": content})


def set_success_notice(request: HttpRequest, response: HttpResponse, name: str) -> None:
    """Have the login page tell of what is done."""
    _COOKIES.set(request, response, _NAME, {"good_news": name})


def notice_from_cookie(request: HttpRequest) -> tuple[Answer | None, str]:
    """The answer to the error, if it is one, and the good news."""
    content = _COOKIES.content(request, _NAME, _LIFETIME) or {}
    if "error" in content:
        return answer_to(CiamError(**content["error"]), request), ""
    return None, str(SUCCESS_TEXTS.get(content.get("good_news", ""), ""))


def delete_notice_cookie(response: HttpResponse) -> None:
    """It has been told."""
    _COOKIES.delete(response, _NAME)
