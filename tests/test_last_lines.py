"""The last lines of pytest say what did not run and what was not covered, with workers too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow("pytest in pytest")

ROOT = Path(__file__).parents[1]
CHOSEN = [
    "tests/accounts/test_rate_limits.py",
    "tests/properties/test_state.py",
    "-k",
    "redis or state",
]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_last_lines_say_what_did_not_run(workers: str) -> None:
    ours = ("COV", "PYTEST", "CIAM_DJANGO")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # No program is found in an empty PATH, so that there is no Redis.
    environment["PATH"] = ""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", workers, "-m", "not slow", *CHOSEN],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    left_out = (
        r"left out: (\d+) tests marked slow: properties \(\1\)\nrun them with: tox run -e full"
    )
    assert re.search(left_out, done.stdout), done.stdout
    assert "not covered: Redis is not installed" in done.stdout
    assert re.search(r"=+ 2 skipped.* in .*s =+\n$", done.stdout)
