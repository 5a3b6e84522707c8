"""Successful and failed sign-ins in a real browser."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from django.contrib.auth import user_logged_in
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from ciam_django.login import hints
from ciam_django.login.hints import Hint
from ciam_django.testing import FakeCiam
from tests.login.test_state import aged

if TYPE_CHECKING:
    from playwright._impl._api_structures import SetCookieParam
    from playwright.sync_api import Browser, BrowserContext, BrowserType, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu"]
WECHAT = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN"
)

pytestmark = [
    pytest.mark.slow("Chromium"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("mode", ["oidc"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def chromium_type() -> Iterator[BrowserType]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with pytest.MonkeyPatch.context() as patch, playwright.sync_playwright() as started:
        # Playwright runs an event loop in this thread, and Django refuses database calls in such a
        # thread. The calls are safe, since no test awaits.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield started.chromium


@pytest.fixture(scope="module")
def chromium(chromium_type: BrowserType) -> Iterator[Browser]:
    browser = chromium_type.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def site(live_server: LiveServer, ciam: FakeCiam, settings: Settings) -> str:
    settings.LOGIN_REDIRECT_URL = "/admin/login/"
    return str(live_server.url)


@contextlib.contextmanager
def tab(chromium: Browser, **options: Any) -> Iterator[Page]:
    """A tab in a browser context of its own, without cookies."""
    context = chromium.new_context(**{"locale": "en-US", **options})
    context.set_default_timeout(120_000)
    yield context.new_page()
    context.close()


def press(page: Page, button: str) -> None:
    """Press a button and wait for the next page."""
    with page.expect_navigation():
        page.click(button)


def leave_for_ciam(page: Page, site: str, next_url: str = "/admin/login/?here") -> None:
    page.goto(f"{site}/ciam/login/?next={next_url}")
    press(page, "button")


def callback_of(page: Page, ciam: FakeCiam) -> str:
    """The callback to which CIAM's page would redirect the browser."""
    return ciam.authorize(page.url)


def is_signed_in(page: Page) -> bool:
    return "sessionid" in {cookie.get("name") for cookie in page.context.cookies()}


def hint_on(page: Page) -> str:
    assert page.inner_text("h1") == "Sign-in interrupted"
    return page.inner_text(".ciam-hint")


def test_a_person_signs_in(chromium: Browser, site: str, ciam: FakeCiam) -> None:
    with tab(chromium) as page:
        leave_for_ciam(page, site)
        assert page.url.startswith(ciam.url)
        press(page, "button[value=sign_in]")

        assert page.url == f"{site}/admin/login/?here"
        assert is_signed_in(page)


def test_the_history_of_the_browser_does_not_contain_the_callback(
    chromium: Browser, site: str, ciam: FakeCiam
) -> None:
    with tab(chromium) as page:
        leave_for_ciam(page, site)
        press(page, "button[value=sign_in]")
        page.go_back()
        assert page.url.startswith(ciam.url)
        page.go_forward()

        assert page.url == f"{site}/admin/login/?here"


def test_a_callback_that_is_opened_again_leads_to_next_again(
    chromium: Browser, site: str, ciam: FakeCiam
) -> None:
    with tab(chromium) as page:
        leave_for_ciam(page, site)
        callback = callback_of(page, ciam)
        for opened in (page, page.context.new_page(), page.context.new_page()):
            opened.goto(callback)
            assert opened.url == f"{site}/admin/login/?here"


def test_two_concurrent_callbacks_both_end_at_next(
    chromium: Browser, site: str, ciam: FakeCiam
) -> None:
    first_is_under_way, second_is_answered = threading.Event(), threading.Event()

    def wait(**kwargs: object) -> None:
        first_is_under_way.set()
        second_is_answered.wait(60)

    with tab(chromium) as first:
        leave_for_ciam(first, site)
        callback = callback_of(first, ciam)
        second = first.context.new_page()
        user_logged_in.connect(wait)
        try:
            first.evaluate("address => { setTimeout(() => { location = address }) }", callback)
            assert first_is_under_way.wait(60)
            # Chromium delays a request for an equal address until the first request is answered.
            second.goto(f"{callback}&again")
            assert second.inner_text("h1") == "Signing you in…"
        finally:
            second_is_answered.set()
            user_logged_in.disconnect(wait)

        for page in (first, second):
            page.wait_for_url(f"{site}/admin/login/?here")


