"""Tests that secrets of upstream or of a browser reach no answer, log, report or mail."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from django.contrib.auth.signals import user_logged_in
from django.core import mail
from django.core.cache import cache
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from django.views.debug import ExceptionReporter
from pytest_django.fixtures import Settings
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from ciam_django.client import CiamClient
from ciam_django.errors import CiamError
from ciam_django.signals import login_failed
from ciam_django.testing import FakeCiam, accounts
from ciam_django.testing.failures import BEHAVIOURS
from tests.browser import HTML, Browser, query_of
from tests.planting import (
    JWT,
    PHONE,
    REQUEST_ID,
    SHAPES,
    SMS_CODE,
    LeakyFailure,
    RecordingHandler,
    ciam_body,
    error_texts,
    leaks_in,
    leaky_text,
    oauth_body,
    response_texts,
    secret_in,
)
from tests.test_middleware import ADMINS

pytestmark = [pytest.mark.django_db, pytest.mark.slow("leaks")]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
BODIES = {
    "oauth": oauth_body(),
    "oauth with words": oauth_body(f"Not a code {PHONE}"),
    "oauth with a token for a code": oauth_body(JWT),
    "oauth with an address": oauth_body(f"{secret_in('local')}@example.com"),
    "ciam": ciam_body(),
    "ciam in words": ciam_body("Wrong"),
    "ciam with a token for a code": ciam_body(JWT, code=JWT),
    "ciam's configuration": ciam_body("Params.Illegal.OauthClient.Secret"),
    "unknown": ciam_body("Operation.Failure.Brand.New"),
    "error in error": {"error": ciam_body(), "message": secret_in("outer")},
    "wechat": {
        "errcode": 40029,
        "errmsg": leaky_text("errmsg"),
        "unionid": secret_in("unionid"),
    },
    "success": {
        "success": True,
        "message": secret_in("message"),
        "data": {"t": secret_in("data")},
    },
}


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(CiamClient().user_info(secret_in("access_token"))))


@api_view(["GET"])
def rest(request: Request) -> Response:
    return Response(CiamClient().user_info(secret_in("access_token")))


urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("page/", page),
    path("rest/", rest),
]


@pytest.fixture(autouse=True)
def use_project_with_admins(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.ADMINS = ADMINS


@pytest.fixture(autouse=True)
def records() -> Iterator[RecordingHandler]:
    """The records of the root logger at level DEBUG."""
    root, handler = logging.getLogger(), RecordingHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def errors() -> Iterator[list[CiamError]]:
    """The errors that ``login_failed`` sends."""
    errors: list[CiamError] = []

    def receiver(error: CiamError, **kwargs: Any) -> None:
        errors.append(error)

    login_failed.connect(receiver)
    yield errors
    login_failed.disconnect(receiver)


Reports = list[str]


@pytest.fixture
def reports() -> Iterator[Reports]:
    """Django's reports of unanswered errors, as Django shows and mails them."""
    reports: Reports = []

    def receiver(request: HttpRequest, **kwargs: Any) -> None:
        kind, error, trace = sys.exc_info()
        reporter = ExceptionReporter(request, kind, error, trace)
        reports.extend([reporter.get_traceback_text(), reporter.get_traceback_html()])
        assert error
        reports.extend(error_texts(error))

    got_request_exception.connect(receiver)
    yield reports
    got_request_exception.disconnect(receiver)


def mails() -> str:
    return "".join(
        str(message.message()) + str(getattr(message, "alternatives", ""))
        for message in mail.outbox
    )


# --- Upstream text ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500, 503])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("accept", [HTML, JSON])
def test_a_failed_token_call_leaks_nothing(  # noqa: PLR0917  (fixtures)
    body: str,
    status: int,
    accept: str,
    browser: Browser,
    records: RecordingHandler,
    errors: list[CiamError],
) -> None:
    browser.ciam.plan("token", LeakyFailure(body=BODIES[body], status=status), times=1)
    response = browser.sign_in(accept=accept)

    assert response.status_code >= 400
    assert leaks_in(*response_texts(response)) == set()
    assert leaks_in(records.text.getvalue()) == set()
    events = [vars(record)["ciam_event"] for record in records.records_of("ciam_django")]
    assert len(errors) == events.count("failed") == 1
    assert leaks_in(*error_texts(errors[0])) == set()
    assert not mail.outbox


