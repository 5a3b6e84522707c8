"""A ``CiamError`` of a serializer stands at its field, or is answered as any other."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client
from django.urls import path
from pytest_django.fixtures import Settings
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ciam_django.drf.serializers import error_at_field, raising_validation_errors
from ciam_django.errors import CiamError

TAKEN = "Params.Exist.User.Phone.Number"
POLICY = "Params.Illegal.User.Password.Policy"

_raised: list[str] = []


class ProfileSerializer(serializers.Serializer[Any]):
    """A serializer as a project has it."""

    mobile = serializers.CharField()
    password = serializers.CharField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        with raising_validation_errors(self, fields={"phone_number": "mobile"}):
            if _raised:
                raise CiamError(_raised.pop(), stage="profile")
        return attrs


class ProfileView(APIView):
    def post(self, request: Request) -> Response:
        serializer = ProfileSerializer(data=request.data, context={"request": request})
        serializer.is_valid(raise_exception=True)
        return Response()


urlpatterns = [path("", ProfileView.as_view())]


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


def post(code: str, **headers: str) -> Any:
    _raised.append(code)
    return Client().post("/", {"mobile": "13800000000", "password": "x"}, headers=headers)


def test_the_error_stands_at_the_field_that_the_project_names() -> None:
    response = post(TAKEN, **{"accept-language": "zh-hans"})

    assert response.status_code == 400
    assert list(response.json()) == ["mobile"]
    assert "手机号" in response.json()["mobile"][0]


def test_the_error_stands_at_a_field_of_the_tables_name() -> None:
    assert list(post(POLICY).json()) == ["password"]


def test_without_an_error_the_serializer_is_valid() -> None:
    response = Client().post("/", {"mobile": "13800000000", "password": "x"})

    assert response.status_code == 200


def test_the_detail_has_the_code_of_the_answer() -> None:
    found = error_at_field(CiamError(POLICY), ProfileSerializer())

    assert isinstance(found, serializers.ValidationError)
    assert found.get_codes() == {"password": [POLICY]}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        # An account and the connection are no mistake of the input; the serializer has no email.
        ("Operation.Failure.User.Locked", 403),
        ("timeout", 503),
        ("Params.Exist.User.Email", 409),
        ("Operation.Failure.Send.SMS.Too.Frequency", 429),
    ],
)
def test_any_other_error_is_answered_as_elsewhere(code: str, status: int) -> None:
    response = post(code)

    assert response.status_code == status
    assert response.json()["code"] == response["Ciam-Error-Code"] == code


@pytest.mark.parametrize("code", [TAKEN, "timeout"])
def test_the_error_is_one_log_line(code: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ciam_django"):
        post(code)

    lines = [record.getMessage() for record in caplog.records if record.name == "ciam_django"]
    assert len(lines) == 1
    assert code in lines[0]
