"""Test that a bearer token authenticates only if CIAM or its signature verifies the token."""

from __future__ import annotations

import base64
import json
import logging
import time
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

from ciam_django.accounts import bearer
from ciam_django.accounts.backends import CiamBackend
from ciam_django.accounts.bearer import Bearer
from ciam_django.accounts.models import CiamIdentity
from ciam_django.client import CiamClient
from ciam_django.client.results import SignedIn
from ciam_django.drf.authentication import CiamBearerAuthentication
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import PASSWORD
from ciam_django.testing.forgeries import FORGERIES
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


def test_scopes_in_an_unverified_token_are_ignored(ciam: FakeCiam) -> None:
    assert get(token_for()).json()["scopes"] == []


def test_a_request_without_a_bearer_token_goes_to_the_next_authenticator(ciam: FakeCiam) -> None:
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
def test_an_inactive_user_is_refused_at_once(
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


def test_a_project_without_our_backend_is_misconfigured(ciam: FakeCiam, settings: Settings) -> None:
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


# --- The audience of a token ------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"client_id": "another_app"},
        {"aud": "another_app"},
        {"aud": [APP_ID, "another_app"]},
        {"aud": 7},
        {"aud": [None]},
        {"aud": {"a": 1}},
        {"azp": "another_app"},
        {"azp": ["another_app"]},
        {"nonce": "n"},
        {"at_hash": "h"},
        {"events": {}},
        {"exp": 1_000_000_000},
    ],
    ids=str,
)
def test_a_token_whose_own_claims_do_not_fit_is_refused(
    claims: dict[str, Any], ciam: FakeCiam
) -> None:
    ciam.access_token_claims = claims
    token = token_for()

    assert_refused(get(token))
    assert not token_calls(ciam)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": APP_ID, "azp": ""},
        {"aud": [APP_ID]},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 10**400},
        {"exp": float("inf")},
    ],
    ids=str,
)
def test_missing_or_unusable_claims_leave_the_decision_to_ciam(
    claims: dict[str, Any], ciam: FakeCiam
) -> None:
    ciam.access_token_claims = claims

    assert get(token_for()).status_code == 200


def test_a_token_without_an_audience_needs_one_from_ciam_or_a_wildcard(
    ciam: FakeCiam, settings: Settings
) -> None:
    ciam.access_token_claims = {"client_id": None}
    assert_refused(get(token_for()))
    ciam.token_check = {"client_id": APP_ID}
    assert get(token_for()).status_code == 200
    ciam.token_check = {}
    settings.CIAM_BEARER_AUDIENCES = ["*"]
    assert get(token_for()).status_code == 200


@pytest.mark.parametrize("member", ["aud", "azp", "client_id", "clientId", "idaasAppId"])
def test_a_token_for_another_audience_according_to_ciam_is_refused(
    member: str, ciam: FakeCiam
) -> None:
    token = token_for()
    ciam.token_check = {member: "another_app"}

    assert_refused(get(token))
    assert not User.objects.exists()


@pytest.mark.parametrize("audiences", [["mobile_app"], ["*"]])
def test_a_setting_allows_tokens_of_other_audiences(
    audiences: list[str], ciam: FakeCiam, settings: Settings
) -> None:
    ciam.client_id_of_tokens = "mobile_app"
    token = token_for()
    assert_refused(get(token))

    settings.CIAM_BEARER_AUDIENCES = audiences
    assert get(token).status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        unsigned({"sub": "li", "client_id": APP_ID}),
        unsigned({}),
        unsigned({}, alg="none"),
        "a.b.c",
        "a.b",
        "..",
        "a.b.c.d.e",
        f"a.{base64.urlsafe_b64encode(b'[' * 6000).decode().rstrip('=')}.c",
        f"a.{base64.urlsafe_b64encode(b'[1]').decode()}.c",
        f"a.{base64.urlsafe_b64encode(bytes([0xFF, 0xFE])).decode().rstrip('=')}.c",
    ],
)
def test_the_content_of_a_token_proves_nothing_without_ciam(token: str, ciam: FakeCiam) -> None:
    assert_refused(get(token))

    assert token_calls(ciam) == ["check"]