def test_a_second_callback_that_cancels_the_first_callback_signs_in(
    chromium: Browser, site: str, ciam: FakeCiam
) -> None:
    first_is_under_way, first_may_end = threading.Event(), threading.Event()

    def wait(**kwargs: object) -> None:
        first_is_under_way.set()
        first_may_end.wait(60)

    with tab(chromium) as page:
        leave_for_ciam(page, site)
        callback = callback_of(page, ciam)
        user_logged_in.connect(wait)
        try:
            page.evaluate("address => { setTimeout(() => { location = address }) }", callback)
            assert first_is_under_way.wait(60)
            # WeChat's browser opens the callback a second time, and drops the first response.
            page.goto(f"{callback}&again")
            assert page.inner_text("h1") == "Signing you in…"
            assert not is_signed_in(page)
        finally:
            first_may_end.set()
            user_logged_in.disconnect(wait)

        page.wait_for_url(f"{site}/admin/login/?here")
        assert is_signed_in(page)
    assert [request.stage for request in ciam.requests].count("token") == 1


def test_a_late_callback_shows_the_hint_that_the_state_has_expired(
    chromium: Browser, site: str, ciam: FakeCiam
) -> None:
    with tab(chromium) as page:
        leave_for_ciam(page, site)
        callback = callback_of(page, ciam)
        for cookie in page.context.cookies():
            if cookie["name"].startswith("ciam_state_"):
                older = {**cookie, "value": aged(cookie["value"], 601)}
                page.context.add_cookies([cast("SetCookieParam", older)])
        page.goto(callback)

        assert hint_on(page) == hints.hint_text(Hint.EXPIRED)
        page.reload()
        assert hint_on(page) == hints.hint_text(Hint.EXPIRED)


@pytest.mark.parametrize("has_visited_site", [True, False])
def test_a_callback_in_another_browser_shows_its_own_hint(
    chromium: Browser, site: str, ciam: FakeCiam, has_visited_site: bool
) -> None:
    with tab(chromium) as page, tab(chromium) as other:
        leave_for_ciam(page, site)
        if has_visited_site:
            other.goto(f"{site}/ciam/login/")
        answers: list[tuple[str, int]] = []
        other.on(
            "response", lambda answer: answers.append((answer.url.split("?")[0], answer.status))
        )
        other.goto(callback_of(page, ciam))

        assert hint_on(other) == hints.hint_text(Hint.OTHER_BROWSER)
        statuses = [status for url, status in answers if url == f"{site}/ciam/callback/"]
        assert statuses == ([400] if has_visited_site else [302, 400])
        other.reload()
        assert hint_on(other) == hints.hint_text(Hint.OTHER_BROWSER)


def test_a_callback_in_an_in_app_browser_shows_its_own_hint(
    chromium: Browser, site: str, ciam: FakeCiam
) -> None:
    with tab(chromium) as page, tab(chromium, user_agent=WECHAT) as in_app:
        leave_for_ciam(page, site)
        in_app.goto(callback_of(page, ciam))

        assert hint_on(in_app) == hints.hint_text(Hint.IN_APP_BROWSER)


@pytest.fixture
def without_cookies(chromium_type: BrowserType, tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser whose user has chosen "Block all cookies"."""
    (tmp_path / "Default").mkdir()
    (tmp_path / "Default" / "Preferences").write_text(
        json.dumps({"profile": {"default_content_setting_values": {"cookies": 2}}})
    )
    context = chromium_type.launch_persistent_context(
        tmp_path, executable_path=CHROMIUM, args=ARGUMENTS, locale="en-US"
    )
    yield context
    context.close()


def test_a_browser_that_blocks_cookies_shows_the_hint_before_and_after_ciam(
    without_cookies: BrowserContext, chromium: Browser, site: str, ciam: FakeCiam
) -> None:
    page = without_cookies.new_page()
    leave_for_ciam(page, site)
    assert page.url == f"{site}/ciam/authorize/"
    assert hint_on(page) == hints.hint_text(Hint.COOKIES_BLOCKED)

    with tab(chromium) as other:
        leave_for_ciam(other, site)
        page.goto(callback_of(other, ciam))
    assert hint_on(page) == hints.hint_text(Hint.COOKIES_BLOCKED)
    page.reload()
    assert hint_on(page) == hints.hint_text(Hint.COOKIES_BLOCKED)


def test_a_redirect_loop_ends_at_an_error_page(
    chromium: Browser, site: str, ciam: FakeCiam, settings: Settings
) -> None:
    # The browser does not store the session, a sign-in ends at the login page, and each page sends
    # its form at once.
    settings.SESSION_COOKIE_DOMAIN = "elsewhere.example"
    settings.LOGIN_REDIRECT_URL = "ciam:login"
    with tab(chromium) as page:
        page.add_init_script(
            "addEventListener('load', () => document.querySelector('button')?.click())"
        )
        page.goto(f"{site}/ciam/login/")

        page.wait_for_url(f"{site}/ciam/authorize/", wait_until="load")
        assert page.inner_text("h1") == "Please wait a moment"
        assert page.inner_text(".ciam-hint") == hints.hint_text(Hint.COOKIES_BLOCKED)
        assert [request.stage for request in ciam.requests].count("token") == 3
