"""Show a ``CiamError`` at its field of a form, also of a project's own form."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import NON_FIELD_ERRORS
from django.forms import BaseForm
from django.http import HttpRequest

from ciam_django.answers import Answer
from ciam_django.errors import CiamError
from ciam_django.reporting import answer_and_report


def add_error(
    form: BaseForm,
    error: CiamError,
    request: HttpRequest | None = None,
    fields: Mapping[str, str] | None = None,
) -> Answer:
    """Report the error, add it to its field or to the form itself, and return the answer.

    The error belongs to the form itself if the answer names no field, or a field that the form does
    not have. ``fields`` maps a field of the table to the name that the form has for the field:
    ``{"phone_number": "mobile"}``. The error replaces earlier errors of the same field. Give the
    response the answer's ``status``.
    """
    answer = answer_and_report(error, request)
    name = (fields or {}).get(answer.field or "", answer.field)
    place = name if name in form.fields else None
    form.errors.pop(place or NON_FIELD_ERRORS, None)
    form.add_error(place, answer.text)
    return answer
