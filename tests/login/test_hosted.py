"""Tests of the sign-in at CIAM's login page and of the logout, with the fake CIAM."""

from __future__ import annotations

import dataclasses
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from typing import Any, cast
from urllib.parse import quote, urlsplit

import pytest
import requests
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.http import HttpResponse
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from ciam_django import conf
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import decrypted_tokens, encrypted_tokens
from ciam_django.errors import CiamError
from ciam_django.login import state
from ciam_django.login.callback import refuse_other_issuer
from ciam_django.testing import FakeCiam
from ciam_django.testing.tenant import APP_ID
from tests.browser import HTML, Browser, query_of
from tests.login.test_state import aged

pytestmark = pytest.mark.django_db

LOCKED = "Operation.Failure.User.Locked"


def states_in(cookies: SimpleCookie) -> list[str]:
    return [name for name in cookies if name.startswith("ciam_state_") and cookies[name].value]


def make_older(browser: Browser, seconds: int) -> None:
    """Change a browser's cookies as if its sign-ins had started ``seconds`` earlier."""
    for name in states_in(browser.client.cookies):
        browser.client.cookies[name] = aged(browser.client.cookies[name].value, seconds)


def json_of(response: HttpResponse) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(response.content))


# --- Sign-in ----------------------------------------------------------------------------------


def test_a_user_signs_in_and_is_redirected_to_next(browser: Browser) -> None:
    response = browser.sign_in(next_url="/admin/")

    assert (response.status_code, response["Location"]) == (302, "/admin/")
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["Cache-Control"] == "no-store"
    identity = CiamIdentity.objects.get()
    assert browser.user_id == str(identity.user_id)
    assert identity.sessions.count() == 1


def test_an_account_at_ciam_is_always_the_same_user(ciam: FakeCiam) -> None:
    first, second, other = Browser(ciam), Browser(ciam), Browser(ciam)
    first.sign_in("li")
    second.sign_in("li")
    other.sign_in("wang")

    assert first.user_id == second.user_id != other.user_id
    assert get_user_model().objects.count() == 2


def test_a_sign_in_without_next_redirects_to_login_redirect_url(
    browser: Browser, settings: Settings
) -> None:
    settings.LOGIN_REDIRECT_URL = "ciam:login"

    assert browser.sign_in()["Location"] == "/ciam/login/"


@pytest.mark.parametrize(
    "next_url",
    ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/" + "x" * 1100, "\ud800"],
)
def test_a_next_that_leads_to_another_site_is_replaced_by_the_default(
    browser: Browser, next_url: str
) -> None:
    page = browser.client.get("/ciam/login/", {"next": next_url.encode(errors="replace")})
    response = browser.sign_in(next_url=next_url.encode(errors="replace").decode())

    assert b"evil" not in page.content
    assert response["Location"] in ("/accounts/profile/", "/%3F", "?")


def test_the_login_page_has_a_form_for_authorize_with_next(browser: Browser) -> None:
    page = browser.client.get("/ciam/login/?next=/admin/").content.decode()

    assert 'action="/ciam/authorize/"' in page
    assert 'value="/admin/"' in page


def test_authorize_requests_a_code_with_pkce_state_and_nonce(browser: Browser, mode: str) -> None:
    query = query_of(browser.start_sign_in())

    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["scope"] == {"oidc": "openid", "ciam": "USER_API"}[mode]
    assert len(query["state"]) >= 32
    assert len(query["code_challenge"]) == 43
    assert "response_mode" not in query


def test_authorize_takes_only_a_post_with_a_csrf_token(browser: Browser) -> None:
    strict = Client(enforce_csrf_checks=True)

    assert strict.post("/ciam/authorize/").status_code == 403
    assert browser.client.get("/ciam/authorize/").status_code == 405


def test_each_state_is_stored_in_its_own_encrypted_cookie(browser: Browser) -> None:
    state = query_of(browser.start_sign_in("/admin/"))["state"]
    name = states_in(browser.client.cookies)[0]
    cookie = browser.client.cookies[name]

    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/ciam/"
    # The cookie lives longer than the state, so that a late callback can be recognized.
    assert cookie["max-age"] == 24 * 3600
    assert state not in name + cookie.value
    assert not Session.objects.exists()


