"""Answer the requests of a client that django-axes has locked out."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from ciam_django.errors import CiamError
from ciam_django.reporting import answer_and_report
from ciam_django.responses import response_for


def lockout_response(request: HttpRequest, *args: object) -> HttpResponse:
    """Report ``too_many_requests``, and return its page or JSON.

    Name this function in the setting ``AXES_LOCKOUT_CALLABLE``.
    """
    return response_for(request, answer_and_report(CiamError("too_many_requests"), request))
