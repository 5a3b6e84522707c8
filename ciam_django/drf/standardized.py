"""Answer a ``CiamError`` in the format of drf-standardized-errors."""

from __future__ import annotations

from typing import Any

from drf_standardized_errors.handler import ExceptionHandler
from rest_framework import exceptions
from rest_framework.response import Response

from ciam_django.answers import Answer
from ciam_django.drf.handler import ciam_error_in_drf, django_request
from ciam_django.reporting import answer_and_report
from ciam_django.responses import mark_as_logged


class _AnsweredError(exceptions.APIException):
    """An answer as an exception that drf-standardized-errors can format."""

    def __init__(self, answer: Answer) -> None:
        detail = exceptions.ErrorDetail(answer.detail, code=answer.code)
        super().__init__({answer.field: detail} if answer.field else detail)
        self.status_code = answer.status
        self.answer = answer


class _InvalidInputError(_AnsweredError, exceptions.ValidationError):
    """An answer with a field; drf-standardized-errors calls it a ``validation_error``."""


class CiamExceptionHandler(ExceptionHandler):
    """Answer exceptions; for ``DRF_STANDARDIZED_ERRORS = {"EXCEPTION_HANDLER_CLASS": ...}``.

    The answer to a ``CiamError`` has the members of drf-standardized-errors (``type``, and
    ``errors`` with ``code``, ``detail`` and ``attr``), and our texts, status and headers.
    drf-standardized-errors itself answers every other exception.
    """

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        error = ciam_error_in_drf(exc, self.context)
        if error is None:
            return super().convert_known_exceptions(exc)
        answer = answer_and_report(error, django_request(self.context))
        is_about_input = answer.status == 400 and answer.field
        return _InvalidInputError(answer) if is_about_input else _AnsweredError(answer)

    def get_headers(self, exc: exceptions.APIException) -> dict[str, Any]:
        if isinstance(exc, _AnsweredError):
            return exc.answer.headers
        return super().get_headers(exc)

    def report_exception(self, exc: exceptions.APIException, response: Response) -> None:
        # Our answers are logged already, without a traceback.
        if isinstance(exc, _AnsweredError):
            mark_as_logged(response)
        else:
            super().report_exception(exc, response)
