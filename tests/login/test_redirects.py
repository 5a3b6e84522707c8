"""Tests of safe redirects."""

from __future__ import annotations

import json

import pytest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.login.redirects import (
    callback_url,
    redirect_or_json_response,
    safe_next,
    url_after_sign_in,
    url_after_sign_out,
)


@pytest.mark.parametrize("url", ["/", "/a?b=c#d", "http://testserver/a", "a/b", "/" + "a" * 1023])
def test_a_url_of_this_site_is_safe(url: str) -> None:
    assert safe_next(RequestFactory().get("/"), url) == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "https://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "http:///evil.example",
        "//",
        "/\\",
        "/\t/",
        " /a",
        "/a ",
        "/a\x00",
        "/a\r\nb",
        "javascript:alert(1)",
        "\x08//evil.example",
        "http://[::1",
        "/" + "a" * 1024,
        # The limit counts bytes, and this URL has more bytes than characters.
        "/" + "中" * 400,
        "/\ud800" * 600,
    ],
)
def test_a_url_of_another_site_or_an_invalid_url_is_not_safe(url: str | None) -> None:
    assert safe_next(RequestFactory().get("/"), url) == ""


def test_an_http_url_is_not_safe_under_https() -> None:
    assert safe_next(RequestFactory().get("/", secure=True), "http://testserver/") == ""


def test_a_stored_next_is_checked_again(settings: Settings) -> None:
    settings.LOGIN_REDIRECT_URL = "/home/"

    assert url_after_sign_in(RequestFactory().get("/"), "https://evil.example/") == "/home/"


def test_a_logout_redirects_to_the_setting_or_to_the_login_page(settings: Settings) -> None:
    settings.LOGOUT_REDIRECT_URL = None
    assert url_after_sign_out(RequestFactory().post("/")) == "/ciam/login/"

    settings.LOGOUT_REDIRECT_URL = "ciam:callback"
    assert url_after_sign_out(RequestFactory().post("/")) == "/ciam/callback/"


def test_a_departure_is_json_for_a_client_that_prefers_json_and_a_redirect_for_others() -> None:
    for accept, status in (("text/html", 302), ("*/*", 302), ("application/json", 200)):
        request = RequestFactory().get("/", headers={"Accept": accept})
        response = redirect_or_json_response(request, "https://ciam.example/?state=1")

        assert response.status_code == status
        assert response["Cache-Control"] == "no-store"
        if status == 302:
            assert response["Location"] == "https://ciam.example/?state=1"
            assert response["Referrer-Policy"] == "no-referrer"
        else:
            body = json.loads(response.content)
            assert body == {"status": "redirect", "url": "https://ciam.example/?state=1"}


def test_the_callback_url_comes_from_the_setting_or_from_the_request(settings: Settings) -> None:
    request = RequestFactory().get("/", secure=True)
    assert callback_url(request) == "https://testserver/ciam/callback/"

    settings.CIAM_CALLBACK_URL = "https://example.com/back/"
    assert callback_url(request) == "https://example.com/back/"
