"""Calls to CIAM fail at once after CIAM has been silent, until CIAM answers again."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from django.test import override_settings
from pytest_django.fixtures import Settings

from ciam_django.client import CiamClient, circuit_breaker
from ciam_django.client.app import ciam_app
from ciam_django.client.circuit_breaker import (
    call_deadline,
    guarded_call,
    sharing_one_deadline,
)
from ciam_django.client.endpoints import EndpointGroup
from ciam_django.client.oauth import CiamApp
from ciam_django.errors import CiamError
from ciam_django.events import CIRCUIT_CLOSED, CIRCUIT_OPENED, add_observer, remove_observer
from ciam_django.testing import FakeCiam
from tests.rows import for_each_row

pytestmark = pytest.mark.slow("waits for deadlines")

# Seconds without calls after CIAM has been silent.
PAUSE_SECONDS = 10

CACHES = {
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
    "dummy": "django.core.cache.backends.dummy.DummyCache",
    "failing": f"{__name__}.FailingCache",
    "swallowing": f"{__name__}.SwallowingCache",
}


class FailingCache:
    """A cache whose server is down."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        pass

    def get(self, *args: object, **kwargs: object) -> Any:
        raise ConnectionError

    add = set = delete = clear = get

    def close(self, **kwargs: object) -> None:
        pass


class SwallowingCache(FailingCache):
    """A cache whose server is down, and whose backend ignores the exceptions."""

    def get(self, *args: object, **kwargs: object) -> Any:
        return None

    add = set = delete = clear = get


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture
def ciam(ciam: FakeCiam) -> FakeCiam:
    """The fake CIAM, whose application token is cached."""
    CiamClient().captcha()
    return ciam


def call_ciam() -> CiamError | None:
    try:
        CiamClient().auth_sources()
    except CiamError as error:
        return error
    return None


def code_of_call() -> str:
    error = call_ciam()
    return error.code if error else ""


def code_of_short_call() -> str:
    """The code of a call that waits only a moment for a silent CIAM."""
    with override_settings(CIAM_TIMEOUT=0.3):
        return code_of_call()


def silence(ciam: FakeCiam, behaviour: str = "silent") -> None:
    ciam.misbehave("api", behaviour, times=None)
    # On a busy machine, a call can have too little time left to prove that CIAM is silent.
    for _ in range(10):
        assert code_of_short_call() == "timeout"
        if is_open(ciam):
            break


def is_open(ciam: FakeCiam, group: EndpointGroup = EndpointGroup.LOGIN) -> bool:
    try:
        circuit_breaker.refuse_while_open(ciam.url, group)
    except CiamError:
        return True
    return False


def become_another_process() -> None:
    circuit_breaker.forget_circuits()


def call_count(ciam: FakeCiam) -> int:
    return sum(request.path.endswith("/auth_sources") for request in ciam.requests)


def test_after_one_timeout_calls_of_all_processes_fail_at_once(ciam: FakeCiam) -> None:
    silence(ciam)
    calls = len(ciam.requests)
    for _ in range(2):
        error = call_ciam()
        assert error is not None
        assert error.code == "no_connection"
        assert error.retry_after is not None
        assert 1 <= error.retry_after <= PAUSE_SECONDS
        become_another_process()

    assert len(ciam.requests) == calls