# --- The cache --------------------------------------------------------------------------------


def test_a_good_answer_is_cached_for_the_next_requests(ciam: FakeCiam) -> None:
    token = token_for()
    first = get(token)
    calls = token_calls(ciam)

    assert [get(token).json() for _ in range(3)] == [first.json()] * 3
    assert token_calls(ciam) == calls


def test_zero_seconds_switch_the_cache_off(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_BEARER_SECONDS = 0
    token = token_for()
    get(token)
    get(token)

    assert token_calls(ciam).count("check") == 2
    assert not [key for key in keys_in_cache() if "bearer" in key]


def test_a_refusal_is_cached_for_some_seconds(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert_refused(get("of-nobody"))
    assert token_calls(ciam) == ["check"]

    move_clock(monkeypatch, 6)
    assert_refused(get("of-nobody"))
    assert token_calls(ciam) == ["check"] * 2


def test_a_cached_answer_expires(ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch) -> None:
    token = token_for()
    get(token)
    move_clock(monkeypatch, 31)
    get(token)

    assert token_calls(ciam).count("check") == 2


@pytest.mark.parametrize("is_exp_from_ciam", [True, False])
def test_no_cached_answer_outlives_its_token(
    is_exp_from_ciam: bool, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_exp_from_ciam:
        ciam.access_token_claims = {"exp": None}
        ciam.token_check = {"exp": int(time.time()) + 10}
    else:
        ciam.token_lifetime = 10
    token = token_for()
    get(token)
    move_clock(monkeypatch, 5)
    get(token)
    assert token_calls(ciam).count("check") == 1

    move_clock(monkeypatch, 11)
    get(token)
    assert token_calls(ciam).count("check") == 2


def test_an_answer_that_the_cache_holds_too_long_is_not_used(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    ciam.token_lifetime = 10
    token = token_for()
    get(token)
    for key in keys_in_cache():
        cache.touch(key, 3600)
    move_clock(monkeypatch, 11)
    get(token)

    assert token_calls(ciam).count("check") == 2


def test_a_cached_answer_is_encrypted_and_its_key_hides_the_token(ciam: FakeCiam) -> None:
    token = token_for()
    get(token)
    (key,) = [key for key in keys_in_cache() if "bearer" in key]

    cached = cache.get(key)
    assert token not in key
    for secret in (token, token.split(".")[1], "li@example.com", ciam.access_tokens[token].user_id):
        assert secret not in cached


def test_foreign_values_in_the_cache_are_ignored(ciam: FakeCiam, settings: Settings) -> None:
    token = token_for()
    get(token)
    (key,) = [key for key in keys_in_cache() if "bearer" in key]
    nonsense: list[Any] = ["nonsense", b"nonsense", 7, {"person": {}}]
    for value in nonsense:
        cache.set(key, value)
        assert get(token).status_code == 200
    assert token_calls(ciam).count("check") == 5


def test_a_stricter_setting_applies_at_once(ciam: FakeCiam, settings: Settings) -> None:
    ciam.client_id_of_tokens = "mobile_app"
    settings.CIAM_BEARER_AUDIENCES = ["mobile_app"]
    token = token_for()
    assert get(token).status_code == 200
    settings.CIAM_BEARER_AUDIENCES = []

    assert_refused(get(token))


def keys_in_cache() -> list[str]:
    stored: Any = cache
    return [str(key).split(":", 2)[2] for key in stored._cache]


def move_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.undo()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)


# --- Outages and rate limits ------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["api", "userinfo"])
def test_an_outage_of_ciam_does_not_refuse_the_token(
    stage: str, ciam: FakeCiam, mode: str, settings: Settings
) -> None:
    token = token_for()
    if stage == "userinfo" and mode == "ciam":
        stage = "api"
    for fault in ("reset", "html", "truncated"):
        ciam.misbehave(stage, fault)
        response = get(token)

        assert response.status_code == 503, fault
        assert "WWW-Authenticate" not in response
    assert get(token).status_code == 200


def test_many_invalid_tokens_are_rate_limited_before_ciam_is_called(
    ciam: FakeCiam, settings: Settings
) -> None:
    good = token_for()
    assert get(good).status_code == 200
    settings.CIAM_TRY_LIMITS = {"address": ["3/min"]}
    answers = [get(f"random-{number}") for number in range(6)]

    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 3
    assert answers[-1].json()["code"] == "too_many_requests"
    assert 0 < int(answers[-1]["Retry-After"]) <= 60
    assert token_calls(ciam).count("check") == 4
    # A cached token needs no call to CIAM, and each address has a limit of its own.
    assert get(good).status_code == 200
    assert get("random-7", REMOTE_ADDR="192.0.2.7").status_code == 401


def test_valid_tokens_and_outages_do_not_count_towards_the_rate_limit(
    ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ["2/min"]}
    settings.CIAM_BEARER_SECONDS = 0
    token = token_for()

    assert [get(token).status_code for _ in range(5)] == [200] * 5
    ciam.misbehave("api", "reset", times=None)
    assert [get(token).status_code for _ in range(5)] == [503] * 5


def test_a_cache_outage_does_not_refuse_a_valid_token(ciam: FakeCiam, settings: Settings) -> None:
    token = token_for()
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }

    assert get(token).status_code == 200


@pytest.mark.parametrize("value", ["chek", "", None])
def test_an_invalid_ciam_bearer_setting_answers_every_token_with_a_500(
    value: Any, ciam: FakeCiam, settings: Settings
) -> None:
    token = token_for()
    settings.CIAM_BEARER = value

    assert get(token).status_code == 500


# --- Bearer tokens beside sessions ------------------------------------------------------------


def test_a_session_works_beside_bearer_tokens(browser: Browser, ciam: FakeCiam) -> None:
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


def test_a_bad_token_is_refused_in_spite_of_a_session(browser: Browser, ciam: FakeCiam) -> None:
    browser.sign_in("li")

    assert_refused(browser.client.get("/profile/", headers=header("of-nobody")))
    assert browser.user_id


@pytest.mark.parametrize("value", ["Bearer of-nobody", "Bearer a b"])
def test_the_browsable_api_refuses_a_bad_token_too(value: str, ciam: FakeCiam) -> None:
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
    assert good.json()["auth"] == "Bearer(scopes=frozenset())"
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


# --- CIAM_BEARER = "jwt" ----------------------------------------------------------------------


@pytest.fixture
def signing_ciam(fake_ciam: FakeCiam, settings: Settings) -> FakeCiam:
    """A fake CIAM that signs its access tokens, so that no call is needed to verify them."""
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client("oidc")}
    settings.CIAM_BEARER = "jwt"
    settings.CIAM_TRY_LIMITS = {}
    fake_ciam.signs_access_tokens = True
    return fake_ciam


def test_a_signed_token_is_verified_without_a_call_to_ciam(signing_ciam: FakeCiam) -> None:
    response = get(token_for())

    assert response.json()["scopes"] == ["USER_API"]
    assert not token_calls(signing_ciam)


def test_a_signed_token_authenticates_the_user_of_the_browser_login(signing_ciam: FakeCiam) -> None:
    browser = Browser(signing_ciam)
    browser.sign_in("li")

    assert get(token_for("li")).json()["user"] == int(browser.user_id or 0)


# Name of a forgery -> True if an access token with that forgery is still valid.
IS_STILL_VALID: dict[str, bool] = dict.fromkeys(FORGERIES, False) | {
    # These forgeries concern only an id_token, or userinfo, which is not called here.
    "no_nonce": True,
    "no_id_token": True,
    "userinfo_other_sub": True,
    "userinfo_no_sub": True,
    # RFC 9068 requires `aud`; these tokens name the application in `client_id`.
    "no_aud": True,
    "as_ciam_documents": True,
}


@pytest.mark.parametrize("forgery", IS_STILL_VALID)
def test_a_forged_token_is_refused(forgery: str, signing_ciam: FakeCiam) -> None:
    signing_ciam.api_id_token = "ciam"
    signing_ciam.forge(forgery)
    response = get(token_for())

    if IS_STILL_VALID[forgery]:
        assert response.status_code == 200
    else:
        assert_refused(response)
        assert response["WWW-Authenticate"] == PRESENTED
        assert not User.objects.exists()


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": None, "client_id": None},
        {"client_id": "another_app"},
        {"aud": [], "client_id": None},
        {"aud": 7},
        {"nonce": "n"},
        {"at_hash": "h"},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        {"exp": "soon"},
        {"exp": True},
        {"exp": -1},
        {"sub": 7},
        {"sub": ["li"]},
        {"sub": ""},
        {"sub": "a" * 256},
        {"client_id": "mobile_app", "aud": APP_ID, "sub": "mobile_app"},
        {"azp": {"a": 1}},
        {"iss": ["https://elsewhere.example"]},
    ],
    ids=str,
)
def test_a_signed_token_whose_claims_do_not_fit_is_refused(
    claims: dict[str, Any], signing_ciam: FakeCiam
) -> None:
    signing_ciam.access_token_claims = claims
    token = token_for()

    assert_refused(get(token))
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("typ", "scope", "is_good"),
    [
        ("at+jwt", "USER_API", True),
        ("AT+JWT", None, True),
        ("application/at+jwt", None, True),
        ("JWT", "USER_API", True),
        ("", "USER_API", True),
        ("JWT", None, False),
        ("", None, False),
        ("logout+jwt", "USER_API", False),
        ("secevent+jwt", "USER_API", False),
    ],
)
def test_a_signed_token_must_have_the_type_of_an_access_token(
    typ: str, scope: str | None, is_good: bool, signing_ciam: FakeCiam
) -> None:
    signing_ciam.access_token_header = {"typ": typ}
    signing_ciam.access_token_claims = {"scope": scope}
    response = get(token_for())

    assert (response.status_code == 200) is is_good, response.content
    if not is_good:
        assert_refused(response)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": None, "scp": ["a", "b"]}, ["a", "b"]),
        ({"scope": "a b", "scp": "c"}, ["a", "b", "c"]),
        ({"scope": 7, "scp": [7, "a"]}, ["a"]),
        ({"scope": ""}, []),
    ],
)
def test_scopes_may_be_a_string_or_a_list(
    claims: dict[str, Any], scopes: list[str], signing_ciam: FakeCiam
) -> None:
    signing_ciam.access_token_claims = claims

    assert get(token_for()).json()["scopes"] == scopes


