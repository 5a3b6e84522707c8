"""Who has an account is no stranger's business: what would tell equals what would not, in bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django.fixtures import Settings
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from ciam_django.answers import GENERIC_ERROR_STAGES
from ciam_django.codes import ALIASES, CODES, COLLAPSE_TARGETS, Collapse
from ciam_django.errors import CiamError
from ciam_django.lookup import matched_row
from tests.browser import HTML
from tests.rows import for_each_row

SIGN_IN, SIGN_UP = Collapse.SIGN_IN, Collapse.SIGN_UP
LOCKED = "Operation.Failure.User.Locked"
REQUEST_ID = "1700000000000$0f0e0d0c-1111-2222-3333-444455556666"
_REQUEST_ID = re.compile(r"[12]7\d{11}\$[0-9a-f-]{36}")

ROWS = {code: (code, "", row.collapse) for code, row in CODES.items() if row.collapse}
# Every other way to such a row.
WAYS = {
    **{
        alias: (alias, "", CODES[row].collapse)
        for alias, row in ALIASES.items()
        if CODES[row].collapse
    },
    "another case": (LOCKED.upper(), "", SIGN_IN),
    "a new code of a family": ("Operation.Failure.User.Weird", "", SIGN_IN),
    "a new code of the other": ("Params.Exist.User.Nick.Name", "", SIGN_UP),
    "a type code": ("Brand.New", LOCKED, SIGN_IN),
    "a type code's family": ("Brand.New", "Params.Exist.Whatever", SIGN_UP),
}
STAGES = sorted(GENERIC_ERROR_STAGES)
OPEN_STAGES = [
    "",
    "authorize",
    "callback",
    "token",
    "id_token",
    "userinfo",
    "refresh",
    "logout",
    "social",
    "profile",
    "api",
]
SURFACES = {
    "page": ("/page/", HTML),
    "JSON": ("/page/", "application/json"),
    "REST framework": ("/rest/", "application/json"),
}

_raised: list[CiamError] = []


def page(request: HttpRequest) -> HttpResponse:
    raise _raised[0]


@api_view(["POST"])
def rest(request: Request) -> Response:
    raise _raised[0]


urlpatterns = [path("page/", page), path("rest/", rest)]


@pytest.fixture(autouse=True)
def views_that_raise(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    yield
    _raised.clear()


Answered = Callable[[CiamError], HttpResponse]


@pytest.fixture(params=SURFACES)
def answered(request: pytest.FixtureRequest) -> Answered:
    """What a surface answers to an error."""
    place, accept = SURFACES[request.param]

    def answer(error: CiamError, client: Client | None = None, language: str = "en") -> Any:
        _raised[:] = [error]
        headers = {"Accept": accept, "Accept-Language": language}
        return (client or Client()).post(place, headers=headers)

    return answer


def all_of(response: HttpResponse) -> tuple[object, ...]:
    """Status, reason, headers, cookies and body, without the request id."""
    headers = {name: _REQUEST_ID.sub("ID", value) for name, value in response.items()}
    body = _REQUEST_ID.sub("ID", response.content.decode())
    return response.status_code, response.reason_phrase, headers, response.cookies.output(), body


def failed(code: str, type_code: str, stage: str) -> CiamError:
    """An error with all that could tell it from another."""
    return CiamError(
        code,
        type_code=type_code,
        stage=stage,
        upstream_text="Locked for half an hour",
        request_id=REQUEST_ID,
        upstream_status=500,
        retry_after=1740,
    )


def generic(collapse: Collapse | None, stage: str) -> CiamError:
    """The error that CIAM itself answers to a wrong password, say."""
    assert collapse
    another_id = REQUEST_ID.replace("1", "2")
    return CiamError(COLLAPSE_TARGETS[collapse], stage=stage, request_id=another_id)


@for_each_row("language", ["en", "zh-hans", "zh-hant"])
@for_each_row("way", [*ROWS, *WAYS])
def test_a_stranger_cannot_tell_it_from_the_general_one(
    way: str, language: str, answered: Any
) -> None:
    code, type_code, collapse = {**ROWS, **WAYS}[way]
    for stage in STAGES:
        collapsed = answered(failed(code, type_code, stage), language=language)
        expected = answered(generic(collapse, stage), language=language)

        assert all_of(collapsed) == all_of(expected)
        assert collapse
        assert collapsed["Ciam-Error-Code"] == COLLAPSE_TARGETS[collapse]
        assert collapsed["Ciam-Request-Id"] == REQUEST_ID


@for_each_row("way", [*ROWS, *WAYS])
def test_it_is_told_where_somebody_has_been_authenticated(way: str, answered: Any) -> None:
    code, type_code, _ = {**ROWS, **WAYS}[way]
    for stage in OPEN_STAGES:
        response = answered(failed(code, type_code, stage))

        assert response["Ciam-Error-Code"] == matched_row(code, type_code).key
        assert response["Ciam-Error-Code"] not in COLLAPSE_TARGETS.values()


@pytest.mark.django_db
@for_each_row("code", ROWS)
def test_it_is_told_to_who_has_signed_in(code: str, answered: Any) -> None:
    client = Client()
    user, _ = get_user_model().objects.get_or_create(username="li")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for stage in STAGES:
        response = answered(failed(code, "", stage), client)

        assert response["Ciam-Error-Code"] == code


@for_each_row("code", ROWS)
def test_it_is_told_in_the_words_of_who_decided_to(
    code: str, answered: Any, settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {code.upper(): "Call us on 95187."}
    for stage in STAGES:
        response = answered(failed(code, "", stage))

        assert response["Ciam-Error-Code"] == code
        assert "Call us on 95187." in response.content.decode()


@for_each_row("code", ROWS)
def test_it_is_told_where_generic_errors_are_off(
    code: str, answered: Any, settings: Settings
) -> None:
    settings.CIAM_GENERIC_ERRORS = False

    assert answered(failed(code, "", "password"))["Ciam-Error-Code"] == code


OVERRIDES: dict[str, tuple[dict[str, Any], str, Collapse]] = {
    "a family's words": ({"Operation.Failure.User.*": "Call us."}, LOCKED, SIGN_IN),
    "a suffix's words": ({"*.Locked": "Call us."}, LOCKED, SIGN_IN),
    "another status": ({LOCKED: {"status": 423}}, LOCKED, SIGN_IN),
    "another action": ({LOCKED: {"action": "wait"}}, LOCKED, SIGN_IN),
    "another kind": ({LOCKED: {"kind": "rate_limit"}}, LOCKED, SIGN_IN),
    "a field": ({LOCKED: {"field": "username"}}, LOCKED, SIGN_IN),
    "a retry": ({LOCKED: {"kind": "rate_limit", "retry": True}}, LOCKED, SIGN_IN),
    "a code of one's own": (
        {"My.Code": {"collapse": "sign_up", "status": 409}},
        "My.Code",
        SIGN_UP,
    ),
    "a family of one's own": (
        {"My.Family.*": {"message": "No.", "collapse": "sign_in"}},
        "My.Family.Code",
        SIGN_IN,
    ),
    "the other target": ({LOCKED: {"collapse": "sign_up"}}, LOCKED, SIGN_UP),
    "the target's words": ({COLLAPSE_TARGETS[SIGN_IN]: "No."}, LOCKED, SIGN_IN),
    "the target's status": ({"sign_up_refused": {"status": 422}}, "My.Code", SIGN_UP),
}


@for_each_row("stage", STAGES)
@for_each_row("case", OVERRIDES)
def test_overrides_that_reword_no_exact_code_tell_nothing(
    case: str, stage: str, answered: Any, settings: Settings
) -> None:
    overrides, code, collapse = OVERRIDES[case]
    settings.CIAM_ERROR_OVERRIDES = {"My.Code": {"collapse": "sign_up"}, **overrides}

    assert all_of(answered(failed(code, "", stage))) == all_of(answered(generic(collapse, stage)))


def test_nothing_collapses_that_an_override_takes_out(answered: Any, settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"collapse": None}}

    assert answered(failed(LOCKED, "", "password"))["Ciam-Error-Code"] == LOCKED
