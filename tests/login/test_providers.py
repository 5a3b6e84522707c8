"""The table of social providers, and the providers that each type of browser is offered."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.login.providers import (
    MINI_PROGRAM,
    PROVIDERS,
    BrowserType,
    available_providers,
    browser_type,
    icon_url,
    offered_providers,
    providers_elsewhere,
    registrations,
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


# --- The groups of the login page -------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "google": {"app_id": "g", "source": "s5"},
    "weibo": {"app_id": "w", "source": "s7"},
    **REGISTERED,
    "alipay": {"app_id": "a", "source": "s6"},
    "dingtalk": {"app_id": "d", "source": "s8"},
    "feishu": {"app_id": "f", "source": "s9"},
    "company": {
        "provider": "generic",
        "label": "Our company",
        "authorize_url": "https://id.example.com/authorize",
        "app_id": "c",
        "source": "s10",
        "icon": "/icons/company.png",
    },
}
OTHERS = ["weibo", "dingtalk", "feishu"]
OPEN_IN_WECHAT = ("WeChat", "wechat")
OPEN_IN_BROWSER = ("Google", "browser")
# The User-Agent of a browser -> the provider above the form, the marks, the others, and the
# providers of another browser.
GROUPS: dict[str, tuple[Any, ...]] = {
    "desktop": (DESKTOP, "", ["wechat-website", "qq", "alipay", "company"], ["google", *OTHERS]),
    "no agent": ("", "", ["wechat-website", "qq", "alipay", "company"], ["google", *OTHERS]),
    "phone": (PHONE, "", ["qq", "alipay", "company"], ["google", *OTHERS], OPEN_IN_WECHAT),
    "iPhone": (IPHONE, "", ["qq", "alipay", "company"], ["google", *OTHERS], OPEN_IN_WECHAT),
    "WeChat": (
        WECHAT,
        "wechat-in_app",
        ["qq", "company"],
        OTHERS,
        OPEN_IN_BROWSER,
        ("Alipay", "browser"),
    ),
    "WeChat on a desktop": (
        WECHAT_DESKTOP,
        "wechat-in_app",
        ["qq", "company"],
        OTHERS,
        OPEN_IN_BROWSER,
        ("Alipay", "browser"),
    ),
    **{
        name: (
            agent,
            first,
            [each for each in ("qq", "alipay", "company") if each != first],
            [each for each in OTHERS if each != first],
            OPEN_IN_BROWSER,
            OPEN_IN_WECHAT,
        )
        for name, agent, first in [
            ("WeCom", WECOM, ""),
            ("mini program", IN_MINI_PROGRAM, ""),
            ("QQ", IN_APP["QQ"], "qq"),
            ("Alipay", IN_APP["Alipay"], "alipay"),
            ("Weibo", IN_APP["Weibo"], "weibo"),
            ("DingTalk", IN_APP["DingTalk"], "dingtalk"),
            ("Feishu", f"{PHONE} Lark/7.6", "feishu"),
            ("Facebook", IN_APP["Facebook"], ""),
        ]
    },
}


def request_of(agent: str) -> HttpRequest:
    return RequestFactory().get("/", headers={"User-Agent": agent})


def groups_for(agent: str, last_method: str = "") -> list[Any]:
    offered = offered_providers(request_of(agent), last_method)
    first = offered.first.name if offered.first else ""
    groups = [[each.name for each in group] for group in (offered.marks, offered.others)]
    elsewhere = providers_elsewhere(request_of(agent))
    return [first, *groups, *((str(each.provider.label), place) for each, place in elsewhere)]


def test_each_browser_is_offered_only_what_works_there_in_groups(settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = EVERYTHING

    assert {name: groups_for(agent) for name, (agent, *_) in GROUPS.items()} == {
        name: groups for name, (_, *groups) in GROUPS.items()
    }


@pytest.mark.parametrize(
    ("agent", "last", "first", "names"),
    [
        (DESKTOP, "qq", "qq", ["wechat-website", "alipay"]),
        (DESKTOP, "weibo", "weibo", ["wechat-website", "qq"]),
        (DESKTOP, "password", "", ["wechat-website", "qq"]),
        # The provider does not work in this browser.
        (DESKTOP, "wechat-in_app", "", ["wechat-website", "qq"]),
        (WECHAT, "company", "wechat-in_app", ["company", "qq"]),
    ],
)
def test_the_provider_that_was_used_last_comes_first(
    agent: str, last: str, first: str, names: list[str], settings: Settings
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = EVERYTHING
    shown_first, marks, *_ = groups_for(agent, last)

    assert (shown_first, marks[:2]) == (first, names)


def test_nothing_is_elsewhere_without_a_registration_that_works_there() -> None:
    assert providers_elsewhere(request_of(DESKTOP)) == []


def test_an_icon_is_a_url_or_a_static_file(settings: Settings) -> None:
    qq = REGISTERED["qq"]
    icons = ("/q.png", "https://cdn.example.com/q.png", "shop/q.png", "")
    settings.CIAM_SOCIAL_PROVIDERS = {
        "own": {"provider": "qq", **qq},
        **{f"q{n}": {"provider": "qq", **qq, "icon": icon} for n, icon in enumerate(icons)},
    }

    assert [icon_url(each) for each in registrations().values()] == [
        "/static/ciam_django/qq.svg",
        "/q.png",
        "https://cdn.example.com/q.png",
        "/static/shop/q.png",
        "",
    ]


def test_a_project_can_say_in_which_browsers_a_provider_works(settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = {
        "google": {**EVERYTHING["google"], "browser_types": ["wechat", "in_app"]}
    }

    assert [names_for(agent) for agent in (WECHAT, WECOM)] == [["google"]] * 2
    assert names_for(DESKTOP) == []
