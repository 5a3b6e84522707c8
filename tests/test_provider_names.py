"""The names of social providers."""

from __future__ import annotations

from typing import Any

from django.utils.translation import override
from pytest_django.fixtures import Settings

from ciam_django.login.providers import PROVIDERS
from ciam_django.provider_names import PROVIDER_NAMES, provider_name, provider_row
from tests.rows import for_each_row

LABELLED = {"label": "Our company", "provider": "generic"}


@for_each_row(
    "setting, slug, name",
    [
        ({}, "", ""),
        ({}, "wechat-website", "WeChat"),
        ({}, "qq", "QQ"),
        ({}, "company", "company"),
        ({"company": LABELLED}, "company", "Our company"),
        ({"work": {"provider": "dingtalk"}}, "work", "DingTalk"),
        ({"shop": {"provider": "wechat.website"}}, "shop", "WeChat"),
        ({"wechat": {"website": {"label": "微信"}}}, "wechat-website", "微信"),
        ({"wechat": {"website": None}}, "wechat-website", "WeChat"),
        ({"wechat": "a text"}, "wechat-website", "WeChat"),
        ({"qq": "a text"}, "qq", "QQ"),
    ],
)
def test_a_provider_has_the_name_of_its_entry_or_of_the_table(
    settings: Settings, setting: dict[str, Any], slug: str, name: str
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = setting

    assert provider_name(slug) == name


def test_the_table_names_each_provider_in_the_users_language() -> None:
    assert {name.partition(".")[0] for name in PROVIDERS} == {*PROVIDER_NAMES, "generic"}
    with override("zh-hans"):
        assert provider_name("wechat-website") == "微信"


@for_each_row(
    "setting, slug, row",
    [
        ({}, "wechat-website", "wechat"),
        ({"work": {"provider": "dingtalk"}}, "work", "dingtalk"),
        ({"shop": {"provider": "wechat.website", "label": "Shop"}}, "shop", "wechat"),
        ({}, "company-staff", "company"),
    ],
)
def test_a_provider_has_the_row_of_its_entry_or_the_beginning_of_its_slug(
    settings: Settings, setting: dict[str, Any], slug: str, row: str
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = setting

    assert provider_row(slug) == row
