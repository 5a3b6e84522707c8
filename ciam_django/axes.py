"""Functions for the settings of django-axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse

from ciam_django.accounts.backends import typed_name_of
from ciam_django.errors import CiamError
from ciam_django.reporting import answer_and_report
from ciam_django.responses import response_for

_CODE: Final = "too_many_requests"


def lockout_response(request: HttpRequest, *args: object) -> HttpResponse:
    """Report ``too_many_requests``, and return its page or JSON.

    Name this function in the setting ``AXES_LOCKOUT_CALLABLE``. If the view has given this answer
    already, return the response of the view.
    """
    for response in args:
        # Django-axes passes the view's response, except to asynchronous middleware.
        if isinstance(response, HttpResponse) and response.get("Ciam-Error-Code") == _CODE:
            return response
    return response_for(request, answer_and_report(CiamError(_CODE), request))


def typed_name(request: HttpRequest, credentials: Mapping[str, Any] | None) -> str | None:
    """Return the name that the user has typed, at this package's doors and at Django's own.

    Name this function in the setting ``AXES_USERNAME_CALLABLE``. After a successful sign-in,
    django-axes then resets the failures of the typed name (``AXES_RESET_ON_SUCCESS``), instead of
    the failures of the user name in the database.
    """
    field = str(getattr(settings, "AXES_USERNAME_FORM_FIELD", get_user_model().USERNAME_FIELD))
    source = credentials or request.POST
    return typed_name_of(request) or source.get(field)
