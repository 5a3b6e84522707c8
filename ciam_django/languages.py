"""Choose the language of an answer, among the languages that have texts of this package.

The texts are in English in the source code. Other languages have a catalogue of this package or of
the project.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from django.conf import settings
from django.conf.locale import LANG_INFO
from django.http import HttpRequest
from django.utils.translation import (
    get_language,
    get_language_from_request,
    override,
    pgettext,
)

from ciam_django.conf import cached_until_settings_change

_SOURCE_LANGUAGE: Final = "en"
# Django has no fallback for Chinese without a region and a script.
_FALLBACKS: Final[Mapping[str, Sequence[str]]] = {"zh": ("zh-hans",)}
# Many servers know Chinese only by the region, and do not know the script.
_REGIONAL_TAGS: Final[Mapping[str, Sequence[str]]] = {"zh-hans": ("zh-CN",), "zh-hant": ("zh-TW",)}


def language_for(request: HttpRequest | None, active_language: str | None = None) -> str:
    """Return the active language; without an active language, the project's ``LANGUAGE_CODE``.

    ``active_language`` is the result of ``get_language``, if the caller has read it.

    WeChat names a language as ``zh_CN``. Django ignores an ``Accept-Language`` with such a name, so
    that the language is read again with ``-`` in place of ``_``. The language of a cookie or of the
    URL has precedence, as in Django's ``LocaleMiddleware``. A language that the project has
    activated itself is not replaced.
    """
    active = active_language or get_language() or settings.LANGUAGE_CODE
    header = request.META.get("HTTP_ACCEPT_LANGUAGE", "") if request else ""
    if request is None or "_" not in header or getattr(request, "LANGUAGE_CODE", "") != active:
        return active
    spelled = HttpRequest()
    spelled.META["HTTP_ACCEPT_LANGUAGE"] = header.replace("_", "-")
    spelled.COOKIES, spelled.path_info = request.COOKIES, request.path_info
    return get_language_from_request(spelled, check_path=True)


_NO_CHANGE: Final = contextlib.nullcontext()


def in_language(
    language: str, active_language: str | None
) -> contextlib.AbstractContextManager[None]:
    """Return a context in which the language is active.

    ``active_language`` is the result of ``get_language``. The context does nothing if the language
    is active already: ``override`` costs as much as the translation of a text.
    """
    return _NO_CHANGE if active_language == language else override(language)


@cached_until_settings_change("INSTALLED_APPS", "LANGUAGE_CODE", "LOCALE_PATHS")
def language_of_texts(language: str) -> str:
    """Return the language of this package's texts for users of a language.

    The result is the language itself, a similar language, ``LANGUAGE_CODE`` or English: the first
    language that has texts of this package. Activate the result before a text is translated.
    Otherwise the response can also have texts of another catalogue, and numbers in its format.
    """
    if similar_language := similar_language_with_texts(language):
        return similar_language
    fallback = similar_language_with_texts(settings.LANGUAGE_CODE)
    return _language_of_catalogue(fallback) if fallback else _SOURCE_LANGUAGE


def similar_language_with_texts(language: str) -> str | None:
    """Return the first language of ``similar_languages`` that has texts of this package, or None.

    A catalogue with a few texts of this package does not count. It counts if it translates the code
    of its language.
    """
    for similar_language in similar_languages(language):
        if f"{similar_language}-".startswith(f"{_language_of_catalogue(similar_language)}-"):
            return similar_language
    return None


def _language_of_catalogue(language: str) -> str:
    """Return the language of the texts that Django finds while ``language`` is active."""
    with override(language):
        # Translators: the code of the language of this catalogue, such as zh-hans.
        code = pgettext("ciam language code", "en")
    return code.lower().replace("_", "-")


def similar_languages(language: str) -> Iterator[str]:
    """Yield a language and its fallbacks in Django: ``zh-hk`` and ``zh-hant``, then ``zh``."""
    language = language.lower()
    yield language
    # In Django, zh-tw falls back to zh-hant.
    yield from LANG_INFO.get(language, {}).get("fallback", ()) or _FALLBACKS.get(language, ())
    while "-" in language:
        language = language.rpartition("-")[0]
        yield language


def language_tags(language: str) -> Sequence[str]:
    """Return BCP 47 tags for a language of Django, the most exact first: ``zh-Hant``, ``zh-TW``...

    A script begins with an upper-case letter, and a region has upper-case letters (RFC 5646,
    section 2.1.1).
    """
    tags = [
        tag
        for similar in similar_languages(language)
        for tag in (_spelled_tag(similar), *_REGIONAL_TAGS.get(similar, ()))
    ]
    return list(dict.fromkeys(tags))


def _spelled_tag(language: str) -> str:
    first, *others = language.split("-")
    spelled = {2: str.upper, 4: str.title}
    return "-".join([first, *(spelled.get(len(part), str)(part) for part in others)])
