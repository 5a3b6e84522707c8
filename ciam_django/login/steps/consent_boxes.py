"""The boxes of the terms, with their sentences in the language of the page."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, pgettext

from ciam_django.client.results import Consent
from ciam_django.languages import similar_languages

# The marks around a title. A name may have them already.
_TITLE_MARKS: Final = "《》"


class ConsentBox(NamedTuple):
    """A box for terms: ``value`` is the value that a browser sends if the box is ticked."""

    value: str
    sentence: SafeString
    is_required: bool
    is_checked: bool


def consent_boxes(
    consents: Sequence[Consent], required_value: str, ticked: Collection[str]
) -> list[ConsentBox]:
    """Return one box for all required terms, and a box for each of the other terms.

    ``required_value`` is the value of the first box. ``ticked`` has the values of the ticked boxes,
    or the ids of terms. The sentences are in the active language.
    """
    required = [consent for consent in consents if consent.is_required]
    boxes = []
    if required:
        is_checked = required_value in ticked or {each.id for each in required} <= set(ticked)
        sentence = format_html(
            pgettext("ciam", "I have read and agree to {terms}."), terms=linked_names(required)
        )
        boxes.append(ConsentBox(required_value, sentence, is_required=True, is_checked=is_checked))
    for consent in consents:
        if not consent.is_required:
            sentence = format_html(
                pgettext("ciam", "I also agree to {terms} (optional)."),
                terms=linked_names([consent]),
            )
            is_checked = consent.id in ticked
            boxes.append(ConsentBox(consent.id, sentence, is_required=False, is_checked=is_checked))
    return boxes


def request_for_consent(consents: Iterable[Consent]) -> SafeString:
    """Return the sentence that asks the user to agree; empty if no terms are required."""
    required = [consent for consent in consents if consent.is_required]
    if not required:
        return SafeString("")
    return format_html(
        pgettext("ciam", "Please read and agree to {terms}."), terms=linked_names(required)
    )


def linked_names(consents: Sequence[Consent]) -> SafeString:
    """Return the names of the terms in the active language: "the A, the B and the C", with links.

    A name in another language has the attribute ``lang``.
    """
    names = [_linked_name(consent) for consent in consents]
    listed = names[0]
    for name in names[1:-1]:
        # Translators: the names of terms in a list. Keep only what stands between two names.
        listed = format_html(pgettext("ciam", "{names}, {name}"), names=listed, name=name)
    if len(names) > 1:
        listed = format_html(pgettext("ciam", "{names} and {name}"), names=listed, name=names[-1])
    return listed


def _linked_name(consent: Consent) -> SafeString:
    language = get_language() or ""
    name, name_language = name_in(consent, language)
    # Translators: the name of terms, with the marks that the language puts around a title.
    marked = format_html(pgettext("ciam", "{name}"), name=name.strip(_TITLE_MARKS) or name)
    attributes = format_html(' lang="{}"', name_language) if name_language else ""
    if url := url_in(consent, language):
        link = format_html(
            '<a class="ciam-link" href="{}" target="_blank" rel="noopener noreferrer"{}>{}</a>',
            url,
            attributes,
            marked,
        )
    else:
        link = format_html("<span{}>{}</span>", attributes, marked) if attributes else marked
    if name_language or name.casefold().startswith("the "):
        return link
    # Translators: the name of terms with its article, if the language has articles.
    return format_html(pgettext("ciam", "the {name}"), name=link)


def name_in(consent: Consent, language: str) -> tuple[str, str]:
    """Return the name of the terms for a page in a language, and the language of the name.

    The language of the name is empty if it is the language of the page, or if it is unknown.
    """
    if named := _best_language(consent.names, language):
        # Chinese without a script says nothing: the page and the name can have other scripts.
        shared = set(similar_languages(named)) & set(similar_languages(language)) - {"zh"}
        return consent.names[named], "" if shared else named
    if not consent.name:
        return pgettext("ciam", "Terms"), ""
    return consent.name, _other_language(consent.name, language)


def url_in(consent: Consent, language: str) -> str:
    """Return the URL of the terms for a page in a language; empty if the terms have no URL."""
    return consent.urls.get(_best_language(consent.urls, language), consent.url)


def _best_language(languages: Collection[str], wanted: str) -> str:
    """Return the language that is most similar to the wanted language, else the first language.

    A page in ``zh-hant`` gets a text in ``zh-tw`` before a text in ``zh-cn``.
    """
    for similar_to_wanted in similar_languages(wanted):
        for language in languages:
            if similar_to_wanted in similar_languages(language):
                return language
    return next(iter(languages), "")


def _other_language(name: str, language: str) -> str:
    """Return the language of a name if its letters cannot be of the page's language, else "".

    A name in Chinese characters on a Chinese page is in the other script if only the old character
    set of the other script has all characters: GB 2312 is simplified, and Big5 is traditional.
    """
    if not any("\u4e00" <= character <= "\u9fff" for character in name):
        is_latin = any("a" <= character <= "z" for character in name.casefold())
        return "en" if is_latin and language.startswith("zh") else ""
    is_simplified, is_traditional = _has_encoding(name, "gb2312"), _has_encoding(name, "big5")
    if is_simplified == is_traditional:
        name_language = "zh"
    else:
        name_language = "zh-hans" if is_simplified else "zh-hant"
    return "" if name_language in similar_languages(language) else name_language


def _has_encoding(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
