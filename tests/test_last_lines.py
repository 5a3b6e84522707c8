"""Tests of pytest's last lines, which name tests that did not run and services not covered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RUN_ONCE, pytest_ignore_collect

pytestmark = pytest.mark.slow("pytest in pytest")

ROOT = Path(__file__).parents[1]
SELECTION = [
    "tests/accounts/test_rate_limits.py",
    "tests/properties/test_state.py",
    "-k",
    "redis or state",
]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_last_lines_name_the_tests_that_did_not_run(workers: str) -> None:
    # With an empty PATH, no program is found, and so there is no Redis.
    result = run_pytest("-n", workers, "-m", "not slow", *SELECTION, PATH="")

    assert result.returncode == 0, result.stdout + result.stderr
    left_out = (
        r"left out: (\d+) tests marked slow: properties \(\1\)\nrun them with: tox run -e full"
    )
    assert re.search(left_out, result.stdout), result.stdout
    assert "not covered: Redis is not installed" in result.stdout
    assert re.search(r"=+ 2 skipped.* in .*s =+\n$", result.stdout)


def test_an_environment_leaves_out_the_tests_that_another_environment_runs() -> None:
    result = run_pytest("-n", "0", "--collect-only", *SELECTION[:2], CIAM_DJANGO_RUN_ONCE="1")

    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"left out: \d+ tests marked slow: properties ", result.stdout), result.stdout
    assert re.search(r"=+ \d+/\d+ tests collected \(\d+ deselected\)", result.stdout), result.stdout


def test_each_reason_of_a_test_that_runs_once_is_the_reason_of_a_slow_test() -> None:
    paths = [*ROOT.glob("tests/**/test_*.py"), ROOT / "tests/conftest.py"]
    sources = [path.read_text(encoding="utf-8") for path in paths]
    reasons = {reason for source in sources for reason in re.findall(r'slow\("([^"]*)"', source)}

    assert sorted(RUN_ONCE - reasons) == []


def test_each_file_is_run_by_one_of_the_environments_that_share_the_files(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    environments = ["py312-django52", "py312-django60", "py313-django52"]
    monkeypatch.setenv("CIAM_DJANGO_SHARING", ",".join(environments))
    runs = []
    for environment in environments:
        monkeypatch.setenv("TOX_ENV_NAME", environment)
        runs += [
            file
            for file in ROOT.glob("tests/**/test_*.py")
            if pytest_ignore_collect(file, pytestconfig) is None
        ]

    assert sorted(runs) == sorted(ROOT.glob("tests/**/test_*.py"))


def run_pytest(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own, with the variables and without variables of tests."""
    prefixes = ("COV", "PYTEST", "CIAM_DJANGO")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(prefixes)
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
