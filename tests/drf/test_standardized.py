"""drf-standardized-errors has our codes, words and statuses in its own members."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import got_request_exception
from django.test import Client
from django.urls import path
from drf_standardized_errors.openapi_serializers import (
    ErrorResponse401Serializer,
    ServerErrorEnum,
)
from pytest_django.fixtures import Settings
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ciam_django.codes import CODES
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from tests.checks.test_settings import found_with
from tests.drf.test_authentication import header, token_for
from tests.drf.test_permissions import OrdersView
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
THEIRS = "drf_standardized_errors.handler.exception_handler"
OURS = "ciam_django.drf.standardized.CiamExceptionHandler"

_raised: list[Exception] = []


class RaisingView(APIView):
    def get(self, request: Request) -> Response:
        raise _raised[-1]


urlpatterns = [path("", RaisingView.as_view()), path("orders/", OrdersView.as_view())]


@pytest.fixture(autouse=True)
def site(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": THEIRS}
    settings.DRF_STANDARDIZED_ERRORS = {"EXCEPTION_HANDLER_CLASS": OURS}
    yield
    _raised.clear()


def get(error: Exception, **headers: str) -> Any:
    _raised.append(error)
    return Client(raise_request_exception=False).get("/", headers=headers)


@for_each_row("code", [*CODES, "nobody.knows"])
def test_the_body_is_that_packages(code: str) -> None:
    response = get(CiamError(code))
    told = response.json()

    assert list(told) == ["type", "errors"]
    (error,) = told["errors"]
    assert list(error) == ["code", "detail", "attr"]
    kind = "client_error" if response.status_code < 500 else "server_error"
    if response.status_code == 400 and error["attr"]:
        kind = "validation_error"
    assert told["type"] == kind


def test_code_words_status_and_headers_are_ours() -> None:
    response = get(CiamError(LOCKED, request_id="abc"), **{"accept-language": "zh-hans"})

    assert response.status_code == 403
    assert response.json() == {
        "type": "client_error",
        "errors": [
            {"code": LOCKED, "detail": "该账号已被锁定，请联系客服解锁。", "attr": None},
        ],
    }
    assert response["Ciam-Error-Code"] == LOCKED
    assert response["Ciam-Request-Id"] == "abc"
    assert response["Cache-Control"] == "no-store"


def test_a_field_is_its_attr() -> None:
    response = get(CiamError("Params.Blank.User.Nick.Name"))

    assert response.status_code == 400
    assert response.json()["type"] == "validation_error"
    assert response.json()["errors"][0]["attr"] == "nick_name"


def test_a_wait_and_a_challenge_are_told() -> None:
    assert get(CiamError("too_many_requests", retry_after=7))["Retry-After"] == "7"
    challenged = get(CiamError("invalid_token"), authorization="Bearer abc")
    assert challenged["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.django_db
def test_a_scope_that_is_missing_is_ours_too(ciam: FakeCiam) -> None:
    response = Client().get("/orders/", headers=header(token_for()))

    assert response.status_code == 403
    assert response.json()["errors"][0]["code"] == "insufficient_scope"
    assert 'scope="orders.read USER_API"' in response["WWW-Authenticate"]


def test_its_schemas_have_the_same_members() -> None:
    told = get(CiamError("timeout")).json()

    assert told["type"] in [value for value, _ in ServerErrorEnum.choices]
    assert set(told) == set(ErrorResponse401Serializer().fields)


@pytest.mark.parametrize("code", [LOCKED, "timeout", "bad_configuration"])
@pytest.mark.parametrize("debug", [True, False])
def test_it_is_logged_once_and_reported_to_nobody(
    code: str, debug: bool, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    settings.DEBUG = debug
    caplog.set_level(logging.INFO)
    reported: list[object] = []

    def note(**kwargs: object) -> None:
        reported.append(kwargs)

    got_request_exception.connect(note)
    get(CiamError(code))
    got_request_exception.disconnect(note)

    assert [record.name for record in caplog.records] == ["ciam_django"]
    assert not reported


def test_everything_else_is_as_that_package_has_it(caplog: pytest.LogCaptureFixture) -> None:
    invalid = get(exceptions.ValidationError({"name": ["Too short."]}))
    throttled = get(exceptions.Throttled(wait=7))
    broken = get(ValueError("foreign"))

    assert invalid.json() == {
        "type": "validation_error",
        "errors": [{"code": "invalid", "detail": "Too short.", "attr": "name"}],
    }
    assert throttled["Retry-After"] == "7"
    assert broken.status_code == 500
    assert broken.json()["type"] == "server_error"
    assert "ValueError" in caplog.text


def test_the_check_knows_it() -> None:
    rest = {"EXCEPTION_HANDLER": THEIRS}

    assert not found_with(
        REST_FRAMEWORK=rest, DRF_STANDARDIZED_ERRORS={"EXCEPTION_HANDLER_CLASS": OURS}
    )
    for chosen in ({}, None, {"EXCEPTION_HANDLER_CLASS": "no.such.Handler"}):
        (message,) = found_with(REST_FRAMEWORK=rest, DRF_STANDARDIZED_ERRORS=chosen)
        assert message.id == "ciam_django.W018"
