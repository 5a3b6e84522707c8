"""Stop the calls to CIAM after CIAM has been silent, and limit the calls that run at a time.

The circuit breaker: each group of endpoints (``client/endpoints.py``) has a circuit at each host,
and the host has a circuit for all its groups.

- A call that gets no connection opens the circuit of the host: no endpoint of the host can answer.
- A call that gets a connection, and no complete answer in time, opens the circuit of its group:
  the other groups may answer.
- An open circuit refuses all calls for ``PAUSE_SECONDS``. Then the circuit is half-open: one call
  at a time tries again.
- The first answer closes the circuit, even if the answer is an error.

Processes share the circuits through Django's cache. Without a cache, each process has its own
circuits.

The bulkhead: a process makes at most ``CIAM_MAX_CALLS`` calls at a time, so that its other threads
serve the pages that do not need CIAM.

No lock is held during a call, and a failed cache stops no call.

The deadline: all calls of one request have one deadline, see ``sharing_one_deadline``.
"""

from __future__ import annotations

import contextlib
import contextvars
import enum
import functools
import hashlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

from django.http import HttpRequest

from ciam_django.client.cache import (
    acquire_once,
    acquired_keys,
    delete_cached,
    get_cached,
    is_acquired,
    set_cached,
)
from ciam_django.client.endpoints import EndpointGroup
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.events import (
    CALLS_FULL,
    CIRCUIT_CLOSED,
    CIRCUIT_HALF_OPEN,
    CIRCUIT_OPENED,
    NO_LINE,
    Event,
    record,
)
from ciam_django.lazy_modules import LazyModule
from ciam_django.privacy import own_text

if TYPE_CHECKING:
    import requests
    from urllib3 import exceptions as urllib3_exceptions
else:
    requests = LazyModule("requests")
    urllib3_exceptions = LazyModule("urllib3.exceptions")

P = ParamSpec("P")
T = TypeVar("T")

ASYNC_MESSAGE: Final = (
    "ciam_django's calls to CIAM are synchronous: use AsyncCiamClient, aaccess_token_of or "
    "sync_to_async()."
)
# Seconds without calls after a call without an answer.
PAUSE_SECONDS: Final = 10
# Seconds for which the processes share the state of a circuit.
_STATE_LIFETIME: Final = 600
# Seconds between two answers whose time a process shares, and seconds after an answer for which a
# process does not ask if another process has opened the circuit.
_SHARING_INTERVAL: Final = 1.0
# Seconds for which a call waits while CIAM_MAX_CALLS other calls of the process run.
_MAX_WAIT: Final = 1.0
# Seconds between two log lines about CIAM_MAX_CALLS.
_LOG_INTERVAL: Final = 60


@enum.unique
class State(enum.StrEnum):
    """The state of a circuit, from the best to the worst."""

    CLOSED = "closed"
    # The pause is over, and one call at a time tries again.
    HALF_OPEN = "half_open"
    OPEN = "open"


_ignores_circuits: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "ciam_django_ignores_circuits", default=False
)


