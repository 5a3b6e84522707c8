"""The door of REST framework's views answers as the middleware does."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from authlib.integrations.base_client.errors import OAuthError
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from pytest_django.fixtures import Settings
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.decorators import api_view
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from ciam_django.codes import CODES
from ciam_django.drf import exception_handler
from ciam_django.errors import CiamError
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
GENERIC = "Operation.Failure.Username.Or.Password.Error"

# What the views raise, one for each test.
_raised: list[BaseException] = []


class RestView(APIView):
    def get(self, request: Request) -> Response:
        raise _raised[-1]


def plain_view(request: HttpRequest) -> HttpResponse:
    raise _raised[-1]


@api_view(["GET", "POST"])
def function_view(request: Request) -> Response:
    raise _raised[-1]


class WritingView(APIView):
    authentication_classes = ()

    def post(self, request: Request) -> Response:
        Group.objects.create(name="half done")
        raise _raised[-1]


class Authentication(BaseAuthentication):
    """As of a project that asks CIAM whether a token is good."""

    asked = 0

    def authenticate(self, request: Request) -> None:
        type(self).asked += 1
        raise CiamError("invalid_token", stage="password")


class AuthenticatingView(APIView):
    authentication_classes = (Authentication,)

    def get(self, request: Request) -> Response:
        raise AssertionError


class SessionView(APIView):
    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        raise AssertionError


urlpatterns = [
    path("rest/", RestView.as_view()),
    path("function/", function_view),
    path("plain/", plain_view),
    path("writing/", WritingView.as_view()),
    path("authenticating/", AuthenticatingView.as_view()),
    path("session/", SessionView.as_view()),
]


@pytest.fixture(autouse=True)
def views_that_raise(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    Authentication.asked = 0
    yield
    _raised.clear()


def get(place: str, accept: str = "application/json", **headers: str) -> Any:
    return Client(headers={"accept": accept, **headers}).get(place)


def own(response: Any) -> dict[str, str]:
    """The headers that both doors set."""
    names = [
        "Cache-Control",
        "Content-Language",
        "Ciam-Error-Code",
        "Ciam-Request-Id",
        "WWW-Authenticate",
        "Retry-After",
    ]
    return {name: response[name] for name in names if name in response}


def fallback(exc: Exception, context: dict[str, Any]) -> Response:
    """A project's own handler."""
    return Response({"mine": str(exc)}, status=418)


# --- As the middleware ------------------------------------------------------------------------


@for_each_row("code", [*CODES, "nobody.knows", "Params.Blank.User.Nick.Name"])
def test_the_answer_is_that_of_the_middleware(code: str) -> None:
    _raised.append(CiamError(code, request_id="abc", retry_after=7))
    rest = get("/rest/", authorization="Bearer abc")
    plain = get("/plain/", authorization="Bearer abc")

    assert rest.status_code == plain.status_code
    assert rest.json() == plain.json()
    assert list(rest.json()) == list(plain.json())
    assert own(rest) == own(plain)
    assert set(plain["Vary"].split(", ")) <= set(rest["Vary"].split(", "))


@pytest.mark.parametrize("language", ["en", "zh-hans", "zh-hant"])
def test_it_is_in_the_language_of_the_request(language: str) -> None:
    _raised.append(CiamError(LOCKED, request_id="abc"))
    rest = get("/rest/", **{"accept-language": language})
    plain = get("/plain/", **{"accept-language": language})

    assert rest["Content-Language"] == language
    assert rest.json() == plain.json()


@pytest.mark.parametrize("place", ["/rest/", "/function/"])
def test_class_and_function_views_are_answered(place: str) -> None:
    _raised.append(CiamError("timeout"))

    assert get(place).status_code == 503


def test_it_is_answered_under_asgi_too() -> None:
    _raised.append(CiamError(LOCKED))

    response = async_to_sync(AsyncClient().get)("/rest/", headers={"accept": "application/json"})

    assert response.status_code == 403
    assert json.loads(response.content)["code"] == LOCKED


@for_each_row("code", [code for code, row in CODES.items() if row.status == 401])
def test_a_401_stays_one_whatever_authenticates(code: str) -> None:
    """REST framework's own become a 403 where the first authenticator has no challenge."""
    _raised.append(CiamError(code))

    response = get("/rest/")

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"


