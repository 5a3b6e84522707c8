"""Return a ``Response`` for a ``CiamError`` that a view of REST framework raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest
from django.utils.module_loading import import_string
from rest_framework import views
from rest_framework.response import Response

from ciam_django.conf import conf
from ciam_django.lazy_modules import LazyModule

if TYPE_CHECKING:
    from ciam_django import answers, reporting, responses
    from ciam_django.drf import scopes
    from ciam_django.errors import CiamError
else:
    # The first exception imports these modules.
    answers = LazyModule("ciam_django.answers")
    reporting = LazyModule("ciam_django.reporting")
    responses = LazyModule("ciam_django.responses")
    scopes = LazyModule("ciam_django.drf.scopes")

_OWN_HANDLER: Final = "rest_framework.views.exception_handler"


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Answer an exception of a view; for ``EXCEPTION_HANDLER`` in REST framework's settings.

    A ``CiamError`` gets the same status, members and headers as from the middleware. So do the
    exceptions that count as a ``CiamError``: Authlib's errors that have a row in the table, and
    a refusal by ``HasScope``. Every other exception goes to ``CIAM_DRF_FALLBACK_HANDLER``, which
    is REST framework's own handler by default.
    """
    error = ciam_error_in_drf(exc, context)
    if error is None:
        # Use the attribute of the module: REST framework can import this module before its own
        # module ``views`` is complete.
        path = conf.CIAM_DRF_FALLBACK_HANDLER
        fallback = views.exception_handler if path == _OWN_HANDLER else import_string(path)
        response: Response | None = fallback(exc, context)
        return response
    answer = reporting.answer_and_report(error, django_request(context))
    views.set_rollback()
    response = Response(answer.as_dict(), status=answer.status, headers=answer.headers)
    responses.mark_as_logged(response)
    return response


def ciam_error_in_drf(exc: Exception, context: Mapping[str, Any]) -> CiamError | None:
    """Return the ``CiamError`` to answer for an exception, or None if the exception is not ours."""
    return answers.ciam_error_for(exc) or scopes.insufficient_scope_error(exc, context)


def django_request(context: Mapping[str, Any]) -> HttpRequest | None:
    """Return Django's request: to read ``user`` of REST framework's request authenticates again."""
    request = context.get("request")
    return getattr(request, "_request", request)
