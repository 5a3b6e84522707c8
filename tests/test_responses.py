"""Test the responses: negotiation, JSON, and the page in different projects."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from authlib.integrations.base_client.errors import OAuthError
from django.contrib.auth.models import User
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.test import RequestFactory, override_settings
from django.utils import translation
from pytest_django.fixtures import Settings

from ciam_django import responses
from ciam_django.answers import Answer, answer_to
from ciam_django.errors import CiamError
from ciam_django.responses import (
    mark_as_logged,
    media_type_for,
    page_response,
    render_page,
    response_for,
)
from tests.catalogues import write_catalogue
from tests.rows import for_each_row

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
HTML = "text/html"
JSON = "application/json"
PROBLEM = "application/problem+json"
LOCKED = "Operation.Failure.User.Locked"


def request_with(
    accept: str | None = None, dest: str | None = None, path: str = "/"
) -> HttpRequest:
    headers = {"accept": accept, "sec-fetch-dest": dest}
    present = {name: value for name, value in headers.items() if value is not None}
    return RequestFactory().get(path, headers=present)


def answer(code: str = LOCKED, **fields: Any) -> Answer:
    return answer_to(CiamError(code, request_id="abc", **fields))


def html_of(response: HttpResponse) -> str:
    assert response["Content-Type"] == "text/html; charset=utf-8"
    return response.content.decode()


def page_of(answer: Answer, path: str = "/", **context: Any) -> str:
    return html_of(response_for(request_with(HTML, path=path), answer, context=context))


def templates_setting(**texts: str) -> list[dict[str, Any]]:
    """The setting TEMPLATES of a project with these texts, by name without ``.html``."""
    texts_by_name = {f"{name}.html": text for name, text in texts.items()}
    return [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", texts_by_name),
                    "django.template.loaders.app_directories.Loader",
                ],
                "context_processors": ["django.template.context_processors.request"],
            },
        }
    ]


# --- Negotiation ------------------------------------------------------------------------------


@for_each_row(
    "accept, dest, media_type",
    [
        # curl, and clients without these headers
        (None, None, JSON),
        ("*/*", None, JSON),
        ("", None, JSON),
        # browsers that open a page
        (BROWSER, None, HTML),
        (BROWSER, "document", HTML),
        ("text/html", None, HTML),
        ("TEXT/HTML", None, HTML),
        ("text/*", None, HTML),
        ("*/*", "document", HTML),
        ("image/png", "document", HTML),
        (None, "document", HTML),
        ("application/xhtml+xml", "document", HTML),
        # scripts in browsers
        ("application/json", "empty", JSON),
        ("*/*", "empty", JSON),
        ("*/*", "iframe", JSON),
        ("application/json, text/plain, */*", "empty", JSON),
        ("application/json", "document", JSON),
        ("application/problem+json", "document", PROBLEM),
        ("application/json, text/javascript, */*; q=0.01", "empty", JSON),
        # clients that name problem+json
        ("application/problem+json", None, PROBLEM),
        ("application/problem+json, application/json", None, PROBLEM),
        ("application/json, application/problem+json;q=0.5", None, PROBLEM),
        ("application/problem+json; charset=utf-8", None, PROBLEM),
        ("application/problem+json;q=0, application/json", None, JSON),
        ("application/*", None, JSON),
        # quality
        ("text/html;q=0.5, application/json;q=0.9", None, JSON),
        ("text/html;q=0.9, application/json;q=0.5", None, HTML),
        ("text/html;q=0.9, application/problem+json;q=0.5", None, HTML),
        ("text/html;q=0.1, application/problem+json", None, PROBLEM),
        ("text/html;q=0, */*", None, JSON),
        ("*/*;q=0.1, text/html", None, HTML),
        ("text/html, application/json", None, HTML),
        ("application/json, text/html", None, JSON),
        ("*/*;q=0", None, JSON),
        # media types that are not available
        ("image/png", None, JSON),
        ("image/png, video/*", "image", JSON),
    ],
)
def test_the_accept_header_decides_the_media_type(
    accept: str | None, dest: str | None, media_type: str
) -> None:
    request = request_with(accept, dest)

    assert media_type_for(request) == media_type
    assert response_for(request, answer())["Content-Type"].partition(";")[0] == media_type


@for_each_row(
    "accept",
    [
        "garbage",
        ";;;q=abc",
        ",,,",
        "/",
        "text/",
        "text/html;q=high",
        "text/html;q=nan",
        "text/html;q=-1, application/json;q=99",
        'text/html;q="',
        "é/ü",
        "text/html\x00",
        "text/html; q*=nonsense'en'x",
        "text/html; a*=\x00'x'y",
        "text/html; a*=idna''%2e%2e",
        "a/b;" + "x" * 11_000,
        "a/b," * 5_000,
    ],
)
def test_a_request_with_a_malformed_accept_header_is_answered(accept: str) -> None:
    response = response_for(request_with(accept), answer())

    assert response.status_code == 403
    assert response["Content-Type"].partition(";")[0] in (HTML, JSON)


def test_a_long_accept_header_is_not_parsed() -> None:
    """A browser's header has less than 250 characters, and 64 KB would take 0.1 seconds."""
    request = request_with("text/html" + ",a/b" * 10_000)

    assert response_for(request, answer())["Content-Type"] == JSON
    assert "accepted_types" not in request.__dict__
    for length, media_type in ((1024, HTML), (1025, JSON)):
        padded = request_with("text/html,".ljust(length, "x"))
        assert response_for(padded, answer())["Content-Type"].startswith(media_type)


