"""Tests of the sign-in at CIAM's login page and of the logout, with the fake CIAM."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.test import Client
from django.urls import resolve
from pytest_django.fixtures import Settings

from ciam_django import reporting
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import Tokens, decrypted_tokens, encrypted_tokens
from ciam_django.testing import FakeCiam
from ciam_django.testing.tenant import APP_ID
from tests.browser import Browser, query_of
from tests.login.test_state import age_state_cookies, state_cookie_names
from tests.rows import for_each_row

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"
LOCKED = "Operation.Failure.User.Locked"


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


def test_ciams_page_is_in_the_language_of_the_site_in_oidc_mode(
    browser: Browser, mode: str, settings: Settings
) -> None:
    def asked_languages(accepted: str) -> str | None:
        headers = {"accept-language": accepted}
        response = browser.client.post("/ciam/authorize/", headers=headers)
        return query_of(response["Location"]).get("ui_locales")

    in_chinese = {"oidc": "zh-Hant zh-TW zh", "ciam": None}[mode]
    assert asked_languages("zh-TW,zh;q=0.9,en;q=0.8") == in_chinese
    client = {**settings.AUTHLIB_OAUTH_CLIENTS["ciam"], "authorize_params": {"ui_locales": "ja"}}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    assert asked_languages("zh-TW") == "ja"


@pytest.mark.parametrize("second_name", ["li", "wang"])
def test_a_second_sign_in_ends_the_first_session_and_deletes_its_tokens(
    browser: Browser, second_name: str
) -> None:
    browser.sign_in("li")
    first = CiamSession.objects.get()
    assert first.sealed
    browser.sign_in(second_name)
    first.refresh_from_db()

    assert first.sealed == ""
    assert CiamSession.objects.active().count() == 1


def test_a_sign_in_without_next_redirects_to_login_redirect_url(
    browser: Browser, settings: Settings
) -> None:
    settings.LOGIN_REDIRECT_URL = "ciam:login"

    assert browser.sign_in()["Location"] == "/ciam/login/"


@pytest.mark.parametrize(
    "next_url", ["https://evil.example/", "//evil.example", "javascript:alert(1)"]
)
def test_a_next_of_another_site_or_scheme_is_replaced_by_the_default(
    browser: Browser, next_url: str
) -> None:
    page = browser.client.get("/ciam/login/", {"next": next_url})

    assert page.status_code == 200
    assert b"evil" not in page.content
    assert b"alert(1)" not in page.content
    assert browser.sign_in(next_url=next_url)["Location"] == "/accounts/profile/"


def test_a_next_of_more_than_512_bytes_is_replaced_by_the_default(browser: Browser) -> None:
    longest, too_long = "/" + "x" * 511, "/" + "x" * 512

    assert browser.sign_in(next_url=longest)["Location"] == longest
    assert browser.sign_in(next_url=too_long)["Location"] == "/accounts/profile/"


def test_a_next_that_is_a_relative_url_is_kept_unless_it_opens_the_callback(
    browser: Browser,
) -> None:
    assert browser.sign_in(next_url="../../cart/")["Location"] == "../../cart/"
    assert browser.sign_in(next_url="?")["Location"] == "/accounts/profile/"


def test_a_lone_surrogate_in_next_becomes_replacement_characters(browser: Browser) -> None:
    departure = browser.client.post(
        "/ciam/authorize/", b"next=/%ED%A0%80", content_type="application/x-www-form-urlencoded"
    )
    response = browser.open_callback(browser.sign_in_at_ciam(departure["Location"]))

    assert response["Location"] == "/" + 3 * "%EF%BF%BD"


def test_the_login_page_has_a_form_for_authorize_with_next(browser: Browser) -> None:
    page = browser.client.get("/ciam/login/?next=/admin/").content.decode()

    assert 'action="/ciam/authorize/"' in page
    assert 'value="/admin/"' in page


def test_the_login_page_cannot_be_framed(browser: Browser) -> None:
    assert browser.client.get("/ciam/login/")["X-Frame-Options"] == "DENY"


def test_authorize_requests_a_code_with_pkce_state_and_nonce(browser: Browser, mode: str) -> None:
    query, other_query = (query_of(browser.start_sign_in()) for _ in range(2))

    for name in ("state", "nonce", "code_challenge"):
        assert query[name] != other_query[name]
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["scope"] == {"oidc": "openid", "ciam": "USER_API"}[mode]
    assert len(query["state"]) >= 32
    assert len(query["nonce"]) >= 32
    assert len(query["code_challenge"]) == 43
    assert "response_mode" not in query


def test_authorize_takes_only_a_post_with_a_csrf_token(browser: Browser) -> None:
    strict = Client(enforce_csrf_checks=True)

    assert strict.post("/ciam/authorize/").status_code == 403
    assert browser.client.get("/ciam/authorize/").status_code == 405


def test_each_state_is_stored_in_its_own_encrypted_cookie(browser: Browser) -> None:
    states = [query_of(browser.start_sign_in("/admin/"))["state"] for _ in range(2)]
    names = state_cookie_names(browser.client.cookies)
    assert len(names) == len(set(states)) == 2
    for name in names:
        cookie = browser.client.cookies[name]

        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"
        assert cookie["path"] == "/ciam/"
        # The cookie lives longer than the state, so that a late callback can be recognized.
        assert cookie["max-age"] == 24 * 3600
        for secret in (*states, "/admin/"):
            assert secret not in name + cookie.value
    assert not Session.objects.exists()


@pytest.mark.parametrize("path", ["/ciam/callback/", "/ciam/authorize/", "/ciam/logout/"])
def test_a_next_of_this_package_is_replaced_by_the_default(browser: Browser, path: str) -> None:
    page = browser.client.get("/ciam/login/", {"next": path}).content.decode()
    assert 'name="next"' not in page

    assert browser.sign_in(next_url=path)["Location"] == "/accounts/profile/"


def test_abandoned_sign_ins_with_a_long_next_do_not_fill_the_header_of_the_browser(
    browser: Browser,
) -> None:
    for number in range(6):
        address = browser.start_sign_in(f"/{number}/{'x' * 500}")
    cookies = browser.client.cookies
    names = [name for name in cookies if name.startswith("ciam_") and cookies[name].value]
    header = "; ".join(f"{name}={cookies[name].value}" for name in names)

    assert len(header) < 4096
    assert browser.open_callback(browser.sign_in_at_ciam(address)).status_code == 302


def test_the_state_cookie_is_secure_under_https(ciam: FakeCiam) -> None:
    client = Client()
    response = client.post("/ciam/authorize/", secure=True)

    assert response.cookies[state_cookie_names(response.cookies)[0]]["secure"]


@pytest.mark.parametrize(("host", "status"), [("testserver", 302), ("evil.example", 403)])
def test_under_https_the_referer_of_a_form_is_checked(
    host: str, status: int, ciam: FakeCiam
) -> None:
    client = Client(enforce_csrf_checks=True)
    token = client.get("/ciam/login/", secure=True).cookies["csrftoken"].value
    response = client.post(
        "/ciam/authorize/",
        {"csrfmiddlewaretoken": token},
        secure=True,
        # Browsers send the query only within one origin.
        headers={"Referer": f"https://{host}/ciam/login/?next=/a/?b=c"},
    )

    assert response.status_code == status


def test_the_sixth_sign_in_deletes_the_cookie_of_the_oldest(browser: Browser) -> None:
    addresses = []
    for number in range(6):
        age_state_cookies(browser, 10)
        addresses.append(browser.start_sign_in(f"/{number}/"))

    assert len(state_cookie_names(browser.client.cookies)) == 5
    answers = [browser.open_callback(browser.sign_in_at_ciam(address)) for address in addresses]
    assert answers[0]["Ciam-Error-Code"] == "mismatching_state"
    assert [answer["Location"] for answer in answers[1:]] == [f"/{n}/" for n in range(1, 6)]


def test_two_sign_ins_of_a_browser_do_not_affect_each_other(browser: Browser) -> None:
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


def test_invalid_cookies_do_not_prevent_a_sign_in(browser: Browser) -> None:
    for name in ("ciam_state_", "ciam_state_x", "ciam_laps", "ciam_asked"):
        browser.client.cookies[name] = "\xff garbage"

    assert browser.sign_in(next_url="/next/")["Location"] == "/next/"


# --- Failures ---------------------------------------------------------------------------------


def test_the_page_says_that_an_account_is_locked(browser: Browser) -> None:
    response = browser.sign_in(f"fail:{LOCKED}")

    assert response.status_code == 403
    assert response["Content-Type"].startswith("text/html")
    assert "This account is locked. Contact support to unlock it." in response.content.decode()
    assert browser.user_id is None


def test_the_json_body_says_that_an_account_is_locked(browser: Browser) -> None:
    response = browser.sign_in(f"fail:{LOCKED}", accept="application/json")
    body = json_of(response)

    assert (response.status_code, body["code"]) == (403, LOCKED)
    # The id comes from CIAM, so CIAM's support can look up the request.
    assert "$" in str(body["request_id"])


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_locked_account_has_the_same_answer_with_any_status_and_content_type_of_ciam(
    browser: Browser, status: int, content_type: str
) -> None:
    browser.ciam.fail("token", code=LOCKED, status=status, content_type=content_type)
    response = browser.sign_in()

    assert (response.status_code, response["Ciam-Error-Code"]) == (403, LOCKED)
    assert response["Content-Type"].startswith("text/html")
    assert "This account is locked. Contact support to unlock it." in response.content.decode()


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
        ("errcode", "wechat.40029"),
    ],
)
def test_each_misbehaviour_of_ciam_has_a_code(browser: Browser, behaviour: str, code: str) -> None:
    browser.ciam.misbehave("token", behaviour)
    response = browser.sign_in()

    assert response["Ciam-Error-Code"] == code
    assert browser.user_id is None


@pytest.mark.slow("waits for deadlines")
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


def test_a_cancel_at_ciam_leads_to_the_login_page_with_a_neutral_notice(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    response = browser.sign_in("fail:authorize:access_denied", next_url="/cart/")

    assert (response.status_code, response["Location"]) == (302, "/ciam/login/?next=%2Fcart%2F")
    page = browser.client.get(response["Location"]).content.decode()
    assert 'role="status"><p>Sign-in was cancelled. Try again' in page
    assert 'role="alert"' not in page
    assert caplog.text.count("code=access_denied ") == 1


def test_a_front_end_reads_that_the_sign_in_was_cancelled(browser: Browser) -> None:
    response = browser.sign_in("fail:authorize:access_denied", accept="application/json")
    body = json.loads(response.content)

    assert (response.status_code, body["code"]) == (403, "access_denied")
    assert (body["title"], body["action"]) == ("Not signed in", "login")


def test_a_refusal_by_ciams_api_is_no_cancel(browser: Browser) -> None:
    browser.ciam.fail("token", code="access_denied")
    response = browser.sign_in()
    page = response.content.decode()

    assert response.status_code == 403
    assert 'role="alert"' in page
    assert '<h1 class="ciam-title">No access</h1>' in page
    assert "cancelled" not in page
    assert response["Ciam-Request-Id"] in page


def test_a_failed_sign_in_does_not_end_the_session(browser: Browser) -> None:
    browser.sign_in("li")
    before = browser.user_id
    browser.sign_in(f"fail:{LOCKED}")

    assert browser.user_id == before is not None


def test_a_code_and_an_email_address_in_a_text_of_ciam_are_neither_shown_nor_logged(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser.ciam.fail(
        "token", code="invalid_grant", text="Invalid code: MARKER-4711 of li@example.com"
    )
    response = browser.sign_in()

    assert response["Ciam-Error-Code"] == "invalid_grant"
    assert "ciam_django" in {record.name for record in caplog.records}
    for marker in ("MARKER-4711", "li@example.com"):
        assert marker not in response.content.decode() + str(response.headers) + caplog.text


def test_a_misconfiguration_is_answered_with_500_and_logged_without_traceback_and_mail(
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


@pytest.mark.parametrize("code", ["expired_token", "timeout"])
def test_the_page_of_a_failure_links_to_the_login_page_with_next(
    browser: Browser, code: str
) -> None:
    browser.ciam.fail("token", code=code)
    response = browser.sign_in(next_url="/admin/?a=b&c")

    assert response["Ciam-Error-Code"] == code
    assert 'href="/ciam/login/?next=%2Fadmin%2F%3Fa%3Db%26c"' in response.content.decode()


def test_the_page_of_a_locked_account_links_to_the_support_page(
    browser: Browser, settings: Settings
) -> None:
    settings.CIAM_SUPPORT_URL = "/help/"
    browser.ciam.fail("token", code=LOCKED)
    response = browser.sign_in(next_url="/admin/?a=b&c")

    assert response["Ciam-Error-Code"] == LOCKED
    assert 'href="/help/"' in response.content.decode()


def test_the_page_of_a_failure_does_not_contain_an_unsafe_next(browser: Browser) -> None:
    browser.ciam.fail("token", code="timeout")
    response = browser.sign_in(next_url="//evil.example")

    assert response["Ciam-Error-Code"] == "timeout"
    assert 'href="/ciam/login/"' in response.content.decode()
    assert "evil" not in response.content.decode()
    assert "next" not in response.content.decode()


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_failed_discovery_is_answered_with_503_at_authorize(browser: Browser) -> None:
    browser.ciam.misbehave("discovery", "html")
    response = browser.client.post("/ciam/authorize/")

    assert (response.status_code, response["Ciam-Error-Code"]) == (503, "unreadable_answer")
    assert browser.start_sign_in()


@pytest.mark.parametrize("mode", ["oidc"])
@for_each_row(
    "plan, expected",
    [
        (lambda ciam: ciam.fail("discovery", code="Resource.NotFound", status=404), (500, "ERROR")),
        (lambda ciam: ciam.fail("discovery", code="Resource.NotFound", status=200), (500, "ERROR")),
        (lambda ciam: ciam.unreachable("discovery", "tls_untrusted"), (500, "ERROR")),
        (lambda ciam: ciam.unreachable("discovery", "refused"), (503, "WARNING")),
        (lambda ciam: ciam.misbehave("discovery", "reset"), (503, "WARNING")),
        (lambda ciam: ciam.fail("discovery", code="server_error", status=502), (503, "WARNING")),
    ],
)
def test_a_wrong_metadata_url_is_our_misconfiguration_and_a_failure_there_is_ciams(
    plan: Callable[[FakeCiam], object],
    expected: tuple[int, str],
    ciam: FakeCiam,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ciam.reset()
    cache.clear()
    caplog.clear()
    reporting._last_logged.clear()
    plan(ciam)
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}
    with caplog.at_level(logging.INFO):
        response = Browser(ciam).client.post("/ciam/authorize/")

    records = [record for record in caplog.records if record.name == "ciam_django"]
    failures = [record for record in records if vars(record)["ciam_event"] == "failed"]
    (record,) = [record for record in failures if record.levelno > logging.INFO]
    assert (response.status_code, record.levelname) == expected
    host = urlsplit(ciam.client("oidc")["server_metadata_url"]).netloc
    assert f'["server_metadata_url"], host {host}: ' in record.getMessage()
    assert host not in response.content.decode()


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_user_of_an_issuer_with_a_slash_at_its_end_signs_in_and_is_signed_out(
    ciam: FakeCiam, db: None
) -> None:
    ciam.issuer_has_slash = ciam.sends_issuer = True
    first, second = Browser(ciam), Browser(ciam)
    assert first.sign_in().status_code == second.sign_in().status_code == 302
    assert first.user_id == second.user_id is not None
    assert CiamIdentity.objects.get().issuer == ciam.issuer
    assert ciam.issuer.endswith("/")

    token = ciam.sign_logout_token(sub=CiamIdentity.objects.get().subject)
    assert first.client.post("/ciam/logout/back/", {"logout_token": token}).status_code == 200
    assert not CiamSession.objects.active().exists()


# --- Logout -----------------------------------------------------------------------------------


def change_stored_tokens(**changes: Any) -> Tokens:
    """Change the stored tokens of the only session, and return the new tokens."""
    tokens = dataclasses.replace(decrypted_tokens(CiamSession.objects.get().sealed), **changes)
    CiamSession.objects.update(sealed=encrypted_tokens(tokens))
    return tokens


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize(
    "expiry", [{}, {"expires_at": 1.0}], ids=["valid_access_token", "expired_access_token"]
)
def test_an_oidc_logout_ends_the_session_here_and_redirects_to_ciam_with_the_id_token(
    browser: Browser, expiry: dict[str, float]
) -> None:
    browser.sign_in()
    # The hint does not depend on the expiry of the access token.
    tokens = change_stored_tokens(**expiry)
    response = browser.client.post("/ciam/logout/")

    assert browser.user_id is None
    assert response["Location"].startswith(browser.ciam.url)
    assert tokens.id_token.count(".") == 2
    assert query_of(response["Location"]) == {
        "post_logout_redirect_uri": "http://testserver/ciam/login/",
        "client_id": APP_ID,
        "id_token_hint": tokens.id_token,
    }


@pytest.mark.parametrize("mode", ["oidc"])
def test_an_oidc_logout_without_a_stored_id_token_redirects_to_ciam_without_a_hint(
    browser: Browser,
) -> None:
    browser.sign_in()
    change_stored_tokens(id_token="")
    response = browser.client.post("/ciam/logout/")

    assert browser.user_id is None
    assert query_of(response["Location"]) == {
        "post_logout_redirect_uri": "http://testserver/ciam/login/",
        "client_id": APP_ID,
    }


@pytest.mark.parametrize("mode", ["ciam"])
def test_a_logout_in_ciams_own_mode_ends_the_session_here_and_by_a_request_at_ciam(
    browser: Browser,
) -> None:
    browser.sign_in()
    assert browser.ciam.access_tokens
    response = browser.client.post("/ciam/logout/")

    assert browser.user_id is None
    assert response["Location"] == "/ciam/login/"
    assert browser.ciam.requests[-1].stage == "logout"
    assert not browser.ciam.access_tokens


@pytest.mark.parametrize("mode", ["ciam"])
def test_a_logout_in_ciams_own_mode_does_not_send_an_expired_access_token(
    browser: Browser,
) -> None:
    browser.sign_in()
    change_stored_tokens(expires_at=1.0)
    response = browser.client.post("/ciam/logout/")

    assert browser.user_id is None
    assert response["Location"] == "/ciam/login/"
    assert "logout" not in [request.stage for request in browser.ciam.requests]


def test_a_logout_succeeds_with_tokens_that_cannot_be_decrypted(browser: Browser) -> None:
    browser.sign_in()
    CiamSession.objects.update(sealed="not encrypted")
    response = browser.client.post("/ciam/logout/")

    assert response.status_code == 302
    assert "id_token_hint" not in query_of(response["Location"])
    assert browser.user_id is None


@pytest.mark.parametrize("is_ciam_session", [True, False])
def test_a_logout_by_a_script_returns_the_url_that_a_browser_would_follow(
    browser: Browser, is_ciam_session: bool
) -> None:
    def log_out(accept: str) -> Any:
        browser.sign_in()
        if not is_ciam_session:
            user, backend = User.objects.get(), "django.contrib.auth.backends.ModelBackend"
            browser.client.force_login(user, backend)
        return browser.client.post("/ciam/logout/?next=/bye/", headers={"Accept": accept})

    location = log_out("text/html")["Location"]
    response = log_out("application/json")

    assert response.status_code == 200
    assert response.json()["status"] == "redirect"
    # The id_token in the address is another one.
    assert response.json()["url"].partition("?")[0] == location.partition("?")[0]
    assert response["Cache-Control"] == "no-store"
    assert browser.user_id is None


@pytest.mark.parametrize("path", ["authorize", "logout", "unlink", "with/wechat-website"])
def test_a_script_without_a_csrf_token_gets_json(path: str, settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = {"wechat": {"website": {"app_id": "wx1", "source": "s"}}}
    client = Client(enforce_csrf_checks=True, headers={"Accept": "application/json"})
    response = client.post(f"/ciam/{path}/")

    assert (response.status_code, response.json()["code"]) == (403, "csrf_failed")


@pytest.mark.parametrize("path", ["authorize", "logout", "unlink"])
def test_a_malformed_accept_header_is_answered_with_a_redirect_or_a_failure(
    browser: Browser, path: str
) -> None:
    response = browser.client.post(f"/ciam/{path}/", headers={"Accept": "a/b; x*=nonsense''%ff"})

    assert response.status_code in (302, 401, 404)


def test_logout_takes_only_a_post_with_a_csrf_token(browser: Browser) -> None:
    browser.sign_in()

    assert browser.client.get("/ciam/logout/").status_code == 405
    assert browser.user_id is not None
    assert Client(enforce_csrf_checks=True).post("/ciam/logout/").status_code == 403


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_logout_behind_a_proxy_returns_to_the_origin_of_the_callback_url(
    browser: Browser, settings: Settings
) -> None:
    browser.sign_in()
    settings.CIAM_CALLBACK_URL = "https://shop.example/ciam/callback/"
    response = browser.client.post("/ciam/logout/")

    back_to = query_of(response["Location"])["post_logout_redirect_uri"]
    assert back_to == "https://shop.example/ciam/login/"


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_the_login_page_after_a_logout_says_once_that_the_user_is_signed_out(
    browser: Browser, accept: str
) -> None:
    browser.sign_in()
    browser.client.post("/ciam/logout/", headers={"Accept": accept})
    pages = [browser.client.get("/ciam/login/").content.decode() for _ in range(2)]

    sentence = '<div class="ciam-notice is-good" role="status"><p>You are signed out.</p></div>'
    assert [sentence in page for page in pages] == [True, False]


def test_a_user_without_a_ciam_session_is_not_redirected_to_ciam_at_logout(
    browser: Browser, settings: Settings
) -> None:
    settings.LOGOUT_REDIRECT_URL = "/bye/"
    user = get_user_model().objects.create_user("staff")
    browser.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")

    assert browser.client.post("/ciam/logout/")["Location"] == "/bye/"
    assert browser.client.post("/ciam/logout/", {"next": "/x/"})["Location"] == "/x/"


def test_a_logout_succeeds_and_is_logged_while_ciam_is_down(
    browser: Browser, mode: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    browser.sign_in()
    settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
    cache.clear()
    browser.ciam.misbehave("discovery", "reset")
    browser.ciam.misbehave("logout", "reset")
    caplog.clear()

    assert browser.client.post("/ciam/logout/")["Location"] == "/ciam/login/"
    assert browser.user_id is None
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "code=no_connection " in warning.getMessage()
    assert "stage=logout " in warning.getMessage()


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_sign_in_fails_at_once_with_the_waiting_time_after_ciam_was_silent(
    browser: Browser, settings: Settings
) -> None:
    settings.CIAM_TIMEOUT = 0.3
    browser.ciam.misbehave("discovery", "silent", times=None)
    first = browser.client.post("/ciam/authorize/")
    calls = len(browser.ciam.requests)
    second = browser.client.post("/ciam/authorize/")

    assert (first.status_code, first["Ciam-Error-Code"]) == (503, "timeout")
    assert (second.status_code, second["Ciam-Error-Code"]) == (503, "no_connection")
    assert 1 <= int(second["Retry-After"]) <= 10
    assert len(browser.ciam.requests) == calls


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("path", ["login", "authorize", "logout", "unlink", "logout/back"])
@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", FORM])
def test_a_large_form_is_refused_before_it_is_parsed(
    browser: Browser, path: str, content_type: str
) -> None:
    request = browser.client.post(f"/ciam/{path}/", b"a=" + b"b" * 16 * 1024, content_type)

    assert request.status_code == 400
    assert request["Ciam-Error-Code"] == "invalid_request"
    assert request.wsgi_request.POST == {}


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_form_with_a_length_of_many_digits_is_refused(browser: Browser) -> None:
    response = browser.client.post("/ciam/authorize/", "a=1", FORM, CONTENT_LENGTH="9" * 5000)

    assert (response.status_code, response["Ciam-Error-Code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("length", "code"), [(16 * 1024, "csrf_failed"), (16 * 1024 + 1, "invalid_request")]
)
def test_a_large_form_without_a_length_is_refused_under_asgi(length: int, code: str) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/ciam/authorize/",
        "query_string": b"",
        "headers": [(b"content-type", FORM.encode()), (b"transfer-encoding", b"chunked")],
    }
    request: Any = ASGIRequest(scope, io.BytesIO(b"a=".ljust(length, b"b")))
    request.user = AnonymousUser()
    request.session = SessionStore()
    response = resolve(request.path).func(request)

    assert response["Ciam-Error-Code"] == code