@pytest.mark.parametrize(("mode", "stage"), [("oidc", "jwks"), ("oidc", "discovery")])
@pytest.mark.parametrize("body", ["oauth", "ciam", "unknown"])
def test_a_failed_call_for_metadata_or_keys_leaks_nothing(
    stage: str, body: str, browser: Browser, records: RecordingHandler, errors: list[CiamError]
) -> None:
    browser.ciam.plan(stage, LeakyFailure(body=BODIES[body]), times=None)
    if stage == "discovery":
        response = cast("HttpResponse", browser.client.post("/ciam/authorize/"))
    else:
        response = browser.sign_in()

    assert response.status_code >= 400
    assert leaks_in(*response_texts(response), records.text.getvalue()) == set()
    assert leaks_in(*error_texts(errors[0])) == set()


@pytest.mark.parametrize("mode", ["ciam"])
@pytest.mark.parametrize("place", ["/page/", "/rest/"])
@pytest.mark.parametrize("body", [name for name in BODIES if name != "success"])
@pytest.mark.parametrize("accept", [HTML, JSON])
def test_a_failed_call_of_the_project_leaks_nothing(
    place: str, body: str, accept: str, ciam: FakeCiam, records: RecordingHandler
) -> None:
    ciam.plan("api", LeakyFailure(body=BODIES[body]), times=1)
    response = cast("HttpResponse", Client().get(place, headers={"Accept": accept}))

    assert response.status_code >= 400
    assert leaks_in(*response_texts(response), records.text.getvalue()) == set()


# The header closes the connection. Otherwise, the next test could use a closing connection.
HEAD = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
WIRE = {
    "a line without a colon": f"{HEAD}{secret_in('header')}\r\nContent-Length: 2\r\n\r\n{{}}",
    "a folded line first": f"{HEAD} {secret_in('header')}: x\r\nContent-Length: 2\r\n\r\n{{}}",
    "no status": f"HTTP/1.1 {secret_in('status')} {secret_in('reason')}\r\n\r\n",
    "no HTTP": f"{secret_in('line')} {PHONE}\r\n\r\n",
    "invalid chunks": f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{secret_in('chunk')}\r\n",
    "lengths that differ": f"{HEAD}Content-Length: 2, {secret_in('length')}\r\n\r\n{{}}",
    "an encoding": f"{HEAD}Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n{secret_in('gzip')}",
    "a page": f"{HEAD}Content-Type: text/html\r\nContent-Length: 60\r\n\r\n{secret_in('html'):60}",
    "half of JSON": f'{HEAD}Content-Length: 40\r\n\r\n{{"access_token": "{secret_in("json"):40}',
    "another place": f"HTTP/1.1 302 F\r\nLocation: /?{secret_in('location')}\r\n"
    "Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", WIRE)
def test_an_invalid_http_response_leaks_nothing(
    answer: str,
    browser: Browser,
    records: RecordingHandler,
    errors: list[CiamError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = WIRE[answer].encode()
    monkeypatch.setitem(BEHAVIOURS, "planted", lambda wire: wire.send(content))
    browser.ciam.misbehave("token", "planted")
    response = browser.sign_in()

    assert response["Ciam-Error-Code"] in ("unreadable_answer", "no_connection")
    assert leaks_in(*response_texts(response), records.text.getvalue()) == set()
    assert leaks_in(*error_texts(errors[0])) == set()


def test_a_leak_is_found_and_a_random_number_is_not_a_leak() -> None:
    assert set(SHAPES) <= leaks_in(leaky_text("anywhere"))
    assert (
        leaks_in(f"<at 0x7f{SMS_CODE}0a10>", f"1763953812.3{SMS_CODE}", f"{SMS_CODE}000000000")
        == set()
    )


def test_request_id_field_and_code_pass_in_their_formats(
    browser: Browser, records: RecordingHandler
) -> None:
    body = ciam_body("Params.Blank.User.Nick.Name", requestId=REQUEST_ID)
    browser.ciam.plan("token", LeakyFailure(body=body), times=1)
    answer = json.loads(browser.sign_in(accept=JSON).content)

    assert answer["request_id"] == REQUEST_ID
    assert answer["field"] == "nick_name"
    # A code without a row is logged, so that the operator can add an override for the code.
    assert answer["code"] == "Params.Blank.*"
    assert "code=Params.Blank.User.Nick.Name " in records.records_of("ciam_django")[-1].getMessage()


def test_a_successful_sign_in_logs_none_of_its_secrets(
    browser: Browser, records: RecordingHandler
) -> None:
    address = browser.start_sign_in(f"/{secret_in('next')}/")
    callback = browser.sign_in_at_ciam(address, secret_in("username"))
    browser.ciam.id_token_claims = {"phone_number": PHONE, "name": secret_in("name")}
    browser.open_callback(callback)

    assert browser.user_id
    secrets = [*browser.ciam.access_tokens, *browser.ciam.refresh_tokens]
    secrets += [query_of(callback)["code"], query_of(callback)["state"]]
    secrets += [browser.ciam.requests[-1].headers.get("Authorization", "no header")]
    secrets += [
        json.loads(r.body)["code_verifier"] for r in browser.ciam.requests if r.body[:1] == b"{"
    ]
    logged = records.text.getvalue()
    assert [secret for secret in secrets if secret and secret in logged] == []
    assert leaks_in(logged) == set()


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": secret_in("nonce")},
        {"iss": f"https://{secret_in('iss')}"},
        {"aud": secret_in("aud")},
        {"azp": secret_in("azp")},
        {"sub": [secret_in("sub")]},
        {"exp": secret_in("exp")},
        {"at_hash": secret_in("at_hash")},
        {secret_in("claim"): secret_in("value"), "sub": None},
    ],
    ids=str,
)
def test_the_claims_of_an_id_token_do_not_leak(
    claims: dict[str, Any], browser: Browser, records: RecordingHandler, errors: list[CiamError]
) -> None:
    browser.ciam.id_token_claims = {"phone_number": PHONE, **claims}
    response = browser.sign_in(secret_in("username"))

    assert leaks_in(*response_texts(response), records.text.getvalue()) == set()
    for error in errors:
        assert leaks_in(*error_texts(error)) == set()


