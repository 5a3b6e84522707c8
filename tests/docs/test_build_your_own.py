"""Run the code of docs/build-your-own.md, with htmx in a real browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.test import Client
from django.urls import include, path
from pytest_django.live_server_helper import LiveServer

from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE
from tests.browser import HTML, Browser
from tests.docs.blocks import take
from tests.docs.conftest import Project
from tests.docs.new_project import SETTINGS
from tests.docs.test_json import needs_npm
from tests.login.test_chromium import CHROMIUM, chromium, chromium_type, tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import Page

__all__ = ["chromium", "chromium_type"]

PAGE: Final = "build-your-own.md"
WELCOME: Final = (take(PAGE, "shop/welcome.py"), take(PAGE, "templates/welcome.html"))
HTMX_SETTINGS: Final = take(PAGE, "shop/settings.py", index=0)
CART: Final = (HTMX_SETTINGS, take(PAGE, "shop/cart.py"), take(PAGE, "templates/cart.html"))
AFTER_SESSION: Final = (take(PAGE, "shop/settings.py", index=1), take(PAGE, "shop/middleware.py"))
STRICT_CSP: Final = "tests.login.strict.StrictCspMiddleware"


def start(project: Project, *blocks: Any, **replaced: Any) -> None:
    project.start(SETTINGS, *blocks, LOGIN_REDIRECT_URL="/", **replaced)
    project.use_templates()


@pytest.mark.django_db
def test_the_welcome_page_shows_an_error_and_the_ways_to_sign_in(
    project: Project, fake_ciam: FakeCiam
) -> None:
    start(project, *WELCOME)
    welcome = project.module("shop.welcome")
    project.use_urls(
        path("ciam/", include("ciam_django.urls")), path("welcome/", welcome.welcome, name="home")
    )
    browser = Browser(fake_ciam)

    page = browser.client.get("/welcome/").content.decode()
    browser.sign_in()
    fake_ciam.fail("api", code="Params.Illegal.User.DisplayName")
    refused = browser.client.post("/welcome/", {"name": "<Li>"})

    assert 'href="/ciam/login/?next=%2Fwelcome%2F"' in page
    assert 'href="/ciam/login/?method=sms&amp;next=%2Forders%2F"' in page
    assert "data-ciam-popup" in page
    assert 'role="alert"' not in page
    assert refused.status_code == 400
    assert refused.content.decode().count('role="alert"') == 1


def use_cart(project: Project) -> None:
    cart = project.module("shop.cart")
    project.use_urls(
        path("ciam/", include("ciam_django.urls")),
        path("cart/", cart.cart, name="home"),
        path("order/", cart.order),
    )


@pytest.mark.django_db
def test_htmx_opens_the_login_page_after_the_session_has_ended(project: Project) -> None:
    start(project, *CART, *AFTER_SESSION)
    use_cart(project)
    current = {"hx-request": "true", "hx-current-url": "http://testserver/cart/?page=2"}

    of_htmx = Client(headers=current).post("/order/")
    of_browser = Client(headers={"accept": HTML}).post("/order/")

    assert of_htmx["HX-Redirect"] == "/ciam/login/?next=%2Fcart%2F%3Fpage%3D2"
    assert not of_htmx.has_header("Location")
    assert of_browser["Location"] == "/ciam/login/?next=/order/"


@pytest.mark.slow("htmx from npm, in Chromium")
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@needs_npm
@pytest.mark.django_db(transaction=True)
def test_the_cart_signs_in_and_shows_failures_with_htmx(
    project: Project, fake_ciam: FakeCiam, live_server: LiveServer, chromium: Chromium
) -> None:
    start(
        project,
        *CART,
        ALLOWED_HOSTS=["localhost"],
        STATICFILES_DIRS=[install_htmx(project.folder)],
    )
    use_cart(project)
    project.change_settings(MIDDLEWARE=[STRICT_CSP, *middleware_of(project)], STRICT_CSP="")
    problems: list[str] = []
    with tab(chromium) as page:
        page.on(
            "console",
            lambda message: problems.append(message.text) if "Policy" in message.text else None,
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        sign_in_at_cart(page, live_server.url)
        order(page, fake_ciam)
    assert not problems


def install_htmx(folder: Path) -> Path:
    """Install htmx from npm, and return the folder with ``htmx.min.js``."""
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "htmx.org@2.0.4"],
        cwd=folder,
        check=True,
        timeout=300,
    )
    static = folder / "static"
    static.mkdir()
    shutil.copy(folder / "node_modules/htmx.org/dist/htmx.min.js", static)
    return static


def middleware_of(project: Project) -> list[str]:
    middleware: list[str] = project.module("shop.settings").MIDDLEWARE
    return middleware


def sign_in_at_cart(page: Page, site: str) -> None:
    """Sign in with a code after a wrong password, in the place on the page."""
    page.goto(f"{site}/cart/")
    page.click("text=Sign in")
    page.fill("#sign-in #ciam_username", "li")
    page.fill("#ciam_password", "wrong")
    for box in page.query_selector_all("#sign-in [name=consent]"):
        box.check()
    page.click("#sign-in form[hx-post] button[type=submit]")
    # The answer has the status 401, and replaces the card in its place.
    page.wait_for_selector("#sign-in .ciam-card >> text=incorrect")
    assert page.input_value("#ciam_username") == "li"
    assert page.url == f"{site}/cart/"
    page.click("#sign-in .ciam-method >> nth=1")
    page.fill("#ciam_phone_number", "13800001234")
    for box in page.query_selector_all("#sign-in [name=consent]"):
        box.check()
    page.click("#sign-in form[hx-post] button[type=submit]")
    page.fill("#sign-in #ciam_code", CODE)
    assert page.url == f"{site}/cart/"
    with page.expect_navigation():
        page.click("#sign-in form[hx-post] button[type=submit]")
    assert page.url == f"{site}/cart/"
    assert page.inner_text("#order") == "Nothing is ordered."


def order(page: Page, fake_ciam: FakeCiam) -> None:
    """Order while CIAM refuses the number, and then while CIAM takes the number."""
    fake_ciam.fail("api", code="Params.Exist.User.Phone.Number")
    page.fill("[name=mobile]", "13900001234")
    page.click("button")
    page.wait_for_selector("#messages .ciam-card")
    # The target of the request stays as it is.
    assert page.inner_text("#order") == "Nothing is ordered."
