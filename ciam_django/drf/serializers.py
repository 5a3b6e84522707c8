"""A ``CiamError`` at its field of a serializer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.serializers import Serializer

from ciam_django.answers import answer_to
from ciam_django.drf.handler import django_request
from ciam_django.errors import CiamError
from ciam_django.reporting import report

# The statuses of answers that are about the input. REST framework itself gives 400 for both.
_INPUT_STATUSES: Final = (400, 409)


def error_at_field(
    error: CiamError, serializer: Serializer[Any], fields: Mapping[str, str] | None = None
) -> ValidationError | CiamError:
    """The exception to raise in a serializer for an error of CIAM.

    This is a ``ValidationError`` of one field if the answer is about a field that the serializer
    has. It is the error itself in any other case, for ``exception_handler``: a locked account or
    an unreachable CIAM is no mistake of the input. ``fields`` maps a field of the table to the name
    that the serializer has for the field: ``{"phone_number": "mobile"}``.
    """
    request = django_request(serializer.context)
    answer = answer_to(error, request)
    name = (fields or {}).get(answer.field or "", answer.field)
    if name is None or name not in serializer.fields or answer.status not in _INPUT_STATUSES:
        return error
    report(error, request, answer)
    # A list, as REST framework has the errors of a field.
    detail: dict[str, Any] = {name: [ErrorDetail(answer.detail, code=answer.code)]}
    return ValidationError(detail)


@contextlib.contextmanager
def raising_validation_errors(
    serializer: Serializer[Any], fields: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Raise the exception of ``error_at_field`` for a ``CiamError`` of the block.

    Use it around a call to CIAM in a method of a serializer.
    """
    try:
        yield
    except CiamError as error:
        raised = error_at_field(error, serializer, fields)
        if raised is error:
            raise
        raise raised from None
