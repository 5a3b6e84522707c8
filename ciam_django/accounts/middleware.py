"""``CiamSessionMiddleware``: end a session when CIAM ends the person's session or tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import Resolver404, resolve

from ciam_django.accounts.last_failure import record_failure
from ciam_django.accounts.login import storage_failure_of
from ciam_django.accounts.session_check import refresh_or_end_session
from ciam_django.reporting import answer_and_report
from ciam_django.responses import is_fragment_request, response_for
from ciam_django.ways_out import referring_page

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class CiamSessionMiddleware:
    """Refresh the tokens of a signed-in user before the tokens expire.

    Put this class after Django's own middleware. A request whose session has ended gets a response
    with the status 401: a page with a link to the login page, or our JSON body. While CIAM can't be
    reached, the session continues.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self.__acall__(request)
        return _refuse_ended_session(request) or self.get_response(request)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        refusal = await sync_to_async(_refuse_ended_session)(request)
        return refusal or await cast("Awaitable[HttpResponseBase]", self.get_response(request))


def _is_ciam_view(request: HttpRequest) -> bool:
    """Return True if the URL of the request is in ``ciam_django.urls``."""
    try:
        return "ciam" in resolve(request.path_info).app_names
    except Resolver404:
        return False


def _refuse_ended_session(request: HttpRequest) -> HttpResponse | None:
    """Check the session, and return the response with the status 401 if the session has ended.

    The failure is reported and recorded. Return None if the session continues, if there is no
    session, or for a view of ``ciam_django.urls``.
    """
    # Without the cookie there is no session. Reading the session would also add ``Vary: Cookie`` to
    # pages that a cache can serve to everybody.
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return None
    try:
        error = refresh_or_end_session(request)
    except Exception as failure:
        # The views of ``ciam_django.urls`` answer with a page if the session store is away.
        if storage_failure_of(failure) and _is_ciam_view(request):
            return None
        raise
    if error is None:
        return None
    answer = answer_and_report(error, request)
    record_failure(request, error.type_code or error.code, answer.request_id)
    if _is_ciam_view(request):
        # A user who signs in again or signs out gets the requested page, not a 401.
        return None
    # htmx shows the response in a part of the referring page.
    is_page = request.method == "GET" and not is_fragment_request(request)
    next_url = request.get_full_path() if is_page else referring_page(request)
    return response_for(request, answer, next_url=next_url)
