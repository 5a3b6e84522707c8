"""Middleware that sends the strictest Content Security Policy that the package's pages allow."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin


class StrictCspMiddleware(MiddlewareMixin):
    """Add the policy to each response without a policy.

    The middleware does nothing unless a test sets ``STRICT_CSP`` to further directives, or to an
    empty text. The server of pytest-django loads its middleware before the first test.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
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
