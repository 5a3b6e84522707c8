"""Test our codes, texts and statuses in the format of drf-standardized-errors."""

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
def test_the_body_has_the_format_of_drf_standardized_errors(code: str) -> None:
    response = get(CiamError(code))
    body = response.json()

    assert list(body) == ["type", "errors"]
    (error,) = body["errors"]
    assert list(error) == ["code", "detail", "attr"]
    kind = "client_error" if response.status_code < 500 else "server_error"
    if response.status_code == 400 and error["attr"]:
        kind = "validation_error"
    assert body["type"] == kind


def test_the_code_text_status_and_headers_are_ours() -> None:
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


def test_a_field_becomes_the_attr() -> None:
    response = get(CiamError("Params.Blank.User.Nick.Name"))

    assert response.status_code == 400
    assert response.json()["type"] == "validation_error"
    assert response.json()["errors"][0]["attr"] == "nick_name"


def test_retry_after_and_the_challenge_are_headers() -> None:
    assert get(CiamError("too_many_requests", retry_after=7))["Retry-After"] == "7"
    challenged = get(CiamError("invalid_token"), authorization="Bearer abc")
    assert challenged["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.django_db
def test_a_missing_scope_is_answered_in_the_same_format(ciam: FakeCiam) -> None:
    response = Client().get("/orders/", headers=header(token_for()))

    assert response.status_code == 403
    assert response.json()["errors"][0]["code"] == "insufficient_scope"
    assert 'scope="orders.read USER_API"' in response["WWW-Authenticate"]


def test_the_body_fits_the_serializers_of_drf_standardized_errors() -> None:
    body = get(CiamError("timeout")).json()

    assert body["type"] in [value for value, _ in ServerErrorEnum.choices]
    assert set(body) == set(ErrorResponse401Serializer().fields)


@pytest.mark.parametrize("code", [LOCKED, "timeout", "bad_configuration"])
@pytest.mark.parametrize("debug", [True, False])
def test_an_error_is_logged_once_and_not_reported_to_django(
    code: str, debug: bool, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    settings.DEBUG = debug
    caplog.set_level(logging.INFO)
    reported: list[object] = []

    def record(**kwargs: object) -> None:
        reported.append(kwargs)

    got_request_exception.connect(record)
    get(CiamError(code))
    got_request_exception.disconnect(record)

    assert [record.name for record in caplog.records] == ["ciam_django"]
    assert not reported


def test_other_exceptions_are_answered_by_drf_standardized_errors(
    caplog: pytest.LogCaptureFixture,
) -> None:
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


def test_the_check_accepts_our_handler_class_only() -> None:
    rest = {"EXCEPTION_HANDLER": THEIRS}

    assert not found_with(
        REST_FRAMEWORK=rest, DRF_STANDARDIZED_ERRORS={"EXCEPTION_HANDLER_CLASS": OURS}
    )
    for setting in ({}, None, {"EXCEPTION_HANDLER_CLASS": "no.such.Handler"}):
        (message,) = found_with(REST_FRAMEWORK=rest, DRF_STANDARDIZED_ERRORS=setting)
        assert message.id == "ciam_django.W018"
