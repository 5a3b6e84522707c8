"""``ciam:health`` tells load balancers what a process knows, and never asks CIAM."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connections
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
    health.forget_health()
    yield
    health.forget_health()


def ask(status: int = 200) -> dict[str, Any]:
    health.forget_health()
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


@dataclass
class HangingQuestion:
    """A question without an answer until ``may_end`` is set; ``count`` counts the calls."""

    began: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    may_end: threading.Event = field(default_factory=threading.Event)
    count: int = 0

    def __call__(self) -> bool:
        self.count += 1
        self.began.release()
        assert self.may_end.wait(60)
        return False


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], HangingQuestion]:
    """Return a function that replaces a function of the module by one that does not answer."""

    def hang(name: str) -> HangingQuestion:
        question = HangingQuestion()
        monkeypatch.setattr(health, name, question)
        return question

    return hang


def get_in_thread() -> Any:
    """Ask the view, and close the connection of this thread to the database."""
    try:
        return Client().get(URL)
    finally:
        connections.close_all()


def test_one_thread_asks_a_database_that_does_not_answer(
    advance_clock: Callable[[float], None], hanging: Callable[[str], HangingQuestion]
) -> None:
    Client().get(URL)
    advance_clock(1.1)
    question = hanging("_has_database")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(get_in_thread)
        assert question.began.acquire(timeout=60)
        # The last known health is good.
        assert Client().get(URL).status_code == 200
        advance_clock(5)
        overdue = Client().get(URL)
        question.may_end.set()
        assert first.result().status_code == 503
    assert overdue.status_code == 503
    assert (overdue.json()["database"], len(overdue.json()["circuits"])) == ("unavailable", 6)
    assert Client().get(URL).status_code == 503


@pytest.mark.usefixtures("closed_thread_connections")
def test_a_cache_that_does_not_answer_for_five_seconds_is_away(
    advance_clock: Callable[[float], None], hanging: Callable[[str], HangingQuestion]
) -> None:
    Client().get(URL)
    advance_clock(1.1)
    question = hanging("try_cache")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(get_in_thread)
        assert question.began.acquire(timeout=60)
        advance_clock(5)
        overdue = Client().get(URL)
        question.may_end.set()
        first.result()

    assert overdue.status_code == 200
    assert (overdue.json()["database"], overdue.json()["cache"]) == ("ok", "unavailable")


def test_the_first_requests_of_a_process_ask_the_database_once(
    advance_clock: Callable[[float], None], hanging: Callable[[str], HangingQuestion]
) -> None:
    question = hanging("_has_database")
    with ThreadPoolExecutor(4) as pool:
        requests = [pool.submit(get_in_thread) for _ in range(3)]
        assert question.began.acquire(timeout=60)
        advance_clock(5)
        # No further thread waits for a database that has not answered for so long.
        assert pool.submit(get_in_thread).result(60).status_code == 503
        advance_clock(-5)
        question.may_end.set()
        assert {request.result().status_code for request in requests} == {503}

    assert question.count == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_asks_again_while_a_thread_of_its_parent_is_asking() -> None:
    with health._asking:
        child = os.fork()
        if not child:
            os._exit(health._asking.locked())
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
