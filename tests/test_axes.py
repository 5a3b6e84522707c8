"""django-axes, the real one, counts the wrong passwords that we tell Django of, and locks out."""

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

WRONG = "Operation.Failure.Username.Or.Password.Error"
NOBODY = "Operation.Failure.User.Not.Exist"
MANY = "too_many_requests"
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
def a_project_with_axes() -> Iterator[None]:
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


def typed(client: Client, password: str, code: str = WRONG, place: str = "/password/") -> str:
    """The code of our answer to a password, or empty where it let the person in."""
    form = {"username": "li", "password": password, "code": code}
    response = client.post(place, form, headers={"Accept": "application/json"})
    return response.headers.get("Ciam-Error-Code", "")


@pytest.mark.parametrize("place", ["/password/", "/rest/password/"])
def test_wrong_passwords_lock_the_client_out(place: str) -> None:
    client = Client()
    answers = [typed(client, "wrong", place=place) for _ in range(LIMIT + 1)]

    assert answers == [WRONG] * (LIMIT - 1) + [MANY] * 2
    # The right one, too, or guessing would go on to be worth it.
    assert typed(client, "right", place=place) == MANY
    assert "_auth_user_id" not in client.session


def test_who_is_locked_out_gets_an_answer_of_ours() -> None:
    client = Client()
    for _ in range(LIMIT):
        response = client.post(
            "/password/",
            {"password": "wrong", "code": WRONG},
            headers={"Accept": "application/json", "Accept-Language": "zh-hans"},
        )

    assert response.status_code == 429
    assert response["Retry-After"] == "60"
    assert response.json()["kind"] == "rate_limit"
    assert response["Content-Language"] == "zh-hans"


def test_names_that_do_not_exist_count_like_wrong_passwords() -> None:
    client = Client()

    assert [typed(client, "wrong", NOBODY) for _ in range(LIMIT)] == [WRONG, WRONG, MANY]


@pytest.mark.parametrize(
    "code", ["Operation.Failure.Send.SMS.Too.Frequency", "timeout", "invalid_client", "brand.new"]
)
def test_what_is_no_wrong_password_locks_nobody_out(code: str) -> None:
    client = Client()
    answers = [typed(client, "wrong", code) for _ in range(LIMIT + 2)]

    assert MANY not in answers
    assert not AccessAttempt.objects.exists()
    assert typed(client, "right") == ""


def test_fewer_than_the_limit_do_not_keep_the_right_one_out() -> None:
    client = Client()
    typed(client, "wrong")

    assert typed(client, "right") == ""
    assert client.session["_auth_user_id"]


def test_who_is_switched_off_is_not_locked_out() -> None:
    client = Client()
    typed(client, "right")
    get_user_model().objects.update(is_active=False)
    stranger = Client()

    assert {typed(stranger, "right") for _ in range(LIMIT + 2)} == {"account_inactive"}


def test_no_password_is_kept_in_what_axes_is_told() -> None:
    typed(Client(), "wrong-MARKER")
    attempt = AccessAttempt.objects.get()

    assert attempt.username == "li"
    assert "MARKER" not in str(vars(attempt))
