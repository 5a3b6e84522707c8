"""Tests of the regions of mobile numbers: the choice at first, the order and the names."""

from __future__ import annotations

import sys

import pytest
from django.utils.translation import override
from pytest_django.fixtures import Settings

from ciam_django.login import phone_regions
from ciam_django.login.phone_regions import LIKELY_REGIONS, default_region, list_regions
from tests.rows import for_each_row
from tests.test_imports import PACKAGE, imports_of


@for_each_row(
    "home, allowed, language, chosen",
    [
        ("CN", [], "en", "CN"),
        ("CN", [], "zh-hans", "CN"),
        ("SG", [], "zh-hans", "SG"),
        ("CN", [], "zh-hant", "TW"),
        ("CN", [], "zh-hk", "HK"),
        ("HK", [], "zh-hant", "HK"),
        ("MO", ["MO", "TW"], "zh-hant", "MO"),
        ("CN", ["CN", "TW"], "zh-hant", "TW"),
        ("CN", ["CN", "HK"], "zh-hant", "CN"),
        # Mistakes that "manage.py check" reports.
        ("CN", ["HK", "TW"], "en", "HK"),
        ("CN", ["ZZ", "TW"], "en", "TW"),
        ("CN", ["ZZ"], "en", "CN"),
    ],
)
def test_the_first_choice_depends_on_the_settings_and_the_language(
    settings: Settings, home: str, allowed: list[str], language: str, chosen: str
) -> None:
    settings.CIAM_PHONE_REGION, settings.CIAM_PHONE_REGIONS = home, allowed
    with override(language):
        assert default_region() == chosen
        likely, others = list_regions()

    assert likely[0].id == chosen
    if any(region != "ZZ" for region in allowed):
        assert sorted(region.id for region in likely) == sorted({*allowed} - {"ZZ"})
        assert others == ()


@for_each_row(
    "language, names, first, last",
    [
        ("en", "Mainland China, Hong Kong, Macao, Taiwan, Singapore", "Afghanistan", "Zimbabwe"),
        # In the order of the pronunciation. Rare characters are the last.
        ("zh-hans", "中国大陆, 中国香港, 中国澳门, 中国台湾, 新加坡", "阿尔巴尼亚", "斐济"),
        # In the order of the strokes.
        ("zh-hant", "台灣, 中國大陸, 香港, 澳門, 新加坡", "千里達及托巴哥", "蘇利南"),
        # Babel does not know the language.
        ("xx", "Mainland China, Hong Kong, Macao, Taiwan, Singapore", "Afghanistan", "Zimbabwe"),
    ],
)
def test_the_likely_regions_are_first_and_the_others_are_sorted_by_name(
    settings: Settings, language: str, names: str, first: str, last: str
) -> None:
    settings.LANGUAGES = [*settings.LANGUAGES, ("xx", "xx")]
    with override(language):
        likely, others = list_regions()

    assert ", ".join(region.name for region in likely[:5]) == names
    assert {region.id for region in likely} == {*LIKELY_REGIONS}
    assert [region.calling_code for region in likely if region.id in ("CN", "TW")] in (
        ["86", "886"],
        ["886", "86"],
    )
    assert (others[0].name, others[-1].name) == (first, last)
    assert len(likely) + len(others) > 200


def test_babel_is_imported_by_the_first_list_that_needs_its_names() -> None:
    imports = imports_of(PACKAGE / "login" / "phone_regions.py", phone_regions.__name__)

    assert {i.inside for i in imports if i.name.startswith("babel.")} == {"_babel_names_of"}


def test_the_regions_of_our_own_names_need_no_babel(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CIAM_PHONE_REGIONS = ["CN", "HK", "MO", "TW"]
    monkeypatch.setitem(sys.modules, "babel", None)
    phone_regions._list_regions.cache_clear()

    assert [region.name for region in list_regions()[0]][1:] == ["Hong Kong", "Macao", "Taiwan"]
