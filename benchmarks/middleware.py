"""Time our middleware in a request without an error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from social_django.middleware import SocialAuthExceptionMiddleware

from benchmarks.cases import Case, Row, Seconds, now, timed_case
from ciam_django.middleware import CiamErrorMiddleware

KINDS = ("sync", "async")
ROWS = [
    Row(f"{name} alone on a 200, {kind}, over none", f"{name} {kind}", f"none {kind}", target, "µs")
    for kind in KINDS
    for name, target in [
        ("ciam_django", 0.5),
        ("social-auth-app-django", None),
        ("django-allauth", None),
        ("django-cors-headers", None),
    ]
]


def cases() -> Mapping[str, Case]:
    # allauth has models, and it raises if it is installed without its middleware.
    own = "allauth.account.middleware.AccountMiddleware"
    override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, own]).enable()
    override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, "allauth.account"]).enable()
    from allauth.account.middleware import AccountMiddleware  # noqa: PLC0415

    layers: dict[str, Callable[[Any], Any]] = {
        "none": lambda get_response: get_response,
        "ciam_django": CiamErrorMiddleware,
        "social-auth-app-django": SocialAuthExceptionMiddleware,
        "django-allauth": AccountMiddleware,
        "django-cors-headers": CorsMiddleware,
    }
    request, response = RequestFactory().get("/"), HttpResponse("well")

    def view(request: HttpRequest) -> HttpResponse:
        return response

    async def async_view(request: HttpRequest) -> HttpResponse:
        return response

    timed: dict[str, Case] = {}
    for name, layer in layers.items():
        timed[f"{name} sync"] = _sync_case(layer(view), request)
        timed[f"{name} async"] = _async_case(layer(async_view), request)
    return timed


def _sync_case(middleware: Callable[[HttpRequest], object], request: HttpRequest) -> Case:
    return timed_case(lambda: middleware(request))


def _async_case(
    middleware: Callable[[HttpRequest], Awaitable[object]], request: HttpRequest
) -> Case:
    async def awaited(loops: int) -> Seconds:
        began = now()
        for _ in range(loops):
            await middleware(request)
        return now().minus(began)

    return lambda loops: asyncio.run(awaited(loops))