# --- Status and headers -----------------------------------------------------------------------


@pytest.mark.parametrize("accept", [HTML, JSON, PROBLEM])
@pytest.mark.parametrize(
    "code", [LOCKED, "invalid_token", "too_many_requests", "server_error", "invalid_client"]
)
def test_a_response_has_the_status_and_headers_of_the_answer(accept: str, code: str) -> None:
    expected = answer(code)

    response = response_for(request_with(accept), expected)

    assert response.status_code == expected.status
    assert {name: response[name] for name in expected.headers} == expected.headers
    assert set(response.headers) - set(expected.headers) == {
        "Content-Type",
        *({"Referrer-Policy"} if accept == HTML else ()),
    }


def test_a_page_sends_no_referrer() -> None:
    assert response_for(request_with(HTML), answer())["Referrer-Policy"] == "no-referrer"
    assert "Referrer-Policy" not in response_for(request_with(JSON), answer())


@pytest.mark.parametrize("accept", [HTML, JSON])
def test_a_response_is_marked_as_logged(accept: str) -> None:
    for response in (response_for(request_with(accept), answer()), mark_as_logged(HttpResponse())):
        # Django reads this attribute; the stubs don't have it.
        assert response._has_been_logged  # type: ignore[attr-defined]


@pytest.mark.parametrize("accept", [JSON, PROBLEM])
def test_a_json_response_has_the_members_of_the_answer(accept: str) -> None:
    expected = answer()

    response = response_for(request_with(accept), expected)

    assert json.loads(response.content) == expected.as_dict()


def test_a_json_response_can_be_read_in_a_terminal_in_any_language() -> None:
    with translation.override("zh-hans"):
        expected = answer()
        response = response_for(request_with(JSON), expected)

    assert not expected.title.isascii()
    assert expected.title in response.content.decode()


# --- The page ---------------------------------------------------------------------------------


def test_a_page_has_the_failure_and_the_next_action(settings: Settings) -> None:
    settings.CIAM_SUPPORT_URL = "https://example.com/help?a=1&b=2"

    html = page_of(answer())

    assert html.startswith("<!DOCTYPE html>\n<html lang=")
    assert 'role="alert"' in html
    assert '<h1 class="ciam-title">Account unavailable</h1>' in html
    assert "This account is locked. Contact support to unlock it." in html
    assert 'href="https://example.com/help?a=1&amp;b=2">Contact support</a>' in html
    assert ">abc</code>" in html
    assert "<title>Account unavailable</title>" in html
    assert html.count("<script") == 1
    assert '<script type="module" src="/static/ciam_django/ciam.js"></script>' in html


def test_the_page_of_a_cancel_is_no_alert() -> None:
    html = page_of(answer("access_denied"))

    assert '<div class="ciam-answer is-neutral" role="status"' in html
    assert '<h1 class="ciam-title">Not signed in</h1>' in html
    assert 'role="alert"' not in html


