"""Test the integration of django-ninja that docs/django-ninja.md describes."""

from __future__ import annotations

import contextvars
import functools
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from ninja import NinjaAPI
from pytest_django.fixtures import Settings

from ciam_django.errors import CiamError
from ciam_django.ninja import user_and_bearer
from ciam_django.testing import FakeCiam
from tests.drf.test_authentication import header, token_for

pytestmark = pytest.mark.django_db

LOCKED = "Operation.Failure.User.Locked"

api = NinjaAPI()


@api.exception_handler(CiamError)
def raise_ciam_error(request: HttpRequest, error: CiamError) -> HttpResponse:
    raise error


@api.get("/locked")
def locked(request: HttpRequest) -> None:
    raise CiamError(LOCKED)


@api.get("/me", auth=user_and_bearer)
def me(request: Any) -> dict[str, Any]:
    user, bearer = request.auth
    return {"id": user.pk, "scopes": sorted(bearer.scopes)}


@api.get("/async/locked")
async def locked_in_event_loop(request: HttpRequest) -> None:
    raise CiamError(LOCKED)


@api.get("/async/me", auth=user_and_bearer)
async def me_in_event_loop(request: Any) -> dict[str, Any]:
    user, bearer = request.auth
    return {"id": user.pk, "scopes": sorted(bearer.scopes)}


urlpatterns = [path("api/", api.urls)]


@pytest.fixture(autouse=True)
def site(ciam: FakeCiam, settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    cache.clear()


def test_an_error_is_answered_as_by_the_other_entry_points() -> None:
    response = Client().get("/api/locked", headers={"accept-language": "zh-hant"})

    assert response.status_code == 403
    assert response.json()["code"] == LOCKED
    assert response["Content-Language"] == "zh-hant"
    assert response["Ciam-Error-Code"] == LOCKED


def test_a_valid_token_authenticates_its_user(ciam: FakeCiam) -> None:
    ciam.token_check = {"scope": "USER_API"}
    response = Client().get("/api/me", headers=header(token_for()))

    assert response.json()["scopes"] == ["USER_API"]


def test_an_async_operation_gives_the_answers_of_a_sync_operation(ciam: FakeCiam) -> None:
    ciam.token_check = {"scope": "USER_API"}
    browser, client = Client(), AsyncClient()
    user, backend = User.objects.create_user("staff"), "django.contrib.auth.backends.ModelBackend"
    browser.force_login(user, backend)
    client.cookies = browser.cookies

    def answer(url: str, headers: Any) -> tuple[int, Any]:
        # See with_async_client in tests/test_middleware.py.
        get = functools.partial(async_to_sync(client.get), url, headers=headers)
        response = contextvars.Context().run(get)
        return response.status_code, {**response.json(), "request_id": ""}

    for headers in (header(token_for()), header("of-nobody"), {}):
        for name in ("me", "locked"):
            assert answer(f"/api/async/{name}", headers) == answer(f"/api/{name}", headers), name
    assert answer("/api/async/me", header(token_for()))[0] == 200


@pytest.mark.django_db(transaction=True)
def test_an_event_loop_gets_a_coroutine_as_older_versions_of_ninja_need_it() -> None:
    async def authenticate() -> Any:
        # Older versions call a function without ``is_async`` in the event loop.
        assert user_and_bearer.is_async
        coroutine: Any = user_and_bearer(request)
        return await coroutine

    request = RequestFactory().get("/", headers=header(token_for()))
    user, _ = async_to_sync(authenticate)()

    assert user == User.objects.get()


def test_the_document_of_ninja_has_the_scheme_of_the_tokens() -> None:
    schema = api.get_openapi_schema()

    assert schema["components"]["securitySchemes"] == {
        "CiamBearer": {"type": "http", "scheme": "bearer"}
    }
    assert schema["paths"]["/api/me"]["get"]["security"] == [{"CiamBearer": []}]


def test_ninja_answers_a_missing_token_and_we_answer_a_bad_token() -> None:
    refused = Client().get("/api/me", headers=header("of-nobody"))
    without = Client().get("/api/me")

    assert refused.status_code == without.status_code == 401
    assert refused.json()["code"] == "invalid_token"
    assert refused["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert "code" not in without.json()