def test_generic_errors_are_for_strangers_here_too(rf: RequestFactory) -> None:
    django_request = rf.get("/")
    django_request.user = AnonymousUser()
    request = Request(django_request)
    error = CiamError(LOCKED, stage="password")

    as_stranger = exception_handler(error, {"request": request})
    django_request.user = User()
    as_somebody = exception_handler(error, {"request": request})

    assert as_stranger is not None
    assert as_somebody is not None
    assert as_stranger.data["code"] == GENERIC
    assert as_somebody.data["code"] == LOCKED


def test_who_asks_is_not_authenticated_again() -> None:
    response = get("/authenticating/", authorization="Bearer abc")

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert Authentication.asked == 1


def test_a_collapsing_error_authenticates_nobody_again() -> None:
    request = Request(APIRequestFactory().get("/"), authenticators=[Authentication()])

    response = exception_handler(CiamError(LOCKED, stage="password"), {"request": request})

    assert response is not None
    assert response.data["code"] == GENERIC
    assert Authentication.asked == 0


@pytest.mark.parametrize("context", [{}, {"request": None}])
def test_a_request_is_optional(context: dict[str, Any]) -> None:
    response = exception_handler(CiamError(LOCKED), context)

    assert response is not None
    assert response.status_code == 403


# --- Transactions -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_atomic", [True, False])
def test_a_transaction_of_the_request_is_rolled_back(
    is_atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", is_atomic)
    _raised.append(CiamError(LOCKED))

    response = Client().post("/writing/")

    assert response.status_code == 403
    assert Group.objects.filter(name="half done").exists() is not is_atomic


# --- Everybody else's exceptions --------------------------------------------------------------


def test_rest_frameworks_own_are_its_own() -> None:
    _raised.append(exceptions.ValidationError({"name": ["Too short."]}))

    response = get("/rest/")

    assert response.status_code == 400
    assert response.json() == {"name": ["Too short."]}
    assert "Ciam-Error-Code" not in response


def test_its_refusals_are_its_own_too() -> None:
    assert get("/session/").status_code == 403
    assert "detail" in get("/session/").json()


def test_a_foreign_exception_passes_untouched() -> None:
    _raised.append(ValueError("foreign"))

    with pytest.raises(ValueError, match="foreign") as caught:
        get("/rest/")
    assert caught.value is _raised[-1]


@pytest.mark.parametrize("raised", [ValueError("foreign"), exceptions.NotFound("foreign")])
def test_the_rest_is_for_the_handler_that_a_setting_names(
    raised: Exception, settings: Settings
) -> None:
    settings.CIAM_DRF_FALLBACK_HANDLER = f"{__name__}.fallback"
    _raised.append(raised)

    response = get("/rest/")

    assert response.status_code == 418
    assert response.json() == {"mine": "foreign"}


def test_that_handler_gets_none_of_ours(settings: Settings) -> None:
    settings.CIAM_DRF_FALLBACK_HANDLER = f"{__name__}.fallback"
    _raised.append(CiamError(LOCKED))

    assert get("/rest/").status_code == 403


def test_errors_of_authlibs_client_are_ours_where_they_have_a_row(settings: Settings) -> None:
    _raised.append(OAuthError("access_denied", "Unmistakable"))
    response = get("/rest/")
    settings.CIAM_HANDLE_AUTHLIB_ERRORS = False

    assert response.status_code == 403
    assert response.json()["code"] == "access_denied"
    assert b"Unmistakable" not in response.content
    with pytest.raises(OAuthError):
        get("/rest/")


# --- The log ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [LOCKED, "timeout", "invalid_client"])
def test_one_line_is_logged(code: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ciam_django")
    caplog.set_level(logging.INFO, "django")
    _raised.append(CiamError(code))

    get("/rest/?code=secretcode")

    assert [record.name for record in caplog.records] == ["ciam_django"]
    assert "secretcode" not in caplog.text


# --- Content types ----------------------------------------------------------------------------


def test_json_is_what_it_is_for_the_middleware() -> None:
    _raised.append(CiamError(LOCKED))
    response = get("/rest/")

    assert response["Content-Type"] == "application/json"
    assert json.loads(response.content)["code"] == LOCKED
