"""An access token is verified by CIAM or by its signature, and is for this client."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django.client import CiamClient
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import PASSWORD
from ciam_django.testing.forgeries import FORGERIES
from ciam_django.testing.tenant import APP_ID
from tests.accounts.test_bearer import keys_in_cache, later
from tests.browser import Browser
from tests.drf.test_authentication import (
    PRESENTED,
    asked,
    get,
    refused,
    site,  # noqa: F401  (an autouse fixture)
    token_for,
    unsigned,
)

pytestmark = pytest.mark.django_db


# --- For whom a token is ----------------------------------------------------------------------


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
def test_what_a_token_says_of_itself_can_keep_it_out(
    claims: dict[str, Any], ciam: FakeCiam
) -> None:
    ciam.access_token_claims = claims
    token = token_for()

    refused(get(token))
    assert not asked(ciam)


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
def test_what_it_does_not_say_is_for_ciam_to_judge(claims: dict[str, Any], ciam: FakeCiam) -> None:
    ciam.access_token_claims = claims

    assert get(token_for()).status_code == 200


def test_a_token_for_nobody_named_could_be_another_applications(
    ciam: FakeCiam, settings: Settings
) -> None:
    ciam.access_token_claims = {"client_id": None}
    refused(get(token_for()))
    ciam.token_check = {"client_id": APP_ID}
    assert get(token_for()).status_code == 200
    ciam.token_check = {}
    settings.CIAM_BEARER_AUDIENCES = ["*"]
    assert get(token_for()).status_code == 200


@pytest.mark.parametrize("member", ["aud", "azp", "client_id", "clientId", "idaasAppId"])
def test_a_token_that_ciam_says_is_for_others_is_refused(member: str, ciam: FakeCiam) -> None:
    token = token_for()
    ciam.token_check = {member: "another_app"}

    refused(get(token))
    assert not User.objects.exists()


@pytest.mark.parametrize("audiences", [["mobile_app"], ["*"]])
def test_others_can_be_let_in(audiences: list[str], ciam: FakeCiam, settings: Settings) -> None:
    ciam.client_id_of_tokens = "mobile_app"
    token = token_for()
    refused(get(token))

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
def test_a_token_proves_nothing_of_itself(token: str, ciam: FakeCiam) -> None:
    refused(get(token))

    assert asked(ciam) == ["check"]


# --- jwt --------------------------------------------------------------------------------------


@pytest.fixture
def signing(fake_ciam: FakeCiam, settings: Settings) -> FakeCiam:
    """A CIAM whose access tokens can be proved without it."""
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client("oidc")}
    settings.CIAM_BEARER = "jwt"
    settings.CIAM_TRY_LIMITS = {}
    fake_ciam.signs_access_tokens = True
    return fake_ciam


def test_a_signed_token_needs_no_question(signing: FakeCiam) -> None:
    response = get(token_for())

    assert response.json()["scopes"] == ["USER_API"]
    assert not asked(signing)


def test_it_is_of_the_user_who_has_signed_in_by_browser(signing: FakeCiam) -> None:
    browser = Browser(signing)
    browser.sign_in("li")

    assert get(token_for("li")).json()["user"] == int(browser.user_id or 0)


# What an access token differs in from a good one, and whether it is good all the same.
LIES: dict[str, bool] = dict.fromkeys(FORGERIES, False) | {
    # These are about an id_token alone, or about userinfo, which isn't asked.
    "no_nonce": True,
    "no_id_token": True,
    "userinfo_other_sub": True,
    "userinfo_no_sub": True,
    # RFC 9068 wants one; whose token it is, says `client_id`.
    "no_aud": True,
    "as_ciam_documents": True,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_forged_token_is_refused(lie: str, signing: FakeCiam) -> None:
    signing.api_id_token = "ciam"
    signing.forge(lie)
    response = get(token_for())

    if LIES[lie]:
        assert response.status_code == 200
    else:
        refused(response)
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
def test_a_token_of_ciams_own_has_to_fit(claims: dict[str, Any], signing: FakeCiam) -> None:
    signing.access_token_claims = claims
    token = token_for()

    refused(get(token))
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
def test_it_has_to_be_typed_as_an_access_token(
    typ: str, scope: str | None, is_good: bool, signing: FakeCiam
) -> None:
    signing.access_token_header = {"typ": typ}
    signing.access_token_claims = {"scope": scope}
    response = get(token_for())

    assert (response.status_code == 200) is is_good, response.content
    if not is_good:
        refused(response)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": None, "scp": ["a", "b"]}, ["a", "b"]),
        ({"scope": "a b", "scp": "c"}, ["a", "b", "c"]),
        ({"scope": 7, "scp": [7, "a"]}, ["a"]),
        ({"scope": ""}, []),
    ],
)
def test_scopes_are_a_text_or_a_list(
    claims: dict[str, Any], scopes: list[str], signing: FakeCiam
) -> None:
    signing.access_token_claims = claims

    assert get(token_for()).json()["scopes"] == scopes


def test_an_id_token_is_no_access_token(signing: FakeCiam) -> None:
    signed_in = CiamClient().password_login("li", PASSWORD)

    refused(get(signed_in.data["id_token"]))


def test_an_applications_token_is_no_persons(signing: FakeCiam) -> None:
    token_for()
    (token,) = signing.application_tokens

    refused(get(token))


@pytest.mark.parametrize("member", ["client_id", "azp"])
def test_nor_is_that_of_an_application_that_is_let_in(
    member: str, signing: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_BEARER_AUDIENCES = ["mobile_app"]
    signing.access_token_claims = {member: "mobile_app", "sub": "mobile_app"}

    refused(get(token_for()))
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
def test_a_header_of_anybodys_is_no_proof(head: dict[str, Any], signing: FakeCiam) -> None:
    claims = {"iss": signing.issuer, "sub": "li", "aud": APP_ID, "exp": int(time.time()) + 60}

    refused(get(unsigned(claims, **{"typ": "at+jwt", **head})))


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "..", "a.b.c.d.e", "é.é.é".encode().hex()])
def test_what_is_no_jwt_is_refused(token: str, signing: FakeCiam) -> None:
    refused(get(token))


def test_a_key_that_was_rotated_is_fetched(signing: FakeCiam) -> None:
    assert get(token_for()).status_code == 200
    signing.rotate_keys()

    assert get(token_for()).status_code == 200
    assert [request.stage for request in signing.requests].count("jwks") == 2


def test_many_unknown_keys_are_fetched_for_once(signing: FakeCiam) -> None:
    assert get(token_for()).status_code == 200
    signing.access_token_header = {"kid": "unknown"}
    for _ in range(4):
        refused(get(token_for()))

    assert [request.stage for request in signing.requests].count("jwks") <= 2


def test_keys_that_cant_be_had_are_no_fault_of_the_tokens(signing: FakeCiam) -> None:
    token = token_for()
    cache.clear()
    signing.misbehave("jwks", "reset", times=None)

    assert get(token).status_code == 503


def test_a_token_with_no_audience_at_all_can_be_let_in(
    signing: FakeCiam, settings: Settings
) -> None:
    signing.access_token_claims = {"aud": None, "client_id": None}
    token = token_for()
    refused(get(token))
    settings.CIAM_BEARER_AUDIENCES = ["*"]

    assert get(token).status_code == 200


def test_a_proof_is_remembered_no_longer_than_the_token_lasts(
    signing: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing.token_lifetime = 10
    token = token_for()
    assert get(token).status_code == 200
    (key,) = [key for key in keys_in_cache() if "bearer" in key]
    later(monkeypatch, 11)

    assert cache.get(key) is None
    # CIAM's clock may be two minutes ahead of ours.
    assert get(token).status_code == 200
    later(monkeypatch, 140)
    refused(get(token))


def test_ciams_own_mode_has_no_keys(fake_ciam: FakeCiam, settings: Settings) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client("ciam")}
    settings.CIAM_BEARER = "jwt"

    response = get(token_for())

    assert response.status_code == 500
    assert response.json()["code"] == "bad_configuration"


def test_a_provider_without_userinfo_cant_be_asked(fake_ciam: FakeCiam, settings: Settings) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client("oidc")}
    token = token_for()
    fake_ciam.metadata = {"userinfo_endpoint": None}

    response = get(token)

    assert response.status_code == 500
    assert response.json()["code"] == "bad_configuration"


@pytest.mark.parametrize("algorithms", [["HS256"], ["none"], [], None, "RS256"])
def test_metadata_that_names_no_proof_proves_nothing(algorithms: Any, signing: FakeCiam) -> None:
    signing.metadata = {"id_token_signing_alg_values_supported": algorithms}
    signing.forge("alg_hs256")

    refused(get(token_for()))
