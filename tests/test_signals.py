"""Test the signals: sent once for each failure, and without an effect on the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.signals import user_login_failed
from django.dispatch import Signal
from django.http import HttpResponse
from django.test import RequestFactory

from ciam_django.answers import Answer
from ciam_django.errors import CiamError
from ciam_django.middleware import CiamErrorMiddleware
from ciam_django.reporting import answer_and_report
from ciam_django.signals import login_failed, unknown_code

LOCKED = "Operation.Failure.User.Locked"
WRONG = "Operation.Failure.Username.Or.Password.Error"
SIGN_IN_STAGES = [
    "authorize",
    "callback",
    "token",
    "id_token",
    "userinfo",
    "password",
    "send_code",
    "verify_code",
    "social",
    "register",
    "recover",
]
OTHER_STAGES = ["", "refresh", "logout", "profile", "api"]

Received = list[dict[str, Any]]
RecordSignal = Callable[[Signal], Received]


@pytest.fixture
def record_signal() -> Iterator[RecordSignal]:
    """A function that connects a receiver, and returns the list of its keyword arguments."""
    connected = []

    def connect(signal: Signal) -> Received:
        received: Received = []

        def receiver(**kwargs: Any) -> None:
            received.append(kwargs)

        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))
        return received

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.mark.parametrize("stage", SIGN_IN_STAGES)
def test_a_failed_sign_in_sends_login_failed_with_the_true_code(
    stage: str, record_signal: RecordSignal
) -> None:
    received = record_signal(login_failed)
    request = RequestFactory().get("/")
    error = CiamError(LOCKED, stage=stage)
    answer = answer_and_report(error, request)

    assert [(call["request"], call["error"], call["answer"]) for call in received] == [
        (request, error, answer)
    ]
    assert received[0]["error"].code == LOCKED


@pytest.mark.parametrize("stage", OTHER_STAGES)
def test_a_failure_at_another_stage_sends_no_login_failed(
    stage: str, record_signal: RecordSignal
) -> None:
    received = record_signal(login_failed)
    answer_and_report(CiamError(LOCKED, stage=stage))

    assert received == []


def test_login_failed_is_sent_once_for_each_error(record_signal: RecordSignal) -> None:
    received = record_signal(login_failed)
    error = CiamError(LOCKED, stage="token")
    middleware = CiamErrorMiddleware(lambda request: HttpResponse())
    for _ in range(2):
        middleware.process_exception(RequestFactory().get("/"), error)

    assert len(received) == 1


def test_unknown_code_is_sent_once_for_each_warning(
    record_signal: RecordSignal, caplog: pytest.LogCaptureFixture
) -> None:
    received = record_signal(unknown_code)
    for code in ("Brand.New", "BRAND.new", "Newer.Still", LOCKED, "Params.Blank.New", "Brand.New"):
        answer_and_report(CiamError(code))

    assert [call["code"] for call in received] == ["Brand.New", "Newer.Still", "Params.Blank.New"]
    assert [call["error"].code for call in received] == [call["code"] for call in received]
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 3


def test_a_code_of_the_query_string_sends_no_unknown_code(record_signal: RecordSignal) -> None:
    received = record_signal(unknown_code)
    answer_and_report(CiamError("Brand.New"), RequestFactory().get("/", {"error": "Brand.New"}))

    assert received == []


@pytest.mark.parametrize(
    "signal",
    [login_failed, unknown_code, user_login_failed],
    ids=["login_failed", "unknown_code", "user_login_failed"],
)
def test_a_receiver_that_raises_changes_no_answer_and_is_logged(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**kwargs: Any) -> None:
        raise RuntimeError("the receiver's own")

    error = "brand.new" if signal is unknown_code else WRONG
    signal.connect(broken, weak=False)
    try:
        answer = answer_and_report(CiamError(error, stage="password"), RequestFactory().post("/"))
    finally:
        signal.disconnect(broken)

    assert isinstance(answer, Answer)
    dispatched = [r for r in caplog.records if r.name == "django.dispatch"]
    assert ["the receiver's own" in r.getMessage() for r in dispatched] == [True]


@pytest.mark.parametrize("stage", ["password", "verify_code"])
@pytest.mark.parametrize("code", [WRONG, LOCKED, "Operation.Failure.User.Not.Exist"])
def test_wrong_credentials_send_djangos_user_login_failed(
    code: str, stage: str, record_signal: RecordSignal
) -> None:
    received = record_signal(user_login_failed)
    request = RequestFactory().post("/", {"username": "li", "password": "secret"})
    answer_and_report(CiamError(code, stage=stage), request)

    assert [(call["request"], call["credentials"]) for call in received] == [(request, {})]


@pytest.mark.parametrize(
    ("code", "stage"),
    [
        (WRONG, "callback"),
        (WRONG, "token"),
        (WRONG, "send_code"),
        (WRONG, "register"),
        (WRONG, "recover"),
        (WRONG, ""),
        (WRONG, "profile"),
        ("timeout", "password"),
        ("invalid_client", "password"),
        ("Operation.Failure.Send.SMS.Too.Frequency", "password"),
        ("Params.Blank.User.Username", "password"),
    ],
)
def test_an_error_without_wrong_credentials_sends_no_user_login_failed(
    code: str, stage: str, record_signal: RecordSignal
) -> None:
    received = record_signal(user_login_failed)
    answer_and_report(CiamError(code, stage=stage), RequestFactory().post("/"))

    assert received == []


def test_wrong_credentials_without_a_request_send_no_user_login_failed(
    record_signal: RecordSignal,
) -> None:
    received = record_signal(user_login_failed)
    answer_and_report(CiamError(WRONG, stage="password"))

    assert received == []
