"""The table of social providers, and the providers that each type of browser is offered."""

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
    providers_outside_apps,
    registrations,
    suggests_wechat,
)
from tests.login.test_hints import IN_APP

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
    return [provider.name for provider in available_providers(request)]


@pytest.mark.parametrize(
    ("agent", "type_of_browser", "names"),
    [
        (DESKTOP, BrowserType.DESKTOP, ["wechat-website", "qq"]),
        ("", BrowserType.DESKTOP, ["wechat-website", "qq"]),
        (PHONE, BrowserType.PHONE, ["qq"]),
        (IPHONE, BrowserType.PHONE, ["qq"]),
        (WECHAT, BrowserType.WECHAT, ["wechat-in_app", "qq"]),
        (WECHAT_DESKTOP, BrowserType.WECHAT, ["wechat-in_app", "qq"]),
        (WECOM, BrowserType.IN_APP, ["qq"]),
        (IN_MINI_PROGRAM, BrowserType.IN_APP, ["qq"]),
    ],
)
def test_wechat_is_offered_only_to_browsers_in_which_it_works(
    agent: str, type_of_browser: BrowserType, names: list[str]
) -> None:
    assert browser_type(RequestFactory().get("/", headers={"User-Agent": agent})) is type_of_browser
    assert names_for(agent) == names


@pytest.mark.parametrize(
    ("agent", "wants"), [(PHONE, True), (DESKTOP, False), (WECHAT, False), (WECOM, True)]
)
def test_a_browser_on_a_phone_gets_the_advice_to_open_wechat(agent: str, wants: bool) -> None:
    assert suggests_wechat(RequestFactory().get("/", headers={"User-Agent": agent})) is wants


def test_the_advice_to_open_wechat_needs_a_registration_of_wechat(settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = {"qq": REGISTERED["qq"]}
    request = RequestFactory().get("/", headers={"User-Agent": PHONE})

    assert not suggests_wechat(request)
    assert MINI_PROGRAM not in registrations()


def test_the_mini_program_is_registered_without_a_page() -> None:
    registration = registrations()[MINI_PROGRAM]

    assert (registration.app_id, registration.source) == ("wx3", "s3")


@pytest.mark.parametrize(
    "incomplete",
    [
        {"qq": {"app_id": "101"}},
        {"qq": {"source": "s"}},
        {"nobody": {"app_id": "1", "source": "s"}},
        {"company": {"provider": "generic", "app_id": "1", "source": "s"}},
    ],
)
def test_an_incomplete_registration_is_not_offered(
    incomplete: dict[str, Any], settings: Settings
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = incomplete

    assert not registrations()


def test_a_project_can_describe_another_provider(settings: Settings) -> None:
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
def test_each_authorize_url_has_the_parameters_of_its_provider(
    name: str, settings: Settings
) -> None:
    fields = {"app_id": "the app", "source": "s"}
    kind, _, part = name.partition(".")
    settings.CIAM_SOCIAL_PROVIDERS = {kind: {part: fields} if part else fields}
    (registration,) = registrations().values()

    parts = urlsplit(registration.authorize_url("https://shop.example/back/", "abc"))

    query = parse_qs(parts.query)
    assert (parts.scheme, query["state"]) == ("https", ["abc"])
    assert query[PROVIDERS[name].client_id] == ["the app"]
    assert query["redirect_uri"] == ["https://shop.example/back/"]
    assert query["response_type"] == ["code"]
    assert parts.fragment == ("wechat_redirect" if kind == "wechat" else "")
    assert list(query)[:3] == [PROVIDERS[name].client_id, "redirect_uri", "response_type"]


@pytest.mark.parametrize("proofs", [None, 7, "pkce", {}, [{}], ["plain"], ["nonce"]], ids=str)
def test_a_proof_that_the_provider_does_not_take_is_not_sent(
    proofs: Any, settings: Settings
) -> None:
    fields = {"app_id": "1", "source": "s", "proofs": proofs}
    settings.CIAM_SOCIAL_PROVIDERS = {"weibo": fields, "feishu": fields}

    assert [registration.proofs for registration in registrations().values()] == [
        frozenset(),
        frozenset({"pkce"} if proofs == "pkce" else ()),
    ]


# --- Browsers inside apps ---------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    **REGISTERED,
    "google": {"app_id": "g", "source": "s5"},
    "alipay": {"app_id": "a", "source": "s6"},
}


@pytest.mark.parametrize(
    ("agent", "names", "labels"),
    [
        (DESKTOP, ["wechat-website", "qq", "google", "alipay"], []),
        (PHONE, ["qq", "google", "alipay"], []),
        (WECHAT, ["wechat-in_app", "qq"], ["Google", "Alipay"]),
        (WECHAT_DESKTOP, ["wechat-in_app", "qq"], ["Google", "Alipay"]),
        (WECOM, ["qq", "alipay"], ["Google"]),
        *[
            (agent, ["qq", "alipay"], ["Google"])
            for name, agent in IN_APP.items()
            if not name.startswith("WeChat")
        ],
    ],
)
def test_a_browser_inside_an_app_is_offered_only_what_works_there(
    agent: str, names: list[str], labels: list[str], settings: Settings
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = EVERYTHING

    assert names_for(agent) == names
    request = RequestFactory().get("/", headers={"User-Agent": agent})
    assert list(providers_outside_apps(request)) == labels


def test_a_project_can_say_in_which_browsers_a_provider_works(settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = {
        "google": {**EVERYTHING["google"], "browser_types": ["wechat", "in_app"]}
    }

    assert [names_for(agent) for agent in (WECHAT, WECOM)] == [["google"]] * 2
    assert names_for(DESKTOP) == []
