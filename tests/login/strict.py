"""Middleware that sends the strictest Content Security Policy that the package's pages allow."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


def strict_csp_middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Return middleware that adds the policy to each response without a policy.

    The middleware does nothing unless a test sets ``STRICT_CSP`` to further directives, or to an
    empty text. The server of pytest-django loads its middleware before the first test.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        further_directives = getattr(settings, "STRICT_CSP", None)
        if further_directives is None:
            return response
        ciam = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]["api_base_url"]
        response.setdefault(
            "Content-Security-Policy",
            f"default-src 'self'; form-action 'self' {ciam}; base-uri 'none'; object-src 'none'; "
            + further_directives,
        )
        return response

    return middleware
