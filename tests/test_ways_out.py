"""Test the ways out: where the button of an answer's page leads, and what it says."""

from __future__ import annotations

import itertools
import re
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import clear_script_prefix, path, set_script_prefix
from django.utils import translation
from pytest_django.fixtures import Settings

from ciam_django.answers import answer_to
from ciam_django.codes import CODES
from ciam_django.errors import CiamError
from ciam_django.kinds import ACTIONS, HOME_LABEL, Action, Kind
from ciam_django.login.error_responses import answer_error
from ciam_django.login.link_views import answer_link_error
from ciam_django.middleware import CiamErrorMiddleware
from ciam_django.responses import response_for
from ciam_django.ways_out import WayOut, home_url, referring_page, way_home, way_out_of
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
FAILURES = [code for code, row in CODES.items() if row.kind is not Kind.SUCCESS]
ADDRESS = "/shop/pay/?card=1"
CART = "http://testserver/shop/cart/?page=2"
AGAIN = "Go back and try again"

urlpatterns: list[Any] = []


class BrokenUser:
    """The user of a project whose session store is away."""

    @property
    def is_authenticated(self) -> bool:
        raise OSError


def request_to(
    address: str = ADDRESS, referer: str = "", method: str = "GET", user: object = None
) -> HttpRequest:
    headers = {"accept": "text/html", **({"referer": referer} if referer else {})}
    request = RequestFactory().generic(method, address, headers=headers)
    if user:
        request.user = user  # type: ignore[assignment]  # some are no users
    return request


def links_of(response: HttpResponse) -> list[tuple[str, str]]:
    """The links of a page, with their labels; the first link is the button."""
    html = response.content.decode()
    links = re.findall(r'<a class="(ciam-button|ciam-link)" href="([^"]*)"[^>]*>([^<]*)</a>', html)
    assert [name for name, _, _ in links] == ["ciam-button", "ciam-link"][: len(links)]
    return [(unescape(url), label) for _, url, label in links]


def middleware_links(request: HttpRequest, code: str) -> list[tuple[str, str]]:
    middleware = CiamErrorMiddleware(lambda request: HttpResponse())
    response = middleware.process_exception(request, CiamError(code))
    assert isinstance(response, HttpResponse)
    return links_of(response)


# The labels that say where a link leads -> a pattern for the URL of the link.
PROMISES = {
    "Try again": r"\?",
    AGAIN: r"/shop/cart/\?page=2",
    "Back": r"/shop/cart/\?page=2",
    "Back to sign in": "/ciam/login/",
    "Sign in": "/ciam/login/",
    "Start again": "/ciam/login/",
    "Use another way to sign in": "/ciam/login/",
    "Go to the home page": "/",
}


@for_each_row("code", FAILURES)
def test_every_failure_leads_to_what_its_button_says_and_home(code: str) -> None:
    answer = answer_to(CiamError(code))
    is_temporary = answer.kind in {"upstream", "rate_limit"}
    for method, referer, address in itertools.product(("GET", "POST"), (CART, ""), (ADDRESS, "/")):
        request = request_to(address, referer, method)
        way_out, home = way_out_of(request, answer), way_home(request)

        assert re.fullmatch(PROMISES[str(way_out.label)], way_out.url), way_out
        # The button repeats a request only if the second request can succeed.
        path_out = urlsplit(way_out.url).path or request.path
        assert path_out != request.path or method == "POST" or is_temporary
        assert way_out.url != "?" or (method == "GET" and is_temporary)
        assert (home is None) is (method == "GET" and address == "/")
        assert home in {None, WayOut("/", HOME_LABEL)}


@for_each_row("action", Action)
def test_the_page_of_every_action_has_the_button_and_a_link_home(action: Action) -> None:
    code = next(code for code in FAILURES if CODES[code].action is action)
    way_out = way_out_of(request_to(referer=CART), answer_to(CiamError(code)))

    assert middleware_links(request_to(referer=CART), code) == [
        (way_out.url, str(way_out.label)),
        ("/", "Go to the home page"),
    ]


@for_each_row("action", Action)
def test_every_action_leads_home_at_last(action: Action) -> None:
    assert str(ACTIONS[action].fallbacks[-1][1]) == "Go to the home page"


@for_each_row(
    "referer, method, page",
    [
        ("http://testserver/shop/", "GET", "/shop/"),
        ("http://testserver", "GET", ""),
        ("http://testserver/shop/?a=1&next=/b", "GET", "/shop/?a=1&next=/b"),
        # A form is on the page of its own address, and a link is not.
        (f"http://testserver{ADDRESS}", "POST", ADDRESS),
        (f"http://testserver{ADDRESS}", "GET", ""),
        # other sites, and URLs that browsers read in another way
        ("https://evil.example/shop/", "GET", ""),
        ("http://testserver:81/shop/", "GET", ""),
        ("http://user@testserver/shop/", "GET", ""),
        ("javascript://testserver/%0aalert(1)", "GET", ""),
        ("/shop/", "GET", "/shop/"),
        ("//testserver/shop/", "GET", "/shop/"),
        ("http://testserver//evil.example/", "GET", ""),
        ("http://testserver/\\evil.example/", "GET", ""),
        ("http://[testserver/", "GET", ""),
        (f"http://testserver/{'a' * 1024}", "GET", ""),
        ("", "GET", ""),
        # pages of a sign-in
        ("http://testserver/ciam/login/?next=/a", "POST", "/ciam/login/?next=/a"),
        ("http://testserver/ciam/recover/", "POST", "/ciam/recover/"),
        ("http://testserver/ciam/step/abc/", "POST", ""),
        ("http://testserver/ciam/authorize/", "POST", ""),
        ("http://testserver/ciam/callback/?code=1&state=2", "GET", ""),
        ("http://testserver/shop/callback/?code=1&state=2", "GET", ""),
    ],
)
def test_the_referring_page_is_a_page_of_this_site_that_can_be_opened_again(
    referer: str, method: str, page: str
) -> None:
    assert referring_page(request_to(referer=referer, method=method)) == page