def test_a_page_links_to_the_sign_in_views() -> None:
    assert 'href="/ciam/login/">Start again</a>' in page_of(answer("mismatching_state"))


@for_each_row(
    "language, seconds, text",
    [
        ("en", None, "Too many attempts. Wait a while before trying again."),
        ("en", 1, "Too many attempts. Try again in 1 second."),
        ("en", 120, "Too many attempts. Try again in 120 seconds."),
        ("en", 121, "Too many attempts. Try again in 3 minutes."),
        ("zh-hans", 60, "操作过于频繁，请 60 秒后再试。"),
        ("zh-hant", 3600, "操作過於頻繁，請於 60 分鐘後再試。"),
    ],
)
def test_a_page_has_the_waiting_time_once_in_the_text(
    settings: Settings, language: str, seconds: int | None, text: str
) -> None:
    settings.CIAM_RETRY_AFTER = 0
    with translation.override(language):
        html = page_of(answer("too_many_requests", retry_after=seconds))

    assert f'<p class="ciam-detail">{text}</p>' in html
    assert "ciam-wait" not in html.replace("data-ciam-wait", "")


def test_a_message_of_the_project_stays_without_the_waiting_time(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"too_many_requests": "Slow down."}

    assert answer("too_many_requests", retry_after=5).text == "Slow down."
    settings.CIAM_ERROR_OVERRIDES = {"too_many_requests": {"audience": "developer"}}
    assert answer("too_many_requests", retry_after=5).text.endswith("before trying again.")


@for_each_row(
    "code, fields, button",
    [
        ("timeout", {"retry_after": 60}, '60" data-ciam-waiting="Try again ({seconds}s)"'),
        ("timeout", {"retry_after": 3600}, '3600" data-ciam-waiting="Try again ({minutes} min)"'),
        ("timeout", {}, ""),
        (LOCKED, {"retry_after": 60}, ""),
    ],
)
def test_the_button_of_another_attempt_has_the_waiting_time(
    code: str, fields: dict[str, Any], button: str
) -> None:
    html = page_of(answer(code, **fields))

    assert (button or "<a") in html
    assert ("data-ciam-wait=" in html) is bool(button)


@for_each_row(
    "code, has_reference",
    [
        (LOCKED, True),
        ("timeout", True),
        ("mismatching_state", True),
        # Users correct these failures themselves.
        ("Operation.Failure.Username.Or.Password.Error", False),
        ("Operation.Failure.Captcha.Error", False),
        ("malformed_phone_number", False),
        ("invalid_token", False),
        ("access_denied", False),
        # Only a developer can correct this.
        ("Params.Blank.ApplicationExternalId", True),
    ],
)
def test_a_page_has_a_reference_if_the_support_has_to_look_it_up(
    code: str, has_reference: bool
) -> None:
    html = page_of(answer(code))

    assert (">abc</code>" in html) is has_reference
    copy = 'hidden aria-live="polite" data-ciam-copy="abc" data-ciam-copied="Reference copied">'
    assert (copy in html) is has_reference


@pytest.mark.parametrize(
    ("language", "lang", "direction"),
    [("en", "en", "ltr"), ("zh-hans", "zh-hans", "ltr"), ("ar", "en", "ltr"), (None, "en", "ltr")],
)
def test_a_page_declares_its_language_and_direction(
    language: str | None, lang: str, direction: str
) -> None:
    with translation.override(language):
        html = page_of(answer())

    assert f'<html lang="{lang}" dir="{direction}">' in html


def test_a_page_is_wholly_in_the_language_that_wechat_names() -> None:
    request = RequestFactory().get("/", headers={"accept": HTML, "accept-language": "zh_CN"})
    LocaleMiddleware(lambda request: HttpResponse()).process_request(request)
    error = CiamError("Operation.Failure.Captcha.Error", request_id="abc")
    html = html_of(response_for(request, answer_to(error, request)))

    assert '<html lang="zh-hans" dir="ltr">' in html
    assert not re.search(r">[^<]*\b(Try|again|support|reference)\b", html)


def test_a_page_is_in_the_language_of_a_catalogue_of_the_project(
    settings: Settings, tmp_path: Path
) -> None:
    title = "الحساب غير متاح"
    settings.LOCALE_PATHS = [write_catalogue(tmp_path, "ar", {"Account unavailable": title})]
    with translation.override("ar"):
        html = page_of(answer())

    assert '<html lang="ar" dir="rtl">' in html
    assert title in html


