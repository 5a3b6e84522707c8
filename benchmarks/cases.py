"""Define the parts of a suite: cases that are timed, and rows that compare their times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from cProfile import Profile
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.test import RequestFactory


class Seconds(NamedTuple):
    """The CPU time of the process, and the time of the clock."""

    cpu: float
    wall: float

    def plus(self, other: Seconds) -> Seconds:
        """Return the sum."""
        return Seconds(self.cpu + other.cpu, self.wall + other.wall)

    def minus(self, other: Seconds) -> Seconds:
        """Return the difference."""
        return Seconds(self.cpu - other.cpu, self.wall - other.wall)


# A function that runs a number of loops and returns the time of all of them.
Case = Callable[[int], Seconds]
# The time of a loop of a case in each round.
Rounds = Mapping[str, Sequence[Seconds]]


class Figure(NamedTuple):
    """The median of a row over all rounds, and the quartiles."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: ``case`` compared with ``baseline`` in each round.

    The figure is a ratio if ``unit`` is "×", else a difference in ``unit`` ("µs" or "ms").
    ``target`` is the largest figure that is wanted; None only reports the figure. With ``over``,
    the time of the case ``over`` is first subtracted from both cases.
    """

    label: str
    case: str
    baseline: str
    target: float | None
    unit: str = "×"
    over: str = ""

    def figure(self, rounds: Rounds, clock: str = "cpu") -> Figure:
        """Return the row's figure of a clock: ``cpu`` or ``wall``.

        The cases of a round run one after the other, so other load affects them alike.
        """
        times = [self._times(rounds, name, clock) for name in (self.case, self.baseline)]
        if self.unit == "×":
            values = [case / baseline for case, baseline in zip(*times, strict=True)]
        else:
            scale = _PER_SECOND[self.unit]
            values = [(case - baseline) * scale for case, baseline in zip(*times, strict=True)]
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return Figure(median, low, high)

    def _times(self, rounds: Rounds, name: str, clock: str) -> list[float]:
        times: list[float] = [getattr(seconds, clock) for seconds in rounds[name]]
        if self.over:
            floor = statistics.median(getattr(seconds, clock) for seconds in rounds[self.over])
            times = [seconds - floor for seconds in times]
        return times


_PER_SECOND = {"µs": 1e6, "ms": 1e3}


def now() -> Seconds:
    """Return the time of both clocks."""
    return Seconds(time.process_time(), time.perf_counter())


def measure(function: Callable[[], object]) -> tuple[Seconds, Any]:
    """Call the function, and return the time of the call and its result.

    ``active_profile``, if it is set, profiles the call.
    """
    if active_profile:
        active_profile.enable()
    began = now()
    result = function()
    seconds = now().minus(began)
    if active_profile:
        active_profile.disable()
    return seconds, result


# `profiled` sets the profile; None while cases are only timed.
active_profile: Profile | None = None


def timed_case(function: Callable[[], object]) -> Case:
    """Return a case that calls the function."""

    def call_repeatedly(loops: int) -> None:
        for _ in range(loops):
            function()

    return lambda loops: measure(lambda: call_repeatedly(loops))[0]


def wsgi_environ(
    path: str, headers: Mapping[str, str] | None = None, *, extra: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the WSGI environment of a GET, with headers or with ``extra`` members."""
    # The stubs of Django lack the private method. Django's client adds work to each request.
    factory: Any = RequestFactory(headers=headers)
    environ: dict[str, Any] = factory._base_environ(PATH_INFO=path, **(extra or {}))
    return environ
