"""A project's own clients of Authlib and requests, with the functions of ``ciam_django.client``."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import requests
from authlib.integrations.django_client import DjangoOAuth2App, OAuth
from authlib.integrations.requests_client import OAuth2Session
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django.fixtures import Settings

from ciam_django.client import ciam_compliance_fix, raise_for_failure
from ciam_django.errors import CiamError, raising_ciam_errors
from ciam_django.testing import FakeCiam
from ciam_django.testing.tenant import APP_ID, CLIENT_SECRET
from tests.browser import query_of
from tests.matrix.faults import FAULTS, Fault
from tests.rows import for_each_row

README: Final = Path(__file__).parents[2] / "README.md"
CALLBACK: Final = "http://testserver/callback/"

# Fault of the matrix -> its code without the transport of this package, or None for no failure.
OTHER_CODES: Final[dict[str, dict[str, str | None]]] = {
    "token": {
        # requests follows a redirect, and the fake does not know the other address.
        "redirect": "Resource.NotFound",
        "redirect 307": "Resource.NotFound",
        # requests has no code of its own for an incomplete body.
        "truncated body": "no_connection",
    },
    # An answer of the API needs no token, and some answers have no body.
    "api": {"success without a token": None, "empty body": None},
}
OTHER_CODES["refresh"] = OTHER_CODES["token"]
OTHER_CODES["api"] |= OTHER_CODES["token"]
# Only the transport of this package limits the size of a body and the time until its last byte.
TRIED: Final = [
    fault for fault in FAULTS if not fault.is_slow and fault.name not in {"100 MB", "gzip bomb"}
]


def client_kwargs(mode: str) -> dict[str, Any]:
    """The options of a client that a project of this mode needs."""
    return {
        "scope": {"oidc": "openid USER_API", "ciam": "USER_API"}[mode],
        "code_challenge_method": "S256",
        "token_endpoint_auth_method": {
            "oidc": "client_secret_basic",
            "ciam": "client_secret_json",
        }[mode],
    }


def django_client(ciam: FakeCiam, mode: str) -> DjangoOAuth2App:
    """Authlib's client for Django as a project registers it."""
    config = {**ciam.client(mode), "client_kwargs": client_kwargs(mode)}
    client = OAuth().register("shop", compliance_fix=ciam_compliance_fix, **config)
    assert type(client) is DjangoOAuth2App
    client.load_server_metadata()
    return client


def token_url(ciam: FakeCiam, mode: str, stage: str = "token") -> str:
    return ciam.address({"oidc": "oidc/token", "ciam": "oauth/token"}[mode], stage)


def oauth_session(mode: str, **options: Any) -> OAuth2Session:
    """Authlib's session for requests as a project creates it."""
    session = OAuth2Session(APP_ID, CLIENT_SECRET, **client_kwargs(mode), **options)
    ciam_compliance_fix(session)
    return session


EXPIRED: Final = {
    "access_token": "a",
    "refresh_token": "r",
    "token_type": "Bearer",
    "expires_at": 1,
}
GOOD: Final = {"access_token": "a", "token_type": "Bearer", "expires_at": time.time() + 3600}


def fetch_token_with_authlib(ciam: FakeCiam, mode: str) -> object:
    client = django_client(ciam, mode)
    return client.fetch_access_token(redirect_uri=CALLBACK, code="c", code_verifier="v" * 64)  # type: ignore[no-untyped-call]  # the stubs lack it


def refresh_in_a_call_with_authlib(ciam: FakeCiam, mode: str) -> object:
    return django_client(ciam, mode).get("user/info", token=dict(EXPIRED))  # type: ignore[no-untyped-call]  # the stubs lack it


def call_api_with_authlib(ciam: FakeCiam, mode: str) -> None:
    client: Any = django_client(ciam, mode)
    raise_for_failure(client.get(ciam.address("user/info", "api"), token=dict(GOOD), timeout=10))


def fetch_token_with_a_session(ciam: FakeCiam, mode: str) -> object:
    with oauth_session(mode) as session:
        return session.fetch_token(token_url(ciam, mode), code="c", redirect_uri=CALLBACK)


