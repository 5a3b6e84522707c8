"""Test the questions to CIAM with the fake, and with each way in which a server can fail."""

from __future__ import annotations

import email.utils
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pytest_django.fixtures import Settings

from ciam_django.client import circuit_breaker
from ciam_django.client.endpoints import EndpointGroup
from ciam_django.doctor.findings import Finding, Status
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from ciam_django.testing.failures import BEHAVIOURS
from ciam_django.testing.tenant import CLIENT_SECRET
from ciam_django.testing.unreachable import UNREACHABLE
from tests.doctor.conftest import Ask

SECRETS = ("eyJhbGciOiJub25l.e30.", "hunter2hunter2", "li@shop.cn", "13800138000", CLIENT_SECRET)
HOSTILE_TEXT = " ".join([f"password={SECRETS[1]}", SECRETS[0], SECRETS[2], SECRETS[3]])


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("mode", ["oidc"])
def test_an_open_circuit_of_the_site_refuses_no_question(
    ciam: FakeCiam, site: Settings, ask: Ask
) -> None:
    circuit_breaker._circuits_of(ciam.url, EndpointGroup.METADATA).record_unconnected_call(
        time.monotonic()
    )
    with pytest.raises(CiamError):
        circuit_breaker.refuse_while_open(ciam.url, EndpointGroup.TOKEN)
    found = ask("metadata", "keys", "client", "application token", "login page", "clock")

    assert {each.status for each in found} == {Status.OK}, found


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_question_without_an_answer_opens_no_circuit_of_the_site(
    ciam: FakeCiam, site: Settings, ask: Ask
) -> None:
    ciam.unreachable("discovery", "refused")
    site.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}
    found = only(ask("metadata"))

    assert "ConnectionRefusedError" in found.found
    # Raises an error if the circuit is open.
    url = site.AUTHLIB_OAUTH_CLIENTS["ciam"]["server_metadata_url"]
    circuit_breaker.refuse_while_open(url, EndpointGroup.METADATA)


QUESTIONS_OF_STAGES = {
    "discovery": "metadata",
    "jwks": "keys",
    "token": "client",
    "application": "application token",
    "authorize": "login page",
}


@pytest.mark.parametrize("name", [*QUESTIONS_OF_STAGES.values(), "clock"])
def test_each_question_to_a_good_ciam_is_ok(site: Settings, ask: Ask, name: str, mode: str) -> None:
    found = only(ask(name))

    is_oidc_only = name in ("metadata", "keys")
    assert found.status is (Status.SKIPPED if is_oidc_only and mode == "ciam" else Status.OK)
    assert found.advice == ""


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("how", UNREACHABLE)
def test_an_unreachable_server_is_an_error_with_the_host_and_the_setting(
    ciam: FakeCiam, site: Settings, ask: Ask, how: str
) -> None:
    site.CIAM_TIMEOUT = 0.4
    ciam.unreachable("discovery", how)
    site.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}
    found = only(ask("metadata"))

    assert found.status is Status.ERROR
    assert "server_metadata_url" in found.found + found.advice
    assert "127.0.0.1:" in found.found
    assert found.advice


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_host_without_an_address_is_an_error_of_the_name_server(site: Settings, ask: Ask) -> None:
    with_client(site, server_metadata_url="https://ciam.invalid/.well-known/openid-configuration")
    found = only(ask("metadata"))

    assert found.status is Status.ERROR
    assert "host ciam.invalid" in found.found
    assert "gaierror" in found.found
    assert "name server" in found.advice


@pytest.mark.parametrize("stage", ["jwks", "token", "application", "authorize"])
@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.covering
def test_a_server_that_refuses_the_connection_is_an_error(
    ciam: FakeCiam, site: Settings, ask: Ask, stage: str
) -> None:
    ciam.unreachable(stage, "refused")
    site.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}
    found = only(ask(QUESTIONS_OF_STAGES[stage]))

    assert found.status is Status.ERROR
    assert "failure no_connection" in found.found
    assert "CIAM_TIMEOUT" in found.advice


def survive(ciam: FakeCiam, site: Settings, ask: Ask, stage: str, behaviour: str) -> Finding:
    """Let the fake misbehave, and return the finding, which must come in time."""
    ciam.misbehave(stage, behaviour, times=None, seconds=20)
    # On a busy machine, the metadata, which a question needs, can be slower than the first limit.
    for site.CIAM_TIMEOUT in (0.25, 2.0):
        began_at = time.monotonic()
        found = only(ask(QUESTIONS_OF_STAGES[stage]))
        assert time.monotonic() - began_at < 20
        if found.status is not Status.SKIPPED:
            break
    ciam.reset()
    return found


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("behaviour", ["silent", "html", "list", "deep", "redirect", "truncated"])
def test_a_metadata_answer_that_cannot_be_used_is_an_error(
    ciam: FakeCiam, site: Settings, ask: Ask, behaviour: str
) -> None:
    found = survive(ciam, site, ask, "discovery", behaviour)

    assert found.status is Status.ERROR
    assert 'AUTHLIB_OAUTH_CLIENTS["ciam"]' in found.advice


