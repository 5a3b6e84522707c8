"""Tests of the fake CIAM over real HTTP: its answers, its checks and its planned faults."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey
from urllib3.exceptions import InsecureRequestWarning

from ciam_django.client.private_key_jwt import assertion_parameters
from ciam_django.testing import FakeCiam
from ciam_django.testing.endpoints import is_registered
from ciam_django.testing.failures import BEHAVIOURS, STAGES
from ciam_django.testing.forgeries import FORGERIES
from ciam_django.testing.server import _unused_application
from ciam_django.testing.tenant import APP_ID, CLIENT_SECRET
from ciam_django.testing.unreachable import UNREACHABLE

CALLBACK = "http://testserver/callback/"
VERIFIER = "v" * 64


@pytest.fixture
def fake(fake_ciam: FakeCiam) -> FakeCiam:
    return fake_ciam


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def challenge() -> str:
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def authorize_parameters(**changes: str | None) -> dict[str, str]:
    parameters: dict[str, str | None] = {
        "client_id": APP_ID,
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": "openid",
        "state": "s",
        "nonce": "n",
        "code_challenge": challenge(),
        "code_challenge_method": "S256",
        **changes,
    }
    return {name: value for name, value in parameters.items() if value is not None}


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def code_for(fake: FakeCiam, username: str = "li", **changes: str | None) -> str:
    address = f"{fake.address('oauth/authorize')}?{urlencode(authorize_parameters(**changes))}"
    return query_of(fake.authorize(address, username=username))["code"]


def grant(code: str, /, **changes: str) -> dict[str, str]:
    return {
        "client_id": APP_ID,
        "client_secret": CLIENT_SECRET,
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        **changes,
    }


def token_for(fake: FakeCiam, http: requests.Session, username: str = "li") -> dict[str, Any]:
    answer = http.post(fake.address("oidc/token"), data=grant(code_for(fake, username)))
    assert answer.ok, answer.text
    token: dict[str, Any] = answer.json()
    return token


# --- Answers of a real server -----------------------------------------------------------------


def test_the_metadata_names_addresses_of_the_fake(fake: FakeCiam, http: requests.Session) -> None:
    metadata = http.get(fake.client("oidc")["server_metadata_url"]).json()

    assert metadata["issuer"] == fake.issuer
    for name, address in metadata.items():
        if name.endswith(("_endpoint", "_uri")):
            assert address.startswith(fake.url)


def test_the_id_token_is_signed_and_complete(fake: FakeCiam, http: requests.Session) -> None:
    token = token_for(fake, http)
    published = http.get(f"{fake.issuer}/.well-known/jwks.json").json()
    decoded = jwt.decode(token["id_token"], KeySet.import_key_set(published), ["RS256"])

    assert decoded.claims["iss"] == fake.issuer
    assert decoded.claims["aud"] == APP_ID
    assert decoded.claims["nonce"] == "n"
    assert "d" not in published["keys"][0]


def test_a_sign_in_without_the_scope_openid_gets_no_id_token(
    fake: FakeCiam, http: requests.Session
) -> None:
    code = code_for(fake, scope="USER_API")
    answer = http.post(fake.address("oidc/token"), data=grant(code)).json()

    assert "id_token" not in answer


def test_ciams_own_token_has_an_envelope_and_its_id_token_names_the_application(
    fake: FakeCiam, http: requests.Session
) -> None:
    body = http.post(fake.address("oauth/token"), json=grant(code_for(fake))).json()
    claims = json.loads(base64.urlsafe_b64decode(body["data"]["id_token"].split(".")[1] + "=="))

    assert (body["success"], body["code"]) == (True, "Operation.Success")
    assert claims["sub"] == APP_ID
    assert not {"iss", "aud", "nonce"} & set(claims)
    assert body["data"]["userId"] not in (APP_ID, "")


def test_a_user_name_always_has_the_same_subject(fake: FakeCiam, http: requests.Session) -> None:
    def subject(username: str) -> str:
        headers = {"Authorization": f"Bearer {token_for(fake, http, username)['access_token']}"}
        answer = http.get(fake.address("oidc/userinfo"), headers=headers).json()
        return str(answer["sub"])

    assert subject("li") == subject("li") != subject("wang")


def test_user_info_accepts_the_token_in_the_header_and_in_the_query(
    fake: FakeCiam, http: requests.Session
) -> None:
    token = token_for(fake, http)["access_token"]
    address = fake.address("user/info")
    by_header = http.get(address, headers={"Authorization": f"Bearer {token}"}).json()
    by_query = http.get(address, params={"access_token": token}).json()

    assert by_header["data"] == by_query["data"]
    assert by_header["data"]["username"] == "li"


def test_a_refresh_token_gives_a_new_access_token(fake: FakeCiam, http: requests.Session) -> None:
    token = token_for(fake, http)
    form = {**grant(""), "grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    again = http.post(fake.address("oidc/token"), data=form).json()

    assert again["access_token"] != token["access_token"]
    assert [r.stage for r in fake.requests][-1] == "refresh"


def test_a_refresh_cannot_add_a_scope_to_the_granted_scope(
    fake: FakeCiam, http: requests.Session
) -> None:
    fake.granted_scope = "openid"
    for scope, is_ok in (("openid", True), ("openid email", False)):
        token = http.post(fake.address("oidc/token"), data=grant(code_for(fake))).json()
        assert token["scope"] == "openid"
        form = {**grant(""), "grant_type": "refresh_token", "scope": scope}
        form["refresh_token"] = token["refresh_token"]
        answer = http.post(fake.address("oidc/token"), data=form)
        assert answer.ok is is_ok
        assert answer.json().get("error") == (None if is_ok else "invalid_scope")


def test_an_assertion_is_valid_once_with_its_type_and_without_a_secret(
    fake: FakeCiam, http: requests.Session
) -> None:
    fake.client_key = RSAKey.import_key(fake.key.as_dict(private=False))
    url = fake.address("oidc/token")

    def send(assertion: dict[str, str], **changes: str) -> bool:
        form = {**grant(code_for(fake)), **assertion, **changes}
        if "client_secret" not in changes:
            del form["client_secret"]
        return http.post(url, data=form).ok

    first, second = (assertion_parameters(APP_ID, fake.key, url) for _ in range(2))
    assert not send({})
    assert not send(assertion_parameters(APP_ID, fake.key, "https://elsewhere.example"))
    assert not send(assertion_parameters("another_app", fake.key, url))
    assert send(first)
    assert not send(first)
    assert not send(second, client_assertion_type="another type")
    assert not send(assertion_parameters(APP_ID, fake.key, url), client_secret=CLIENT_SECRET)
    metadata = http.get(fake.metadata_and_jwks_urls[0]).json()
    assert metadata["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]


def test_client_credentials_give_a_token_without_a_user(
    fake: FakeCiam, http: requests.Session
) -> None:
    form = {**grant(""), "grant_type": "client_credentials"}
    own = http.post(fake.address("oauth/token"), json=form).json()["data"]

    assert "refresh_token" not in own
    assert "userId" not in own


def test_logout_redirects_to_registered_addresses_only(
    fake: FakeCiam, http: requests.Session
) -> None:
    address = fake.address("user/logout")

    def get(**params: str) -> requests.Response:
        return http.get(address, params=params, allow_redirects=False)

    back = {"post_logout_redirect_uri": CALLBACK, "client_id": APP_ID}
    assert get(**back, state="x").headers["Location"] == f"{CALLBACK}?state=x"
    assert get(**back).headers["Location"] == CALLBACK
    assert get().status_code == 200
    assert get(**{**back, "client_id": "x"}).status_code == 400
    assert get(**{**back, "post_logout_redirect_uri": "https://evil.example"}).status_code == 400


def test_each_answer_sets_the_edge_cookie_and_keeps_the_connection_open(
    fake: FakeCiam, http: requests.Session
) -> None:
    before = fake.connections
    for _ in range(3):
        answer = http.get(f"{fake.issuer}/.well-known/jwks.json")
        assert "acw_tc" in answer.cookies

    assert fake.connections == before + 1


# --- Checks of a real server ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
    ],
)
@pytest.mark.covering
def test_an_invalid_authorize_request_redirects_with_an_error(
    fake: FakeCiam, http: requests.Session, changes: dict[str, str | None], error: str
) -> None:
    answer = http.get(
        fake.address("oauth/authorize"),
        params=authorize_parameters(**changes),
        allow_redirects=False,
    )

    assert query_of(answer.headers["Location"])["error"] == error


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "x"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "http://[localhost/"},
        {"redirect_uri": "http://localhost/#"},
        {"redirect_uri": None},
    ],
)
@pytest.mark.covering
def test_an_unknown_client_or_redirect_uri_is_never_redirected(
    fake: FakeCiam, http: requests.Session, changes: dict[str, str | None]
) -> None:
    parameters = authorize_parameters(**changes)
    answer = http.get(fake.address("oauth/authorize"), params=parameters, allow_redirects=False)

    assert answer.status_code == 400
    with pytest.raises(RuntimeError, match="400"):
        fake.authorize(f"{fake.address('oauth/authorize')}?{urlencode(parameters)}")


def test_a_redirect_uri_can_be_registered(fake: FakeCiam) -> None:
    address = "https://shop.example/callback/"
    assert not is_registered(fake, address)

    fake.redirect_uris.add(address)
    assert is_registered(fake, address)
    fake.redirect_uris.clear()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_secret": "x"}, "invalid_client"),
        ({"client_id": "x"}, "invalid_client"),
        ({"code_verifier": "x"}, "invalid_grant"),
        ({"redirect_uri": "http://localhost/other/"}, "invalid_grant"),
        ({"code": "x"}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
    ],
)
@pytest.mark.parametrize("path", ["oidc/token", "oauth/token"])
def test_an_invalid_grant_is_refused(
    fake: FakeCiam, http: requests.Session, changes: dict[str, str], error: str, path: str
) -> None:
    form = grant(code_for(fake), **changes)
    how: dict[str, Any] = {"json": form} if path == "oauth/token" else {"data": form}

    assert http.post(fake.address(path), **how).json()["error"] == error


def test_a_code_is_valid_once_and_for_ten_minutes(fake: FakeCiam, http: requests.Session) -> None:
    code = code_for(fake)
    assert http.post(fake.address("oidc/token"), data=grant(code)).ok
    assert code in http.post(fake.address("oidc/token"), data=grant(code)).text

    old = code_for(fake)
    fake.codes[old].started_at -= 601
    assert http.post(fake.address("oidc/token"), data=grant(old)).status_code == 400


@pytest.mark.parametrize(
    ("header", "is_ok"),
    [
        (base64.b64encode(f"{APP_ID}:{CLIENT_SECRET}".encode()).decode(), True),
        (base64.b64encode(b"\xff").decode(), False),
        ("garbage", False),
    ],
)
def test_a_client_can_authenticate_with_http_basic(
    fake: FakeCiam, http: requests.Session, header: str, is_ok: bool
) -> None:
    form = grant(code_for(fake))
    del form["client_id"], form["client_secret"]
    headers = {"Authorization": f"Basic {header}"}

    assert http.post(fake.address("oidc/token"), data=form, headers=headers).ok is is_ok


def test_the_error_for_an_invalid_token_has_the_token_as_at_ciam(
    fake: FakeCiam, http: requests.Session
) -> None:
    answer = http.get(fake.address("user/info"), headers={"Authorization": "Bearer marker"})

    assert answer.status_code == 401
    assert answer.json()["error_description"] == "Invalid access token: marker"


def test_unknown_addresses_methods_and_bodies_are_refused(
    fake: FakeCiam, http: requests.Session
) -> None:
    assert http.get(f"{fake.url}/favicon.ico").status_code == 404
    assert http.get(fake.address("oidc/token")).status_code == 405
    assert http.post(fake.address("oauth/token"), data="no json").json()["success"] is False
    assert http.post(fake.address("oauth/token"), json=[]).json()["success"] is False
    secret = {"client_id": APP_ID, "client_secret": CLIENT_SECRET}
    assert http.post(fake.address("oauth/token"), json=secret).json()["error"] == "invalid_request"


def test_a_planned_failure_of_the_authorize_page_redirects_to_the_client(
    fake: FakeCiam, http: requests.Session
) -> None:
    fake.fail("authorize", code="login_required")
    address = f"{fake.address('oauth/authorize')}?{urlencode(authorize_parameters())}"
    back = http.get(address, allow_redirects=False)

    assert query_of(back.headers["Location"])["error"] == "login_required"


def test_logout_accepts_an_expired_id_token_as_hint(fake: FakeCiam, http: requests.Session) -> None:
    fake.id_token_claims["exp"] = 1_000_000_000
    hint = token_for(fake, http)["id_token"]
    back = {"post_logout_redirect_uri": CALLBACK}

    def logout_status(hint: str) -> int:
        return http.get(
            fake.address("user/logout"),
            params={**back, "id_token_hint": hint},
            allow_redirects=False,
        ).status_code

    statuses = (logout_status(hint), logout_status(hint[:-9]), logout_status("junk"))
    assert statuses == (302, 400, 400)


@pytest.mark.parametrize("accept", ["fr, en;q=0.5", "fr", "*", ""])
def test_the_authorize_page_is_in_english_for_other_languages(
    fake: FakeCiam, http: requests.Session, accept: str
) -> None:
    address = f"{fake.address('oauth/authorize')}?{urlencode(authorize_parameters())}"

    assert "Sign in" in http.get(address, headers={"Accept-Language": accept}).text


# --- Planned faults ---------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_fails_once_on_demand(
    fake: FakeCiam, http: requests.Session, stage: str
) -> None:
    methods: dict[str, Any] = {
        "authorize": ("GET", "oauth/authorize", {}),
        "discovery": ("GET", f"oidc/{APP_ID}/.well-known/openid-configuration", {}),
        "jwks": ("GET", f"oidc/{APP_ID}/.well-known/jwks.json", {}),
        "token": ("POST", "oidc/token", {}),
        "refresh": ("POST", "oidc/token", {"data": {"grant_type": "refresh_token"}}),
        "userinfo": ("GET", "oidc/userinfo", {}),
        "api": ("GET", "user/info", {}),
        "application": ("POST", "oauth/token", {"json": {"grant_type": "client_credentials"}}),
        "password": ("POST", "login/pwd", {}),
        "send_code": ("POST", "login/obtain_code", {}),
        "verify_code": ("POST", "login/verify_code", {}),
        "social": ("POST", "login/social", {}),
        "register": ("POST", "register/submit", {}),
        "recover": ("POST", "password/reset", {}),
        "profile": ("PUT", "user/password", {}),
        "logout": ("GET", "user/logout", {}),
    }
    method, path, how = methods[stage]
    fake.fail(stage, code="Remote.Error", status=503, headers={"Retry-After": "7"})
    first = http.request(method, fake.address(path), **how)
    second = http.request(method, fake.address(path), **how)

    assert (first.status_code, first.json()["code"]) == (503, "Remote.Error")
    assert first.headers["Retry-After"] == "7"
    assert "Remote.Error" not in second.text


def test_a_planned_failure_can_set_its_format_and_all_details(
    fake: FakeCiam, http: requests.Session
) -> None:
    address = fake.address("user/info")
    fake.fail("api", code="Params.Blank.Code", text="29 left")
    fake.fail("api", code="invalid_token", text="Invalid: x", request_id="1$2", content_type="")
    fake.fail("api", code="A.B", format="oauth")
    fake.fail("api", code="Operation", format="ciam", content_type="text/plain", times=2)
    one, two, three, four, five = (http.get(address) for _ in range(5))

    assert one.json()["message"] == "Params.Blank.Code: 29 left"
    assert (one.status_code, one.json()["code"]) == (200, "Params.Blank")
    assert two.json() == {
        "error": "invalid_token", "error_description": "Invalid: x", "requestId": "1$2",
    }  # fmt: skip
    assert "Content-Type" not in two.headers
    assert three.json()["error"] == "A.B"
    assert four.headers["Content-Type"] == "text/plain"
    assert five.json()["code"] == "Operation"


def test_a_running_fake_cannot_be_started_again(fake: FakeCiam) -> None:
    with pytest.raises(RuntimeError, match="is running already"):
        fake.start()


def test_a_failure_without_a_limit_lasts_until_reset(
    fake: FakeCiam, http: requests.Session
) -> None:
    fake.fail("api", code="Remote.Error", times=None)
    for _ in range(3):
        assert http.get(fake.address("user/info")).json()["code"] == "Remote.Error"
    fake.reset()

    assert http.get(fake.address("user/info")).json()["error"] == "invalid_token"
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fake: fake.fail("tokn", code="x"), "'token'"),
        (lambda fake: fake.fail("token", code="x", format="oauht"), "'oauth'"),
        (lambda fake: fake.misbehave("token", "slw"), "'slow'"),
        (lambda fake: fake.client("oidcc"), "'oidc'"),
        (lambda fake: fake.unreachable("tokn", "refused"), "'token'"),
        (lambda fake: fake.unreachable("token", "refusd"), "'refused'"),
        (lambda fake: fake.forge("wrong_audi"), "'wrong_aud'"),
        (lambda fake: fake.client("@@@"), "must be one of"),
        (lambda fake: fake.fail("token", code="x", times=0), "1 or more"),
    ],
)
@pytest.mark.covering
def test_a_misspelt_name_is_an_error_that_suggests_the_right_name(
    fake: FakeCiam, call: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(fake)


SLOW = {"slow", "silent", "drip_status", "drip_headers", "drip_body"}


@pytest.mark.parametrize("behaviour", sorted(set(BEHAVIOURS) - SLOW - {"enormous"}))
@pytest.mark.covering
def test_a_fast_misbehaviour_ends_at_once_and_happens_once(
    fake: FakeCiam, http: requests.Session, behaviour: str
) -> None:
    fake.misbehave("jwks", behaviour)
    address = f"{fake.issuer}/.well-known/jwks.json"
    try:
        answer = http.get(address, timeout=60, allow_redirects=False)
    except requests.RequestException:
        assert behaviour in ("reset", "truncated")
    else:
        assert "keys" not in answer.text

    assert "keys" in http.get(address).json()


@pytest.mark.slow("waits for deadlines")
@pytest.mark.parametrize("behaviour", sorted(SLOW))
def test_a_slow_behaviour_takes_the_given_seconds(fake: FakeCiam, behaviour: str) -> None:
    fake.misbehave("jwks", behaviour, seconds=0.3)
    parts = urlsplit(fake.url)
    start = time.monotonic()
    with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as connection:
        path = f"{urlsplit(fake.issuer).path}/.well-known/jwks.json"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b""
        while chunk := connection.recv(65536):
            received += chunk

    assert 0.25 < time.monotonic() - start < 20
    assert (received == b"") is (behaviour == "silent")


def test_an_enormous_body_has_100_mib_and_ends_if_the_client_stops_reading(fake: FakeCiam) -> None:
    fake.misbehave("jwks", "enormous")
    with requests.get(f"{fake.issuer}/.well-known/jwks.json", stream=True, timeout=60) as answer:
        assert int(answer.headers["Content-Length"]) == 100 * 1024 * 1024
        assert answer.raw.read(4 * 1024 * 1024)
    fake.misbehave("jwks", "enormous")
    with requests.get(f"{fake.issuer}/.well-known/jwks.json", stream=True, timeout=60) as answer:
        assert sum(len(chunk) for chunk in answer.iter_content(1024 * 1024)) == 100 * 1024 * 1024


@pytest.mark.slow("waits for deadlines")
@pytest.mark.parametrize("how", UNREACHABLE)
def test_an_address_is_unreachable_until_reset(
    fake: FakeCiam, http: requests.Session, how: str
) -> None:
    fake.unreachable("jwks", how)
    metadata = http.get(fake.client("oidc")["server_metadata_url"]).json()
    assert metadata["jwks_uri"].startswith("http://" if how == "refused" else "https://")
    assert metadata["token_endpoint"].startswith(fake.url)
    expected = requests.Timeout if how == "tls_silent" else requests.ConnectionError
    for _ in range(2):
        with pytest.raises(expected):
            # The silent server never answers, so the timeout is short.
            http.get(metadata["jwks_uri"], timeout=0.3 if how == "tls_silent" else 60)
    if how == "tls_untrusted":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            # Without verification, TLS succeeds, and the server closes the connection.
            with pytest.raises(requests.ConnectionError, match="without response"):
                http.get(metadata["jwks_uri"], timeout=60, verify=False)

    fake.reset()
    assert "keys" in http.get(fake.metadata_and_jwks_urls[1]).json()


@pytest.mark.parametrize(
    ("stage", "mode", "names"),
    [
        ("discovery", "oidc", {"server_metadata_url"}),
        ("token", "ciam", {"access_token_url"}),
        ("refresh", "ciam", {"access_token_url"}),
        ("authorize", "ciam", {"authorize_url"}),
        ("profile", "oidc", {"api_base_url"}),
        ("logout", "oidc", {"api_base_url"}),
        ("jwks", "ciam", set()),
    ],
)
def test_the_client_setting_names_the_unreachable_address(
    fake: FakeCiam, stage: str, mode: str, names: set[str]
) -> None:
    before = fake.client(mode)
    fake.unreachable(stage, "refused")
    client = fake.client(mode)

    assert {name for name in client if client[name] != before[name]} == names


# --- Faults in user names ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "code"),
    [
        ("fail:Operation.Failure.User.Locked", "Operation.Failure.User.Locked"),
        ("fail:token:invalid_scope", "invalid_scope"),
        ("errcode:token", "40029"),
    ],
)
def test_a_user_name_can_plan_a_failure_of_its_own_sign_in_only(
    fake: FakeCiam, http: requests.Session, username: str, code: str
) -> None:
    failing, fine = code_for(fake, username), code_for(fake)

    assert http.post(fake.address("oidc/token"), data=grant(fine)).ok
    assert code in http.post(fake.address("oidc/token"), data=grant(failing)).text
    again = grant(code_for(fake, username))
    assert code in http.post(fake.address("oauth/token"), json=again).text


@pytest.mark.parametrize(
    ("username", "path"),
    [("fail:userinfo:user_deleted", "oidc/userinfo"), ("fail:api:user_deleted", "user/info")],
)
@pytest.mark.covering
def test_a_user_name_can_plan_a_failure_after_the_token(
    fake: FakeCiam, http: requests.Session, username: str, path: str
) -> None:
    token = token_for(fake, http, username)["access_token"]
    answer = http.get(fake.address(path), headers={"Authorization": f"Bearer {token}"})

    assert answer.json()["error"] == "user_deleted"


def test_a_user_name_can_plan_one_failure_of_the_key_set_for_any_client(
    fake: FakeCiam, http: requests.Session
) -> None:
    code_for(fake, "fail:jwks:Remote.Error")
    address = f"{fake.issuer}/.well-known/jwks.json"

    assert http.get(address).json()["code"] == "Remote.Error"
    assert "keys" in http.get(address).json()


def test_a_user_name_can_plan_a_failure_of_the_authorize_page(
    fake: FakeCiam, http: requests.Session
) -> None:
    address = f"{fake.address('oauth/authorize')}?{urlencode(authorize_parameters())}"
    refused = query_of(fake.authorize(address, username="fail:authorize:login_required"))
    assert (refused["error"], refused["state"]) == ("login_required", "s")

    form = {**authorize_parameters(), "username": "html:authorize", "decision": "sign_in"}
    assert http.post(address, data=form).status_code == 405
    with pytest.raises(RuntimeError, match="405"):
        fake.authorize(address, username="html:authorize")


@pytest.mark.parametrize("username", ["fail:", "nothing:token", "slow:nowhere", "fail", ":"])
def test_a_user_name_without_a_valid_fault_signs_in(
    fake: FakeCiam, http: requests.Session, username: str
) -> None:
    assert token_for(fake, http, username)["access_token"]


def test_the_authorize_page_is_in_chinese_and_can_be_cancelled(
    fake: FakeCiam, http: requests.Session
) -> None:
    address = fake.address("oauth/authorize")
    chinese = http.get(
        address, params=authorize_parameters(), headers={"Accept-Language": "zh-CN"}
    ).content
    english = http.get(address, params=authorize_parameters(state='"><script>')).text
    form = {**authorize_parameters(state=None), "decision": "cancel"}
    cancelled = http.post(address, data=form, allow_redirects=False).headers["Location"]

    assert 'lang="zh-Hans"' in chinese.decode()
    assert "用户名" in chinese.decode()
    assert "<script>" not in english
    assert query_of(cancelled)["error"] == "access_denied"
    assert "state" not in query_of(cancelled)


def test_a_callback_keeps_the_query_of_its_redirect_uri(fake: FakeCiam) -> None:
    parameters = authorize_parameters(redirect_uri=f"{CALLBACK}?a=b")
    address = f"{fake.address('oauth/authorize')}?{urlencode(parameters)}"

    assert query_of(fake.authorize(address))["a"] == "b"
    fake.fail("authorize", code="x", status=302, headers={"Location": "http://testserver/x"})
    assert fake.authorize(address) == "http://testserver/x"


# --- Forged tokens ----------------------------------------------------------------------------


def test_claims_and_header_of_the_id_token_can_be_changed(
    fake: FakeCiam, http: requests.Session
) -> None:
    fake.id_token_claims.update(aud="other", nonce=None)
    for alg in ("RS256", "HS256", "none"):
        fake.id_token_header.update(alg=alg, kid=None)
        head, body, signature = token_for(fake, http)["id_token"].split(".")
        header = json.loads(base64.urlsafe_b64decode(head + "=="))
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))

        assert header["alg"] == alg
        assert "kid" not in header
        assert claims["aud"] == "other"
        assert "nonce" not in claims
        assert bool(signature) is (alg != "none")


# Forgery -> path into the answers of a sign-in -> the forged value.
FORGED_MEMBERS: dict[str, dict[str, object]] = {
    "bad_signature": {},
    "alg_none": {"header.alg": "none"},
    "alg_hs256": {"header.alg": "HS256"},
    "unknown_kid": {"header.kid": "nobody-knows-this-one"},
    "jwks_without_key": {},
    "wrong_iss": {"claims.iss": "https://elsewhere.example"},
    "no_iss": {"claims.iss": None},
    "wrong_aud": {"claims.aud": "another_app"},
    "no_aud": {"claims.aud": None},
    "second_aud": {"claims.aud": [APP_ID, "another_app"]},
    "wrong_azp": {"claims.azp": "another_app"},
    "wrong_nonce": {"claims.nonce": "of-another-sign-in"},
    "no_nonce": {"claims.nonce": None},
    "wrong_at_hash": {"claims.at_hash": "b2YgYW5vdGhlciB0b2tlbg"},
    "expired": {"claims.exp": 1_000_003_600},
    "no_exp": {"claims.exp": None},
    "not_yet_valid": {"claims.nbf": 4_000_000_000},
    "from_the_future": {"claims.iat": 4_000_000_000},
    "no_sub": {"claims.sub": None},
    "sub_is_application": {"claims.sub": APP_ID, "userinfo.sub": APP_ID},
    "userinfo_other_sub": {"userinfo.sub": "somebody-else"},
    "userinfo_no_sub": {"userinfo.sub": None},
    "as_ciam_documents": {"claims.sub": APP_ID, "claims.iss": None, "claims.nonce": None},
    "no_id_token": {},
    "no_jwt": {},
}


def collect_answers(fake: FakeCiam, http: requests.Session) -> dict[str, Any]:
    """Sign in and return the unverified answers, and the result of verifying the id_token."""
    token = token_for(fake, http)
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    answers = {"userinfo": http.get(fake.address("oidc/userinfo"), headers=bearer).json()}
    if "id_token" not in token:
        return {**answers, "id_token": "none"}
    try:
        head, claims, _ = (
            base64.urlsafe_b64decode(f"{part}===") for part in token["id_token"].split(".")
        )
        answers |= {"header": json.loads(head), "claims": json.loads(claims)}
        keys = KeySet.import_key_set(http.get(f"{fake.issuer}/.well-known/jwks.json").json())
        jwt.decode(token["id_token"], keys, ["RS256"])
    except (ValueError, JoseError):
        return {**answers, "id_token": "unproven"}
    return {**answers, "id_token": "proven"}


def test_a_sign_in_without_a_forgery_gets_correct_answers(
    fake: FakeCiam, http: requests.Session
) -> None:
    answers = collect_answers(fake, http)

    assert answers["id_token"] == "proven"
    assert answers["claims"]["sub"] == answers["userinfo"]["sub"]
    assert len(base64.urlsafe_b64decode(answers["claims"]["at_hash"] + "==")) == 16


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.covering
def test_a_forgery_lasts_until_reset(fake: FakeCiam, http: requests.Session, forgery: str) -> None:
    fake.forge(forgery)
    answers = collect_answers(fake, http)
    for path, value in FORGED_MEMBERS[forgery].items():
        part, _, name = path.partition(".")
        assert answers[part].get(name) == value
    unproven = {
        "bad_signature", "alg_none", "alg_hs256", "unknown_kid", "jwks_without_key", "no_jwt",
    }  # fmt: skip
    expected = "unproven" if forgery in unproven else "proven"
    assert answers["id_token"] == ("none" if forgery == "no_id_token" else expected)

    fake.reset()
    assert collect_answers(fake, http)["id_token"] == "proven"


def test_a_rotated_key_replaces_the_published_key(fake: FakeCiam, http: requests.Session) -> None:
    address = f"{fake.issuer}/.well-known/jwks.json"
    before = http.get(address).json()["keys"][0]["kid"]
    fake.rotate_keys()

    assert http.get(address).json()["keys"][0]["kid"] != before


# --- Start and stop ---------------------------------------------------------------------------


def test_https_is_verified_by_the_fakes_own_certificate_only(http: requests.Session) -> None:
    with FakeCiam(https=True) as fake:
        assert fake.url.startswith("https://127.0.0.1:")
        address = f"{fake.issuer}/.well-known/jwks.json"
        assert http.get(address, verify=fake.ca_file).ok
        with pytest.raises(requests.exceptions.SSLError):
            http.get(address)
        assert fake.client()["client_kwargs"] == {"verify": fake.ca_file}
        authorize = f"{fake.address('oauth/authorize')}?{urlencode(authorize_parameters())}"
        assert query_of(fake.authorize(authorize))["code"]
        ca_file = str(fake.ca_file)

    assert not Path(ca_file).exists()


def test_stop_ends_the_running_requests() -> None:
    fake = FakeCiam().start()
    ends: list[float] = []

    def call(address: str) -> None:
        with contextlib.suppress(requests.RequestException):
            requests.get(address, timeout=120)
        ends.append(time.monotonic())

    threads = []
    for behaviour in ("silent", "drip_headers", "enormous"):
        fake.misbehave("jwks", behaviour, seconds=60)
        address = f"{fake.issuer}/.well-known/jwks.json"
        threads.append(threading.Thread(target=call, args=(address,)))
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60
    while len(fake.requests) < 3:
        assert time.monotonic() < until
        time.sleep(0.01)
    start = time.monotonic()
    fake.stop()
    for thread in threads:
        thread.join(60)

    assert len(ends) == 3
    assert max(ends) - start < 20
    fake.stop()


def test_a_fake_that_is_not_running_has_no_address() -> None:
    with pytest.raises(RuntimeError, match="start"):
        assert FakeCiam().url


def test_the_wsgi_application_is_never_called() -> None:
    with pytest.raises(AssertionError):
        _unused_application({}, print)
