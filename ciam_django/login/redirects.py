"""Redirects to safe URLs, and the URLs that a sign-in and a logout redirect to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import resolve_url
from django.urls import Resolver404, resolve, reverse
from django.utils.http import is_same_domain, url_has_allowed_host_and_scheme

from ciam_django.conf import conf
from ciam_django.events import REDIRECT_PAGE_MISSING, record
from ciam_django.responses import (
    is_fragment_request,
    is_htmx_request,
    prefers_json_to_html,
)
from ciam_django.ways_out import ciam_view_name, is_read_alike

# The longest ``next`` in bytes: it travels in a cookie.
_LONGEST: Final = 512
OPENER_POLICY: Final = "Cross-Origin-Opener-Policy"


def safe_next(request: HttpRequest | None, url: str | None) -> str:
    """Return the URL if it leads to this site, otherwise an empty text.

    Without a request, only a URL without a host is known to lead to this site.

    A URL of this package is refused, except ``ciam:done``: it would end a good sign-in at an error
    page, or begin the next sign-in.
    """
    if not url or len(url.encode(errors="replace")) > _LONGEST:
        return ""
    if not is_read_alike(url):
        return ""
    is_safe = url_has_allowed_host_and_scheme(
        url,
        allowed_hosts={request.get_host()} if request else None,
        require_https=request is not None and request.is_secure(),
    )
    base_path = request.path if request else "/"
    return url if is_safe and ciam_view_name(url, base_path) in ("", "done") else ""


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
    return safe_next(request, next_url) or _default_url_after_sign_in()


def _default_url_after_sign_in() -> str:
    """Return the URL of ``LOGIN_REDIRECT_URL``; log a WARNING if Django's default has no page."""
    url = resolve_url(settings.LOGIN_REDIRECT_URL)
    # A project that sets the URL can serve its page elsewhere, for example with a front end.
    # The plugin of mypy takes the name of the method for a setting.
    if not settings.is_overridden("LOGIN_REDIRECT_URL"):  # type: ignore[misc]  # see above
        try:
            resolve(url)
        except Resolver404:
            _log_missing_page(url)
    return url


@functools.cache
def _log_missing_page(url: str) -> None:
    """Log the missing page once in this process."""
    record(REDIRECT_PAGE_MISSING, url=url)


def url_after_sign_out(request: HttpRequest) -> str:
    """Return the safe ``next``, or the URL of ``LOGOUT_REDIRECT_URL``, or the login page."""
    default = settings.LOGOUT_REDIRECT_URL
    return requested_next(request) or (resolve_url(default) if default else reverse("ciam:login"))


def callback_url(request: HttpRequest) -> str:
    """Return the redirect URI of the project at CIAM, the absolute URL of ``ciam:callback``."""
    return conf.CIAM_CALLBACK_URL or request.build_absolute_uri(reverse("ciam:callback"))


def absolute_url(request: HttpRequest, url: str) -> str:
    """Return the absolute URL; the origin of this site is the origin of ``CIAM_CALLBACK_URL``.

    Without the setting, the origin is the request's. A URL of another site is returned unchanged.
    """
    parts = urlsplit(request.build_absolute_uri(url))
    configured = urlsplit(conf.CIAM_CALLBACK_URL)
    if configured.netloc and parts.netloc == request.get_host():
        parts = parts._replace(scheme=configured.scheme, netloc=configured.netloc)
    return parts.geturl()


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
    if not prefers_json_to_html(request):
        return redirect_response(url)
    response = JsonResponse({"status": "redirect", "url": url})
    response["Cache-Control"] = "no-store"
    return response


# The pages that go on in the same place, if htmx has put their forms into a page of the project.
_PAGES_WITH_FORMS: Final = frozenset({"login", "step", "recover", "sign_up"})


def redirecting_htmx(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Decorate a view: let htmx open the URL of a redirect as a page (``HX-Redirect``).

    A script follows a redirect by itself: htmx would get the page as a fragment, and the browser
    would refuse a redirect to CIAM or to a provider. A redirect from form to form stays a redirect,
    and so does a redirect of a boosted request to this site.
    """

    @functools.wraps(view)
    def redirecting_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if response.has_header("Location") and "HX-Request" in request.headers:
            url = response["Location"]
            if not _may_script_follow(request, url):
                response["HX-Redirect"] = url
                del response["Location"]
                response.status_code = 200
        return response

    return redirecting_view


def _may_script_follow(request: HttpRequest, url: str) -> bool:
    if not is_htmx_request(request):
        return True
    if not is_fragment_request(request):
        return url_has_allowed_host_and_scheme(url, allowed_hosts={request.get_host()})
    names = {ciam_view_name(request.path), ciam_view_name(url)}
    return names <= _PAGES_WITH_FORMS


def end_fragment(response: HttpResponse) -> None:
    """Give the URL of a redirect an empty fragment, unless the URL has a fragment.

    A browser keeps the fragment of the URL that it came from (such as WeChat's #wechat_redirect)
    if the URL of the redirect has none (https://fetch.spec.whatwg.org/#concept-response-location-url).
    """
    if response.has_header("Location") and "#" not in response["Location"]:
        response["Location"] += "#"


def set_opener_policy(request: HttpRequest, response: HttpResponse, next_url: str) -> None:
    """Separate a sign-in in a pop-up window from the window that has opened it.

    The page of another site may have opened the window, and would see if the window closes, which
    tells if the user is signed in. The sign-in's page informs its opener in another way. So the
    policy is set even if the project has switched off Django's own policy, which is the same
    (https://html.spec.whatwg.org/#cross-origin-opener-policies). ``next_url`` is the sign-in's
    ``next``; other sign-ins keep Django's policy.
    """
    if next_url and ciam_view_name(next_url, request.path) == "done":
        response[OPENER_POLICY] = "same-origin"
