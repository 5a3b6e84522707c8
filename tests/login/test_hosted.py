"""The views, against a CIAM that answers over real HTTP."""

from __future__ import annotations

import dataclasses
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from typing import Any, cast
from urllib.parse import urlsplit

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

from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.tokens import decrypted_tokens, encrypted_tokens
from ciam_django.login import state
from ciam_django.testing import FakeCiam
from ciam_django.testing.tenant import APP_ID
from tests.browser import HTML, Browser, query_of
from tests.login.test_state import aged

pytestmark = pytest.mark.django_db

LOCKED = "Operation.Failure.User.Locked"


def states_in(cookies: SimpleCookie) -> list[str]:
    return [name for name in cookies if name.startswith("ciam_state_") and cookies[name].value]


def make_older(browser: Browser, seconds: int) -> None:
    """Age the states of a browser."""
    for name in states_in(browser.client.cookies):
        browser.client.cookies[name] = aged(browser.client.cookies[name].value, seconds)


def json_of(response: HttpResponse) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(response.content))


# --- The way in -------------------------------------------------------------------------------


def test_a_person_signs_in_and_goes_on_to_next(browser: Browser) -> None:
    response = browser.sign_in(next_url="/admin/")

    assert (response.status_code, response["Location"]) == (302, "/admin/")
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["Cache-Control"] == "no-store"
    identity = CiamIdentity.objects.get()
    assert browser.user_id == str(identity.user_id)
    assert identity.sessions.count() == 1


def test_the_same_person_is_the_same_user_the_next_time(ciam: FakeCiam) -> None:
    first, second, other = Browser(ciam), Browser(ciam), Browser(ciam)
    first.sign_in("li")
    second.sign_in("li")
    other.sign_in("wang")

    assert first.user_id == second.user_id != other.user_id
    assert get_user_model().objects.count() == 2


def test_without_next_the_way_goes_to_login_redirect_url(
    browser: Browser, settings: Settings
) -> None:
    settings.LOGIN_REDIRECT_URL = "ciam:login"

    assert browser.sign_in()["Location"] == "/ciam/login/"


@pytest.mark.parametrize(
    "next_url",
    ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/" + "x" * 1100, "\ud800"],
)
def test_a_next_that_leads_elsewhere_means_the_default(browser: Browser, next_url: str) -> None:
    page = browser.client.get("/ciam/login/", {"next": next_url.encode(errors="replace")})
    response = browser.sign_in(next_url=next_url.encode(errors="replace").decode())

    assert b"evil" not in page.content
    assert response["Location"] in ("/accounts/profile/", "/%3F", "?")


def test_the_login_page_leads_to_authorize_and_keeps_next(browser: Browser) -> None:
    page = browser.client.get("/ciam/login/?next=/admin/").content.decode()

    assert 'action="/ciam/authorize/"' in page
    assert 'value="/admin/"' in page


def test_leaving_asks_for_a_code_with_pkce_state_and_nonce(browser: Browser, mode: str) -> None:
    asked = query_of(browser.start_sign_in())

    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"] == {"oidc": "openid", "ciam": "USER_API"}[mode]
    assert len(asked["state"]) >= 32
    assert len(asked["code_challenge"]) == 43
    assert "response_mode" not in asked


def test_leaving_is_a_post_with_csrf(browser: Browser) -> None:
    strict = Client(enforce_csrf_checks=True)

    assert strict.post("/ciam/authorize/").status_code == 403
    assert browser.client.get("/ciam/authorize/").status_code == 405


def test_the_state_travels_in_a_sealed_cookie_of_its_own(browser: Browser) -> None:
    state = query_of(browser.start_sign_in("/admin/"))["state"]
    name = states_in(browser.client.cookies)[0]
    cookie = browser.client.cookies[name]

    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/ciam/"
    # Longer than it is good for, or nobody could tell who is late.
    assert cookie["max-age"] == 24 * 3600
    assert state not in name + cookie.value
    assert not Session.objects.exists()


def test_the_cookie_is_secure_under_https(ciam: FakeCiam) -> None:
    client = Client()
    response = client.post("/ciam/authorize/", secure=True)

    assert response.cookies[states_in(response.cookies)[0]]["secure"]


def test_a_sixth_tab_drops_the_oldest(browser: Browser) -> None:
    addresses = []
    for number in range(6):
        make_older(browser, 10)
        addresses.append(browser.start_sign_in(f"/{number}/"))

    assert len(states_in(browser.client.cookies)) == 5
    answers = [browser.open_callback(browser.sign_in_at_ciam(address)) for address in addresses]
    assert answers[0]["Ciam-Error-Code"] == "mismatching_state"
    assert [answer["Location"] for answer in answers[1:]] == [f"/{n}/" for n in range(1, 6)]


