"""What a question consists of: cases that are timed, and rows that compare their medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from cProfile import Profile
from dataclasses import dataclass
from typing import Any

# So many loops in, so many seconds out.
Case = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: ``case`` beside ``over``, as a ratio, or a difference in ``unit``.

    ``at_most`` is what it is to be; None reports a figure and promises nothing.
    """

    label: str
    case: str
    baseline: str
    target: float | None
    unit: str = "×"

    def figure(self, medians: Mapping[str, float]) -> float:
        """What the medians, in seconds, say."""
        case, over = medians[self.case], medians[self.baseline]
        return case / over if self.unit == "×" else (case - over) * _PER_SECOND[self.unit]


_PER_SECOND = {"µs": 1e6, "ms": 1e3}


def measure_cpu(function: Callable[[], object]) -> tuple[float, Any]:
    """The CPU seconds that a call takes, and its result; the profile, if there is one, sees it."""
    if active_profile:
        active_profile.enable()
    began = time.process_time()
    result = function()
    seconds = time.process_time() - began
    if active_profile:
        active_profile.disable()
    return seconds, result


# Of `profiled`; None while the clock is what counts.
active_profile: Profile | None = None


def cpu_case(function: Callable[[], object]) -> Case:
    """A function as a case. CPU time, since other programs have the wall's."""

    def call_repeatedly(loops: int) -> None:
        for _ in range(loops):
            function()

    return lambda loops: measure_cpu(lambda: call_repeatedly(loops))[0]
