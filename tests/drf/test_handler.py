"""Test that the exception handler of REST framework answers as the middleware does."""

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

# The exception that the views raise; each test appends an exception.
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
    """A project's authenticator, which has CIAM check the token and fails."""

    calls = 0

    def authenticate(self, request: Request) -> None:
        type(self).calls += 1
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
    Authentication.calls = 0
    yield
    _raised.clear()


def get(url: str, accept: str = "application/json", **headers: str) -> Any:
    return Client(headers={"accept": accept, **headers}).get(url)


def own_headers(response: Any) -> dict[str, str]:
    """Return the headers that both entry points set."""
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
    """Answer as the handler of a project."""
    return Response({"mine": str(exc)}, status=418)


# --- The same answer as from the middleware ---------------------------------------------------


@for_each_row("code", [*CODES, "nobody.knows", "Params.Blank.User.Nick.Name"])
def test_the_handler_answers_as_the_middleware_does(code: str) -> None:
    _raised.append(CiamError(code, request_id="abc", retry_after=7))
    rest = get("/rest/", authorization="Bearer abc")
    plain = get("/plain/", authorization="Bearer abc")

    assert rest.status_code == plain.status_code
    assert rest.json() == plain.json()
    assert list(rest.json()) == list(plain.json())
    assert own_headers(rest) == own_headers(plain)
    assert set(plain["Vary"].split(", ")) <= set(rest["Vary"].split(", "))


@pytest.mark.parametrize("language", ["en", "zh-hans", "zh-hant"])
def test_the_answer_is_in_the_language_of_the_request(language: str) -> None:
    _raised.append(CiamError(LOCKED, request_id="abc"))
    rest = get("/rest/", **{"accept-language": language})
    plain = get("/plain/", **{"accept-language": language})

    assert rest["Content-Language"] == language
    assert rest.json() == plain.json()


@pytest.mark.parametrize("url", ["/rest/", "/function/"])
def test_class_and_function_views_are_answered(url: str) -> None:
    _raised.append(CiamError("timeout"))

    assert get(url).status_code == 503


def test_an_error_is_answered_under_asgi_too() -> None:
    _raised.append(CiamError(LOCKED))

    response = async_to_sync(AsyncClient().get)("/rest/", headers={"accept": "application/json"})

    assert response.status_code == 403
    assert json.loads(response.content)["code"] == LOCKED


@for_each_row("code", [code for code, row in CODES.items() if row.status == 401])
def test_a_401_stays_a_401_with_any_authenticator(code: str) -> None:
    """REST framework makes its 401 a 403 if the first authenticator has no challenge."""
    _raised.append(CiamError(code))

    response = get("/rest/")

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"


def test_anonymous_and_signed_in_users_get_generic_errors_here_too(rf: RequestFactory) -> None:
    django_request = rf.get("/")
    django_request.user = AnonymousUser()
    request = Request(django_request)
    error = CiamError(LOCKED, stage="password")

    for_anonymous = exception_handler(error, {"request": request})
    django_request.user = User()
    for_user = exception_handler(error, {"request": request})

    assert for_anonymous is not None
    assert for_user is not None
    assert for_anonymous.data["code"] == GENERIC
    assert for_user.data == for_anonymous.data


def test_an_error_of_an_authenticator_does_not_authenticate_again() -> None:
    response = get("/authenticating/", authorization="Bearer abc")

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert Authentication.calls == 1


def test_a_generic_error_does_not_authenticate_again() -> None:
    request = Request(APIRequestFactory().get("/"), authenticators=[Authentication()])

    response = exception_handler(CiamError(LOCKED, stage="password"), {"request": request})

    assert response is not None
    assert response.data["code"] == GENERIC
    assert Authentication.calls == 0


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


# --- Other exceptions -------------------------------------------------------------------------


def test_exceptions_of_rest_framework_keep_its_answer() -> None:
    _raised.append(exceptions.ValidationError({"name": ["Too short."]}))

    response = get("/rest/")

    assert response.status_code == 400
    assert response.json() == {"name": ["Too short."]}
    assert "Ciam-Error-Code" not in response


def test_refusals_of_rest_framework_keep_its_answer() -> None:
    assert get("/session/").status_code == 403
    assert "detail" in get("/session/").json()


def test_a_foreign_exception_passes_untouched() -> None:
    _raised.append(ValueError("foreign"))

    with pytest.raises(ValueError, match="foreign") as caught:
        get("/rest/")
    assert caught.value is _raised[-1]


@pytest.mark.parametrize("raised", [ValueError("foreign"), exceptions.NotFound("foreign")])
def test_other_exceptions_go_to_the_fallback_handler(raised: Exception, settings: Settings) -> None:
    settings.CIAM_DRF_FALLBACK_HANDLER = f"{__name__}.fallback"
    _raised.append(raised)

    response = get("/rest/")

    assert response.status_code == 418
    assert response.json() == {"mine": "foreign"}


def test_the_fallback_handler_gets_no_ciam_error(settings: Settings) -> None:
    settings.CIAM_DRF_FALLBACK_HANDLER = f"{__name__}.fallback"
    _raised.append(CiamError(LOCKED))

    assert get("/rest/").status_code == 403


def test_an_authlib_error_with_a_row_is_answered_unless_switched_off(settings: Settings) -> None:
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
def test_an_error_is_logged_in_one_line(code: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ciam_django")
    caplog.set_level(logging.INFO, "django")
    _raised.append(CiamError(code))

    get("/rest/?code=secretcode")

    assert [record.name for record in caplog.records] == ["ciam_django"]
    assert "secretcode" not in caplog.text


# --- Content types ----------------------------------------------------------------------------


def test_json_is_served_as_application_json() -> None:
    _raised.append(CiamError(LOCKED))
    response = get("/rest/")

    assert response["Content-Type"] == "application/json"
    assert json.loads(response.content)["code"] == LOCKED
