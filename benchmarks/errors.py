"""Time an error that a view raises, from the WSGI call to the bytes of the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory, override_settings
from django.urls import include, path
from django.utils.translation import gettext

from benchmarks.cases import Case, Row, cpu_case
from ciam_django.errors import CiamError

CODE: Final = "Operation.Failure.User.Locked"
ROWS = [
    Row(
        "A raised error through WSGI, over a look-up, gettext and JsonResponse by hand",
        "ciam_django",
        "by hand",
        1.25,
    )
]


class HandError(Exception):
    """The exception that a project without ``ciam_django`` would raise."""


HAND_TABLE: Final = {CODE: (403, "Your account is locked. Please contact support.")}


class HandMiddleware:
    """The smallest middleware that answers an error in the user's language."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return a status and a message for a ``HandError``, or None for any other exception."""
        if not isinstance(error, HandError):
            return None
        status, message = HAND_TABLE[str(error)]
        return JsonResponse({"code": str(error), "detail": gettext(message)}, status=status)


def raise_ciam_error(request: HttpRequest) -> HttpResponse:
    raise CiamError(CODE, request_id="1656572265429$49b4", stage="token")


def raise_hand_error(request: HttpRequest) -> HttpResponse:
    raise HandError(CODE)


urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("ciam_django", raise_ciam_error),
    path("by hand", raise_hand_error),
]


def cases() -> Mapping[str, Case]:
    return {
        "ciam_django": _request_case("ciam_django", "ciam_django.middleware.CiamErrorMiddleware"),
        "by hand": _request_case("by hand", "benchmarks.errors.HandMiddleware"),
    }


def _request_case(name: str, middleware: str) -> Case:
    headers = {"Accept": "application/json", "Accept-Language": "zh-hans"}
    environ = RequestFactory(headers=headers)._base_environ(PATH_INFO=f"/{name}")  # type: ignore[attr-defined]
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, middleware]):
        application: Any = get_wsgi_application()

    def request() -> None:
        response = application(dict(environ), lambda status, headers: None)
        b"".join(response)
        response.close()

    request()
    return cpu_case(request)
