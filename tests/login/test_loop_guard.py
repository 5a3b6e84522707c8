"""A browser that is signed in again and again ends at a page."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from ciam_django.login import loop_guard
from ciam_django.login.hints import Hint
from tests.browser import Browser
from tests.login.test_hints import shown_in

pytestmark = pytest.mark.django_db


def test_where_the_session_does_not_stick_the_way_ends_at_a_page(browser: Browser) -> None:
    for _ in range(3):
        assert browser.sign_in("li").status_code == 302
        browser.client.cookies.pop("sessionid")
    # As a page that leaves for CIAM by itself would.
    response = browser.client.post("/ciam/authorize/")

    assert (response.status_code, response["Ciam-Error-Code"]) == (429, "too_many_requests")
    assert response["Retry-After"] == "60"
    assert shown_in(response) is Hint.COOKIES_BLOCKED
    assert 'href="/ciam/login/"' in response.content.decode()
    assert browser.client.cookies["ciam_laps"]["max-age"] == 60
    del browser.client.cookies["ciam_laps"]
    assert browser.sign_in("li").status_code == 302


def test_who_stays_signed_in_may_sign_in_as_often_as_they_like(browser: Browser) -> None:
    for _ in range(6):
        assert browser.sign_in("li").status_code == 302


def test_who_signs_out_may_sign_in_again_as_often_as_they_like(browser: Browser) -> None:
    for _ in range(6):
        assert browser.sign_in("li").status_code == 302
        browser.client.post("/ciam/logout/")


def test_failures_are_no_laps(browser: Browser) -> None:
    for _ in range(6):
        assert browser.sign_in("fail:access_denied").status_code == 403


@pytest.mark.parametrize("value", ["", "4", "-1", "x" * 5000, "\u0663", "None"])
def test_nonsense_is_no_lap(value: str) -> None:
    request = RequestFactory().get("/")
    request.COOKIES["ciam_laps"] = value

    assert loop_guard.recent_sign_ins(request) == 0
