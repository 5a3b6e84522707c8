"""The door of Django's views: a ``CiamError`` raised in one becomes a response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from ciam_django.answers import handled_error
from ciam_django.reporting import answer_and_report
from ciam_django.responses import response_for

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class CiamErrorMiddleware:
    """Answers the errors that views raise, sync and async ones alike.

    Put it last in ``MIDDLEWARE``: what other middleware raises never reaches it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            # Without the mark, every ASGI request below SessionMiddleware is a TypeError.
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        return self.get_response(request)

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        """The response to an error of ours; None, and Django goes on, for any other."""
        error = handled_error(exception)
        if error is None:
            return None
        return response_for(request, answer_and_report(error, request))
