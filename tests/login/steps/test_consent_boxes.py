"""The boxes of the terms, and their sentences in each language."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.utils.translation import override

from ciam_django.client.results import Consent, consents_of
from ciam_django.login.steps.consent_boxes import name_in, request_for_consent, url_in
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import ConsentForm
from tests.rows import for_each_row

ENGLISH = ["Terms of Service", "Privacy Policy", "Minors Policy"]
SIMPLIFIED = ["用户协议", "《隐私政策》", "儿童隐私保护声明"]
TRADITIONAL = ["使用者條款", "《隱私權政策》", "兒童隱私權聲明"]


def terms(*names: Any, **members: Any) -> tuple[Consent, ...]:
    """The terms with these names, as CIAM sends them."""
    rows = [{"uuid": f"t{i}", "name": name, **members} for i, name in enumerate(names)]
    return consents_of({"data": rows})


def boxes(language: str, consents: tuple[Consent, ...], ticked: list[str] | None = None) -> Any:
    data = {"consent": ticked} if ticked is not None else None
    with override(language):
        return ConsentForm(data, flow=Flow("consent", ""), consents=consents).consent_boxes


def text_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


SENTENCES = [
    ("en", ENGLISH[:1], "I have read and agree to the Terms of Service."),
    ("en", ENGLISH[:2], "I have read and agree to the Terms of Service and the Privacy Policy."),
    (
        "en",
        ENGLISH,
        "I have read and agree to the Terms of Service, the Privacy Policy and the Minors Policy.",
    ),
    ("zh-hans", SIMPLIFIED[:1], "我已阅读并同意《用户协议》"),
    ("zh-hans", SIMPLIFIED[:2], "我已阅读并同意《用户协议》和《隐私政策》"),
    ("zh-hans", SIMPLIFIED, "我已阅读并同意《用户协议》《隐私政策》和《儿童隐私保护声明》"),
    ("zh-hant", TRADITIONAL[:1], "我已閱讀並同意《使用者條款》"),
    ("zh-hant", TRADITIONAL[:2], "我已閱讀並同意《使用者條款》與《隱私權政策》"),
    ("zh-hant", TRADITIONAL, "我已閱讀並同意《使用者條款》、《隱私權政策》與《兒童隱私權聲明》"),
    ("en", ["The Terms"], "I have read and agree to The Terms."),
    ("en", SIMPLIFIED[:2], "I have read and agree to 用户协议 and 隐私政策."),
    ("zh-hans", ENGLISH[:2], "我已阅读并同意《Terms of Service》和《Privacy Policy》"),
    ("en", [""], "I have read and agree to the Terms."),
]


@for_each_row("language, names, sentence", SENTENCES)
def test_one_box_has_one_sentence_with_the_names_of_all_required_terms(
    language: str, names: list[str], sentence: str
) -> None:
    (box,) = boxes(language, terms(*names))

    assert text_of(box.sentence) == sentence
    assert (box.is_required, box.is_checked) == (True, False)


def test_other_terms_have_a_box_of_their_own() -> None:
    consents = (*terms("Terms", "Privacy"), Consent("news", "Newsletter", "", False, {}))
    shared, own = boxes("en", consents)

    assert (shared.value, shared.is_required) == ("t0 t1", True)
    assert (own.value, own.is_required) == ("news", False)
    assert text_of(own.sentence) == "I also agree to the Newsletter (optional)."
    assert [box.value for box in boxes("en", consents[2:])] == ["news"]
    assert request_for_consent(consents[2:]) == ""


@for_each_row(
    "ticked, is_checked",
    [
        (None, [False, False]),
        ([], [False, False]),
        (["t0 t1"], [True, False]),
        (["t0", "t1"], [True, False]),
        (["t0"], [False, False]),
        (["news"], [False, True]),
    ],
)
def test_a_box_keeps_its_tick(ticked: list[str] | None, is_checked: list[bool]) -> None:
    consents = (*terms("Terms", "Privacy"), Consent("news", "Newsletter", "", False, {}))

    assert [box.is_checked for box in boxes("en", consents, ticked)] == is_checked


@for_each_row(
    "sent, ids",
    [
        (["t0 t1"], ["t0", "t1"]),
        (["t0 t1", "t0"], ["t0", "t1"]),
        (["t1", "t0"], ["t1", "t0"]),
        (["t0 t1 t2"], None),
        (["t0 t2"], None),
        ("t0 t1", None),
    ],
)
def test_the_box_stands_for_exactly_the_terms_that_its_sentence_names(
    sent: Any, ids: list[str] | None
) -> None:
    form = ConsentForm(
        {"consent": sent}, flow=Flow("consent", ""), consents=terms("Terms", "Privacy")
    )
    codes = [error.code for error in form.validation_errors()]

    assert codes == ([] if ids else ["Params.Illegal.Consent"])
    assert form.cleaned_data.get("consent") == ids


NAMES = {"zh_CN": "用户协议", "zh-TW": "使用者條款", "en_US": "Terms", "fr": "Conditions"}


@for_each_row(
    "name, language, shown, name_language",
    [
        # The terms have the language of the page.
        (NAMES, "en", "Terms", ""),
        (NAMES, "zh-hans", "用户协议", ""),
        (NAMES, "zh-hant", "使用者條款", ""),
        (NAMES, "zh-hk", "使用者條款", ""),
        # The terms have only other languages.
        (NAMES, "de", "用户协议", "zh-cn"),
        ({"zh-CN": "用户协议", "en": "Terms"}, "zh-hant", "用户协议", "zh-cn"),
        ({"fr": "Conditions"}, "en", "Conditions", "fr"),
        # CIAM sends one name without a language.
        ("用户协议", "en", "用户协议", "zh-hans"),
        ("使用者條款", "en", "使用者條款", "zh-hant"),
        ("服", "en", "服", "zh"),
        ("用户协议", "zh-hans", "用户协议", ""),
        ("用户协议", "zh-hant", "用户协议", "zh-hans"),
        ("使用者條款", "zh-hans", "使用者條款", "zh-hant"),
        ("服", "zh-hant", "服", ""),
        ("Terms", "en", "Terms", ""),
        ("Terms", "zh-hans", "Terms", "en"),
        ("Nutzungsbedingungen", "de", "Nutzungsbedingungen", ""),
        ("《1》", "zh-hans", "《1》", ""),
        # A name without visible characters is no name.
        ({"en": "\u202e\u200b", "zh": "条款"}, "en", "条款", "zh"),
    ],
)
def test_a_name_is_in_the_language_of_the_page_or_has_its_own_language(
    name: Any, language: str, shown: str, name_language: str
) -> None:
    (consent,) = terms(name)

    assert name_in(consent, language) == (shown, name_language)


def test_a_link_leads_to_the_terms_in_the_language_of_the_page() -> None:
    urls = {"zh-CN": "https://example.com/zh", "en": "https://example.com/en", "x": 7}
    (consent,) = terms("Terms", url=urls)
    (plain,) = terms("Terms", url="https://example.com/")

    assert url_in(consent, "en") == "https://example.com/en"
    assert url_in(consent, "zh-hans") == url_in(consent, "de") == "https://example.com/zh"
    assert url_in(plain, "de") == "https://example.com/"


def test_the_attribute_lang_marks_a_name_in_another_language() -> None:
    linked = terms("用户协议", url="https://example.com/")
    (box,) = boxes("en", (*linked, *terms("隐私政策"), *terms("Rules")))

    assert '<a class="ciam-link" href="https://example.com/"' in box.sentence
    assert 'rel="noopener noreferrer" lang="zh-hans">用户协议</a>' in box.sentence
    assert '<span lang="zh-hans">隐私政策</span>' in box.sentence
    assert box.sentence.endswith("and the Rules.")


@for_each_row(
    "name, html",
    [
        ('<b>"&', "&lt;b&gt;&quot;&amp;"),
        ("a\u202eb\n  c\u0000", "ab c"),
        ("{0.__class__}", "{0.__class__}"),
        ("《》", "《》"),
        ("x" * 101, "x" * 100 + "…"),
    ],
)
def test_a_name_is_a_short_line_and_no_html(name: str, html: str) -> None:
    (box,) = boxes("en", terms(name))

    assert box.sentence == f"I have read and agree to the {html}."


@for_each_row(
    "url",
    [
        "http://example.com/",
        "javascript:alert(1)",
        "https://example.com/" + "x" * 2000,
        {"en": "http://example.com/"},
        {'en" onclick="': "https://example.com/"},
    ],
)
def test_an_unsafe_url_is_no_link(url: Any) -> None:
    (box,) = boxes("en", terms("Terms", url=url))

    assert "<a" not in box.sentence


def test_a_form_without_terms_has_no_boxes() -> None:
    assert boxes("en", ()) == []
