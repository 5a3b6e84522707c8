"""``python -m benchmarks.ask rest -o rest.json``: time the cases of one question with pyperf."""

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
    """The cases of a question, in the project of ``settings`` with the question's own views."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    module = import_module(f"benchmarks.{suite}")
    if hasattr(module, "urlpatterns"):
        override_settings(ROOT_URLCONF=module.__name__).enable()
    cases: Mapping[str, Case] = module.cases()
    return cases


def main() -> None:
    """Ask the question that the command line names; pyperf's workers come here as well."""
    suite = sys.argv[1]
    runner = pyperf.Runner(program_args=("-m", "benchmarks.ask", suite))
    runner.argparser.add_argument("question")
    for name, case in load_cases(suite).items():
        runner.bench_time_func(name, case)


if __name__ == "__main__":
    main()
