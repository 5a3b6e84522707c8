"""Time an error that a view raises, from the WSGI or ASGI call to the bytes of the body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncRequestFactory, override_settings
from django.urls import include, path
from django.utils.translation import gettext

from benchmarks.cases import Case, Row, Seconds, measure, now, timed_case, wsgi_environ
from ciam_django.errors import CiamError

CODE: Final = "Operation.Failure.User.Locked"
ROWS = [
    Row(
        "A raised error through WSGI, over a look-up, gettext and JsonResponse by hand",
        "ciam_django",
        "by hand",
        1.2,
    ),
    Row("… through ASGI, from an async view", "ciam_django, ASGI", "by hand, ASGI", 1.1),
]


class HandError(Exception):
    """The exception that a project without ``ciam_django`` would raise."""


# The message has a translation, so that the floor looks as far for the text as `ciam_django`.
HAND_TABLE: Final = {CODE: (403, "This account is locked. Contact support to unlock it.")}


class HandMiddleware:
    """The smallest middleware that answers an error in the user's language."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return a status and a message for a ``HandError``, or None for any other exception."""
        if not isinstance(error, HandError):
            return None
        status, message = HAND_TABLE[str(error)]
        return JsonResponse({"code": str(error), "detail": gettext(message)}, status=status)


def raise_error(request: HttpRequest, name: str) -> HttpResponse:
    if name == "by_hand":
        raise HandError(CODE)
    raise CiamError(CODE, request_id="1656572265429$49b4", stage="token")


async def raise_error_async(request: HttpRequest, name: str) -> HttpResponse:
    return raise_error(request, name)


# One pattern for all cases: a case with a later pattern would need more time to find its view.
urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("<slug:name>", raise_error),
    path("<slug:name>/async", raise_error_async),
]
_HEADERS: Final = {"Accept": "application/json", "Accept-Language": "zh-hans"}
_MIDDLEWARE: Final = {
    "ciam_django": "ciam_django.middleware.CiamErrorMiddleware",
    "by hand": "benchmarks.errors.HandMiddleware",
}


def cases() -> Mapping[str, Case]:
    timed = {name: timed_case(request) for name, request in wsgi_requests().items()}
    for name, middleware in _MIDDLEWARE.items():
        with _with_middleware(middleware):
            url = f"/{slug_of(name)}/async"
            timed[f"{name}, ASGI"] = _asgi_case(url, get_asgi_application())
    return timed


def wsgi_requests() -> Mapping[str, Callable[[], bytes]]:
    """Return name -> a function that sends a request through WSGI, and has sent the first."""
    requests: dict[str, Callable[[], bytes]] = {}
    details = set()
    for name, middleware in _MIDDLEWARE.items():
        with _with_middleware(middleware):
            requests[name] = _wsgi_request(f"/{slug_of(name)}", get_wsgi_application())
        details.add(json.loads(requests[name]())["detail"])
    # Both answer in the user's language, with the same sentence.
    assert len(details) == 1, details
    return requests


def _with_middleware(middleware: str) -> override_settings:
    return override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, middleware])


def slug_of(name: str) -> str:
    """Return the path of a case.

    ``LocaleMiddleware`` looks for a language in the first part of a path, unless it has a space.
    """
    return name.replace(" ", "_")


def _wsgi_request(url: str, application: Any) -> Callable[[], bytes]:
    environ = wsgi_environ(url, _HEADERS)

    def request() -> bytes:
        response = application(dict(environ), lambda status, headers: None)
        body = b"".join(response)
        response.close()
        return body

    return request


def _asgi_case(url: str, application: Any) -> Case:
    # The stubs of Django lack the private method, and the ASGI request is made once.
    factory: Any = AsyncRequestFactory(headers=_HEADERS)
    scope = factory._base_scope(path=url)

    async def request() -> None:
        has_answered = asyncio.Event()
        is_sent = False

        async def receive() -> dict[str, Any]:
            nonlocal is_sent
            if is_sent:
                # Django listens for the end of the connection during the request.
                await has_answered.wait()
                return {"type": "http.disconnect"}
            is_sent = True
            return {"type": "http.request", "body": b""}

        async def send(message: Mapping[str, Any]) -> None:
            if not message.get("more_body"):
                has_answered.set()

        await application(dict(scope), receive, send)

    async def answered(loops: int) -> Seconds:
        began = now()
        for _ in range(loops):
            await request()
        return now().minus(began)

    asyncio.run(answered(1))
    return lambda loops: measure(lambda: asyncio.run(answered(loops)))[1]
