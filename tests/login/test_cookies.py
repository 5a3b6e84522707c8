"""Tests of setting, deleting and recognizing the cookies of a sign-in."""

from __future__ import annotations

from http.cookies import Morsel

import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from pytest_django.fixtures import Settings

from ciam_django.login.cookies import (
    EncryptedCookies,
    cookie_value,
    delete_cookie,
    has_any_cookie,
    set_cookie,
)
from tests.login.test_state import aged


def morsel(*, is_secure: bool = False) -> Morsel[str]:
    response = HttpResponse()
    request = RequestFactory().get("/", secure=is_secure)
    set_cookie(request, response, "x", "value", seconds=9)
    return response.cookies["ciam_x"]


def test_a_cookie_is_sent_to_our_views_and_hidden_from_scripts() -> None:
    cookie = morsel()

    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("value", 9, "/ciam/")
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Lax", "")


def test_a_cookie_is_secure_if_the_request_or_the_callback_url_is_https(settings: Settings) -> None:
    assert morsel(is_secure=True)["secure"]
    settings.CIAM_CALLBACK_URL = "https://example.com/ciam/callback/"
    assert morsel()["secure"]


@override_settings(ROOT_URLCONF="tests.login.urls_at_root")
def test_the_path_is_the_common_path_of_authorize_and_callback() -> None:
    assert morsel()["path"] == "/"


def test_a_cookie_is_deleted_at_the_path_at_which_it_was_set() -> None:
    response = HttpResponse()
    delete_cookie(response, "x")

    assert response.cookies["ciam_x"]["max-age"] == 0
    assert response.cookies["ciam_x"]["path"] == morsel()["path"]


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("ciam_x", True),
        ("csrftoken", True),
        ("sessionid", True),
        ("theme", False),
        ("my_ciam_x", False),
    ],
)
def test_only_a_cookie_that_a_sign_in_sets_shows_that_the_browser_stores_cookies(
    name: str, is_ours: bool
) -> None:
    request = RequestFactory().get("/")
    request.COOKIES[name] = "value"

    assert has_any_cookie(request) is is_ours
    assert cookie_value(request, "x") == ("value" if name == "ciam_x" else None)


def test_the_names_of_djangos_cookies_come_from_the_settings(settings: Settings) -> None:
    settings.CSRF_COOKIE_NAME = "__Host-form"
    request = RequestFactory().get("/")
    request.COOKIES["csrftoken"] = "value"
    assert not has_any_cookie(request)

    request.COOKIES["__Host-form"] = "value"
    assert has_any_cookie(request)


def test_the_contents_are_those_of_the_newest_cookies() -> None:
    cookies = EncryptedCookies("tests", "x_", 600, max_count=3)
    request = RequestFactory().get("/")
    for age in (50, 20, 700, 90, 30):
        text = aged(cookies.encrypted({"age": age}), age, "tests")
        request.COOKIES[f"ciam_x_{age}"] = text
    request.COOKIES |= {"ciam_x_invalid": "invalid", "ciam_y_1": cookies.encrypted({"age": 1})}

    assert cookies.contents(request, 600) == [{"age": 20}, {"age": 30}, {"age": 50}]
    del request.COOKIES["ciam_x_20"], request.COOKIES["ciam_x_30"], request.COOKIES["ciam_x_50"]
    # At most three cookies are read, and one of them is too old.
    assert cookies.contents(request, 600) == [{"age": 90}]
