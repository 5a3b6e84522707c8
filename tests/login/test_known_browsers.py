"""Tests of the cookie of a browser that has signed in before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.login import cookies
from ciam_django.login.cookies import (
    EncryptedCookies,
    known_browser_id,
    last_method,
    remember_browser,
)
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE, PASSWORD
from tests.browser import Browser
from tests.login.person import FormBrowser
from tests.login.test_state import aged


def test_a_browser_is_known_for_its_newest_names_with_one_id() -> None:
    request = RequestFactory().get("/")
    ids = set()
    for name in ("a@example.com", "b", "c", "", "d", "e", "C"):
        response = HttpResponse()
        remember_browser(request, response, name)
        request.COOKIES = {key: each.value for key, each in response.cookies.items()}
        ids.add(known_browser_id(request))

    assert len(ids) == 1
    known = [
        name for name in ("a@example.com", "b", "c", "d", "e") if known_browser_id(request, name)
    ]
    assert known == ["b", "c", "d", "e"]
    assert known_browser_id(request, "c") in ids
    assert [*request.COOKIES] == ["ciam_browser"]
    assert len(request.COOKIES["ciam_browser"]) < 400


@pytest.mark.parametrize("value", [None, "", "x", "gAAAA"])
def test_a_browser_without_a_valid_cookie_is_unknown(value: str | None) -> None:
    request = RequestFactory().get("/")
    request.COOKIES = {} if value is None else {"ciam_browser": value}

    assert known_browser_id(request) == known_browser_id(request, "li") == ""


@pytest.mark.parametrize(("days", "is_known"), [(179, True), (181, False)])
def test_a_browser_is_known_for_half_a_year(days: int, is_known: bool) -> None:
    request, response = RequestFactory().get("/"), HttpResponse()
    remember_browser(request, response, "li")
    cookie, purpose = response.cookies["ciam_browser"], cookies._KNOWN_BROWSERS.purpose
    request.COOKIES = {"ciam_browser": aged(cookie.value, days * 86400, purpose)}

    assert cookie["max-age"] == 180 * 86400
    assert bool(known_browser_id(request, "li")) is is_known


def test_a_cookie_with_other_members_is_read() -> None:
    request, response = RequestFactory().get("/"), HttpResponse()
    cookies._KNOWN_BROWSERS.set(request, response, "", {"id": "b1", "new": 1})
    request.COOKIES = {key: each.value for key, each in response.cookies.items()}

    assert (known_browser_id(request), known_browser_id(request, "li")) == ("b1", "")


def test_abandoned_sign_ins_do_not_delete_the_cookie() -> None:
    request, response = RequestFactory().get("/"), HttpResponse()
    remember_browser(request, response, "li")
    request.COOKIES = {key: each.value for key, each in response.cookies.items()}
    states = EncryptedCookies("ciam_django.login.state", "state_", 600)
    for number in range(8):
        response = HttpResponse()
        states.set(request, response, str(number), {"next": "x" * 600})
        for key, each in response.cookies.items():
            request.COOKIES[key] = each.value
            if not each.value:
                del request.COOKIES[key]

    assert known_browser_id(request, "li")
    assert len(request.COOKIES) < 9


# --- The method of the last sign-in -----------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "kept"), [("", "sms"), ("x" * 41, "sms"), ("x" * 40, "x" * 40), ("qq", "qq")]
)
def test_a_browser_keeps_its_last_method(method: str, kept: str) -> None:
    request = RequestFactory().get("/")
    assert last_method(request) == ""
    for each in ("password", "sms", method):
        response = HttpResponse()
        remember_browser(request, response, "li", each)
        request.COOKIES = {key: morsel.value for key, morsel in response.cookies.items()}

    assert last_method(request) == kept
    assert len(request.COOKIES["ciam_browser"]) < 400


def sign_in_with_form(person: FormBrowser, method: str, **fields: str) -> None:
    person.open_page(f"/ciam/login/?method={method}")
    person.submit_form(**fields)
    if method != "password":
        person.submit_form(code=CODE)


def sign_in_with_second_factor(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?method=password")
    person.submit_form(username="careful", password=PASSWORD)
    person.submit_form(channel="SMS")
    person.submit_form(code=CODE)


def sign_in_with_json(person: FormBrowser) -> None:
    person.client.post(
        "/ciam/api/password/",
        {"username": "li", "password": PASSWORD, "consent": ["terms", "privacy"]},
        content_type="application/json",
        headers={"X-CSRFToken": person.client.get("/ciam/api/").json()["csrf_token"]},
    )


def sign_in_at(person: FormBrowser, name: str) -> None:
    person.open_page("/ciam/login/?prompt=login")
    token = person.client.cookies["csrftoken"].value
    url = "/ciam/authorize/" if name == "hosted" else f"/ciam/with/{name}/"
    consents = ["terms", "privacy"]
    leave = person.client.post(url, {"csrfmiddlewaretoken": token, "consent": consents})
    authorize = person.ciam.authorize if name == "hosted" else person.ciam.authorize_at_provider
    callback = authorize(leave["Location"])
    assert callback
    person.client.get(callback.partition("testserver")[2])


METHODS: dict[str, tuple[Callable[[FormBrowser], None], str]] = {
    "email": (lambda person: sign_in_with_form(person, "email", email="li@example.com"), "email"),
    "failure": (
        lambda person: sign_in_with_form(person, "password", username="li", password="wrong"),
        "email",
    ),
    "SMS": (lambda person: sign_in_with_form(person, "sms", phone_number="13800001234"), "sms"),
    "JSON": (sign_in_with_json, "password"),
    "provider": (lambda person: sign_in_at(person, "weibo"), "weibo"),
    "second factor": (sign_in_with_second_factor, "password"),
    "hosted": (lambda person: sign_in_at(person, "hosted"), "hosted"),
}


@pytest.mark.parametrize("mode", ["ciam"])
@pytest.mark.slow("many sign-ins and sends")
def test_the_method_of_the_last_sign_in_comes_first(
    person: FormBrowser, ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["sms", "password", "email", "hosted"]
    settings.CIAM_SEND_LIMITS = {}
    settings.CIAM_SOCIAL_PROVIDERS = {
        name: {"app_id": "a", "source": f"source_{name}", "authorize_url": ciam.provider_urls[name]}
        for name in ("qq", "weibo")
    }
    last: dict[str, str | None] = {}
    for name, (sign_in, _) in METHODS.items():
        sign_in(person)
        assert bool(person.user_id) is (name != "failure")
        person.client.cookies.pop("sessionid", None)
        offered = person.client.get("/ciam/api/").json()
        last[name] = offered["last_method"]
        names = [*offered["methods"], *(each["name"] for each in offered["providers"])]
        assert last[name] in (offered["methods"][0], offered["providers"][0]["name"])
        assert sorted(names) == ["email", "hosted", "password", "qq", "sms", "weibo"]

    assert last == {name: method for name, (_, method) in METHODS.items()}


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_sign_in_at_ciams_page_is_the_last_method_and_a_link_is_none(browser: Browser) -> None:
    def last() -> str:
        request = RequestFactory().get("/")
        request.COOKIES = {name: each.value for name, each in browser.client.cookies.items()}
        return last_method(request)

    user = User.objects.create_user("staff")
    browser.client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    departure = browser.client.post("/ciam/authorize/", {"link": "1"})
    browser.open_callback(browser.sign_in_at_ciam(departure["Location"]))
    assert user.ciam_identities.count() == 1
    assert last() == ""

    browser.client.cookies.pop("sessionid")
    browser.sign_in()
    assert last() == "hosted"
