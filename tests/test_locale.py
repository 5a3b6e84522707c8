"""Test that every text is translated, in the words of the region."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from django.test import RequestFactory
from django.utils import translation
from django.utils.translation.template import templatize

import ciam_django
from ciam_django.answers import answer_to
from ciam_django.codes import CODES
from ciam_django.errors import CiamError
from ciam_django.kinds import ACTIONS, KINDS
from ciam_django.lookup import meaning_of
from tests.rows import for_each_row

LOCALE: Final = Path(ciam_django.__file__).parent / "locale"
LANGUAGES: Final = {"zh_Hans": "zh-hans", "zh_Hant": "zh-hant"}

# Words of mainland China that are not used in Taiwan and Hong Kong.
MAINLAND: Final = "登錄 用戶 短信 郵箱 信息 賬號 默認 網絡 鏈接 屏幕 微信".split()  # noqa: SIM905
# Locale -> a pattern of the texts that are not translated. In Taiwan, 微信 is called WeChat.
UNTRANSLATED: Final = {"zh_Hans": "name@example.com", "zh_Hant": "name@example.com|WeChat"}
PLACEHOLDER: Final = re.compile(r"%\(\w+\)s|%[sd]|\{\w*\}")

TEXTS: Final = sorted(
    {str(row.message) for row in CODES.values()}
    | {str(row.title) for row in KINDS.values()}
    | {str(row.title) for row in CODES.values() if row.title}
    | {str(action.label) for action in ACTIONS.values()}
    | {str(label) for action in ACTIONS.values() for _, label in action.fallbacks}
)


class Entry(NamedTuple):
    """An entry of a catalogue."""

    flags: str
    obsolete: bool
    context: str
    msgid: str
    plural: str
    msgstr: str


def unquoted(lines: str) -> str:
    """The text of the quoted lines of a keyword."""
    text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', lines))
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text)


def entries(language: str) -> Iterator[Entry]:
    text = (LOCALE / language / "LC_MESSAGES" / "django.po").read_text(encoding="utf-8")
    for block in text.split("\n\n"):
        obsolete = "#~" in block
        plain = re.sub(r"(?m)^#~ ?", "", block)
        fields = re.findall(
            r'(?m)^(msgctxt|msgid_plural|msgid|msgstr(?:\[\d\])?) ((?:"[^\n]*"\n?)+)', plain
        )
        by_name = {name: unquoted(lines) for name, lines in fields}
        if "msgid" in by_name:
            yield Entry(
                flags=" ".join(re.findall(r"(?m)^#, (.*)$", plain)),
                obsolete=obsolete,
                context=by_name.get("msgctxt", ""),
                msgid=by_name["msgid"],
                plural=by_name.get("msgid_plural", ""),
                # Chinese has one plural form. gettext may write more forms, which are empty.
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


def test_both_catalogues_have_the_same_texts() -> None:
    assert {path.name for path in LOCALE.iterdir() if path.is_dir()} == set(LANGUAGES)
    assert [entry.msgid for entry in texts("zh_Hans")] == [
        entry.msgid for entry in texts("zh_Hant")
    ]


@each_language
def test_no_entry_is_fuzzy_empty_or_obsolete(language: str) -> None:
    """The reason: users get the English text for a fuzzy entry, and no error is reported."""
    catalogue = texts(language)

    assert len(catalogue) > len(TEXTS)
    assert not [entry.msgid for entry in catalogue if "fuzzy" in entry.flags]
    assert not [entry.msgid for entry in catalogue if not entry.msgstr]
    assert not [entry.msgid for entry in catalogue if entry.obsolete]


@each_language
def test_no_text_has_two_entries(language: str) -> None:
    msgids = [(entry.context, entry.msgid) for entry in texts(language)]

    assert len(set(msgids)) == len(msgids)


@pytest.mark.slow("all catalogues of Django")
def test_no_other_catalogue_has_a_text_without_a_context() -> None:
    """The reason: Django merges all catalogues, so a page would have texts in two languages.

    The text of another package would be replaced, too.
    """
    names = ["django", "rest_framework", "allauth", "axes", "rest_framework_simplejwt"]
    specs = [find_spec(name) for name in names]
    packages = [Path(str(spec.origin)).parent for spec in specs if spec]
    foreign: set[str] = set()
    for catalogue in (path for package in packages for path in package.rglob("locale/*/*/*.mo")):
        with catalogue.open("rb") as file:
            foreign |= {str(msgid) for msgid in vars(gettext.GNUTranslations(file))["_catalog"]}
    ours = texts("zh_Hans")

    # The first text is Django's, the second is REST framework's.
    assert {"Password", "Invalid username/password."} <= foreign
    assert "Password" in {entry.msgid for entry in ours}
    assert foreign.isdisjoint(entry.msgid for entry in ours if not entry.context)


# Words. No other catalogue has a sentence with so many words by chance.
SHORTEST_WITHOUT_CONTEXT: Final = 8


def short_texts_without_context(path: Path) -> Iterator[str]:
    """The texts of a Python file or a template that need a context and have none."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        found = [
            text
            for function, _, text in re.findall(
                r"""(\w*gettext|\b_)\(u?(["'])((?:[^\\]|\\.)*?)\2""", templatize(source)
            )
            if not function.startswith(("pgettext", "npgettext"))
        ]
    else:
        found = [
            node.args[0].value
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and re.fullmatch(r"_|u?n?gettext(_lazy|_noop)?", node.func.id)
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
        ]
    return (text for text in found if len(text.split()) < SHORTEST_WITHOUT_CONTEXT)


