"""Test that error reports have no data of a request, and that views can read the data."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from pytest_django.fixtures import Settings

from ciam_django import tokens
from ciam_django.accounts import bearer, session_store, token_refresh
from ciam_django.client import access_tokens, envelope, private_key_jwt
from ciam_django.errors import CiamError
from ciam_django.privacy import (
    clear_frames_on_error,
    hide_request_data,
    loggable_code,
    loggable_url,
    masked_contact,
    masked_name,
    masked_number,
    own_text,
    redacted_text,
)
from tests.rows import for_each_row
from tests.test_errors import JWT, reported_values

SECRET = "S3cret-4711"


def request_with_secrets() -> HttpRequest:
    url = f"/in/?code={SECRET}"
    # The names that gunicorn, uWSGI, mod_wsgi and proxies use for the URL.
    names = ("RAW_URI", "REQUEST_URI", "HTTP_X_ORIGINAL_URI", "HTTP_X_ENVOY_ORIGINAL_PATH")
    request = RequestFactory().post(url, {"password": SECRET})
    request.META |= dict.fromkeys(names, url)
    request.META["HTTP_REFERER"] = f"https://ciam.example{url}"
    request.META["HTTP_X_ORIGINAL_URL"] = f"http://shop.example{url}"
    request.META["REDIRECT_QUERY_STRING"] = f"code={SECRET}"
    request.META["HTTP_USER_AGENT"] = "a browser?"
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
    assert request.META["RAW_URI"] == request.META["PATH_INFO"] == "/in/"
    assert request.META["HTTP_REFERER"] == "https://ciam.example/in/"
    assert request.META["HTTP_USER_AGENT"] == "a browser?"
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
        return self.integration if name == "django" else None

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


@pytest.mark.parametrize("is_chained", [True, False])
def test_clear_frames_on_error_also_clears_the_frames_of_the_cause(is_chained: bool) -> None:
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


@pytest.mark.parametrize(
    "package",
    ["asgiref", "authlib", "ciam_django", "django", "joserfc", "requests", "rest_framework",
     "urllib3", "json"],
)  # fmt: skip
def test_under_debug_the_functions_of_a_package_with_secrets_keep_no_variables(
    package: str, settings: Settings
) -> None:
    settings.DEBUG = True
    namespace: dict[str, Any] = {"__name__": f"{package}.module"}
    exec("def send(token):\n    local = token\n    return 1 / 0", namespace)  # noqa: S102
    with pytest.raises(ZeroDivisionError) as raised:
        clear_frames_on_error(namespace["send"])(SECRET)

    *_, (frame, _line) = traceback.walk_tb(raised.value.__traceback__)
    assert frame.f_code.co_name == "send"
    assert dict(frame.f_locals) == {}


def test_a_converted_exception_does_not_show_the_exception_that_its_caller_handles() -> None:
    @clear_frames_on_error
    def fail() -> None:
        raise LookupError

    def sign_in() -> None:
        try:
            raise ValueError(SECRET)
        except ValueError:
            clear_frames_on_error(fail, lambda error: CiamError("timeout"))()

    with pytest.raises(CiamError) as raised:
        sign_in()

    assert raised.value.__context__ is None
    assert SECRET not in "".join(traceback.format_exception(raised.value))


# --- Frames -----------------------------------------------------------------------------------


# The functions that a view or a project calls with a token or a key.
FUNCTIONS_WITH_SECRETS = [
    (tokens, "access_token_of"),
    (private_key_jwt, "assertion_parameters"),
    (envelope, "raise_for_failure"),
    (access_tokens, "verify_token_at_ciam"),
    (access_tokens, "verify_token_as_jwt"),
    (access_tokens, "try_signature"),
    (session_store, "sync_ciam_session"),
    (session_store, "decrypted_tokens"),
    (bearer, "user_and_bearer"),
    (token_refresh, "refresh_if_due"),
    (token_refresh, "refresh_session_tokens"),
]


@for_each_row("module, name", FUNCTIONS_WITH_SECRETS)
def test_each_function_with_secrets_leaves_no_variables(module: ModuleType, name: str) -> None:
    function, wrappers = getattr(module, name), []
    while function is not inspect.unwrap(function):
        wrappers.append(function.__code__.co_qualname.partition(".")[0])
        function = function.__wrapped__

    assert wrappers[0] == "clear_frames_on_error"


@pytest.mark.parametrize("raised", [CiamError("timeout"), ValueError("mine"), KeyboardInterrupt()])
def test_a_function_with_cleared_frames_leaves_no_variables(raised: BaseException) -> None:
    @clear_frames_on_error
    def sign_in(password: str, *, code: str) -> None:
        joined = password + code
        try:
            raise LookupError(len(joined))
        except LookupError:
            raise raised  # noqa: B904

    with pytest.raises(type(raised)) as caught:
        sign_in("S3cret-1", code="S3cret-2")

    assert caught.value is raised
    assert "S3cret" not in reported_values(raised)
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
def test_secrets_and_personal_data_are_redacted(text: str, secret: str) -> None:
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
def test_harmless_texts_are_not_redacted(text: str) -> None:
    assert redacted_text(text) == text


@pytest.mark.parametrize(
    "separator",
    [
        "\r\n",
        "\n",
        "\x00",
        "\x1b",
        "\u2028",
        "\u2029",
        "\x7f",
        "\u202e",
        "\u2066",
        "\u200f",
        "\u061c",
    ],
)
def test_a_redacted_text_is_one_line(separator: str) -> None:
    assert redacted_text(f"one{separator}two") == "one two"


@pytest.mark.parametrize("text", ['密码："，"+', 'password="my pass phrase', "token='a b"])
def test_a_quoted_secret_is_redacted_to_its_last_quote_or_the_end(text: str) -> None:
    line = redacted_text(text)

    assert line.endswith("[redacted]")
    assert redacted_text(line) == line


def test_a_redacted_text_has_at_most_500_characters() -> None:
    assert len(redacted_text("some words " * 1000)) == 500


def test_an_email_address_with_two_at_signs_is_redacted_completely() -> None:
    assert redacted_text("to li@wang@example.com") == "to [email]"


def test_a_text_of_spaces_becomes_empty() -> None:
    assert redacted_text(" \n" * 1000).strip() == ""


@for_each_row(
    "text",
    [
        "https://shop.example/cb?user=alice&note=hi",
        "http://shop.example/alice",
        "HTTPS://SHOP.EXAMPLE/ALICE",
    ],
)
def test_a_url_is_redacted_with_its_path_and_query(text: str) -> None:
    assert redacted_text(f"see {text} please") == "see [url] please"


def test_a_long_text_is_not_cut_inside_a_secret() -> None:
    # Only the first three digits of the number are in the part that is read: too few digits for a
    # number. The redacted URL before them is short, so that the result would have room for them.
    text = "https://ciam.example/" + "a" * 999 + " 13812345678"

    assert redacted_text(text) == "[url]"


@pytest.mark.parametrize(
    "text", ["a" * 10**6, "@" * 10**6, "1 " * 10**6, "a@" * 10**6, "'" * 10**6]
)
def test_a_hostile_text_is_redacted_quickly(text: str) -> None:
    # The processor time does not depend on other processes.
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
def test_a_loggable_code_has_only_characters_of_codes(code: str, loggable: str) -> None:
    assert loggable_code(code) == loggable


# --- Values whose representation shows no secret ----------------------------------------------

# Class -> the members that the representation does not show, because logs and error reports show
# representations.
HIDDEN_MEMBERS = {
    "accounts.bearer.Bearer": {"claims"},
    "accounts.bearer._CachedGrant": {"person"},
    "accounts.session_store.Tokens": {"session_key", "access_token", "refresh_token", "id_token"},
    "client.cached_documents.CachedCopy": {"content"},
    "client.cached_documents.FetchedDocument": {"document"},
    "client.cached_documents.StoredDocument": {"document"},
    "client.person.Person": {"claims", "key", "union_id", "sid_key"},
    "client.results.AuthSource": {"data"},
    "client.results.Captcha": {"image", "data"},
    "client.results.Consent": {"data"},
    "client.results.LoginPage": {"data"},
    "client.results.NextStep": {"flow_id", "data"},
    "client.results.Profile": {"email", "phone_number", "data"},
    "client.results.SignedIn": {"access_token", "data"},
    "login.recipients.Recipient": {"region", "number", "email"},
    "login.state.CallbackOutcome": {"url", "cookies", "session_key"},
    "login.state.SignInState": {"state", "nonce", "code_verifier", "next", "redirect_uri"},
    "login.steps.flow.Flow": {
        "ciam_flow_id",
        "next",
        "recipient",
        "counted_name",
        "masked_recipient",
        "step_data",
        "told_name",
    },
    "login.steps.flow.Submission": {"cleaned_data", "extra_parameters", "earlier_flow"},
}


def test_the_representation_of_a_value_hides_its_secrets_and_personal_data() -> None:
    importlib.import_module("ciam_django.urls")
    hidden = {}
    for module_name, module in [*sys.modules.items()]:
        package, _, path = module_name.partition(".")
        for cls in vars(module).values() if package == "ciam_django" else ():
            if dataclasses.is_dataclass(cls) and getattr(cls, "__module__", "") == module_name:
                members = {field.name for field in dataclasses.fields(cls) if not field.repr}
                hidden[f"{path}.{getattr(cls, '__name__', '')}"] = members

    assert {name: members for name, members in hidden.items() if members} == HIDDEN_MEMBERS


# --- The texts of this package ----------------------------------------------------------------


@for_each_row(
    "text",
    [
        "manage.py ciam_rekey --from http://127.0.0.1:9000/fake_app_0001 --apply",
        "id_token_signing_alg_values_supported lacks RS256",
        "client_secret: none, and 12345 identities",
    ],
)
def test_a_text_of_this_package_is_not_redacted(text: str) -> None:
    assert redacted_text(text) != text
    assert redacted_text(own_text(text)) == text
    error = CiamError("bad_configuration", upstream_text=own_text(text))
    copy = CiamError("bad_configuration", upstream_text=error.upstream_text)
    assert error.upstream_text == copy.upstream_text == text


def test_a_text_of_this_package_is_one_line_of_limited_length() -> None:
    assert own_text("a\r\nb\u2028c") == "a b c"
    assert len(own_text("a" * 10000)) == 2000
    assert redacted_text("") == ""


def texts_of_errors(source: str) -> list[str]:
    """The literal texts in the source that are ``upstream_text`` and would be redacted."""
    return [
        ast.unparse(keyword.value)
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "upstream_text"
        and isinstance(keyword.value, ast.Constant | ast.JoinedStr | ast.BinOp)
    ]


@pytest.mark.slow("the source code of all modules")
def test_each_text_of_this_package_in_an_error_is_marked_as_its_own() -> None:
    package = Path(__file__).parents[1] / "ciam_django"
    found = {
        str(path.relative_to(package)): texts
        for path in package.rglob("*.py")
        # The fake plays the upstream.
        if path.parent.name != "testing" and (texts := texts_of_errors(path.read_text("utf-8")))
    }

    assert found == {}
    assert texts_of_errors("CiamError('a', upstream_text='b')\nE('a', upstream_text=f'{b}')")


@for_each_row(
    "url, expected",
    [
        ("https://login.shop.cn/app/1", "https://login.shop.cn/app/1"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://[::1]:9000/a", "http://[::1]:9000/a"),
        ("https://li:hunter2@shop.cn/a?token=b#c", "https://shop.cn/a"),
        ("https://shop.cn?token=b", "https://shop.cn"),
        ("https://shop.cn/#token", "https://shop.cn/"),
        ("https://shop.cn/<script>", ""),
        ("https://shop.cn/a b", ""),
        ("https://shop.cn/a\nb", ""),
        ("https://a@b@shop.cn/", ""),
        ("javascript:alert(1)", ""),
        ("", ""),
        ("https://shop.cn/" + "a" * 1000, "https://shop.cn/" + "a" * 484),
    ],
)
def test_a_url_is_loggable_without_its_secret_parts(url: str, expected: str) -> None:
    assert loggable_url(url) == expected


# --- Masks ------------------------------------------------------------------------------------


@for_each_row(
    "mask, text, masked",
    [
        (masked_number, "13800001234", "138****1234"),
        # Four digits are hidden, or all digits of a short number.
        (masked_number, "12345678901234", "123456****1234"),
        (masked_number, "1234567", "1****67"),
        (masked_number, "12345", "****5"),
        (masked_number, "1234", "****"),
        (masked_number, "12", "****"),
        (masked_contact, "li@example.com", "l***@example.com"),
        (masked_contact, "+86 138-0000 1234", "+86138****1234"),
        (masked_contact, "138 0000 1234", "138****1234"),
        (masked_contact, "12345", ""),
        (masked_contact, "call 13800001234", ""),
        (masked_contact, "", ""),
        (masked_name, "Ada  Lovelace", "A** L**"),
        (masked_name, "", ""),
    ],
)
def test_a_mask_hides_most_of_a_text(mask: Callable[[str], str], text: str, masked: str) -> None:
    assert mask(text) == masked
