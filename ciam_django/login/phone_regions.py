"""List the countries and regions that a user can choose as the country code of a number."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from django.utils.translation import get_language, pgettext_lazy, to_locale

from ciam_django.conf import conf
from ciam_django.phone_numbers import phonenumbers

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# If CIAM_PHONE_REGIONS allows all regions, these regions are at the top of the list.
LIKELY_REGIONS: Final = ("CN", "HK", "MO", "TW", "SG", "MY", "JP", "KR", "US", "GB", "AU", "CA")
# Babel's names of these regions are long ("Hong Kong SAR China") or not the names that products
# use. A catalogue of the project can replace these names.
_OWN_NAMES: Final[Mapping[str, StrPromise]] = {
    "CN": pgettext_lazy("ciam", "Mainland China"),
    "HK": pgettext_lazy("ciam", "Hong Kong"),
    "MO": pgettext_lazy("ciam", "Macao"),
    "TW": pgettext_lazy("ciam", "Taiwan"),
}
# Language of the page -> the region of most of its readers. Other languages do not tell the region.
_REGIONS_OF_LANGUAGES: Final = {"zh-hant": "TW", "zh-tw": "TW", "zh-hk": "HK", "zh-mo": "MO"}
# Script -> the character set that has the usual order: by pronunciation, or by number of strokes.
_CHARACTER_SETS: Final = {"Hans": "gb18030", "Hant": "big5hkscs"}


class PhoneRegion(NamedTuple):
    """A country or region: its two letters of ISO 3166, its calling code and its name."""

    id: str
    calling_code: str
    name: str


def default_region() -> str:
    """Return the region that a form chooses at first, in the active language.

    Most readers of Traditional Chinese have numbers of Taiwan, unless ``CIAM_PHONE_REGION`` is
    Hong Kong or Macao. Pages in other languages choose ``CIAM_PHONE_REGION``.
    """
    home, allowed = conf.CIAM_PHONE_REGION, _allowed_regions()
    guess = _REGIONS_OF_LANGUAGES.get(get_language() or "", home)
    if home in _REGIONS_OF_LANGUAGES.values():
        guess = home
    wanted = [region for region in (guess, home) if region in (allowed or (region,))]
    return (wanted or allowed)[0]


def likely_regions() -> tuple[str, ...]:
    """Return the regions at the top of the list, the most likely region first.

    They are the regions of ``CIAM_PHONE_REGIONS`` or, without this setting, ``LIKELY_REGIONS``.
    """
    regions = _allowed_regions() or (conf.CIAM_PHONE_REGION, *LIKELY_REGIONS)
    return tuple(dict.fromkeys((default_region(), *regions)))


def list_regions() -> tuple[tuple[PhoneRegion, ...], tuple[PhoneRegion, ...]]:
    """Return the likely regions, and all other allowed regions by name, in the active language."""
    return _list_regions(likely_regions(), bool(_allowed_regions()), get_language() or "en")


@functools.lru_cache(maxsize=64)
def _list_regions(
    likely: tuple[str, ...], is_complete: bool, language: str
) -> tuple[tuple[PhoneRegion, ...], tuple[PhoneRegion, ...]]:
    others = () if is_complete else phonenumbers.SUPPORTED_REGIONS.difference(likely)
    # The sites that list their regions do not need Babel's names if these have names of our own.
    names, sort_key = (
        ({}, str.casefold)
        if _OWN_NAMES.keys() >= {*likely, *others}
        else _babel_names_of(to_locale(language))
    )
    regions = [
        PhoneRegion(
            region,
            str(phonenumbers.country_code_for_region(region)),
            str(_OWN_NAMES[region]) if region in _OWN_NAMES else names.get(region, region),
        )
        for region in (*likely, *others)
    ]
    rest = sorted(regions[len(likely) :], key=lambda region: sort_key(region.name))
    return tuple(regions[: len(likely)]), tuple(rest)


def _babel_names_of(locale: str) -> tuple[Mapping[str, str], Callable[[str], str | bytes]]:
    """Return the names of all regions in a language, and the sort key of names.

    The names are in English if Babel does not know the language.
    """
    # The import would slow down each start of the project.
    from babel import Locale, UnknownLocaleError  # noqa: PLC0415  (see above)

    try:
        found = Locale.parse(locale)
    except (UnknownLocaleError, ValueError):
        found = Locale("en")
    if character_set := _CHARACTER_SETS.get(found.script or ""):
        return found.territories, lambda name: name.encode(character_set, "replace")
    return found.territories, lambda name: unicodedata.normalize("NFKD", name).casefold()


def _allowed_regions() -> tuple[str, ...]:
    """Return the regions of ``CIAM_PHONE_REGIONS``; an empty tuple allows all regions.

    Texts that are no regions are left out; ``manage.py check`` reports them.
    """
    return tuple(
        region for region in conf.CIAM_PHONE_REGIONS if region in phonenumbers.SUPPORTED_REGIONS
    )