def ignoring_circuits(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function: its calls neither ask nor change the circuits, and do not count."""

    @functools.wraps(function)
    def ignoring_function(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _ignores_circuits.set(True)
        try:
            return function(*args, **kwargs)
        finally:
            _ignores_circuits.reset(token)

    return ignoring_function


# --- One deadline for all calls of a request ---------------------------------------------------


class _Budget:
    """The end of the time for all calls of a function, set by its first call.

    A task that the function has started in the background has a copy of the function's context, and
    goes on after the function. ``is_over`` is then True.
    """

    __slots__ = "ends_at", "is_over"

    def __init__(self, ends_at: float | None) -> None:
        self.ends_at = ends_at
        self.is_over = False


_budget: contextvars.ContextVar[_Budget | None] = contextvars.ContextVar(
    "ciam_django_budget", default=None
)


# The attribute of a request with the deadline of its calls.
_ENDS_AT: Final = "_ciam_ends_at"


def sharing_one_deadline(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function: all its calls, and its waits for others' calls, have one deadline.

    Together they may take ``CIAM_TIMEOUT``. A decorated function that another decorated function
    calls has the deadline of its caller. Decorated functions whose first argument is the same
    request also have one deadline: a middleware checks the session, and a view signs in.
    """

    @functools.wraps(function)
    def function_with_deadline(*args: P.args, **kwargs: P.kwargs) -> T:
        outer = _budget.get()
        if outer and not outer.is_over:
            return function(*args, **kwargs)
        request = args[0] if args and isinstance(args[0], HttpRequest) else None
        budget = _Budget(getattr(request, _ENDS_AT, None))
        token = _budget.set(budget)
        try:
            return function(*args, **kwargs)
        finally:
            budget.is_over = True
            _budget.reset(token)
            if request is not None and budget.ends_at is not None:
                setattr(request, _ENDS_AT, budget.ends_at)

    return function_with_deadline


def asking_directly(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function of a diagnosis: its calls have one deadline, and ignore the circuits.

    An open circuit would hide the cause of the failures. A failure on this machine must not stop
    the calls of the site.
    """
    return ignoring_circuits(sharing_one_deadline(function))


def call_deadline(timeout: float) -> float:
    """Return the time (of ``time.monotonic``) at which a call or wait that begins now must end.

    ``timeout`` is ``CIAM_TIMEOUT``: the seconds that all calls and waits of the request may take.
    """
    ends_at = time.monotonic() + timeout
    budget = _budget.get()
    if budget is None or budget.is_over:
        return ends_at
    budget.ends_at = min(ends_at, budget.ends_at or ends_at)
    return budget.ends_at


# --- The circuits -----------------------------------------------------------------------------


class _Circuit:
    """A circuit, as this process knows it: of a group of endpoints, or of the whole host."""

    def __init__(self, origin: str, group: EndpointGroup | None = None) -> None:
        self._host = urlsplit(origin).hostname
        self._group = group or "all"
        self._key = _key_of(origin, group)
        self._lock = threading.Lock()
        self.is_open = False
        self.answered_at = 0.0
        self._paused_until = 0.0
        self._trying_until = 0.0

    @property
    def watched_key(self) -> str:
        """The key that another process stores when it closes or opens the circuit."""
        return f"{self._key}.answered" if self.is_open else f"{self._key}.silent"

    def is_paused(self) -> bool:
        """Return True during the pause of an open circuit."""
        if not self.is_open:
            return False
        return time.monotonic() < self._paused_until or is_acquired(f"{self._key}.pause")

    @property
    def state(self) -> State:
        """The state; an open circuit asks the cache for the pause of another process."""
        if self.is_open:
            return State.OPEN if self.is_paused() else State.HALF_OPEN
        return State.CLOSED

    def refuse_during_pause(self) -> None:
        """Raise ``no_connection`` during the pause of an open circuit."""
        if self.is_paused():
            # Another process knows the end of its pause.
            seconds = math.ceil(self._paused_until - time.monotonic())
            reason = f"{self._host} (group {self._group}) was silent"
            raise _refusal(reason, seconds if seconds > 0 else PAUSE_SECONDS)

    def refuse_while_open(self) -> None:
        """Raise ``no_connection`` until the circuit is closed."""
        self.refuse_during_pause()
        if self.is_open:
            raise self._refusal_during_attempt()

    def claim_attempt(self) -> None:
        """Claim the only attempt; raise ``no_connection`` during the attempt of another call.

        Do nothing if the circuit is closed.
        """
        if not self.is_open:
            return
        self.refuse_during_pause()
        seconds = math.ceil(conf.CIAM_TIMEOUT) + 1
        # The lock and the time keep other threads of this process out, even if the cache fails.
        with self._lock:
            is_free = time.monotonic() >= self._trying_until and acquire_once(
                f"{self._key}.attempt", seconds=seconds
            )
            if is_free:
                self._trying_until = time.monotonic() + seconds
        if not is_free:
            raise self._refusal_during_attempt()
        self._record(CIRCUIT_HALF_OPEN)

    def release_attempt(self) -> None:
        """Let the next call try again, after an attempt that proved nothing."""
        if self.is_open:
            self._trying_until = 0.0
            delete_cached(f"{self._key}.attempt")

    def open(self) -> None:
        """Open the circuit, and begin a pause."""
        was_open, was_trying = self.is_open, self._trying_until > 0
        self.is_open = True
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        delete_cached(f"{self._key}.answered")
        acquire_once(f"{self._key}.silent", seconds=_STATE_LIFETIME)
        acquire_once(f"{self._key}.pause", seconds=PAUSE_SECONDS)
        self.release_attempt()
        # Other calls that have begun before the pause also end without an answer.
        if was_trying or not was_open:
            self._record(CIRCUIT_OPENED, logging.INFO if was_open else logging.WARNING)

    def close(self) -> None:
        """Close the circuit if it is open."""
        if not self.is_open:
            return
        delete_cached(f"{self._key}.silent")
        delete_cached(f"{self._key}.pause")
        acquire_once(f"{self._key}.answered", seconds=_STATE_LIFETIME)
        self.release_attempt()
        self.is_open = False
        self._record(CIRCUIT_CLOSED)

    def adopt_state(self, is_open: bool) -> None:
        """Open or close the circuit, because another process has done so; write no log line."""
        if self.is_open is is_open:
            # Another thread has read the same key.
            return
        self.is_open = is_open
        event = CIRCUIT_OPENED if is_open else CIRCUIT_CLOSED
        record(event, level=NO_LINE, host=self._host, group=self._group, elsewhere=True)

    def _refusal_during_attempt(self) -> CiamError:
        reason = f"{self._host} (group {self._group}) was silent, and another call tries again"
        return _refusal(reason, PAUSE_SECONDS)

    def _record(self, event: Event, level: int | None = None) -> None:
        record(event, level=level, host=self._host, group=self._group)


class _Circuits:
    """The two circuits that a call passes: of the host, and of its group of endpoints."""

    def __init__(self, origin: str, group: EndpointGroup, host: _Circuit) -> None:
        self._origin, self._group_name = origin, group
        self._host, self._group = self.both = host, _Circuit(origin, group)
        self._shared_at = -_SHARING_INTERVAL

    def load_state(self) -> None:
        """Load the state that the processes share; keep the own state if the cache fails.

        A group that has just answered this process is not silent, and costs no call of the cache.
        """
        is_open = self._host.is_open or self._group.is_open
        if is_open or time.monotonic() - self._group.answered_at >= _SHARING_INTERVAL:
            _load_states(self.both)

    def refuse_during_pause(self) -> None:
        """Raise ``no_connection`` during the pause of an open circuit."""
        self._host.refuse_during_pause()
        self._group.refuse_during_pause()

    def refuse_while_open(self) -> None:
        """Raise ``no_connection`` until both circuits are closed."""
        self._host.refuse_while_open()
        self._group.refuse_while_open()

    def claim_attempt(self) -> None:
        """Claim the attempts of the open circuits; raise ``no_connection`` if one is not free."""
        self._host.claim_attempt()
        try:
            self._group.claim_attempt()
        except CiamError:
            self._host.release_attempt()
            raise

    def release_attempt(self) -> None:
        """Let the next call try again, after an attempt that proved nothing."""
        self._host.release_attempt()
        self._group.release_attempt()

    def record_answer(self) -> None:
        """Close the circuits, and share the time of the answer."""
        now = time.monotonic()
        self._host.answered_at = self._group.answered_at = now
        if now - self._shared_at >= _SHARING_INTERVAL:
            self._shared_at = now
            key = _answered_at_key(self._origin, self._group_name)
            set_cached(key, time.time(), seconds=_STATE_LIFETIME)
        self._host.close()
        self._group.close()

    def record_unconnected_call(self, began_at: float) -> None:
        """Open the circuit of the host, unless a group has had an answer since ``began_at``."""
        self._group.release_attempt()
        if self._host.answered_at > began_at or self._is_answered_elsewhere(
            EndpointGroup, began_at
        ):
            self._host.release_attempt()
        else:
            self._host.open()

    def record_unanswered_call(self, began_at: float) -> None:
        """Open the circuit of the group, unless the group has had an answer since ``began_at``.

        The host has accepted the connection.
        """
        self._host.close()
        if self._group.answered_at > began_at or self._is_answered_elsewhere(
            [self._group_name], began_at
        ):
            self._group.release_attempt()
        else:
            self._group.open()

    def _is_answered_elsewhere(self, groups: Iterable[EndpointGroup], began_at: float) -> bool:
        """Return True if a group has answered another process since ``began_at``.

        One slow call among many answers must not stop the calls of all processes.
        """
        now = time.time()
        began = now - (time.monotonic() - began_at)
        times = [get_cached(_answered_at_key(self._origin, group)) for group in groups]
        # The clock of another host can be ahead.
        return any(isinstance(each, float) and began < each <= now for each in times)


def _key_of(origin: str, group: EndpointGroup | None) -> str:
    place = f"{origin} {group}" if group else origin
    return f"ciam_django.circuit.{hashlib.sha256(place.encode()).hexdigest()}"


def _answered_at_key(origin: str, group: EndpointGroup) -> str:
    return f"{_key_of(origin, group)}.answered_at"


def _load_states(circuits: Iterable[_Circuit]) -> None:
    """Load the states that the processes share, with one call of the cache."""
    watched = {circuit.watched_key: (circuit, not circuit.is_open) for circuit in circuits}
    for key in acquired_keys(watched):
        circuit, is_open = watched[key]
        circuit.adopt_state(is_open)


def _origin_of(url: str) -> str:
    scheme, host = urlsplit(url)[:2]
    # The URL of a setting can have upper case, and requests sends the URL in lower case.
    return f"{scheme}://{host.lower()}"


_hosts: dict[str, _Circuit] = {}
_circuits: dict[tuple[str, EndpointGroup], _Circuits] = {}


def _circuits_of(url: str, group: EndpointGroup) -> _Circuits:
    """Return the circuits of the group at the URL's host, with the state of all processes."""
    circuits = _circuits_at(_origin_of(url), group)
    circuits.load_state()
    return circuits


def _circuits_at(origin: str, group: EndpointGroup) -> _Circuits:
    place = origin, group
    if place not in _circuits:
        host = _hosts.setdefault(origin, _Circuit(origin))
        _circuits.setdefault(place, _Circuits(origin, group, host))
    return _circuits[place]


def circuit_states(urls: Iterable[str]) -> dict[EndpointGroup, State]:
    """Return the state of each group, as this process and the cache know it.

    The state is the worst of the states at the hosts of the URLs, and at the hosts that this
    process has called. No endpoint is called.
    """
    origins = {*map(_origin_of, urls), *_hosts}
    circuits = [
        (group, circuit)
        for origin in origins
        for group in EndpointGroup
        for circuit in _circuits_at(origin, group).both
    ]
    _load_states(circuit for _, circuit in circuits)
    states = dict.fromkeys(EndpointGroup, State.CLOSED)
    for group, circuit in circuits:
        states[group] = max(states[group], circuit.state, key=list(State).index)
    return states


# --- The bulkhead -----------------------------------------------------------------------------


class _Calls:
    """Counts the calls of this process that wait for CIAM."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count no call, with a new lock."""
        self.running = 0
        self._changed = threading.Condition()
        self._logged_at = -float(_LOG_INTERVAL)

    @contextlib.contextmanager
    def counting(self, limit: int, group: EndpointGroup) -> Iterator[None]:
        """Count a call; raise ``no_connection`` if ``limit`` calls run for too long."""
        with self._changed:
            has_place = self._changed.wait_for(lambda: self.running < limit, timeout=_MAX_WAIT)
            self.running += has_place
        if not has_place:
            self._record_refusal(group)
            raise _refusal("CIAM_MAX_CALLS calls run already", 1)
        try:
            yield
        finally:
            with self._changed:
                self.running -= 1
                self._changed.notify()

    def _record_refusal(self, group: EndpointGroup) -> None:
        now = time.monotonic()
        is_logged = now - self._logged_at >= _LOG_INTERVAL
        if is_logged:
            self._logged_at = now
        record(CALLS_FULL, level=None if is_logged else NO_LINE, group=group)


_calls: Final = _Calls()


def running_calls() -> int:
    """Return the number of calls to CIAM that run in this process."""
    return _calls.running


# --- A call -----------------------------------------------------------------------------------


def forget_circuits() -> None:
    """Forget the state of this process."""
    # After a fork, a lock that another thread of the parent has held would stay locked for ever.
    _calls.reset()
    _circuits.clear()
    _hosts.clear()


os.register_at_fork(after_in_child=forget_circuits)


def refuse_while_open(url: str, group: EndpointGroup) -> None:
    """Raise ``no_connection``, with ``retry_after``, while a circuit of the call is open."""
    _circuits_of(url, group).refuse_while_open()


@contextlib.contextmanager
def guarded_call(url: str, group: EndpointGroup, *, seconds: float, limit: int) -> Iterator[None]:
    """Guard the block, which calls ``url`` and waits at most ``seconds`` for the answer.

    ``group`` is the group of the endpoint. ``limit`` is the number of calls that this process makes
    at the same time.

    Raises ``no_connection``, with ``retry_after``, if the call must not begin. A block that ends,
    or that raises a ``CiamError`` about the answer, closes the circuits. A block that gets no
    connection, or no answer in time, opens a circuit. In a function with
    ``ignoring_circuits``, the block is not guarded.
    """
    if _ignores_circuits.get():
        yield
        return
    circuits = _circuits_of(url, group)
    circuits.refuse_during_pause()
    with _calls.counting(limit, group):
        circuits.claim_attempt()
        began_at = time.monotonic()
        try:
            yield
        except BaseException as error:
            _record_failure(circuits, error, began_at, seconds)
            raise
        circuits.record_answer()


def _record_failure(
    circuits: _Circuits, error: BaseException, began_at: float, seconds: float
) -> None:
    """Judge the failure of a call that waited ``seconds``; the call has a log line of its own."""
    is_silence = not isinstance(error, CiamError) or error.code == "timeout"
    if not is_silence:
        circuits.record_answer()
    elif seconds < conf.CIAM_TIMEOUT / 2:
        # The other calls of the request have taken most of the time.
        circuits.release_attempt()
    elif _has_no_connection(error):
        circuits.record_unconnected_call(began_at)
    elif isinstance(error, requests.Timeout | CiamError):
        circuits.record_unanswered_call(began_at)
    else:
        # A reset connection or a wrong certificate, which the operators have to correct, and the
        # end of the process prove nothing.
        circuits.release_attempt()


def _has_no_connection(error: BaseException) -> bool:
    # requests raises a ConnectionError with a MaxRetryError only if there was no connection.
    return (
        isinstance(error, requests.ConnectionError)
        and not isinstance(error, requests.exceptions.SSLError)
        and any(isinstance(argument, urllib3_exceptions.MaxRetryError) for argument in error.args)
    )


def _refusal(reason: str, retry_after: int) -> CiamError:
    return CiamError("no_connection", retry_after=retry_after, upstream_text=own_text(reason))
