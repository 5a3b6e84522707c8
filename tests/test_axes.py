"""The real django-axes counts wrong passwords by Django's signal, and locks the client out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axes.models import AccessAttempt
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from ciam_django.accounts.login import sign_in
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from tests import settings as project

WRONG_PASSWORD = "Operation.Failure.Username.Or.Password.Error"
UNKNOWN_USER = "Operation.Failure.User.Not.Exist"
LOCKED_OUT = "too_many_requests"
LIMIT = 3

pytestmark = pytest.mark.django_db


def password_view(request: HttpRequest) -> HttpResponse:
    if request.POST["password"] != "right":
        raise CiamError(request.POST["code"], stage="password")
    sign_in(request, Person("https://ciam.example", "u-1"), {"access_token": "t-1"})
    return HttpResponse("in")


@api_view(["POST"])
def rest_password_view(request: Request) -> Response:
    return Response(password_view(request._request).content)


urlpatterns = [path("password/", password_view), path("rest/password/", rest_password_view)]


@pytest.fixture(autouse=True)
def axes_site() -> Iterator[None]:
    with override_settings(
        ROOT_URLCONF=__name__,
        AXES_ENABLED=True,
        AXES_FAILURE_LIMIT=LIMIT,
        AXES_LOCKOUT_CALLABLE="ciam_django.axes.lockout_response",
        AUTHENTICATION_BACKENDS=[
            "axes.backends.AxesStandaloneBackend",
            *project.AUTHENTICATION_BACKENDS,
        ],
        MIDDLEWARE=[
            *project.MIDDLEWARE[:-1],
            "axes.middleware.AxesMiddleware",
            project.MIDDLEWARE[-1],
        ],
    ):
        yield


def send_password(
    client: Client, password: str, code: str = WRONG_PASSWORD, url: str = "/password/"
) -> str:
    """Send a password; return the code of the answer, or an empty text after a sign-in."""
    form = {"username": "li", "password": password, "code": code}
    response = client.post(url, form, headers={"Accept": "application/json"})
    return response.headers.get("Ciam-Error-Code", "")


@pytest.mark.parametrize("url", ["/password/", "/rest/password/"])
def test_wrong_passwords_lock_the_client_out(url: str) -> None:
    client = Client()
    answers = [send_password(client, "wrong", url=url) for _ in range(LIMIT + 1)]

    assert answers == [WRONG_PASSWORD] * (LIMIT - 1) + [LOCKED_OUT] * 2
    # The right password is refused, too. Otherwise an attacker would go on guessing.
    assert send_password(client, "right", url=url) == LOCKED_OUT
    assert "_auth_user_id" not in client.session


def test_a_locked_out_client_gets_our_429_answer() -> None:
    client = Client()
    for _ in range(LIMIT):
        response = client.post(
            "/password/",
            {"password": "wrong", "code": WRONG_PASSWORD},
            headers={"Accept": "application/json", "Accept-Language": "zh-hans"},
        )

    assert response.status_code == 429
    assert response["Retry-After"] == "60"
    assert response.json()["kind"] == "rate_limit"
    assert response["Content-Language"] == "zh-hans"


def test_unknown_names_count_like_wrong_passwords() -> None:
    client = Client()

    assert [send_password(client, "wrong", UNKNOWN_USER) for _ in range(LIMIT)] == [
        WRONG_PASSWORD,
        WRONG_PASSWORD,
        LOCKED_OUT,
    ]


@pytest.mark.parametrize(
    "code", ["Operation.Failure.Send.SMS.Too.Frequency", "timeout", "invalid_client", "brand.new"]
)
def test_other_failures_do_not_lock_the_client_out(code: str) -> None:
    client = Client()
    answers = [send_password(client, "wrong", code) for _ in range(LIMIT + 2)]

    assert LOCKED_OUT not in answers
    assert not AccessAttempt.objects.exists()
    assert send_password(client, "right") == ""


def test_the_right_password_signs_in_below_the_limit() -> None:
    client = Client()
    send_password(client, "wrong")

    assert send_password(client, "right") == ""
    assert client.session["_auth_user_id"]


def test_an_inactive_user_is_not_locked_out() -> None:
    client = Client()
    send_password(client, "right")
    get_user_model().objects.update(is_active=False)
    other_client = Client()

    assert {send_password(other_client, "right") for _ in range(LIMIT + 2)} == {"account_inactive"}


def test_axes_stores_no_password() -> None:
    send_password(Client(), "wrong-MARKER")
    attempt = AccessAttempt.objects.get()

    assert attempt.username == "li"
    assert "MARKER" not in str(vars(attempt))
