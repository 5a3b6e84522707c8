"""Time the cases of one suite with pyperf: ``python -m benchmarks.ask rest -o rest.json``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module

import django
import pyperf
from django.test import override_settings

from benchmarks.cases import Case


def load_cases(suite: str) -> Mapping[str, Case]:
    """Set up the project of ``settings`` with a suite's views, and return the suite's cases."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    module = import_module(f"benchmarks.{suite}")
    if hasattr(module, "urlpatterns"):
        override_settings(ROOT_URLCONF=module.__name__).enable()
    cases: Mapping[str, Case] = module.cases()
    return cases


def main() -> None:
    """Time the suite that the command line names; pyperf's worker processes call this, too."""
    suite = sys.argv[1]
    runner = pyperf.Runner(program_args=("-m", "benchmarks.ask", suite))
    runner.argparser.add_argument("suite")
    for name, case in load_cases(suite).items():
        runner.bench_time_func(name, case)


if __name__ == "__main__":
    main()
