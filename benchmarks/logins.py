"""Time a login, compared with a login by Authlib's own Django client, and with a login by hand.

Our two requests are timed, the redirect to CIAM and the callback, but not the browser's requests to
CIAM. The certificates are certifi's and the fake's, as many as a login with a real CIAM reads.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import itertools
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from unittest import mock
from urllib.parse import urlencode

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.django_client import OAuth
from cryptography.fernet import Fernet
from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.core.management import call_command
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.test import Client
from django.urls import include, path
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from benchmarks.cases import Case, Row, Seconds, measure, now
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.client.person import identity_key
from ciam_django.client.transport import HttpSession
from ciam_django.testing import FakeCiam

# The name of a case -> the first part of its URLs.
PREFIXES: Final = {"ciam_django": "ciam", "Authlib": "authlib", "by hand": "by_hand"}
FAILING_USERNAME: Final = "fail:token:invalid_grant"
ROWS = [
    Row("A login over https, over bare Authlib", "ciam_django", "Authlib", 0.11),
    Row("… over a login by hand", "ciam_django", "by hand", 1.1),
    Row("… the login by hand, over bare Authlib", "by hand", "Authlib", None),
    Row("A failing login over https", "ciam_django, failing", "Authlib, failing", 0.08),
    Row("… over one by hand", "ciam_django, failing", "by hand, failing", None),
    Row("… the one by hand, over bare Authlib", "by hand, failing", "Authlib, failing", None),
    Row("A login with the transport stubbed", "ciam_django, stubbed", "Authlib, stubbed", 0.6),
    Row("… over a login by hand", "ciam_django, stubbed", "by hand, stubbed", None),
    Row("… the login by hand, over bare Authlib", "by hand, stubbed", "Authlib, stubbed", None),
    Row(
        "A failing login with the transport stubbed",
        "ciam_django, failing, stubbed",
        "Authlib, failing, stubbed",
        0.4,
    ),
    Row("… over one by hand", "ciam_django, failing, stubbed", "by hand, failing, stubbed", None),
    Row(
        "… the one by hand, over bare Authlib",
        "by hand, failing, stubbed",
        "Authlib, failing, stubbed",
        None,
    ),
    Row(
        "Django's own part of a login, which asks nobody, over bare Authlib",
        "Django",
        "Authlib",
        None,
    ),
    Row("… over bare Authlib with the transport stubbed", "Django", "Authlib, stubbed", None),
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


# --- A login by hand ----------------------------------------------------------------------------
# The least that is still a login: state and PKCE, a kept connection, the claims of userinfo, an
# identity by issuer and subject, encrypted tokens, one transaction, and a new session key.

_STATE_SECONDS: Final = 600


def hand_authorize(request: HttpRequest) -> HttpResponse:
    client, metadata = hand_client(), hand_metadata()
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    parameters = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": request.build_absolute_uri("/by_hand/callback/"),
        "scope": "openid",
        "state": state,
        "code_challenge": challenge.rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    response = HttpResponseRedirect(f"{metadata['authorization_endpoint']}?{urlencode(parameters)}")
    response.set_signed_cookie(
        "state",
        f"{state} {verifier}",
        max_age=_STATE_SECONDS,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
    return response


def hand_callback(request: HttpRequest) -> HttpResponse:
    # A missing, forged or old cookie has the default.
    cookie = str(request.get_signed_cookie("state", "", max_age=_STATE_SECONDS))
    state, _, verifier = cookie.partition(" ")
    returned_state = request.GET.get("state", "").encode()
    if not (state and secrets.compare_digest(state.encode(), returned_state)):
        return JsonResponse({"code": "invalid_state"}, status=400)
    try:
        tokens = hand_tokens(request, verifier)
        claims = hand_claims(tokens)
    except OAuthError as error:
        response: HttpResponse = JsonResponse({"code": error.error}, status=400)
    else:
        sign_in_by_hand(request, claims, tokens)
        response = HttpResponseRedirect("/")
    response.delete_cookie("state", samesite="Lax")
    return response


def hand_tokens(request: HttpRequest, verifier: str) -> Mapping[str, Any]:
    client = hand_client()
    response = hand_session().post(
        hand_metadata()["token_endpoint"],
        {
            "grant_type": "authorization_code",
            "code": request.GET.get("code", ""),
            "redirect_uri": request.build_absolute_uri("/by_hand/callback/"),
            "code_verifier": verifier,
        },
        auth=(client["client_id"], client["client_secret"]),
        timeout=10,
    )
    return hand_content(response)


def hand_claims(tokens: Mapping[str, Any]) -> Mapping[str, Any]:
    response = hand_session().get(
        hand_metadata()["userinfo_endpoint"],
        headers={"Authorization": f"Bearer {tokens['access_token']}"},
        timeout=10,
    )
    return hand_content(response)


def hand_content(response: requests.Response) -> Mapping[str, Any]:
    """Return the JSON of a response; raise ``OAuthError`` for a failure, in both body formats."""
    content: dict[str, Any] = response.json()
    if not response.ok or content.get("success") is False:
        raise OAuthError(error=str(content.get("error") or content.get("code")))
    return content


def sign_in_by_hand(
    request: HttpRequest, claims: Mapping[str, Any], tokens: Mapping[str, Any]
) -> None:
    issuer, subject = hand_metadata()["issuer"], claims["sub"]
    with transaction.atomic():
        try:
            identity = CiamIdentity.objects.select_related("user").get(
                key=identity_key(issuer, subject)
            )
        except CiamIdentity.DoesNotExist:
            user = get_user_model().objects.create(username=f"by hand {subject}")
            identity = CiamIdentity.objects.create(user=user, issuer=issuer, subject=subject)
        if not identity.user.is_active:
            raise OAuthError(error="account_inactive")
        login(request, identity.user, backend=settings.AUTHENTICATION_BACKENDS[0])
        row = CiamSession.objects.create(
            identity=identity,
            sealed=hand_fernet().encrypt(json.dumps(tokens).encode()).decode(),
            ends_at=request.session.get_expiry_date(),
        )
        request.session["row"] = row.pk


def hand_client() -> dict[str, Any]:
    client: dict[str, Any] = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
    return client


@functools.cache
def hand_session() -> requests.Session:
    session = requests.Session()
    session.verify = hand_client()["client_kwargs"]["verify"]
    return session


@functools.cache
def hand_metadata() -> Mapping[str, Any]:
    metadata: Mapping[str, Any] = (
        hand_session().get(hand_client()["server_metadata_url"], timeout=10).json()
    )
    return metadata


@functools.cache
def hand_fernet() -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(settings.SECRET_KEY.encode()).digest()))


oauth = OAuth()
urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("authlib/authorize/", authlib_authorize),
    path("authlib/callback/", authlib_callback),
    path("by_hand/authorize/", hand_authorize),
    path("by_hand/callback/", hand_callback),
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
        for name, prefix in PREFIXES.items()
        for fails in (False, True)
        for stubbed in (False, True)
    }


_addresses = itertools.product(range(256), repeat=3)


def new_browser() -> Client:
    """Return a browser with its own address: the rate limits count the failures of an address."""
    return Client(REMOTE_ADDR=f"10.{'.'.join(map(str, next(_addresses)))}")


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
    client = client or new_browser()
    html_headers, json_headers = {"Accept": "text/html"}, {"Accept": "application/json"}
    redirect = run_request(
        lambda: client.post(
            f"/{url_prefix}/authorize/",
            "",
            # As a browser sends the form; by default, Django's client sends multipart/form-data.
            content_type="application/x-www-form-urlencoded",
            headers=html_headers,
            secure=True,
        )
    )
    back = redirect["Location"]
    if back.startswith("https:"):
        back = fake.authorize(back, username=username).removeprefix("https://testserver")
    response: HttpResponse = run_request(
        lambda: client.get(back, headers=json_headers, secure=True)
    )
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
