"""Test that generic errors hide if an account exists, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

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
_REQUEST_ID = re.compile(r"local-[0-9a-f]{16}")

ROWS = {code: (code, "", row.collapse) for code, row in CODES.items() if row.collapse}
# Other codes that match a collapsing row.
OTHER_CODES = {
    **{
        alias: (alias, "", CODES[row].collapse)
        for alias, row in ALIASES.items()
        if CODES[row].collapse
    },
    "another case": (LOCKED.upper(), "", SIGN_IN),
    "a new code of a family": ("Operation.Failure.User.Weird", "", SIGN_IN),
    "a new code of the other family": ("Params.Exist.User.Nick.Name", "", SIGN_UP),
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
def use_raising_views(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    yield
    _raised.clear()


PostError = Callable[[CiamError], HttpResponse]


# The quick tests post the errors of the whole table as JSON only.
SLOW_SURFACES: Final = [
    pytest.param(name, marks=[] if name == "JSON" else pytest.mark.slow("answers of all codes"))
    for name in SURFACES
]


@pytest.fixture(params=SLOW_SURFACES)
def post_error(request: pytest.FixtureRequest) -> PostError:
    """A function that returns the answer of a surface to an error."""
    place, accept = SURFACES[request.param]

    def answer(error: CiamError, client: Client | None = None, language: str = "en") -> Any:
        _raised[:] = [error]
        headers = {"Accept": accept, "Accept-Language": language}
        return (client or Client()).post(place, headers=headers)

    return answer


def comparable_parts(response: HttpResponse) -> tuple[object, ...]:
    """Status, reason, headers, cookies and body, without the request id."""
    headers = {name: _REQUEST_ID.sub("ID", value) for name, value in response.items()}
    body = _REQUEST_ID.sub("ID", response.content.decode())
    return response.status_code, response.reason_phrase, headers, response.cookies.output(), body


def detailed_error(code: str, type_code: str, stage: str) -> CiamError:
    """An error with all values that could distinguish it from another error."""
    return CiamError(
        code,
        type_code=type_code,
        stage=stage,
        upstream_text="Locked for half an hour",
        request_id=REQUEST_ID,
        upstream_status=500,
        retry_after=1740,
    )


def generic_error(collapse: Collapse | None, stage: str) -> CiamError:
    """The error with the generic code, such as CIAM's error for a wrong password."""
    assert collapse
    another_id = REQUEST_ID.replace("1", "2")
    return CiamError(COLLAPSE_TARGETS[collapse], stage=stage, request_id=another_id)


@for_each_row("language", ["en", "zh-hans", "zh-hant"])
@for_each_row("case", [*ROWS, *OTHER_CODES])
@pytest.mark.slow("answers of all codes")
def test_a_collapsing_error_and_a_generic_error_have_the_same_bytes(
    case: str, language: str, post_error: Any
) -> None:
    code, type_code, collapse = {**ROWS, **OTHER_CODES}[case]
    for stage in STAGES:
        collapsed = post_error(detailed_error(code, type_code, stage), language=language)
        expected = post_error(generic_error(collapse, stage), language=language)

        assert comparable_parts(collapsed) == comparable_parts(expected)
        assert collapse
        assert collapsed["Ciam-Error-Code"] == COLLAPSE_TARGETS[collapse]
        assert _REQUEST_ID.fullmatch(collapsed["Ciam-Request-Id"])


@for_each_row("case", [*ROWS, *OTHER_CODES])
@pytest.mark.slow("answers of all codes")
def test_a_collapsing_code_is_shown_outside_of_the_generic_error_stages(
    case: str, post_error: Any
) -> None:
    code, type_code, _ = {**ROWS, **OTHER_CODES}[case]
    for stage in OPEN_STAGES:
        response = post_error(detailed_error(code, type_code, stage))

        assert response["Ciam-Error-Code"] == matched_row(code, type_code).key
        assert response["Ciam-Error-Code"] not in COLLAPSE_TARGETS.values()


@pytest.mark.django_db
@for_each_row("code", ROWS)
@pytest.mark.slow("answers of all codes")
def test_users_who_are_signed_in_get_the_same_bytes_as_anonymous_users(
    code: str, post_error: Any
) -> None:
    client = Client()
    user, _ = get_user_model().objects.get_or_create(username="li")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for stage in STAGES:
        response = post_error(detailed_error(code, "", stage), client)

        assert comparable_parts(response) == comparable_parts(
            post_error(detailed_error(code, "", stage))
        )


