"""Define the parts of a suite: cases that are timed, and rows that compare their medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from cProfile import Profile
from dataclasses import dataclass
from typing import Any

# A function that runs a number of loops and returns the CPU seconds of all of them.
Case = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: ``case`` compared with ``baseline``.

    The figure is a ratio if ``unit`` is "×", else a difference in ``unit`` ("µs" or "ms").
    ``target`` is the largest figure that is wanted; None only reports the figure.
    """

    label: str
    case: str
    baseline: str
    target: float | None
    unit: str = "×"

    def figure(self, medians: Mapping[str, float]) -> float:
        """Return the row's figure; the medians are in seconds, by case."""
        case, baseline = medians[self.case], medians[self.baseline]
        return case / baseline if self.unit == "×" else (case - baseline) * _PER_SECOND[self.unit]


_PER_SECOND = {"µs": 1e6, "ms": 1e3}


def measure_cpu(function: Callable[[], object]) -> tuple[float, Any]:
    """Call the function, and return the CPU seconds of the call and its result.

    ``active_profile``, if it is set, profiles the call.
    """
    if active_profile:
        active_profile.enable()
    began = time.process_time()
    result = function()
    seconds = time.process_time() - began
    if active_profile:
        active_profile.disable()
    return seconds, result


# `profiled` sets the profile; None while cases are only timed.
active_profile: Profile | None = None


def cpu_case(function: Callable[[], object]) -> Case:
    """Return a case that calls the function.

    The case measures CPU time, because other programs add to the wall-clock time.
    """

    def call_repeatedly(loops: int) -> None:
        for _ in range(loops):
            function()

    return lambda loops: measure_cpu(lambda: call_repeatedly(loops))[0]
