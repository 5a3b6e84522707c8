"""Turn a ``CiamError`` that a Django view raises into a response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from ciam_django.lazy_modules import LazyModule

if TYPE_CHECKING:
    from ciam_django import answers, reporting, responses
else:
    # The first exception imports these modules.
    answers = LazyModule("ciam_django.answers")
    reporting = LazyModule("ciam_django.reporting")
    responses = LazyModule("ciam_django.responses")

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
        error = answers.ciam_error_for(exception)
        if error is None:
            return None
        answer = reporting.answer_and_report(error, request)
        return responses.response_for(request, answer)