# --- A browser's requests ---------------------------------------------------------------------


def send_to_all_views(query: dict[str, str], **headers: str) -> list[HttpResponse]:
    """Send requests full of secrets to each view, and return the responses."""
    client = Client(headers={"User-Agent": secret_in("user_agent"), **cast("Any", headers)})
    for name in ("ciam_state_" + "0" * 32, "sessionid", "csrftoken", secret_in("cookie_name")):
        client.cookies[name] = secret_in("cookie")
    return [
        cast("HttpResponse", response)
        for response in (
            client.get("/ciam/callback/", query),
            client.post("/ciam/callback/", query, QUERY_STRING=f"code={secret_in('posted')}"),
            client.get("/ciam/login/", query),
            client.get("/ciam/authorize/", query),
            client.post("/ciam/logout/", query),
            client.post("/ciam/with/apple/callback/", urlencode(query), content_type=FORM),
            client.post("/ciam/api/with/apple/", {**query, "consent": []}, content_type=JSON),
        )
    ]


@pytest.mark.parametrize("accept", [HTML, JSON])
def test_the_input_of_an_anonymous_user_is_not_repeated(
    accept: str,
    ciam: FakeCiam,
    records: RecordingHandler,
    errors: list[CiamError],
    settings: Settings,
) -> None:
    apple = {"app_id": "1", "source": "source_apple", "scope": "name", "native": True}
    settings.CIAM_SOCIAL_PROVIDERS = {"apple": apple}
    settings.CIAM_API_SIGN_IN = "token"
    names = (
        "code",
        "state",
        "error",
        "error_description",
        "error_uri",
        "iss",
        "id_token",
        "user",
        "given_name",
    )
    query = {name: secret_in(name) for name in (*names, "next_url", "username", "phone")}
    responses = send_to_all_views(
        query, accept=accept, referer=f"https://ciam.example/?code={secret_in('referer')}"
    )

    for response in responses:
        assert leaks_in(*response_texts(response)) == set()
    assert leaks_in(records.text.getvalue()) == set()
    assert leaks_in(*error_texts(errors[0])) == set()
    assert all(r.levelno <= logging.INFO for r in records.records_of("ciam_django"))


@pytest.mark.parametrize("accept", [HTML, JSON])
@pytest.mark.parametrize("error", [secret_in("error"), JWT, PHONE, f"a.{PHONE}", "access_denied"])
def test_the_query_of_a_callback_with_a_valid_state_is_not_repeated(
    error: str, accept: str, browser: Browser, records: RecordingHandler, errors: list[CiamError]
) -> None:
    next_url = f"/?{secret_in('next')}"
    state = query_of(browser.start_sign_in(next_url))["state"]
    # The page may repeat ``next``, which was checked before its encryption and belongs to the user.
    login_url = f"/ciam/login/?{urlencode({'next': next_url})}"
    query = {
        "state": state,
        "error": error,
        "error_description": leaky_text("error_description"),
        "error_uri": secret_in("error_uri"),
        "code": secret_in("code"),
    }
    response = cast(
        "HttpResponse",
        browser.client.get("/ciam/callback/", query, headers={"Accept": accept}),
    )

    # After a cancel, a browser gets the login page.
    is_cancel = error == "access_denied" and accept == HTML
    assert response.status_code == 302 if is_cancel else response.status_code >= 400
    texts = [text.replace(login_url, "") for text in response_texts(response)]
    assert leaks_in(*texts, records.text.getvalue()) == set()
    assert state not in records.text.getvalue() + response.content.decode()
    assert leaks_in(*error_texts(errors[0])) == set()


