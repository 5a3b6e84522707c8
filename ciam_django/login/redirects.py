"""Where the browser may be sent after signing in or out."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from ciam_django.conf import conf

_LONGEST: Final = 1024
OPENER_POLICY: Final = "Cross-Origin-Opener-Policy"


def safe_next(request: HttpRequest, url: str | None) -> str:
    """The address if it is one of this site's; the empty text for any other, and for nonsense."""
    if not url or len(url.encode(errors="replace")) > _LONGEST:
        return ""
    # What a browser would rewrite before it reads it, and what has no path of its own
    # (https://url.spec.whatwg.org/#concept-basic-url-parser).
    if url[0] <= " " or url[-1] <= " " or set(url) & set("\t\r\n\\") or url.startswith("//"):
        return ""
    is_safe = url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return url if is_safe else ""


def requested_next(request: HttpRequest) -> str:
    """The safe ``next`` of the form or of the address."""
    return safe_next(request, request.POST.get("next") or request.GET.get("next"))


def url_after_sign_in(request: HttpRequest, next_url: str) -> str:
    """``next``, checked once more, or ``LOGIN_REDIRECT_URL``."""
    return safe_next(request, next_url) or resolve_url(settings.LOGIN_REDIRECT_URL)


def url_after_sign_out(request: HttpRequest) -> str:
    """``next``, or ``LOGOUT_REDIRECT_URL``, or the login page."""
    default = settings.LOGOUT_REDIRECT_URL
    return requested_next(request) or (resolve_url(default) if default else reverse("ciam:login"))


def callback_url(request: HttpRequest) -> str:
    """The absolute address of ``ciam:callback`` as CIAM knows it."""
    return conf.CIAM_CALLBACK_URL or request.build_absolute_uri(reverse("ciam:callback"))


def redirect_response(url: str) -> HttpResponse:
    """The way there, from an address that may hold a code and shows in neither cache nor log."""
    response = HttpResponseRedirect(url)
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


def departure_response(request: HttpRequest, url: str) -> HttpResponse:
    """The way to CIAM or a provider; a script, which can't follow it, is told the address."""
    if request.get_preferred_type(["text/html", "application/json"]) != "application/json":
        return redirect_response(url)
    response = JsonResponse({"status": "redirect", "url": url})
    response["Cache-Control"] = "no-store"
    return response


def set_opener_policy(response: HttpResponse, next_url: str) -> None:
    """Let a window that was opened to sign in keep its opener, over CIAM's pages and back.

    Django's own policy, same-origin, would part them for good
    (https://html.spec.whatwg.org/#cross-origin-opener-policies).
    """
    if urlsplit(next_url).path == reverse("ciam:done"):
        response[OPENER_POLICY] = "unsafe-none"