def test_the_state_cookie_is_secure_under_https(ciam: FakeCiam) -> None:
    client = Client()
    response = client.post("/ciam/authorize/", secure=True)

    assert response.cookies[states_in(response.cookies)[0]]["secure"]


def test_the_sixth_sign_in_deletes_the_cookie_of_the_oldest(browser: Browser) -> None:
    addresses = []
    for number in range(6):
        make_older(browser, 10)
        addresses.append(browser.start_sign_in(f"/{number}/"))

    assert len(states_in(browser.client.cookies)) == 5
    answers = [browser.open_callback(browser.sign_in_at_ciam(address)) for address in addresses]
    assert answers[0]["Ciam-Error-Code"] == "mismatching_state"
    assert [answer["Location"] for answer in answers[1:]] == [f"/{n}/" for n in range(1, 6)]


def test_sign_ins_in_two_tabs_do_not_affect_each_other(browser: Browser) -> None:
    first, second = browser.start_sign_in("/first/"), browser.start_sign_in("/second/")

    assert browser.open_callback(browser.sign_in_at_ciam(second))["Location"] == "/second/"
    assert browser.open_callback(browser.sign_in_at_ciam(first))["Location"] == "/first/"


def test_a_sign_in_changes_the_session_key_and_keeps_the_session_data(browser: Browser) -> None:
    session = browser.client.session
    session["cart"] = "full"
    session.save()
    browser.client.cookies["sessionid"] = session.session_key or ""
    browser.sign_in()

    assert browser.client.session.session_key != session.session_key
    assert browser.client.session["cart"] == "full"


# --- Failures ---------------------------------------------------------------------------------


def test_the_page_says_that_an_account_is_locked(browser: Browser) -> None:
    response = browser.sign_in(f"fail:{LOCKED}")

    assert response.status_code == 403
    assert response["Content-Type"].startswith("text/html")
    assert "This account is locked. Contact support to unlock it." in response.content.decode()
    assert browser.user_id is None
    assert not states_in(browser.client.cookies)


def test_the_json_body_says_that_an_account_is_locked(browser: Browser) -> None:
    response = browser.sign_in(f"fail:{LOCKED}", accept="application/json")
    body = json_of(response)

    assert (response.status_code, body["code"]) == (403, LOCKED)
    # The id comes from CIAM, so CIAM's support can look up the request.
    assert "$" in str(body["request_id"])


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_failure_with_any_status_and_content_type_has_the_same_answer(
    browser: Browser, status: int, content_type: str
) -> None:
    browser.ciam.fail("token", code=LOCKED, status=status, content_type=content_type)

    assert browser.sign_in()["Ciam-Error-Code"] == LOCKED


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        ("reset", "no_connection"),
        ("html", "unreadable_answer"),
        ("empty", "unreadable_answer"),
        ("truncated", "unreadable_answer"),
        ("enormous", "unreadable_answer"),
        ("redirect", "unreadable_answer"),
        ("list", "unreadable_answer"),
        ("null", "unreadable_answer"),
        ("deep", "unreadable_answer"),
        ("gzip_bomb", "unreadable_answer"),
        ("no_token", "unreadable_answer"),
        ("errcode", "wechat.*"),
    ],
)
def test_each_misbehaviour_of_ciam_has_a_code(browser: Browser, behaviour: str, code: str) -> None:
    browser.ciam.misbehave("token", behaviour)
    response = browser.sign_in()

    assert response["Ciam-Error-Code"] == code
    assert browser.user_id is None


