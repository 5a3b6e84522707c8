"""Turn a ``CiamError`` that a Django view raises into a response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from ciam_django.answers import ciam_error_for
from ciam_django.reporting import answer_and_report
from ciam_django.responses import response_for

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class CiamErrorMiddleware:
    """Answer the errors that sync and async views raise.

    Put this class last in ``MIDDLEWARE``. Django does not pass the exceptions of other middleware
    to this class.
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
        """Report a handled error and return its response; None for all other exceptions.

        ``answers.ciam_error_for`` decides. Django handles the other exceptions.
        """
        error = ciam_error_for(exception)
        if error is None:
            return None
        answer = answer_and_report(error, request)
        return response_for(request, answer)
