"""The views, against a CIAM that answers over real HTTP."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from typing import cast

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.http import HttpResponse
from django.test import Client
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity
from ciam_django.login import state
from ciam_django.testing import FakeCiam
from ciam_django.testing.tenant import APP_ID
from tests.browser import HTML, Browser, query_of

pytestmark = pytest.mark.django_db

LOCKED = "Operation.Failure.User.Locked"


def states_in(cookies: SimpleCookie) -> list[str]:
    return [name for name in cookies if name.startswith("ciam_state_") and cookies[name].value]


def json_of(response: HttpResponse) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(response.content))


# --- The way in -------------------------------------------------------------------------------


def test_a_person_signs_in_and_goes_on_to_next(browser: Browser) -> None:
    response = browser.signs_in(next_url="/admin/")

    assert (response.status_code, response["Location"]) == (302, "/admin/")
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["Cache-Control"] == "no-store"
    identity = CiamIdentity.objects.get()
    assert browser.user_id == str(identity.user_id)
    assert identity.last_sign_in_at is not None


def test_the_same_person_is_the_same_user_the_next_time(ciam: FakeCiam) -> None:
    first, second, other = Browser(ciam), Browser(ciam), Browser(ciam)
    first.signs_in("li")
    second.signs_in("li")
    other.signs_in("wang")

    assert first.user_id == second.user_id != other.user_id
    assert get_user_model().objects.count() == 2


def test_without_next_the_way_goes_to_login_redirect_url(
    browser: Browser, settings: Settings
) -> None:
    settings.LOGIN_REDIRECT_URL = "ciam:login"

    assert browser.signs_in()["Location"] == "/ciam/login/"


@pytest.mark.parametrize(
    "next_url",
    ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/" + "x" * 1100, "\ud800"],
)
def test_a_next_that_leads_elsewhere_means_the_default(browser: Browser, next_url: str) -> None:
    page = browser.client.get("/ciam/login/", {"next": next_url.encode(errors="replace")})
    response = browser.signs_in(next_url=next_url.encode(errors="replace").decode())

    assert b"evil" not in page.content
    assert response["Location"] in ("/accounts/profile/", "/%3F", "?")


def test_the_login_page_leads_to_authorize_and_keeps_next(browser: Browser) -> None:
    page = browser.client.get("/ciam/login/?next=/admin/").content.decode()

    assert 'action="/ciam/authorize/"' in page
    assert 'value="/admin/"' in page


def test_leaving_asks_for_a_code_with_pkce_state_and_nonce(browser: Browser, mode: str) -> None:
    asked = query_of(browser.leaves())

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
    state = query_of(browser.leaves("/admin/"))["state"]
    name = states_in(browser.client.cookies)[0]
    cookie = browser.client.cookies[name]

    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/ciam/"
    assert cookie["max-age"] == 600
    assert state not in name + cookie.value
    assert not Session.objects.exists()


def test_the_cookie_is_secure_under_https(ciam: FakeCiam) -> None:
    client = Client()
    response = client.post("/ciam/authorize/", secure=True)

    assert response.cookies[states_in(response.cookies)[0]]["secure"]


def test_a_sixth_tab_drops_the_oldest(browser: Browser) -> None:
    addresses = [browser.leaves() for _ in range(7)]

    assert len(states_in(browser.client.cookies)) == 5
    assert browser.comes_back(browser.identifies(addresses[-1])).status_code == 302


def test_tabs_do_not_disturb_each_other(browser: Browser) -> None:
    first, second = browser.leaves("/first/"), browser.leaves("/second/")

    assert browser.comes_back(browser.identifies(second))["Location"] == "/second/"
    assert browser.comes_back(browser.identifies(first))["Location"] == "/first/"


def test_the_session_key_changes(browser: Browser) -> None:
    session = browser.client.session
    session["cart"] = "full"
    session.save()
    browser.client.cookies["sessionid"] = session.session_key or ""
    browser.signs_in()

    assert browser.client.session.session_key != session.session_key
    assert browser.client.session["cart"] == "full"


# --- Failures ---------------------------------------------------------------------------------


def test_a_locked_account_reads_so_on_the_page(browser: Browser) -> None:
    response = browser.signs_in(f"fail:{LOCKED}")

    assert response.status_code == 403
    assert response["Content-Type"].startswith("text/html")
    assert "This account is locked. Contact support to unlock it." in response.content.decode()
    assert browser.user_id is None
    assert not states_in(browser.client.cookies)


def test_a_locked_account_reads_so_in_json(browser: Browser) -> None:
    response = browser.signs_in(f"fail:{LOCKED}", accept="application/json")
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

    assert browser.signs_in()["Ciam-Error-Code"] == LOCKED


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
    response = browser.signs_in()

    assert response["Ciam-Error-Code"] == code
    assert browser.user_id is None


@pytest.mark.parametrize(
    "behaviour", ["slow", "silent", "drip_status", "drip_headers", "drip_body"]
)
def test_ciam_has_only_so_much_time(browser: Browser, behaviour: str, settings: Settings) -> None:
    settings.CIAM_TIMEOUT = 0.3
    browser.ciam.misbehave("token", behaviour)

    assert browser.signs_in()["Ciam-Error-Code"] == "timeout"


def test_a_cancelled_sign_in_may_be_begun_again(browser: Browser) -> None:
    response = browser.signs_in("fail:authorize:access_denied")

    assert response["Ciam-Error-Code"] == "access_denied"
    assert 'href="/ciam/login/"' in response.content.decode()


def test_a_failed_sign_in_signs_nobody_out(browser: Browser) -> None:
    browser.signs_in("li")
    before = browser.user_id
    browser.signs_in(f"fail:{LOCKED}")

    assert browser.user_id == before is not None


def test_nothing_that_ciam_wrote_is_shown(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser.ciam.fail(
        "token", code="invalid_grant", text="Invalid code: MARKER-4711 of li@example.com"
    )
    response = browser.signs_in()

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


@pytest.mark.parametrize("mode", ["oidc"])
def test_discovery_that_fails_is_answered_at_authorize(browser: Browser) -> None:
    browser.ciam.misbehave("discovery", "html")
    response = browser.client.post("/ciam/authorize/")

    assert (response.status_code, response["Ciam-Error-Code"]) == (503, "unreadable_answer")
    assert browser.leaves()


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
    browser.signs_in()
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
    assert not theirs.cookies
    assert all(r.levelno <= logging.INFO for r in caplog.records if r.name == "ciam_django")
    assert not [r for r in caplog.records if r.name == "django.request"]


@pytest.mark.parametrize("username", ["li", f"fail:{LOCKED}", "fail:invalid_client", "html:token"])
def test_a_state_is_good_for_once(browser: Browser, username: str) -> None:
    callback = browser.identifies(browser.leaves("/next/"), username)
    cookies = dict(browser.client.cookies)
    browser.comes_back(callback)
    # As if the browser had kept the cookie.
    again = Client(headers={"Accept": HTML})
    for name, morsel in cookies.items():
        if name.startswith("ciam_state_"):
            again.cookies[name] = morsel.value
    browser.client = again

    assert browser.comes_back(callback)["Ciam-Error-Code"] == "mismatching_state"


def test_of_two_callbacks_at_once_one_is_the_first(browser: Browser) -> None:
    begun = state.begun(next_url="")
    with ThreadPoolExecutor(8) as pool:
        firsts = list(pool.map(state.spend, [begun] * 8))

    assert firsts.count(True) == 1


def test_the_browser_that_was_signed_in_by_it_goes_on_when_the_callback_repeats(
    browser: Browser,
) -> None:
    callback = browser.identifies(browser.leaves("/next/"))
    browser.comes_back(callback)

    assert browser.comes_back(callback)["Location"] == "/next/"
    browser.client.logout()
    assert browser.comes_back(callback)["Ciam-Error-Code"] == "mismatching_state"


def test_another_browser_cannot_use_the_state(browser: Browser, ciam: FakeCiam) -> None:
    callback = browser.identifies(browser.leaves())
    other = Browser(ciam)

    assert other.comes_back(callback)["Ciam-Error-Code"] == "mismatching_state"
    assert other.user_id is None
    # What another browser does takes nothing from this one.
    assert browser.comes_back(callback).status_code == 302


def test_a_callback_without_a_code_is_refused(browser: Browser) -> None:
    state = query_of(browser.leaves())["state"]
    response = browser.client.get("/ciam/callback/", {"state": state})

    assert response["Ciam-Error-Code"] == "missing_code"


class BrokenCache(BaseCache):
    """A cache whose server is down."""

    def add(self, *args: object, **kwargs: object) -> bool:
        raise ConnectionError("no route to secret-host")


def test_a_cache_that_is_down_lets_people_in(
    browser: Browser, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}

    assert browser.signs_in().status_code == 302
    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    assert [r.name for r in warnings] == ["ciam_django"]
    assert "cache is down" in warnings[0].getMessage()
    assert "secret-host" not in caplog.text


# --- The way out ------------------------------------------------------------------------------


def test_signing_out_ends_the_session_here_and_at_ciam(browser: Browser, mode: str) -> None:
    browser.signs_in()
    response = browser.client.post("/ciam/logout/")

    assert browser.user_id is None
    if mode == "oidc":
        assert response["Location"].startswith(browser.ciam.url)
        asked = query_of(response["Location"])
        assert asked == {
            "post_logout_redirect_uri": "http://testserver/ciam/login/",
            "client_id": APP_ID,
        }
    else:
        assert response["Location"] == "/ciam/login/"


def test_signing_out_is_a_post_with_csrf(browser: Browser) -> None:
    browser.signs_in()

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
    browser.signs_in()
    settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
    cache.clear()
    browser.ciam.misbehave("discovery", "reset")

    assert browser.client.post("/ciam/logout/")["Location"] == "/ciam/login/"
    assert browser.user_id is None
