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

from benchmarks.cases import Case, Row, measure_cpu
from ciam_django.testing import FakeCiam

FAILING_USERNAME: Final = "fail:token:invalid_grant"
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


def registered_authlib_app() -> Any:
    """Authlib's app of its documentation, with the PKCE that we have."""
    if not hasattr(oauth, "ciam"):
        given: Any = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
        arguments = given["client_kwargs"] | {"scope": "openid", "code_challenge_method": "S256"}
        oauth.register("ciam", **{**given, "client_kwargs": arguments})
    return oauth.ciam


def authlib_authorize(request: HttpRequest) -> HttpResponse:
    back = request.build_absolute_uri("/authlib/callback/")
    response: HttpResponse = registered_authlib_app().authorize_redirect(request, back)
    return response


def authlib_callback(request: HttpRequest) -> HttpResponse:
    try:
        token = registered_authlib_app().authorize_access_token(request)
    except OAuthError as error:
        return JsonResponse({"code": error.error}, status=400)
    return sign_in_user(request, token["userinfo"]["sub"])


def django_authorize(request: HttpRequest) -> HttpResponse:
    request.session["state"] = "a state"
    return HttpResponse(status=302, headers={"Location": "/django/callback/"})


def django_callback(request: HttpRequest) -> HttpResponse:
    del request.session["state"]
    return sign_in_user(request, "li")


def sign_in_user(request: HttpRequest, username: str) -> HttpResponse:
    user, _ = get_user_model().objects.get_or_create(username=username)
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    return HttpResponse(status=302, headers={"Location": "/"})


oauth = OAuth()
urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("authlib/authorize/", authlib_authorize),
    path("authlib/callback/", authlib_callback),
    path("django/authorize/", django_authorize),
    path("django/callback/", django_callback),
]


# --- The transport, not timed ------------------------------------------------------------------


class UntimedAdapter(HTTPAdapter):
    """Real answers over real connections, whose CPU time is counted and not the caller's."""

    cpu_seconds = 0.0

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
        UntimedAdapter.cpu_seconds += time.process_time() - began
        return stubbed


# --- The cases -----------------------------------------------------------------------------------


def cases() -> Mapping[str, Case]:
    call_command("migrate", verbosity=0)
    return {"Django": _login_case("django", "li", stubbed=False)} | {
        f"{name}{', failing' if fails else ''}{', stubbed' if stubbed else ''}": _login_case(
            place, FAILING_USERNAME if fails else "li", stubbed=stubbed
        )
        for name, place in (("ciam_django", "ciam"), ("Authlib", "authlib"))
        for fails in (False, True)
        for stubbed in (False, True)
    }


def sign_in(
    url_prefix: str, username: str, run_request: Callable[[Callable[[], Any]], Any]
) -> HttpResponse:
    """One sign-in of a browser that has not been here, our two requests through ``timed``."""
    fake = FakeCiam()
    # The browser needs but the fake's own certificate.
    given: Any = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
    certificates = Path(given["client_kwargs"]["verify"])
    fake.ca_file = str(certificates.with_name("fake-ciam.pem"))
    client = Client()
    page, program = {"Accept": "text/html"}, {"Accept": "application/json"}
    back = run_request(lambda: client.post(f"/{url_prefix}/authorize/", headers=page))["Location"]
    if back.startswith("https:"):
        back = fake.authorize(back, username=username).removeprefix("http://testserver")
    response: HttpResponse = run_request(lambda: client.get(back, headers=program))
    return response


def _login_case(url_prefix: str, username: str, *, stubbed: bool) -> Case:
    own_adapter = requests.Session.get_adapter

    def case(loops: int) -> float:
        total = 0.0

        def timed(request: Callable[[], Any]) -> Any:
            nonlocal total
            stubbed_before = UntimedAdapter.cpu_seconds
            seconds, response = measure_cpu(request)
            total += seconds - (UntimedAdapter.cpu_seconds - stubbed_before)
            return response

        if stubbed:
            stub = UntimedAdapter()
            requests.Session.get_adapter = lambda *args, **kwargs: stub  # type: ignore[method-assign]
        try:
            # The first fetches what CIAM publishes; the process is warm after it.
            sign_in(url_prefix, "li", lambda request: request())
            for _ in range(loops):
                response = sign_in(url_prefix, username, timed)
                assert (response.status_code == 302) == (username != FAILING_USERNAME), (
                    response.content
                )
        finally:
            requests.Session.get_adapter = own_adapter  # type: ignore[method-assign]
        return total

    return case