@pytest.mark.slow("waits for deadlines")
@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("stage", QUESTIONS_OF_STAGES)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_each_question_survives_each_answer(
    ciam: FakeCiam, site: Settings, ask: Ask, stage: str, behaviour: str
) -> None:
    found = survive(ciam, site, ask, stage, behaviour)

    # A browser shows the page of a login page or follows its redirect, whatever they contain.
    is_for_browsers = stage == "authorize"
    assert is_for_browsers or found.status in (Status.ERROR, Status.WARNING)


@pytest.mark.parametrize("stage", QUESTIONS_OF_STAGES)
@pytest.mark.parametrize("format_name", ["ciam", "oauth"])
@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.covering
def test_no_finding_has_a_secret_or_an_unredacted_text_of_ciam(
    ciam: FakeCiam, site: Settings, ask: Ask, stage: str, format_name: str
) -> None:
    ciam.fail(stage, code="Some.Failure", text=HOSTILE_TEXT, format=format_name, status=400)
    found = only(ask(QUESTIONS_OF_STAGES[stage]))

    assert found.status in (Status.ERROR, Status.WARNING)
    assert "Some.Failure" in found.found
    assert not [secret for secret in SECRETS if secret in str(found)]


# --- Metadata and keys ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"issuer": "https://elsewhere.cn/x?token=abc"}, "is https://elsewhere.cn/x, and must be"),
        ({"issuer": "javascript:alert(1)"}, "the issuer in the metadata is no URL"),
        ({"token_endpoint": "http://login.shop.cn/token"}, "token_endpoint must have the scheme"),
        ({"jwks_uri": None}, "the metadata lacks jwks_uri"),
        ({"id_token_signing_alg_values_supported": ["HS256"]}, "no algorithm that proves"),
    ],
)
def test_metadata_that_a_sign_in_refuses_is_an_error_with_the_reason(
    ciam: FakeCiam, site: Settings, ask: Ask, members: dict[str, Any], text: str
) -> None:
    ciam.metadata = members
    found, keys = ask("metadata", "keys")

    assert (found.status, keys.status) == (Status.ERROR, Status.SKIPPED)
    assert text in found.found
    assert "server_metadata_url" in found.advice
    ciam.reset()


@pytest.mark.parametrize("mode", ["oidc"])
def test_keys_that_fit_no_accepted_algorithm_are_an_error(
    ciam: FakeCiam, site: Settings, ask: Ask
) -> None:
    ciam.metadata = {"id_token_signing_alg_values_supported": ["ES256", "EdDSA"]}
    found = only(ask("keys"))

    assert found.status is Status.ERROR
    assert "keys, of which none is for ES256, EdDSA" in found.found
    ciam.reset()


# --- Client, token and login page -------------------------------------------------------------


def with_client(site: Settings, **members: object) -> None:
    site.AUTHLIB_OAUTH_CLIENTS = {"ciam": {**site.AUTHLIB_OAUTH_CLIENTS["ciam"], **members}}


def test_a_wrong_secret_is_an_error_of_both_endpoints(site: Settings, ask: Ask) -> None:
    with_client(site, client_secret="wrong-secret-of-the-shop")
    found = ask("client", "application token")

    assert [each.status for each in found] == [Status.ERROR] * 2
    assert all('"client_id" and "client_secret"' in each.advice for each in found)
    assert "wrong-secret-of-the-shop" not in str(found)


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_client_without_an_api_is_not_asked_for_a_token(site: Settings, ask: Ask) -> None:
    with_client(site, api_base_url="")

    assert only(ask("application token")).status is Status.SKIPPED


def test_an_address_of_the_api_without_an_api_is_an_error(
    ciam: FakeCiam, site: Settings, ask: Ask
) -> None:
    with_client(site, api_base_url="http://127.0.0.1:1/")
    found = only(ask("application token"))

    assert found.status is Status.ERROR
    assert "api_base_url" in found.found
    assert "127.0.0.1:1" in found.found


