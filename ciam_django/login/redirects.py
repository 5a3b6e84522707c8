"""Redirects to safe URLs, and the URLs that a sign-in and a logout redirect to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.http import is_same_domain, url_has_allowed_host_and_scheme

from ciam_django.conf import conf
from ciam_django.responses import HTML, JSON

_LONGEST: Final = 1024
OPENER_POLICY: Final = "Cross-Origin-Opener-Policy"


def safe_next(request: HttpRequest, url: str | None) -> str:
    """Return the URL if it leads to this site, otherwise an empty text."""
    if not url or len(url.encode(errors="replace")) > _LONGEST:
        return ""
    # Browsers remove or replace these characters before they parse the URL, and read the start of
    # "//path" as a host (https://url.spec.whatwg.org/#concept-basic-url-parser).
    if url[0] <= " " or url[-1] <= " " or set(url) & set("\t\r\n\\") or url.startswith("//"):
        return ""
    is_safe = url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return url if is_safe else ""


def is_origin_in(origin: str, origins: Iterable[str]) -> bool:
    """Return True if an origin is one of ``origins``, which may begin with ``https://*.``."""
    scheme, _, host = origin.lower().partition("://")
    patterns = (each.lower().partition("://") for each in origins)
    return any(
        scheme == pattern_scheme and is_same_domain(host, pattern_host.lstrip("*"))
        for pattern_scheme, _, pattern_host in patterns
    )


def requested_next(request: HttpRequest) -> str:
    """Return the ``next`` of the form or of the query, or an empty text if it is not safe."""
    return safe_next(request, request.POST.get("next") or request.GET.get("next"))


def url_after_sign_in(request: HttpRequest, next_url: str) -> str:
    """Return ``next_url`` if it is still safe, otherwise the URL of ``LOGIN_REDIRECT_URL``."""
    return safe_next(request, next_url) or resolve_url(settings.LOGIN_REDIRECT_URL)


def url_after_sign_out(request: HttpRequest) -> str:
    """Return the safe ``next``, or the URL of ``LOGOUT_REDIRECT_URL``, or the login page."""
    default = settings.LOGOUT_REDIRECT_URL
    return requested_next(request) or (resolve_url(default) if default else reverse("ciam:login"))


def callback_url(request: HttpRequest) -> str:
    """Return the redirect URI of the project at CIAM, the absolute URL of ``ciam:callback``."""
    return conf.CIAM_CALLBACK_URL or request.build_absolute_uri(reverse("ciam:callback"))


def redirect_response(url: str) -> HttpResponse:
    """Return a redirect that is not stored in a cache and sends no Referer.

    The redirecting URL may contain a code, which must not reach a cache or the log of another site.
    """
    response = HttpResponseRedirect(url)
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


def redirect_or_json_response(request: HttpRequest, url: str) -> HttpResponse:
    """Return a redirect, or JSON with the URL if the client prefers JSON.

    A script can't follow a redirect to another origin, so it gets the URL as JSON.
    """
    try:
        prefers_json = request.get_preferred_type([HTML, JSON]) == JSON
    except (ValueError, LookupError):
        # Django raises these exceptions for parameters in an unknown encoding.
        prefers_json = False
    if not prefers_json:
        return redirect_response(url)
    response = JsonResponse({"status": "redirect", "url": url})
    response["Cache-Control"] = "no-store"
    return response


def set_opener_policy(response: HttpResponse, next_url: str) -> None:
    """Set the opener policy of a sign-in in a pop-up window, so that the window keeps its opener.

    ``next_url`` is the sign-in's ``next``; other sign-ins keep Django's policy. Django's policy
    ``same-origin`` would separate the window from its opener for good
    (https://html.spec.whatwg.org/#cross-origin-opener-policies).
    """
    if urlsplit(next_url).path == reverse("ciam:done"):
        response[OPENER_POLICY] = "unsafe-none"
