"""Tests of a sign-in in a pop-up window."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from ciam_django.testing.accounts import PASSWORD
from tests.browser import HTML, Browser
from tests.login.person import FormBrowser

POLICY = "Cross-Origin-Opener-Policy"
DONE = "/ciam/done/?next=/cart/"


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture(autouse=True)
def without_djangos_policy(settings: Settings) -> None:
    """A project without Django's own policy, which would be the same."""
    settings.SECURE_CROSS_ORIGIN_OPENER_POLICY = None


def test_each_step_separates_the_window_from_its_opener(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    assert person.open_page(f"/ciam/login/?next={DONE}")[POLICY] == "same-origin"
    person.submit_form(username="hesitant", password=PASSWORD)
    assert person.response[POLICY] == "same-origin"

    page = person.submit_form()
    assert page[POLICY] == "same-origin"
    assert 'href="/cart/" data-ciam-done' in page.content.decode()


def test_the_redirect_to_ciam_and_the_callback_separate_the_window_from_its_opener(
    browser: Browser,
) -> None:
    departure = browser.client.post("/ciam/authorize/", {"next": DONE})
    assert departure[POLICY] == "same-origin"
    answer = browser.open_callback(browser.sign_in_at_ciam(departure["Location"]))
    assert answer[POLICY] == "same-origin"
    assert answer["Location"] == DONE


def test_a_relative_next_that_leads_to_the_done_page_separates_the_window_from_its_opener(
    browser: Browser,
) -> None:
    relative = "../done/?next=/cart/"
    page: Any = browser.client.get("/ciam/login/", {"next": relative})
    departure = browser.client.post("/ciam/authorize/", {"next": relative})
    answer = browser.open_callback(browser.sign_in_at_ciam(departure["Location"]))
    onward: Any = browser.client.get("/ciam/login/", {"next": relative})
    assert (answer["Location"], onward["Location"]) == (relative, relative)

    for response in (page, departure, answer, onward):
        assert response[POLICY] == "same-origin"


@pytest.mark.parametrize("query", ["", "?next=/cart/"])
def test_a_page_with_another_next_has_the_policy_of_the_project(
    person: FormBrowser, settings: Settings, query: str
) -> None:
    settings.SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin-allow-popups"

    assert person.open_page(f"/ciam/login/{query}")[POLICY] == "same-origin-allow-popups"


@pytest.mark.parametrize(
    "next_url", ["", "https://evil.example/", "//evil.example", "javascript:1"]
)
def test_the_done_page_links_only_to_this_site(
    person: FormBrowser, next_url: str, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    settings.LOGIN_REDIRECT_URL = "/home/"
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD)

    query = {"next": next_url} if next_url else {}
    page = person.client.get("/ciam/done/", query).content.decode()
    assert 'href="/home/" data-ciam-done' in page


@pytest.mark.django_db
def test_the_done_page_sets_its_own_headers_and_takes_no_post(settings: Settings) -> None:
    # Django's middleware would set this header as well.
    settings.SECURE_REFERRER_POLICY = None
    answer: Any = Client(headers={"Accept": HTML}).get(DONE)

    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Content-Language"] == "en"
    assert answer[POLICY] == "same-origin"
    assert "no-store" in answer["Cache-Control"]
    assert Client().post(DONE).status_code == 405


@pytest.mark.django_db
def test_the_done_page_does_not_inform_the_opener_of_an_anonymous_user() -> None:
    answer: Any = Client(headers={"Accept": HTML}).get(DONE)

    assert "data-ciam-done" not in answer.content.decode()
    assert "You are signed in" not in answer.content.decode()
