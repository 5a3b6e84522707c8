"""Time the cases of one suite in rounds: ``python -m benchmarks.ask rest`` prints JSON."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Final

import django
from django.conf import settings

from benchmarks.cases import Case, Rounds, Seconds

# All cases run once in each round, so that other load on the machine affects them alike.
ROUNDS: Final = 21
# The seconds that the loops of a case take in a round, at least.
_SECONDS: Final = 0.03
# The loops of a case in a round, at least: the first loop after another case is slow.
_FEWEST_LOOPS: Final = 5
# Suite -> the loops of each case in a round. A loop of the imports is a process of its own, and the
# time of the case that imports nothing is almost zero.
_LOOPS_OF_SUITES: Final = {"imports": 1}


def load_cases(suite: str) -> Mapping[str, Case]:
    """Set up the project of ``settings`` with a suite's views, and return the suite's cases."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    module = import_module(f"benchmarks.{suite}")
    if hasattr(module, "urlpatterns"):
        # `override_settings` would slow down each read of a setting that the project does not set.
        settings.ROOT_URLCONF = module.__name__
    cases: Mapping[str, Case] = module.cases()
    return cases


def measure_rounds(
    cases: Mapping[str, Case], rounds: int = ROUNDS, loops_of_case: int | None = None
) -> Rounds:
    """Return the times of a loop of each case. Each round begins with another case."""
    loops = {name: loops_of_case or _loops_for(case) for name, case in cases.items()}
    times: dict[str, list[Seconds]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            gc.collect()
            cpu, wall = cases[name](loops[name])
            times[name].append(Seconds(cpu / loops[name], wall / loops[name]))
    return times


def _loops_for(case: Case) -> int:
    """Return the number of loops that take ``_SECONDS``, and at least ``_FEWEST_LOOPS``."""
    loops = _FEWEST_LOOPS
    while loops < 1_000_000:
        seconds = case(loops).cpu
        if seconds >= _SECONDS / 2:
            return max(_FEWEST_LOOPS, round(loops * _SECONDS / seconds))
        loops = loops * 4 if seconds < _SECONDS / 8 else loops * 2
    return loops


def main() -> None:
    """Time the suite that the command line names."""
    suite = sys.argv[1]
    times = measure_rounds(load_cases(suite), loops_of_case=_LOOPS_OF_SUITES.get(suite))
    sys.stdout.write(json.dumps(times))


if __name__ == "__main__":
    main()
