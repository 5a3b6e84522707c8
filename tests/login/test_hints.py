"""Tests of the hints on the page of a refused callback and of a form without a valid token."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client, RequestFactory
from django.utils.translation import override
from pytest_django.fixtures import Settings

from ciam_django.login import state
from ciam_django.login.hints import HINT_TEXTS, Hint, hint_text, user_agent
from ciam_django.testing import FakeCiam
from tests.browser import HTML, Browser, query_of
from tests.login.test_api import AGREED
from tests.login.test_state import age_state_cookies

pytestmark = pytest.mark.django_db

IN_APP = {
    "WeChat on iOS": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI",
    "WeChat on Windows": "Mozilla/5.0 (Windows NT 10.0; WOW64) AppleWebKit/537.36 (KHTML, like "
    "Gecko) Chrome/116.0.0.0 Safari/537.36 MicroMessenger/7.0.20 WindowsWechat/WMPF",
    "Alipay": "Mozilla/5.0 (Linux; U; Android 13) AppleWebKit/537.36 Version/4.0 Chrome/105.0 "
    "UWS/5.15 Mobile Safari/537.36 AliApp(AP/10.5.0) AlipayClient/10.5.0",
    "DingTalk": "Mozilla/5.0 (iPhone; CPU iPhone OS 16_0 like Mac OS X) AppleWebKit/605.1.15 "
    "Mobile/15E148 AliApp(DingTalk/7.0.40) com.laiwang.DingTalk/30 Channel/201200",
    "QQ": "Mozilla/5.0 (Linux; Android 12) AppleWebKit/537.36 Version/4.0 Chrome/98.0 "
    "MQQBrowser/6.2 TBS/046 Mobile Safari/537.36 V1_AND_SQ_8.9.0 QQ/8.9.0.8 NetType/WIFI",
    "Weibo": "Mozilla/5.0 (Linux; Android 12) AppleWebKit/537.36 Version/4.0 Chrome/100.0 Mobile "
    "Safari/537.36 Weibo (Redmi-M2012K11AC__weibo__12.9.0__android__android12)",
    "Line": "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/124.0 Mobile Safari/537.36 "
    "Line/14.7.0/IAB",
    "Facebook": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 "
    "Mobile/15E148 [FBAN/FBIOS;FBAV/460.0.0.31.103;FBBV/586]",
    "any app on Android": "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 "
    "Version/4.0 Chrome/124.0 Mobile Safari/537.36",
    "any app on iOS": "Mozilla/5.0 (iPad; CPU OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "
    "like Gecko) Mobile/15E148",
}
BROWSERS = {
    "Safari": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "
    "like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Chrome on iOS": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) CriOS/125.0 Mobile/15E148 Safari/604.1",
    "Chrome on Android": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like "
    "Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
    "QQ Browser": "Mozilla/5.0 (Linux; U; Android 12; zh-cn) AppleWebKit/537.36 Version/4.0 "
    "Chrome/89.0 MQQBrowser/13.5 Mobile Safari/537.36",
    "UC Browser": "Mozilla/5.0 (Linux; U; Android 12; zh-CN) AppleWebKit/537.36 Version/4.0 "
    "Chrome/100.0 UCBrowser/15.5 Mobile Safari/537.36",
    "Firefox": "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0",
    "Edge": "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/124.0 Safari/537.36 Edg/124.0",
    "none": "",
}
AS_PAGE = {"Accept": HTML, "Sec-Fetch-Dest": "document"}


def hint_in(response: Any) -> Hint | None:
    """Return the hint on the page of a callback, and check that the page has the usual error."""
    assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert 'href="/ciam/login/">Start again</a>' in response.content.decode()
    return shown_hint(response)


def shown_hint(response: Any) -> Hint | None:
    content = response.content.decode()
    hints = [hint for hint in Hint if f'<p class="ciam-hint">{_escaped(hint)}</p>' in content]
    assert len(hints) == content.count("ciam-hint")
    return hints[0] if hints else None


def _escaped(hint: Hint) -> str:
    return hint_text(hint).replace("'", "&#x27;")


@pytest.fixture
def callback(browser: Browser) -> str:
    """The URL of the callback of a sign-in in ``browser``."""
    return browser.sign_in_at_ciam(browser.start_sign_in())


@pytest.mark.parametrize("app", IN_APP)
def test_the_browser_inside_an_app_is_recognized(ciam: FakeCiam, callback: str, app: str) -> None:
    response = Browser(ciam).open_callback(callback, **{"User-Agent": IN_APP[app]})

    assert hint_in(response) is Hint.IN_APP_BROWSER


@pytest.mark.parametrize("name", BROWSERS)
def test_other_browsers_are_not_taken_for_an_app(ciam: FakeCiam, callback: str, name: str) -> None:
    response = Browser(ciam).open_callback(callback, **{"User-Agent": BROWSERS[name]})

    assert hint_in(response) is Hint.OTHER_BROWSER


def test_a_browser_with_another_sign_in_gets_the_hint_of_another_browser(
    ciam: FakeCiam, callback: str
) -> None:
    other = Browser(ciam)
    other.start_sign_in()

    assert hint_in(other.open_callback(callback, **AS_PAGE)) is Hint.OTHER_BROWSER


@pytest.mark.parametrize("agent", ["", IN_APP["WeChat on iOS"]])
def test_each_late_callback_gets_the_hint_that_the_sign_in_has_expired(
    browser: Browser, agent: str
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    age_state_cookies(browser, 601)

    for _ in range(2):
        response = browser.open_callback(callback, **{"User-Agent": agent})
        assert hint_in(response) is Hint.EXPIRED


@pytest.mark.parametrize("username", ["li", "fail:access_denied"])
def test_a_used_state_gets_no_hint(
    browser: Browser, ciam: FakeCiam, username: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in(), username)
    browser.open_callback(callback)
    # The outcome of the callback is no longer known.
    monkeypatch.setattr(state, "REPEAT_SECONDS", -1)

    # This browser has lost its session; the other browser has no cookies.
    browser.client.cookies.pop("sessionid", None)
    for used_browser in (browser, Browser(ciam)):
        assert hint_in(used_browser.open_callback(callback, **AS_PAGE)) is None


def test_an_invalid_cookie_gets_no_hint(browser: Browser) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    for name in browser.client.cookies:
        browser.client.cookies[name] = "garbage"

    assert hint_in(browser.open_callback(callback, **AS_PAGE)) is None


def test_a_callback_without_a_state_gets_no_hint() -> None:
    response = Client().get("/ciam/callback/?error=access_denied", headers=AS_PAGE)

    assert hint_in(response) is None


# --- Another host of the same site -----------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "agent", "start_host", "host"),
    [
        ("", "", "shop.test", "www.shop.test"),
        ("", IN_APP["WeChat on iOS"], "127.0.0.1:8000", "localhost:8000"),
        ("with/qq/", "", "www.shop.test:8443", "shop.test:8443"),
    ],
)
def test_a_callback_at_another_host_of_the_site_says_that_the_host_has_changed(
    browser: Browser,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    *,
    provider: str,
    agent: str,
    start_host: str,
    host: str,
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = {"qq": {"app_id": "1", "source": "s"}}
    settings.ALLOWED_HOSTS = [".shop.test", "127.0.0.1", "localhost"]
    start = f"/ciam/{provider or 'authorize/'}"
    departure = browser.client.post(start, {"consent": AGREED}, headers={"Host": start_host})
    address = f"/ciam/{provider}callback/?state={query_of(departure['Location'])['state']}&code=c"
    # The browser does not send the cookies of the first host.
    headers = {**AS_PAGE, "Host": host, "User-Agent": agent}
    settings.DEBUG = True
    with caplog.at_level(logging.INFO):
        response = Client().get(address, headers=headers)

    assert hint_in(response) is Hint.OTHER_HOST
    (record,) = [record for record in caplog.records if record.name == "ciam_django"]
    assert record.levelname == "INFO"
    for text in (record.getMessage(), response.content.decode()):
        assert f"the host changed from {start_host} to {host}" in text
    settings.DEBUG = False
    assert start_host not in Client().get(address, headers=headers).content.decode()


def test_the_host_of_an_unknown_sign_in_is_not_guessed(
    ciam: FakeCiam, callback: str, settings: Settings
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    cache.clear()

    response = Browser(ciam).open_callback(callback, Host="other.example")
    assert hint_in(response) is Hint.OTHER_BROWSER


# --- Browsers without cookies -----------------------------------------------------------------


def test_a_browser_without_cookies_is_redirected_once_to_test_its_cookies(
    ciam: FakeCiam, callback: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = Browser(ciam)
    redirect = other.open_callback(callback, **AS_PAGE)

    assert (redirect.status_code, redirect["Location"]) == (302, "?ciam_asked=1")
    assert redirect["Cache-Control"] == "no-store"
    assert redirect["Referrer-Policy"] == "no-referrer"
    assert hint_in(other.open_callback("/ciam/callback/?ciam_asked=1")) is Hint.OTHER_BROWSER
    # The browser now has a cookie, so no further redirect is needed.
    assert hint_in(other.open_callback(callback, **AS_PAGE)) is Hint.OTHER_BROWSER
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert not Session.objects.exists()


@pytest.mark.parametrize("query", ["", "&error=access_denied", "&ciam_asked=1"])
def test_a_browser_that_stores_no_cookies_reaches_a_page_after_the_redirect(
    ciam: FakeCiam, callback: str, query: str
) -> None:
    addresses = [f"{callback}{query}"]
    while addresses[-1]:
        other = Client(headers=AS_PAGE)
        response = other.get(addresses[-1])
        addresses.append(response.get("Location", "") and "/ciam/callback/" + response["Location"])
        assert len(addresses) <= 3

    assert hint_in(response) is Hint.COOKIES_BLOCKED


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "application/json", "Sec-Fetch-Dest": "empty"},
        {"Accept": "*/*", "Sec-Fetch-Dest": "empty"},
        {"Accept": "application/json", "Sec-Fetch-Dest": "document"},
        {"Accept": HTML},
        {"Accept": HTML, "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_only_the_request_for_a_page_is_redirected(callback: str, headers: dict[str, str]) -> None:
    client = Client(headers=headers)
    response = client.get(callback)

    assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert not response.cookies


@pytest.mark.parametrize("method", ["head", "post", "put", "options"])
def test_a_method_other_than_get_is_not_redirected(callback: str, method: str) -> None:
    response = getattr(Client(headers=AS_PAGE), method)(callback)

    assert response.status_code == 405
    assert not response.cookies


# --- A form without its token -----------------------------------------------------------------


def test_a_form_without_cookies_is_answered_with_our_own_page(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = Client(enforce_csrf_checks=True, headers=AS_PAGE).post("/ciam/authorize/")

    assert (response.status_code, response["Ciam-Error-Code"]) == (403, "csrf_failed")
    assert shown_hint(response) is Hint.COOKIES_BLOCKED
    assert 'href="/ciam/login/">Start again</a>' in response.content.decode()
    assert [(r.name, r.levelname) for r in caplog.records if r.levelno > logging.DEBUG] == [
        ("django.security.csrf", "WARNING"),
        ("ciam_django", "INFO"),
    ]


def test_a_form_with_an_old_token_gets_no_hint_about_cookies() -> None:
    client = Client(enforce_csrf_checks=True, headers=AS_PAGE)
    client.get("/ciam/login/")
    response = client.post("/ciam/authorize/", {"csrfmiddlewaretoken": "x" * 64})

    assert (response.status_code, response["Ciam-Error-Code"]) == (403, "csrf_failed")
    assert shown_hint(response) is None


@pytest.mark.parametrize("path", ["/ciam/authorize/", "/ciam/login/", "/ciam/unlink/"])
def test_a_form_from_another_site_is_a_warning_with_the_reason_and_the_origin_as_in_django(
    path: str, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    client = Client(enforce_csrf_checks=True, headers={"Accept": "application/json"})
    client.get("/ciam/login/")
    form = {"csrfmiddlewaretoken": client.cookies["csrftoken"].value}
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        response = client.post(path, form, headers={"Origin": "https://evil.example"})

    assert (response.status_code, response["Ciam-Error-Code"]) == (403, "csrf_failed")
    assert "evil" not in response.content.decode()
    warning, ours = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert (warning.name, warning.levelname) == ("django.security.csrf", "WARNING")
    assert warning.getMessage() == (
        "Forbidden (Origin checking failed - https://evil.example does not match any trusted "
        f"origins.): {path}"
    )
    # The origin could be anything, and the line of an error has no text that is not redacted.
    assert (ours.name, ours.levelname) == ("ciam_django", "INFO")
    assert "Origin checking failed" in ours.getMessage()
    assert "evil" not in ours.getMessage()


@pytest.mark.parametrize("csrf_use_sessions", [False, True])
@pytest.mark.parametrize("in_middleware", [False, True])
def test_the_csrf_check_works_with_and_without_djangos_middleware(
    ciam: FakeCiam, settings: Settings, csrf_use_sessions: bool, in_middleware: bool
) -> None:
    settings.CSRF_USE_SESSIONS = csrf_use_sessions
    if not in_middleware:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    client = Client(enforce_csrf_checks=True)
    page = client.get("/ciam/login/").content.decode()
    token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]

    assert client.post("/ciam/authorize/").status_code == 403
    assert client.post("/ciam/authorize/", {"csrfmiddlewaretoken": token}).status_code == 302


# --- Translations -----------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["zh-hans", "zh-hant"])
@pytest.mark.parametrize("hint", Hint)
def test_every_hint_is_translated(hint: Hint, language: str) -> None:
    with override("en"):
        english = str(HINT_TEXTS[hint])
    with override(language):
        assert hint_text(hint) not in ("", english)
    assert hint_text(None) == ""


def test_only_the_first_512_characters_of_the_user_agent_are_searched() -> None:
    request = RequestFactory().get("/", headers={"User-Agent": "a" * 512 + "MicroMessenger/8"})

    assert user_agent(request) == "a" * 512
    assert user_agent(RequestFactory().get("/")) == ""
