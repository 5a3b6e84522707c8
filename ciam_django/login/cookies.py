"""The cookies of signing in: how they are set, and whether the browser keeps any."""

from __future__ import annotations

import posixpath
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

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
        path=_path(),
        secure=request.is_secure() or conf.CIAM_CALLBACK_URL.startswith("https:"),
        httponly=True,
        samesite="Lax",
    )


def drop_cookie(response: HttpResponseBase, name: str) -> None:
    """Have the browser forget a value."""
    response.delete_cookie(_PREFIX + name, path=_path(), samesite="Lax")


def cookie(request: HttpRequest, name: str) -> str | None:
    """The value that the browser has kept, or None."""
    return request.COOKIES.get(_PREFIX + name)


def cookie_names(request: HttpRequest, prefix: str) -> list[str]:
    """The names that begin so, of all that the browser has kept for us."""
    whole = _PREFIX + prefix
    return [name.removeprefix(_PREFIX) for name in request.COOKIES if name.startswith(whole)]


def keeps_cookies(request: HttpRequest) -> bool:
    """Whether any has come that signing in sets: one of ours, the form's or the session's."""
    of_django = {settings.CSRF_COOKIE_NAME, settings.SESSION_COOKIE_NAME}
    return bool(cookie_names(request, "") or of_django & set(request.COOKIES))


def _path() -> str:
    """The path that ``ciam:authorize`` and ``ciam:callback`` have in common."""
    common = posixpath.commonpath([reverse("ciam:authorize"), reverse("ciam:callback")])
    return common if common == "/" else f"{common}/"
