"""The real django-axes counts wrong passwords by Django's signal, and locks the client out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessFailureLog
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import include, path
from pytest_django.fixtures import Settings
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from ciam_django.accounts.login import sign_in
from ciam_django.axes import lockout_response, typed_name
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE, PASSWORD
from tests import settings as project
from tests.login.person import FormBrowser
from tests.login.test_api import App
from tests.rows import for_each_row

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


urlpatterns = [
    path("password/", password_view),
    path("rest/password/", rest_password_view),
    path("ciam/", include("ciam_django.urls")),
]


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


# --- The doors of this package ----------------------------------------------------------------


@pytest.fixture
def mode() -> str:
    return "ciam"


class Visitor:
    """A client at one address with one browser, which types passwords at the page or by JSON."""

    def __init__(self, ciam: FakeCiam, address: str = "192.0.2.1", agent: str = "A") -> None:
        self.browser, self.app = FormBrowser(ciam), App()
        for client in (self.browser.client, self.app.client):
            client.defaults.update(REMOTE_ADDR=address, HTTP_USER_AGENT=agent)

    def type_password(self, door: str, username: str, password: str) -> str:
        """Return the code of the answer, or an empty text after a sign-in."""
        if door == "json":
            answer = self.app.send("password", username=username, password=password)
            return str(answer.get("code", ""))
        self.browser.open_page("/ciam/login/")
        response = self.browser.submit_form(username=username, password=password)
        return str(response.headers.get("Ciam-Error-Code", ""))


def name_and_address(request: HttpRequest, credentials: object) -> list[list[str]]:
    """A function of a project, as the documentation of django-axes shows it."""
    return [["username", "ip_address"]]


# The parameters, and for each other client whether it is locked out with the first client: with the
# same name at another address, with another name at the same address, and with the same name, at
# the same address, in another browser.
PARAMETERS: list[tuple[Any, tuple[bool, bool, bool]]] = [
    (["ip_address"], (False, True, True)),
    (["username"], (True, False, True)),
    (["username", "ip_address"], (True, True, True)),
    ([["username", "ip_address"]], (False, False, True)),
    ([["username", "user_agent"]], (True, False, False)),
    (["ip_address", ["username", "user_agent"]], (True, True, True)),
    (name_and_address, (False, False, True)),
    (f"{__name__}.name_and_address", (False, False, True)),
]


@pytest.mark.slow("all parameters of django-axes")
@pytest.mark.parametrize("door", ["page", "json"])
@for_each_row("parameters, locked", PARAMETERS)
def test_each_set_of_lockout_parameters_locks_out_before_ciam_is_asked(
    person: FormBrowser, settings: Settings, door: str, parameters: Any, locked: tuple[bool, ...]
) -> None:
    ciam = person.ciam
    cache.clear()
    ciam.accounts._failed_attempts.clear()
    AccessAttempt.objects.all().delete()
    settings.CIAM_LOGIN_METHODS = ["password"]
    settings.AXES_LOCKOUT_PARAMETERS = parameters
    settings.AXES_FAILURE_LIMIT = 2
    guesser = Visitor(ciam)
    codes = [guesser.type_password(door, "Li", "wrong") for _ in range(2)]
    assert codes == [WRONG_PASSWORD, LOCKED_OUT]

    def password_requests() -> int:
        return sum(request.stage == "password" for request in ciam.requests)

    count = password_requests()
    # The right password is refused, too, in each spelling of the name.
    assert guesser.type_password(door, "li", PASSWORD) == LOCKED_OUT
    assert password_requests() == count
    others = [
        (Visitor(ciam, address="192.0.2.2"), "li"),
        (Visitor(ciam), "wang"),
        (Visitor(ciam, agent="B"), "li"),
    ]
    codes = [visitor.type_password(door, name, PASSWORD) for visitor, name in others]
    assert codes == [LOCKED_OUT if each else "" for each in locked]
    assert password_requests() == count + locked.count(False)


def test_a_name_that_is_locked_out_gets_no_code_and_enters_no_code(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password", "sms"]
    settings.AXES_LOCKOUT_PARAMETERS = ["username"]
    number = "138 0000 1234"
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number=number)
    step = person.response.wsgi_request.path
    guesser = Visitor(person.ciam)
    for _ in range(LIMIT):
        # The same number in another spelling.
        guesser.type_password("page", "+86 138-0000-1234", "wrong")
    request_count = len(person.ciam.requests)

    person.open_page(step)
    assert person.submit_form(code=CODE)["Ciam-Error-Code"] == LOCKED_OUT
    other = FormBrowser(person.ciam)
    other.open_page("/ciam/login/?method=sms")
    assert other.submit_form(phone_number=number)["Ciam-Error-Code"] == LOCKED_OUT
    assert {request.stage for request in person.ciam.requests[request_count:]} <= {"api"}


def test_a_locked_out_attempt_is_reported_once_and_keeps_the_page_of_the_form(
    person: FormBrowser, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    settings.AXES_ENABLE_ACCESS_FAILURE_LOG = True
    visitor = Visitor(person.ciam)
    for _ in range(LIMIT):
        visitor.type_password("page", "li", "wrong")
    with caplog.at_level(logging.INFO, "ciam_django"):
        caplog.clear()
        visitor.type_password("page", "li", PASSWORD)

    assert [record.name for record in caplog.records].count("ciam_django") == 1
    assert 'name="username"' in visitor.browser.response.content.decode()
    # Django-axes has its own record of the attempt.
    assert AccessFailureLog.objects.filter(username="li", locked_out=True).count() == 2


@for_each_row("door", ["page", "json"])
@pytest.mark.slow("many sign-ins and sends")
def test_a_sign_in_resets_the_failures_of_the_typed_name(
    person: FormBrowser, settings: Settings, door: str
) -> None:
    cache.clear()
    person.ciam.accounts._failed_attempts.clear()
    settings.CIAM_LOGIN_METHODS = ["password"]
    settings.AXES_LOCKOUT_PARAMETERS = ["username"]
    settings.AXES_USERNAME_CALLABLE = "ciam_django.axes.typed_name"
    settings.AXES_RESET_ON_SUCCESS = True
    settings.CIAM_CAPTCHA_AFTER = 0
    for _ in range(3):
        visitor = Visitor(person.ciam)
        codes = [visitor.type_password(door, "li", each) for each in ("wrong", "wrong", PASSWORD)]
        assert codes == [WRONG_PASSWORD, WRONG_PASSWORD, ""]


def test_the_name_of_another_view_is_the_name_of_the_credentials_or_of_the_form() -> None:
    request = RequestFactory().post("/admin/login/", {"username": "in the form"})

    assert typed_name(request, {"username": "wang"}) == "wang"
    assert typed_name(request, {}) == typed_name(request, None) == "in the form"
    assert typed_name(RequestFactory().post("/"), None) is None
    with override_settings(AXES_USERNAME_FORM_FIELD="email"):
        assert typed_name(request, {"email": "li@example.com"}) == "li@example.com"


def test_a_response_that_is_no_lockout_is_replaced() -> None:
    request = RequestFactory().get("/", headers={"Accept": "application/json"})

    for response in (HttpResponse("in"), {"username": "li"}, None):
        assert lockout_response(request, response).status_code == 429