def test_the_first_answer_ends_the_pause_in_all_processes(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    silence(ciam)
    hosts, circuits = circuit_breaker._hosts.copy(), circuit_breaker._circuits.copy()
    advance_clock(PAUSE_SECONDS + 1)
    ciam.reset()
    become_another_process()
    assert code_of_call() == ""

    circuit_breaker._hosts.update(hosts)
    circuit_breaker._circuits.update(circuits)
    assert code_of_call() == ""


def test_an_error_answer_ends_the_pause(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    silence(ciam)
    advance_clock(PAUSE_SECONDS + 1)
    ciam.reset()
    ciam.fail("api", code="Service.Internal.Error", status=500)

    assert code_of_call() == "Service.Internal.Error"
    assert code_of_call() == ""


@pytest.mark.parametrize("behaviour", ["reset", "html", "empty", "truncated", "redirect"])
def test_an_unusable_answer_does_not_refuse_the_next_call(ciam: FakeCiam, behaviour: str) -> None:
    ciam.misbehave("api", behaviour)
    assert code_of_call() in ("no_connection", "unreadable_answer")

    assert code_of_call() == ""


@pytest.mark.parametrize("behaviour", ["slow", "drip_headers", "drip_body"])
def test_each_form_of_silence_refuses_the_next_call(ciam: FakeCiam, behaviour: str) -> None:
    silence(ciam, behaviour)

    assert code_of_call() == "no_connection"


@pytest.mark.parametrize("cache_name", CACHES)
def test_one_call_at_a_time_tries_again_after_the_pause(
    ciam: FakeCiam,
    settings: Settings,
    advance_clock: Callable[[float], None],
    cache_name: str,
) -> None:
    settings.CACHES = {"default": {"BACKEND": CACHES[cache_name]}}
    silence(ciam)
    assert code_of_call() == "no_connection"
    advance_clock(PAUSE_SECONDS + 1)
    calls = len(ciam.requests)
    settings.CIAM_TIMEOUT = 0.3
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: code_of_call(), range(4)))

    assert sorted(codes) == ["no_connection"] * 3 + ["timeout"]
    assert len(ciam.requests) <= calls + 1
    assert code_of_call() == "no_connection"

    advance_clock(PAUSE_SECONDS + 1)
    ciam.reset()
    settings.CIAM_TIMEOUT = 30.0
    assert code_of_call() == ""


