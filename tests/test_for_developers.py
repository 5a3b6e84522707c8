"""Test the details for developers, which only the page under DEBUG has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django.fixtures import Settings
from requests.exceptions import ConnectTimeout
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from ciam_django.answers import answer_to
from ciam_django.errors import CiamError, raising_ciam_errors
from tests.browser import HTML

LOCKED = "Operation.Failure.User.Locked"
REQUEST_ID = "1700000000000$0f0e0d0c-1111-2222-3333-444455556666"
DETAILS = re.compile(r"\n *<details.*</details>\n", re.DOTALL)

_raised: list[CiamError] = []


def page(request: HttpRequest) -> HttpResponse:
    raise _raised[0]


@api_view(["GET"])
def rest(request: Request) -> Response:
    raise _raised[0]


urlpatterns = [path("page/", page), path("rest/", rest)]


@pytest.fixture(autouse=True)
def fail_with_locked_account(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    _raised[:] = [
        CiamError(
            LOCKED,
            type_code="Operation.Failure",
            upstream_text="Account <b>li</b> of li@example.com is locked",
            request_id=REQUEST_ID,
            upstream_status=500,
            stage="password",
        )
    ]
    yield
    _raised.clear()


def get(place: str, accept: str) -> str:
    return Client().get(place, headers={"Accept": accept}).content.decode()


def details_in(html: str) -> dict[str, str]:
    """The names and values of the details."""
    return {
        unescape(name): unescape(value)
        for name, value in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html, re.DOTALL)
    }


def test_the_details_have_the_facts_that_the_answer_hides(settings: Settings) -> None:
    settings.DEBUG = True
    html = get("/page/", HTML)

    assert details_in(html) == {
        "Code": LOCKED,
        "Type code": "Operation.Failure",
        "Stage": "password",
        "Row": f"{LOCKED} (found by its exact code)",
        "Shown as": "Operation.Failure.Username.Or.Password.Error",
        "Exceptions": "CiamError",
        "Upstream status": "500",
        "Request id": REQUEST_ID,
        "Upstream text": "Account <b>li</b> of [email] is locked",
    }
    assert "<b>" not in html


def test_the_details_name_the_exceptions_behind_the_error(settings: Settings) -> None:
    settings.DEBUG = True
    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        raise ConnectTimeout("https://ciam.example/?code=S3cret") from OSError("S3cret")
    _raised[:] = [caught.value]
    values = details_in(get("/page/", HTML))

    assert (
        values["Exceptions"] == "CiamError\n←\xa0requests.exceptions.ConnectTimeout\n←\xa0OSError"
    )
    assert "S3cret" not in str(values)
    # Details without a value are left out.
    assert set(values) == {"Code", "Stage", "Row", "Exceptions", "Request id", "Upstream text"}


@pytest.mark.parametrize(
    ("error", "row"),
    [
        (CiamError("Params.Blank.New"), "Params.Blank.* (found by its family)"),
        (CiamError("New", type_code=LOCKED), f"{LOCKED} (found by its type code)"),
        (CiamError("New", upstream_status=429), "too_many_requests (found by its status)"),
        (CiamError("New"), "unknown_error (found by no step: the code is unknown)"),
    ],
    ids=str,
)
def test_the_details_name_the_row_and_the_step_that_found_it(
    error: CiamError, row: str, settings: Settings
) -> None:
    settings.DEBUG = True
    _raised[:] = [error]

    assert details_in(get("/page/", HTML))["Row"] == row


def test_the_details_have_the_reason_that_users_do_not_read(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"message": "Rule 12.", "audience": "developer"}}
    without = get("/page/", HTML)
    settings.DEBUG = True

    assert "Rule 12." not in without
    assert "This account can&#x27;t be used right now." in without
    assert details_in(get("/page/", HTML))["Reason"] == "Rule 12."


def test_the_page_without_debug_differs_only_in_the_details(settings: Settings) -> None:
    without = get("/page/", HTML)
    settings.DEBUG = True
    html = get("/page/", HTML)

    assert "<details" not in without
    assert LOCKED not in without
    assert DETAILS.search(html)
    assert DETAILS.sub("", html) == without


def test_the_details_are_in_english_in_every_language(settings: Settings) -> None:
    settings.DEBUG = True
    client = Client(headers={"Accept": HTML, "Accept-Language": "zh-hans"})

    assert (
        '<details class="ciam-developer" lang="en" dir="ltr">'
        in client.get("/page/").content.decode()
    )


@pytest.mark.parametrize("is_debug", [True, False])
@pytest.mark.parametrize(
    ("place", "accept"),
    [
        ("/page/", "application/json"),
        ("/page/", "application/problem+json"),
        ("/page/", "*/*"),
        ("/rest/", "application/json"),
        ("/rest/", "*/*"),
    ],
)
def test_json_never_has_the_details(
    place: str, accept: str, is_debug: bool, settings: Settings
) -> None:
    expected = get(place, "application/json")
    settings.DEBUG = is_debug
    body = get(place, accept)

    assert json.loads(body) == json.loads(expected)
    assert LOCKED not in body
    assert "developer" not in body


def test_the_browsable_api_never_has_the_details(settings: Settings) -> None:
    settings.DEBUG = True
    html = get("/rest/", HTML)

    assert "Operation.Failure.Username.Or.Password.Error" in html
    assert LOCKED not in html


def test_an_answer_without_debug_has_no_details(settings: Settings) -> None:
    assert answer_to(_raised[0]).developer_details == {}
    settings.DEBUG = True
    assert answer_to(_raised[0]).developer_details
    assert "developer_details" not in answer_to(_raised[0]).as_dict()
