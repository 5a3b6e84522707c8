"""``access_token_of`` gives a view the access token of the signed-in person."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient
from django.urls import include, path
from pytest_django.fixtures import Settings

from ciam_django.testing import FakeCiam
from ciam_django.tokens import aaccess_token_of, aend_other_sessions
from tests.accounts.test_session_check import (
    change_tokens,
    person,  # noqa: F401  (a fixture)
    site,  # noqa: F401  (an autouse fixture)
    stages,
)
from tests.browser import Browser

pytestmark = pytest.mark.django_db


def test_a_project_calls_ciam_with_the_persons_token(
    person: Browser,  # noqa: F811  (the fixture)
    ciam: FakeCiam,
    settings: Settings,
) -> None:
    assert person.client.get("/profile/").content == b"li"
    # A view can be the first code that needs a newer access token.
    change_tokens(person, refresh_from=1.0, expires_at=2.0)
    settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if "CiamSession" not in m]
    person.client.handler.load_middleware()
    assert person.client.get("/profile/").content == b"li"

    assert stages(ciam).count("refresh") == 1


def test_an_anonymous_user_has_no_access_token(browser: Browser) -> None:
    answer = browser.client.get("/profile/", headers={"Accept": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")


# --- Coroutines -------------------------------------------------------------------------------


async def end_others_and_show_token(request: HttpRequest) -> HttpResponse:
    ended = await aend_other_sessions(request)
    return HttpResponse(f"{ended} {await aaccess_token_of(request)}")


urlpatterns = [
    path("", end_others_and_show_token),
    path("ciam/", include("ciam_django.urls")),
]


@pytest.mark.parametrize("mode", ["oidc"])
def test_an_async_view_refreshes_the_token_and_ends_the_other_sessions(
    person: Browser,  # noqa: F811  (the fixture)
    ciam: FakeCiam,
    settings: Settings,
) -> None:
    change_tokens(person, refresh_from=1.0, expires_at=2.0)
    other = Browser(ciam)
    other.sign_in()
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if "CiamSession" not in m]
    client = AsyncClient()
    client.cookies = person.client.cookies
    answer = async_to_sync(client.get)("/")
    ended, token = answer.content.decode().split()

    assert ended == "1"
    assert token in ciam.access_tokens
    assert stages(ciam).count("refresh") == 1
