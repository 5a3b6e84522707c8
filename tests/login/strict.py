"""A policy as strict as our pages allow: nothing inline, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


def strict_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that sends it with each page that has none."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        ciam = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]["api_base_url"]
        response.setdefault(
            "Content-Security-Policy",
            f"default-src 'self'; form-action 'self' {ciam}; base-uri 'none'; object-src 'none'",
        )
        return response

    return middleware
