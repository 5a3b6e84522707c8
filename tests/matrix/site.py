"""The project in which the stages fail, with the package's views and two views of the project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from ciam_django.testing import FakeCiam

# The last item of each list is in use: the fake that the project talks to, and the function that
# the project's views call.
fakes: list[FakeCiam] = []
calls: list[Callable[[], Any]] = []


def django_view(request: HttpRequest) -> HttpResponse:
    calls[-1]()
    return HttpResponse("It went well.")


@api_view(["GET"])
def rest_view(request: Request) -> Response:
    calls[-1]()
    return Response("It went well.")


urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("plain/", django_view),
    path("rest/", rest_view),
]
