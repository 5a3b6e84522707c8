"""The question for the user's consent in a real browser, with and without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pytest_django.fixtures import Settings

from ciam_django.testing.accounts import PASSWORD
from tests.login.test_chromium import (
    CHROMIUM,
    chromium,
    chromium_type,
    is_signed_in,
    press,
    site,
    tab,
)
from tests.login.test_chromium_ways import ASK, HOME, SUBMIT, offer_everything, page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["chromium", "chromium_type", "offer_everything", "page", "site"]

pytestmark = [
    pytest.mark.slow("Chromium"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("mode", ["ciam"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]

BOX = "[data-ciam-consent]"
QQ = "button[formaction='/ciam/with/qq/']"
HOSTED = "button[formaction='/ciam/authorize/']"
AGREE, DISAGREE = "[data-ciam-agree]", "[data-ciam-disagree]"


def test_the_page_asks_in_place_and_keeps_what_was_typed(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/?next={HOME}")
    page.fill("#ciam_username", "li")
    page.click(QQ)
    assert page.inner_text(ASK).startswith("Terms")
    assert page.evaluate("document.activeElement.matches('[data-ciam-agree]')")

    page.keyboard.press("Escape")
    assert not page.is_visible(ASK)
    assert page.evaluate("document.activeElement.innerText") == "QQ"
    page.click(HOSTED)
    page.click(DISAGREE)
    assert not page.is_visible(ASK)
    assert (page.input_value("#ciam_username"), page.is_checked(BOX)) == ("li", False)
    assert page.url == f"{site}/ciam/login/?next={HOME}"

    page.click(QQ)
    press(page, AGREE)
    assert "/provider/qq/authorize" in page.url
    press(page, "button[value=sign_in]")
    assert is_signed_in(page)


def test_the_form_asks_too_and_is_sent_once_after_the_agreement(page: Page, site: str) -> None:
    page.goto(f"{site}/ciam/login/?next={HOME}")
    page.fill("#ciam_username", "li")
    page.fill("#ciam_password", PASSWORD)
    page.keyboard.press("Enter")
    assert page.is_visible(ASK)
    with page.expect_navigation():
        page.keyboard.press("Enter")

    assert page.url == f"{site}{HOME}"
    assert is_signed_in(page)


@pytest.mark.parametrize("button", [QQ, HOSTED])
def test_one_tick_counts_for_every_way(page: Page, site: str, button: str) -> None:
    page.goto(f"{site}/ciam/login/")
    assert page.locator("input[name=consent]").count() == 1
    page.check(BOX)
    press(page, button)

    assert page.url.partition("/ciam/")[0] != site


def test_without_scripts_the_browser_asks_on_a_page_without_a_form(
    chromium: Browser, site: str, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["hosted"]
    with tab(chromium, java_script_enabled=False) as page:
        page.goto(f"{site}/ciam/login/")
        page.click(QQ)
        assert page.url == f"{site}/ciam/login/"
        page.check(BOX)
        press(page, QQ)

        assert "/provider/qq/authorize" in page.url


@pytest.mark.parametrize("has_scripts", [True, False])
def test_without_the_script_the_server_asks_and_the_button_goes_on(
    chromium: Browser, site: str, has_scripts: bool
) -> None:
    with tab(chromium, java_script_enabled=has_scripts) as page:
        page.route("**/ciam.js", lambda route: route.abort())
        page.goto(f"{site}/ciam/login/")
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.post_data or ""))
        page.fill("#ciam_password", PASSWORD)
        press(page, QQ)
        assert page.url == f"{site}/ciam/with/qq/"
        assert page.inner_text("h1") == "Please agree to continue"
        page.check(BOX)
        press(page, SUBMIT)

        assert "/provider/qq/authorize" in page.url
        assert PASSWORD not in "".join(sent)
