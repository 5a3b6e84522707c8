"""Functions and decorators that answer the errors of the login views, as a page or as JSON."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, Final

from django.contrib.auth.models import AnonymousUser
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseForbidden,
    QueryDict,
)
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import reverse
from django.utils.decorators import decorator_from_middleware
from django.utils.log import log_response
from django.utils.translation import override
from django.views.decorators.csrf import csrf_exempt

from ciam_django.accounts.login import storage_failure_of
from ciam_django.errors import CiamError, Stage
from ciam_django.login.hints import Hint, hint_at_form, hint_text
from ciam_django.login.redirects import requested_next, url_after_sign_in
from ciam_django.privacy import own_text
from ciam_django.reporting import answer_and_report
from ciam_django.responses import HTML, json_response_for, media_type_for, response_for
from ciam_django.ways_out import is_signed_in, url_with_next

# Django's logger of refused forms, which operators already watch.
_csrf_logger: Final = logging.getLogger("django.security.csrf")

ViewFunction = Callable[..., HttpResponse]

# Bytes. The largest form, with encrypted data of WeChat and an encrypted flow, has 13 KB. Python
# needs 0.3 seconds to parse a form of 2.5 MB, which Django accepts.
LARGEST_BODY: Final = 16 * 1024
URL_ENCODED: Final = "application/x-www-form-urlencoded"
_FORM_TYPES: Final = (URL_ENCODED, "multipart/form-data")
_MAX_DIGITS: Final = 9


def answer_error(
    request: HttpRequest, error: CiamError, hint: Hint | None = None, next_url: str = ""
) -> HttpResponse:
    """Report the error and return its response, as a page or as JSON.

    ``hint`` is a hint for the page. ``next_url`` is the ``next`` of the page's link to the login
    page, and the page for a user who is signed in already.
    """
    answer = answer_and_report(error, request)
    with override(answer.language):
        context = {"hint": hint_text(hint)}
    # A user who is signed in already still wants to reach the page that they asked for.
    is_onward = media_type_for(request) == HTML and is_signed_in(request)
    onward_url = url_after_sign_in(request, next_url) if is_onward else ""
    return response_for(request, answer, next_url=next_url, onward_url=onward_url, context=context)


def login_page_url(next_url: str) -> str:
    """Return the URL of the login page, with ``next`` unless ``next_url`` is empty."""
    return url_with_next(reverse("ciam:login"), next_url)


def _refuse_large_form(request: HttpRequest) -> None:
    """Raise ``invalid_request`` for a form above ``LARGEST_BODY``, before the form is parsed."""
    if request.content_type not in _FORM_TYPES:
        return
    size = request.META.get("CONTENT_LENGTH") or ""
    if not size and request.content_type == URL_ENCODED:
        # With ASGI, Django reads a body without this header (chunked), however long it is. Django
        # does not parse the other form type without the header.
        size = str(len(request.body))
    # Python's int() refuses a text with more than 4,300 digits.
    if size.isascii() and size.isdigit() and (len(size) > _MAX_DIGITS or int(size) > LARGEST_BODY):
        request.POST = QueryDict()
        raise CiamError("invalid_request", upstream_text=own_text("the form is larger than 16 KiB"))


def answer_errors(view: ViewFunction) -> ViewFunction:
    """Decorate a view: return the response of ``answer_error`` for a ``CiamError`` of the view.

    A form that is too large is refused, too. The middleware would take more time.
    """

    @functools.wraps(view)
    def answering_view(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        try:
            _refuse_large_form(request)
            return view(request, *args, **kwargs)
        except CiamError as error:
            return answer_error(request, error, next_url=requested_next(request))

    return answering_view


def answer_storage_failure(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """Return the response of ``answer_error`` if the database or the session store is away.

    The JSON endpoints return JSON. Return None for other exceptions.
    """
    failure = None if isinstance(error, CiamError) else storage_failure_of(error)
    if failure is None:
        return None
    # The user is in the session, and the page of an answer must not read the session again.
    request.user = AnonymousUser()
    if request.path.startswith(reverse("ciam:api")):
        return json_response_for(request, answer_and_report(failure, request))
    return answer_error(request, failure, next_url=requested_next(request))


class _CsrfMiddleware(CsrfViewMiddleware):
    """Django's CSRF check, which answers a refusal with the code ``csrf_failed``.

    A form that is too large is refused before the check, which parses the form.
    """

    def process_view(self, request: HttpRequest, *args: Any) -> HttpResponseForbidden | None:
        try:
            _refuse_large_form(request)
        except CiamError as error:
            # The stubs expect the class of a 403, but Django takes any response.
            return self.answer(request, error)  # type: ignore[return-value]  # this is a 400
        return super().process_view(request, *args)

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        # Django's own line: a wrong proxy or CSRF_TRUSTED_ORIGINS shows only in the origin, which
        # the line of the error lacks.
        log_response(
            "Forbidden (%s): %s",
            reason,
            request.path,
            response=HttpResponseForbidden(),
            request=request,
            logger=_csrf_logger,
        )
        error = CiamError("csrf_failed", stage=Stage.AUTHORIZE, upstream_text=reason)
        return self.answer(request, error)

    def answer(self, request: HttpRequest, error: CiamError) -> HttpResponse:
        return answer_error(request, error, hint_at_form(request))


class _JsonMiddleware(_CsrfMiddleware):
    """The CSRF check of a JSON endpoint, whose answers are JSON for each Accept header."""

    def answer(self, request: HttpRequest, error: CiamError) -> HttpResponse:
        return json_response_for(request, answer_and_report(error, request))


class _FormMiddleware(_CsrfMiddleware):
    """The CSRF check, which also answers each ``CiamError`` that the view raises."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, CiamError):
            return None
        return answer_error(request, exception, next_url=requested_next(request))


def protect_from_csrf(view: ViewFunction) -> Callable[..., HttpResponseBase]:
    """Decorate a view: check the CSRF token here, and skip the check of ``MIDDLEWARE``.

    A failed check is reported, and gives the response of the code ``csrf_failed``.
    """
    return csrf_exempt(decorator_from_middleware(_CsrfMiddleware)(view))


def protect_json_from_csrf(view: ViewFunction) -> Callable[..., HttpResponseBase]:
    """Decorate a view like ``protect_from_csrf``, and answer with JSON for each Accept header."""
    return csrf_exempt(decorator_from_middleware(_JsonMiddleware)(view))


def protect_form(view: ViewFunction) -> Callable[..., HttpResponseBase]:
    """Decorate a view like ``protect_from_csrf`` and ``answer_errors``, in one layer."""
    return csrf_exempt(decorator_from_middleware(_FormMiddleware)(view))
