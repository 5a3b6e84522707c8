"""The client authenticates by a JWT that its private key signs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any
from urllib.parse import parse_qs

import pytest
from authlib.integrations.django_client import OAuth
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from pytest_django.fixtures import Settings

from ciam_django.client import CiamClient, ciam_compliance_fix
from ciam_django.client.app import ciam_app
from ciam_django.client.private_key_jwt import assertion_parameters, signing_key_of
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam, keys
from tests.client.test_oauth import CALLBACK, fetch_token
from tests.rows import for_each_row

RSA = keys.first_key()
EC = ECKey.generate_key("P-256", {"kid": "ec-1"}, private=True)


def public(key: RSAKey | ECKey) -> RSAKey | ECKey:
    return type(key).import_key(key.as_dict(private=False))


def use_key(ciam: FakeCiam, settings: Settings, mode: str, secret: object) -> None:
    """Let the project authenticate by a key, and the fake accept only assertions."""
    scope = {"oidc": "openid", "ciam": "USER_API"}[mode]
    settings.AUTHLIB_OAUTH_CLIENTS = {
        "ciam": {
            **ciam.client(mode),
            "client_secret": secret,
            "client_kwargs": {"scope": scope, "token_endpoint_auth_method": "private_key_jwt"},
        }
    }


@for_each_row("secret", [
    RSA, EC, RSA.as_pem(private=True), EC.as_pem(private=True).decode(),
    EC.as_dict(private=True), json.dumps(RSA.as_dict(private=True)),
])  # fmt: skip
def test_a_private_key_is_read_from_each_form(secret: Any) -> None:
    key = signing_key_of(secret)

    assert key is not None
    assert key.thumbprint() in {RSA.thumbprint(), EC.thumbprint()}


@for_each_row("key, members, algorithm", [
    (EC, {"use": "sig"}, "ES256"), (EC, {"key_ops": ["sign"]}, "ES256"), (EC, {"use": "enc"}, ""),
    (EC, {"key_ops": ["verify"]}, ""), (EC, {"alg": "ES384"}, ""), (RSA, {"alg": "PS256"}, "PS256"),
    (RSA, {"alg": "RSA-OAEP"}, ""), (RSA, {"alg": "RS256"}, "RS256"),
    (RSA, {"alg": "RS384"}, "RS384"), (RSA, {"alg": "RS512"}, "RS512"),
    (RSA, {"alg": "PS384"}, "PS384"), (RSA, {"alg": "PS512"}, "PS512"),
])  # fmt: skip
def test_the_members_of_a_jwk_choose_the_algorithm_or_forbid_a_signature(
    key: Any, members: dict[str, Any], algorithm: str
) -> None:
    own = key.as_dict(private=True)
    plain = {name: own[name] for name in own if name not in ("alg", "use", "key_ops")}
    secret = type(key).import_key({**plain, **members})

    found = signing_key_of(secret)
    assert (found is not None) is bool(algorithm)
    if found is not None:
        assertion = assertion_parameters("shop", secret, "https://login.example/token")
        checking = type(key).import_key(type(key).import_key(plain).as_pem(private=False))
        token = jwt.decode(assertion["client_assertion"], checking, [algorithm])
        assert token.header["alg"] == algorithm


@for_each_row("secret", [
    None, "", "a secret", "{", "{}", "[" * 100_000, "{" + '"a":{' * 100_000, b"\xff", 7, [], {},
    {"kty": "RSA"}, {"kty": 7},
    {"kty": object()}, RSA.as_pem(private=False), EC.as_dict(private=False), public(RSA),
    OctKey.generate_key(256), OctKey.generate_key(256).as_dict(private=True),
    OKPKey.generate_key("Ed25519").as_pem(private=True),
    ECKey.generate_key("secp256k1").as_pem(private=True),
])  # fmt: skip
def test_any_other_secret_is_no_private_key(secret: Any) -> None:
    assert signing_key_of(secret) is None
    with pytest.raises(CiamError) as raised:
        assertion_parameters("shop", secret, "https://login.example/token")
    assert raised.value.code == "bad_configuration"
    assert "client_secret" in raised.value.upstream_text


@for_each_row(
    "key, algorithm",
    [
        (RSA, "RS256"),
        (EC, "ES256"),
        (ECKey.generate_key("P-384"), "ES384"),
        (ECKey.generate_key("P-521"), "ES512"),
    ],
)
def test_an_assertion_names_the_client_the_url_and_the_key(key: Any, algorithm: str) -> None:
    first, second = (
        jwt.decode(
            assertion_parameters("shop", key, "https://login.example/token")["client_assertion"],
            public(key),
            [algorithm],
        )
        for _ in range(2)
    )

    assert first.header["alg"] == algorithm
    assert first.header.get("kid") == key.kid
    assert (first.claims["iss"], first.claims["sub"]) == ("shop", "shop")
    assert first.claims["aud"] == "https://login.example/token"
    assert first.claims["exp"] - first.claims["iat"] == 120
    assert first.claims["jti"] != second.claims["jti"]


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("key", [RSA, EC], ids=["RSA", "EC"])
def test_codes_and_refresh_tokens_are_exchanged_with_an_assertion(
    key: Any, ciam: FakeCiam, mode: str, settings: Settings
) -> None:
    ciam.client_key = public(key)
    use_key(ciam, settings, mode, key.as_pem(private=True).decode())
    app = ciam_app()
    token = fetch_token(ciam, app)
    assert app.refresh_tokens(token["refresh_token"])["access_token"]

    requests = [request for request in ciam.requests if request.stage in ("token", "refresh")]
    assert len(requests) == 2
    for request in requests:
        form = parse_qs(request.body.decode())
        assert {"client_assertion", "client_assertion_type"} <= set(form)
        assert "client_secret" not in form
        assert "Authorization" not in request.headers


@pytest.mark.parametrize("scope", ["APPLICATION_API", "MANAGEMENT_APPLICATION_API"])
def test_the_application_token_is_requested_with_an_assertion(
    scope: str, ciam: FakeCiam, mode: str, settings: Settings
) -> None:
    ciam.client_key = public(EC)
    use_key(ciam, settings, mode, EC.as_dict(private=True))
    if scope == "APPLICATION_API":
        assert CiamClient().login_page().methods
    else:
        with pytest.raises(CiamError, match=r"User\.Not\.Exist"):
            CiamClient().find_user("nobody")

    (request,) = [request for request in ciam.requests if request.stage == "application"]
    body = json.loads(request.body)
    assert "client_secret" not in body
    assert str(EC.as_dict(private=True)["d"]) not in request.body.decode()


@pytest.mark.parametrize("mode", ["oidc"])
def test_the_wrong_key_and_a_secret_are_refused(
    ciam: FakeCiam, mode: str, settings: Settings
) -> None:
    ciam.client_key = public(keys.other_key())
    use_key(ciam, settings, mode, RSA.as_pem(private=True).decode())
    with pytest.raises(CiamError) as raised:
        fetch_token(ciam, ciam_app())
    assert (raised.value.code, raised.value.stage) == ("invalid_client", "token")

    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client(mode)}
    with pytest.raises(CiamError) as raised:
        fetch_token(ciam, ciam_app())
    assert (raised.value.code, raised.value.stage) == ("invalid_client", "token")


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_secret_in_place_of_the_key_is_a_misconfiguration_and_is_not_sent(
    ciam: FakeCiam, mode: str, settings: Settings
) -> None:
    use_key(ciam, settings, mode, "a-secret-text")
    for call in (lambda: ciam_app().refresh_tokens("r"), lambda: CiamClient().login_page()):
        with pytest.raises(CiamError) as raised:
            call()
        assert raised.value.code == "bad_configuration"
        assert "a-secret-text" not in raised.value.upstream_text
    assert not [request for request in ciam.requests if b"a-secret-text" in request.body]


def test_a_private_key_without_a_method_signs_and_is_not_sent(
    ciam: FakeCiam, mode: str, settings: Settings
) -> None:
    ciam.client_key = public(RSA)
    secret = RSA.as_pem(private=True).decode()
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": {**ciam.client(mode), "client_secret": secret}}
    # The documented token endpoint of CIAM's own mode accepts no assertion.
    with nullcontext() if mode == "oidc" else pytest.raises(CiamError):
        fetch_token(ciam, ciam_app())
    CiamClient().login_page()

    requests = [request for request in ciam.requests if request.stage in ("token", "application")]
    assert len(requests) == 2
    for request in requests:
        assert b"client_assertion" in request.body
        assert b"PRIVATE" not in request.body
        assert "Authorization" not in request.headers


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("own_method", [True, False])
def test_a_plain_client_of_authlib_can_authenticate_by_a_key(
    own_method: bool, ciam: FakeCiam, mode: str
) -> None:
    ciam.client_key = public(RSA)
    config: dict[str, Any] = {
        **ciam.client(mode),
        "client_secret": RSA,
        "client_kwargs": {
            "scope": "openid",
            "code_challenge_method": "S256",
            "token_endpoint_auth_method": "private_key_jwt",
        },
    }
    if own_method:
        config["client_auth_methods"] = [PrivateKeyJWT(headers={"kid": "of the project"})]
    client = OAuth().register("shop", compliance_fix=ciam_compliance_fix, **config)
    begun = client.create_authorization_url(CALLBACK)
    code = parse_qs(ciam.authorize(begun["url"]).partition("?")[2])["code"][0]
    token = client.fetch_access_token(
        redirect_uri=CALLBACK, code=code, code_verifier=begun["code_verifier"]
    )
    assert token["access_token"]

    (request,) = [request for request in ciam.requests if request.stage == "token"]
    assertion = parse_qs(request.body.decode())["client_assertion"][0]
    kid = jwt.decode(assertion, public(RSA), ["RS256"]).header["kid"]
    assert kid == ("of the project" if own_method else RSA.kid)
