"""Time a login, compared with a login by Authlib's own Django client.

Our two requests are timed, the redirect to CIAM and the callback, but not the browser's requests to
CIAM. The certificates are certifi's and the fake's, as many as a login with a real CIAM reads.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from unittest import mock

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

from benchmarks.cases import Case, Row, Seconds, measure, now
from ciam_django.client.transport import HttpSession
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

# --- A login with Authlib alone ---------------------------------------------------------------


def registered_authlib_app() -> Any:
    """Return Authlib's app as its documentation registers it, with PKCE as in our app."""
    if not hasattr(oauth, "ciam"):
        client: Any = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
        arguments = client["client_kwargs"] | {"scope": "openid", "code_challenge_method": "S256"}
        oauth.register("ciam", **{**client, "client_kwargs": arguments})
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


# --- The transport, without its time -----------------------------------------------------------


class UntimedAdapter(HTTPAdapter):
    """Send real requests over real connections, and add up their time, to be subtracted."""

    seconds = Seconds(0.0, 0.0)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        began = now()
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
        UntimedAdapter.seconds = UntimedAdapter.seconds.plus(now().minus(began))
        return stubbed


# --- The cases -----------------------------------------------------------------------------------


def cases() -> Mapping[str, Case]:
    call_command("migrate", verbosity=0)
    return {"Django": _login_case("django", "li", stubbed=False)} | {
        f"{name}{', failing' if fails else ''}{', stubbed' if stubbed else ''}": _login_case(
            prefix, FAILING_USERNAME if fails else "li", stubbed=stubbed
        )
        for name, prefix in (("ciam_django", "ciam"), ("Authlib", "authlib"))
        for fails in (False, True)
        for stubbed in (False, True)
    }


_addresses = itertools.product(range(256), repeat=3)


def sign_in(
    url_prefix: str,
    username: str,
    run_request: Callable[[Callable[[], Any]], Any],
    client: Client | None = None,
) -> HttpResponse:
    """Sign in with a browser, by default a new one; ``run_request`` makes our two requests."""
    fake = FakeCiam()
    # The browser needs only the fake's own certificate.
    config: Any = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
    certificates = Path(config["client_kwargs"]["verify"])
    fake.ca_file = str(certificates.with_name("fake-ciam.pem"))
    # Each browser has its own address, because the rate limits count the failures of an address.
    client = client or Client(REMOTE_ADDR=f"10.{'.'.join(map(str, next(_addresses)))}")
    html_headers, json_headers = {"Accept": "text/html"}, {"Accept": "application/json"}
    redirect = run_request(lambda: client.post(f"/{url_prefix}/authorize/", headers=html_headers))
    back = redirect["Location"]
    if back.startswith("https:"):
        back = fake.authorize(back, username=username).removeprefix("http://testserver")
    response: HttpResponse = run_request(lambda: client.get(back, headers=json_headers))
    return response


def _login_case(url_prefix: str, username: str, *, stubbed: bool) -> Case:
    def case(loops: int) -> Seconds:
        total = Seconds(0.0, 0.0)

        def timed(request: Callable[[], Any]) -> Any:
            nonlocal total
            stubbed_before = UntimedAdapter.seconds
            seconds, response = measure(request)
            untimed = UntimedAdapter.seconds.minus(stubbed_before)
            total = total.plus(seconds.minus(untimed))
            return response

        stub = UntimedAdapter()

        # A mock would take longer than this function.
        def get_stub(*args: Any, **kwargs: Any) -> UntimedAdapter:
            return stub

        with contextlib.ExitStack() as stack:
            for kind in (requests.Session, HttpSession) if stubbed else ():
                stack.enter_context(mock.patch.object(kind, "get_adapter", get_stub))
            # The first login fetches CIAM's metadata and keys. The process is warm afterwards.
            sign_in(url_prefix, "li", lambda request: request())
            for _ in range(loops):
                response = sign_in(url_prefix, username, timed)
                assert (response.status_code == 302) == (username != FAILING_USERNAME), (
                    response.content
                )
        return total

    return case
