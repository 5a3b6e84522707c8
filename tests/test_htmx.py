"""htmx gets fragments of the pages, and opens the redirects of a sign-in as pages."""

from __future__ import annotations

from typing import Any, Final

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from pytest_django.fixtures import Settings

from ciam_django.errors import CiamError
from ciam_django.testing.accounts import CODE, PASSWORD
from tests.browser import HTML
from tests.login.person import FormBrowser
from tests.rows import for_each_row

LOCKED: Final = "Operation.Failure.User.Locked"
HTMX: Final = {"hx-request": "true", "accept": "*/*"}
BOOSTED: Final = {**HTMX, "hx-boosted": "true"}
HOSTILE: Final = '"><script>alert(1)</script>'


def locked_view(request: HttpRequest) -> HttpResponse:
    raise CiamError(LOCKED)


urlpatterns = [path("locked/", locked_view), path("ciam/", include("ciam_django.urls"))]


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "hosted", "recover"]


@pytest.fixture
def mode() -> str:
    return "ciam"


def form_of(response: Any) -> str:
    """``page``, ``fragment`` or ``JSON``."""
    if response["Content-Type"] != "text/html; charset=utf-8":
        return "JSON"
    return "page" if "<html" in response.content.decode() else "fragment"


@for_each_row(
    "headers, expected",
    [
        ({"accept": HTML}, "page"),
        ({"accept": "*/*"}, "JSON"),
        (HTMX, "fragment"),
        ({**HTMX, "accept": HTML}, "fragment"),
        ({**HTMX, "accept": "application/json"}, "JSON"),
        ({**HTMX, "hx-request": "yes"}, "JSON"),
        (BOOSTED, "page"),
        ({**HTMX, "hx-history-restore-request": "true"}, "page"),
    ],
)
def test_the_answer_of_a_view_is_a_fragment_for_htmx(
    headers: dict[str, str], expected: str
) -> None:
    response = Client(headers=headers).get("/locked/")

    assert (response.status_code, form_of(response)) == (403, expected)
    assert response["Ciam-Error-Code"] == LOCKED
    assert "HX-Request" in response["Vary"]
    if expected != "JSON":
        assert "This account is locked" in response.content.decode()
        assert 'href=""' not in response.content.decode()
    assert response.has_header("HX-Reswap") is (expected == "fragment")
    # In a page of the project, the answer has no heading of its own.
    assert ("<h1" in response.content.decode()) is (expected == "page")


@for_each_row(
    "target, setting, expected",
    [
        ("", "", {"HX-Reswap": "innerHTML"}),
        ("cart", "", {"HX-Reswap": "innerHTML"}),
        ("cart", "#messages", {"HX-Reswap": "innerHTML", "HX-Retarget": "#messages"}),
        (HOSTILE, "#messages", {"HX-Reswap": "innerHTML", "HX-Retarget": "#messages"}),
        # The answer replaces the card of the sign-in.
        ("ciam-card", "#messages", {}),
    ],
)
def test_an_answer_destroys_no_target_of_the_project(
    target: str, setting: str, expected: dict[str, str], settings: Settings
) -> None:
    settings.CIAM_HTMX_ERROR_TARGET = setting
    hostile = {"hx-trigger": HOSTILE, "hx-prompt": HOSTILE, "hx-current-url": HOSTILE}

    response = Client(headers={**HTMX, **hostile, "hx-target": target}).get("/locked/")

    assert {name: response[name] for name in response.headers if name[:2] == "HX"} == expected
    assert "alert(1)" not in response.content.decode() + str(response.headers)


def htmx_person(person: FormBrowser, headers: dict[str, str] = HTMX) -> FormBrowser:
    person.client = Client(headers=headers, enforce_csrf_checks=True)
    return person


@pytest.mark.parametrize("next_url", ["/cart/", "https://evil.example/"])
def test_the_form_stays_in_its_place_until_htmx_opens_next(
    person: FormBrowser, settings: Settings, next_url: str
) -> None:
    settings.LOGIN_REDIRECT_URL = "/home/"
    htmx_person(person).open_page(f"/ciam/login/?next={next_url}")
    first = person.response.content.decode()

    refused = person.submit_form(username="li", password="wrong")
    signed_in = person.submit_form(username="li", password=PASSWORD)

    for response in (first, refused.content.decode()):
        assert "<html" not in response
        assert "ciam.css" not in response
        assert 'id="ciam-card" hx-target="this" hx-swap="outerHTML"' in response
        assert 'hx-post="/ciam/login/"' in response
        assert 'hx-get="/ciam/recover/' in response
        # htmx opens the tabs, and not the script of the package.
        assert "data-ciam-tabs" not in response
    assert (refused.status_code, form_of(refused)) == (401, "fragment")
    # The form itself is in the right place.
    assert not refused.has_header("HX-Reswap")
    assert signed_in.status_code == 200
    assert not signed_in.has_header("Location")
    assert signed_in["HX-Redirect"] == ("/cart/" if next_url == "/cart/" else "/home/")
    assert person.user_id
    # A user who is signed in already is sent on, too.
    assert person.open_page("/ciam/login/?next=/cart/")["HX-Redirect"] == "/cart/"


def test_the_next_step_replaces_the_card(person: FormBrowser) -> None:
    htmx_person(person).open_page("/ciam/login/?method=sms&next=/cart/")

    step = person.submit_form(phone_number="13800001234")

    assert form_of(step) == "fragment"
    assert 'hx-post="/ciam/step/' in step.content.decode()
    assert person.submit_form(code=CODE)["HX-Redirect"] == "/cart/"


def test_an_answer_replaces_the_card_of_a_sign_in_that_has_ended(person: FormBrowser) -> None:
    ended = htmx_person(person, {**HTMX, "hx-target": "ciam-card"}).open_page("/ciam/step/none/")

    assert (ended.status_code, form_of(ended)) == (410, "fragment")
    assert "<h1" in ended.content.decode()
    assert not ended.has_header("HX-Reswap")


@for_each_row(
    "url, headers, leaves",
    [
        ("/ciam/authorize/", HTMX, True),
        ("/ciam/authorize/", BOOSTED, True),
        ("/ciam/logout/", HTMX, True),
        ("/ciam/logout/", BOOSTED, False),
        ("/ciam/logout/", {"accept": HTML}, False),
        ("/ciam/logout/", {"accept": HTML, "hx-request": "yes"}, False),
    ],
)
def test_htmx_opens_a_redirect_that_a_script_cannot_follow(
    url: str, headers: dict[str, str], leaves: bool, person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_CONSENT_BEFORE = ()

    response = Client(headers=headers).post(url)

    assert response.has_header("HX-Redirect") is leaves
    assert response.status_code == (200 if leaves else 302)


def test_a_boosted_sign_in_gets_pages_and_redirects(person: FormBrowser) -> None:
    page = htmx_person(person, BOOSTED).open_page("/ciam/login/?next=/cart/")
    signed_in = person.submit_form(username="li", password=PASSWORD)

    assert form_of(page) == "page"
    assert "hx-" not in page.content.decode()
    assert "HX-Request" in page["Vary"]
    assert (signed_in.status_code, signed_in["Location"]) == (302, "/cart/")
