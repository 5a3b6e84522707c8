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
from ciam_django.kinds import ACTIONS, KINDS, Audience
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import (
    CODES_OF_FIELDS,
    PROFILE_FIELDS,
    snake_case_name,
)
from ciam_django.login.steps.table import STEPS
from ciam_django.lookup import meaning_of
from tests.rows import for_each_row

LOCALE: Final = Path(ciam_django.__file__).parent / "locale"
LOCALE_OF_EXAMPLE: Final = Path(__file__).parents[1] / "example_project" / "example" / "locale"
LANGUAGES: Final = {"zh_Hans": "zh-hans", "zh_Hant": "zh-hant"}

# Language -> pattern of words that the texts do not use -> the word for the same thing. The pattern
# of Traditional Chinese also has words of mainland China, which Taiwan and Hong Kong do not use.
OTHER_WORDS: Final = {
    "en": {
        "CAPTCHA|[Pp]icture": "image",
        "[Tt]hird-party": "that account",
        "[Uu]ser name": "username",
        "[Ll]og ?in|[Ll]ogon": "sign in",
        "at CIAM": "in CIAM",
        "e-mail": "email",
        "[Ff]ree it|[Tt]ell us|as it stands|if it continues": "the plain word",
    },
    "zh_Hans": {
        "登陆|登入": "登录",
        "帐号|帐户|账户": "账号",
        "手机号码|电话": "手机号",
        "邮件地址|电子邮件|信箱": "邮箱",
        "(?<!图形)图片验证码|校验码": "图形验证码，验证码",
        "重设": "重置",
        "链结|连结|关联": "绑定",
        "其它": "其他",
        "解除使用|验证码未通过|如问题持续|以便继续|归您所有": "通顺的说法",
        "单点登录|生物识别|扩展属性|扩展信息|外部标识": "用户的说法",
    },
    "zh_Hant": {
        "登錄": "登入",
        "用戶": "使用者",
        "短信": "簡訊",
        "郵箱|信箱|郵件地址(?<!電子郵件地址)": "電子郵件地址",
        "電子郵件(?!地址|登入|驗證|傳送|。)": "電子郵件地址",
        "信息": "資料",
        "賬號|帳戶": "帳號",
        "手機號(?!碼)|電話": "手機號碼",
        "默認": "預設",
        "網絡": "網路",
        "鏈接|綁定": "連結",
        "屏幕": "螢幕",
        "微信": "WeChat",
        "字元": "文字",
        "重新整理": "換一張",
        "密鑰": "金鑰",
        "身份": "身分",
        "二次驗證": "兩步驟驗證",
        "解除使用|驗證碼未通過|若問題持續|以便繼續|寄出|統一登入": "通順的說法",
        "單一登入|生物辨識|擴充屬性|補充資料超出|外部識別碼": "使用者的說法",
    },
}
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


def entries(language: str, locale: Path = LOCALE) -> Iterator[Entry]:
    text = (locale / language / "LC_MESSAGES" / "django.po").read_text(encoding="utf-8")
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


def texts(language: str, locale: Path = LOCALE) -> list[Entry]:
    """The entries, without the header."""
    found = [entry for entry in entries(language, locale) if entry.msgid]
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


@pytest.mark.slow("the source code of all modules")
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


@pytest.mark.parametrize("locale", [LOCALE, LOCALE_OF_EXAMPLE], ids=["package", "example"])
@pytest.mark.parametrize("language", OTHER_WORDS)
def test_each_thing_has_one_word(language: str, locale: Path) -> None:
    found = [
        (pattern, word, text)
        for pattern, word in OTHER_WORDS[language].items()
        for entry in texts("zh_Hans" if language == "en" else language, locale)
        for text in ([entry.msgid, entry.plural] if language == "en" else [entry.msgstr])
        if re.search(pattern, text)
    ]

    assert found == []


# Field -> the noun of the field in each language. The label and the errors of the field have it.
NOUNS: Final = {
    "username": ("username", "用户名", "使用者名稱"),
    "password": ("password", "密码", "密碼"),
    "phone_number": ("mobile number", "手机号", "手機號碼"),
    "phone_region": ("country", "区号|国家或地区", "國碼|國家或地區"),
    "email": ("email address", "邮箱", "電子郵件地址"),
    "receiver": ("mobile number .*email address", "手机号.*邮箱", "手機號碼.*電子郵件地址"),
    "code": ("code", "验证码", "驗證碼"),
    "captcha": ("characters", "图形验证码", "圖形驗證碼"),
    "display_name": ("name", "姓名", "姓名"),
    "en_display_name": ("name in latin letters", "英文姓名", "英文姓名"),
    "birthday": ("date of birth", "出生日期", "出生日期"),
    "gender": ("gender", "性别", "性別"),
    "country": ("country or region", "国家或地区", "國家或地區"),
    "region": ("district", "区/县", "鄉鎮市區"),
    "province": ("province or state", "省份", "縣市"),
    "city": ("city", "城市", "城市"),
    "street": ("street address", "街道", "街道"),
    "address": ("full address", "详细地址", "詳細地址"),
}


def labels_of(field: str) -> list[str]:
    """The labels of a field in the forms of all steps.

    The form of the details asks for this field only, because a province may include the city.
    """
    asked = [name for name in PROFILE_FIELDS if snake_case_name(name) == field]
    step_data = {"asked": asked, "channels": {"SMS": ""}}
    forms = [row.form({}, flow=Flow(name, "", step_data=step_data)) for name, row in STEPS.items()]
    for form in forms:
        form.add_captcha()
    labels = (form.fields[field].label for form in forms if field in form.fields)
    return [str(label) for label in labels if label]


def errors_of(field: str) -> list[str]:
    """The messages about a blank or invalid value of a field, without those of families."""
    codes = {*CODES_OF_FIELDS[field]} | {
        code
        for code, row in CODES.items()
        if row.field == field and row.audience is Audience.USER and code.startswith("Params.")
    }
    return [str(CODES[code].message) for code in codes if code in CODES]


@pytest.mark.parametrize("number", range(3), ids=["en", "zh-hans", "zh-hant"])
@for_each_row("field", NOUNS)
def test_the_label_and_the_errors_of_a_field_have_the_same_noun(field: str, number: int) -> None:
    with translation.override(["en", "zh-hans", "zh-hant"][number]):
        found = [*labels_of(field), *errors_of(field)]

    assert len(found) >= 2
    noun = re.compile(NOUNS[field][number], re.IGNORECASE)
    assert not [text for text in found if not noun.search(text)]


def test_each_field_with_a_label_has_its_noun() -> None:
    assert {field for field in CODES_OF_FIELDS if any(labels_of(field))} == set(NOUNS)


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
