"""Tests of setting, deleting and recognizing the cookies of a sign-in."""

from __future__ import annotations

import time
from functools import partial
from http.cookies import Morsel

import pytest
from django.http import HttpRequest, HttpResponse
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
    (cookie,) = response.cookies.values()
    assert cookie.key.endswith("ciam_x")
    return cookie


def test_a_cookie_is_sent_to_our_views_and_hidden_from_scripts() -> None:
    cookie = morsel()

    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("value", 9, "/ciam/")
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Lax", "")


def test_a_cookie_is_secure_if_the_request_or_the_callback_url_is_https(settings: Settings) -> None:
    assert morsel(is_secure=True)["secure"]
    settings.CIAM_CALLBACK_URL = "https://example.com/ciam/callback/"
    assert morsel()["secure"]


def test_under_https_a_browser_accepts_a_cookie_only_from_the_host_itself() -> None:
    cookie = morsel(is_secure=True)

    # RFC 6265bis, section 4.1.3.2: the prefix, Secure, the path "/", and no Domain.
    assert cookie.key == "__Host-ciam_x"
    assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")


def test_under_https_a_cookie_that_any_sub_domain_can_set_is_neither_read_nor_kept() -> None:
    request = RequestFactory().get("/", secure=True)
    request.COOKIES["ciam_x"] = "from a sub-domain"
    response = HttpResponse()
    delete_cookie(request, response, "x")

    assert cookie_value(request, "x") is None
    # The page of the callback can still say that the sign-in started in this browser.
    assert has_any_cookie(request)
    assert {name: cookie["path"] for name, cookie in response.cookies.items()} == {
        "__Host-ciam_x": "/",
        "ciam_x": "/ciam/",
    }
    assert response.cookies["__Host-ciam_x"]["secure"]


@override_settings(ROOT_URLCONF="tests.login.urls_at_root")
def test_the_path_is_the_common_path_of_authorize_and_callback() -> None:
    assert morsel()["path"] == "/"


def test_a_cookie_is_deleted_at_the_path_at_which_it_was_set() -> None:
    response = HttpResponse()
    delete_cookie(RequestFactory().get("/"), response, "x")

    assert response.cookies["ciam_x"]["max-age"] == 0
    for attribute in ("path", "samesite"):
        assert response.cookies["ciam_x"][attribute] == morsel()[attribute]


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("ciam_x", True),
        ("__Host-ciam_x", True),
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


# --- The bytes of all cookies -----------------------------------------------------------------

STATES = EncryptedCookies("tests.states", "state_", 600)
FLOWS = EncryptedCookies("tests.flows", "flow_", 600, max_count=3)


class CookieJar:
    """The cookies of a browser that opens one page after the other."""

    def __init__(self, *, is_secure: bool = False) -> None:
        self.cookies: dict[str, str] = {}
        self.is_secure = is_secure

    def request(self) -> HttpRequest:
        request = RequestFactory().get("/", secure=self.is_secure)
        request.COOKIES = dict(self.cookies)
        return request

    def store(self, response: HttpResponse) -> None:
        for name, cookie in response.cookies.items():
            self.cookies.pop(name, None)
            if cookie.value:
                self.cookies[name] = cookie.value

    def set(self, cookies: EncryptedCookies, name: str, byte_count: int) -> None:
        response = HttpResponse()
        cookies.set(self.request(), response, name, {"next": "x" * byte_count})
        self.store(response)

    @property
    def names(self) -> list[str]:
        return [name.partition("ciam_")[2] for name in self.cookies]

    @property
    def byte_count(self) -> int:
        return len("; ".join(f"{name}={value}" for name, value in self.cookies.items()))


@pytest.mark.parametrize("is_secure", [False, True])
def test_all_cookies_together_stay_under_4_kib_and_the_oldest_are_deleted(
    monkeypatch: pytest.MonkeyPatch, is_secure: bool
) -> None:
    jar = CookieJar(is_secure=is_secure)
    response = HttpResponse()
    set_cookie(jar.request(), response, "laps", "1", seconds=60)
    jar.store(response)
    start = time.time() - 100
    for number in range(12):
        monkeypatch.setattr(time, "time", partial(float, start + number))
        jar.set((STATES, FLOWS)[number % 2], str(number), 80 * number)
        assert jar.byte_count < 4096

    # The small cookie is not encrypted, and has no time.
    assert jar.names == ["laps", "flow_9", "state_10", "flow_11"]
    assert jar.byte_count > 3000


def test_a_cookie_of_the_future_or_without_a_time_is_deleted_first() -> None:
    jar = CookieJar()
    for name, value in (("state_a", "A" * 1000), ("state_b", "é" * 1000), ("flow_c", "_" * 800)):
        jar.cookies[f"ciam_{name}"] = value
    names = [f"state_{number}" for number in range(4)]
    for name in names:
        jar.set(STATES, name.removeprefix("state_"), 600)

    assert jar.names == names


def test_a_cookie_that_is_deleted_in_the_same_response_leaves_room_for_the_new_cookie() -> None:
    jar = CookieJar()
    jar.set(FLOWS, "old", 1600)
    jar.set(STATES, "kept", 100)
    request, response = jar.request(), HttpResponse()
    FLOWS.delete(request, response, "old")
    FLOWS.set(request, response, "new", {"next": "x" * 1600})
    STATES.set(request, response, "next", {"next": "x" * 100})
    jar.store(response)

    assert jar.names == ["state_kept", "flow_new", "state_next"]


def test_a_cookie_that_replaces_another_one_needs_no_more_room() -> None:
    jar = CookieJar()
    for name in ("a", "b", "c", "c"):
        jar.set(FLOWS, name, 10)

    assert jar.names == ["flow_a", "flow_b", "flow_c"]


def test_only_fifty_cookies_of_a_request_are_read() -> None:
    request, response = CookieJar().request(), HttpResponse()
    request.COOKIES = {f"ciam_state_{number}": "invalid" for number in range(90)}
    STATES.set(request, response, "new", {})

    # The five newest cookies are kept, and the new cookie is one of the five.
    assert len(response.cookies) == 50 - 4 + 1


@pytest.mark.parametrize("text", ["/订单/", "/\ud800/"])
def test_the_content_of_a_cookie_may_have_any_character(text: str) -> None:
    encrypted = STATES.encrypted({"next": text})

    assert STATES.decrypted(encrypted, None) == {"next": text}
    # A letter needs no more bytes than in UTF-8.
    assert len(STATES.encrypted({"next": "订" * 170})) <= len(STATES.encrypted({"next": "x" * 512}))


def test_a_cookie_that_is_set_again_has_the_same_value() -> None:
    jar = CookieJar()
    jar.set(STATES, "one", 10)
    response = HttpResponse()
    STATES.set_again(jar.request(), response, "one", seconds=30)

    assert response.cookies["ciam_state_one"].value == jar.cookies["ciam_state_one"]
    assert response.cookies["ciam_state_one"]["max-age"] == 30
