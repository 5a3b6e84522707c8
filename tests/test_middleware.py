"""Test the middleware after the middleware of ``startproject``, in sync and async views."""

from __future__ import annotations

import contextvars
import functools
import linecache
import logging
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from authlib.integrations.base_client.errors import MismatchingStateError, OAuthError
from django.conf import settings as django_settings
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from pytest_django.fixtures import Settings
from rest_framework.views import APIView

from ciam_django.codes import CODES
from ciam_django.errors import CiamError, raising_ciam_errors
from ciam_django.middleware import CiamErrorMiddleware

LOCKED = "Operation.Failure.User.Locked"
JSON = {"accept": "application/json"}

# The exception that the views raise: each test adds one exception.
_raised: list[BaseException] = []


def view(request: HttpRequest) -> HttpResponse:
    raise _raised[-1]


async def async_view(request: HttpRequest) -> HttpResponse:
    raise _raised[-1]


def working_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("working_view")


async def async_working_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("working_view")


class RestView(APIView):
    """A view of REST framework whose exception handler handles nothing."""

    authentication_classes = ()
    permission_classes = ()

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], None]:
        return lambda exc, context: None

    def get(self, request: object) -> HttpResponse:
        raise _raised[-1]


class FailingMiddleware:
    """A middleware of another package, which raises an exception."""

    def __init__(self, get_response: object) -> None:
        pass

    def __call__(self, request: HttpRequest) -> HttpResponse:
        raise _raised[-1]


urlpatterns = [
    path("sync/", view),
    path("async/", async_view),
    path("rest/", RestView.as_view()),
    path("sync/fine/", working_view),
    path("async/fine/", async_working_view),
]

Get = Callable[..., Any]


def with_client(**kwargs: Any) -> Get:
    return functools.partial(Client(**kwargs).get)


def with_async_client(**kwargs: Any) -> Get:
    def get(*args: Any, **options: Any) -> Any:
        # An empty context, because asgiref copies each variable at each call, and Django makes new
        # variables when a test changes CACHES or the languages.
        return contextvars.Context().run(async_to_sync(client.get), *args, **options)

    client = AsyncClient(**kwargs)
    return get


PLACES = pytest.mark.parametrize("place", ["/sync/", "/async/", "/rest/"])
CLIENTS = pytest.mark.parametrize("client_of", [with_client, with_async_client])


