"""Tests of the cookie of a browser that has signed in before."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from ciam_django.login import known_browsers
from ciam_django.login.cookies import EncryptedCookies
from ciam_django.login.known_browsers import known_browser_id, remember_browser
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
    cookie, purpose = response.cookies["ciam_browser"], known_browsers._KNOWN_BROWSERS.purpose
    request.COOKIES = {"ciam_browser": aged(cookie.value, days * 86400, purpose)}

    assert cookie["max-age"] == 180 * 86400
    assert bool(known_browser_id(request, "li")) is is_known


def test_a_cookie_with_other_members_is_read() -> None:
    request, response = RequestFactory().get("/"), HttpResponse()
    known_browsers._KNOWN_BROWSERS.set(request, response, "", {"id": "b1", "new": 1})
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