def refresh_with_a_session(ciam: FakeCiam, mode: str) -> None:
    updates: list[object] = []
    with oauth_session(mode, update_token=lambda *args, **kwargs: updates.append(args)) as session:
        session.token = dict(EXPIRED)
        try:
            session.refresh_token(token_url(ciam, mode, "refresh"), refresh_token="r")
        finally:
            # A failure that passed for a token would overwrite the project's good token.
            assert session.token["access_token"] == "a"
            assert not updates


def call_api_with_requests(ciam: FakeCiam, mode: str) -> None:
    headers = {"Authorization": "Bearer a"}
    raise_for_failure(requests.get(ciam.address("user/info", "api"), headers=headers, timeout=10))


CALLS: Final[dict[Callable[[FakeCiam, str], object], str]] = {
    fetch_token_with_authlib: "token",
    fetch_token_with_a_session: "token",
    refresh_in_a_call_with_authlib: "refresh",
    refresh_with_a_session: "refresh",
    call_api_with_authlib: "api",
    call_api_with_requests: "api",
}


def code_of(
    call: Callable[[FakeCiam, str], object], fault: Fault, ciam: FakeCiam, mode: str
) -> str | None:
    """Return the code that the call raises when its stage fails; None without an error."""
    stage = CALLS[call]
    ciam.reset()
    fault.plan(ciam, stage)
    try:
        with raising_ciam_errors(stage):
            call(ciam, mode)
    except CiamError as error:
        return error.code if error.stage == stage else f"at {error.stage}"
    return None


@pytest.mark.slow("failures at every stage")
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_each_failure_of_the_matrix_raises_its_code_in_a_projects_own_client(
    call: Callable[[FakeCiam, str], object], ciam: FakeCiam, mode: str
) -> None:
    codes = OTHER_CODES[CALLS[call]]
    found = {fault.name: code_of(call, fault, ciam, mode) for fault in TRIED}

    assert found == {fault.name: codes.get(fault.name, fault.code) for fault in TRIED}


# --- The README's example -----------------------------------------------------------------------


@pytest.fixture
def site(ciam: FakeCiam, mode: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A browser of a project whose views are those of the README."""
    match = re.search(r"## Put it in\n.*?```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert match
    settings.AUTHLIB_OAUTH_CLIENTS = {
        "ciam": {**ciam.client(mode), "client_kwargs": client_kwargs(mode)}
    }
    settings.ROOT_URLCONF = __name__
    names = {
        "oauth": OAuth(),
        "requests": requests,
        "USER_INFO": ciam.address("user/info", "api"),
        "bearer": lambda token: {"Authorization": f"Bearer {token}"},
        "start_session": lambda request, user: HttpResponse(f"Hello {user['displayName']}"),
    }
    exec(match[1], names)  # noqa: S102  (the documentation is our own text)
    monkeypatch.setattr(f"{__name__}.readme", names)
    return Client(headers={"Accept": "application/json"})


# The names of the README's example, which the fixture ``site`` defines.
readme: dict[str, Any] = {}


def leave(request: HttpRequest) -> HttpResponse:
    redirect: HttpResponse = readme["oauth"].ciam.authorize_redirect(request, CALLBACK)
    return redirect


def callback(request: HttpRequest) -> HttpResponse:
    response: HttpResponse = readme["callback"](request)
    return response


urlpatterns = [path("leave/", leave), path("callback/", callback)]


def open_callback(site: Client, ciam: FakeCiam) -> Any:
    address = ciam.authorize(site.get("/leave/")["Location"], username="li")
    return site.get(f"/callback/?{urlencode(query_of(address))}")


@pytest.mark.django_db
def test_the_views_of_the_readme_sign_in_and_call_the_api(site: Client, ciam: FakeCiam) -> None:
    response = open_callback(site, ciam)

    assert (response.status_code, response.content) == (200, b"Hello Li")


@pytest.mark.django_db
@for_each_row(
    "stage, status",
    [("token", 200), ("token", 400), ("token", 500), ("api", 200), ("api", 400), ("api", 500)],
)
def test_a_failure_in_the_views_of_the_readme_is_answered_with_its_code(
    stage: str, status: int, site: Client, ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    caplog.set_level(logging.INFO, "ciam_django")
    ciam.fail(stage, code="Operation.Failure.User.Locked", status=status)
    response = open_callback(site, ciam)

    assert response.status_code == 403
    assert response.json()["code"] == "Operation.Failure.User.Locked"
    (record,) = [record for record in caplog.records if record.name == "ciam_django"]
    assert f"stage={stage} " in record.getMessage()
