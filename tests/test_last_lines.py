"""Tests of pytest's last lines, which name tests that did not run and services not covered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    prefixes = ("COV", "PYTEST", "CIAM_DJANGO")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(prefixes)
    }
    # With an empty PATH, no program is found, and so there is no Redis.
    environment["PATH"] = ""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", workers, "-m", "not slow", *SELECTION],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    left_out = (
        r"left out: (\d+) tests marked slow: properties \(\1\)\nrun them with: tox run -e full"
    )
    assert re.search(left_out, result.stdout), result.stdout
    assert "not covered: Redis is not installed" in result.stdout
    assert re.search(r"=+ 2 skipped.* in .*s =+\n$", result.stdout)
