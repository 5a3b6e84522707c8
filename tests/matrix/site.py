"""The project in which the stages fail: our own views, and two views of the project's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from ciam_django.testing import FakeCiam

# The fake that all is asked of, and what the project's views do: the last ones.
ciam: list[FakeCiam] = []
steps: list[Callable[[], Any]] = []


def plain(request: HttpRequest) -> HttpResponse:
    steps[-1]()
    return HttpResponse("It went well.")


@api_view(["GET"])
def rest(request: Request) -> Response:
    steps[-1]()
    return Response("It went well.")


urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("plain/", plain),
    path("rest/", rest),
]