def test_a_short_text_has_a_context() -> None:
    """The reason: a project's own catalogue may have the same text, for example a button."""
    package = LOCALE.parent
    sources = [*package.rglob("*.py"), *package.rglob("*.html")]

    assert {path.name: list(short_texts_without_context(path)) for path in sources} == {
        path.name: [] for path in sources
    }
    assert not [
        entry.msgid
        for entry in texts("zh_Hans")
        if not entry.context and len(entry.msgid.split()) < SHORTEST_WITHOUT_CONTEXT
    ]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.py", '_("Sign in")'),
        ("a.py", 'gettext_lazy("Sign " "in")'),
        ("a.py", 'ngettext("one", "many", 1)'),
        ("a.html", '{% load i18n %}{% translate "Sign in" %}'),
        ("a.html", "{% load i18n %}{% blocktranslate %}Sign in{% endblocktranslate %}"),
        ("a.html", "{% load i18n %}<a title=\"{{ _('Sign in') }}\">"),
    ],
)
def test_a_short_text_without_a_context_is_found(name: str, source: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(source, encoding="utf-8")

    assert list(short_texts_without_context(tmp_path / name))


def test_a_text_has_the_context_of_the_package_or_none() -> None:
    contexts = {entry.context for entry in texts("zh_Hans")}

    assert contexts == {"", "ciam", "ciam language code", "ciam login method"}


@each_language
def test_every_text_of_the_table_is_in_the_catalogue(language: str) -> None:
    assert set(TEXTS) <= {entry.msgid for entry in texts(language)}


@each_language
def test_the_compiled_catalogue_has_the_entries_of_the_source(language: str) -> None:
    catalogue = compiled(language)

    for entry in texts(language):
        key = f"{entry.context}\4{entry.msgid}" if entry.context else entry.msgid
        if entry.plural:
            assert catalogue.ngettext(key, entry.plural, 1) == entry.msgstr
            assert catalogue.ngettext(key, entry.plural, 2) == entry.msgstr
        else:
            assert catalogue.gettext(key) == entry.msgstr


@each_language
def test_a_translation_has_the_placeholders_of_its_text(language: str) -> None:
    for entry in texts(language):
        expected = set(PLACEHOLDER.findall(entry.plural or entry.msgid))

        assert set(PLACEHOLDER.findall(entry.msgstr)) == expected, entry.msgid


@each_language
@for_each_row("code", CODES)
def test_the_text_of_a_row_is_translated_into_chinese(code: str, language: str) -> None:
    english = str(CODES[code].message)
    with translation.override(LANGUAGES[language]):
        text = str(meaning_of(code).message)

    assert text != english
    assert text.endswith("。")
    assert len(text) <= 50
    assert not re.search(r"[A-Za-z.,!?]", re.sub(UNTRANSLATED[language], "", text))


@each_language
def test_each_text_of_an_answer_is_in_chinese(language: str) -> None:
    with translation.override(LANGUAGES[language]):
        answer = answer_to(CiamError("Operation.Failure.User.Locked"))

    assert answer.headers["Content-Language"] == LANGUAGES[language]
    for text in (answer.title, answer.detail, answer.action_label):
        assert re.search(r"[\u4e00-\u9fff]", text)
        assert not re.search(r"[A-Za-z]", text)


@pytest.mark.parametrize(
    ("accept_language", "language"),
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
def test_each_region_gets_its_chinese_script(accept_language: str, language: str) -> None:
    request = RequestFactory().get("/", headers={"accept-language": accept_language})

    assert translation.get_language_from_request(request) == language


@each_language
def test_rows_with_the_same_english_text_have_the_same_translation(language: str) -> None:
    translations: dict[str, set[str]] = {}
    for row in CODES.values():
        english = str(row.message)
        with translation.override(LANGUAGES[language]):
            translations.setdefault(english, set()).add(str(row.message))

    assert {text: words for text, words in translations.items() if len(words) != 1} == {}


@pytest.mark.parametrize("word", MAINLAND)
def test_traditional_chinese_has_no_words_of_mainland_china(word: str) -> None:
    assert not [entry.msgstr for entry in texts("zh_Hant") if word in entry.msgstr]


@each_language
def test_different_titles_have_different_translations(language: str) -> None:
    english = {str(row.title) for row in KINDS.values()}
    with translation.override(LANGUAGES[language]):
        titles = {str(row.title) for row in KINDS.values()}

    assert len(titles) == len(english)


@each_language
def test_punctuation_is_full_width(language: str) -> None:
    halfwidth = r"[\u4e00-\u9fff][,.:;!?()]|[,.:;!?()][\u4e00-\u9fff]"
    for entry in texts(language):
        plain = PLACEHOLDER.sub("", entry.msgstr.replace("name@example.com", ""))

        assert not re.search(halfwidth, plain), plain
