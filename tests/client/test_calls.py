"""The event of each call to CIAM, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests
from django.http import HttpRequest
from pytest_django.fixtures import Settings

from ciam_django.client import CiamClient
from ciam_django.client.app import ciam_app
from ciam_django.client.calls import send_and_record
from ciam_django.errors import CiamError, raising_ciam_errors
from ciam_django.events import CALL_FINISHED, add_observer, remove_observer
from ciam_django.testing import FakeCiam

Facts = dict[str, Any]


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture
def calls() -> Iterator[list[Facts]]:
    """The facts of each event ``call_finished``."""
    found: list[Facts] = []

    def observe(name: str, facts: Mapping[str, Any], request: HttpRequest | None) -> None:
        found.append(dict(facts))

    add_observer(observe, CALL_FINISHED)
    yield found
    remove_observer(observe)


def end_of(calls: list[Facts]) -> Facts:
    """The facts of the only call that differ from call to call or from failure to failure."""
    (facts,) = calls
    return {name: facts[name] for name in ("endpoint", "http_status", "row", "kind")}


def send(url: str) -> requests.Response:
    """Send a request of the project itself."""
    with raising_ciam_errors("api"), ciam_app().new_http_session() as session:
        return session.request("GET", url, withhold_token=True)


def test_a_call_has_its_endpoint_its_host_its_status_and_its_time(
    ciam: FakeCiam, calls: list[Facts]
) -> None:
    before = time.time_ns()
    CiamClient().captcha()
    after = time.time_ns()

    token, captcha = calls
    assert [token["endpoint"], captcha["endpoint"]] == ["application_token", "captcha"]
    assert (captcha["http_method"], captcha["http_status"]) == ("GET", 200)
    assert f"http://{captcha['server_address']}:{captcha['server_port']}" == ciam.url
    assert captcha["row"] is captcha["kind"] is None
    assert before <= token["began_at_ns"] <= captcha["began_at_ns"] <= after
    assert 0 < captcha["seconds"] <= (after - before) / 1e9


def test_a_call_that_fails_with_the_status_200_has_the_row_of_the_code_in_the_body(
    ciam: FakeCiam, calls: list[Facts]
) -> None:
    ciam.fail("token", code="Operation.Failure.User.Locked", type_code="Operation.Failure")
    with pytest.raises(CiamError):
        ciam_app().exchange_code(code="c", redirect_uri="", code_verifier="v" * 43)

    assert end_of(calls) == {
        "endpoint": "token",
        "http_status": 200,
        "row": "Operation.Failure.User.Locked",
        "kind": "account_state",
    }


def test_a_call_without_a_connection_has_a_row_and_no_status(
    ciam: FakeCiam, settings: Settings, calls: list[Facts]
) -> None:
    ciam.unreachable("token", "refused")
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("ciam")}
    with pytest.raises(CiamError):
        ciam_app().exchange_code(code="c", redirect_uri="", code_verifier="v" * 43)

    assert end_of(calls) == {
        "endpoint": "token",
        "http_status": None,
        "row": "no_connection",
        "kind": "upstream",
    }


def test_a_call_that_the_circuit_breaker_refuses_is_not_recorded(
    ciam: FakeCiam, settings: Settings, calls: list[Facts]
) -> None:
    ciam.unreachable("token", "refused")
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("ciam")}
    for _ in range(3):
        with pytest.raises(CiamError):
            ciam_app().exchange_code(code="c", redirect_uri="", code_verifier="v" * 43)

    assert len(calls) == 1


def test_a_body_that_ends_too_early_is_a_failure_with_its_status(
    ciam: FakeCiam, calls: list[Facts]
) -> None:
    ciam.misbehave("token", "truncated")
    with pytest.raises(CiamError):
        ciam_app().exchange_code(code="c", redirect_uri="", code_verifier="v" * 43)

    assert end_of(calls)["row"] == "unreadable_answer"
    assert end_of(calls)["http_status"] == 200


def test_a_page_is_a_failure_of_another_endpoint_only_by_its_status(
    ciam: FakeCiam, calls: list[Facts]
) -> None:
    page = ciam_app().authorization_url(
        redirect_uri="http://testserver/ciam/callback/",
        state="s" * 32,
        nonce="n" * 32,
        code_verifier="v" * 43,
    )
    assert send(page).headers["Content-Type"].startswith("text/html")
    assert send(f"{ciam.url}/nowhere?secret=1").status_code == 404

    assert [call["endpoint"] for call in calls] == ["other", "other"]
    assert [bool(call["row"]) for call in calls] == [False, True]
    assert "secret" not in str(calls)


def test_an_exception_of_no_known_package_is_recorded_as_an_unreadable_answer(
    calls: list[Facts],
) -> None:
    request = requests.Request("GET", "https://login.example.com/a?secret=1").prepare()

    def fail() -> requests.Response:
        raise KeyError

    with pytest.raises(KeyError):
        send_and_record("keys", request, fail)

    assert end_of(calls)["row"] == "unreadable_answer"
    assert (calls[0]["server_address"], calls[0]["server_port"]) == ("login.example.com", 443)


def test_a_code_that_only_ciam_knows_is_recorded_as_the_row_of_unknown_codes(
    ciam: FakeCiam, calls: list[Facts]
) -> None:
    ciam.fail("token", code="Hostile.Code.Of.Nobody", text="secret text")
    with pytest.raises(CiamError):
        ciam_app().exchange_code(code="c", redirect_uri="", code_verifier="v" * 43)

    assert end_of(calls)["row"] == "unknown_error"
    assert "Hostile" not in str(calls)
    assert "secret" not in str(calls)
