"""An access token is verified by CIAM or by its signature, and is for this client."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from pytest_django.fixtures import Settings
from werkzeug import Response

from ciam_django.client import CiamClient
from ciam_django.client.access_tokens import try_signature, verify_token_at_ciam
from ciam_django.client.app import ciam_app
from ciam_django.testing import FakeCiam, server
from ciam_django.testing.accounts import PASSWORD
from ciam_django.testing.endpoints import Route
from ciam_django.testing.forgeries import FORGERIES
from ciam_django.testing.tenant import APP_ID
from tests.accounts.test_bearer import keys_in_cache, move_clock
from tests.browser import Browser
from tests.drf.test_authentication import (
    PRESENTED,
    assert_refused,
    get,
    site,  # noqa: F401  (an autouse fixture)
    token_calls,
    token_for,
    unsigned,
)
from tests.rows import for_each_row

pytestmark = pytest.mark.django_db


# --- The client of a token --------------------------------------------------------------------


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
@pytest.mark.covering
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
@pytest.mark.covering
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


@for_each_row(
    "own, of_ciam, seconds",
    [(600, 300, 300), (300, 600, 300), (300, None, 300), (None, 300, 300), (None, None, None)],
)
def test_a_grant_ends_with_the_earlier_of_the_two_times(
    ciam: FakeCiam, own: int | None, of_ciam: int | None, seconds: int | None
) -> None:
    now = int(time.time())
    ciam.access_token_claims = {"exp": now + own if own else None}
    token = token_for()
    ciam.token_check = {"exp": now + of_ciam} if of_ciam else {}
    grant = verify_token_at_ciam(ciam_app(), token)

    assert grant.expires_at == (now + seconds if seconds else 0)


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
@pytest.mark.covering
def test_the_content_of_a_token_proves_nothing_without_ciam(token: str, ciam: FakeCiam) -> None:
    assert_refused(get(token))

    assert token_calls(ciam) == ["check"]


# --- jwt --------------------------------------------------------------------------------------


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


# Forgery -> True if the forged claim does not matter for an access token.
IS_STILL_VALID: dict[str, bool] = dict.fromkeys(FORGERIES, False) | {
    # These forgeries concern only the id_token, or userinfo, which the verification does not use.
    "no_nonce": True,
    "no_id_token": True,
    "userinfo_other_sub": True,
    "userinfo_no_sub": True,
    # RFC 9068 requires aud, but CIAM names the client of the token in client_id.
    "no_aud": True,
    "as_ciam_documents": True,
}


@pytest.mark.parametrize("forgery", IS_STILL_VALID)
@pytest.mark.covering
def test_a_forged_token_is_refused_unless_the_access_token_is_valid_without_the_claim(
    forgery: str, signing_ciam: FakeCiam
) -> None:
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


@pytest.mark.parametrize("algorithms", [None, "RS256"])
def test_metadata_without_algorithms_verifies_no_token_with_a_shared_secret(
    algorithms: Any, signing_ciam: FakeCiam
) -> None:
    signing_ciam.metadata = {"id_token_signing_alg_values_supported": algorithms}
    signing_ciam.forge("alg_hs256")

    assert_refused(get(token_for()))


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_only_a_token_that_ciam_has_signed_has_a_valid_signature(
    fake_ciam: FakeCiam, settings: Settings, mode: str
) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client(mode)}
    fake_ciam.signs_access_tokens = True
    token = token_for()

    assert try_signature(ciam_app(), token) is (mode == "oidc")
    for other in (unsigned({"sub": "li"}), f"{token[:-4]}AAAA", "random", "a.b.c"):
        assert not try_signature(ciam_app(), other)


def test_no_token_has_a_valid_signature_while_the_keys_cannot_be_loaded(
    fake_ciam: FakeCiam, settings: Settings
) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client("oidc")}
    fake_ciam.signs_access_tokens = True
    token = token_for()
    fake_ciam.misbehave("jwks", "reset", times=None)

    assert not try_signature(ciam_app(), token)


@pytest.mark.parametrize("algorithms", [["HS256"], ["none"], [], ["unheard-of", 7]], ids=str)
def test_metadata_without_a_usable_algorithm_is_a_misconfiguration(
    algorithms: Any, signing_ciam: FakeCiam
) -> None:
    signing_ciam.metadata = {"id_token_signing_alg_values_supported": algorithms}
    signing_ciam.forge("alg_hs256")
    response = get(token_for())

    assert (response.status_code, response.json()["code"]) == (500, "bad_configuration")
    assert not User.objects.exists()


# --- The documented answers of CIAM's check ---------------------------------------------------


def plan_check(ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch, body: Any, status: int) -> None:
    """Let the fake answer ``user/token/check`` with a body of CIAM's documentation."""
    response = Response(json.dumps(body), status, mimetype="application/json")
    route = Route("api", ("GET",), lambda tenant, request: response)
    monkeypatch.setitem(server._ROUTES, "user/token/check", route)


def test_the_documented_good_answer_grants_the_scopes_of_the_token(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_for()
    plan_check(
        ciam, monkeypatch, {"success": True, "code": 200, "message": None, "data": None}, 200
    )
    response = get(token)

    assert (response.status_code, response.json()["scopes"]) == (200, ["USER_API"])


@pytest.mark.parametrize("status", [200, 400, 401])
def test_the_documented_bad_answer_refuses_the_token_and_its_scopes(
    status: int, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_for()
    body = {"error": "invalid_token", "error_description": f"Invalid access token: {token}"}
    plan_check(ciam, monkeypatch, body, status)

    assert_refused(get(token))
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "answer",
    [
        {"active": False},
        {"active": "false"},
        {"active": 0},
        {"active": ""},
        {"userId": "somebody-else"},
        {"uuid": "somebody-else"},
        {"sub": "somebody-else"},
        {"userId": 7},
        {"userId": ["li"]},
    ],
    ids=str,
)
def test_an_answer_about_an_inactive_token_or_another_person_refuses_the_token(
    answer: dict[str, Any], ciam: FakeCiam
) -> None:
    token = token_for()
    ciam.token_check = answer

    assert_refused(get(token))
    assert not User.objects.exists()


@pytest.mark.parametrize("active", [True, "true", 1, None])
def test_an_answer_that_names_the_same_person_is_accepted(active: object, ciam: FakeCiam) -> None:
    token = token_for()
    user_id = ciam.access_tokens[token].user_id
    ciam.token_check = {"active": active, "userId": user_id, "uuid": user_id, "sub": "", "x": None}

    assert get(token).status_code == 200