@pytest.mark.parametrize("language", ["en", "zh-hant"])
def test_a_page_without_an_answer_names_its_language(language: str) -> None:
    request = request_with(HTML)
    with translation.override(language):
        response = page_response(request, "ciam_django/pending.html", {})

    assert (response.status_code, response["Content-Language"]) == (200, language)
    assert f'<html lang="{language}" dir="ltr">' in html_of(response)


def test_a_page_takes_further_context() -> None:
    assert '<p class="ciam-hint">Cookies &lt;b&gt;</p>' in page_of(answer(), hint="Cookies <b>")


def test_a_page_escapes_texts_and_urls(settings: Settings) -> None:
    hostile = "<script>alert('1')</script>\" onload=x"
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: hostile, "invalid_grant": hostile}
    settings.CIAM_ACTION_URLS = {"contact_support": '/"><script>x</script>'}

    for code in (LOCKED, "invalid_grant"):
        html = page_of(answer(code), hint=hostile)
        assert html.count("<script") == 1
        assert "&lt;script&gt;alert(&#x27;1&#x27;)" in html


@pytest.mark.parametrize("accept", [HTML, JSON, PROBLEM])
def test_a_response_does_not_contain_the_query(accept: str) -> None:
    request = request_with(
        accept, path="/callback?code=unmistakable&error_description=unmistakable"
    )

    response = response_for(request, answer())

    assert b"unmistakable" not in response.content
    assert "unmistakable" not in str(response.headers)


def test_a_page_has_no_inline_style_and_no_external_url() -> None:
    html = page_of(answer())

    assert "<style" not in html
    assert "style=" not in html
    assert "http" not in html.replace("<!DOCTYPE html>", "")


def test_the_link_of_a_part_leads_to_the_page_that_the_caller_names() -> None:
    request = RequestFactory().get("/", headers={"accept": HTML, "hx-request": "true"})
    html = html_of(response_for(request, answer("missing_token"), next_url="/cart/"))
    assert "<html" not in html
    assert 'href="/ciam/login/?next=%2Fcart%2F"' in html

    request.user = User(pk=1)
    html = html_of(response_for(request, answer("mismatching_state"), onward_url="/onward/"))
    assert 'href="/onward/"' in html


# --- Other projects ---------------------------------------------------------------------------


def test_a_page_uses_the_base_template_of_the_project(settings: Settings) -> None:
    settings.TEMPLATES = templates_setting(
        shop="<html>Shop: {% block content %}{% endblock %}</html>"
    )
    settings.CIAM_BASE_TEMPLATE = "shop.html"

    html = page_of(answer())

    assert html.startswith("<html>Shop: ")
    assert 'role="alert"' in html
    assert 'lang="en"' in html
    assert ">abc</code>" in html


