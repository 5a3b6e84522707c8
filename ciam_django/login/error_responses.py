"""A failure of signing in, answered in place: as a page with a way back, or as JSON."""

from __future__ import annotations

import functools
from collections.abc import Callable
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import reverse
from django.utils.decorators import decorator_from_middleware
from django.views.decorators.csrf import csrf_exempt

from ciam_django.errors import CiamError, Stage
from ciam_django.login.hints import Hint, hint_at_form, hint_text
from ciam_django.login.redirects import requested_next
from ciam_django.reporting import answer_and_report
from ciam_django.responses import response_for

View = Callable[..., HttpResponse]


def answer_error(
    request: HttpRequest, error: CiamError, hint: Hint | None = None, next_url: str = ""
) -> HttpResponse:
    """The answer to the error; the way out of its page keeps ``next``."""
    answer, login_url = answer_and_report(error, request), reverse("ciam:login")
    context = {"hint": hint_text(hint)}
    if next_url and answer.action_url in (None, login_url):
        # Whoever tries again still wants to go there.
        context["way_out"] = login_page_url(next_url)
    return response_for(request, answer, fallback_url=login_url, context=context)


def login_page_url(next_url: str) -> str:
    """The login page, which leads on to ``next``."""
    query = f"?{urlencode({'next': next_url})}" if next_url else ""
    return reverse("ciam:login") + query


def answer_errors(view: View) -> View:
    """Answer the view's own failures in place: that is cheaper than through the middleware."""

    @functools.wraps(view)
    def answering_view(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except CiamError as error:
            return answer_error(request, error, next_url=requested_next(request))

    return answering_view


class _CsrfMiddleware(CsrfViewMiddleware):
    """Django's check with an answer of ours in place of Django's page."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        error = CiamError("csrf_failed", stage=Stage.AUTHORIZE, upstream_text=reason)
        return answer_error(request, error, hint_at_form(request))


class _FormMiddleware(_CsrfMiddleware):
    """The check, and an answer to the errors that the view raises."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, CiamError):
            return None
        return answer_error(request, exception, next_url=requested_next(request))


def protect_from_csrf(view: View) -> Callable[..., HttpResponseBase]:
    """Check the view's form token here, and exempt the view from the check of ``MIDDLEWARE``."""
    return csrf_exempt(decorator_from_middleware(_CsrfMiddleware)(view))


def protect_form(view: View) -> Callable[..., HttpResponseBase]:
    """Do as ``protect_from_csrf`` and ``answer_errors`` do, in one layer."""
    return csrf_exempt(decorator_from_middleware(_FormMiddleware)(view))
