"""A private view reads its request as ever, and leaves nothing of it to who reports."""

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


def asked() -> HttpRequest:
    request = RequestFactory().post(f"/in/?code={SECRET}", {"password": SECRET})
    request.COOKIES = {"ciam_state_1": SECRET}
    return request


def test_the_view_sees_its_request() -> None:
    @hide_request_data
    def view(request: HttpRequest, number: int, *, name: str) -> HttpResponse:
        assert request.COOKIES
        return HttpResponse(f"{request.GET['code']} {request.POST['password']} {number} {name}")

    assert view(asked(), 1, name="x").content.decode() == f"{SECRET} {SECRET} 1 x"
    assert view.__name__ == "view"


def test_the_address_is_gone_while_the_view_runs_and_after() -> None:
    seen = []

    @hide_request_data
    def view(request: HttpRequest) -> HttpResponse:
        seen.append(f"{request!r} {request.META} {request.get_full_path()}")
        return HttpResponse()

    request = asked()
    view(request)

    assert SECRET not in seen[0] + repr(request) + str(request.GET)
    # Who answers after the view may need them.
    assert request.COOKIES


def test_a_report_of_what_it_raised_has_nothing_of_the_request() -> None:
    @hide_request_data
    def view(request: HttpRequest) -> HttpResponse:
        password, code = request.POST["password"], request.GET["code"]
        raise ZeroDivisionError(len(password + code))

    request = asked()
    with pytest.raises(ZeroDivisionError) as caught:
        view(request)
    reporter = ExceptionReporter(request, caught.type, caught.value, caught.tb)

    told = reporter.get_traceback_html() + reporter.get_traceback_text()
    assert "ZeroDivisionError" in told
    assert SECRET not in told


class Sentry:
    """As much of its SDK as is asked; tests.sentry_site has the real one."""

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


@pytest.mark.parametrize(("integration", "asked_for"), [(object(), 1), (None, 0)])
def test_sentry_is_asked_only_where_it_watches_django(
    integration: object, asked_for: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentry = Sentry(integration)
    monkeypatch.setitem(sys.modules, "sentry_sdk", sentry)
    hide_request_data(lambda request: HttpResponse())(asked())

    assert len(sentry.processors) == asked_for


@pytest.mark.parametrize(
    ("event", "bare"),
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
def test_its_events_keep_method_address_and_lines(
    event: dict[str, Any], bare: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentry = Sentry(object())
    monkeypatch.setitem(sys.modules, "sentry_sdk", sentry)
    hide_request_data(lambda request: HttpResponse())(asked())

    assert sentry.processors[0](event, {}) == bare


def _fail_at_ciam(token: str) -> None:
    @clear_frames_on_error
    def call(secret: str) -> None:
        raise ZeroDivisionError

    namespace: dict[str, Any] = {"__name__": "shop.users", "call": call}
    exec("def create(person):\n    local = person\n    call(person)", namespace)  # noqa: S102
    namespace["create"](token)


@pytest.mark.parametrize("is_chained", [True, False])
def test_the_functions_of_causes_leave_no_values_either(is_chained: bool) -> None:
    def call(secret: str) -> None:
        raise LookupError

    @clear_frames_on_error
    def sign_in() -> None:
        try:
            call(SECRET)
        except LookupError as cause:
            if is_chained:
                raise ZeroDivisionError from cause
            raise ZeroDivisionError  # noqa: B904  (its context is the cause)

    with pytest.raises(ZeroDivisionError) as raised:
        sign_in()
    cause = raised.value.__cause__ or raised.value.__context__

    assert cause is not None
    frames = [frame for frame, _line in traceback.walk_tb(cause.__traceback__)]
    assert [frame.f_code.co_name for frame in frames] == ["sign_in", "call"]
    assert [dict(frame.f_locals) for frame in frames] == [{}, {}]


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