def test_a_refused_code_is_not_logged(browser: Browser, records: RecordingHandler) -> None:
    state = query_of(browser.start_sign_in())["state"]
    response = browser.client.get("/ciam/callback/", {"state": state, "code": secret_in("code")})

    assert response["Ciam-Error-Code"] == "invalid_grant"
    assert leaks_in(records.text.getvalue()) == set()


def test_the_host_appears_only_in_the_authorize_address(
    browser: Browser, records: RecordingHandler, settings: Settings
) -> None:
    host = f"{secret_in('host').lower().replace('_', '-')}.example"
    settings.ALLOWED_HOSTS = [host]
    redirect = browser.client.post("/ciam/authorize/", headers={"Host": host})
    response = browser.client.get("/ciam/callback/", headers={"Host": host, "Accept": HTML})

    assert host in redirect["Location"]
    assert host not in response.content.decode() + str(response.headers)
    assert host not in records.text.getvalue().replace(str(redirect["Location"]), "")


# --- Unanswered errors ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*MAILERS")
@pytest.mark.parametrize("is_debug", [True, False])
@pytest.mark.parametrize("mode", ["ciam"])
@pytest.mark.parametrize("body", ["oauth", "ciam", "unknown"])
def test_the_report_of_an_unanswered_error_has_no_upstream_text(
    body: str, is_debug: bool, ciam: FakeCiam, settings: Settings, reports: Reports
) -> None:
    settings.DEBUG = is_debug
    settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if "CiamErrorMiddleware" not in m]
    ciam.plan("api", LeakyFailure(body=BODIES[body]), times=1)
    response = Client(raise_request_exception=False).get("/page/")

    assert response.status_code == 500
    assert any("CiamError" in report for report in reports)
    assert leaks_in(*reports, mails()) == set()
    assert bool(mail.outbox) is not is_debug


@pytest.mark.filterwarnings("ignore:.*MAILERS")
@pytest.mark.parametrize("behaviour", ["reset", "html", "truncated"])
@pytest.mark.parametrize("mode", ["ciam"])
def test_the_report_of_an_unanswered_error_leaks_nothing_of_its_cause(
    behaviour: str, ciam: FakeCiam, settings: Settings, reports: Reports
) -> None:
    settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if "CiamErrorMiddleware" not in m]
    settings.DEBUG = True
    ciam.misbehave("api", behaviour)
    Client(raise_request_exception=False).get("/page/")

    assert any("CiamError" in report for report in reports)
    assert leaks_in(*reports) == set()


@pytest.fixture
def connect_broken_receiver() -> Iterator[None]:
    """Connect a receiver of the project that fails during a sign-in."""

    def receiver(**kwargs: Any) -> None:
        raise ZeroDivisionError("the project's own")

    user_logged_in.connect(receiver, weak=False)
    yield
    user_logged_in.disconnect(receiver)


@pytest.mark.filterwarnings("ignore:.*MAILERS")
@pytest.mark.parametrize("is_debug", [True, False])
@pytest.mark.usefixtures("connect_broken_receiver")
def test_the_report_of_an_error_in_a_callback_has_no_secrets(
    is_debug: bool,
    browser: Browser,
    settings: Settings,
    reports: Reports,
    records: RecordingHandler,
) -> None:
    browser.client.raise_request_exception = False
    callback = browser.sign_in_at_ciam(browser.start_sign_in(f"/{secret_in('next')}/"))
    settings.DEBUG = is_debug
    cookies = [m.value for n, m in browser.client.cookies.items() if n.startswith("ciam_state")]
    # Servers repeat the URL of the request under these names.
    browser.client.defaults |= {"RAW_URI": callback, "REQUEST_URI": callback}
    browser.client.defaults |= {"HTTP_REFERER": callback, "HTTP_X_ORIGINAL_URI": callback}
    response = browser.open_callback(callback)

    assert response.status_code == 500
    assert any("ZeroDivisionError" in report for report in reports)
    secrets = [*browser.ciam.access_tokens, *cookies, *query_of(callback).values()]
    texts = "".join([*reports, mails(), records.text.getvalue(), response.content.decode()])
    assert len(cookies) == 1
    assert [secret for secret in secrets if secret in texts] == []
    assert leaks_in(*reports, mails()) == set()


