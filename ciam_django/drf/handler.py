"""The door of REST framework's views: a ``CiamError`` raised in one becomes a ``Response``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string
from rest_framework import views
from rest_framework.response import Response

from ciam_django.answers import handled_error
from ciam_django.conf import conf
from ciam_django.drf.scopes import insufficient_scope_error
from ciam_django.errors import CiamError
from ciam_django.reporting import answer_and_report
from ciam_django.responses import mark_as_logged


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """The ``EXCEPTION_HANDLER`` of REST framework's settings.

    Answers what is ours with the same status, members and headers as the middleware would, and
    hands everything else to ``CIAM_DRF_FALLBACK_HANDLER``, REST framework's own by default.
    """
    error = handled_drf_error(exc, context)
    if error is None:
        fallback = import_string(conf.CIAM_DRF_FALLBACK_HANDLER)
        response: Response | None = fallback(exc, context)
        return response
    answer = answer_and_report(error, django_request(context))
    # Looked up now: this module is imported while REST framework's views are.
    views.set_rollback()
    response = Response(answer.as_dict(), status=answer.status, headers=answer.headers)
    mark_as_logged(response)
    return response


def handled_drf_error(exc: Exception, context: Mapping[str, Any]) -> CiamError | None:
    """The exception as what this door answers; None if it is none of ours."""
    return handled_error(exc) or insufficient_scope_error(exc, context)


def django_request(context: Mapping[str, Any]) -> HttpRequest | None:
    """Django's request: REST framework's would authenticate again when asked for its user."""
    request = context.get("request")
    return getattr(request, "_request", request)
