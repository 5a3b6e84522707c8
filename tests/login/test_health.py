"""``ciam:health`` tells load balancers what a process knows, and never asks CIAM."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import Client, override_settings
from pytest_django.fixtures import Settings

from ciam_django.client import circuit_breaker
from ciam_django.client.endpoints import EndpointGroup
from ciam_django.login import health
from ciam_django.testing import FakeCiam
from tests.caches import DOWN_CACHES
from tests.login.test_storage_failures import database_away
from tests.rows import for_each_row

pytestmark = pytest.mark.django_db

URL = "/ciam/health/"
GROUPS = ["metadata", "token", "login", "check", "profile", "management"]


@pytest.fixture
def mode() -> str:
    return "oidc"


@pytest.fixture(autouse=True)
def forget_health(settings: Settings) -> Iterator[None]:
    """Switch the view on, and forget what an earlier test has found out."""
    settings.CIAM_HEALTH = True
    health._last = None
    yield
    health._last = None


def ask(status: int = 200) -> dict[str, Any]:
    health._last = None
    response = Client().get(URL)
    assert response.status_code == status
    body: dict[str, Any] = response.json()
    return body


def test_the_view_is_off_by_default(settings: Settings) -> None:
    del settings.CIAM_HEALTH
    response = Client().get(URL)

    assert (response.status_code, response.content) == (404, b"")


def test_a_good_process_tells_its_state_without_a_call_to_ciam(ciam: FakeCiam) -> None:
    assert ask() == {
        "status": "ok",
        "circuits": dict.fromkeys(GROUPS, "closed"),
        "cache": "ok",
        "database": "ok",
    }
    assert not ciam.requests


def test_the_response_depends_on_no_cookie_and_is_not_stored() -> None:
    response = Client().get(URL)

    assert response["Cache-Control"] == "no-store"
    assert response["Content-Type"] == "application/json"
    assert not response.cookies
    assert "Cookie" not in response.get("Vary", "")
    head = Client().head(URL)
    assert (head.status_code, head.content) == (200, b"")


def test_an_open_circuit_of_any_process_is_told_with_the_status_200(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    circuits = circuit_breaker._circuits_of(ciam.url, EndpointGroup.TOKEN)
    circuits.record_unanswered_call(time.monotonic())
    here = ask()
    circuit_breaker.forget_circuits()
    in_another_process = ask()
    advance_clock(11)
    after_the_pause = ask()

    closed = dict.fromkeys(GROUPS, "closed")
    assert here["status"] == in_another_process["status"] == "degraded"
    assert here["circuits"] == in_another_process["circuits"] == {**closed, "token": "open"}
    assert after_the_pause["circuits"] == {**closed, "token": "half_open"}
    assert not ciam.requests


def test_the_open_circuit_of_a_host_is_told_for_each_group(ciam: FakeCiam) -> None:
    circuits = circuit_breaker._circuits_of(ciam.url, EndpointGroup.TOKEN)
    circuits.record_unconnected_call(time.monotonic())

    assert ask()["circuits"] == dict.fromkeys(GROUPS, "open")


@for_each_row("name", DOWN_CACHES)
def test_a_cache_that_is_down_is_told_with_the_status_200(name: str) -> None:
    with override_settings(CACHES={"default": DOWN_CACHES[name]}):
        body = ask()

    assert (body["status"], body["cache"], body["database"]) == ("degraded", "unavailable", "ok")


def test_a_database_that_is_away_is_a_503() -> None:
    with database_away():
        body = ask(503)

    assert (body["status"], body["cache"], body["database"]) == ("unavailable", "ok", "unavailable")


@for_each_row(
    "client",
    [
        {},
        {"client_id": "app", "server_metadata_url": "http://[bad"},
        {"client_id": "app", "server_metadata_url": "no URL"},
    ],
)
def test_a_wrong_client_is_no_failure_of_the_view(client: dict[str, str]) -> None:
    with override_settings(AUTHLIB_OAUTH_CLIENTS={"ciam": client}):
        body = ask()

    assert body["circuits"] == dict.fromkeys(GROUPS, "closed")


def test_many_requests_in_a_second_ask_the_database_once(
    advance_clock: Callable[[float], None], django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        for _ in range(3):
            assert Client().get(URL).status_code == 200
    advance_clock(1.1)
    with django_assert_num_queries(1):
        Client().get(URL)


def test_one_thread_asks_a_database_that_does_not_answer(
    advance_clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    Client().get(URL)
    advance_clock(1.1)
    is_asking, may_end = threading.Event(), threading.Event()

    def wait(*args: object) -> bool:
        is_asking.set()
        assert may_end.wait(60)
        return False

    monkeypatch.setattr(health, "_has_database", wait)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(Client().get, URL)
        assert is_asking.wait(60)
        # The last known health is good.
        assert Client().get(URL).status_code == 200
        may_end.set()
        assert first.result().status_code == 503
    assert Client().get(URL).status_code == 503
