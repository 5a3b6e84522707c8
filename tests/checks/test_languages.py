"""Test the checks of the languages that users can read the answers in."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import global_settings
from django.conf import settings as django_settings
from django.middleware.locale import LocaleMiddleware
from pytest_django.fixtures import Settings

from tests.checks.test_settings import NoUrls, found_with, only_message

LOCALE = "django.middleware.locale.LocaleMiddleware"
OTHERS = [name for name in django_settings.MIDDLEWARE if name != LOCALE]
ENGLISH = [("en", "English")]


class OwnLocaleMiddleware(LocaleMiddleware):
    """A subclass in a project."""


def with_locale_at(place: int, name: str = LOCALE) -> list[str]:
    return [*OTHERS[:place], name, *OTHERS[place:]]


@pytest.mark.parametrize(
    "settings",
    [
        {"MIDDLEWARE": OTHERS, "LANGUAGES": [("zh-hans", "简体中文")], "LANGUAGE_CODE": "zh-hans"},
        {"MIDDLEWARE": with_locale_at(2, f"{__name__}.OwnLocaleMiddleware")},
        {"MIDDLEWARE": [LOCALE, *(name for name in OTHERS if "essionMiddleware" not in name)]},
        {"USE_I18N": False, "LANGUAGES": ENGLISH, "MIDDLEWARE": OTHERS},
        {"USE_I18N": False, "LANGUAGES": [*ENGLISH, ("en-gb", "British English")]},
    ],
    ids=["one language", "subclass", "no sessions", "English", "two Englishes"],
)
def test_a_project_whose_users_read_their_languages_has_no_messages(
    settings: dict[str, Any],
) -> None:
    messages = found_with(**settings, ROOT_URLCONF=NoUrls)

    assert [message for message in messages if "W08" in str(message.id)] == []


def test_the_default_of_languages_counts_as_many_languages() -> None:
    """``startproject`` sets no LANGUAGES, and Django's default has all its languages."""
    only_message("no locale middleware", MIDDLEWARE=OTHERS, LANGUAGES=global_settings.LANGUAGES)


@pytest.mark.parametrize(
    ("place", "side", "other"),
    [
        (1, "before", "django.contrib.sessions.middleware.SessionMiddleware"),
        (3, "after", "django.middleware.common.CommonMiddleware"),
    ],
)
def test_a_locale_middleware_on_the_wrong_side_is_reported(
    place: int, side: str, other: str
) -> None:
    message = only_message("locale middleware order", MIDDLEWARE=with_locale_at(place))

    assert message.msg == f"In MIDDLEWARE, {LOCALE!r} is {side} {other!r}."


def test_one_language_that_is_not_english_needs_translations() -> None:
    only_message("no translations", USE_I18N=False, LANGUAGES=[("zh-hans", "简体中文")])


def test_a_project_without_urls_has_no_users_who_choose_a_language(settings: Settings) -> None:
    del settings.ROOT_URLCONF

    assert found_with(MIDDLEWARE=OTHERS) == []
    assert found_with(USE_I18N=False) == []
