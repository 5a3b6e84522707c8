"""Authlib's client for CIAM, in its two modes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from authlib.integrations.django_client import DjangoOAuth2App, OAuth
from django.core.cache import cache
from joserfc import jwt
from joserfc.jws import JWSRegistry
from pytest_django.fixtures import Settings

from ciam_django.client import CiamClient, ciam_compliance_fix, circuit_breaker
from ciam_django.client.app import ciam_app
from ciam_django.client.oauth import (
    CiamApp,
    _auth_method,
    _is_address_wrong,
    clients_without_fix_in,
    validate_issuer,
)
from ciam_django.client.person import identify_person, issuer_of
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam, endpoints, keys
from tests.browser import query_of
from tests.rows import for_each_row

CALLBACK = "http://testserver/ciam/callback/"
NONCE = "n" * 32
VERIFIER = "v" * 64


# Stage -> a call of the token endpoint.
TOKEN_CALLS: dict[str, Callable[[CiamApp], object]] = {
    "token": lambda app: app.exchange_code(code="c", redirect_uri="", code_verifier=VERIFIER),
    "refresh": lambda app: app.refresh_tokens("r"),
}


def address_of(app: CiamApp) -> str:
    return app.authorization_url(
        redirect_uri=CALLBACK, state="s" * 32, nonce=NONCE, code_verifier=VERIFIER
    )


def fetch_token(ciam: FakeCiam, app: CiamApp, verifier: str = VERIFIER) -> dict[str, Any]:
    code = query_of(ciam.authorize(address_of(app), username="li"))["code"]
    return app.exchange_code(code=code, redirect_uri=CALLBACK, code_verifier=verifier)


def test_a_code_is_exchanged_for_a_token_in_both_modes(ciam: FakeCiam) -> None:
    token = fetch_token(ciam, ciam_app())

    assert token["token_type"] == "Bearer"
    assert token["expires_at"] > 0


def test_only_ciams_own_token_endpoint_gets_a_json_body(ciam: FakeCiam, mode: str) -> None:
    fetch_token(ciam, ciam_app())
    request = next(r for r in ciam.requests if r.stage == "token")
    content_type = {name.lower(): value for name, value in request.headers.items()}["content-type"]

    assert content_type.startswith(
        {"oidc": "application/x-www-form-urlencoded", "ciam": "application/json"}[mode]
    )


def test_pkce_cannot_be_switched_off(ciam: FakeCiam, settings: Settings) -> None:
    client = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
    kwargs = {**client.get("client_kwargs", {}), "code_challenge_method": None, "scope": "openid x"}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": {**client, "client_kwargs": kwargs}}
    query = query_of(address_of(ciam_app()))

    assert query["code_challenge_method"] == "S256"
    # The project's other options override ours.
    assert query["scope"] == "openid x"


@pytest.mark.parametrize("mode", ["ciam"])
def test_a_malformed_authorize_url_is_an_error_of_the_authorize_stage(
    ciam: FakeCiam, settings: Settings
) -> None:
    client = {**settings.AUTHLIB_OAUTH_CLIENTS["ciam"], "authorize_url": "https://[ciam/authorize"}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    with pytest.raises(CiamError) as raised:
        address_of(ciam_app())

    assert raised.value.stage == "authorize"


def test_only_the_page_of_openid_connect_gets_the_wishes_for_its_page(
    ciam: FakeCiam, settings: Settings, mode: str
) -> None:
    client = {**settings.AUTHLIB_OAUTH_CLIENTS["ciam"], "authorize_params": {"theme": "dark"}}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    proofs: dict[str, Any] = {"state": "s" * 32, "nonce": NONCE, "code_verifier": VERIFIER}
    wishes: list[dict[str, Any]] = [{}, {"must_log_in": True, "languages": ["zh-Hans", "zh-CN"]}]
    plain, wanted = (
        query_of(ciam_app().authorization_url(redirect_uri=CALLBACK, **proofs, **each))
        for each in wishes
    )

    expected = {"prompt": "login", "ui_locales": "zh-Hans zh-CN"} if mode == "oidc" else {}
    assert {name: wanted[name] for name in set(wanted) - set(plain)} == expected
    assert (plain["theme"], plain["state"]) == ("dark", "s" * 32)


@pytest.mark.parametrize("mode", ["ciam"])
def test_ciams_own_mode_asks_for_the_user_api_with_a_json_body_by_default(
    ciam: FakeCiam, settings: Settings
) -> None:
    client = {**settings.AUTHLIB_OAUTH_CLIENTS["ciam"]}
    client.pop("client_kwargs", None)
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    options = ciam_app().client_kwargs

    assert query_of(address_of(ciam_app()))["scope"] == "USER_API"
    assert options["token_endpoint_auth_method"] == "client_secret_json"


def test_a_client_without_the_fix_is_found_in_any_module() -> None:
    registry = OAuth()
    registry.register("shop", client_id="x")
    registry.register("ciam", client_id="x", compliance_fix=ciam_compliance_fix)
    module = ModuleType("shop.oauth")
    vars(module).update(oauth=registry, other=object())

    assert clients_without_fix_in([None, 7, module]) == ["shop"]


def test_a_wrong_code_verifier_gets_no_token(ciam: FakeCiam) -> None:
    with pytest.raises(CiamError) as raised:
        fetch_token(ciam, ciam_app(), verifier="w" * 64)

    assert raised.value.stage == "token"
    assert raised.value.code == "invalid_grant"


def test_a_lost_connection_to_the_token_endpoint_is_an_error_of_the_token_stage(
    ciam: FakeCiam,
) -> None:
    app = ciam_app()
    ciam.misbehave("token", "reset")
    with pytest.raises(CiamError) as raised:
        fetch_token(ciam, app)

    assert (raised.value.code, raised.value.stage) == ("no_connection", "token")


def test_a_changed_setting_creates_a_new_app(ciam: FakeCiam, settings: Settings) -> None:
    app = ciam_app()
    assert ciam_app() is app

    settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
    assert ciam_app() is not app


@pytest.mark.parametrize(
    "client",
    [None, {}, {"client_id": "x"}, {"server_metadata_url": "https://x"},
     {"client_id": "x", "authorize_url": "https://x"}],
)  # fmt: skip
def test_an_incomplete_client_is_a_misconfiguration(
    settings: Settings, client: dict[str, str] | None
) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    with pytest.raises(CiamError) as raised:
        ciam_app()

    assert raised.value.code == "bad_configuration"


@pytest.mark.parametrize(
    "clients",
    [
        ["ciam"],
        {"ciam": "x"},
        {"ciam": {"client_id": "x", "server_metadata_url": "https://x", "client_kwargs": "x"}},
    ],
)
def test_a_client_of_another_type_is_a_misconfiguration(settings: Settings, clients: Any) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = clients
    with pytest.raises(CiamError) as raised:
        ciam_app()

    assert raised.value.code == "bad_configuration"


def test_a_failed_refresh_does_not_update_the_token(ciam: FakeCiam) -> None:
    app = ciam_app()
    token = fetch_token(ciam, app)
    ciam.fail("refresh", code="Operation.Failure.User.Disabled", status=200)
    updates: list[object] = []
    with app._get_oauth_client(**app.load_server_metadata()) as session:
        session.update_token = lambda *args, **kwargs: updates.append(args)
        session.token = token
        with pytest.raises(CiamError) as raised:
            session.refresh_token(
                app.access_token_url or app.load_server_metadata()["token_endpoint"],
                refresh_token=token["refresh_token"],
            )

    assert raised.value.code == "Operation.Failure.User.Disabled"
    assert not updates


@pytest.mark.parametrize("is_list", [False, True])
def test_a_refresh_requests_no_scope_because_the_user_may_have_granted_less(
    ciam: FakeCiam, settings: Settings, mode: str, is_list: bool
) -> None:
    names = {"oidc": ["openid", "USER_API"], "ciam": ["USER_API", "MORE"]}[mode]
    scope = names if is_list else " ".join(names)
    client = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": {**client, "client_kwargs": {"scope": scope}}}
    if mode == "ciam":
        kwargs = {"scope": scope, "token_endpoint_auth_method": "client_secret_json"}
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": {**client, "client_kwargs": kwargs}}
    ciam.granted_scope = names[0]
    app = ciam_app()
    token = fetch_token(ciam, app)

    assert app.refresh_tokens(token["refresh_token"])["access_token"] != token["access_token"]
    (request,) = [request for request in ciam.requests if request.stage == "refresh"]
    assert b"scope" not in request.body


@for_each_row(
    "members, expires_in",
    [
        ({"expires_in": "3600"}, 3600),
        ({"expires_in": 3600}, 3600),
        ({"expires_in": "soon"}, 0),
        ({"expires_in": None}, None),
        ({"token_type": None, "refresh_token": None, "scope": None}, 7200),
    ],
)
def test_texts_of_digits_and_null_members_of_a_token_response_are_read(
    members: dict[str, Any],
    expires_in: int | None,
    ciam: FakeCiam,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issue = endpoints.issue_tokens
    monkeypatch.setattr(endpoints, "issue_tokens", lambda *args: {**issue(*args), **members})
    app = ciam_app()
    token = fetch_token(ciam, app)

    assert token["token_type"] == "Bearer"
    assert token.get("expires_in") == expires_in
    assert bool(token.get("expires_at")) is bool(expires_in)
    assert None not in token.values()
    monkeypatch.undo()


def test_an_unknown_token_url_is_a_misconfiguration(ciam: FakeCiam) -> None:
    app = ciam_app()
    for stage, call in TOKEN_CALLS.items():
        ciam.fail(stage, code="Resource.NotFound", status=404)
        with pytest.raises(CiamError) as raised:
            call(app)
        assert (raised.value.code, raised.value.type_code, raised.value.stage) == (
            "bad_configuration",
            "Resource.NotFound",
            stage,
        )


@pytest.mark.parametrize("mode", ["ciam"])
def test_an_unreachable_url_of_the_settings_is_named(ciam: FakeCiam, settings: Settings) -> None:
    calls: dict[str, tuple[str, Callable[[CiamApp], object]]] = {
        "token": ("access_token_url", TOKEN_CALLS["token"]),
        "api": ("api_base_url", lambda app: CiamClient(app).user_info("t")),
    }
    for stage, (setting, call) in calls.items():
        ciam.unreachable(stage, "refused")
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("ciam")}
        with pytest.raises(CiamError) as raised:
            call(ciam_app())
        assert raised.value.code == "no_connection"
        host = urlsplit(ciam.base_urls[stage]).netloc
        assert f'["{setting}"], host {host}: ' in raised.value.upstream_text
        ciam.reset()


@pytest.mark.parametrize(
    ("offered", "secret", "method"),
    [
        (None, "s", "client_secret_basic"),
        (["client_secret_basic", "client_secret_post"], "s", "client_secret_basic"),
        (["client_secret_post"], "s", "client_secret_post"),
        (["client_secret_json"], "s", "client_secret_json"),
        (["client_secret_json", "client_secret_post"], "s", "client_secret_post"),
        (["private_key_jwt"], "s", "client_secret_post"),
        (None, None, "none"),
    ],
)
def test_the_client_authenticates_with_a_method_of_the_metadata(
    offered: list[str] | None, secret: str | None, method: str
) -> None:
    metadata = {} if offered is None else {"token_endpoint_auth_methods_supported": offered}

    assert _auth_method(metadata, secret) == method


class TestOidc:
    """Metadata and verified id_tokens, which only OIDC mode has."""

    @pytest.fixture
    def mode(self) -> str:
        return "oidc"

    def test_the_claims_of_a_valid_id_token_are_returned(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        claims = app.verify_id_token(fetch_token(ciam, app), NONCE)

        assert claims["aud"] == app.client_id
        assert claims["sub"]

    @pytest.mark.parametrize(
        ("claims", "code"),
        [
            ({"iss": "https://evil.example"}, "invalid_claim"),
            ({"aud": "another"}, "invalid_claim"),
            ({"aud": "another", "azp": "ciam"}, "invalid_claim"),
            ({"azp": "another"}, "invalid_claim"),
            ({"nonce": "another"}, "invalid_claim"),
            ({"exp": 1_000_000_000}, "expired_token"),
            ({"nbf": 4_000_000_000}, "invalid_claim"),
            ({"iat": 4_000_000_000}, "invalid_claim"),
            ({"aud": ["fake_app_0001", "another"]}, "missing_claim"),
            ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "invalid_claim"),
            ({"sub": 7}, "invalid_claim"),
            # These are the claims of the id_token in CIAM's documentation.
            ({"iss": None, "aud": None, "nonce": None, "sub": "fake_app_0001"}, "missing_claim"),
            ({"sub": None}, "missing_claim"),
            ({"iss": None}, "missing_claim"),
            ({"nonce": None}, "missing_claim"),
            ({"exp": None}, "missing_claim"),
            ({"iat": None}, "missing_claim"),
            ({"sub": ""}, "invalid_claim"),
        ],
    )
    def test_a_wrong_claim_is_refused(
        self, ciam: FakeCiam, claims: dict[str, Any], code: str
    ) -> None:
        app = ciam_app()
        ciam.id_token_claims.update(claims)
        with pytest.raises(CiamError) as raised:
            app.verify_id_token(fetch_token(ciam, app), NONCE)

        assert (raised.value.code, raised.value.stage) == (code, "id_token")

    @pytest.mark.parametrize("alg", ["none", "HS256"])
    def test_an_algorithm_that_does_not_prove_the_signer_is_refused(
        self, ciam: FakeCiam, alg: str
    ) -> None:
        app = ciam_app()
        ciam.id_token_header.update(alg=alg)
        with pytest.raises(CiamError) as raised:
            app.verify_id_token(fetch_token(ciam, app), NONCE)

        assert raised.value.stage == "id_token"

    def test_a_token_answer_without_an_id_token_is_refused(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        token = fetch_token(ciam, app)
        del token["id_token"]
        with pytest.raises(CiamError) as raised:
            app.verify_id_token(token, NONCE)

        assert raised.value.code == "missing_id_token"

    def test_a_tampered_id_token_is_refused(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        token = fetch_token(ciam, app)
        head, body, signature = token["id_token"].split(".")
        token["id_token"] = f"{head}.{body}.{signature[::-1]}"
        with pytest.raises(CiamError) as raised:
            app.verify_id_token(token, NONCE)

        assert raised.value.code == "bad_signature"

    def test_rotated_keys_are_fetched_once_more(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        app.verify_id_token(fetch_token(ciam, app), NONCE)
        ciam.rotate_keys()

        assert app.verify_id_token(fetch_token(ciam, app), NONCE)["sub"]

    def test_incomplete_metadata_is_a_misconfiguration(self, ciam: FakeCiam) -> None:
        ciam.misbehave("discovery", "no_token")
        with pytest.raises(CiamError) as raised:
            address_of(ciam_app())
        assert raised.value.code == "bad_configuration"

    def test_the_scheme_javascript_is_refused_under_debug_too(
        self, ciam: FakeCiam, settings: Settings
    ) -> None:
        settings.DEBUG = True
        ciam.metadata = {"authorization_endpoint": "javascript:alert(1)"}
        with pytest.raises(CiamError) as raised:
            address_of(ciam_app())
        assert raised.value.code == "bad_configuration"

    def test_the_client_can_name_another_issuer_than_the_address_of_the_metadata(
        self, ciam: FakeCiam, settings: Settings
    ) -> None:
        ciam.metadata = {"issuer": "https://login.example/tenant"}
        ciam.id_token_claims = {"iss": "https://login.example/tenant"}
        client = {**ciam.client("oidc"), "issuer": "https://login.example/tenant"}
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
        app = ciam_app()

        assert app.verify_id_token(fetch_token(ciam, app), NONCE)["iss"] == client["issuer"]
        assert issuer_of(app) == client["issuer"]
        # The named issuer is the only issuer, also without the slash at its end.
        client["issuer"] += "/"
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
        cache.clear()
        with pytest.raises(CiamError) as raised:
            address_of(ciam_app())
        assert raised.value.code == "bad_configuration"

    def test_a_password_in_the_address_of_the_metadata_is_no_part_of_the_issuer(
        self, ciam: FakeCiam, settings: Settings
    ) -> None:
        client = ciam.client("oidc")
        client["server_metadata_url"] = client["server_metadata_url"].replace("//", "//li:secret@")
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
        assert issuer_of(ciam_app()) == ciam.issuer
        assert address_of(ciam_app())
        client["server_metadata_url"] += "?x"
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
        with pytest.raises(CiamError) as raised:
            address_of(ciam_app())

        assert "and must be http://127.0.0.1" in raised.value.upstream_text
        assert "secret" not in raised.value.upstream_text

    def test_an_issuer_may_end_in_a_slash(self, ciam: FakeCiam) -> None:
        ciam.issuer_has_slash = True
        app = ciam_app()
        person = identify_person(app, fetch_token(ciam, app), NONCE)

        assert person.issuer == ciam.issuer
        assert person.issuer.endswith("/")

    def test_a_failed_response_with_the_keys_is_a_failure_of_ciam(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        token = fetch_token(ciam, app)
        ciam.fail("jwks", code="Service.Internal.Error", status=500, text="sly")
        with pytest.raises(CiamError) as raised:
            app.verify_id_token(token, NONCE)

        assert (raised.value.code, raised.value.stage) == ("Service.Internal.Error", "id_token")
        assert "server_metadata_url" not in raised.value.upstream_text

    @pytest.mark.parametrize("url", ["https://[", "login.example/openid-configuration"])
    def test_a_malformed_metadata_url_is_a_misconfiguration(
        self, url: str, ciam: FakeCiam, settings: Settings
    ) -> None:
        client = {"client_id": "x", "client_secret": "y", "server_metadata_url": url}
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
        with pytest.raises(CiamError) as raised:
            address_of(ciam_app())

        assert raised.value.code == "bad_configuration"
        assert '["server_metadata_url"], host -: ' in raised.value.upstream_text

    def test_a_host_without_an_address_is_a_misconfiguration_and_a_password_is_not_logged(
        self, ciam: FakeCiam, settings: Settings
    ) -> None:
        url = "https://li:secret@no-such-host.invalid/.well-known/openid-configuration"
        client = {"client_id": "x", "client_secret": "y", "server_metadata_url": url}
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
        with pytest.raises(CiamError) as raised:
            address_of(ciam_app())

        assert raised.value.code == "bad_configuration"
        assert "host no-such-host.invalid: " in raised.value.upstream_text
        assert "secret@" not in raised.value.upstream_text

    def test_the_key_set_may_have_null_members(
        self, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        published = {"use": None, "alg": None, "key_ops": None, "x5t": None, "x5c": None}
        key_set = [{**key, **published} for key in ciam.published_keys]
        monkeypatch.setattr(type(ciam), "published_keys", key_set)
        app = ciam_app()

        assert app.verify_id_token(fetch_token(ciam, app), NONCE)["sub"]

    @pytest.mark.parametrize(
        ("nulls", "code"),
        [
            (["azp", "at_hash", "nbf", "auth_time", "acr", "amr", "email", "sid"], ""),
            (["iss"], "missing_claim"),
            (["aud"], "missing_claim"),
            (["exp"], "missing_claim"),
            (["nonce"], "missing_claim"),
            (["sub"], "missing_claim"),
        ],
        ids=str,
    )
    def test_a_claim_that_is_null_is_a_missing_claim(
        self, nulls: list[str], code: str, ciam: FakeCiam
    ) -> None:
        app = ciam_app()
        token = fetch_token(ciam, app)
        payload = token["id_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        header = {"alg": "RS256", "kid": ciam.key.kid}
        claims |= dict.fromkeys(nulls)
        token["id_token"] = keys.sign_token(header, claims, ciam.key)
        if not code:
            assert not set(nulls) & set(app.verify_id_token(token, NONCE))
            return
        with pytest.raises(CiamError) as raised:
            app.verify_id_token(token, NONCE)
        assert (raised.value.code, raised.value.stage) == (code, "id_token")

    @pytest.mark.parametrize("key", [{"kty": None}, {"kty": "oct", "k": "YQ", "use": None}, {}, 7])
    def test_a_key_set_without_a_usable_key_verifies_nothing(
        self, key: Any, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(ciam), "published_keys", [key])
        app = ciam_app()
        with pytest.raises(CiamError) as raised:
            app.verify_id_token(fetch_token(ciam, app), NONCE)

        assert (raised.value.code, raised.value.stage) == ("unreadable_answer", "id_token")

    def test_an_unreachable_endpoint_of_the_metadata_is_named(
        self, ciam: FakeCiam, settings: Settings
    ) -> None:
        for stage, call in TOKEN_CALLS.items():
            ciam.unreachable(stage, "refused")
            # The closed port of the stage before has the same address.
            circuit_breaker.forget_circuits()
            cache.clear()
            settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}
            with pytest.raises(CiamError) as raised:
                call(ciam_app())
            assert (raised.value.code, raised.value.stage) == ("no_connection", stage)
            host = urlsplit(ciam.base_urls[stage]).netloc
            assert f'["server_metadata_url"], host {host}: ' in raised.value.upstream_text
            ciam.reset()

    def test_metadata_is_fetched_once_an_hour(
        self, ciam: FakeCiam, advance_clock: Callable[[float], None]
    ) -> None:
        app = ciam_app()
        for seconds, count in ((0, 1), (3590, 1), (20, 2), (0, 2)):
            advance_clock(seconds)
            address_of(app)
            assert [request.stage for request in ciam.requests].count("discovery") == count

    @pytest.mark.parametrize("has_new_keys", [False, True])
    def test_only_the_algorithms_of_the_metadata_are_accepted(
        self, ciam: FakeCiam, has_new_keys: bool
    ) -> None:
        ciam.metadata = {"id_token_signing_alg_values_supported": ["ES256"]}
        app = ciam_app()
        app.fetch_jwk_set()
        if has_new_keys:
            ciam.rotate_keys()
        with pytest.raises(CiamError) as raised:
            app.verify_id_token(fetch_token(ciam, app), NONCE)

        assert raised.value.stage == "id_token"

    @pytest.mark.parametrize("offered", [None, "RS256", ["RS256", "HS256"]])
    def test_rs256_is_the_default_algorithm(self, ciam: FakeCiam, offered: object) -> None:
        ciam.metadata = {"id_token_signing_alg_values_supported": offered}
        app = ciam_app()

        assert app.verify_id_token(fetch_token(ciam, app), NONCE)["sub"]

    def test_a_header_parameter_that_is_not_registered_does_not_matter(
        self, ciam: FakeCiam
    ) -> None:
        app = ciam_app()
        token = fetch_token(ciam, app)
        payload = token["id_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        header = {"alg": "RS256", "kid": ciam.key.kid, "tenant": "x"}
        registry = JWSRegistry(strict_check_header=False)
        token["id_token"] = jwt.encode(header, claims, ciam.key, registry=registry)

        assert app.verify_id_token(token, NONCE)["sub"]

    @pytest.mark.parametrize(("age", "is_valid"), [(90, True), (150, False)])
    def test_the_clocks_may_differ_by_two_minutes(
        self, ciam: FakeCiam, age: int, is_valid: bool
    ) -> None:
        app = ciam_app()
        ciam.id_token_claims.update(exp=int(time.time()) - age)
        token = fetch_token(ciam, app)
        if is_valid:
            assert app.verify_id_token(token, NONCE)["sub"]
            return
        with pytest.raises(CiamError, match="expired_token"):
            app.verify_id_token(token, NONCE)

    def test_claims_need_a_userinfo_endpoint(self, ciam: FakeCiam) -> None:
        ciam.metadata = {"userinfo_endpoint": None}
        with pytest.raises(CiamError, match="bad_configuration") as raised:
            ciam_app().fetch_userinfo("a token")

        assert "userinfo_endpoint" in raised.value.upstream_text

    def test_a_key_for_encryption_verifies_nothing(
        self, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key_set = [{**key, "use": "enc"} for key in ciam.published_keys]
        monkeypatch.setattr(type(ciam), "published_keys", key_set)
        app = ciam_app()
        with pytest.raises(CiamError, match="unreadable_answer"):
            app.verify_id_token(fetch_token(ciam, app), NONCE)

    def test_the_logout_url_tells_who_signs_out(self, ciam: FakeCiam) -> None:
        url = ciam_app().logout_url(back_to="https://shop.example/", id_token="t")

        assert query_of(str(url))["id_token_hint"] == "t"

    @pytest.mark.parametrize(("seconds_left", "is_sent"), [(14, False), (16, True)])
    def test_a_refresh_token_needs_half_of_the_time_limit(
        self, ciam: FakeCiam, seconds_left: int, is_sent: bool
    ) -> None:
        app = ciam_app()
        app.load_server_metadata()

        @circuit_breaker.sharing_one_deadline
        def refresh() -> None:
            # The time limit is 30 seconds.
            circuit_breaker.call_deadline(seconds_left)
            app.refresh_tokens("an unknown token")

        with pytest.raises(CiamError, match="invalid_grant" if is_sent else "timeout"):
            refresh()

    def test_the_logout_url_has_the_client_and_the_page_to_return_to(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        endpoint = app.load_server_metadata()["end_session_endpoint"]
        url = app.logout_url(back_to="https://shop.example/bye/")

        assert url is not None
        assert url.partition("?")[0] == endpoint
        assert query_of(url) == {
            "post_logout_redirect_uri": "https://shop.example/bye/",
            "client_id": app.client_id,
        }

    def test_the_logout_url_is_none_without_an_end_session_endpoint(self, ciam: FakeCiam) -> None:
        ciam.metadata = {"end_session_endpoint": None}

        assert ciam_app().logout_url(back_to="http://testserver/") is None

    def test_a_new_app_uses_the_cached_keys(self, ciam: FakeCiam, settings: Settings) -> None:
        app = ciam_app()
        app.verify_id_token(fetch_token(ciam, app), NONCE)
        settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
        assert ciam_app().verify_id_token(fetch_token(ciam, ciam_app()), NONCE)["sub"]

        assert [request.stage for request in ciam.requests].count("jwks") == 1

    def test_an_unknown_key_id_fetches_the_keys_once_a_minute(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        ciam.id_token_header.update(kid="unknown")
        for _ in range(4):
            with pytest.raises(CiamError) as raised:
                app.verify_id_token(fetch_token(ciam, app), NONCE)
            assert (raised.value.code, raised.value.stage) == ("invalid_key_id", "id_token")

        assert [request.stage for request in ciam.requests].count("jwks") == 2

    def test_the_cached_keys_are_used_while_ciam_is_down(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        app.verify_id_token(fetch_token(ciam, app), NONCE)
        ciam.misbehave("jwks", "reset", times=None)

        assert app.verify_id_token(fetch_token(ciam, app), NONCE)["sub"]

    def test_an_id_token_is_refused_without_keys(self, ciam: FakeCiam) -> None:
        ciam.misbehave("jwks", "reset", times=None)
        app = ciam_app()
        with pytest.raises(CiamError) as raised:
            app.verify_id_token(fetch_token(ciam, app), NONCE)

        assert (raised.value.code, raised.value.stage) == ("no_connection", "id_token")

    def test_the_metadata_does_not_change_the_session(self, ciam: FakeCiam) -> None:
        ciam.metadata = {
            "verify": False,
            "code_challenge_method": "plain",
            "scope": "everything",
            "client_secret": "another",
            "token_endpoint_auth_method": "none",
        }
        app = ciam_app()
        query = query_of(address_of(app))

        assert (query["code_challenge_method"], query["scope"]) == ("S256", "openid")
        with app._get_oauth_client(**app.load_server_metadata()) as session:
            assert session.verify is True
            assert session.token_endpoint_auth_method == "client_secret_basic"

    def test_userinfo_of_another_subject_is_refused(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        token = fetch_token(ciam, app)
        subject = app.verify_id_token(token, NONCE)["sub"]

        assert app.fetch_userinfo(token["access_token"], subject)["sub"] == subject
        with pytest.raises(CiamError) as raised:
            app.fetch_userinfo(token["access_token"], "another")
        assert (raised.value.code, raised.value.stage) == ("nobody_named", "userinfo")

    def test_a_failure_body_of_authlibs_userinfo_method_raises_a_ciam_error(
        self, ciam: FakeCiam
    ) -> None:
        app = ciam_app()
        token = fetch_token(ciam, app)
        assert app.userinfo(token=token)["sub"]

        ciam.fail("userinfo", code="Operation.Failure.User.Disabled", status=200)
        with pytest.raises(CiamError) as raised:
            app.userinfo(token=token)
        assert (raised.value.code, raised.value.stage) == (
            "Operation.Failure.User.Disabled",
            "userinfo",
        )

    def test_authlibs_key_method_returns_the_cached_keys(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        first = app.fetch_jwk_set()["keys"][0]["kid"]
        ciam.rotate_keys()

        assert app.fetch_jwk_set()["keys"][0]["kid"] == first
        assert app.fetch_jwk_set(force=True)["keys"][0]["kid"] == ciam.key.kid


# --- Metadata that can't be used ------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["oidc"])
@for_each_row(
    "metadata, reason",
    [
        ({"issuer": None}, "the metadata lacks issuer"),
        (
            {"jwks_uri": 7, "token_endpoint": None},
            "the metadata lacks token_endpoint, jwks_uri",
        ),
        ({"issuer": "https://evil.example"}, "the issuer in the metadata"),
        ({"id_token_signing_alg_values_supported": []}, "no algorithm"),
        # Anybody who knows the client_secret can make the signatures of the last three.
        *(
            ({"id_token_signing_alg_values_supported": [name]}, "no algorithm")
            for name in ("none", "HS256", "HS384", "HS512")
        ),
        ({"authorization_endpoint": None}, "the metadata lacks authorization_endpoint"),
        ({"issuer": "no address"}, "the issuer in the metadata is no URL, and must be http"),
        *(
            ({name: url}, f"{name} must have the scheme https")
            for name in (
                "authorization_endpoint",
                "token_endpoint",
                "jwks_uri",
                "userinfo_endpoint",
                "end_session_endpoint",
            )
            for url in (
                "javascript:alert(1)",
                "http://login.example/",
                "ftp://login.example/",
                "//login.example/",
                "https:",
                "http://",
                "https://[",
                "",
            )
        ),
        ({"userinfo_endpoint": 7}, "userinfo_endpoint must have the scheme https"),
    ],
)
def test_unusable_metadata_is_a_misconfiguration_and_names_the_setting(
    metadata: dict[str, Any], reason: str, ciam: FakeCiam, settings: Settings
) -> None:
    cache.clear()
    settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
    ciam.metadata = metadata
    with pytest.raises(CiamError) as raised:
        address_of(ciam_app())

    assert raised.value.code == "bad_configuration"
    assert reason in raised.value.upstream_text
    if "issuer in" in reason:
        assert f"must be {ciam.issuer} or {ciam.issuer}/: " in raised.value.upstream_text
    assert "server_metadata_url" in raised.value.upstream_text
    assert urlsplit(ciam.url).netloc in raised.value.upstream_text


@pytest.mark.parametrize("mode", ["oidc"])
@for_each_row(
    "is_debug, urls",
    [
        (False, ["https://login.example/", "http://[::1]:8000/", "http://localhost/"]),
        (False, [None]),
        (True, ["http://login.example/", "https://login.example/"]),
    ],
)
def test_an_endpoint_may_be_https_or_http_on_this_machine_or_under_debug(
    is_debug: bool, urls: list[str | None], ciam: FakeCiam, settings: Settings
) -> None:
    settings.DEBUG = is_debug
    for url in urls:
        cache.clear()
        settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
        ciam.metadata = {"userinfo_endpoint": url}
        assert ciam_app().load_server_metadata()["userinfo_endpoint"] == url


@pytest.mark.parametrize("mode", ["oidc"])
@for_each_row(
    "case, is_ours",
    [
        *(((status, name, "invalid_request"), True)
          for status in (400, 401, 403, 404, 410) for name in ("oauth", "ciam")),
        ((200, "ciam", "Resource.NotFound"), True),
        ((500, "ciam", "Resource.NotFound"), True),
        ((200, "ciam", "Params.Illegal.AppId"), True),
        ((200, "ciam", "Service.Internal.Error"), False),
        ((408, "oauth", "invalid_request"), False),
        ((429, "oauth", "too_many_requests"), False),
        ((500, "ciam", "Operation.Failure"), False),
        ((503, "oauth", "temporarily_unavailable"), False),
    ],
)  # fmt: skip
def test_a_response_that_shows_a_wrong_metadata_url_is_a_misconfiguration(
    case: tuple[int, str, str], is_ours: bool, ciam: FakeCiam, settings: Settings
) -> None:
    status, body_format, code = case
    cache.clear()
    settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
    ciam.fail(
        "discovery", code=code, status=status, format=body_format, request_id="id-1", text="sly"
    )
    with pytest.raises(CiamError) as raised:
        address_of(ciam_app())

    error = raised.value
    assert (error.code, error.type_code) == (
        ("bad_configuration", code) if is_ours else (code, error.type_code)
    )
    assert (error.stage, error.request_id, error.upstream_status) == (
        "authorize",
        "id-1",
        status,
    )
    place = f'["server_metadata_url"], host {urlsplit(ciam.url).netloc}: '
    assert place in error.upstream_text
    assert (f"HTTP status {status}" in error.upstream_text) is is_ours
    assert ("sly" in error.upstream_text) is not is_ours


@for_each_row(
    "code, status, is_wrong",
    [
        ("invalid_request", 400, True),
        ("unreadable_answer", 404, True),
        ("unreadable_answer", 499, True),
        ("invalid_request", 405, True),
        # The firewall in front of CIAM blocks a request with this status and a page.
        ("unreadable_answer", 405, False),
        ("invalid_request", 399, False),
        ("unreadable_answer", 500, False),
        ("timeout", None, False),
        ("no_connection", None, False),
        ("resource.notfound.path", None, True),
        ("PARAMS.Illegal", None, True),
    ],
)
def test_a_client_error_shows_a_wrong_address_unless_it_is_of_a_firewall(
    code: str, status: int | None, is_wrong: bool
) -> None:
    assert _is_address_wrong(CiamError(code, upstream_status=status)) is is_wrong


@pytest.mark.parametrize("mode", ["oidc"])
@for_each_row(
    "how, code",
    [
        ("refused", "no_connection"),
        ("tls_nonsense", "bad_configuration"),
        ("tls_untrusted", "bad_configuration"),
    ],
)
def test_an_unreachable_metadata_url_is_named(
    how: str, code: str, ciam: FakeCiam, settings: Settings
) -> None:
    cache.clear()
    ciam.unreachable("discovery", how)
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}
    with pytest.raises(CiamError) as raised:
        address_of(ciam_app())

    assert (raised.value.code, raised.value.stage) == (code, "authorize")
    host = urlsplit(ciam.base_urls["discovery"]).netloc
    text = raised.value.upstream_text
    assert f'["server_metadata_url"], host {host}: ' in text
    assert ("start it: python -m ciam_django.testing" in text) is (how == "refused")


# --- A client of a project's own ----------------------------------------------------------------


def plain_client(ciam: FakeCiam, mode: str) -> DjangoOAuth2App:
    """An Authlib client as a project registers it, with ``ciam_compliance_fix`` alone of ours."""
    method = {"oidc": "client_secret_basic", "ciam": "client_secret_json"}[mode]
    config = {
        **ciam.client(mode),
        "client_kwargs": {
            "scope": {"oidc": "openid", "ciam": "USER_API"}[mode],
            "code_challenge_method": "S256",
            "token_endpoint_auth_method": method,
        },
    }
    client = OAuth().register("shop", compliance_fix=ciam_compliance_fix, **config)
    assert type(client) is DjangoOAuth2App
    return client


def fetch_plain_token(ciam: FakeCiam, client: DjangoOAuth2App) -> dict[str, Any]:
    begun = client.create_authorization_url(CALLBACK)
    code = query_of(ciam.authorize(begun["url"], username="li"))["code"]
    token: dict[str, Any] = client.fetch_access_token(  # type: ignore[no-untyped-call]  # the stubs lack it
        redirect_uri=CALLBACK, code=code, code_verifier=begun["code_verifier"]
    )
    return token


def test_a_plain_client_of_authlib_gets_a_token(ciam: FakeCiam, mode: str) -> None:
    token = fetch_plain_token(ciam, plain_client(ciam, mode))

    assert token["access_token"]
    assert token["token_type"] == "Bearer"


@pytest.mark.parametrize("body_format", ["ciam", "oauth"])
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_failure_never_passes_for_a_token_of_a_plain_client(
    ciam: FakeCiam, mode: str, body_format: str, status: int, content_type: str
) -> None:
    code = {"ciam": "Operation.Failure.User.Locked", "oauth": "invalid_grant"}[body_format]
    ciam.fail("token", code=code, format=body_format, status=status, content_type=content_type)
    client = plain_client(ciam, mode)
    with pytest.raises(CiamError) as raised:
        fetch_plain_token(ciam, client)

    assert (raised.value.code, raised.value.stage) == (code, "token")
    assert raised.value.upstream_status == status


@pytest.mark.parametrize("behaviour", ["no_token", "errcode", "list", "null", "html", "empty"])
def test_an_invalid_token_response_to_a_plain_client_raises_an_error(
    ciam: FakeCiam, mode: str, behaviour: str
) -> None:
    ciam.misbehave("token", behaviour)
    client = plain_client(ciam, mode)
    with pytest.raises(CiamError) as raised:
        fetch_plain_token(ciam, client)

    assert raised.value.stage == "token"


def test_a_failed_refresh_of_a_plain_client_keeps_the_good_token(ciam: FakeCiam, mode: str) -> None:
    client = plain_client(ciam, mode)
    token = fetch_plain_token(ciam, client)
    ciam.fail("refresh", code="Operation.Failure.User.Disabled", status=200)
    updates: list[object] = []
    with client._get_oauth_client(**client.load_server_metadata()) as session:  # type: ignore[attr-defined]  # the stubs lack it
        session.update_token = lambda *args, **kwargs: updates.append(args)
        session.token = token
        with pytest.raises(CiamError) as raised:
            session.refresh_token(
                session.metadata["token_endpoint"], refresh_token=token["refresh_token"]
            )

    assert (raised.value.code, raised.value.stage) == ("Operation.Failure.User.Disabled", "refresh")
    assert session.token == token
    assert not updates


# --- The issuer of a callback (RFC 9207) ------------------------------------------------------

ISSUER = "https://ciam.example/oidc/app"
OTHER_ISSUER = "https://evil.example/oidc/app"
ANNOUNCED = {"issuer": ISSUER, "authorization_response_iss_parameter_supported": True}
NOT_ANNOUNCED = {"issuer": ISSUER}


@pytest.mark.parametrize("metadata", [ANNOUNCED, NOT_ANNOUNCED])
def test_the_issuer_of_the_metadata_is_accepted_as_iss(
    metadata: dict[str, object],
) -> None:
    validate_issuer(metadata, [ISSUER])


@pytest.mark.parametrize(
    "metadata",
    [NOT_ANNOUNCED, {**ANNOUNCED, "authorization_response_iss_parameter_supported": "true"}],
)
def test_a_missing_iss_is_accepted_if_the_metadata_does_not_announce_the_iss_parameter(
    metadata: dict[str, object],
) -> None:
    validate_issuer(metadata, [])


def test_a_missing_iss_is_refused_if_the_metadata_announces_the_iss_parameter() -> None:
    with pytest.raises(CiamError, match="mismatching_issuer") as raised:
        validate_issuer(ANNOUNCED, [])
    assert raised.value.stage == "callback"


@pytest.mark.parametrize("returned_issuers", [[], [OTHER_ISSUER]])
def test_any_iss_is_accepted_without_an_issuer_in_the_metadata(
    returned_issuers: list[str],
) -> None:
    # CIAM's own mode has no metadata.
    validate_issuer({}, returned_issuers)


@pytest.mark.parametrize("metadata", [ANNOUNCED, NOT_ANNOUNCED])
@pytest.mark.parametrize(
    "returned_issuers",
    [
        [OTHER_ISSUER],
        [""],
        [f"{ISSUER}/"],
        [ISSUER.upper()],
        [ISSUER, OTHER_ISSUER],
        [OTHER_ISSUER, ISSUER],
    ],
)
def test_an_iss_that_is_not_exactly_the_issuer_is_refused(
    metadata: dict[str, object], returned_issuers: list[str]
) -> None:
    with pytest.raises(CiamError, match="mismatching_issuer"):
        validate_issuer(metadata, returned_issuers)