@pytest.mark.parametrize(
    "behaviour", ["slow", "silent", "drip_status", "drip_headers", "drip_body"]
)
def test_a_slow_ciam_is_answered_with_the_code_timeout(
    browser: Browser, behaviour: str, settings: Settings
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    browser.ciam.misbehave("token", behaviour)
    settings.CIAM_TIMEOUT = 0.3

    assert browser.open_callback(callback)["Ciam-Error-Code"] == "timeout"


def test_the_page_of_a_cancelled_sign_in_links_to_the_login_page(browser: Browser) -> None:
    response = browser.sign_in("fail:authorize:access_denied")

    assert response["Ciam-Error-Code"] == "access_denied"
    assert 'href="/ciam/login/"' in response.content.decode()


def test_a_failed_sign_in_does_not_end_the_session(browser: Browser) -> None:
    browser.sign_in("li")
    before = browser.user_id
    browser.sign_in(f"fail:{LOCKED}")

    assert browser.user_id == before is not None


def test_text_from_ciam_is_neither_shown_nor_logged(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser.ciam.fail(
        "token", code="invalid_grant", text="Invalid code: MARKER-4711 of li@example.com"
    )
    response = browser.sign_in()

    assert response["Ciam-Error-Code"] == "invalid_grant"
    ours = "".join(r.getMessage() for r in caplog.records if r.name == "ciam_django")
    for marker in ("MARKER-4711", "li@example.com"):
        assert marker not in response.content.decode() + str(response.headers) + ours


def test_a_misconfiguration_is_answered_with_500_without_a_traceback(
    browser: Browser, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ADMINS = ["ops@example.com"]
    settings.AUTHLIB_OAUTH_CLIENTS = {}
    response = browser.client.post("/ciam/authorize/")

    assert response.status_code == 500
    assert response["Ciam-Error-Code"] == "bad_configuration"
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("ciam_django", "ERROR")
    ]
    assert caplog.records[0].exc_info is None
    assert not mail.outbox


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        ("expired_token", "/ciam/login/?next=%2Fadmin%2F%3Fa%3Db%26c"),
        ("timeout", "/ciam/login/?next=%2Fadmin%2F%3Fa%3Db%26c"),
        (LOCKED, "/help/"),
    ],
)
def test_the_link_to_the_login_page_keeps_next_after_a_failure(
    browser: Browser, settings: Settings, code: str, way_out: str
) -> None:
    settings.CIAM_SUPPORT_URL = "/help/"
    browser.ciam.fail("token", code=code)
    response = browser.sign_in(next_url="/admin/?a=b&c")

    assert f'href="{way_out}"' in response.content.decode()
    assert "next" not in browser.sign_in(next_url="//evil.example").content.decode()


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_failed_discovery_is_answered_with_503_at_authorize(browser: Browser) -> None:
    browser.ciam.misbehave("discovery", "html")
    response = browser.client.post("/ciam/authorize/")

    assert (response.status_code, response["Ciam-Error-Code"]) == (503, "unreadable_answer")
    assert browser.start_sign_in()


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
def test_a_callback_with_an_unknown_state_changes_no_session_and_no_cookie(
    browser: Browser, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser.sign_in()
    before = browser.user_id
    anonymous_client = Client()
    with caplog.at_level(logging.DEBUG):
        caplog.clear()
        ours = browser.client.get(f"/ciam/callback/{query}", headers={"Accept": HTML})
        theirs = anonymous_client.get(f"/ciam/callback/{query}", headers={"Accept": HTML})

    for response in (ours, theirs):
        assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_state")
        assert b"call me" not in response.content
    assert browser.user_id == before
    assert not ours.cookies
    assert not theirs.cookies
    assert Session.objects.count() == 1
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert [r.name for r in caplog.records if r.levelno == logging.INFO] == ["ciam_django"] * 2


def copy_with_states_of(browser: Browser) -> Browser:
    """Return a new browser that has only the current state cookies of ``browser``."""
    copy = Browser(browser.ciam)
    for name in states_in(browser.client.cookies):
        copy.client.cookies[name] = browser.client.cookies[name].value
    return copy


@pytest.mark.parametrize(
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
def test_a_state_is_valid_for_one_callback_with_any_answer(
    browser: Browser, username: str, status: int
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/next/"), username)
    # This browser ignores that the response deletes the cookie.
    second_browser = copy_with_states_of(browser)

    assert browser.open_callback(callback).status_code == status
    assert not states_in(browser.client.cookies)
    request_count = len(browser.ciam.requests)
    for _ in range(2):
        response = second_browser.open_callback(callback)
        assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert second_browser.user_id is None
    assert len(browser.ciam.requests) == request_count


def test_only_one_of_simultaneous_callbacks_signs_in_and_the_others_are_repeated(
    ciam: FakeCiam, live_server: LiveServer
) -> None:
    callback, cookies = _start_sign_in_at(live_server.url, ciam)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _get(callback, cookies), range(8)))

    (first,) = (answer for answer in answers if answer.status_code == 302)
    assert first.headers["Location"] == "/next/"
    assert "sessionid" in first.cookies
    for answer in answers:
        if answer is not first:
            assert answer.headers["Ciam-Error-Code"] == "mismatching_state"
            # The browser repeats the callback once, because the response deletes the cookie.
            assert answer.headers["Refresh"] == "2"
            assert "Max-Age=0" in answer.headers["Set-Cookie"]
            assert "sessionid" not in answer.cookies
    assert [request.stage for request in ciam.requests].count("token") == 1
    assert "Refresh" not in _get(callback, {}).headers


def _start_sign_in_at(site: str, ciam: FakeCiam) -> tuple[str, dict[str, str]]:
    """Start a sign-in; return the URL of its callback and the cookies of its browser."""
    with requests.Session() as session:
        page = session.get(f"{site}/ciam/login/", timeout=60).text
        token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        departure = session.post(
            f"{site}/ciam/authorize/",
            {"csrfmiddlewaretoken": token, "next": "/next/"},
            allow_redirects=False,
            timeout=60,
        )
        return ciam.authorize(departure.headers["Location"]), session.cookies.get_dict()


def _get(address: str, cookies: dict[str, str]) -> requests.Response:
    # An open connection would keep a server thread and its database connection after the test.
    headers = {"Accept": HTML, "Connection": "close"}
    return requests.get(
        address, cookies=cookies, headers=headers, allow_redirects=False, timeout=60
    )


@pytest.mark.parametrize(("age", "status"), [(599, 302), (601, 400)])
def test_a_sign_in_expires_after_ten_minutes(browser: Browser, age: int, status: int) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    make_older(browser, age)

    assert browser.open_callback(callback).status_code == status
    assert (browser.user_id is None) is (status == 400)


def test_a_state_of_another_provider_is_refused(browser: Browser) -> None:
    begun = state.new_sign_in_state(next_url="", provider="wechat")
    response = HttpResponse()
    state.set_state_cookie(RequestFactory().get("/"), response, begun)
    for name, morsel in response.cookies.items():
        browser.client.cookies[name] = morsel.value
    answer = browser.client.get("/ciam/callback/", {"state": begun.state, "code": "c"})

    assert answer["Ciam-Error-Code"] == "mismatching_state"
    assert not browser.ciam.requests


def test_a_sign_in_survives_the_rotation_of_the_secret_key(
    browser: Browser, settings: Settings
) -> None:
    kept, lost = (browser.sign_in_at_ciam(browser.start_sign_in()) for _ in range(2))
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "new"
    assert browser.open_callback(kept).status_code == 302

    settings.SECRET_KEY_FALLBACKS = []
    assert browser.open_callback(lost)["Ciam-Error-Code"] == "mismatching_state"


def test_invalid_cookies_do_not_prevent_a_sign_in(browser: Browser) -> None:
    for name in ("ciam_state_", "ciam_state_x", "ciam_laps", "ciam_asked"):
        browser.client.cookies[name] = "\xff garbage"

    assert browser.sign_in(next_url="/next/")["Location"] == "/next/"


def test_a_repeated_callback_redirects_the_browser_that_it_signed_in(
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


def test_repeated_callbacks_redirect_each_tab_to_its_own_next(browser: Browser) -> None:
    callbacks = []
    for number in range(6):
        callbacks.append(browser.sign_in_at_ciam(browser.start_sign_in(f"/{number}/")))
        browser.open_callback(callbacks[-1])
    # The session stores five states, as many as a browser can have cookies for.
    assert browser.open_callback(callbacks.pop(0))["Ciam-Error-Code"] == "mismatching_state"

    answers = [browser.open_callback(callback) for callback in callbacks]
    assert [answer["Location"] for answer in answers] == ["/1/", "/2/", "/3/", "/4/", "/5/"]


def test_a_repeated_callback_of_the_previous_user_is_refused(browser: Browser) -> None:
    of_li = browser.sign_in_at_ciam(browser.start_sign_in("/li/"), "li")
    browser.open_callback(of_li)
    of_wang = browser.sign_in_at_ciam(browser.start_sign_in("/wang/"), "wang")
    browser.open_callback(of_wang)

    assert browser.open_callback(of_wang)["Location"] == "/wang/"
    assert browser.open_callback(of_li)["Ciam-Error-Code"] == "mismatching_state"


def test_a_repeated_callback_checks_next_again(browser: Browser, settings: Settings) -> None:
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

    for other in (signed_in, anonymous):
        response = other.open_callback(callback)
        assert response["Ciam-Error-Code"] == "mismatching_state"
        assert 'href="/ciam/login/">Start again</a>' in response.content.decode()
    assert signed_in.user_id == before is not None
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


# --- Logout -----------------------------------------------------------------------------------


def test_a_logout_ends_the_session_here_and_at_ciam(browser: Browser, mode: str) -> None:
    browser.sign_in()
    id_token = decrypted_tokens(CiamSession.objects.get().sealed).id_token
    response = browser.client.post("/ciam/logout/")

    assert browser.user_id is None
    if mode == "oidc":
        assert response["Location"].startswith(browser.ciam.url)
        query = query_of(response["Location"])
        assert id_token.count(".") == 2
        assert query == {
            "post_logout_redirect_uri": "http://testserver/ciam/login/",
            "client_id": APP_ID,
            "id_token_hint": id_token,
        }
    else:
        assert response["Location"] == "/ciam/login/"
        assert browser.ciam.requests[-1].stage == "logout"
        assert not browser.ciam.access_tokens


def test_a_logout_with_expired_tokens_sends_no_tokens_to_ciam(browser: Browser, mode: str) -> None:
    browser.sign_in()
    tokens = decrypted_tokens(CiamSession.objects.get().sealed)
    gone = dataclasses.replace(tokens, expires_at=1.0, id_token="")
    CiamSession.objects.update(sealed=encrypted_tokens(gone))
    response = browser.client.post("/ciam/logout/")

    assert browser.user_id is None
    assert browser.ciam.requests[-1].stage != "logout"
    assert "id_token_hint" not in response["Location"]


def test_a_logout_succeeds_with_tokens_that_cannot_be_decrypted(browser: Browser) -> None:
    browser.sign_in()
    CiamSession.objects.update(sealed="not encrypted")

    assert browser.client.post("/ciam/logout/").status_code == 302
    assert browser.user_id is None


def test_logout_takes_only_a_post_with_a_csrf_token(browser: Browser) -> None:
    browser.sign_in()

    assert browser.client.get("/ciam/logout/").status_code == 405
    assert browser.user_id is not None
    assert Client(enforce_csrf_checks=True).post("/ciam/logout/").status_code == 403


def test_a_user_without_a_ciam_session_is_not_redirected_to_ciam(
    browser: Browser, settings: Settings
) -> None:
    settings.LOGOUT_REDIRECT_URL = "/bye/"
    user = get_user_model().objects.create_user("staff")
    browser.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")

    assert browser.client.post("/ciam/logout/")["Location"] == "/bye/"
    assert browser.client.post("/ciam/logout/", {"next": "/x/"})["Location"] == "/x/"


def test_a_logout_succeeds_while_ciam_is_down(
    browser: Browser, mode: str, settings: Settings
) -> None:
    browser.sign_in()
    settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
    cache.clear()
    browser.ciam.misbehave("discovery", "reset")
    browser.ciam.misbehave("logout", "reset")

    assert browser.client.post("/ciam/logout/")["Location"] == "/ciam/login/"
    assert browser.user_id is None


# --- The issuer of a callback (RFC 9207) ------------------------------------------------------

OURS = "https://ciam.example/oidc/app"
OTHER = "https://evil.example/oidc/app"
PROMISED = {"issuer": OURS, "authorization_response_iss_parameter_supported": True}
NOT_PROMISED = {"issuer": OURS}


@pytest.mark.parametrize(
    ("metadata", "returned_issuers"),
    [
        (PROMISED, [OURS]),
        (NOT_PROMISED, []),
        (NOT_PROMISED, [OURS]),
        ({**PROMISED, "authorization_response_iss_parameter_supported": "true"}, []),
        # CIAM's own mode has no metadata to compare with.
        ({}, []),
        ({}, [OTHER]),
    ],
)
def test_a_callback_from_the_issuer_in_the_metadata_is_accepted(
    metadata: dict[str, object], returned_issuers: list[str]
) -> None:
    refuse_other_issuer(metadata, returned_issuers)


@pytest.mark.parametrize(
    ("metadata", "returned_issuers"),
    [
        (PROMISED, []),
        *(
            (metadata, issuers)
            for metadata in (PROMISED, NOT_PROMISED)
            for issuers in (
                [OTHER],
                [""],
                [f"{OURS}/"],
                [OURS.upper()],
                [OURS, OTHER],
                [OTHER, OURS],
            )
        ),
    ],
)
def test_a_callback_from_another_issuer_is_refused(
    metadata: dict[str, object], returned_issuers: list[str]
) -> None:
    with pytest.raises(CiamError, match="mismatching_issuer"):
        refuse_other_issuer(metadata, returned_issuers)


oidc = pytest.mark.parametrize("mode", ["oidc"])


@oidc
def test_a_callback_with_the_right_issuer_signs_in(browser: Browser) -> None:
    browser.ciam.sends_issuer = True
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/next/"))

    assert f"iss={quote(browser.ciam.issuer, safe='')}" in callback
    assert browser.open_callback(callback)["Location"] == "/next/"


@oidc
@pytest.mark.parametrize("username", ["li", "fail:authorize:access_denied"])
@pytest.mark.parametrize("change", ["other", "missing"])
def test_a_wrong_or_missing_issuer_is_refused_if_the_metadata_promise_the_issuer(
    browser: Browser, username: str, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser.ciam.sends_issuer = True
    callback = browser.sign_in_at_ciam(browser.start_sign_in(), username)
    with_issuer = f"&iss={quote(browser.ciam.issuer, safe='')}"
    assert with_issuer in callback
    instead = {"other": f"&iss={quote(OTHER, safe='')}", "missing": ""}[change]
    with caplog.at_level(logging.DEBUG):
        response = browser.open_callback(callback.replace(with_issuer, instead))

    assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_issuer")
    assert b"evil" not in response.content
    assert "evil" not in caplog.text
    assert browser.user_id is None
    # The code has not been sent to CIAM.
    assert not [request for request in browser.ciam.requests if request.stage == "token"]


@oidc
def test_a_wrong_issuer_is_refused_if_the_metadata_promise_no_issuer(browser: Browser) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    response = browser.open_callback(f"{callback}&iss={quote(OTHER, safe='')}")

    assert response["Ciam-Error-Code"] == "mismatching_issuer"
    assert not [request for request in browser.ciam.requests if request.stage == "token"]


@oidc
def test_metadata_that_cannot_be_loaded_at_the_callback_are_answered_with_503(
    browser: Browser,
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    # Another process would not have loaded the metadata.
    conf.clear_settings_caches()
    cache.clear()
    browser.ciam.misbehave("discovery", "reset")
    response = browser.open_callback(callback)

    assert (response.status_code, response["Ciam-Error-Code"]) == (503, "no_connection")