def test_an_id_token_is_refused(signing_ciam: FakeCiam) -> None:
    signed_in = CiamClient().password_login("li", PASSWORD)

    assert_refused(get(signed_in.data["id_token"]))


def test_a_signed_application_token_is_refused(signing_ciam: FakeCiam) -> None:
    token_for()
    (token,) = signing_ciam.application_tokens

    assert_refused(get(token))


@pytest.mark.parametrize("member", ["client_id", "azp"])
def test_a_signed_token_of_an_allowed_application_is_refused(
    member: str, signing_ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_BEARER_AUDIENCES = ["mobile_app"]
    signing_ciam.access_token_claims = {member: "mobile_app", "sub": "mobile_app"}

    assert_refused(get(token_for()))
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "head",
    [
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": "RS384"},
        {"alg": "ES256"},
        {"alg": 7},
        {"alg": None},
        {"alg": "RS256", "kid": 7},
        {"alg": "RS256", "kid": ["a"]},
        {"alg": "RS256", "crit": ["b64"], "b64": False},
        {"alg": "RSA-OAEP", "enc": "A128GCM"},
    ],
    ids=str,
)
def test_an_unsafe_token_header_is_refused(head: dict[str, Any], signing_ciam: FakeCiam) -> None:
    claims = {"iss": signing_ciam.issuer, "sub": "li", "aud": APP_ID, "exp": int(time.time()) + 60}

    assert_refused(get(unsigned(claims, **{"typ": "at+jwt", **head})))


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "..", "a.b.c.d.e", "é.é.é".encode().hex()])
def test_a_token_that_is_no_jwt_is_refused(token: str, signing_ciam: FakeCiam) -> None:
    assert_refused(get(token))


