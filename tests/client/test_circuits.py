"""The states of the circuits, without a call to CIAM."""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django.accounts import bearer, session_check, token_refresh
from ciam_django.client import circuit_breaker, diagnosis
from ciam_django.client.circuit_breaker import (
    State,
    circuit_states,
    forget_circuits,
    guarded_call,
    refuse_while_open,
    running_calls,
)
from ciam_django.client.endpoints import EndpointGroup
from ciam_django.errors import CiamError
from ciam_django.events import CIRCUIT_CLOSED, CIRCUIT_OPENED, add_observer, remove_observer
from tests.caches import SHARED_CACHE, SharedCache
from tests.rows import for_each_row

URL = "https://ciam.example/api/"
LOGIN = EndpointGroup.LOGIN
# Seconds without calls after CIAM has been silent.
PAUSE_SECONDS = 10

Advance = Callable[[float], None]


def circuits() -> circuit_breaker._Circuits:
    """The circuits of the group, with the state that the processes share."""
    return circuit_breaker._circuits_of(URL, LOGIN)


def open_circuit(name: str = "group") -> None:
    """Let a call be silent that has begun just now."""
    if name == "group":
        circuits().record_unanswered_call(time.monotonic())
    else:
        circuits().record_unconnected_call(time.monotonic())


@contextlib.contextmanager
def another_process() -> Iterator[None]:
    """Run the block with the circuits of a process that has made no call."""
    hosts, groups = circuit_breaker._hosts.copy(), circuit_breaker._circuits.copy()
    forget_circuits()
    yield
    forget_circuits()
    circuit_breaker._hosts.update(hosts)
    circuit_breaker._circuits.update(groups)


def wait_told() -> int | None:
    """The seconds after which a refused call may try again; None if no call is refused."""
    try:
        refuse_while_open(URL, LOGIN)
    except CiamError as error:
        return error.retry_after
    return None


def state() -> State:
    return circuit_states([URL])[LOGIN]


def test_a_refused_call_tells_the_rest_of_the_pause(advance_clock: Advance) -> None:
    open_circuit()
    assert wait_told() == PAUSE_SECONDS
    advance_clock(PAUSE_SECONDS - 3.5)
    assert wait_told() == 4
    advance_clock(3)
    assert wait_told() == 1
    advance_clock(1)

    # The pause is over, and one call may try again. The others wait for its answer.
    assert wait_told() == PAUSE_SECONDS
    circuits().claim_attempt()
    circuits().record_answer()
    assert wait_told() is None


def test_the_pause_of_another_process_is_told_after_the_own_pause(advance_clock: Advance) -> None:
    open_circuit()
    advance_clock(PAUSE_SECONDS + 0.5)
    with another_process():
        open_circuit()

    assert wait_told() == PAUSE_SECONDS


@for_each_row("name", ["group", "host"])
def test_the_state_is_that_of_the_worst_circuit(name: str, advance_clock: Advance) -> None:
    forget_circuits()
    cache.clear()
    assert state() is State.CLOSED
    open_circuit(name)
    assert state() is State.OPEN
    with another_process():
        assert state() is State.OPEN
    advance_clock(PAUSE_SECONDS + 1)
    assert state() is State.HALF_OPEN
    circuits().record_answer()
    assert state() is State.CLOSED


def test_the_processes_share_the_state_for_ten_minutes(advance_clock: Advance) -> None:
    open_circuit()
    advance_clock(599)
    with another_process():
        assert state() is State.HALF_OPEN
    advance_clock(2)
    with another_process():
        assert state() is State.CLOSED


def test_no_call_tries_again_during_the_pause() -> None:
    open_circuit()
    with pytest.raises(CiamError, match="no_connection"):
        circuits().claim_attempt()


@for_each_row("name", ["group", "host"])
def test_an_attempt_that_proved_nothing_lets_the_next_call_try(
    name: str, advance_clock: Advance
) -> None:
    forget_circuits()
    cache.clear()
    open_circuit(name)
    advance_clock(PAUSE_SECONDS + 1)
    circuits().claim_attempt()
    with pytest.raises(CiamError, match="no_connection"):
        circuits().claim_attempt()
    circuits().release_attempt()

    circuits().claim_attempt()


def test_a_failed_connection_proves_nothing_after_an_answer_and_lets_the_next_call_try(
    advance_clock: Advance,
) -> None:
    open_circuit("host")
    advance_clock(PAUSE_SECONDS + 1)
    circuits().claim_attempt()
    began_at = time.monotonic()
    with another_process():
        circuit_breaker._circuits_of(URL, EndpointGroup.TOKEN).record_answer()
    circuits()._host.adopt_state(True)
    circuits().record_unconnected_call(began_at)

    circuits().claim_attempt()


@for_each_row("name", ["group", "host"])
def test_an_answer_counts_in_its_process_although_its_time_is_not_shared(name: str) -> None:
    forget_circuits()
    cache.clear()
    circuits().record_answer()
    began_at = time.monotonic()
    # The time of this answer is not shared, less than a second after the first answer.
    circuits().record_answer()
    if name == "group":
        circuits().record_unanswered_call(began_at)
    else:
        circuits().record_unconnected_call(began_at)

    assert state() is State.CLOSED


def test_the_time_of_an_answer_is_shared_once_in_a_second(
    settings: Settings, advance_clock: Advance
) -> None:
    settings.CACHES = SHARED_CACHE
    cache.clear()
    circuits()
    SharedCache.calls.clear()
    for _ in range(3):
        circuit_breaker._circuits_at("https://ciam.example", LOGIN).record_answer()
    assert SharedCache.calls == ["set"]
    advance_clock(1.5)
    circuit_breaker._circuits_at("https://ciam.example", LOGIN).record_answer()

    assert SharedCache.calls == ["set", "set"]


