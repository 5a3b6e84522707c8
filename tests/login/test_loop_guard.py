"""Tests that a loop of sign-ins ends at a page."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.login.hints import Hint
from ciam_django.login.loop_guard import recent_sign_ins
from tests.browser import Browser
from tests.login.test_hints import shown_hint

pytestmark = pytest.mark.django_db


def test_a_browser_that_loses_its_session_gets_a_page_after_three_sign_ins(
    browser: Browser, settings: Settings
) -> None:
    # The time of the guard, and not the time of other answers with this status.
    settings.CIAM_RETRY_AFTER = 7
    for _ in range(3):
        assert browser.sign_in("li").status_code == 302
        browser.client.cookies.pop("sessionid")
    # A login page that redirects to CIAM by itself would send this request.
    response = browser.client.post("/ciam/authorize/")

    assert (response.status_code, response["Ciam-Error-Code"]) == (429, "too_many_requests")
    assert response["Retry-After"] == "60"
    assert shown_hint(response) is Hint.COOKIES_BLOCKED
    assert 'href="/ciam/login/"' in response.content.decode()
    assert browser.client.cookies["ciam_laps"]["max-age"] == 60
    del browser.client.cookies["ciam_laps"]
    assert browser.sign_in("li").status_code == 302


def test_a_signed_in_user_can_sign_in_again_without_a_limit(browser: Browser) -> None:
    for _ in range(6):
        assert browser.sign_in("li").status_code == 302


def test_a_user_who_logs_out_can_sign_in_again_without_a_limit(browser: Browser) -> None:
    for _ in range(6):
        assert browser.sign_in("li").status_code == 302
        browser.client.post("/ciam/logout/")


def test_failed_sign_ins_are_not_counted(browser: Browser) -> None:
    for _ in range(6):
        assert browser.sign_in("fail:access_denied").status_code == 403


@pytest.mark.parametrize("value", ["", "4", "-1", "x" * 5000, "\u0663", "None"])
def test_an_invalid_cookie_counts_as_no_sign_in(value: str) -> None:
    request = RequestFactory().get("/")
    request.COOKIES["ciam_laps"] = value

    assert recent_sign_ins(request) == 0
