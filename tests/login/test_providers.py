"""The table of social providers, and what is offered where."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.login.providers import (
    MINI_PROGRAM,
    PROVIDERS,
    BrowserType,
    available_providers,
    browser_type,
    registrations,
    suggests_wechat,
)

DESKTOP = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"
PHONE = (
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"
)
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1"
WECHAT = f"{PHONE} MMWEBID/1 MicroMessenger/8.0.49.2600(0x28003133) WeChat/arm64 Weixin"
WECHAT_DESKTOP = f"{DESKTOP} NetType/WIFI MicroMessenger/7.0.20.1781(0x6700143B) WindowsWechat"
WECOM = f"{PHONE} wxwork/4.1.0 MicroMessenger/7.0.1"
IN_MINI_PROGRAM = f"{WECHAT} miniProgram/wx1234"

REGISTERED: dict[str, Any] = {
    "wechat": {
        "website": {"app_id": "wx1", "source": "s1"},
        "in_app": {"app_id": "wx2", "source": "s2"},
        "mini_program": {"app_id": "wx3", "source": "s3"},
    },
    "qq": {"app_id": "101", "source": "s4"},
}


@pytest.fixture(autouse=True)
def registered(settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = REGISTERED


def names_for(agent: str) -> list[str]:
    request = RequestFactory().get("/", headers={"User-Agent": agent})
    return [each.name for each in available_providers(request)]


@pytest.mark.parametrize(
    ("agent", "place", "names"),
    [
        (DESKTOP, BrowserType.DESKTOP, ["wechat-website", "qq"]),
        ("", BrowserType.DESKTOP, ["wechat-website", "qq"]),
        (PHONE, BrowserType.PHONE, ["qq"]),
        (IPHONE, BrowserType.PHONE, ["qq"]),
        (WECHAT, BrowserType.WECHAT, ["wechat-in_app", "qq"]),
        (WECHAT_DESKTOP, BrowserType.WECHAT, ["wechat-in_app", "qq"]),
        (WECOM, BrowserType.PHONE, ["qq"]),
        (IN_MINI_PROGRAM, BrowserType.PHONE, ["qq"]),
    ],
)
def test_wechat_is_offered_where_it_works(agent: str, place: BrowserType, names: list[str]) -> None:
    assert browser_type(RequestFactory().get("/", headers={"User-Agent": agent})) is place
    assert names_for(agent) == names


@pytest.mark.parametrize(
    ("agent", "wants"), [(PHONE, True), (DESKTOP, False), (WECHAT, False), (WECOM, True)]
)
def test_on_a_phone_the_page_says_to_open_it_in_wechat(agent: str, wants: bool) -> None:
    assert suggests_wechat(RequestFactory().get("/", headers={"User-Agent": agent})) is wants


def test_who_has_no_wechat_is_not_sent_there(settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = {"qq": REGISTERED["qq"]}
    request = RequestFactory().get("/", headers={"User-Agent": PHONE})

    assert not suggests_wechat(request)
    assert MINI_PROGRAM not in registrations()


def test_the_mini_program_has_no_page() -> None:
    found = registrations()[MINI_PROGRAM]

    assert (found.app_id, found.source) == ("wx3", "s3")


@pytest.mark.parametrize(
    "given",
    [
        {"qq": {"app_id": "101"}},
        {"qq": {"source": "s"}},
        {"nobody": {"app_id": "1", "source": "s"}},
        {"company": {"provider": "generic", "app_id": "1", "source": "s"}},
    ],
)
def test_what_is_not_complete_is_not_offered(given: dict[str, Any], settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = given

    assert not registrations()


def test_any_other_provider_is_described_by_the_project(settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = {
        "company": {
            "provider": "generic",
            "label": "Our company",
            "authorize_url": "https://id.example.com/authorize?tenant=7",
            "scope": "openid",
            "app_id": "1",
            "source": "s",
        }
    }
    url = registrations()["company"].authorize_url("https://shop.example/back/", "abc")

    assert registrations()["company"].provider.label == "Our company"
    assert url == (
        "https://id.example.com/authorize?tenant=7&client_id=1"
        "&redirect_uri=https%3A%2F%2Fshop.example%2Fback%2F&response_type=code"
        "&scope=openid&state=abc"
    )


@pytest.mark.parametrize("name", [name for name, row in PROVIDERS.items() if row.authorize_url])
def test_each_address_is_one_that_a_browser_can_be_sent_to(name: str, settings: Settings) -> None:
    given = {"app_id": "the app", "source": "s"}
    kind, _, part = name.partition(".")
    settings.CIAM_SOCIAL_PROVIDERS = {kind: {part: given} if part else given}
    (registration,) = registrations().values()

    parts = urlsplit(registration.authorize_url("https://shop.example/back/", "abc"))

    query = parse_qs(parts.query)
    assert (parts.scheme, query["state"]) == ("https", ["abc"])
    assert query[PROVIDERS[name].client_id] == ["the app"]
    assert query["redirect_uri"] == ["https://shop.example/back/"]
    assert query["response_type"] == ["code"]
    assert parts.fragment == ("wechat_redirect" if kind == "wechat" else "")
    assert list(query)[:3] == [PROVIDERS[name].client_id, "redirect_uri", "response_type"]
