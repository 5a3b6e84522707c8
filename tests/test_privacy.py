"""Test that error reports have no data of a request, and that views can read the data."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from pytest_django.fixtures import Settings

from ciam_django.privacy import clear_frames_on_error, hide_request_data

SECRET = "S3cret-4711"


def request_with_secrets() -> HttpRequest:
    request = RequestFactory().post(f"/in/?code={SECRET}", {"password": SECRET})
    request.COOKIES = {"ciam_state_1": SECRET}
    return request


def test_a_hidden_view_reads_the_data_of_its_request() -> None:
    @hide_request_data
    def view(request: HttpRequest, number: int, *, name: str) -> HttpResponse:
        assert request.COOKIES
        return HttpResponse(f"{request.GET['code']} {request.POST['password']} {number} {name}")

    assert view(request_with_secrets(), 1, name="x").content.decode() == f"{SECRET} {SECRET} 1 x"
    assert view.__name__ == "view"


def test_the_query_is_removed_while_the_view_runs_and_after() -> None:
    seen = []

    @hide_request_data
    def view(request: HttpRequest) -> HttpResponse:
        seen.append(f"{request!r} {request.META} {request.get_full_path()}")
        return HttpResponse()

    request = request_with_secrets()
    view(request)

    assert SECRET not in seen[0] + repr(request) + str(request.GET)
    # Middleware may read the cookies after the view.
    assert request.COOKIES


def test_an_error_report_has_no_data_of_the_request() -> None:
    @hide_request_data
    def view(request: HttpRequest) -> HttpResponse:
        password, code = request.POST["password"], request.GET["code"]
        raise ZeroDivisionError(len(password + code))

    request = request_with_secrets()
    with pytest.raises(ZeroDivisionError) as caught:
        view(request)
    reporter = ExceptionReporter(request, caught.type, caught.value, caught.tb)

    report = reporter.get_traceback_html() + reporter.get_traceback_text()
    assert "ZeroDivisionError" in report
    assert SECRET not in report


class Sentry:
    """The part of Sentry's SDK that the package calls; tests.sentry_site uses the real SDK."""

    def __init__(self, integration: object) -> None:
        self.integration = integration
        self.processors: list[Any] = []

    def get_client(self) -> Sentry:
        return self

    def get_integration(self, name: str) -> object:
        return self.integration

    def get_current_scope(self) -> Sentry:
        return self

    def add_event_processor(self, processor: object) -> None:
        self.processors.append(processor)


@pytest.mark.parametrize(("integration", "processors"), [(object(), 1), (None, 0)])
def test_sentry_gets_a_processor_only_with_its_django_integration(
    integration: object, processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentry = Sentry(integration)
    monkeypatch.setitem(sys.modules, "sentry_sdk", sentry)
    hide_request_data(lambda request: HttpResponse())(request_with_secrets())

    assert len(sentry.processors) == processors


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({}, {"request": {}, "threads": {"values": []}}),
        (
            {"request": {"url": "u", "method": "GET", "query_string": SECRET, "data": SECRET}},
            {"request": {"url": "u", "method": "GET"}, "threads": {"values": []}},
        ),
        (
            {"user": {"id": "7", "email": SECRET, "username": SECRET, "ip_address": SECRET}},
            {"request": {}, "user": {"id": "7"}, "threads": {"values": []}},
        ),
        (
            {
                "exception": {
                    "values": [{"stacktrace": {"frames": [{"lineno": 1, "vars": {"c": SECRET}}]}}]
                },
                "threads": {"values": [{"stacktrace": None}, {}]},
            },
            {
                "request": {},
                "exception": {"values": [{"stacktrace": {"frames": [{"lineno": 1}]}}]},
                "threads": {"values": [{"stacktrace": None}, {}]},
            },
        ),
    ],
    ids=["empty", "request", "user", "frames"],
)
def test_an_event_of_sentry_keeps_only_method_url_user_id_and_lines(
    event: dict[str, Any], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentry = Sentry(object())
    monkeypatch.setitem(sys.modules, "sentry_sdk", sentry)
    hide_request_data(lambda request: HttpResponse())(request_with_secrets())

    assert sentry.processors[0](event, {}) == expected


def _fail_at_ciam(token: str) -> None:
    @clear_frames_on_error
    def call(secret: str) -> None:
        raise ZeroDivisionError

    namespace: dict[str, Any] = {"__name__": "shop.users", "call": call}
    exec("def create(person):\n    local = person\n    call(person)", namespace)  # noqa: S102
    namespace["create"](token)


@pytest.mark.parametrize("is_debug", [True, False])
def test_under_debug_the_functions_of_the_project_keep_their_variables(
    is_debug: bool, settings: Settings
) -> None:
    settings.DEBUG = is_debug
    with pytest.raises(ZeroDivisionError) as raised:
        clear_frames_on_error(_fail_at_ciam)("a token")

    variables = {
        frame.f_code.co_name: dict(frame.f_locals)
        for frame, _line in traceback.walk_tb(raised.value.__traceback__)
    }
    assert variables["create"] == ({"person": "a token", "local": "a token"} if is_debug else {})
