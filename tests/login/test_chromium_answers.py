"""The pages of failures in a real browser: the countdown, the copied reference and paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from pytest_django.fixtures import Settings

from ciam_django.errors import CiamError
from tests.login.test_chromium import CHROMIUM, chromium, chromium_type, site, tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["chromium", "chromium_type", "site"]

pytestmark = [
    pytest.mark.slow("Chromium"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("mode", ["ciam"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]

REQUEST_ID = "1656572265429$49b433a9"


def fail(request: HttpRequest) -> HttpResponse:
    raise CiamError("timeout", retry_after=2, request_id=REQUEST_ID)


urlpatterns = [path("fail/", fail), path("ciam/", include("ciam_django.urls"))]


@pytest.fixture(autouse=True)
def use_failing_view(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.STRICT_CSP = ""


def test_the_button_counts_down_and_then_works(chromium: Browser, site: str) -> None:
    with tab(chromium) as page:
        page.goto(f"{site}/fail/")
        page.wait_for_selector(".ciam-button[aria-disabled]:has-text('Try again (2s)')")
        page.click(".ciam-button", force=True)
        assert page.url == f"{site}/fail/"
        page.wait_for_selector("[role=status]:has-text('You can try again now.')", state="attached")
        with page.expect_navigation():
            page.click(".ciam-button:not([aria-disabled])")
        assert page.url == f"{site}/fail/?"


def test_the_button_is_a_link_without_scripts(chromium: Browser, site: str) -> None:
    with tab(chromium, java_script_enabled=False) as page:
        page.goto(f"{site}/fail/")
        assert page.inner_text(".ciam-button") == "Try again"
        assert page.query_selector(".ciam-reference button:visible") is None
        with page.expect_navigation():
            page.click(".ciam-button")


def test_the_reference_is_copied(chromium: Browser, site: str) -> None:
    with tab(chromium, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(f"{site}/fail/")
        page.click(".ciam-reference button")
        page.wait_for_selector("button:has-text('Reference copied')")
        assert page.evaluate("navigator.clipboard.readText()") == REQUEST_ID


@pytest.mark.parametrize("width", [320, 1280])
def test_each_target_is_large_enough_and_paper_has_only_the_text(
    chromium: Browser, site: str, width: int
) -> None:
    with tab(chromium, viewport={"width": width, "height": 640}) as page:
        page.goto(f"{site}/fail/")
        for target in page.query_selector_all("a, button:not([hidden])"):
            box = target.bounding_box()
            assert box
            assert box["height"] >= 44, target.inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.emulate_media(media="print")
        assert page.query_selector_all("a:visible, button:visible") == []
        assert page.is_visible(f"text={REQUEST_ID}")