@for_each_row("code", ROWS)
def test_a_collapsing_code_is_shown_with_a_message_of_the_project(
    code: str, post_error: Any, settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {code.upper(): "Call us on 95187."}
    for stage in STAGES:
        response = post_error(detailed_error(code, "", stage))

        assert response["Ciam-Error-Code"] == code
        assert "Call us on 95187." in response.content.decode()


@for_each_row("code", ROWS)
def test_a_collapsing_code_is_shown_if_generic_errors_are_off(
    code: str, post_error: Any, settings: Settings
) -> None:
    settings.CIAM_GENERIC_ERRORS = False

    assert post_error(detailed_error(code, "", "password"))["Ciam-Error-Code"] == code


OVERRIDES: dict[str, tuple[dict[str, Any], str, Collapse]] = {
    "a message of a family": ({"Operation.Failure.User.*": "Call us."}, LOCKED, SIGN_IN),
    "a message of a suffix": ({"*.Locked": "Call us."}, LOCKED, SIGN_IN),
    "another status": ({LOCKED: {"status": 423}}, LOCKED, SIGN_IN),
    "another action": ({LOCKED: {"action": "wait"}}, LOCKED, SIGN_IN),
    "another kind": ({LOCKED: {"kind": "rate_limit"}}, LOCKED, SIGN_IN),
    "a field": ({LOCKED: {"field": "username"}}, LOCKED, SIGN_IN),
    "a retry": ({LOCKED: {"kind": "rate_limit", "retry": True}}, LOCKED, SIGN_IN),
    "a code of the project": (
        {"My.Code": {"collapse": "sign_up", "status": 409}},
        "My.Code",
        SIGN_UP,
    ),
    "a family of the project": (
        {"My.Family.*": {"message": "No.", "collapse": "sign_in"}},
        "My.Family.Code",
        SIGN_IN,
    ),
    "the other target": ({LOCKED: {"collapse": "sign_up"}}, LOCKED, SIGN_UP),
    "a message and a collapse of the code": (
        {LOCKED: {"message": "No.", "collapse": "sign_in"}},
        LOCKED,
        SIGN_IN,
    ),
    "a message and a collapse of a code of the project": (
        {"My.Code": {"message": "No.", "collapse": "sign_up"}},
        "My.Code",
        SIGN_UP,
    ),
    "a message of the code and a collapse of its family": (
        {LOCKED: "No.", "Operation.Failure.User.*": {"collapse": "sign_in"}},
        LOCKED,
        SIGN_IN,
    ),
    "a message of an alias and a collapse of its row": (
        {
            "Operation.Failure.User.NotFound": "No.",
            "Operation.Failure.User.Not.Exist": {"collapse": "sign_in"},
        },
        "Operation.Failure.User.NotFound",
        SIGN_IN,
    ),
    "a misspelt collapse of a code of the project": (
        {"My.Code": {"message": "No.", "collapse": "sing_in"}},
        "My.Code",
        SIGN_IN,
    ),
    "a message of the target": ({COLLAPSE_TARGETS[SIGN_IN]: "No."}, LOCKED, SIGN_IN),
    "a status of the target": ({"sign_up_refused": {"status": 422}}, "My.Code", SIGN_UP),
}


@for_each_row("stage", STAGES)
@for_each_row("case", OVERRIDES)
@pytest.mark.slow("answers of all codes")
def test_only_a_message_of_the_exact_code_without_a_collapse_shows_the_code(
    case: str, stage: str, post_error: Any, settings: Settings
) -> None:
    overrides, code, collapse = OVERRIDES[case]
    settings.CIAM_ERROR_OVERRIDES = {"My.Code": {"collapse": "sign_up"}, **overrides}

    assert comparable_parts(post_error(detailed_error(code, "", stage))) == comparable_parts(
        post_error(generic_error(collapse, stage))
    )


def test_an_override_without_collapse_shows_the_code(post_error: Any, settings: Settings) -> None:
    for override in ({"collapse": None}, {"collapse": None, "message": "Call us."}):
        settings.CIAM_ERROR_OVERRIDES = {LOCKED: override}

        assert post_error(detailed_error(LOCKED, "", "password"))["Ciam-Error-Code"] == LOCKED
