"""Test that users can sign in and out with each kind of cache, also without a cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

import pytest
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import include, path
from pytest_django.fixtures import Settings

from ciam_django.accounts.rate_limits import (
    count_attempt,
    count_send,
    counting_code_entry,
    refuse_many_refused_tokens,
)
from ciam_django.client.cache import FORMAT
from ciam_django.errors import Stage
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE, PASSWORD, user_id_of
from tests.browser import Browser
from tests.caches import DOWN_CACHES, FORGETFUL_CACHES
from tests.login.person import FormBrowser
from tests.login.test_api import App

pytestmark = pytest.mark.django_db

CACHES: Final = {**DOWN_CACHES, **FORGETFUL_CACHES}
# The quick tests try a cache that hides failures, and no cache. The tests of client/cache.py try
# each kind of cache.
QUICK_KINDS: Final = ("django-redis hides failures", "no cache")
KINDS: Final = [
    kind
    if kind in QUICK_KINDS
    else pytest.param(kind, marks=pytest.mark.slow("sign-ins with each kind of cache"))
    for kind in CACHES
]


def show_user(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username())


urlpatterns = [path("", show_user), path("ciam/", include("ciam_django.urls"))]


def sign_in_at_the_page_of_ciam(ciam: FakeCiam) -> None:
    browser = Browser(ciam)
    assert browser.sign_in(next_url="/next/")["Location"] == "/next/"
    assert browser.user_id


def sign_in_with_a_password(ciam: FakeCiam) -> None:
    person = FormBrowser(ciam)
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD)
    assert person.user_id


def sign_in_with_a_code(ciam: FakeCiam) -> None:
    person = FormBrowser(ciam)
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number="138 0000 1234")
    person.submit_form(code="135790")
    assert person.response.status_code == 400
    person.submit_form(code=CODE)
    assert person.user_id


def sign_in_with_json(ciam: FakeCiam) -> None:
    app = App()
    assert app.send("email", email="li@example.com")["http"] == 200
    assert app.send("code", code=CODE)["http"] == 200
    assert app.user_id


def sign_out_by_the_back_channel(ciam: FakeCiam) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    assert browser.client.get("/").content
    logout_token = ciam.sign_logout_token(sub=user_id_of("li"))
    assert Client().post("/ciam/logout/back/", {"logout_token": logout_token}).status_code == 200
    assert not browser.client.get("/").content


def exceed_all_limits(ciam: FakeCiam) -> None:
    request = RequestFactory().post("/")
    for _ in range(8):
        count_send(request, "138 0000 1234", "SMS")
        count_attempt(request, "li", Stage.PASSWORD).subtract()
        refuse_many_refused_tokens(request)
        with counting_code_entry("flow", "SMS"):
            pass


# Name -> the function and the mode of CIAM.
ACTS: Final[Mapping[str, tuple[Callable[[FakeCiam], None], str]]] = {
    "hosted": (sign_in_at_the_page_of_ciam, "oidc"),
    "hosted in CIAM's own mode": (sign_in_at_the_page_of_ciam, "ciam"),
    "password": (sign_in_with_a_password, "ciam"),
    "code": (sign_in_with_a_code, "ciam"),
    "JSON": (sign_in_with_json, "ciam"),
    "back-channel logout": (sign_out_by_the_back_channel, "oidc"),
    "limits": (exceed_all_limits, "ciam"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("act", ACTS)
def test_users_sign_in_and_out_with_each_kind_of_cache_and_an_outage_is_one_warning(
    act: str, kind: str, fake_ciam: FakeCiam, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    function, mode = ACTS[act]
    settings.ROOT_URLCONF = __name__
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client(mode)}
    settings.CIAM_TIMEOUT = 30.0
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email"]
    settings.CACHES = {"default": CACHES[kind]}
    with caplog.at_level(logging.INFO):
        caplog.clear()
        function(fake_ciam)

    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == (kind in DOWN_CACHES), warnings
    assert all("Django's cache is down" in warning for warning in warnings)


@pytest.mark.parametrize("mode", ["oidc"])
def test_all_values_in_the_cache_are_encrypted_or_numbers_under_keys_with_the_format(
    ciam: FakeCiam, settings: Settings
) -> None:
    settings.ROOT_URLCONF = __name__
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email"]
    for act in (sign_in_with_a_password, sign_in_with_a_code, sign_out_by_the_back_channel):
        act(ciam)
    Browser(ciam).sign_in("locked")
    # No method lists the keys of this cache, and the stubs do not have the attribute.
    stored_keys = [key.removeprefix(":1:") for key in cache._cache]  # type: ignore[attr-defined]  # the cache of the tests is LocMem
    values = {key: cache.get(key) for key in stored_keys}

    for kind in ("kept", "state", "limit", "logout"):
        assert any(key.startswith(f"ciam_django.{kind}.") for key in values), kind
    assert [key for key in values if not key.endswith(f".{FORMAT}")] == []
    clear = {key: value for key, value in values.items() if not str(value).startswith("gAAAA")}
    assert {type(value) for value in clear.values()} == {int, float}
    assert {key.split(".")[1] for key in clear} == {"circuit", "limit", "logout", "state"}
