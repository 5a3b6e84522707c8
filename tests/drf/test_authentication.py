"""Tests of the authentication by a bearer token, which CIAM or a signature confirms."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.core.cache import cache
from django.test import Client
from django.urls import include, path
from pytest_django.fixtures import Settings
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ciam_django.accounts.backends import CiamBackend
from ciam_django.accounts.bearer import Bearer
from ciam_django.accounts.models import CiamIdentity
from ciam_django.client import CiamClient
from ciam_django.client.results import SignedIn
from ciam_django.drf.authentication import CiamBearerAuthentication
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import PASSWORD
from ciam_django.testing.tenant import APP_ID
from tests.browser import Browser

pytestmark = pytest.mark.django_db

DISABLED = "Operation.Failure.User.Disabled"
PRESENTED = 'Bearer error="invalid_token"'


class ProfileView(APIView):
    """Accepts bearer tokens and sessions."""

    authentication_classes = (CiamBearerAuthentication, SessionAuthentication)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        scopes = sorted(request.auth.scopes) if isinstance(request.auth, Bearer) else None
        return Response({"user": request.user.pk, "scopes": scopes, "auth": repr(request.auth)})

    def post(self, request: Request) -> Response:
        return Response({"user": request.user.pk})


class PageView(ProfileView):
    renderer_classes = (BrowsableAPIRenderer, JSONRenderer)


class OpenView(ProfileView):
    permission_classes: Any = ()


urlpatterns = [
    path("profile/", ProfileView.as_view()),
    path("page/", PageView.as_view()),
    path("open/", OpenView.as_view()),
    path("ciam/", include("ciam_django.urls")),
]


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    cache.clear()


def header(token: str) -> dict[str, str]:
    return {"accept": "application/json", "authorization": f"Bearer {token}"}


def get(token: str, place: str = "/profile/", **extra: Any) -> Any:
    return Client().get(place, headers=header(token), **extra)


def get_with_authorization(value: str, **headers: str) -> Any:
    """Send the whole Authorization header, and return the response."""
    return Client().get(
        "/profile/", headers={"accept": "application/json", "authorization": value, **headers}
    )


def token_for(username: str = "li") -> str:
    signed_in = CiamClient().password_login(username, PASSWORD)
    assert isinstance(signed_in, SignedIn)
    return signed_in.access_token


def token_calls(ciam: FakeCiam) -> list[str]:
    """Return the last path segment of each call to CIAM that checks a token."""
    paths = [request.path for request in ciam.requests]
    return [each.rpartition("/")[2] for each in paths if "/user/" in each or "info" in each]


def unsigned(claims: Mapping[str, Any], **head: Any) -> str:
    parts = [{"alg": "HS256", "typ": "JWT", **head}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*encoded, b"c2lnbmF0dXJl"]).decode()


def assert_refused(response: Any, code: str = "invalid_token") -> None:
    """Assert that the response is a 401 with our body and headers."""
    assert response.status_code == 401, response.content
    assert response.json()["code"] == code
    assert response["Ciam-Error-Code"] == code
    assert response["Cache-Control"] == "no-store"


# --- Accepted tokens --------------------------------------------------------------------------


def test_a_valid_token_authenticates_its_user(ciam: FakeCiam) -> None:
    response = get(token_for())

    identity = CiamIdentity.objects.get()
    assert response.status_code == 200
    assert response.json()["user"] == identity.user.pk
    assert "sessionid" not in response.cookies


def test_a_token_authenticates_the_user_of_the_browser_login(
    browser: Browser, ciam: FakeCiam
) -> None:
    browser.sign_in("li")

    assert get(token_for("li")).json()["user"] == int(browser.user_id or 0)
    assert get(token_for("wang")).json()["user"] != int(browser.user_id or 0)
    assert User.objects.count() == 2


def test_the_scopes_come_from_the_answer_of_ciam(ciam: FakeCiam) -> None:
    token = token_for()
    ciam.token_check = {"scope": "USER_API orders.read"}

    assert get(token).json()["scopes"] == ["USER_API", "orders.read"]


def test_the_scopes_come_from_the_checked_token_if_the_answer_of_ciam_has_none(
    ciam: FakeCiam,
) -> None:
    assert get(token_for()).json()["scopes"] == ["USER_API"]


def test_the_scopes_are_empty_if_neither_ciam_nor_the_token_names_any(ciam: FakeCiam) -> None:
    ciam.access_token_claims = {"scope": None}

    assert get(token_for()).json()["scopes"] == []


def test_empty_scopes_in_the_answer_of_ciam_replace_the_scopes_of_the_token(ciam: FakeCiam) -> None:
    token = token_for()
    ciam.token_check = {"scope": ""}

    assert get(token).json()["scopes"] == []


def test_a_request_without_the_bearer_scheme_is_anonymous_and_asks_ciam_nothing(
    ciam: FakeCiam,
) -> None:
    for value in ("", "Basic bGk6cHc=", "Token abc", "Bearerabc"):
        response = get_with_authorization(value)

        assert response.status_code == 401
        assert response["WWW-Authenticate"] == "Bearer"
    assert Client().get("/open/").status_code == 200
    assert not ciam.requests


def test_the_scheme_may_have_any_letter_case_and_several_spaces_after_it(ciam: FakeCiam) -> None:
    token = token_for()

    assert get_with_authorization(f"bEARER   {token}").status_code == 200


def test_a_token_outside_the_authorization_header_is_ignored(ciam: FakeCiam) -> None:
    token = token_for()
    client = Client(headers={"accept": "application/json"})

    assert client.get("/profile/", {"access_token": token}).status_code == 401
    assert client.post("/profile/", {"access_token": token}).status_code == 401


# --- Refused tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer a, Bearer b",
        "Bearer a\tb",
        "Bearer\ta",
        "Bearer =",
        "Bearer a=b",
        'Bearer "a"',
        "Bearer <script>",
        "Bearer a;b",
        "Bearer 令牌",
        "Bearer \x00",
        f"Bearer {'a' * 8193}",
        f"Bearer {'a b' * 100_000}",
    ],
)
def test_a_malformed_token_is_refused_without_a_call_to_ciam(value: str, ciam: FakeCiam) -> None:
    response = Client().get("/profile/", headers={"accept": "*/*"}, HTTP_AUTHORIZATION=value)

    assert_refused(response)
    assert not ciam.requests


def test_a_token_of_8_kib_is_sent_to_ciam(ciam: FakeCiam) -> None:
    assert_refused(get("a" * 8192))

    assert token_calls(ciam) == ["check"]


def test_a_token_that_ciam_refuses_is_refused(ciam: FakeCiam) -> None:
    response = get("of-nobody")

    assert_refused(response)
    assert response["WWW-Authenticate"] == PRESENTED
    assert response.json()["detail"] == "Your session has expired. Sign in again."
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "code", ["Server.Access.Denied.Token.Expire", "Operation.Failure.Invalid.AccessToken"]
)
def test_each_code_of_ciam_for_an_invalid_token_is_a_refusal(code: str, ciam: FakeCiam) -> None:
    token = token_for()
    ciam.fail("api", code=code)

    assert_refused(get(token))


def test_the_token_of_a_deleted_account_is_refused(ciam: FakeCiam) -> None:
    token = token_for()
    ciam.fail("api", code="Operation.Failure.User.Not.Exist")

    assert_refused(get(token))


def test_a_revoked_token_is_refused(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_BEARER_SECONDS = 0
    token = token_for()
    assert get(token).status_code == 200
    ciam.revoke_tokens("li")

    assert_refused(get(token))


def test_an_account_disabled_at_ciam_is_answered_with_its_own_code(ciam: FakeCiam) -> None:
    token = token_for()
    ciam.accounts.set_state("li", DISABLED)

    for _ in range(2):
        response = get(token)
        assert response.status_code == 403
        assert response.json()["code"] == DISABLED
    assert token_calls(ciam) == ["check"]


@pytest.mark.parametrize("seconds", [0, 30])
def test_an_inactive_user_is_refused_at_once_without_the_signal_user_login_failed(
    seconds: int, ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_BEARER_SECONDS = seconds
    failed_logins: list[object] = []

    def record(**kwargs: object) -> None:
        failed_logins.append(kwargs)

    user_login_failed.connect(record)
    token = token_for()
    assert get(token).status_code == 200
    User.objects.update(is_active=False)

    response = get(token)
    user_login_failed.disconnect(record)

    assert response.status_code == 403
    assert response.json()["code"] == "account_inactive"
    assert not failed_logins


def test_a_missing_ciam_backend_is_answered_with_bad_configuration(
    ciam: FakeCiam, settings: Settings
) -> None:
    token = token_for()
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]

    response = get(token)

    assert response.status_code == 500
    assert response.json()["code"] == "bad_configuration"


def test_an_application_token_is_refused(ciam: FakeCiam) -> None:
    token_for()
    (token,) = ciam.application_tokens

    assert_refused(get(token))


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("sub", [APP_ID, "", None, 7, "a" * 256, "a\nb", ["li"]])
def test_userinfo_without_a_valid_sub_is_refused(sub: object, ciam: FakeCiam) -> None:
    token = token_for()
    ciam.forge("userinfo_no_sub")
    ciam.forgery = type(ciam.forgery)(userinfo={"sub": sub})

    assert_refused(get(token))
    assert not User.objects.exists()


# --- With sessions ----------------------------------------------------------------------------


def test_a_session_authenticates_a_request_without_a_bearer_token(
    browser: Browser, ciam: FakeCiam
) -> None:
    browser.sign_in("li")

    response = browser.client.get("/profile/", headers={"accept": "application/json"})

    assert response.json() == {
        "user": int(browser.user_id or 0),
        "scopes": None,
        "auth": "None",
    }


def test_csrf_is_checked_for_sessions_and_not_for_tokens(browser: Browser, ciam: FakeCiam) -> None:
    browser.sign_in("li")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser.client.cookies

    assert strict.post("/profile/", headers={"accept": "application/json"}).status_code == 403
    assert strict.post("/profile/", headers=header(token_for("li"))).status_code == 200


def test_an_invalid_token_is_refused_in_spite_of_a_session(
    browser: Browser, ciam: FakeCiam
) -> None:
    browser.sign_in("li")

    assert_refused(browser.client.get("/profile/", headers=header("of-nobody")))
    assert browser.user_id


@pytest.mark.parametrize("value", ["Bearer of-nobody", "Bearer a b"])
def test_the_browsable_api_refuses_an_invalid_token_and_does_not_show_it(
    value: str, ciam: FakeCiam
) -> None:
    client = Client(headers={"accept": "text/html", "authorization": value})
    response = client.get("/page/")

    assert response.status_code == 401
    assert b"invalid_token" in response.content
    assert value.encode() not in response.content


# --- Logs and answers -------------------------------------------------------------------------


def test_the_token_is_in_no_log_and_no_answer(
    ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = token_for()
    good = get(token)
    ciam.revoke_tokens("li")
    cache.clear()
    bad = get(token)

    assert_refused(bad)
    for text in (caplog.text, str(good.content), str(bad.content), str(bad.headers)):
        for part in (token, *token.split(".")):
            assert part not in text
    assert good.json()["auth"] == "Bearer(scopes=frozenset({'USER_API'}))"
    assert [record.name for record in caplog.records if record.name == "ciam_django"] != []


def test_each_refused_request_is_logged_once(
    ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    get("of-nobody")
    get("of-nobody")

    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all("code=invalid_token" in line and "stage=api" in line for line in lines)


# --- Error reports ----------------------------------------------------------------------------


class BrokenBackend(CiamBackend):
    """A project's backend with a bug."""

    def authenticate(self, *args: Any, **kwargs: Any) -> User | None:
        raise ZeroDivisionError


def test_an_error_report_does_not_contain_the_token(ciam: FakeCiam, settings: Settings) -> None:
    token = token_for()
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.BrokenBackend"]
    settings.DEBUG = True
    response = Client(raise_request_exception=False).get(
        "/profile/", headers={**header(token), "accept": "text/html"}
    )

    assert response.status_code == 500
    assert b"ZeroDivisionError" in response.content
    for part in (token, *token.split(".")):
        assert part.encode() not in response.content