def test_a_rotated_key_is_fetched(signing_ciam: FakeCiam) -> None:
    assert get(token_for()).status_code == 200
    signing_ciam.rotate_keys()

    assert get(token_for()).status_code == 200
    assert [request.stage for request in signing_ciam.requests].count("jwks") == 2


def test_many_unknown_keys_cause_a_single_fetch(signing_ciam: FakeCiam) -> None:
    assert get(token_for()).status_code == 200
    signing_ciam.access_token_header = {"kid": "unknown"}
    for _ in range(4):
        assert_refused(get(token_for()))

    assert [request.stage for request in signing_ciam.requests].count("jwks") <= 2


def test_an_outage_of_the_keys_does_not_refuse_the_token(signing_ciam: FakeCiam) -> None:
    token = token_for()
    cache.clear()
    signing_ciam.misbehave("jwks", "reset", times=None)

    assert get(token).status_code == 503


def test_a_setting_allows_signed_tokens_without_an_audience(
    signing_ciam: FakeCiam, settings: Settings
) -> None:
    signing_ciam.access_token_claims = {"aud": None, "client_id": None}
    token = token_for()
    assert_refused(get(token))
    settings.CIAM_BEARER_AUDIENCES = ["*"]

    assert get(token).status_code == 200


def test_a_verification_is_not_cached_beyond_the_expiry_of_the_token(
    signing_ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing_ciam.token_lifetime = 10
    token = token_for()
    assert get(token).status_code == 200
    (key,) = [key for key in keys_in_cache() if "bearer" in key]
    move_clock(monkeypatch, 11)

    assert cache.get(key) is None
    # CIAM's clock may be two minutes ahead of ours.
    assert get(token).status_code == 200
    move_clock(monkeypatch, 140)
    assert_refused(get(token))


def test_jwt_without_published_keys_is_a_misconfiguration(
    fake_ciam: FakeCiam, settings: Settings
) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client("ciam")}
    settings.CIAM_BEARER = "jwt"

    response = get(token_for())

    assert response.status_code == 500
    assert response.json()["code"] == "bad_configuration"


def test_a_missing_userinfo_endpoint_is_a_misconfiguration(
    fake_ciam: FakeCiam, settings: Settings
) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client("oidc")}
    token = token_for()
    fake_ciam.metadata = {"userinfo_endpoint": None}

    response = get(token)

    assert response.status_code == 500
    assert response.json()["code"] == "bad_configuration"


def test_the_verifiers_are_the_values_that_the_check_allows() -> None:
    assert set(bearer._VERIFIERS) == {"check", "jwt"}


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


@pytest.mark.parametrize("algorithms", [["HS256"], ["none"], [], None, "RS256"])
def test_metadata_without_a_usable_algorithm_verifies_no_token(
    algorithms: Any, signing_ciam: FakeCiam
) -> None:
    signing_ciam.metadata = {"id_token_signing_alg_values_supported": algorithms}
    signing_ciam.forge("alg_hs256")

    assert_refused(get(token_for()))


def test_an_error_of_ciam_that_is_not_about_the_token_is_not_cached(
    ciam: FakeCiam,
) -> None:
    token = token_for()
    for code, status in (("too_many_requests", 429), ("unknown.code", 503)):
        ciam.fail("api", code=code)
        assert get(token).status_code == status
    assert get(token).status_code == 200
