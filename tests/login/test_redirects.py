"""Tests of safe redirects."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import clear_script_prefix, path, set_script_prefix
from django.utils import translation
from pytest_django.fixtures import Settings

from ciam_django.login import redirects
from ciam_django.login.redirects import (
    absolute_url,
    callback_url,
    end_fragment,
    redirect_or_json_response,
    redirect_response,
    safe_next,
    url_after_sign_in,
    url_after_sign_out,
)
from tests.conftest import DEFAULT_REDIRECT


@pytest.mark.parametrize("url", ["/", "/a?b=c#d", "http://testserver/a", "a/b", "/" + "a" * 511])
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
        "/" + "a" * 512,
        # The limit counts bytes, and this URL has more bytes than characters.
        "/" + "中" * 200,
        "/\ud800" * 300,
    ],
)
def test_a_url_of_another_site_or_an_invalid_url_is_not_safe(url: str | None) -> None:
    assert safe_next(RequestFactory().get("/"), url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "/ciam/callback/",
        "/ciam/callback",
        "/ciam/callback/?code=c&state=s#top",
        "http://testserver/ciam/authorize/",
        "http://testserver//ciam/authorize/",
        "/ciam//unlink/",
        "/a/../ciam/logout/",
        "/a/%2e%2E/ciam/logout/",
        "/%63iam/login/",
        "/ciam/step/abc/",
        "/ciam/with/qq/",
        "/ciam/with/qq/callback/",
        "/ciam/api/",
        "../ciam/logout/back/",
        "ciam/captcha/",
        "?",
        "#",
        "?next=/",
    ],
)
def test_a_url_of_this_package_is_not_safe(url: str) -> None:
    # A relative URL is one of this package only if it is opened from a page of this package.
    base = "/ciam/login/" if url[0] in "?#" else "/"

    assert safe_next(RequestFactory().get(base), url) == ""


@pytest.mark.parametrize(
    "url", ["/ciam/done/", "/ciam/done/?next=/cart/", "/ciam/unknown/", "/ciam/", "/a/ciam/login/"]
)
def test_the_last_page_of_a_popup_and_pages_of_the_project_are_safe(url: str) -> None:
    assert safe_next(RequestFactory().get("/"), url) == url


@override_settings(ROOT_URLCONF="tests.login.urls_with_languages")
@pytest.mark.parametrize("active", ["en", "zh-hans"])
def test_a_url_of_this_package_is_not_safe_with_the_prefix_of_any_language(active: str) -> None:
    request = RequestFactory().get("/")
    with translation.override(active):
        for prefix in ("", "/zh-hans", "/zh-hant"):
            assert safe_next(request, f"{prefix}/ciam/login/") == ""
            assert safe_next(request, f"{prefix}/ciam/done/") == f"{prefix}/ciam/done/"
        assert safe_next(request, "/de/ciam/login/") == "/de/ciam/login/"
    with translation.override(None):
        assert safe_next(request, "/ciam/login/") == ""


def test_a_url_of_this_package_is_not_safe_below_the_prefix_of_the_wsgi_script() -> None:
    set_script_prefix("/shop/")
    try:
        request = RequestFactory().get("/shop/")
        assert safe_next(request, "/shop/ciam/login/") == ""
        assert safe_next(request, "/shop/ciam/done/") == "/shop/ciam/done/"
    finally:
        clear_script_prefix()


def test_a_path_of_one_long_word_is_safe() -> None:
    # Django does not accept such a word as the code of a language.
    url = "/" + "a" * 505 + "/"

    assert safe_next(RequestFactory().get("/"), url) == url


def test_an_http_url_is_not_safe_under_https() -> None:
    assert safe_next(RequestFactory().get("/", secure=True), "http://testserver/") == ""


def test_a_stored_next_is_checked_again(settings: Settings) -> None:
    settings.LOGIN_REDIRECT_URL = "/home/"

    assert url_after_sign_in(RequestFactory().get("/"), "https://evil.example/") == "/home/"


@pytest.fixture
def no_redirect_setting(settings: Settings) -> Iterator[None]:
    """A project that does not set ``LOGIN_REDIRECT_URL``, and a process without log lines."""
    redirects._log_missing_page.cache_clear()
    yield
    redirects._log_missing_page(DEFAULT_REDIRECT)


def test_a_default_redirect_without_a_page_is_logged_once(
    no_redirect_setting: None, caplog: pytest.LogCaptureFixture
) -> None:
    urls = [url_after_sign_in(RequestFactory().get("/"), "") for _ in range(2)]

    assert urls == ["/accounts/profile/"] * 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Set LOGIN_REDIRECT_URL to a path" in caplog.messages[0]


class ProfileUrls:
    """The URLs of a project with the page of Django's default."""

    urlpatterns = (path("accounts/profile/", lambda request: HttpResponse()),)


def test_a_redirect_to_a_page_or_of_a_setting_is_not_logged(
    no_redirect_setting: None, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(ROOT_URLCONF=ProfileUrls):
        assert url_after_sign_in(RequestFactory().get("/"), "") == "/accounts/profile/"
    settings.LOGIN_REDIRECT_URL = "/app/"
    assert url_after_sign_in(RequestFactory().get("/"), "") == "/app/"

    assert caplog.records == []


def test_a_logout_redirects_to_the_setting_or_to_the_login_page(settings: Settings) -> None:
    settings.LOGOUT_REDIRECT_URL = None
    assert url_after_sign_out(RequestFactory().post("/")) == "/ciam/login/"

    settings.LOGOUT_REDIRECT_URL = "ciam:callback"
    assert url_after_sign_out(RequestFactory().post("/")) == "/ciam/callback/"


def test_a_departure_is_json_for_a_client_that_prefers_json_and_a_redirect_for_others() -> None:
    for accept, status in (
        ("text/html", 302),
        ("*/*", 302),
        ("application/json", 200),
        ("application/json" + ",a/b" * 5_000, 302),
    ):
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


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("/a?b=c#d", "https://shop.example:8443/a?b=c#d"),
        ("a", "https://shop.example:8443/ciam/logout/a"),
        ("http://testserver/a", "https://shop.example:8443/a"),
        ("https://other.example/a", "https://other.example/a"),
    ],
)
def test_the_origin_of_an_absolute_url_is_the_origin_of_the_callback_url(
    url: str, absolute: str, settings: Settings
) -> None:
    # Behind a proxy with TLS, the request can have the scheme and the host of the last hop.
    request = RequestFactory().get("/ciam/logout/")
    before = absolute_url(request, url)
    settings.CIAM_CALLBACK_URL = "https://shop.example:8443/ciam/callback/"

    assert absolute_url(request, url) == absolute
    assert before == absolute.replace("https://shop.example:8443", "http://testserver")


@pytest.mark.parametrize(("url", "location"), [("/a?b", "/a?b#"), ("/a#b", "/a#b"), ("/a#", "/a#")])
def test_a_redirect_keeps_no_fragment_of_the_provider(url: str, location: str) -> None:
    response = redirect_response(url)
    end_fragment(response)

    assert response["Location"] == location
