"""A project is told of each failure on the way in, once, and can spoil no answer by listening."""

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
WAY_IN = [
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
ELSEWHERE = ["", "refresh", "logout", "profile", "api"]

Heard = list[dict[str, Any]]
Hearing = Callable[[Signal], Heard]


@pytest.fixture
def hearing() -> Iterator[Hearing]:
    """What a receiver of a signal is sent, in a list that grows."""
    connected = []

    def heard_of(signal: Signal) -> Heard:
        heard: Heard = []

        def receiver(**kwargs: Any) -> None:
            heard.append(kwargs)

        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))
        return heard

    yield heard_of
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.mark.parametrize("stage", WAY_IN)
def test_a_failure_on_the_way_in_is_told_with_its_true_code(stage: str, hearing: Hearing) -> None:
    heard = hearing(login_failed)
    request = RequestFactory().get("/")
    error = CiamError(LOCKED, stage=stage)
    answer = answer_and_report(error, request)

    assert [(h["request"], h["error"], h["answer"]) for h in heard] == [(request, error, answer)]
    assert heard[0]["error"].code == LOCKED


@pytest.mark.parametrize("stage", ELSEWHERE)
def test_no_other_failure_is(stage: str, hearing: Hearing) -> None:
    heard = hearing(login_failed)
    answer_and_report(CiamError(LOCKED, stage=stage))

    assert heard == []


def test_it_is_told_once_through_however_many_doors(hearing: Hearing) -> None:
    heard = hearing(login_failed)
    error = CiamError(LOCKED, stage="token")
    door = CiamErrorMiddleware(lambda request: HttpResponse())
    for _ in range(2):
        door.process_exception(RequestFactory().get("/"), error)

    assert len(heard) == 1


def test_an_unknown_code_is_told_of_as_often_as_it_is_a_warning(
    hearing: Hearing, caplog: pytest.LogCaptureFixture
) -> None:
    heard = hearing(unknown_code)
    for code in ("Brand.New", "BRAND.new", "Newer.Still", LOCKED, "Params.Blank.New", "Brand.New"):
        answer_and_report(CiamError(code))

    assert [h["code"] for h in heard] == ["Brand.New", "Newer.Still", "Params.Blank.New"]
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 3


def test_a_code_that_anyone_can_write_into_an_address_is_not_told_of(hearing: Hearing) -> None:
    heard = hearing(unknown_code)
    answer_and_report(CiamError("Brand.New"), RequestFactory().get("/", {"error": "Brand.New"}))

    assert heard == []


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
def test_wrong_credentials_are_a_failed_login_of_djangos(
    code: str, stage: str, hearing: Hearing
) -> None:
    heard = hearing(user_login_failed)
    request = RequestFactory().post("/", {"username": "li", "password": "secret"})
    answer_and_report(CiamError(code, stage=stage), request)

    assert [(h["request"], h["credentials"]) for h in heard] == [(request, {})]


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
def test_nothing_else_is(code: str, stage: str, hearing: Hearing) -> None:
    heard = hearing(user_login_failed)
    answer_and_report(CiamError(code, stage=stage), RequestFactory().post("/"))

    assert heard == []


def test_without_a_request_django_is_told_of_nobody(hearing: Hearing) -> None:
    heard = hearing(user_login_failed)
    answer_and_report(CiamError(WRONG, stage="password"))

    assert heard == []
