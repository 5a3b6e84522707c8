"""Every text is translated, in words that the people who read them use."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from django.test import RequestFactory
from django.utils import translation

import ciam_django
from ciam_django.answers import answer_to
from ciam_django.codes import CODES
from ciam_django.errors import CiamError
from ciam_django.kinds import ACTION_LABELS, KINDS
from ciam_django.lookup import meaning_of
from tests.rows import for_each_row

LOCALE: Final = Path(ciam_django.__file__).parent / "locale"
LANGUAGES: Final = {"zh_Hans": "zh-hans", "zh_Hant": "zh-hant"}

# Words of the mainland that read as foreign in Taiwan and Hong Kong.
MAINLAND: Final = "登錄 用戶 短信 郵箱 信息 賬號 默認 網絡 鏈接 屏幕".split()  # noqa: SIM905
PLACEHOLDER: Final = re.compile(r"%\(\w+\)s|%[sd]|\{\w*\}")

TEXTS: Final = sorted(
    {str(row.message) for row in CODES.values()}
    | {str(row.title) for row in KINDS.values()}
    | {str(label) for label in ACTION_LABELS.values()}
)


class Entry(NamedTuple):
    """One text of a catalogue."""

    flags: str
    obsolete: bool
    msgid: str
    plural: str
    msgstr: str


def unquoted(lines: str) -> str:
    """The text of a keyword's quoted lines."""
    text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', lines))
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text)


def entries(language: str) -> Iterator[Entry]:
    text = (LOCALE / language / "LC_MESSAGES" / "django.po").read_text(encoding="utf-8")
    for block in text.split("\n\n"):
        obsolete = "#~" in block
        plain = re.sub(r"(?m)^#~ ?", "", block)
        found = re.findall(r'(?m)^(msgid_plural|msgid|msgstr(?:\[\d\])?) ((?:"[^\n]*"\n?)+)', plain)
        by_name = {name: unquoted(lines) for name, lines in found}
        if "msgid" in by_name:
            yield Entry(
                flags=" ".join(re.findall(r"(?m)^#, (.*)$", plain)),
                obsolete=obsolete,
                msgid=by_name["msgid"],
                plural=by_name.get("msgid_plural", ""),
                # Chinese has one form for all numbers; gettext may leave more, and empty.
                msgstr=by_name.get("msgstr") or by_name.get("msgstr[0]", ""),
            )


def texts(language: str) -> list[Entry]:
    """The entries, without the header."""
    found = [entry for entry in entries(language) if entry.msgid]
    assert found
    return found


def compiled(language: str) -> gettext.GNUTranslations:
    with (LOCALE / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
        return gettext.GNUTranslations(file)


each_language = pytest.mark.parametrize("language", LANGUAGES)


def test_there_are_two_languages_of_the_same_texts() -> None:
    assert {path.name for path in LOCALE.iterdir() if path.is_dir()} == set(LANGUAGES)
    assert [entry.msgid for entry in texts("zh_Hans")] == [
        entry.msgid for entry in texts("zh_Hant")
    ]


@each_language
def test_nothing_is_fuzzy_empty_or_obsolete(language: str) -> None:
    """For users of a fuzzy text see English, and nobody hears of it."""
    found = texts(language)

    assert len(found) > len(TEXTS)
    assert not [entry.msgid for entry in found if "fuzzy" in entry.flags]
    assert not [entry.msgid for entry in found if not entry.msgstr]
    assert not [entry.msgid for entry in found if entry.obsolete]


@each_language
def test_no_text_is_there_twice(language: str) -> None:
    found = [entry.msgid for entry in texts(language)]

    assert len(set(found)) == len(found)


@each_language
def test_every_text_of_the_table_is_in_the_catalogue(language: str) -> None:
    assert set(TEXTS) <= {entry.msgid for entry in texts(language)}


@each_language
def test_what_is_compiled_is_what_was_written(language: str) -> None:
    catalogue = compiled(language)

    for entry in texts(language):
        if entry.plural:
            assert catalogue.ngettext(entry.msgid, entry.plural, 1) == entry.msgstr
            assert catalogue.ngettext(entry.msgid, entry.plural, 2) == entry.msgstr
        else:
            assert catalogue.gettext(entry.msgid) == entry.msgstr


@each_language
def test_placeholders_are_the_same(language: str) -> None:
    for entry in texts(language):
        wanted = set(PLACEHOLDER.findall(entry.plural or entry.msgid))

        assert set(PLACEHOLDER.findall(entry.msgstr)) == wanted, entry.msgid


@each_language
@for_each_row("code", CODES)
def test_a_row_is_read_in_chinese(code: str, language: str) -> None:
    english = str(CODES[code].message)
    with translation.override(LANGUAGES[language]):
        text = str(meaning_of(code).message)

    assert text != english
    assert text.endswith("。")
    assert len(text) <= 50
    # An address is no word.
    assert not re.search(r"[A-Za-z.,!?]", text.replace("name@example.com", ""))


@each_language
def test_an_answer_is_chinese_throughout(language: str) -> None:
    with translation.override(LANGUAGES[language]):
        answer = answer_to(CiamError("Operation.Failure.User.Locked"))

    assert answer.headers["Content-Language"] == LANGUAGES[language]
    for text in (answer.title, answer.detail, answer.action_label):
        assert re.search(r"[\u4e00-\u9fff]", text)
        assert not re.search(r"[A-Za-z]", text)


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("zh-hans", "zh-hans"),
        ("zh-Hans-CN", "zh-hans"),
        ("zh-CN", "zh-hans"),
        ("zh-SG", "zh-hans"),
        ("zh-hant", "zh-hant"),
        ("zh-TW", "zh-hant"),
        ("zh-HK", "zh-hant"),
        ("zh-Hant-HK", "zh-hant"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-hans"),
    ],
)
def test_every_region_reads_the_chinese_that_it_writes(asked: str, language: str) -> None:
    request = RequestFactory().get("/", headers={"accept-language": asked})

    assert translation.get_language_from_request(request) == language


@each_language
def test_rows_of_one_english_text_have_one_translation(language: str) -> None:
    read: dict[str, set[str]] = {}
    for row in CODES.values():
        english = str(row.message)
        with translation.override(LANGUAGES[language]):
            read.setdefault(english, set()).add(str(row.message))

    assert {english: found for english, found in read.items() if len(found) != 1} == {}


@pytest.mark.parametrize("word", MAINLAND)
def test_traditional_chinese_has_no_words_of_the_mainland(word: str) -> None:
    assert not [entry.msgstr for entry in texts("zh_Hant") if word in entry.msgstr]


@each_language
def test_titles_and_labels_tell_their_texts_apart(language: str) -> None:
    english = {str(row.title) for row in KINDS.values()}
    with translation.override(LANGUAGES[language]):
        read = {str(row.title) for row in KINDS.values()}

    assert len(read) == len(english)


@each_language
def test_punctuation_is_chinese(language: str) -> None:
    halfwidth = r"[\u4e00-\u9fff][,.:;!?()]|[,.:;!?()][\u4e00-\u9fff]"
    for entry in texts(language):
        plain = PLACEHOLDER.sub("", entry.msgstr.replace("name@example.com", ""))

        assert not re.search(halfwidth, plain), plain