def test_after_an_attempt_that_was_killed_another_process_tries_again(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    silence(ciam)
    advance_clock(PAUSE_SECONDS + 1)
    ciam.reset()
    circuit_breaker._circuits_of(ciam.url, EndpointGroup.LOGIN).claim_attempt()
    become_another_process()
    assert code_of_call() == "no_connection"

    # CIAM_TIMEOUT has passed.
    advance_clock(32)
    assert code_of_call() == ""


def test_a_reset_attempt_lets_the_next_call_try_again(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    silence(ciam)
    advance_clock(PAUSE_SECONDS + 1)
    ciam.reset()
    ciam.misbehave("api", "reset")
    assert code_of_call() == "no_connection"

    assert code_of_call() == ""


@pytest.mark.parametrize("is_in_another_process", [True, False])
def test_a_slow_call_proves_nothing_if_another_call_has_had_an_answer(
    ciam: FakeCiam, is_in_another_process: bool
) -> None:
    @guarded_call(ciam.url, EndpointGroup.LOGIN, seconds=30, limit=9)
    def time_out_after_another_answer() -> None:
        if is_in_another_process:
            become_another_process()
        assert code_of_call() == ""
        raise CiamError("timeout")

    with pytest.raises(CiamError, match="timeout"):
        time_out_after_another_answer()

    assert code_of_call() == ""


def test_the_clock_of_another_host_may_be_ahead(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    become_another_process()
    now = time.time
    with monkeypatch.context() as other_host:
        other_host.setattr(time, "time", lambda: now() + 60)
        assert code_of_call() == ""
    silence(ciam)

    assert code_of_call() == "no_connection"


def test_a_closed_port_refuses_the_next_call(ciam: FakeCiam, settings: Settings) -> None:
    close_port(ciam, settings)
    first, second = call_ciam(), call_ciam()

    assert first is not None
    assert first.retry_after is None
    assert second is not None
    assert second.retry_after == PAUSE_SECONDS
    # The other hosts are not concerned.
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("ciam")}
    assert code_of_call() == ""


def test_a_connection_error_without_arguments_passes_and_proves_nothing(ciam: FakeCiam) -> None:
    with (
        pytest.raises(requests.ConnectionError),
        guarded_call(ciam.url, EndpointGroup.LOGIN, seconds=10, limit=9),
    ):
        # A project's tests replace the network by such exceptions.
        raise requests.ConnectionError

    assert code_of_call() == ""


def test_a_host_has_one_circuit_in_each_letter_case() -> None:
    first, second = (
        circuit_breaker._circuits_of(url, EndpointGroup.TOKEN)
        for url in ("https://CIAM.Example/a", "https://ciam.example/b")
    )
    assert first is second


def test_a_wrong_certificate_does_not_refuse_the_next_call(
    ciam: FakeCiam, settings: Settings
) -> None:
    with FakeCiam(https=True) as secure:
        client = {**ciam.client("ciam"), "api_base_url": secure.url}
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
        for error in (call_ciam(), call_ciam()):
            assert error is not None
            assert error.retry_after is None


def test_the_log_has_a_line_for_each_change_of_the_state(
    ciam: FakeCiam, advance_clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ciam_django")
    silence(ciam)
    advance_clock(PAUSE_SECONDS + 1)
    assert code_of_short_call() == "timeout"
    advance_clock(PAUSE_SECONDS + 1)
    ciam.reset()
    assert code_of_call() == ""

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (level, f"Circuit {state}: host=127.0.0.1 group=login")
        for level, state in (
            ("WARNING", "open"),
            ("INFO", "half-open"),
            ("INFO", "open"),
            ("INFO", "half-open"),
            ("INFO", "closed"),
        )
    ]


def test_a_process_records_the_changes_of_other_processes_without_a_log_line(
    ciam: FakeCiam, advance_clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    changes: list[tuple[str, object]] = []

    def observe(name: str, facts: Mapping[str, object], request: object) -> None:
        changes.append((name, facts["elsewhere"]))

    silence(ciam)
    hosts, circuits = circuit_breaker._hosts.copy(), circuit_breaker._circuits.copy()
    become_another_process()
    caplog.clear()
    add_observer(observe, CIRCUIT_OPENED, CIRCUIT_CLOSED)
    assert is_open(ciam)
    advance_clock(PAUSE_SECONDS + 1)
    ciam.reset()
    assert code_of_call() == ""
    circuit_breaker._hosts.update(hosts)
    circuit_breaker._circuits.update(circuits)
    assert not is_open(ciam)
    remove_observer(observe)

    assert changes == [("circuit_opened", True), ("circuit_closed", None), ("circuit_closed", True)]
    assert sum("closed" in record.getMessage() for record in caplog.records) <= 1


def test_calls_that_have_begun_together_open_the_circuit_with_one_line(
    ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    circuits = circuit_breaker._circuits_of(ciam.url, EndpointGroup.TOKEN)
    began_at = time.monotonic()
    for _ in range(3):
        circuits.record_unanswered_call(began_at)

    assert len(caplog.records) == 1


def test_a_process_that_learns_of_an_open_circuit_writes_no_line(
    ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    circuit_breaker._circuits_of(ciam.url, EndpointGroup.TOKEN).record_unanswered_call(
        time.monotonic()
    )
    become_another_process()
    assert is_open(ciam, EndpointGroup.TOKEN)

    assert len(caplog.records) == 1


def test_after_a_silent_attempt_and_its_pause_the_next_call_tries_again(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    circuits = circuit_breaker._circuits_of(ciam.url, EndpointGroup.LOGIN)
    circuits.record_unanswered_call(time.monotonic())
    advance_clock(PAUSE_SECONDS + 1)
    circuits.claim_attempt()
    circuits.record_unanswered_call(time.monotonic())
    # The attempt may take CIAM_TIMEOUT, which is longer than the pause.
    advance_clock(PAUSE_SECONDS + 1)

    assert code_of_call() == ""


def test_a_silent_attempt_lets_the_next_call_try_again_if_another_process_has_had_an_answer(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    circuits = circuit_breaker._circuits_of(ciam.url, EndpointGroup.LOGIN)
    circuits.record_unanswered_call(time.monotonic())
    advance_clock(PAUSE_SECONDS + 1)
    circuits.claim_attempt()
    began_at = time.monotonic()
    become_another_process()
    circuit_breaker._circuits_of(ciam.url, EndpointGroup.LOGIN).record_answer()
    circuits.record_unanswered_call(began_at)

    # Raises an error if another call tries again.
    circuits.claim_attempt()


def test_a_body_that_is_too_large_is_an_answer_and_ends_the_pause(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    silence(ciam)
    advance_clock(PAUSE_SECONDS + 1)
    ciam.reset()
    ciam.misbehave("api", "enormous")
    assert code_of_call() == "unreadable_answer"

    assert not is_open(ciam)


# --- Groups of endpoints ----------------------------------------------------------------------


def test_a_silent_group_does_not_stop_another_group_that_answers(ciam: FakeCiam) -> None:
    silence(ciam)
    become_another_process()
    with pytest.raises(CiamError, match="invalid_grant"):
        ciam_app().refresh_tokens("an unknown token")

    # The answer of the other group says nothing about the silent group.
    assert code_of_call() == "no_connection"


def close_port(ciam: FakeCiam, settings: Settings) -> None:
    """Let the API and the token endpoint be at an address without a server."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    client = {**ciam.client("ciam"), "api_base_url": url, "access_token_url": f"{url}token"}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}


def test_a_failed_connection_stops_all_groups_of_the_host_in_all_processes(
    ciam: FakeCiam, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    close_port(ciam, settings)
    assert code_of_call() == "no_connection"
    assert caplog.messages == ["Circuit open: host=127.0.0.1 group=all"]
    become_another_process()
    with pytest.raises(CiamError, match="no_connection") as raised:
        ciam_app().refresh_tokens("an unknown token")

    assert raised.value.retry_after == PAUSE_SECONDS


def test_an_answer_of_any_group_ends_the_pause_of_the_host(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    circuits = circuit_breaker._circuits_of(ciam.url, EndpointGroup.LOGIN)
    circuits.record_unconnected_call(time.monotonic())
    assert is_open(ciam, EndpointGroup.TOKEN)
    advance_clock(PAUSE_SECONDS + 1)
    with pytest.raises(CiamError, match="invalid_grant"):
        ciam_app().refresh_tokens("an unknown token")

    assert not is_open(ciam, EndpointGroup.LOGIN)


def test_a_silent_group_proves_that_the_host_accepts_connections(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    circuit_breaker._circuits_of(ciam.url, EndpointGroup.TOKEN).record_unconnected_call(
        time.monotonic()
    )
    advance_clock(PAUSE_SECONDS + 1)
    silence(ciam)

    assert is_open(ciam, EndpointGroup.LOGIN)
    assert not is_open(ciam, EndpointGroup.TOKEN)


def test_the_attempt_at_the_host_is_free_if_the_group_has_an_attempt_already(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    silence(ciam)
    circuits = circuit_breaker._circuits_of(ciam.url, EndpointGroup.LOGIN)
    advance_clock(PAUSE_SECONDS + 1)
    circuits.claim_attempt()
    circuits.record_unconnected_call(time.monotonic())
    circuits._group.claim_attempt()
    advance_clock(PAUSE_SECONDS + 1)
    with pytest.raises(CiamError, match="no_connection"):
        circuits.claim_attempt()
    ciam.reset()
    with pytest.raises(CiamError, match="invalid_grant"):
        ciam_app().refresh_tokens("an unknown token")

    assert not circuits._host.is_open


def test_one_failed_connection_proves_nothing_if_a_group_has_had_an_answer(ciam: FakeCiam) -> None:
    circuits = circuit_breaker._circuits_of(ciam.url, EndpointGroup.LOGIN)
    began_at = time.monotonic()
    with pytest.raises(CiamError, match="invalid_grant"):
        ciam_app().refresh_tokens("an unknown token")
    circuits.record_unconnected_call(began_at)

    assert not is_open(ciam)


def test_two_threads_that_read_the_same_state_adopt_it_once(ciam: FakeCiam) -> None:
    circuits = circuit_breaker._circuits_of(ciam.url, EndpointGroup.LOGIN)
    for is_open in (True, True, False, False):
        circuits._group.adopt_state(is_open)
        assert circuits._group.is_open is is_open


# --- The limit of concurrent calls ------------------------------------------------------------


@pytest.fixture
def held_call(ciam: FakeCiam, settings: Settings) -> Iterator[Callable[[], None]]:
    """A call that runs; the function ends the call."""
    settings.CIAM_MAX_CALLS = 1
    has_begun, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with guarded_call(ciam.url, EndpointGroup.LOGIN, seconds=60, limit=9):
            has_begun.set()
            assert may_end.wait(60)

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(hold)
        assert has_begun.wait(60)
        yield may_end.set
        may_end.set()
        call.result()


@pytest.mark.usefixtures("held_call")
def test_a_call_above_the_limit_fails_after_a_moment(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "_MAX_WAIT", 0.05)
    error = call_ciam()

    assert error is not None
    assert (error.code, error.retry_after) == ("no_connection", 1)
    assert len(ciam.requests) == 2


@pytest.mark.usefixtures("held_call")
def test_the_log_has_one_line_a_minute_about_the_limit(
    ciam: FakeCiam,
    monkeypatch: pytest.MonkeyPatch,
    advance_clock: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(circuit_breaker, "_MAX_WAIT", 0.01)
    assert circuit_breaker.running_calls() == 1
    assert [code_of_call() for _ in range(2)] == ["no_connection"] * 2
    advance_clock(61)
    assert code_of_call() == "no_connection"

    line = "A call was refused: CIAM_MAX_CALLS calls run already (group=login)."
    assert [record.getMessage() for record in caplog.records] == [line] * 2


def test_a_call_above_the_limit_waits_for_the_end_of_another_call(
    held_call: Callable[[], None],
) -> None:
    threading.Timer(0.05, held_call).start()

    assert code_of_call() == ""


# --- All calls pass the guard -------------------------------------------------------------------


# Name of a call -> the group of its endpoint, and a function that calls.
CALLS: dict[str, tuple[str, Callable[[CiamApp], object]]] = {
    "metadata": ("metadata", lambda app: app.fetch_metadata()),
    "keys": ("metadata", lambda app: app.fetch_keys(app.load_server_metadata())),
    "code": (
        "token",
        lambda app: app.exchange_code(code="c", redirect_uri="https://a.test/", code_verifier="v"),
    ),
    "refresh": ("token", lambda app: app.refresh_tokens("an unknown token")),
    "userinfo": ("token", lambda app: app.fetch_userinfo("an unknown token")),
    "Authlib's own call": (
        "token",
        lambda app: app.get(f"{app.api_base_url}/any", token={"access_token": "t"}),
    ),
    "application token": ("token", lambda app: CiamClient(app)._fetch_application_token("m")),  # type: ignore[arg-type]  # any scope
    "form": ("login", lambda app: CiamClient(app).captcha()),
    "bearer check": ("check", lambda app: CiamClient(app).user_check("an unknown token")),
    "self-service": ("profile", lambda app: CiamClient(app).agreements("an unknown token")),
    "management": ("management", lambda app: CiamClient(app).find_user("u-1")),
}


@pytest.fixture
def warm_app(ciam: FakeCiam, settings: Settings) -> CiamApp:
    """The app of OIDC mode, with its metadata and application tokens."""
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}
    app = ciam_app()
    app.load_server_metadata()
    CiamClient(app).captcha()
    with contextlib.suppress(CiamError):
        CiamClient(app).find_user("u-1")
    return app


@for_each_row("name", CALLS)
def test_an_open_circuit_refuses_each_call_of_its_group(
    warm_app: CiamApp, ciam: FakeCiam, name: str
) -> None:
    group, call = CALLS[name]
    circuit_breaker.forget_circuits()
    cache.clear()
    calls = len(ciam.requests)
    began_at = time.monotonic()
    circuits = circuit_breaker._circuits_of(ciam.url, EndpointGroup(group))
    circuits.record_unanswered_call(began_at)
    with pytest.raises(CiamError, match="no_connection") as raised:
        call(warm_app)

    assert raised.value.retry_after == PAUSE_SECONDS
    assert len(ciam.requests) == calls
    for other in EndpointGroup:
        assert is_open(ciam, other) is (other == group)


@for_each_row("name", CALLS)
def test_the_limit_of_concurrent_calls_counts_each_call(
    warm_app: CiamApp, ciam: FakeCiam, name: str
) -> None:
    calls = len(ciam.requests)
    with pytest.MonkeyPatch.context() as patch, override_settings(CIAM_MAX_CALLS=1):
        patch.setattr(circuit_breaker, "_MAX_WAIT", 0.01)
        with (
            guarded_call(ciam.url, EndpointGroup.LOGIN, seconds=60, limit=9),
            pytest.raises(CiamError, match="no_connection") as raised,
        ):
            CALLS[name][1](warm_app)

    assert raised.value.retry_after == 1
    assert len(ciam.requests) == calls


# --- One deadline for all calls of a request --------------------------------------------------


def test_the_calls_of_a_function_have_one_deadline(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_TIMEOUT = 0.4

    @sharing_one_deadline
    def call_late() -> float:
        first = call_deadline(0.4)
        assert sharing_one_deadline(call_deadline)(0.4) == first
        time.sleep(0.45)
        assert code_of_call() == "timeout"
        return first

    first = call_late()
    # The time of the function proves nothing about CIAM.
    settings.CIAM_TIMEOUT = 30.0
    assert code_of_call() == ""
    assert call_deadline(30) > first
    assert ciam.requests


def test_the_functions_of_a_request_have_one_deadline() -> None:
    request, other = HttpRequest(), HttpRequest()

    @sharing_one_deadline
    def check_session(request: HttpRequest) -> float:
        return call_deadline(10)

    @sharing_one_deadline
    def view(request: HttpRequest) -> float:
        return call_deadline(30)

    deadline = check_session(request)
    assert view(request) == deadline
    assert view(other) > deadline + 10


def test_a_function_without_a_call_leaves_the_time_of_its_request_to_the_others() -> None:
    request = HttpRequest()
    sharing_one_deadline(lambda request: None)(request)
    time.sleep(0.05)

    assert sharing_one_deadline(lambda request: call_deadline(10))(request) > time.monotonic() + 9.9


def test_a_task_that_goes_on_after_its_function_has_deadlines_of_its_own() -> None:
    @sharing_one_deadline
    def start_task() -> tuple[float, contextvars.Context]:
        return call_deadline(0.01), contextvars.copy_context()

    @sharing_one_deadline
    def function_of_task() -> tuple[float, float]:
        return call_deadline(30), call_deadline(60)

    of_function, context = start_task()
    assert context.run(call_deadline, 30) > of_function + 20
    first, second = context.run(function_of_task)
    assert first == second > of_function + 20


@pytest.mark.parametrize(("seconds_left", "code"), [(14, "timeout"), (20, "invalid_grant")])
def test_a_refresh_token_is_not_spent_if_the_answer_could_come_too_late(
    ciam: FakeCiam, seconds_left: int, code: str
) -> None:
    @sharing_one_deadline
    def refresh_with_little_time() -> None:
        # The time limit is 30 seconds.
        call_deadline(seconds_left)
        ciam_app().refresh_tokens("an unknown token")

    with pytest.raises(CiamError, match=code) as raised:
        refresh_with_little_time()

    assert raised.value.stage == "refresh"
    is_sent = "refresh" in [request.stage for request in ciam.requests]
    assert is_sent is (code == "invalid_grant")


def test_a_call_with_little_time_left_proves_nothing(ciam: FakeCiam) -> None:
    ciam.misbehave("api", "slow")

    @sharing_one_deadline
    def call_with_little_time() -> str:
        # The time limit of 30 seconds is almost used up.
        call_deadline(0.3)
        return code_of_call()

    assert call_with_little_time() == "timeout"
    assert code_of_call() == ""


# --- Coroutines -------------------------------------------------------------------------------


def test_a_call_from_a_coroutine_is_an_error_unless_it_runs_in_a_thread(
    ciam: FakeCiam, settings: Settings
) -> None:
    async def call_directly() -> None:
        CiamClient().auth_sources()

    async def load_metadata() -> None:
        ciam_app().load_server_metadata()

    async def call_in_thread() -> object:
        return await sync_to_async(CiamClient().auth_sources)()

    with pytest.raises(SynchronousOnlyOperation, match="sync_to_async"):
        asyncio.run(call_directly())
    assert asyncio.run(call_in_thread())
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}
    with pytest.raises(SynchronousOnlyOperation, match="sync_to_async"):
        asyncio.run(load_metadata())