@pytest.mark.parametrize("mode", ["oidc"])
def test_the_advice_for_an_address_that_is_no_url_names_the_address(
    site: Settings, ask: Ask
) -> None:
    url = "https://\N{HORIZONTAL ELLIPSIS}.aliyunidaas.com"
    with_client(site, api_base_url=url, server_metadata_url=f"{url}/x/.well-known/jwks")
    token, clock = ask("application token", "clock")

    assert token.status is clock.status is Status.ERROR
    assert 'Correct "api_base_url"' in token.advice
    assert clock.advice == 'Correct the addresses in AUTHLIB_OAUTH_CLIENTS["ciam"].'


@pytest.mark.parametrize("mode", ["oidc"])
def test_another_refusal_of_the_token_endpoint_is_only_a_warning(
    ciam: FakeCiam, site: Settings, ask: Ask
) -> None:
    ciam.fail("token", code="Operation.Failure.User.Locked")
    found = only(ask("client"))

    assert found.status is Status.WARNING
    assert "does not show if CIAM has accepted the client" in found.advice


def test_a_token_endpoint_that_accepts_each_code_is_an_error(
    ciam: FakeCiam, site: Settings, ask: Ask
) -> None:
    ciam.misbehave("token", "slow", seconds=0)
    found = only(ask("client"))

    assert found.status is Status.ERROR
    assert "gives everybody a token" in found.advice


class SignedInHandler(BaseHTTPRequestHandler):
    """A login page that knows the browser, and redirects to the callback with a code."""

    def do_GET(self) -> None:
        callback = parse_qs(urlsplit(self.path).query)["redirect_uri"][0]
        self.send_response(302)
        self.send_header("Location", f"{callback}?code=secret-code")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Write nothing."""


@pytest.mark.parametrize("mode", ["ciam"])
def test_a_login_page_that_redirects_to_the_callback_is_ok(site: Settings, ask: Ask) -> None:
    with HTTPServer(("127.0.0.1", 0), SignedInHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with_client(site, authorize_url=f"http://127.0.0.1:{server.server_port}/authorize")
        found = only(ask("login page"))
        thread.join()

    assert found.status is Status.OK
    assert "a redirect to the callback" in found.found
    assert "secret-code" not in found.found


@pytest.mark.parametrize("has_own_callback", [True, False])
@pytest.mark.covering
def test_a_redirect_uri_that_ciam_refuses_is_reported_with_the_uri(
    ciam: FakeCiam, site: Settings, ask: Ask, has_own_callback: bool
) -> None:
    ciam.redirect_uris.clear()
    if not has_own_callback:
        site.CIAM_CALLBACK_URL = ""
    found = only(ask("login page"))

    assert found.status is (Status.ERROR if has_own_callback else Status.WARNING)
    assert "Register exactly https://shop.test/ciam/callback/" in found.advice
    assert ("set CIAM_CALLBACK_URL" in found.advice) is not has_own_callback


def test_a_refused_request_with_a_known_redirect_uri_names_the_code(
    ciam: FakeCiam, site: Settings, ask: Ask
) -> None:
    ciam.fail("authorize", code="invalid_scope")
    found = only(ask("login page"))

    assert found.status is Status.ERROR
    assert "with the code invalid_scope" in found.found
    assert '"scope"' in found.advice


# --- Clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "status"),
    [
        (0, Status.OK),
        (60, Status.WARNING),
        (-60, Status.WARNING),
        (3600, Status.ERROR),
        (-300, Status.ERROR),
    ],
)
@pytest.mark.covering
def test_a_difference_of_the_clocks_is_judged_with_the_leeway_of_tokens(
    ciam: FakeCiam, site: Settings, ask: Ask, seconds: int, status: Status
) -> None:
    ciam.date_header = email.utils.formatdate(time.time() + seconds, usegmt=True)
    found = only(ask("clock"))

    assert found.status is status
    # A busy machine may need some seconds.
    told = int(re.findall(r"[0-9]+", found.found)[0])
    assert abs(told - abs(seconds)) < 10
    assert ("behind" in found.found) is (seconds < 0) or not seconds
    assert ("NTP" in found.advice) is (status is not Status.OK)


@pytest.mark.parametrize("date", ["yesterday", "Mon, 01 Jan 99999 00:00:00 GMT"])
@pytest.mark.covering
def test_a_time_that_cannot_be_read_is_a_warning(
    ciam: FakeCiam, site: Settings, ask: Ask, date: str
) -> None:
    ciam.date_header = date

    assert only(ask("clock")).status is Status.WARNING


@pytest.mark.parametrize("mode", ["oidc"])
def test_the_clock_of_an_unreachable_server_is_an_error(
    ciam: FakeCiam, site: Settings, ask: Ask
) -> None:
    ciam.unreachable("discovery", "refused")
    site.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}

    assert only(ask("clock")).status is Status.ERROR
