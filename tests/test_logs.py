"""Test that each failure is one log line at its level, without traceback, request and mail."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from pytest_django.fixtures import Settings
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from ciam_django.errors import CiamError
from tests.browser import HTML, Browser
from tests.planting import RecordingHandler
from tests.test_middleware import ADMINS

SURFACES = [("/page/", HTML), ("/page/", "application/json"), ("/rest/", "application/json")]
LEVELS = {
    "Operation.Failure.User.Locked": "INFO",
    "Operation.Failure.Username.Or.Password.Error": "INFO",
    "access_denied": "INFO",
    "timeout": "WARNING",
    "unreadable_answer": "WARNING",
    "invalid_client": "ERROR",
    "bad_configuration": "ERROR",
    "Brand.New": "WARNING",
}

_raised: list[CiamError] = []


def page(request: HttpRequest) -> HttpResponse:
    raise _raised[0]


@api_view(["GET"])
def rest(request: Request) -> Response:
    raise _raised[0]


urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("page/", page),
    path("rest/", rest),
]


@pytest.fixture(autouse=True)
def use_raising_views(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.ADMINS = ADMINS
    yield
    _raised.clear()


@pytest.fixture
def records() -> Iterator[RecordingHandler]:
    """The records that the root logger gets at INFO, from all packages."""
    root, handler = logging.getLogger(), RecordingHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


def checked_record(records: RecordingHandler) -> logging.LogRecord:
    """Check the rules for all records, and return the only record of a failure."""
    # asyncio logs slow tasks on a busy machine.
    (record,) = (r for r in records.records if r.name != "asyncio")
    assert record.name == "ciam_django"
    assert (record.exc_info, record.exc_text, record.stack_info) == (None, None, None)
    assert "request" not in vars(record)
    assert not any(isinstance(value, HttpRequest) for value in vars(record).values())
    assert isinstance(record.args, dict)
    assert all(isinstance(value, str | int) for value in record.args.values())
    assert "\n" not in record.getMessage()
    assert mail.outbox == []
    return record


@pytest.mark.parametrize(("place", "accept"), SURFACES)
@pytest.mark.parametrize(("code", "level"), LEVELS.items())
def test_a_failure_of_a_view_is_logged_in_one_line(
    code: str, level: str, place: str, accept: str, records: RecordingHandler
) -> None:
    _raised[:] = [CiamError(code, stage="password")]
    Client().get(place, headers={"Accept": accept})
    record = checked_record(records)

    assert record.levelname == level
    assert f"code={code} " in record.getMessage()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("username", "level"),
    [
        ("fail:Operation.Failure.User.Locked", "INFO"),
        ("fail:invalid_grant", "INFO"),
        ("fail:authorize:access_denied", "INFO"),
        ("html:token", "WARNING"),
        ("reset:token", "WARNING"),
        ("fail:invalid_client", "ERROR"),
        ("fail:Brand.New", "WARNING"),
    ],
)
@pytest.mark.parametrize("accept", [HTML, "application/json"])
def test_a_failure_of_the_callback_is_logged_in_one_line(
    username: str, level: str, accept: str, browser: Browser, records: RecordingHandler
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in(), username)
    records.records = [r for r in records.records if r.name == "ciam_django"]
    browser.open_callback(callback, accept=accept)

    assert checked_record(records).levelname == level


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["", "?error=invalid_client", "?code=1&state=2", "?error=New"])
def test_a_callback_without_a_valid_state_is_logged_at_info(
    query: str, records: RecordingHandler
) -> None:
    for place in (f"/ciam/callback/{query}", f"/ciam/callback/{query}"):
        records.records.clear()
        Client().get(place)

        assert checked_record(records).levelname == "INFO"


@pytest.mark.django_db
def test_a_repeated_misconfiguration_is_one_error_line_and_then_one_warning_line(
    records: RecordingHandler, settings: Settings
) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {}
    Client().post("/ciam/authorize/")
    assert checked_record(records).levelname == "ERROR"

    records.records.clear()
    Client().post("/ciam/authorize/")
    assert checked_record(records).levelname == "WARNING"


@pytest.mark.django_db
def test_a_logout_without_an_oauth_client_is_logged_in_one_line(
    browser: Browser, records: RecordingHandler, settings: Settings
) -> None:
    browser.sign_in()
    settings.AUTHLIB_OAUTH_CLIENTS = {}
    records.records.clear()
    response: Any = browser.client.post("/ciam/logout/")

    assert response.status_code == 302
    assert checked_record(records).levelname == "ERROR"


@pytest.mark.django_db
def test_a_successful_sign_in_is_not_logged(browser: Browser, records: RecordingHandler) -> None:
    browser.sign_in()

    assert records.records == []


def test_two_failures_are_logged_in_two_lines(records: RecordingHandler) -> None:
    for code in ("timeout", "access_denied"):
        _raised[:] = [CiamError(code)]
        Client().get("/page/")

    assert len(records.records_of("ciam_django")) == len(records.records) == 2
