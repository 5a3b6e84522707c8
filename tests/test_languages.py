"""Test the language of the texts, in answers, on pages and in JSON."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import include, path
from django.utils import translation
from pytest_django.fixtures import Settings
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ciam_django.answers import Answer, answer_to
from ciam_django.codes import CODES
from ciam_django.errors import CiamError
from ciam_django.languages import (
    language_of_texts,
    language_tags,
    similar_language_with_texts,
    similar_languages,
)
from ciam_django.login.notices import notice_from_cookie, set_error_notice
from ciam_django.reporting import answer_and_report
from ciam_django.responses import response_for
from tests.catalogues import write_catalogue
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
TOO_MANY = "Operation.Failure.Send.SMS.Too.Frequency"
HTML = {"accept": "text/html"}
JSON = {"accept": "application/json"}

# German is a language of the site, and this package has no texts in German. Django has a catalogue.
WITH_GERMAN = [("en", "English"), ("zh-hans", "简体中文"), ("de", "Deutsch")]

# The error that the views raise; a test sets the error.
_raised: list[CiamError] = []


def view(request: HttpRequest) -> HttpResponse:
    raise _raised[-1]


async def async_view(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    raise _raised[-1]


async def view_of_two(request: HttpRequest) -> HttpResponse:
    """Wait until both requests are here, so that both languages are active at the same time."""
    await asyncio.to_thread(_both.wait, 10)
    raise CiamError(LOCKED)


_both = threading.Barrier(2)


class RestView(APIView):
    def get(self, request: Request) -> Response:
        raise _raised[-1]


urlpatterns = [
    path("sync/", view),
    path("async/", async_view),
    path("both/", view_of_two),
    path("rest/", RestView.as_view()),
    path("ciam/", include("ciam_django.urls")),
]


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture
def _site(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.LANGUAGES = WITH_GERMAN
    settings.LOCALE_PATHS = []


def answer_in(language: str | None, code: str = LOCKED, **fields: Any) -> Answer:
    with translation.override(language):
        return answer_to(CiamError(code, request_id="abc", **fields))


# --- The language of the texts ----------------------------------------------------------------


@for_each_row(
    "language, expected",
    [
        ("en", ["en"]),
        ("en-GB", ["en-gb", "en"]),
        ("zh", ["zh", "zh-hans"]),
        ("zh-cn", ["zh-cn", "zh-hans", "zh"]),
        ("zh-sg", ["zh-sg", "zh-hans", "zh"]),
        ("zh-hk", ["zh-hk", "zh-hant", "zh"]),
        ("zh-mo", ["zh-mo", "zh-hant", "zh"]),
        ("zh-tw", ["zh-tw", "zh-hant", "zh"]),
        ("zh-hant", ["zh-hant", "zh"]),
        ("zh-hans-cn", ["zh-hans-cn", "zh-hans", "zh"]),
        ("sr-latn-rs", ["sr-latn-rs", "sr-latn", "sr"]),
    ],
)
def test_a_language_is_followed_by_its_fallbacks(language: str, expected: list[str]) -> None:
    assert list(similar_languages(language)) == expected


@for_each_row(
    "language_code, language, expected",
    [
        ("en", "zh-hans", "zh-hans"),
        ("en", "en-gb", "en-gb"),
        ("en", "de", "en"),
        ("en-us", "de", "en"),
        ("zh-hans", "de", "zh-hans"),
        ("zh-hant", "zh-cn", "zh-hans"),
        ("de", "fr", "en"),
        ("de", "de", "en"),
    ],
)
def test_the_texts_are_in_the_language_of_the_user_or_in_the_fallback_language(
    language_code: str, language: str, expected: str, settings: Settings
) -> None:
    settings.LANGUAGE_CODE = language_code
    settings.LOCALE_PATHS = []

    assert language_of_texts(language) == expected


@pytest.mark.parametrize("old_code", ["zh-cn", "zh_CN"])
def test_an_old_code_of_chinese_in_the_settings_gives_simplified_chinese(
    old_code: str, settings: Settings
) -> None:
    settings.LANGUAGES = [("en", "English"), ("zh-cn", "简体中文")]
    settings.LOCALE_PATHS = []
    request = RequestFactory().get("/", headers={"accept-language": old_code})
    language = translation.get_language_from_request(request)
    request.LANGUAGE_CODE = language
    with translation.override(language):
        answer = answer_to(CiamError(LOCKED), request)

    assert answer.headers["Content-Language"] == "zh-hans"
    assert answer.detail == "该账号已被锁定，请联系客服解锁。"


# A project that was begun with an old version of Django has a catalogue with an old code.
@for_each_row("old_code, language", [("zh-cn", "zh-hans"), ("zh-tw", "zh-hant")])
def test_an_old_code_of_chinese_with_a_catalogue_of_the_project_is_understood(
    old_code: str, language: str, settings: Settings, tmp_path: Path
) -> None:
    folder = write_catalogue(
        tmp_path / old_code, translation.to_locale(old_code), {"Basket": "购物车"}, has_code=False
    )
    settings.LOCALE_PATHS = [folder]
    settings.LANGUAGE_CODE = old_code

    assert answer_in(old_code).as_dict() == answer_in(language).as_dict()
    assert answer_in("de").headers["Content-Language"] == language


# --- A catalogue of the project ---------------------------------------------------------------

ARABIC = {
    "Account unavailable": "الحساب غير متاح",
    "Contact support": "اتصل بالدعم",
    "Sign in": "تسجيل الدخول",
    "Password": "كلمة المرور",
}


@pytest.mark.django_db
@pytest.mark.usefixtures("_site", "ciam")
def test_a_language_with_a_catalogue_of_the_project_is_served_everywhere(
    settings: Settings, tmp_path: Path
) -> None:
    settings.LANGUAGES = [*WITH_GERMAN, ("ar", "العربيّة")]
    settings.LOCALE_PATHS = [write_catalogue(tmp_path, "ar", ARABIC)]
    settings.CIAM_LOGIN_METHODS = ["password"]
    _raised.append(CiamError(LOCKED))
    client = Client(headers={"accept-language": "ar-EG"})

    for place in ("/sync/", "/rest/"):
        body = client.get(place, headers=JSON)
        assert body["Content-Language"] == "ar"
        assert body.json()["title"] == ARABIC["Account unavailable"]
    page = client.get("/sync/", headers=HTML).content.decode()
    assert '<html lang="ar" dir="rtl">' in page
    assert f"<title>{ARABIC['Account unavailable']}</title>" in page
    login = client.get("/ciam/login/", headers=HTML)
    assert login["Content-Language"] == "ar"
    assert '<section class="ciam-card" lang="ar" dir="rtl">' in login.content.decode()
    assert ARABIC["Password"] in login.content.decode()


def test_the_code_of_a_catalogue_can_be_spelled_as_the_name_of_its_folder(
    settings: Settings, tmp_path: Path
) -> None:
    assert language_of_texts("sr-latn-rs") == "en"
    settings.LOCALE_PATHS = [write_catalogue(tmp_path, "sr_Latn", {"Sign in": "Prijava"})]

    assert language_of_texts("sr-latn-rs") == "sr-latn"


def test_a_catalogue_with_a_few_texts_of_the_package_does_not_count(
    settings: Settings, tmp_path: Path
) -> None:
    texts = {"Account unavailable": "Konto nicht verfügbar"}
    settings.LOCALE_PATHS = [write_catalogue(tmp_path, "de", texts, has_code=False)]

    assert similar_language_with_texts("de") is None
    assert answer_in("de").as_dict() == answer_in("en").as_dict()


# --- A language without a catalogue of this package -------------------------------------------


@for_each_row("language", ["de", "zh-tw", "zh-cn", "en-us"])
@for_each_row("code", CODES)
def test_each_answer_is_wholly_in_the_language_that_it_names(code: str, language: str) -> None:
    answer = answer_in(language, code)
    expected = answer_in(answer.headers["Content-Language"], code)

    assert answer.as_dict() == expected.as_dict()
    assert answer.action_label == expected.action_label
    assert answer.language == answer.headers["Content-Language"]


PATHS = [
    *["/sync/", "/async/", "/ciam/login/", "/ciam/login/?method=sms", "/ciam/recover/"],
    *["/ciam/done/", "/ciam/callback/?code=1&state=2", "/ciam/api/", "/ciam/api/unknown/"],
]


def texts_of_site(user_language: str, text_language: str, phone_number: str) -> list[str]:
    """The texts of pages and JSON for a user, without values that differ for each response.

    Each response names the language of its texts.
    """
    client = Client(headers={"accept-language": user_language})
    seen = [client.get(path, headers=accept) for path in PATHS for accept in (HTML, JSON)]
    # WeChat's browser cannot open Alipay's page, so that the login page names Alipay.
    in_wechat = {**HTML, "user-agent": "Mozilla/5.0 (Linux; Android 15) MicroMessenger/8.0"}
    seen += [client.get("/ciam/login/", headers=in_wechat)]
    fields = {"method": "sms", "phone_number": phone_number, "consent": ["terms", "privacy"]}
    step = client.post("/ciam/login/", fields, headers=HTML)
    seen += [
        # The page of REST framework itself is in the language of the user.
        client.get("/rest/", headers=JSON),
        client.get(step["Location"], headers=HTML),
        client.post("/ciam/login/", headers=HTML),
        client.post("/ciam/api/sms/", fields, "application/json", headers=JSON),
    ]
    assert {response["Content-Language"] for response in seen} == {text_language}
    # The last two are the phone number and the seconds until the next code.
    varying = (
        r'csrf\w*token": "\w+|csrf\w*token" value="\w+|local-\w+|"flow": "[^"]*"|/step/[\w-]+'
        r"|\d+\*{4}\d{4}|(?<!\d)(60|59|58)(?!\d)"
    )
    return [re.sub(varying, "", response.content.decode()) for response in seen]


SIMPLIFIED = ("zh-hans", "简体中文")


@pytest.mark.django_db
@pytest.mark.slow("the texts of a whole site")
@pytest.mark.usefixtures("_site", "ciam")
@for_each_row(
    "language_code, user_language, languages, text_language",
    [
        # Django has "Password" and other short texts in German, and writes numbers as 1.200.
        ("en", "de", [SIMPLIFIED], "en"),
        ("zh-hans", "de", [SIMPLIFIED], "zh-hans"),
        ("en", "zh-cn", [("zh-cn", "简体中文")], "zh-hans"),
        # WeChat's spelling, which Django does not understand.
        ("en", "zh_CN", [SIMPLIFIED], "zh-hans"),
    ],
)
def test_a_site_has_the_texts_of_one_language(
    language_code: str,
    user_language: str,
    languages: list[tuple[str, str]],
    text_language: str,
    settings: Settings,
) -> None:
    settings.LANGUAGE_CODE = language_code
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "recover", "sign_up"]
    provider = {"app_id": "1", "source": "s"}
    settings.CIAM_SOCIAL_PROVIDERS = {"weibo": provider, "alipay": provider}
    settings.CIAM_SEND_LIMITS = settings.CIAM_TRY_LIMITS = {}
    settings.USE_THOUSAND_SEPARATOR = True
    _raised.append(CiamError(TOO_MANY, retry_after=1200, request_id="abc"))
    settings.LANGUAGES = [("en", "English"), SIMPLIFIED, ("de", "Deutsch")]
    expected = texts_of_site(text_language, text_language, next(NUMBERS))
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch"), *languages]

    assert texts_of_site(user_language, text_language, next(NUMBERS)) == expected


# CIAM sends a number only one code in a minute.
NUMBERS = (f"1390000{number:04}" for number in itertools.count(1))


@pytest.mark.usefixtures("_site")
@for_each_row(
    "user_language, base_texts, lang, title",
    [
        ("de", ['<html lang="de">', "Montag", "Dienstag"], "en", "Account unavailable"),
        # WeChat's spelling, which Django does not understand.
        ("zh_CN", ['<html lang="zh-hans">', "星期一", "星期二"], "zh-hans", "账号无法使用"),
    ],
)
def test_a_base_template_stays_in_the_language_of_the_user(
    user_language: str, base_texts: list[str], lang: str, title: str, settings: Settings
) -> None:
    base = (
        "{% load i18n %}{% get_current_language as language %}"
        '<html lang="{{ language }}"><title>{% block title %}{% endblock %}</title>'
        '{% translate "Monday" %}{% block content %}{% endblock %}{% translate "Tuesday" %}'
    )
    loaders = [
        ("django.template.loaders.locmem.Loader", {"base.html": base}),
        "django.template.loaders.app_directories.Loader",
    ]
    engine = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": engine, "OPTIONS": {"loaders": loaders}}]
    settings.CIAM_BASE_TEMPLATE = "base.html"
    _raised.append(CiamError(LOCKED))
    headers = {**HTML, "accept-language": user_language}
    page = Client().get("/sync/", headers=headers).content.decode()

    for text in base_texts:
        assert text in page
    assert f"<title>{title}</title>" in page
    assert f'<section class="ciam-card" lang="{lang}" dir="ltr">' in page


# --- Messages of the project ------------------------------------------------------------------


@for_each_row(
    "texts, active, detail, title_language, content_language",
    [
        # The project has the same language under a shorter or an older code.
        ({"zh": "致电我们。"}, "zh-hans", "致电我们。", "zh-hans", "zh-hans"),
        ({"zh-hans": "致电我们。"}, "zh-cn", "致电我们。", "zh-hans", "zh-hans"),
        ({"en": "Call."}, "en-gb", "Call.", "en", "en-gb"),
        # The text of LANGUAGE_CODE, which is zh-hans.
        ({"zh-hans": "致电我们。"}, "en", "致电我们。", "zh-hans", "zh-hans"),
        ({"zh": "致电我们。"}, "en", "致电我们。", "zh-hans", "zh-hans"),
        # This package has no title in German.
        ({"de": "Anrufen.", "en": "Call."}, "de", "Anrufen.", "zh-hans", "de"),
        ({"de": "Anrufen.", "en": "Call."}, "de-at", "Anrufen.", "zh-hans", "de"),
    ],
)
def test_the_header_names_the_language_of_the_message(  # noqa: PLR0917  (the parts of a row)
    texts: dict[str, str],
    active: str,
    detail: str,
    title_language: str,
    content_language: str,
    settings: Settings,
) -> None:
    settings.LANGUAGE_CODE = "zh-hans"
    settings.LOCALE_PATHS = []
    settings.CIAM_ERROR_OVERRIDES = {}
    title = answer_in(title_language).title
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"message": texts}}
    answer = answer_in(active)

    assert (answer.detail, answer.title) == (detail, title)
    assert answer.headers["Content-Language"] == content_language


def page_in(language: str, code: str = LOCKED) -> str:
    request = RequestFactory().get("/", headers=HTML)
    with translation.override(language):
        answer = answer_to(CiamError(code, request_id="abc", retry_after=30), request)
        return response_for(request, answer).content.decode()


def test_a_page_with_a_message_of_the_fallback_language_is_wholly_in_this_language(
    settings: Settings,
) -> None:
    settings.LANGUAGE_CODE = "zh-hans"
    settings.LOCALE_PATHS = []
    settings.CIAM_ERROR_OVERRIDES = {TOO_MANY: {"message": {"zh-hans": "请致电我们。"}}}
    page = page_in("zh-hant", TOO_MANY)

    assert page == page_in("zh-hans", TOO_MANY)
    assert "联系客服" in page
    assert "請" not in page


def test_a_page_marks_a_message_in_a_language_that_the_package_does_not_have(
    settings: Settings,
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"message": {"de": "Bitte anrufen."}}}

    page = page_in("de")
    assert '<section class="ciam-card" lang="en" dir="ltr">' in page
    assert '<p class="ciam-detail" lang="de" dir="auto">Bitte anrufen.</p>' in page
    assert '<p class="ciam-detail">' in page_in("en")


def test_a_message_of_a_family_is_the_fallback_of_a_message_of_a_code(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {
        "Operation.Failure.*": {"message": {"zh-hans": "请致电。"}},
        LOCKED: {"message": {"zh-hant": "請致電。"}},
    }

    simplified, traditional, english = (answer_in(x) for x in ("zh-hans", "zh-hant", "en"))
    assert (simplified.detail, simplified.headers["Content-Language"]) == ("请致电。", "zh-hans")
    assert (traditional.detail, traditional.headers["Content-Language"]) == ("請致電。", "zh-hant")
    assert english.detail == str(CODES[LOCKED].message)
    settings.LANGUAGE_CODE = "zh-hans"
    settings.LOCALE_PATHS = []
    assert answer_in("en").as_dict() == answer_in("zh-hans").as_dict()
    assert answer_in("en").headers["Content-Language"] == "zh-hans"


def test_a_lazy_text_of_a_message_is_in_the_language_of_its_key(settings: Settings) -> None:
    lazy_text = translation.gettext_lazy("Monday")
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"message": {"de": lazy_text}}}
    settings.LANGUAGE_CODE = "de"

    assert answer_in("en").detail == "Montag"


def test_a_lazy_message_is_in_the_language_of_the_answer(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: translation.gettext_lazy("Monday")}

    assert answer_in("de").detail == "Monday"
    assert answer_in("zh-hans").detail == "星期一"


# --- The language of other requests -----------------------------------------------------------


def test_an_answer_leaves_the_language_of_its_thread_unchanged() -> None:
    for language in ("de", "zh-hans", "en", None):
        with translation.override(language):
            before = translation.get_language()
            answer_to(CiamError(LOCKED))
            page_in("zh-hant")
            assert translation.get_language() == before


@pytest.mark.usefixtures("_site")
def test_two_async_requests_at_the_same_time_have_their_own_languages() -> None:
    async def answers() -> list[Any]:
        get = AsyncClient().get
        languages = ({**JSON, "accept-language": language} for language in ("zh-hans", "de"))
        return await asyncio.gather(*(get("/both/", headers=each) for each in languages))

    _both.reset()
    chinese, german = asyncio.run(answers())

    assert (chinese["Content-Language"], german["Content-Language"]) == ("zh-hans", "en")
    assert chinese.json()["detail"] == "该账号已被锁定，请联系客服解锁。"
    assert german.json()["detail"] == str(CODES[LOCKED].message)


def test_an_answer_in_another_thread_is_in_the_language_of_the_project(settings: Settings) -> None:
    settings.LANGUAGE_CODE = "zh-hans"
    settings.LOCALE_PATHS = []
    answers: list[Answer] = []
    with translation.override("en"):
        thread = threading.Thread(target=lambda: answers.append(answer_to(CiamError(LOCKED))))
        thread.start()
        thread.join()

    assert answers[0].headers["Content-Language"] == "zh-hans"
    assert answers[0].detail == "该账号已被锁定，请联系客服解锁。"


def test_a_message_for_developers_is_logged_in_the_language_of_the_project(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    texts = {"en": "Ask the team.", "zh-hans": "请联系团队。"}
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"message": texts, "audience": "developer"}}
    for language in ("zh-hans", "en", "de"):
        with translation.override(language):
            answer_and_report(CiamError(LOCKED))

    assert [line.partition(" reason=")[2] for line in caplog.messages] == ["'Ask the team.'"] * 3


def test_a_notice_is_in_the_language_of_the_page_that_shows_it() -> None:
    request, response = RequestFactory().get("/"), HttpResponse()
    with translation.override("en"):
        set_error_notice(request, response, CiamError(LOCKED), is_cancelled=False)
    request.COOKIES = {name: morsel.value for name, morsel in response.cookies.items()}
    with translation.override("zh-hans"):
        answer, _ = notice_from_cookie(request)

    assert answer
    assert answer.detail == "该账号已被锁定，请联系客服解锁。"


def test_a_language_of_django_becomes_tags_of_bcp_47() -> None:
    tags_of = {
        "en": "en",
        "en-us": "en-US en",
        "zh-hans": "zh-Hans zh-CN zh",
        "zh-hant": "zh-Hant zh-TW zh",
        "zh-hk": "zh-HK zh-Hant zh-TW zh",
        "zh-cn": "zh-CN zh-Hans zh",
        "zh": "zh zh-Hans zh-CN",
        "sr-latn": "sr-Latn sr",
        "es-419": "es-419 es",
    }

    assert {code: " ".join(language_tags(code)) for code in tags_of} == tags_of