# --- The fields of login forms -----------------------------------------------------------------

FORMS: dict[str, dict[str, Any]] = {
    "password": {"username": secret_in("username"), "password": secret_in("password")},
    "email": {"email": f"{secret_in('local')}@example.com"},
    "sms": {"phone_number": PHONE},
}
STAGES_OF_FORMS = {"password": "password", "email": "send_code", "sms": "send_code"}


@pytest.fixture
def enable_login_methods(settings: Settings) -> None:
    cache.clear()
    settings.CIAM_LOGIN_METHODS = list(FORMS)


def submit_login(method: str, accept: str) -> HttpResponse:
    """Submit the form of the login page, or the same fields as JSON, and return the response."""
    client = Client(headers={"Accept": accept}, raise_request_exception=False)
    consents = {"consent": ["terms", "privacy"]}
    fields = {**FORMS[method], **consents, "captcha": secret_in("captcha")}
    if accept == HTML:
        response = client.post("/ciam/login/", {"method": method, **fields})
    else:
        response = client.post(f"/ciam/api/{method}/", fields, content_type=JSON)
    return cast("HttpResponse", response)


@pytest.mark.usefixtures("enable_login_methods")
@pytest.mark.parametrize("mode", ["ciam"])
@pytest.mark.parametrize("accept", [HTML, JSON])
@pytest.mark.parametrize("method", FORMS)
@pytest.mark.parametrize("body", BODIES)
def test_a_failed_login_form_shows_only_the_typed_account_again(  # noqa: PLR0917  (fixtures)
    body: str,
    method: str,
    accept: str,
    ciam: FakeCiam,
    records: RecordingHandler,
    errors: list[CiamError],
) -> None:
    ciam.plan(STAGES_OF_FORMS[method], LeakyFailure(body=BODIES[body]), times=1)
    response = submit_login(method, accept)

    visible = {secret_in("username"), secret_in("local"), PHONE} if accept == HTML else set()
    # The answer hides that an account gets no code.
    is_hidden = errors[0].code == "Operation.Failure.User.Locked" and method != "password"
    assert (response.status_code < 400) is is_hidden
    assert leaks_in(*response_texts(response)) <= visible
    assert leaks_in(records.text.getvalue()) == set()
    assert leaks_in(*error_texts(errors[0])) == set()


@pytest.mark.filterwarnings("ignore:.*MAILERS")
@pytest.mark.usefixtures("enable_login_methods", "connect_broken_receiver")
@pytest.mark.parametrize("mode", ["ciam"])
@pytest.mark.parametrize("accept", [HTML, JSON])
def test_the_report_of_an_error_in_a_form_has_no_typed_secrets(
    accept: str,
    ciam: FakeCiam,
    reports: Reports,
    records: RecordingHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounts, "PASSWORD", secret_in("password"))
    response = submit_login("password", accept)

    assert response.status_code == 500
    assert any("ZeroDivisionError" in report for report in reports)
    texts = "".join([*reports, mails(), records.text.getvalue(), response.content.decode()])
    assert leaks_in(texts) == set()
    assert [token for token in ciam.access_tokens if token in texts] == []


# --- The data sent to Sentry ------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"include_local_variables": True, "attach_stacktrace": True},
        {
            "include_local_variables": True,
            "attach_stacktrace": True,
            "send_default_pii": True,
            "max_request_body_size": "always",
            "traces_sample_rate": 1.0,
            "enable_logs": True,
        },
    ],
    ids=["default", "with locals", "all of it"],
)
@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_sentry_gets_no_secrets(options: dict[str, Any], mode: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.sentry_site", mode, json.dumps(options)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    output = json.loads(result.stdout)
    sent = "\n".join(output["sent"])

    # The SDK sends the package's ERROR line and the project's error with its local variables.
    assert "code=invalid_client" in sent
    assert "ZeroDivisionError" in sent
    assert "a variable of the project" in sent
    assert '"url":"http://testserver/ciam/callback/"' in sent
    assert len(output["secrets"]) >= 7
    assert [name for name, secret in output["secrets"].items() if secret in sent] == []
    assert leaks_in(sent) == set()