def test_a_circuit_opens_again_after_an_answer(advance_clock: Advance) -> None:
    open_circuit()
    advance_clock(5)
    circuits().record_answer()
    assert wait_told() is None
    advance_clock(1)
    open_circuit()

    assert wait_told() == PAUSE_SECONDS
    # The pause of the first time would have ended.
    advance_clock(6)
    assert wait_told() == 4
    with another_process():
        assert state() is State.OPEN


def test_an_answer_ends_the_attempt(advance_clock: Advance) -> None:
    open_circuit()
    advance_clock(PAUSE_SECONDS + 1)
    circuits().claim_attempt()
    circuits().record_answer()
    with another_process():
        open_circuit()
    advance_clock(PAUSE_SECONDS + 1)

    circuits().claim_attempt()


def test_an_open_group_sees_at_once_that_another_process_has_closed_it() -> None:
    circuits().record_answer()
    open_circuit()
    with another_process():
        circuits().record_answer()

    assert wait_told() is None


def test_a_silent_call_of_a_process_that_has_learnt_of_the_pause_writes_no_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    open_circuit()
    with another_process():
        began_at = time.monotonic()
        assert wait_told()
        circuits().record_unanswered_call(began_at)

    assert len(caplog.records) == 1


def test_an_observer_gets_the_host_and_the_group_of_a_change_elsewhere() -> None:
    changes: list[tuple[object, ...]] = []

    def observe(name: str, facts: Mapping[str, object], request: object) -> None:
        changes.append((name, facts["host"], facts["group"], facts["elsewhere"]))

    open_circuit()
    add_observer(observe, CIRCUIT_OPENED, CIRCUIT_CLOSED)
    with another_process():
        assert wait_told()
    remove_observer(observe)

    assert changes == [("circuit_opened", "ciam.example", "login", True)]


@for_each_row(
    "function",
    [
        bearer.user_and_bearer,
        session_check.refresh_or_end_session,
        token_refresh.refresh_session_tokens,
        diagnosis.fetch_metadata,
        diagnosis.fetch_keys,
        diagnosis.try_token_endpoint,
        diagnosis.open_authorize_page,
        diagnosis.clock_difference,
    ],
)
def test_all_calls_of_a_function_that_a_request_can_wait_for_have_one_deadline(
    function: Any,
) -> None:
    wrappers = set()
    while function is not inspect.unwrap(function):
        wrappers.add(function.__code__.co_qualname.partition(".")[0])
        function = function.__wrapped__

    assert "sharing_one_deadline" in wrappers
    # A diagnosis asks CIAM during a pause, too.
    assert ("ignoring_circuits" in wrappers) is (function.__module__ == diagnosis.__name__)


# --- Calls ------------------------------------------------------------------------------------


@for_each_row("name", ["group", "host"])
def test_a_call_does_not_wait_for_a_place_during_the_pause(name: str) -> None:
    forget_circuits()
    open_circuit(name)
    with (
        pytest.raises(CiamError) as raised,
        guarded_call(URL, LOGIN, seconds=30, limit=0),
    ):
        pass

    # A call without a place would be told to try again after a second.
    assert raised.value.retry_after == PAUSE_SECONDS


@for_each_row("seconds, is_open", [(14.9, False), (15.0, True), (30.0, True)])
def test_silence_needs_half_of_the_time_limit(
    settings: Settings, seconds: float, is_open: bool
) -> None:
    settings.CIAM_TIMEOUT = 30.0
    forget_circuits()
    cache.clear()
    with pytest.raises(CiamError), guarded_call(URL, LOGIN, seconds=seconds, limit=1):
        raise CiamError("timeout")

    assert (state() is State.OPEN) is is_open


def test_an_attempt_with_little_time_lets_the_next_call_try(advance_clock: Advance) -> None:
    open_circuit()
    advance_clock(PAUSE_SECONDS + 1)
    with pytest.raises(CiamError), guarded_call(URL, LOGIN, seconds=0.1, limit=1):
        raise CiamError("timeout")

    circuits().claim_attempt()


def test_a_call_without_a_place_waits_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []

    class CountingCondition(threading.Condition):
        """A condition that keeps the time limits of its waits, and does not wait."""

        def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
            waits.append(timeout)
            return predicate()

    monkeypatch.setattr(circuit_breaker._calls, "_changed", CountingCondition())
    with pytest.raises(CiamError) as raised, guarded_call(URL, LOGIN, seconds=30, limit=0):
        pass

    assert waits == [1.0]
    assert "CIAM_MAX_CALLS" in raised.value.upstream_text


def test_the_end_of_a_call_makes_place_for_a_waiting_call_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(circuit_breaker, "_MAX_WAIT", 20.0)
    has_begun, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with guarded_call(URL, LOGIN, seconds=30, limit=1):
            has_begun.set()
            may_end.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert has_begun.wait(20)
    began_at = time.monotonic()
    timer = threading.Timer(0.02, may_end.set)
    timer.start()
    with guarded_call(URL, LOGIN, seconds=30, limit=1):
        assert time.monotonic() - began_at < 15
        assert running_calls() == 1
    for each in (thread, timer):
        each.join()

    assert running_calls() == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_has_no_calls_and_no_circuits_of_its_parent() -> None:
    open_circuit()
    cache.clear()
    with guarded_call("https://other.example/", LOGIN, seconds=30, limit=1):
        assert running_calls() == 1
        assert state() is State.OPEN
        child = os.fork()
        if child == 0:
            status = 2
            with contextlib.suppress(BaseException):
                status = int(running_calls() != 0 or state() is not State.CLOSED)
            os._exit(status)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
