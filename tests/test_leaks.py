"""Whatever upstream or a browser writes, no answer, log, report or mail repeats it."""

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
def a_project_with_admins(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.ADMINS = ADMINS


@pytest.fixture(autouse=True)
def records() -> Iterator[RecordingHandler]:
    """What the root logger gets at DEBUG."""
    root, handler = logging.getLogger(), RecordingHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def errors() -> Iterator[list[CiamError]]:
    """The errors of the way in."""
    found: list[CiamError] = []

    def receiver(error: CiamError, **kwargs: Any) -> None:
        found.append(error)

    login_failed.connect(receiver)
    yield found
    login_failed.disconnect(receiver)


Reports = list[str]


@pytest.fixture
def reports() -> Iterator[Reports]:
    """Django's reports of what nobody answered, as it shows and mails them."""
    found: Reports = []

    def receiver(request: HttpRequest, **kwargs: Any) -> None:
        kind, error, trace = sys.exc_info()
        reporter = ExceptionReporter(request, kind, error, trace)
        found.extend([reporter.get_traceback_text(), reporter.get_traceback_html()])
        assert error
        found.extend(error_texts(error))

    got_request_exception.connect(receiver)
    yield found
    got_request_exception.disconnect(receiver)


def mails() -> str:
    return "".join(
        str(message.message()) + str(getattr(message, "alternatives", ""))
        for message in mail.outbox
    )


# --- What upstream writes ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500, 503])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("accept", [HTML, JSON])
def test_of_a_failed_token_call_nothing_is_told(  # noqa: PLR0917  (fixtures)
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
    assert len(errors) == len(records.records_of("ciam_django")) == 1
    assert leaks_in(*error_texts(errors[0])) == set()
    assert not mail.outbox


@pytest.mark.parametrize(("mode", "stage"), [("oidc", "jwks"), ("oidc", "discovery")])
@pytest.mark.parametrize("body", ["oauth", "ciam", "unknown"])
def test_nor_of_any_other_call(
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
def test_nor_of_a_call_of_the_projects(
    place: str, body: str, accept: str, ciam: FakeCiam, records: RecordingHandler
) -> None:
    ciam.plan("api", LeakyFailure(body=BODIES[body]), times=1)
    response = cast("HttpResponse", Client().get(place, headers={"Accept": accept}))

    assert response.status_code >= 400
    assert leaks_in(*response_texts(response), records.text.getvalue()) == set()


# Closed, or the next test may meet a connection that is about to be.
HEAD = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
WIRE = {
    "a header that is none": f"{HEAD}{secret_in('header')}\r\nContent-Length: 2\r\n\r\n{{}}",
    "a header below none": f"{HEAD} {secret_in('header')}: x\r\nContent-Length: 2\r\n\r\n{{}}",
    "no status": f"HTTP/1.1 {secret_in('status')} {secret_in('reason')}\r\n\r\n",
    "no HTTP": f"{secret_in('line')} {PHONE}\r\n\r\n",
    "chunks that are none": f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{secret_in('chunk')}\r\n",
    "lengths that differ": f"{HEAD}Content-Length: 2, {secret_in('length')}\r\n\r\n{{}}",
    "an encoding": f"{HEAD}Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n{secret_in('gzip')}",
    "a page": f"{HEAD}Content-Type: text/html\r\nContent-Length: 60\r\n\r\n{secret_in('html'):60}",
    "half of JSON": f'{HEAD}Content-Length: 40\r\n\r\n{{"access_token": "{secret_in("json"):40}',
    "another place": f"HTTP/1.1 302 F\r\nLocation: /?{secret_in('location')}\r\n"
    "Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", WIRE)
def test_nor_of_what_is_hardly_http(
    answer: str,
    browser: Browser,
    records: RecordingHandler,
    errors: list[CiamError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = WIRE[answer].encode()
    monkeypatch.setitem(BEHAVIOURS, "planted", lambda wire: wire.send(sent))
    browser.ciam.misbehave("token", "planted")
    response = browser.sign_in()

    assert response["Ciam-Error-Code"] in ("unreadable_answer", "no_connection")
    assert leaks_in(*response_texts(response), records.text.getvalue()) == set()
    assert leaks_in(*error_texts(errors[0])) == set()


def test_a_leak_is_found_and_a_clock_is_none() -> None:
    assert set(SHAPES) <= leaks_in(leaky_text("anywhere"))
    assert (
        leaks_in(f"<at 0x7f{SMS_CODE}0a10>", f"1763953812.3{SMS_CODE}", f"{SMS_CODE}000000000")
        == set()
    )


def test_three_things_pass_in_their_shapes(browser: Browser, records: RecordingHandler) -> None:
    body = ciam_body("Params.Blank.User.Nick.Name", requestId=REQUEST_ID)
    browser.ciam.plan("token", LeakyFailure(body=body), times=1)
    answer = json.loads(browser.sign_in(accept=JSON).content)

    assert answer["request_id"] == REQUEST_ID
    assert answer["field"] == "nick_name"
    # A code that no row has is for the operator, who may give it one.
    assert answer["code"] == "Params.Blank.*"
    assert "code=Params.Blank.User.Nick.Name " in records.records_of("ciam_django")[0].getMessage()


def test_a_sign_in_that_works_leaves_no_trace_of_its_secrets(
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
def test_what_an_id_token_claims_is_told_to_nobody(
    claims: dict[str, Any], browser: Browser, records: RecordingHandler, errors: list[CiamError]
) -> None:
    browser.ciam.id_token_claims = {"phone_number": PHONE, **claims}
    response = browser.sign_in(secret_in("username"))

    assert leaks_in(*response_texts(response), records.text.getvalue()) == set()
    for error in errors:
        assert leaks_in(*error_texts(error)) == set()


# --- What a browser writes --------------------------------------------------------------------


def walked_by(query: dict[str, str], **headers: str) -> list[HttpResponse]:
    """What a browser full of secrets gets from each view that it can open or post to."""
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
        )
    ]


@pytest.mark.parametrize("accept", [HTML, JSON])
def test_what_a_stranger_brings_is_not_repeated(
    accept: str, ciam: FakeCiam, records: RecordingHandler, errors: list[CiamError]
) -> None:
    names = ("code", "state", "error", "error_description", "error_uri", "iss", "id_token")
    query = {name: secret_in(name) for name in (*names, "next_url", "username", "phone")}
    responses = walked_by(
        query, accept=accept, referer=f"https://ciam.example/?code={secret_in('referer')}"
    )

    for response in responses:
        assert leaks_in(*response_texts(response)) == set()
    assert leaks_in(records.text.getvalue()) == set()
    assert leaks_in(*error_texts(errors[0])) == set()
    assert all(r.levelno <= logging.INFO for r in records.records_of("ciam_django"))


@pytest.mark.parametrize("accept", [HTML, JSON])
@pytest.mark.parametrize("error", [secret_in("error"), JWT, PHONE, f"a.{PHONE}", "access_denied"])
def test_nor_is_what_comes_back_with_a_state_of_ours(
    error: str, accept: str, browser: Browser, records: RecordingHandler, errors: list[CiamError]
) -> None:
    next_url = f"/?{secret_in('next')}"
    state = query_of(browser.start_sign_in(next_url))["state"]
    # Checked when it was sealed, and the person's own: it is the one thing that stays.
    way_out = f'href="/ciam/login/?{urlencode({"next": next_url})}"'
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

    assert response.status_code >= 400
    shown = [text.replace(way_out, "") for text in response_texts(response)]
    assert leaks_in(*shown, records.text.getvalue()) == set()
    assert state not in records.text.getvalue() + response.content.decode()
    assert leaks_in(*error_texts(errors[0])) == set()


def test_a_code_that_is_refused_is_in_no_log(browser: Browser, records: RecordingHandler) -> None:
    state = query_of(browser.start_sign_in())["state"]
    response = browser.client.get("/ciam/callback/", {"state": state, "code": secret_in("code")})

    assert response["Ciam-Error-Code"] == "invalid_grant"
    assert leaks_in(records.text.getvalue()) == set()


def test_the_host_stands_only_in_the_address_that_it_makes(
    browser: Browser, records: RecordingHandler, settings: Settings
) -> None:
    host = f"{secret_in('host').lower().replace('_', '-')}.example"
    settings.ALLOWED_HOSTS = [host]
    away = browser.client.post("/ciam/authorize/", headers={"Host": host})
    response = browser.client.get("/ciam/callback/", headers={"Host": host, "Accept": HTML})

    assert host in away["Location"]
    assert host not in response.content.decode() + str(response.headers)
    assert host not in records.text.getvalue().replace(str(away["Location"]), "")


# --- What nobody answers ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*MAILERS")
@pytest.mark.parametrize("is_debug", [True, False])
@pytest.mark.parametrize("mode", ["ciam"])
@pytest.mark.parametrize("body", ["oauth", "ciam", "unknown"])
def test_an_error_that_nobody_answers_is_reported_without_what_upstream_wrote(
    body: str, is_debug: bool, ciam: FakeCiam, settings: Settings, reports: Reports
) -> None:
    settings.DEBUG = is_debug
    settings.MIDDLEWARE = settings.MIDDLEWARE[:-1]
    ciam.plan("api", LeakyFailure(body=BODIES[body]), times=1)
    response = Client(raise_request_exception=False).get("/page/")

    assert response.status_code == 500
    assert any("CiamError" in report for report in reports)
    assert leaks_in(*reports, mails()) == set()
    assert bool(mail.outbox) is not is_debug


@pytest.mark.filterwarnings("ignore:.*MAILERS")
@pytest.mark.parametrize("behaviour", ["reset", "html", "truncated"])
@pytest.mark.parametrize("mode", ["ciam"])
def test_nor_is_the_exception_behind_it(
    behaviour: str, ciam: FakeCiam, settings: Settings, reports: Reports
) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[:-1]
    settings.DEBUG = True
    ciam.misbehave("api", behaviour)
    Client(raise_request_exception=False).get("/page/")

    assert any("CiamError" in report for report in reports)
    assert leaks_in(*reports) == set()


@pytest.fixture
def a_broken_receiver() -> Iterator[None]:
    """A project whose own code fails while a person is being signed in."""

    def receiver(**kwargs: Any) -> None:
        raise ZeroDivisionError("the project's own")

    user_logged_in.connect(receiver, weak=False)
    yield
    user_logged_in.disconnect(receiver)


@pytest.mark.filterwarnings("ignore:.*MAILERS")
@pytest.mark.parametrize("is_debug", [True, False])
@pytest.mark.usefixtures("a_broken_receiver")
def test_what_fails_in_a_callback_is_reported_without_its_secrets(
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
    response = browser.open_callback(callback)

    assert response.status_code == 500
    assert any("ZeroDivisionError" in report for report in reports)
    secrets = [*browser.ciam.access_tokens, *cookies, *query_of(callback).values()]
    told = "".join([*reports, mails(), records.text.getvalue(), response.content.decode()])
    assert len(cookies) == 1
    assert [secret for secret in secrets if secret in told] == []
    assert leaks_in(*reports, mails()) == set()


# --- What a person types to us -----------------------------------------------------------------

TYPED: dict[str, dict[str, Any]] = {
    "password": {"username": secret_in("username"), "password": secret_in("password")},
    "email": {"email": f"{secret_in('local')}@example.com"},
    "sms": {"phone_number": PHONE},
}
STAGES_OF_TYPED = {"password": "password", "email": "send_code", "sms": "send_code"}


@pytest.fixture
def every_way(settings: Settings) -> None:
    cache.clear()
    settings.CIAM_LOGIN_METHODS = list(TYPED)


def typed(method: str, accept: str) -> HttpResponse:
    """What comes of it that somebody fills in the page's form, or an app does."""
    client = Client(headers={"Accept": accept}, raise_request_exception=False)
    agreed = {"consent": ["terms", "privacy"]}
    given = {**TYPED[method], **agreed, "captcha": secret_in("captcha")}
    if accept == HTML:
        response = client.post("/ciam/login/", {"method": method, **given})
    else:
        response = client.post(f"/ciam/api/{method}/", given, content_type=JSON)
    return cast("HttpResponse", response)


@pytest.mark.usefixtures("every_way")
@pytest.mark.parametrize("mode", ["ciam"])
@pytest.mark.parametrize("accept", [HTML, JSON])
@pytest.mark.parametrize("method", TYPED)
@pytest.mark.parametrize("body", BODIES)
def test_of_what_was_typed_only_the_account_comes_back(  # noqa: PLR0917  (fixtures)
    body: str,
    method: str,
    accept: str,
    ciam: FakeCiam,
    records: RecordingHandler,
    errors: list[CiamError],
) -> None:
    ciam.plan(STAGES_OF_TYPED[method], LeakyFailure(body=BODIES[body]), times=1)
    response = typed(method, accept)

    visible = {secret_in("username"), secret_in("local"), PHONE} if accept == HTML else set()
    # An account that gets no code looks like one that gets it.
    is_hidden = errors[0].code == "Operation.Failure.User.Locked" and method != "password"
    assert (response.status_code < 400) is is_hidden
    assert leaks_in(*response_texts(response)) <= visible
    assert leaks_in(records.text.getvalue()) == set()
    assert leaks_in(*error_texts(errors[0])) == set()


@pytest.mark.filterwarnings("ignore:.*MAILERS")
@pytest.mark.usefixtures("every_way", "a_broken_receiver")
@pytest.mark.parametrize("mode", ["ciam"])
@pytest.mark.parametrize("accept", [HTML, JSON])
def test_what_fails_in_a_form_is_reported_without_what_was_typed(
    accept: str,
    ciam: FakeCiam,
    reports: Reports,
    records: RecordingHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounts, "PASSWORD", secret_in("password"))
    response = typed("password", accept)

    assert response.status_code == 500
    assert any("ZeroDivisionError" in report for report in reports)
    told = "".join([*reports, mails(), records.text.getvalue(), response.content.decode()])
    assert leaks_in(told) == set()
    assert [token for token in ciam.access_tokens if token in told] == []


# --- What Sentry is sent ----------------------------------------------------------------------


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
def test_sentry_is_sent_no_secret(options: dict[str, Any], mode: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.sentry_site", mode, json.dumps(options)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    sent = "\n".join(told["sent"])

    # It does send: our ERROR line, what the project's own code raised, and that one's variables.
    assert "code=invalid_client" in sent
    assert "ZeroDivisionError" in sent
    assert "a variable of the project" in sent
    assert '"url":"http://testserver/ciam/callback/"' in sent
    assert len(told["secrets"]) >= 7
    assert [name for name, secret in told["secrets"].items() if secret in sent] == []
    assert leaks_in(sent) == set()