@pytest.mark.parametrize("broken", ["raising", "unfinished", "missing"])
def test_a_page_is_rendered_if_the_base_template_is_broken(
    broken: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TEMPLATES = templates_setting(
        raising="{% load i18n %}{% url 'no-such-url' %}{% block content %}{% endblock %}",
        unfinished="{% if %}",
    )
    settings.CIAM_BASE_TEMPLATE = f"{broken}.html"

    response = response_for(request_with(HTML), answer())

    assert response.status_code == 403
    assert 'role="alert"' in html_of(response)
    (record,) = (line for line in caplog.records if line.levelno == logging.ERROR)
    assert f"'{broken}.html'" in record.getMessage()


def broken_processor(request: HttpRequest) -> dict[str, Any]:
    """A context processor that needs an attribute that a failed request lacks."""
    return {"shop": request.shop}  # type: ignore[attr-defined]  # set by a middleware


@pytest.mark.parametrize("base", ["", "shop.html"])
def test_a_page_is_rendered_if_a_context_processor_is_broken(
    base: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TEMPLATES = templates_setting(shop="<html>{% block content %}{% endblock %}</html>")
    settings.TEMPLATES[0]["OPTIONS"]["context_processors"] = [f"{__name__}.broken_processor"]
    settings.CIAM_BASE_TEMPLATE = base

    assert 'role="alert"' in page_of(answer())
    assert "AttributeError" in caplog.text
    assert "broken_processor" in caplog.text


def leaking_processor(request: HttpRequest) -> dict[str, Any]:
    """A context processor whose exception contains the requested address."""
    raise LookupError(f"no shop at {request.get_full_path()}")


def test_the_log_of_a_broken_page_does_not_contain_the_text_of_the_exception(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TEMPLATES = templates_setting()
    settings.TEMPLATES[0]["OPTIONS"]["context_processors"] = [f"{__name__}.leaking_processor"]

    assert 'role="alert"' in page_of(answer(), path="/callback?code=unmistakable")
    assert "LookupError" in caplog.text
    assert "unmistakable" not in caplog.text


@pytest.mark.parametrize("text", ["{% if %}", "{% nonsense %}", "{{ answer|nonsense }}"])
def test_a_page_is_rendered_if_the_template_of_the_project_is_broken(
    text: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TEMPLATES = templates_setting(**{"ciam_django/answer": text})

    assert 'role="alert"' in page_of(answer())
    assert "TemplateSyntaxError" in caplog.text


def test_a_page_is_rendered_with_the_template_of_the_project(settings: Settings) -> None:
    settings.TEMPLATES = templates_setting(**{"ciam_django/answer": "Mine: {{ answer.detail }}"})

    assert page_of(answer()) == "Mine: This account is locked. Contact support to unlock it."


def test_the_log_of_a_broken_page_has_no_data_of_the_failure(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The page is rendered while Python handles the failure, so a traceback would show it."""
    settings.TEMPLATES = templates_setting(
        shop="{{ request.nothing|add:missing.thing }}{% include nothing %}"
    )
    settings.CIAM_BASE_TEMPLATE = "shop.html"
    request = request_with(HTML, path="/callback?code=unmistakable")
    try:
        try:
            raise OAuthError("invalid_grant", "unmistakable")
        except OAuthError as cause:
            raise CiamError("invalid_grant", upstream_text="Unmistakable") from cause
    except CiamError as error:
        response = response_for(request, answer_to(error))

    assert 'role="alert"' in html_of(response)
    assert "CIAM_BASE_TEMPLATE is 'shop.html'" in caplog.text
    assert "unmistakable" not in caplog.text
    assert "OAuthError" not in caplog.text


@pytest.mark.parametrize(
    "setting",
    [
        [],
        [{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": False}],
    ],
    ids=["none", "bare", "no app dirs"],
)
def test_a_page_needs_no_templates_of_the_project(
    setting: list[dict[str, Any]], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TEMPLATES = setting

    assert 'role="alert"' in page_of(answer())
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]


def test_a_base_template_without_our_templates_is_logged(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TEMPLATES = []
    settings.CIAM_BASE_TEMPLATE = "shop.html"

    assert 'role="alert"' in page_of(answer())
    assert "CIAM_BASE_TEMPLATE is 'shop.html'" in caplog.text


def test_a_form_page_has_a_csrf_token_without_templates_of_the_project(
    settings: Settings,
) -> None:
    settings.TEMPLATES = []

    html = render_page(
        request_with(HTML), "ciam_django/login.html", {"authorize_url": "/a/", "next": '"><b>'}
    )

    assert 'name="csrfmiddlewaretoken"' in html
    assert 'value="&quot;&gt;&lt;b&gt;"' in html


def test_a_page_has_the_style_sheet_of_the_package() -> None:
    assert '<link rel="stylesheet" href="/static/ciam_django/ciam.css">' in page_of(answer())


PAGES = ["answer", "done", "login", "pending", "step"]
STYLESHEET = "/static/ciam_django/ciam.css"
# The base template of a project -> the number of links to our style sheet that the template has.
BASES = {
    "<html><head></head><body>{% block content %}{% endblock %}</body></html>": 0,
    "<!DOCTYPE html><title>Shop</title>{% block content %}{% endblock %}": 0,
    "{% load static %}<link rel='preload' as='style' href=\"{% static 'ciam_django/ciam.css' %}\">"
    "{% block content %}{% endblock %}": 0,
    "{% load static %}<LINK href=\"{% static 'ciam_django/ciam.css' %}\" rel=stylesheet>"
    "{% block content %}{% endblock %}": 1,
    "{% extends 'ciam_django/page.html' %}": 1,
}


def stylesheets_of(html: str) -> list[str]:
    """The links to style sheets of a page, in the order of the page."""
    links = re.findall(r"<link\s[^>]*>", html, re.IGNORECASE)
    return [link for link in links if re.search(r"rel=[\"']?stylesheet", link)]


@for_each_row("name", PAGES)
def test_each_page_links_the_style_sheet_once_in_each_base_template(name: str) -> None:
    for base, links_of_base in BASES.items():
        templates = templates_setting(shop=base)
        with override_settings(TEMPLATES=templates, CIAM_BASE_TEMPLATE="shop.html"):
            html = render_page(request_with(HTML), f"ciam_django/{name}.html", {"answer": answer()})

        (link,) = stylesheets_of(html)
        assert STYLESHEET in link
        # The project's own link stays where it is, before the project's own styles.
        assert ("data-ciam-stylesheet" in link) == (links_of_base == 0), base
        if links_of_base == 0:
            assert html.index(link) < html.index('class="ciam-card"')


@for_each_row(
    "place", ["<!-- {} -->", "<script>const link = '{}';</script>", "<!-- {}", "<SCRIPT>{}"]
)
def test_a_link_in_a_comment_or_a_script_is_no_link(place: str) -> None:
    link = f'<link rel="stylesheet" href="{STYLESHEET}">'
    base = "{% block content %}{% endblock %}" + place.format(link)
    with override_settings(TEMPLATES=templates_setting(shop=base), CIAM_BASE_TEMPLATE="shop.html"):
        assert "data-ciam-stylesheet" in page_of(answer())


def test_each_template_in_the_base_template_links_the_style_sheet() -> None:
    folder = Path(responses.__file__).parent / "templates/ciam_django"
    names = [
        path.stem
        for path in sorted(folder.glob("*.html"))
        if "{% extends ciam_base %}" in path.read_text(encoding="utf-8")
    ]

    assert names == PAGES


def test_the_project_can_leave_out_the_link_to_the_style_sheet(settings: Settings) -> None:
    """A project may have the rules of ciam.css in a style sheet of its own."""
    settings.TEMPLATES = templates_setting(
        **{"shop": "<p>{% block content %}{% endblock %}", "ciam_django/stylesheet": ""}
    )
    settings.CIAM_BASE_TEMPLATE = "shop.html"

    assert stylesheets_of(page_of(answer())) == []


def test_the_address_of_the_style_sheet_is_escaped(settings: Settings) -> None:
    settings.TEMPLATES = templates_setting(
        shop='{% load static %}<link rel="stylesheet" href="{% static \'ciam_django/ciam.css\' %}">'
        "{% block content %}{% endblock %}"
    )
    settings.CIAM_BASE_TEMPLATE = "shop.html"
    settings.STORAGES = {"staticfiles": {"BACKEND": f"{__name__}.SignedStorage"}}

    (link,) = stylesheets_of(page_of(answer()))
    assert "ciam.css?a=1&amp;b=2" in link


class SignedStorage(StaticFilesStorage):
    """A storage whose addresses have a query, such as the signed addresses of a bucket."""

    def url(self, name: str | None, *args: Any, **kwargs: Any) -> str:
        return f"{super().url(name)}?a=1&b=2"


@pytest.mark.parametrize("static_url", [None, ""])
def test_a_page_needs_no_static_files(static_url: str | None, settings: Settings) -> None:
    settings.STATIC_URL = static_url

    assert "stylesheet" not in page_of(answer())


MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"


def test_a_page_needs_no_collected_static_files(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = str(tmp_path)
    settings.STORAGES = {"staticfiles": {"BACKEND": MANIFEST}}

    assert "stylesheet" not in page_of(answer())


def test_a_page_has_the_collected_style_sheet(settings: Settings, tmp_path: Path) -> None:
    manifest = {"version": "1.1", "paths": {"ciam_django/ciam.css": "ciam_django/ciam.1234.css"}}
    (tmp_path / "staticfiles.json").write_text(json.dumps(manifest))
    settings.STATIC_ROOT = str(tmp_path)
    settings.STORAGES = {"staticfiles": {"BACKEND": MANIFEST}}

    assert "/static/ciam_django/ciam.1234.css" in page_of(answer())
