"""A private view reads its request as ever, and leaves nothing of it to who reports."""

from __future__ import annotations

import sys
import time
import traceback
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from pytest_django.fixtures import Settings

from ciam_django.errors import CiamError
from ciam_django.privacy import (
    clear_frames_on_error,
    hide_request_data,
    loggable_code,
    redacted_text,
)
from tests.rows import for_each_row
from tests.test_errors import JWT, values_in

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


# --- Frames -----------------------------------------------------------------------------------


@pytest.mark.parametrize("raised", [CiamError("timeout"), ValueError("mine"), KeyboardInterrupt()])
def test_a_function_that_leaves_no_values_leaves_none(raised: BaseException) -> None:
    @clear_frames_on_error
    def sign_in(password: str, *, code: str) -> None:
        worked_out = password + code
        try:
            raise LookupError(len(worked_out))
        except LookupError:
            raise raised  # noqa: B904

    with pytest.raises(type(raised)) as caught:
        sign_in("S3cret-1", code="S3cret-2")

    assert caught.value is raised
    assert "S3cret" not in values_in(raised)
    assert sign_in.__name__ == "sign_in"


# --- Redaction --------------------------------------------------------------------------------


@for_each_row(
    "text, secret",
    [
        ("Invalid authorization code: 202301020304055abcDEfG", "202301020304055abcDEfG"),
        ("code 202301020304055abcDEfG was used", "abcDEfG"),
        (f"Invalid access token: {JWT}", "eyJ"),
        (f"Token {JWT[:40]} is cut off", "eyJ"),
        (f"{JWT}", "c2lnbmF0dXJl"),
        ("The verification code 493817 is wrong", "493817"),
        ("验证码4938已过期", "4938"),
        ("User 13912345678 is locked", "13912345678"),
        ("User +86 139 1234 5678 is locked", "5678"),
        ("User +86-139-1234-5678 is locked", "5678"),
        ("User (0571) 8502 2088 is locked", "8502"),
        ("User wang.wei@example.com.cn is locked", "wang"),
        ("用户王伟@例子.公司被锁定", "例子"),
        ("password=Sesame is wrong", "Sesame"),
        ("password: Sesame", "Sesame"),
        ('{"password": "open Sesame please"}', "Sesame"),
        ("{'new_password': 'open Sesame'}", "Sesame"),
        ("newPasswd=Sesame&x=1", "Sesame"),
        ("pwd=Sesame", "Sesame"),
        ("密码错误：芝麻开门", "芝麻开门"),
        ("驗證碼：abcd", "abcd"),
        ("client_secret=Sesame", "Sesame"),
        ("id_token_hint=Sesame", "Sesame"),
        ("Cookie: sessionid", "sessionid"),
        ("See http://10.0.0.1/cb?code=Sesame&state=x for more", "Sesame"),
        ("See HTTPS://example.com/cb?code=Sesame", "Sesame"),
        ("client 0f0e0d0c-1111-2222-3333-444455556666", "4444"),
        ("key ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef", "ABCDEF"),
    ],
)
def test_what_may_be_secret_or_personal_is_redacted(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redacted_text(text)
    assert secret not in CiamError("invalid_grant", upstream_text=text).upstream_text


@for_each_row(
    "text",
    [
        "",
        "Operation.Failure.Mini.Program.Silent.Login",
        "The user is locked for 29 minutes",
        "HTTP 500",
        "用户已被锁定",
        "ReadTimeout",
    ],
)
def test_what_helps_operators_stays(text: str) -> None:
    assert redacted_text(text) == text


@pytest.mark.parametrize("separator", ["\r\n", "\n", "\x00", "\x1b", "\u2028", "\u2029", "\x7f"])
def test_a_text_is_one_line(separator: str) -> None:
    assert redacted_text(f"one{separator}two") == "one two"


@pytest.mark.parametrize("text", ['密码："，"+', 'password="my pass phrase', "token='a b"])
def test_a_named_secret_ends_where_its_quotes_do_or_the_text(text: str) -> None:
    line = redacted_text(text)

    assert line.endswith("[redacted]")
    assert redacted_text(line) == line


def test_a_text_ends_after_500_characters() -> None:
    assert len(redacted_text("some words " * 1000)) == 500


def test_an_email_with_two_signs_leaves_nothing_behind() -> None:
    assert redacted_text("to li@wang@example.com") == "to [email]"


def test_nothing_but_space_is_nothing() -> None:
    assert redacted_text(" \n" * 1000).strip() == ""


def test_a_secret_is_not_cut_in_two() -> None:
    text = "words " * 169 + "abcd1234efgh5678"

    assert "abcd" not in redacted_text(text)


@pytest.mark.parametrize(
    "text", ["a" * 10**6, "@" * 10**6, "1 " * 10**6, "a@" * 10**6, "'" * 10**6]
)
def test_a_hostile_text_is_redacted_quickly(text: str) -> None:
    # The time of the processor, which a busy machine does not change.
    before = time.thread_time()
    redacted_text(text)

    assert time.thread_time() - before < 0.5


@pytest.mark.parametrize(
    ("code", "loggable"),
    [
        ("Operation.Failure.User.Locked", "Operation.Failure.User.Locked"),
        ("Params.Blank.*", "Params.Blank.*"),
        ("a\r\nERROR b", "aERRORb"),
        ("%s{}", "s"),
        ("中文", ""),
        ("x" * 200, "x" * 128),
    ],
)
def test_a_loggable_code_has_the_alphabet_of_codes(code: str, loggable: str) -> None:
    assert loggable_code(code) == loggable