@pytest.fixture(autouse=True)
def use_raising_views(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    # With -X dev, asyncio reads the source files in this cache from the disk for each stack.
    linecache.clearcache()
    yield
    _raised.clear()


# --- Sync and async views ---------------------------------------------------------------------


def test_the_test_project_has_the_middleware_of_startproject() -> None:
    names = [name.rpartition(".")[2] for name in django_settings.MIDDLEWARE]

    others = {"LocaleMiddleware", "CiamSessionMiddleware", "StrictCspMiddleware"}
    assert [name for name in names if name not in others] == [
        "SecurityMiddleware",
        "SessionMiddleware",
        "CommonMiddleware",
        "CsrfViewMiddleware",
        "AuthenticationMiddleware",
        "MessageMiddleware",
        "XFrameOptionsMiddleware",
        "CiamErrorMiddleware",
    ]


@PLACES
@CLIENTS
def test_a_ciam_error_is_answered(client_of: Callable[..., Get], place: str) -> None:
    _raised.append(CiamError(LOCKED, request_id="abc"))

    response = client_of()(place, headers=JSON)

    assert response.status_code == 403
    assert response["Content-Type"] == "application/json"
    assert response["Ciam-Error-Code"] == LOCKED
    assert response["Ciam-Request-Id"] == "abc"
    assert response["Cache-Control"] == "no-store"
    assert {"Accept", "Accept-Language", "Cookie"} <= set(response["Vary"].split(", "))
    assert response.json()["code"] == LOCKED
    assert response.json()["detail"] == str(CODES[LOCKED].message)


@PLACES
@CLIENTS
def test_a_browser_gets_a_page(client_of: Callable[..., Get], place: str) -> None:
    _raised.append(CiamError(LOCKED))

    response = client_of()(place, headers={"accept": "text/html"})

    assert response.status_code == 403
    assert 'role="alert"' in response.content.decode()
    assert response["Referrer-Policy"] == "no-referrer"


@PLACES
@CLIENTS
def test_the_answer_is_in_the_language_of_the_request(
    client_of: Callable[..., Get], place: str
) -> None:
    _raised.append(CiamError(LOCKED))

    response = client_of()(place, headers={**JSON, "accept-language": "zh-hans"})

    assert response["Content-Language"] == "zh-hans"


@pytest.mark.parametrize("place", ["/sync/fine/", "/async/fine/"])
@CLIENTS
def test_a_successful_response_is_unchanged(client_of: Callable[..., Get], place: str) -> None:
    response = client_of()(place)

    assert response.status_code == 200
    assert response.content == b"working_view"
    assert "Ciam-Error-Code" not in response


@PLACES
@CLIENTS
@pytest.mark.parametrize(
    "raised", [ValueError("foreign"), KeyError("foreign"), OSError("foreign")], ids=repr
)
def test_another_exception_passes_unchanged(
    client_of: Callable[..., Get], place: str, raised: Exception
) -> None:
    _raised.append(raised)

    with pytest.raises(type(raised)) as caught:
        client_of()(place)
    response = client_of(raise_request_exception=False)(place)

    assert caught.value is raised
    assert response.status_code == 500
    assert "Ciam-Error-Code" not in response


@pytest.mark.parametrize(("raised", "status"), [(Http404(), 404), (PermissionDenied(), 403)])
@CLIENTS
def test_an_exception_of_django_is_answered_by_django(
    client_of: Callable[..., Get], raised: Exception, status: int
) -> None:
    _raised.append(raised)

    response = client_of()("/sync/")

    assert response.status_code == status
    assert "Ciam-Error-Code" not in response


def test_an_exception_of_another_middleware_is_not_answered(settings: Settings) -> None:
    _raised.append(CiamError(LOCKED))
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.FailingMiddleware"]

    response = Client(raise_request_exception=False).get("/sync/fine/")

    assert response.status_code == 500


@pytest.mark.parametrize("get_response", [working_view, async_working_view])
def test_the_middleware_is_async_if_the_next_handler_is_async(get_response: Any) -> None:
    middleware = CiamErrorMiddleware(get_response)

    assert iscoroutinefunction(middleware) is iscoroutinefunction(get_response)
    assert CiamErrorMiddleware.sync_capable
    assert CiamErrorMiddleware.async_capable


# --- Authlib's client -------------------------------------------------------------------------


@PLACES
@CLIENTS
def test_an_error_of_authlibs_client_with_a_row_is_answered(
    client_of: Callable[..., Get], place: str
) -> None:
    _raised.append(OAuthError("access_denied", "Unmistakable"))

    response = client_of()(place, headers=JSON)

    assert response.status_code == 403
    assert response.json()["code"] == "access_denied"
    assert b"Unmistakable" not in response.content


def test_an_error_of_authlibs_client_without_a_row_passes() -> None:
    _raised.append(OAuthError("nobody_knows"))

    with pytest.raises(OAuthError):
        Client().get("/sync/")


def test_an_error_of_authlibs_client_passes_if_the_setting_is_off(settings: Settings) -> None:
    settings.CIAM_HANDLE_AUTHLIB_ERRORS = False
    _raised.append(MismatchingStateError())

    with pytest.raises(MismatchingStateError):
        Client().get("/sync/")


def test_a_converted_authlib_error_is_answered_if_the_setting_is_off(settings: Settings) -> None:
    settings.CIAM_HANDLE_AUTHLIB_ERRORS = False
    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        raise OAuthError("nobody_knows")
    _raised.append(caught.value)

    assert Client().get("/sync/").status_code == 503


# --- Logs and mails ---------------------------------------------------------------------------

ADMIN = "admin@example.com"
ADMINS = [ADMIN] if django.VERSION >= (6, 0) else [("Admin", ADMIN)]


def records_in(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    # With -X dev, asyncio logs slow tasks on a busy machine.
    return [record for record in caplog.records if record.name != "asyncio"]


@PLACES
@CLIENTS
@pytest.mark.parametrize("code", [LOCKED, "invalid_client", "timeout", "nobody.knows"])
def test_an_error_is_logged_in_one_line_and_sends_no_mail(
    client_of: Callable[..., Get],
    place: str,
    code: str,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.ADMINS = ADMINS
    caplog.set_level(logging.DEBUG, "ciam_django")
    caplog.set_level(logging.INFO, "django")
    _raised.append(CiamError(code, upstream_text="Unmistakable 13912345678"))

    client_of()(f"{place}?code=secretcode")

    (record,) = records_in(caplog)
    assert record.name == "ciam_django"
    assert record.exc_info is None
    assert "secretcode" not in caplog.text
    assert "13912345678" not in caplog.text
    assert mail.outbox == []


@pytest.mark.filterwarnings("ignore:.*MAILERS")
def test_another_exception_is_logged_and_mailed_by_django(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """This test shows that the test above can fail."""
    settings.ADMINS = ADMINS
    _raised.append(ValueError())

    Client(raise_request_exception=False).get("/sync/")

    assert [record.name for record in records_in(caplog)] == ["django.request"]
    assert len(mail.outbox) == 1


# --- The callback of a project's own sign-in ---------------------------------------------------


@pytest.mark.parametrize(
    ("login_url", "query", "url"),
    [
        ("/enter/", "?code=1&state=2", "/enter/"),
        ("/enter/", "?page=2", "?"),
        ("no-such-name", "?code=1&state=2", "/"),
    ],
)
def test_a_failed_callback_leads_to_the_login_page_or_home(
    client: Client, settings: Settings, login_url: str, query: str, url: str
) -> None:
    settings.LOGIN_URL = login_url
    _raised.append(CiamError("timeout"))

    answer = client.get(f"/sync/{query}", headers={"accept": "text/html"})

    assert f'<a class="ciam-button" href="{url}">' in answer.content.decode()
