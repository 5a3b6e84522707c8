"""The template tags of ``{% load ciam %}`` in the pages of a project."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from html import unescape
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import Context, Template, TemplateSyntaxError
from django.test import Client, RequestFactory, override_settings
from django.urls import include, path
from django.utils.translation import override
from pytest_django.fixtures import Settings

from ciam_django.answers import answer_to
from ciam_django.errors import CiamError
from ciam_django.templatetags import ciam
from ciam_django.testing import FakeCiam
from tests.rows import for_each_row

LOCKED: Final = "Operation.Failure.User.Locked"
EVIL: Final = "https://evil.example/"
# The headers of a request for a part of a page.
IN_PAGE: Final = {
    "HTTP_HX_REQUEST": "true",
    "HTTP_HX_CURRENT_URL": "http://testserver/cart/?page=2",
}


def page(request: HttpRequest) -> HttpResponse:
    return render(request, "tags.html")


urlpatterns = [path("page/", page), path("ciam/", include("ciam_django.urls"))]


class WithoutUrls:
    urlpatterns = [path("page/", page)]


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


def rendered(tag: str, request: HttpRequest | None = None, **context: Any) -> str:
    variables = {**context, **({"request": request} if request else {})}
    return Template(f"{{% load ciam %}}{{% {tag} %}}").render(Context(variables))


def attribute_of(html: str, name: str) -> str:
    match = re.search(f'{name}="([^"]*)"', html)
    assert match
    return match[1]


def templates_with(tags: str) -> list[Any]:
    """The setting ``TEMPLATES`` with a template ``tags.html``."""
    loaders = [
        ("django.template.loaders.locmem.Loader", {"tags.html": tags}),
        "django.template.loaders.app_directories.Loader",
    ]
    setting: dict[str, Any] = django_settings.TEMPLATES[0]
    options = {**setting["OPTIONS"], "loaders": loaders}
    return [{**setting, "APP_DIRS": False, "OPTIONS": options}]


def request_for(url: str = "/cart/?page=2", **headers: Any) -> HttpRequest:
    return RequestFactory().get(url, **headers)


@for_each_row(
    "tag, request, query",
    [
        ("ciam_login_url", request_for(), {"next": "/cart/?page=2"}),
        ("ciam_login_url next='/orders/'", request_for(), {"next": "/orders/"}),
        ("ciam_login_url next=''", request_for(), {}),
        ("ciam_login_url", None, {}),
        (
            "ciam_login_url next='/a?b=1&c=2' method='sms'",
            None,
            {"method": "sms", "next": "/a?b=1&c=2"},
        ),
        # A fragment leads back to the page around it.
        ("ciam_login_url", request_for("/part/", **IN_PAGE), {"next": "/cart/?page=2"}),
        (
            "ciam_login_url",
            request_for("/part/", HTTP_HX_BOOSTED="true", **IN_PAGE),
            {"next": "/part/"},
        ),
        ("ciam_login_url", request_for("/part/", **{**IN_PAGE, "HTTP_HX_CURRENT_URL": EVIL}), {}),
        # A next of another site, or of the sign-in itself, is left out.
        (f"ciam_login_url next='{EVIL}'", request_for(), {}),
        (f"ciam_login_url next='{EVIL}'", None, {}),
        ("ciam_login_url next='//evil.example'", None, {}),
        ("ciam_login_url", request_for("/ciam/login/"), {}),
    ],
)
def test_the_login_page_leads_back_to_a_page_of_this_site(
    tag: str, request: HttpRequest | None, query: dict[str, str]
) -> None:
    url = urlsplit(unescape(rendered(tag, request)))

    assert url.path == "/ciam/login/"
    assert dict(parse_qsl(url.query)) == query


def test_a_popup_link_works_with_and_without_the_script(settings: Settings) -> None:
    tag = "ciam_popup_link text next='/a?b=1&c=2' class='btn' id=name"
    link = rendered(tag, request_for(), text="Sign in <here>", name='"x"')
    popup = urlsplit(unescape(attribute_of(link, "data-ciam-popup")))
    done = urlsplit(dict(parse_qsl(popup.query))["next"])
    settings.STATIC_URL = None

    assert unescape(attribute_of(link, "href")) == "/ciam/login/?next=%2Fa%3Fb%3D1%26c%3D2"
    assert (popup.path, done.path) == ("/ciam/login/", "/ciam/done/")
    assert dict(parse_qsl(done.query)) == {"next": "/a?b=1&c=2"}
    assert attribute_of(link, "class") == "btn"
    assert attribute_of(link, "id") == "&quot;x&quot;"
    assert ">Sign in &lt;here&gt;</a><script" in link
    assert "ciam_django/ciam.js" in link
    # Without static files, the link stays.
    assert rendered(tag, request_for(), text="x", name="x").endswith("</a>")


@for_each_row(
    "language, text",
    [("en", "Sign in"), ("zh-hans", "登录"), ("zh-hant", "登入"), ("fr", "Sign in")],
)
def test_a_popup_link_without_a_text_is_in_the_language_of_the_page(
    language: str, text: str
) -> None:
    with override(language):
        assert f">{text}</a>" in rendered("ciam_popup_link", request_for())


@pytest.mark.parametrize("mode", ["ciam"])
def test_the_providers_are_the_buttons_of_the_login_page(
    ciam: FakeCiam, db: None, settings: Settings
) -> None:
    client = Client(enforce_csrf_checks=True)
    settings.TEMPLATES = templates_with("{% load ciam %}{% ciam_providers next='/cart/' %}")
    empty = client.get("/page/").content.decode()
    settings.CIAM_SOCIAL_PROVIDERS = {"qq": {"app_id": "1", "source": "s"}}

    html = client.get("/page/").content.decode()
    token = attribute_of(html, 'name="csrfmiddlewaretoken" value')
    fields = {
        "csrfmiddlewaretoken": token,
        "consent": re.findall('"consent" value="([^"]*)"', html),
    }
    response = client.post("/ciam/with/qq/", fields)

    assert not empty.strip()
    assert "<html" not in html
    assert "/ciam/with/qq/" in html
    assert 'name="next" value="/cart/"' in html
    assert response["Location"].startswith("https://graph.qq.com/")


@for_each_row(
    "variables, texts",
    [
        ({}, []),
        ({"ciam_error": None, "answer": ""}, []),
        # A variable of the project with the same name.
        ({"ciam_error": True, "answer": "42"}, []),
        ({"ciam_error": "x", "answer": answer_to(CiamError(LOCKED))}, ["This account is locked"]),
        ({"ciam_error": CiamError(LOCKED)}, ["This account is locked"]),
        ({"answer": answer_to(CiamError(LOCKED))}, ["This account is locked"]),
        ({"ciam_error": CiamError("token_expired")}, ['href="/ciam/login/"']),
    ],
)
def test_an_error_is_its_sentence_and_its_action(
    variables: dict[str, Any], texts: list[str]
) -> None:
    html = rendered("ciam_error", request_for(), **variables)

    assert all(text in html for text in texts)
    assert bool(texts) is ('role="alert"' in html)
    assert "<html" not in html


def test_an_error_is_in_the_language_of_the_page_and_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = CiamError(LOCKED, upstream_text="<b>text of CIAM</b>")
    with override("zh-hans"), caplog.at_level("INFO", "ciam_django"):
        html = [rendered("ciam_error failure", None, failure=error) for _ in range(2)]

    assert 'lang="zh-hans"' in html[0]
    assert "text of CIAM" not in html[0]
    assert len(caplog.records) == 1


@for_each_row(
    "tag, request, exception, texts",
    [
        (
            "ciam_popup_link 'x' rel='y'",
            request_for(),
            TemplateSyntaxError,
            ["'rel'", "class, id, title"],
        ),
        ("ciam_providers", None, ImproperlyConfigured, ["context_processors.request"]),
        ("ciam_error 'x'", None, TemplateSyntaxError, ["the type SafeString", "CiamError"]),
    ],
)
def test_a_wrong_use_says_what_was_given_and_what_is_allowed(
    tag: str, request: HttpRequest | None, exception: type[Exception], texts: list[str]
) -> None:
    with pytest.raises(exception) as raised:
        rendered(tag, request)

    assert all(text in str(raised.value) for text in texts)


@for_each_row("tag", ["ciam_login_url", "ciam_popup_link", "ciam_providers"])
def test_a_project_without_our_urls_reads_the_missing_line(tag: str) -> None:
    with (
        override_settings(ROOT_URLCONF=WithoutUrls),
        pytest.raises(ImproperlyConfigured) as raised,
    ):
        rendered(tag, request_for())

    assert f"{{% {tag} %}} needs the URLs" in str(raised.value)
    assert 'path("ciam/", include("ciam_django.urls"))' in str(raised.value)


def test_the_error_needs_neither_the_accounts_nor_a_client_of_ciam() -> None:
    # None in sys.modules makes an import fail.
    program = """
import sys
sys.modules["authlib"] = sys.modules["requests"] = None
import django
from django.conf import settings
templates = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
settings.configure(INSTALLED_APPS=["ciam_django"], DATABASES={}, TEMPLATES=templates)
django.setup()
from django.template import engines
from ciam_django.errors import CiamError
template = engines["django"].from_string("{% load ciam %}{% ciam_error %}")
print(template.render({"ciam_error": CiamError("Operation.Failure.User.Locked")}))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert "This account is locked" in result.stdout


def test_the_tags_load_without_the_accounts_app(settings: Settings) -> None:
    installed = settings.INSTALLED_APPS
    settings.INSTALLED_APPS = [app for app in installed if app != "ciam_django.accounts"]
    tags = importlib.reload(ciam).register.tags
    settings.INSTALLED_APPS = installed

    assert tags.keys() == importlib.reload(ciam).register.tags.keys()
    assert "ciam_error" in tags