def test_an_https_page_does_not_lead_to_an_http_page() -> None:
    request = RequestFactory().get("/a/", secure=True, headers={"referer": "http://testserver/b/"})

    assert referring_page(request) == ""


def test_a_request_for_an_unknown_host_has_no_referring_page(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["shop.example"]

    assert referring_page(request_to(referer=CART)) == ""


def test_the_link_of_a_callback_does_not_repeat_the_callback() -> None:
    request = request_to("/shop/callback/?code=1&state=2")

    assert middleware_links(request, "timeout")[0] == ("/ciam/login/", "Back to sign in")


@pytest.mark.parametrize(
    ("user", "code", "link"),
    [
        # The login page sends a signed-in user on without the parameter.
        (User(pk=1), "missing_token", ("/ciam/login/?prompt=login", "Sign in")),
        (User(pk=1), LOCKED, ("/", "Go to the home page")),
        (AnonymousUser(), LOCKED, ("/ciam/login/", "Back to sign in")),
        (BrokenUser(), "missing_token", ("/ciam/login/", "Sign in")),
    ],
)
def test_the_link_to_sign_in_fits_the_user(user: object, code: str, link: tuple[str, str]) -> None:
    assert middleware_links(request_to(user=user), code)[0] == link


def test_a_signed_in_user_signs_in_again_at_the_login_page_of_the_project(
    settings: Settings,
) -> None:
    settings.ROOT_URLCONF = __name__
    settings.LOGIN_URL = "/enter/"

    links = middleware_links(request_to(user=User(pk=1)), "missing_token")
    assert links[0] == ("/enter/", "Sign in")


@pytest.mark.parametrize(("next_url", "onward"), [("/cart/", "/cart/"), ("", "/accounts/profile/")])
@pytest.mark.parametrize("code", ["mismatching_state", "csrf_failed", "timeout"])
def test_a_signed_in_user_is_sent_on_from_a_failed_sign_in(
    next_url: str, onward: str, code: str
) -> None:
    request = request_to("/ciam/callback/?state=1", user=User(pk=1))
    response = answer_error(request, CiamError(code), next_url=next_url)

    assert links_of(response)[0] == (onward, "Continue")


@pytest.mark.parametrize("code", ["mismatching_state", "linked_elsewhere"])
def test_a_failed_link_leads_back(code: str) -> None:
    request = request_to("/ciam/callback/?state=1", user=User(pk=1))

    assert links_of(answer_link_error(request, CiamError(code), "/cart/"))[0] == ("/cart/", "Back")


def test_the_url_of_the_project_for_an_action_has_precedence(settings: Settings) -> None:
    settings.CIAM_ACTION_URLS = {"login": "/enter/", "contact_support": "https://help.example/"}
    answer = answer_to(CiamError("missing_token"))

    assert way_out_of(request_to(), answer, next_url="/a").url == "/enter/?next=%2Fa"
    assert middleware_links(request_to(), LOCKED)[0] == ("https://help.example/", "Contact support")


@for_each_row(
    "language, setting, url",
    [
        (
            "en",
            "mailto:help@example.com",
            "mailto:help@example.com?subject=Help%20with%20signing%20in&body=Reference%3A%20a%24b",
        ),
        (
            "en",
            "mailto:help@example.com?Subject=Shop&cc=a@b",
            "mailto:help@example.com?Subject=Shop&cc=a@b&body=Reference%3A%20a%24b",
        ),
        (
            "zh-hans",
            "mailto:help@example.com?subject=",
            "mailto:help@example.com?subject=&body=%E7%BC%96%E5%8F%B7%EF%BC%9Aa%24b",
        ),
        ("en", "tel:95187", "tel:95187"),
    ],
)
def test_a_mail_to_the_support_carries_the_reference(
    settings: Settings, language: str, setting: str, url: str
) -> None:
    settings.CIAM_SUPPORT_URL = setting
    with translation.override(language):
        answer = answer_to(CiamError(LOCKED, request_id="a$b"))

    assert way_out_of(request_to(), answer).url == url
    # A front end writes its own mail.
    assert answer.as_dict()["action_url"] == setting


@pytest.mark.parametrize(
    ("setting", "url"), [("/start/", "/start/"), ("start", "/begin/"), ("nowhere", "/"), ("", "/")]
)
def test_the_home_page_is_a_setting(settings: Settings, setting: str, url: str) -> None:
    urlpatterns[:] = [path("begin/", lambda request: HttpResponse(), name="start")]
    settings.ROOT_URLCONF, settings.CIAM_HOME_URL = __name__, setting

    assert home_url() == url
    assert middleware_links(request_to(), LOCKED) == [(url, "Go to the home page")]


def test_the_home_page_has_the_prefix_of_the_script() -> None:
    set_script_prefix("/shop/")
    try:
        assert home_url() == "/shop/"
    finally:
        clear_script_prefix()


def test_a_failed_home_page_has_a_link_to_itself_only_as_a_last_resort(settings: Settings) -> None:
    urlpatterns.clear()
    settings.ROOT_URLCONF = __name__
    request = request_to("/")

    assert way_home(request) is None
    assert middleware_links(request, LOCKED) == [("?", "Try again")]


def test_a_caller_can_set_the_link() -> None:
    answer = answer_to(CiamError(LOCKED))
    response = response_for(request_to(), answer, context={"way_out": "/", "way_out_label": "Out"})

    assert links_of(response) == [("/", "Out")]
    assert isinstance(way_home(request_to()), WayOut)
