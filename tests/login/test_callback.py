"""Tests of the callback from CIAM: its state and its issuer, with the fake CIAM."""

from __future__ import annotations

import json
import logging
import time
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from django.contrib.auth import user_logged_in
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import resolve
from pytest_django.fixtures import Settings

from ciam_django import conf
from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.session_store import end_sessions
from ciam_django.client.cache import acquire_once
from ciam_django.errors import CiamError
from ciam_django.login import callback as callback_views
from ciam_django.login import state
from ciam_django.signals import login_failed
from ciam_django.testing import FakeCiam
from tests.browser import HTML, Browser, query_of
from tests.login.test_hints import IN_APP
from tests.login.test_state import age_state_cookies, state_cookie_names

pytestmark = pytest.mark.django_db

LOCKED = "Operation.Failure.User.Locked"


# --- The state --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?error=invalid_client&error_description=call+me",
        "?code=x&state=y",
        "?state=%00%FF&code=" + "9" * 5000,
        "?errcode=40029",
    ],
)
def test_a_callback_without_a_known_state_is_refused_and_changes_no_session_and_no_cookie(
    browser: Browser, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser.sign_in()
    before = list(Session.objects.values())
    anonymous_client = Client()
    with caplog.at_level(logging.DEBUG):
        caplog.clear()
        ours = browser.client.get(f"/ciam/callback/{query}", headers={"Accept": HTML})
        theirs = anonymous_client.get(f"/ciam/callback/{query}", headers={"Accept": HTML})

    for response in (ours, theirs):
        assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_state")
        assert b"call me" not in response.content
    assert list(Session.objects.values()) == before
    assert not ours.cookies
    assert not theirs.cookies
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert [r.name for r in caplog.records if r.levelno == logging.INFO] == ["ciam_django"] * 2


def test_a_callback_with_an_unknown_state_is_a_failed_login_of_the_callback_stage(
    browser: Browser,
) -> None:
    errors: list[CiamError] = []

    def receive(error: CiamError, **kwargs: Any) -> None:
        errors.append(error)

    login_failed.connect(receive)
    try:
        browser.client.get("/ciam/callback/?code=x&state=y", headers={"Accept": HTML})
    finally:
        login_failed.disconnect(receive)

    assert [(error.code, error.stage) for error in errors] == [("mismatching_state", "callback")]


def browser_with_state_cookies_of(browser: Browser) -> Browser:
    """Return a new browser that has only the current state cookies of ``browser``."""
    copy = Browser(browser.ciam)
    for name in state_cookie_names(browser.client.cookies):
        copy.client.cookies[name] = browser.client.cookies[name].value
    return copy


OUTCOMES = pytest.mark.parametrize(
    ("username", "status"),
    [
        ("li", 302),
        ("fail:authorize:invalid_request", 400),
        ("fail:Operation.Failure.Social.Login", 400),
        ("fail:invalid_grant", 401),
        (f"fail:{LOCKED}", 403),
        ("fail:invalid_client", 500),
        ("fail:authorize:server_error", 503),
        ("html:token", 503),
    ],
)


@OUTCOMES
def test_a_second_callback_with_the_cookie_of_the_state_has_the_same_outcome(
    browser: Browser, username: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/next/"), username)
    # This browser never gets the response to the first callback.
    second_browser = browser_with_state_cookies_of(browser)
    first = browser.open_callback(callback)
    assert first.status_code == status
    request_count = len(browser.ciam.requests)
    caplog.clear()

    for is_signed_in in (False, status == 302):
        second = second_browser.open_callback(callback)
        assert second.status_code == status
        if not is_signed_in:
            # The browser can repeat the callback for 30 seconds.
            kept = [second.cookies[name] for name in state_cookie_names(second.cookies)]
            assert [cookie["max-age"] for cookie in kept] == [30]
        for header in ("Location", "Ciam-Error-Code", "Ciam-Request-Id", "Retry-After"):
            assert second.get(header) == first.get(header)
    assert second_browser.user_id == browser.user_id
    assert len(browser.ciam.requests) == request_count
    # A failure is reported once, and one sign-in has one session.
    assert not [record for record in caplog.records if record.name == "ciam_django"]
    assert CiamSession.objects.count() == (status == 302)
    if status == 302:
        session, second_session = (
            each.client.cookies["sessionid"].value for each in (browser, second_browser)
        )
        assert session == second_session


@OUTCOMES
def test_a_used_state_is_refused_after_thirty_seconds(
    browser: Browser, username: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/next/"), username)
    second_browser = browser_with_state_cookies_of(browser)
    assert browser.open_callback(callback).status_code == status
    (name,) = state_cookie_names(browser.client.cookies)
    assert browser.client.cookies[name]["max-age"] == 30
    request_count = len(browser.ciam.requests)
    # This browser ignores that the cookie has ended.
    later = time.time() + 31.5
    monkeypatch.setattr(time, "time", lambda: later)

    for _ in range(2):
        response = second_browser.open_callback(callback)
        assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert not state_cookie_names(second_browser.client.cookies)
    assert second_browser.user_id is None
    assert len(browser.ciam.requests) == request_count


def test_the_session_keeps_its_data_with_any_of_two_responses(browser: Browser) -> None:
    session = browser.client.session
    session["cart"] = "full"
    session.save()
    browser.client.cookies["sessionid"] = session.session_key or ""
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    second_browser = browser_with_state_cookies_of(browser)
    second_browser.client.cookies["sessionid"] = session.session_key or ""
    browser.open_callback(callback)
    second_browser.open_callback(callback)

    for each in (browser, second_browser):
        assert each.client.session["cart"] == "full"
    assert Session.objects.count() == 1


@pytest.mark.parametrize("ended_by", ["user", "ciam", "row"])
def test_a_second_callback_does_not_sign_in_after_the_end_of_the_session(
    browser: Browser, ended_by: str
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    second_browser = browser_with_state_cookies_of(browser)
    browser.open_callback(callback)
    if ended_by == "user":
        browser.client.post("/ciam/logout/")
    elif ended_by == "ciam":
        end_sessions(CiamSession.objects.all(), "back_channel")
    else:
        # The session's store may be unable to end the session.
        CiamSession.objects.all().mark_ended()
    response = second_browser.open_callback(callback)

    assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert second_browser.user_id is None


def test_a_second_callback_ends_the_session_that_another_user_has_started_since(
    browser: Browser,
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/li/"), "li")
    second_browser = browser_with_state_cookies_of(browser)
    browser.open_callback(callback)
    second_browser.sign_in("wang")
    wang, wangs_key = second_browser.user_id, second_browser.client.session.session_key

    assert second_browser.open_callback(callback)["Location"] == "/li/"
    assert second_browser.user_id == browser.user_id != wang
    assert CiamSession.objects.active().count() == 1
    assert not Session.objects.filter(session_key=wangs_key).exists()


def test_a_second_callback_continues_a_session_without_a_session_table(
    browser: Browser, settings: Settings
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/next/"))
    second_browser = browser_with_state_cookies_of(browser)
    browser.open_callback(callback)

    assert second_browser.open_callback(callback)["Location"] == "/next/"
    assert second_browser.user_id == browser.user_id is not None


def test_the_browser_gets_a_new_csrf_token_with_any_of_two_responses(browser: Browser) -> None:
    browser.client.get("/ciam/login/")
    earlier_token = browser.client.cookies["csrftoken"].value
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    second_browser = browser_with_state_cookies_of(browser)
    second_browser.client.cookies["csrftoken"] = earlier_token
    browser.open_callback(callback)
    second_browser.open_callback(callback)

    for each in (browser, second_browser):
        assert each.client.cookies["csrftoken"].value != earlier_token


def test_a_csrf_token_in_the_session_is_the_same_after_a_second_callback(
    browser: Browser, settings: Settings
) -> None:
    settings.CSRF_USE_SESSIONS = True
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    second_browser = browser_with_state_cookies_of(browser)
    browser.open_callback(callback)
    token = browser.client.session["_csrftoken"]
    second_browser.open_callback(callback)

    assert browser.client.session["_csrftoken"] == token


def test_a_second_callback_links_once_and_redirects(browser: Browser) -> None:
    user = User.objects.create_user("staff")
    browser.client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    departure = browser.client.post("/ciam/authorize/", {"next": "/account/", "link": "1"})
    callback = browser.sign_in_at_ciam(departure["Location"])
    second_browser = browser_with_state_cookies_of(browser)
    first = browser.open_callback(callback)

    assert second_browser.open_callback(callback)["Location"] == first["Location"]
    # The second browser has no session, and gets none.
    assert second_browser.user_id is None


def test_a_second_callback_after_a_mistake_of_the_project_has_a_page_with_a_way_back(
    browser: Browser,
) -> None:
    def fail(**kwargs: object) -> None:
        raise ZeroDivisionError

    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    second_browser = browser_with_state_cookies_of(browser)
    user_logged_in.connect(fail)
    try:
        with pytest.raises(ZeroDivisionError):
            browser.open_callback(callback)
    finally:
        user_logged_in.disconnect(fail)
    response = second_browser.open_callback(callback)

    assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert 'href="/ciam/login/">Start again</a>' in response.content.decode()


@pytest.fixture
def callback_under_way(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a callback that another process has begun and does not end."""
    monkeypatch.setattr(callback_views, "_WAIT_SECONDS", 0.1)
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/next/"))
    claimed = state._claim_key(query_of(callback)["state"])
    assert acquire_once(claimed, seconds=600)
    return callback


def test_a_second_callback_shows_a_neutral_page_while_the_first_callback_is_under_way(
    browser: Browser, callback_under_way: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        response = browser.open_callback(callback_under_way)
        assert response.status_code == 200
        assert response["Refresh"] == "1"
        assert response["Cache-Control"] == "no-store"
        assert response["Referrer-Policy"] == "no-referrer"
        assert response["Content-Language"] == "en"
        assert "Ciam-Error-Code" not in response
        content = response.content.decode()
        assert "Signing you in" in content
        assert query_of(callback_under_way)["code"] not in content
    # The cookie stays, so that the browser can repeat the callback.
    (name,) = state_cookie_names(browser.client.cookies)
    assert browser.client.cookies[name]["max-age"] > 600
    assert not [record for record in caplog.records if record.name == "ciam_django"]
    assert [request.stage for request in browser.ciam.requests].count("token") == 0


def test_a_callback_does_not_wait_while_another_callback_waits(
    browser: Browser, callback_under_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback_views, "_WAIT_SECONDS", 60)
    claimed = state._claim_key(query_of(callback_under_way)["state"])
    assert acquire_once(f"{claimed}.waiting", seconds=60)
    started = time.monotonic()
    response = browser.open_callback(callback_under_way)

    assert response["Refresh"] == "1"
    assert time.monotonic() - started < 30


def test_a_second_callback_of_a_script_gets_json_while_the_first_callback_is_under_way(
    browser: Browser, callback_under_way: str
) -> None:
    response = browser.open_callback(callback_under_way, accept="application/json")

    assert (response.status_code, response["Retry-After"]) == (202, "1")
    assert json.loads(response.content) == {"status": "pending"}


@pytest.mark.parametrize(
    ("next_url", "location"), [("/next/", "/next/#"), ("/next/#/cart", "/next/#/cart")]
)
def test_in_wechat_no_fragment_of_wechats_page_stays_in_the_address(
    browser: Browser, next_url: str, location: str
) -> None:
    agent = {"User-Agent": IN_APP["WeChat on iOS"]}
    callback = browser.sign_in_at_ciam(browser.start_sign_in(next_url))
    for _ in range(2):
        assert browser.open_callback(callback, **agent)["Location"] == location


@pytest.mark.parametrize("path", ["/ciam/callback/", "/ciam/with/qq/callback/"])
def test_atomic_requests_do_not_delay_the_session_of_a_callback(path: str) -> None:
    view = resolve(path).func
    handler = BaseHandler()
    requests_of_all = {"ATOMIC_REQUESTS": True}
    before = {alias: connections[alias].settings_dict["ATOMIC_REQUESTS"] for alias in connections}
    try:
        for alias in connections:
            connections[alias].settings_dict |= requests_of_all
        assert handler.make_view_atomic(view) is view
    finally:
        for alias, value in before.items():
            connections[alias].settings_dict["ATOMIC_REQUESTS"] = value


def test_atomic_requests_of_a_second_database_do_not_delay_the_session_of_a_callback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    atomic = {**connections.settings["default"], "ATOMIC_REQUESTS": True}
    monkeypatch.setattr(connections, "settings", {"default": atomic, "accounts": atomic})

    def view(request: object) -> HttpResponse:
        return HttpResponse()

    assert BaseHandler().make_view_atomic(view) is not view
    committing = callback_views.commit_in_view(view)
    assert BaseHandler().make_view_atomic(committing) is committing


@pytest.mark.parametrize(("age", "status"), [(599, 302), (601, 400)])
def test_a_sign_in_expires_after_ten_minutes(browser: Browser, age: int, status: int) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    age_state_cookies(browser, age)

    assert browser.open_callback(callback).status_code == status
    assert (browser.user_id is None) is (status == 400)


def test_a_state_of_another_provider_is_refused(browser: Browser) -> None:
    sign_in_state = state.new_sign_in_state(next_url="", provider="wechat")
    response = HttpResponse()
    state.set_state_cookie(RequestFactory().get("/"), response, sign_in_state)
    for name, morsel in response.cookies.items():
        browser.client.cookies[name] = morsel.value
    answer = browser.client.get("/ciam/callback/", {"state": sign_in_state.state, "code": "c"})

    assert answer["Ciam-Error-Code"] == "mismatching_state"
    assert not browser.ciam.requests


def test_a_state_is_accepted_after_a_key_rotation_only_if_the_old_key_is_a_fallback(
    browser: Browser, settings: Settings
) -> None:
    accepted_callback, refused_callback = (
        browser.sign_in_at_ciam(browser.start_sign_in()) for _ in range(2)
    )
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "new"
    assert browser.open_callback(accepted_callback).status_code == 302

    settings.SECRET_KEY_FALLBACKS = []
    assert browser.open_callback(refused_callback)["Ciam-Error-Code"] == "mismatching_state"


def test_a_repeated_callback_redirects_the_browser_only_while_it_is_signed_in(
    browser: Browser,
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/next/"))
    session = browser.open_callback(callback).cookies["sessionid"].value

    for _ in range(2):
        again = browser.open_callback(callback)
        assert again["Location"] == "/next/"
        assert again["Referrer-Policy"] == "no-referrer"
    assert browser.client.cookies["sessionid"].value == session
    browser.client.logout()
    assert browser.open_callback(callback)["Ciam-Error-Code"] == "mismatching_state"


def test_only_the_five_newest_states_redirect_a_repeated_callback_to_their_own_next(
    browser: Browser,
) -> None:
    callbacks = []
    for number in range(6):
        callbacks.append(browser.sign_in_at_ciam(browser.start_sign_in(f"/{number}/")))
        browser.open_callback(callbacks[-1])
        for name in state_cookie_names(browser.client.cookies):
            del browser.client.cookies[name]
    # The session stores five states, as many as a browser can have cookies for.
    assert browser.open_callback(callbacks.pop(0))["Ciam-Error-Code"] == "mismatching_state"

    answers = [browser.open_callback(callback) for callback in callbacks]
    assert [answer["Location"] for answer in answers] == ["/1/", "/2/", "/3/", "/4/", "/5/"]


def test_a_repeated_callback_of_the_previous_user_is_refused(browser: Browser) -> None:
    li_callback = browser.sign_in_at_ciam(browser.start_sign_in("/li/"), "li")
    browser.open_callback(li_callback)
    wang_callback = browser.sign_in_at_ciam(browser.start_sign_in("/wang/"), "wang")
    browser.open_callback(wang_callback)

    assert browser.open_callback(wang_callback)["Location"] == "/wang/"
    assert browser.open_callback(li_callback)["Ciam-Error-Code"] == "mismatching_state"


def test_a_repeated_callback_checks_next_for_its_own_host(
    browser: Browser, settings: Settings
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in("http://testserver/next/"))
    browser.open_callback(callback)
    settings.ALLOWED_HOSTS = ["*"]
    parts = urlsplit(callback)
    again = browser.client.get(f"{parts.path}?{parts.query}", headers={"Host": "other.example"})

    assert again["Location"] == "/accounts/profile/"


def test_a_state_cannot_be_used_in_another_browser(browser: Browser, ciam: FakeCiam) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    signed_in, anonymous = Browser(ciam), Browser(ciam)
    signed_in.sign_in("wang")
    before = signed_in.user_id

    ways_out = {signed_in: '/accounts/profile/">Continue', anonymous: '/ciam/login/">Start again'}
    for other, way_out in ways_out.items():
        response = other.open_callback(callback)
        assert response["Ciam-Error-Code"] == "mismatching_state"
        assert f'href="{way_out}</a>' in response.content.decode()
    assert before is not None
    assert signed_in.user_id == before
    assert anonymous.user_id is None
    # The callbacks in other browsers have not spent the state.
    assert browser.open_callback(callback).status_code == 302


def test_a_callback_without_a_code_is_refused(browser: Browser) -> None:
    state = query_of(browser.start_sign_in())["state"]
    response = browser.client.get("/ciam/callback/", {"state": state})

    assert response["Ciam-Error-Code"] == "missing_code"


class BrokenCache(BaseCache):
    """A cache whose server is down."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, *args: object, **kwargs: object) -> bool:
        raise ConnectionError("no route to secret-host")

    def get(self, *args: object, **kwargs: object) -> object:
        raise ConnectionError("no route to secret-host")

    def set(self, *args: object, **kwargs: object) -> None:
        raise ConnectionError("no route to secret-host")


def test_a_user_can_sign_in_while_the_cache_is_down(
    browser: Browser, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}

    assert browser.sign_in().status_code == 302
    assert browser.user_id
    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    assert [r.name for r in warnings] == ["ciam_django"]
    assert "cache is down (<class 'ConnectionError'>)" in warnings[0].getMessage()
    assert "secret-host" not in caplog.text


def test_an_unknown_state_causes_no_warning_while_the_cache_is_down(
    browser: Browser, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}
    response = browser.client.get("/ciam/callback/?state=x&code=y")

    assert response["Ciam-Error-Code"] == "mismatching_state"
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_the_token_request_repeats_the_redirect_uri_of_the_authorization_request(
    browser: Browser, settings: Settings
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    # The setting changes between the two requests. CIAM compares the two addresses.
    settings.CIAM_CALLBACK_URL = "http://localhost/other/callback/"

    assert browser.open_callback(callback).status_code == 302
    assert browser.user_id


# --- The issuer of a callback (RFC 9207) ------------------------------------------------------

OTHER_ISSUER = "https://evil.example/oidc/app"
oidc = pytest.mark.parametrize("mode", ["oidc"])


@oidc
def test_a_callback_with_the_right_issuer_signs_in(browser: Browser) -> None:
    browser.ciam.sends_issuer = True
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/next/"))

    assert f"iss={quote(browser.ciam.issuer, safe='')}" in callback
    assert browser.open_callback(callback)["Location"] == "/next/"
    assert browser.user_id


@oidc
@pytest.mark.parametrize("username", ["li", "fail:authorize:access_denied"])
@pytest.mark.parametrize("change", ["other", "missing"])
def test_a_wrong_or_missing_iss_is_refused_if_the_metadata_announces_the_iss_parameter(
    browser: Browser, username: str, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser.ciam.sends_issuer = True
    callback = browser.sign_in_at_ciam(browser.start_sign_in(), username)
    with_issuer = f"&iss={quote(browser.ciam.issuer, safe='')}"
    assert with_issuer in callback
    instead = {"other": f"&iss={quote(OTHER_ISSUER, safe='')}", "missing": ""}[change]
    with caplog.at_level(logging.DEBUG):
        response = browser.open_callback(callback.replace(with_issuer, instead))

    assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_issuer")
    assert b"evil" not in response.content
    assert "evil" not in caplog.text
    assert browser.user_id is None
    # The code has not been sent to CIAM.
    assert not [request for request in browser.ciam.requests if request.stage == "token"]


@oidc
def test_a_wrong_iss_is_refused_if_the_metadata_does_not_announce_the_iss_parameter(
    browser: Browser,
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    response = browser.open_callback(f"{callback}&iss={quote(OTHER_ISSUER, safe='')}")

    assert response["Ciam-Error-Code"] == "mismatching_issuer"
    assert not [request for request in browser.ciam.requests if request.stage == "token"]


@oidc
def test_a_callback_is_answered_with_503_if_the_metadata_cannot_be_loaded(
    browser: Browser,
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    # A process that has not loaded the metadata yet handles the callback.
    conf.clear_settings_caches()
    cache.clear()
    browser.ciam.misbehave("discovery", "reset")
    response = browser.open_callback(callback)

    assert (response.status_code, response["Ciam-Error-Code"]) == (503, "no_connection")


# --- The limit of attempts --------------------------------------------------------------------


def open_guessed_callback(browser: Browser) -> tuple[int, str]:
    """Open a callback with a valid state and a guessed code."""
    state_value = query_of(browser.start_sign_in())["state"]
    response = browser.client.get(
        f"/ciam/callback/?code=guess&state={state_value}", headers={"Accept": HTML}
    )
    return response.status_code, response["Ciam-Error-Code"]


def token_request_count(ciam: FakeCiam) -> int:
    return sum(request.stage == "token" for request in ciam.requests)


def test_guessed_codes_are_limited_before_ciam_is_asked(
    browser: Browser, settings: Settings
) -> None:
    cache.clear()
    settings.CIAM_TRY_LIMITS = {"address": ("2/min",)}
    answers = [open_guessed_callback(browser) for _ in range(4)]

    assert [status for status, _ in answers[2:]] == [429] * 2
    assert 429 not in [status for status, _ in answers[:2]]
    assert answers[-1][1] == "too_many_requests"
    assert token_request_count(browser.ciam) == 2
    assert browser.sign_in()["Ciam-Error-Code"] == "too_many_requests"


def test_guessed_codes_stop_no_other_account(browser: Browser, settings: Settings) -> None:
    cache.clear()
    settings.CIAM_TRY_LIMITS = {"receiver": ("1/hour",)}

    assert 429 not in [open_guessed_callback(browser)[0] for _ in range(3)]


def test_a_browser_that_has_signed_in_before_is_not_stopped_by_guessed_codes(
    browser: Browser, settings: Settings
) -> None:
    cache.clear()
    settings.CIAM_TRY_LIMITS = {"address": ("2/min",)}
    browser.sign_in()
    browser.client.logout()
    # The logout of Django's test client deletes all cookies.
    browser.sign_in()
    browser.client.cookies.pop("sessionid")
    stranger = Browser(browser.ciam)
    for _ in range(3):
        status, _ = open_guessed_callback(stranger)
    assert status == 429

    assert browser.sign_in().status_code == 302
    # The browser has a limit of its own.
    browser.client.cookies.pop("sessionid")
    assert [open_guessed_callback(browser)[0] for _ in range(3)][2] == 429


def test_successful_and_cancelled_sign_ins_are_not_counted(
    browser: Browser, settings: Settings
) -> None:
    cache.clear()
    settings.CIAM_TRY_LIMITS = {"address": ("1/min",), "site": ("1/min",)}
    for username in ("li", "fail:authorize:access_denied", "li"):
        for _ in range(2):
            response = Browser(browser.ciam).sign_in(username)
            assert response.status_code != 429
