"""What does a sign-in cost, beside Authlib's own Django client?

Timed are the two requests of ours, leaving for CIAM and coming back; not what the browser does at
CIAM. The certificates are certifi's with the fake's own, as many as stand in the way of a real one.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.django_client import OAuth
from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.urls import include, path
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from benchmarks.cases import Case, Row, cpu_of
from ciam_django.testing import FakeCiam

FAILS: Final = "fail:token:invalid_grant"
ROWS = [
    Row("A login over https, over bare Authlib", "ciam_django", "Authlib", 0.15),
    Row("A failing one", "ciam_django, failing", "Authlib, failing", 0.15),
    Row("A login with the transport stubbed", "ciam_django, stubbed", "Authlib, stubbed", 0.7),
    Row(
        "A failing one with the transport stubbed",
        "ciam_django, failing, stubbed",
        "Authlib, failing, stubbed",
        None,
    ),
    Row(
        "Django's own part of a login, which asks nobody, over bare Authlib",
        "Django",
        "Authlib",
        None,
    ),
]

# --- A sign-in with Authlib alone -------------------------------------------------------------


def authlib_app() -> Any:
    """Authlib's app of its documentation, with the PKCE that we have."""
    if not hasattr(oauth, "ciam"):
        given: Any = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
        arguments = given["client_kwargs"] | {"scope": "openid", "code_challenge_method": "S256"}
        oauth.register("ciam", **{**given, "client_kwargs": arguments})
    return oauth.ciam


def leaves(request: HttpRequest) -> HttpResponse:
    back = request.build_absolute_uri("/authlib/callback/")
    response: HttpResponse = authlib_app().authorize_redirect(request, back)
    return response


def comes_back(request: HttpRequest) -> HttpResponse:
    try:
        token = authlib_app().authorize_access_token(request)
    except OAuthError as error:
        return JsonResponse({"code": error.error}, status=400)
    return signed_in(request, token["userinfo"]["sub"])


def leaves_for_nobody(request: HttpRequest) -> HttpResponse:
    request.session["state"] = "a state"
    return HttpResponse(status=302, headers={"Location": "/django/callback/"})


def comes_back_as_li(request: HttpRequest) -> HttpResponse:
    del request.session["state"]
    return signed_in(request, "li")


def signed_in(request: HttpRequest, username: str) -> HttpResponse:
    user, _ = get_user_model().objects.get_or_create(username=username)
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    return HttpResponse(status=302, headers={"Location": "/"})


oauth = OAuth()
urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("authlib/authorize/", leaves),
    path("authlib/callback/", comes_back),
    path("django/authorize/", leaves_for_nobody),
    path("django/callback/", comes_back_as_li),
]


# --- The transport, not timed ------------------------------------------------------------------


class Stub(HTTPAdapter):
    """Real answers over real connections, whose CPU time is counted and not the caller's."""

    spent = 0.0

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        response = super().send(request, *args, **kwargs)
        body = io.BytesIO(response.content)
        raw = HTTPResponse(
            body,
            status=response.status_code,
            headers=response.raw.headers,
            preload_content=False,
            request_method=request.method,
        )
        stubbed = self.build_response(request, raw)
        Stub.spent += time.process_time() - began
        return stubbed


# --- The cases -----------------------------------------------------------------------------------


def cases() -> Mapping[str, Case]:
    call_command("migrate", verbosity=0)
    return {"Django": _logins("django", "li", stubbed=False)} | {
        f"{name}{', failing' if fails else ''}{', stubbed' if stubbed else ''}": _logins(
            place, FAILS if fails else "li", stubbed=stubbed
        )
        for name, place in (("ciam_django", "ciam"), ("Authlib", "authlib"))
        for fails in (False, True)
        for stubbed in (False, True)
    }


def sign_in(place: str, username: str, timed: Callable[[Callable[[], Any]], Any]) -> HttpResponse:
    """One sign-in of a browser that has not been here, our two requests through ``timed``."""
    fake = FakeCiam()
    # The browser needs but the fake's own certificate.
    given: Any = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
    certificates = Path(given["client_kwargs"]["verify"])
    fake.ca_file = str(certificates.with_name("fake-ciam.pem"))
    client = Client()
    page, program = {"Accept": "text/html"}, {"Accept": "application/json"}
    back = timed(lambda: client.post(f"/{place}/authorize/", headers=page))["Location"]
    if back.startswith("https:"):
        back = fake.authorize(back, username=username).removeprefix("http://testserver")
    response: HttpResponse = timed(lambda: client.get(back, headers=program))
    return response


def _logins(place: str, username: str, *, stubbed: bool) -> Case:
    own_adapter = requests.Session.get_adapter

    def case(loops: int) -> float:
        total = 0.0

        def timed(request: Callable[[], Any]) -> Any:
            nonlocal total
            stubbed_before = Stub.spent
            seconds, response = cpu_of(request)
            total += seconds - (Stub.spent - stubbed_before)
            return response

        if stubbed:
            stub = Stub()
            requests.Session.get_adapter = lambda *args, **kwargs: stub  # type: ignore[method-assign]
        try:
            # The first fetches what CIAM publishes; the process is warm after it.
            sign_in(place, "li", lambda request: request())
            for _ in range(loops):
                response = sign_in(place, username, timed)
                assert (response.status_code == 302) == (username != FAILS), response.content
        finally:
            requests.Session.get_adapter = own_adapter  # type: ignore[method-assign]
        return total

    return case
