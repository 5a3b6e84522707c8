"""The answer to a client that django-axes has locked out."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from ciam_django.errors import CiamError
from ciam_django.reporting import answer_and_report
from ciam_django.responses import response_for


def lockout_response(request: HttpRequest, *args: object) -> HttpResponse:
    """The setting ``AXES_LOCKOUT_CALLABLE`` names this function."""
    return response_for(request, answer_and_report(CiamError("too_many_requests"), request))
