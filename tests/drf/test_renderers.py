"""Test that REST framework negotiates ``application/problem+json``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import path
from pytest_django.fixtures import Settings
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ciam_django.drf.renderers import ProblemJSONRenderer
from ciam_django.errors import CiamError

LOCKED = "Operation.Failure.User.Locked"


class RestView(APIView):
    authentication_classes = ()
    renderer_classes = (JSONRenderer, ProblemJSONRenderer, BrowsableAPIRenderer)

    def get(self, request: Request) -> Response:
        raise CiamError(LOCKED, request_id="abc")


urlpatterns = [path("rest/", RestView.as_view())]


@pytest.fixture(autouse=True)
def urls_of_this_module(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


def get(url: str, accept: str) -> Any:
    return Client().get(url, headers={"accept": accept})


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/problem+json", "application/problem+json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
    ],
)
def test_the_negotiated_renderer_sets_the_content_type(accept: str, content_type: str) -> None:
    response = get("/rest/", accept)

    assert response.status_code == 403
    assert response["Content-Type"] == content_type
    assert json.loads(response.content)["code"] == LOCKED


def test_a_query_parameter_selects_the_format() -> None:
    response = get("/rest/?format=problem", "*/*")

    assert response["Content-Type"] == "application/problem+json"


def test_the_browsable_api_shows_the_answer() -> None:
    response = get("/rest/", "text/html")

    assert response.status_code == 403
    assert response["Content-Type"].startswith("text/html")
    assert response["Cache-Control"] == "no-store"
    assert "This account is locked." in response.content.decode()


def test_texts_are_encoded_as_utf_8() -> None:
    rendered = ProblemJSONRenderer().render({"detail": "账号已锁定"})

    assert json.loads(rendered) == {"detail": "账号已锁定"}
    assert "账号已锁定".encode() in rendered