def test_tabs_do_not_disturb_each_other(browser: Browser) -> None:
    first, second = browser.start_sign_in("/first/"), browser.start_sign_in("/second/")

    assert browser.open_callback(browser.sign_in_at_ciam(second))["Location"] == "/second/"
    assert browser.open_callback(browser.sign_in_at_ciam(first))["Location"] == "/first/"


def test_the_session_key_changes(browser: Browser) -> None:
    session = browser.client.session
    session["cart"] = "full"
    session.save()
    browser.client.cookies["sessionid"] = session.session_key or ""
    browser.sign_in()

    assert browser.client.session.session_key != session.session_key
    assert browser.client.session["cart"] == "full"


# --- Failures ---------------------------------------------------------------------------------


def test_a_locked_account_reads_so_on_the_page(browser: Browser) -> None:
    response = browser.sign_in(f"fail:{LOCKED}")

    assert response.status_code == 403
    assert response["Content-Type"].startswith("text/html")
    assert "This account is locked. Contact support to unlock it." in response.content.decode()
    assert browser.user_id is None
    assert not states_in(browser.client.cookies)


def test_a_locked_account_reads_so_in_json(browser: Browser) -> None:
    response = browser.sign_in(f"fail:{LOCKED}", accept="application/json")
    body = json_of(response)

    assert (response.status_code, body["code"]) == (403, LOCKED)
    # CIAM's own, which its support can look up.
    assert "$" in str(body["request_id"])


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_failure_in_any_wrapping_is_the_same_answer(
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
def test_misbehaviour_has_a_code(browser: Browser, behaviour: str, code: str) -> None:
    browser.ciam.misbehave("token", behaviour)
    response = browser.sign_in()

    assert response["Ciam-Error-Code"] == code
    assert browser.user_id is None


@pytest.mark.parametrize(
    "behaviour", ["slow", "silent", "drip_status", "drip_headers", "drip_body"]
)
def test_ciam_has_only_so_much_time(browser: Browser, behaviour: str, settings: Settings) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    browser.ciam.misbehave("token", behaviour)
    settings.CIAM_TIMEOUT = 0.3

    assert browser.open_callback(callback)["Ciam-Error-Code"] == "timeout"


def test_a_cancelled_sign_in_may_be_begun_again(browser: Browser) -> None:
    response = browser.sign_in("fail:authorize:access_denied")

    assert response["Ciam-Error-Code"] == "access_denied"
    assert 'href="/ciam/login/"' in response.content.decode()


def test_a_failed_sign_in_signs_nobody_out(browser: Browser) -> None:
    browser.sign_in("li")
    before = browser.user_id
    browser.sign_in(f"fail:{LOCKED}")

    assert browser.user_id == before is not None


def test_nothing_that_ciam_wrote_is_shown(
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


def test_our_misconfiguration_is_a_500_without_a_traceback(
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
def test_whoever_tries_again_still_goes_on_to_next(
    browser: Browser, settings: Settings, code: str, way_out: str
) -> None:
    settings.CIAM_SUPPORT_URL = "/help/"
    browser.ciam.fail("token", code=code)
    response = browser.sign_in(next_url="/admin/?a=b&c")

    assert f'href="{way_out}"' in response.content.decode()
    assert "next" not in browser.sign_in(next_url="//evil.example").content.decode()


@pytest.mark.parametrize("mode", ["oidc"])
def test_discovery_that_fails_is_answered_at_authorize(browser: Browser) -> None:
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
def test_a_callback_without_a_state_of_ours_changes_nothing(
    browser: Browser, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser.sign_in()
    before = browser.user_id
    stranger = Client()
    with caplog.at_level(logging.DEBUG):
        caplog.clear()
        ours = browser.client.get(f"/ciam/callback/{query}", headers={"Accept": HTML})
        theirs = stranger.get(f"/ciam/callback/{query}", headers={"Accept": HTML})

    for response in (ours, theirs):
        assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_state")
        assert b"call me" not in response.content
    assert browser.user_id == before
    assert not ours.cookies
    assert not theirs.cookies
    assert Session.objects.count() == 1
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert [r.name for r in caplog.records if r.levelno == logging.INFO] == ["ciam_django"] * 2


def with_state_of(browser: Browser) -> Browser:
    """A browser that has nothing but the states of another one, as they are now."""
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
def test_a_state_is_good_for_once_whatever_the_answer(
    browser: Browser, username: str, status: int
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/next/"), username)
    # Who keeps the cookie, against our word.
    again = with_state_of(browser)

    assert browser.open_callback(callback).status_code == status
    assert not states_in(browser.client.cookies)
    asked = len(browser.ciam.requests)
    for _ in range(2):
        response = again.open_callback(callback)
        assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert again.user_id is None
    assert len(browser.ciam.requests) == asked


def test_of_two_callbacks_at_once_one_signs_in_and_the_other_asks_again(
    ciam: FakeCiam, live_server: LiveServer
) -> None:
    callback, cookies = _begun_at(live_server.url, ciam)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _got(callback, cookies), range(8)))

    (first,) = (answer for answer in answers if answer.status_code == 302)
    assert first.headers["Location"] == "/next/"
    assert "sessionid" in first.cookies
    for answer in answers:
        if answer is not first:
            assert answer.headers["Ciam-Error-Code"] == "mismatching_state"
            # Once: the second time, there is no cookie.
            assert answer.headers["Refresh"] == "2"
            assert "Max-Age=0" in answer.headers["Set-Cookie"]
            assert "sessionid" not in answer.cookies
    assert [asked.stage for asked in ciam.requests].count("token") == 1
    assert "Refresh" not in _got(callback, {}).headers


def _begun_at(site: str, ciam: FakeCiam) -> tuple[str, dict[str, str]]:
    """The callback of a sign-in, and the cookies of the browser that began it."""
    with requests.Session() as session:
        page = session.get(f"{site}/ciam/login/", timeout=60).text
        token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        left = session.post(
            f"{site}/ciam/authorize/",
            {"csrfmiddlewaretoken": token, "next": "/next/"},
            allow_redirects=False,
            timeout=60,
        )
        return ciam.authorize(left.headers["Location"]), session.cookies.get_dict()


def _got(address: str, cookies: dict[str, str]) -> requests.Response:
    # Closed, or the server's threads would outlive the test, and with it the database.
    headers = {"Accept": HTML, "Connection": "close"}
    return requests.get(
        address, cookies=cookies, headers=headers, allow_redirects=False, timeout=60
    )


@pytest.mark.parametrize(("age", "status"), [(599, 302), (601, 400)])
def test_a_sign_in_has_ten_minutes(browser: Browser, age: int, status: int) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    make_older(browser, age)

    assert browser.open_callback(callback).status_code == status
    assert (browser.user_id is None) is (status == 400)


def test_the_state_of_another_provider_is_refused(browser: Browser) -> None:
    begun = state.new_sign_in_state(next_url="", provider="wechat")
    response = HttpResponse()
    state.set_state_cookie(RequestFactory().get("/"), response, begun)
    for name, morsel in response.cookies.items():
        browser.client.cookies[name] = morsel.value
    answer = browser.client.get("/ciam/callback/", {"state": begun.state, "code": "c"})

    assert answer["Ciam-Error-Code"] == "mismatching_state"
    assert not browser.ciam.requests


def test_keys_rotate_while_a_person_is_at_ciam(browser: Browser, settings: Settings) -> None:
    kept, lost = (browser.sign_in_at_ciam(browser.start_sign_in()) for _ in range(2))
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "new"
    assert browser.open_callback(kept).status_code == 302

    settings.SECRET_KEY_FALLBACKS = []
    assert browser.open_callback(lost)["Ciam-Error-Code"] == "mismatching_state"


def test_garbage_among_the_cookies_disturbs_nobody(browser: Browser) -> None:
    for name in ("ciam_state_", "ciam_state_x", "ciam_laps", "ciam_asked"):
        browser.client.cookies[name] = "\xff garbage"

    assert browser.sign_in(next_url="/next/")["Location"] == "/next/"


def test_the_browser_that_was_signed_in_by_it_goes_on_when_the_callback_repeats(
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


def test_each_tab_that_signed_in_goes_on_to_its_own_next(browser: Browser) -> None:
    callbacks = []
    for number in range(6):
        callbacks.append(browser.sign_in_at_ciam(browser.start_sign_in(f"/{number}/")))
        browser.open_callback(callbacks[-1])
    # As many as can be under way at once.
    assert browser.open_callback(callbacks.pop(0))["Ciam-Error-Code"] == "mismatching_state"

    answers = [browser.open_callback(callback) for callback in callbacks]
    assert [answer["Location"] for answer in answers] == ["/1/", "/2/", "/3/", "/4/", "/5/"]


def test_who_was_signed_in_before_someone_else_is_remembered_no_more(browser: Browser) -> None:
    of_li = browser.sign_in_at_ciam(browser.start_sign_in("/li/"), "li")
    browser.open_callback(of_li)
    of_wang = browser.sign_in_at_ciam(browser.start_sign_in("/wang/"), "wang")
    browser.open_callback(of_wang)

    assert browser.open_callback(of_wang)["Location"] == "/wang/"
    assert browser.open_callback(of_li)["Ciam-Error-Code"] == "mismatching_state"


def test_what_next_was_is_checked_again_when_the_callback_repeats(
    browser: Browser, settings: Settings
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in("http://testserver/next/"))
    browser.open_callback(callback)
    settings.ALLOWED_HOSTS = ["*"]
    parts = urlsplit(callback)
    again = browser.client.get(f"{parts.path}?{parts.query}", headers={"Host": "other.example"})

    assert again["Location"] == "/accounts/profile/"


def test_another_browser_cannot_use_the_state(browser: Browser, ciam: FakeCiam) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    signed_in, stranger = Browser(ciam), Browser(ciam)
    signed_in.sign_in("wang")
    before = signed_in.user_id

    for other in (signed_in, stranger):
        response = other.open_callback(callback)
        assert response["Ciam-Error-Code"] == "mismatching_state"
        assert 'href="/ciam/login/">Start again</a>' in response.content.decode()
    assert signed_in.user_id == before is not None
    assert stranger.user_id is None
    # What another browser does takes nothing from this one.
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


def test_a_cache_that_is_down_lets_people_in(
    browser: Browser, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}

    assert browser.sign_in().status_code == 302
    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    assert [r.name for r in warnings] == ["ciam_django"]
    assert "cache is down (<class 'ConnectionError'>)" in warnings[0].getMessage()
    assert "secret-host" not in caplog.text


def test_a_cache_that_is_down_makes_no_noise_for_strangers(
    browser: Browser, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}
    response = browser.client.get("/ciam/callback/?state=x&code=y")

    assert response["Ciam-Error-Code"] == "mismatching_state"
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


# --- The way out ------------------------------------------------------------------------------


def test_signing_out_ends_the_session_here_and_at_ciam(browser: Browser, mode: str) -> None:
    browser.sign_in()
    id_token = decrypted_tokens(CiamSession.objects.get().sealed).id_token
    response = browser.client.post("/ciam/logout/")

    assert browser.user_id is None
    if mode == "oidc":
        assert response["Location"].startswith(browser.ciam.url)
        asked = query_of(response["Location"])
        assert id_token.count(".") == 2
        assert asked == {
            "post_logout_redirect_uri": "http://testserver/ciam/login/",
            "client_id": APP_ID,
            "id_token_hint": id_token,
        }
    else:
        assert response["Location"] == "/ciam/login/"
        assert browser.ciam.requests[-1].stage == "logout"
        assert not browser.ciam.access_tokens


def test_who_holds_no_good_token_is_not_signed_out_at_ciam(browser: Browser, mode: str) -> None:
    browser.sign_in()
    tokens = decrypted_tokens(CiamSession.objects.get().sealed)
    gone = dataclasses.replace(tokens, expires_at=1.0, id_token="")
    CiamSession.objects.update(sealed=encrypted_tokens(gone))
    response = browser.client.post("/ciam/logout/")

    assert browser.user_id is None
    assert browser.ciam.requests[-1].stage != "logout"
    assert "id_token_hint" not in response["Location"]


def test_what_no_key_opens_keeps_nobody_from_signing_out(browser: Browser) -> None:
    browser.sign_in()
    CiamSession.objects.update(sealed="nothing that anybody sealed")

    assert browser.client.post("/ciam/logout/").status_code == 302
    assert browser.user_id is None


def test_signing_out_is_a_post_with_csrf(browser: Browser) -> None:
    browser.sign_in()

    assert browser.client.get("/ciam/logout/").status_code == 405
    assert browser.user_id is not None
    assert Client(enforce_csrf_checks=True).post("/ciam/logout/").status_code == 403


def test_who_did_not_sign_in_at_ciam_is_not_sent_there(
    browser: Browser, settings: Settings
) -> None:
    settings.LOGOUT_REDIRECT_URL = "/bye/"
    user = get_user_model().objects.create_user("staff")
    browser.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")

    assert browser.client.post("/ciam/logout/")["Location"] == "/bye/"
    assert browser.client.post("/ciam/logout/", {"next": "/x/"})["Location"] == "/x/"


def test_signing_out_works_while_ciam_is_down(
    browser: Browser, mode: str, settings: Settings
) -> None:
    browser.sign_in()
    settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
    cache.clear()
    browser.ciam.misbehave("discovery", "reset")
    browser.ciam.misbehave("logout", "reset")

    assert browser.client.post("/ciam/logout/")["Location"] == "/ciam/login/"
    assert browser.user_id is None
