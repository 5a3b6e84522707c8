"""A short soak, so that the command works when it is needed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.soak.__main__ import Soak, run


@pytest.mark.slow("a short soak")
def test_nobody_is_lost_or_doubled_while_the_parts_of_a_deployment_fail() -> None:
    programs = {
        "nginx": shutil.which("nginx") or shutil.which("/usr/sbin/nginx"),
        "redis-server": shutil.which("redis-server"),
        "initdb": shutil.which("initdb")
        or next(iter(Path("/usr/lib/postgresql").glob("*/bin/initdb")), None),
    }
    if missing := [name for name, path in programs.items() if path is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    # A kill between CIAM's answer and the database loses a token, so that no token expires here.
    report = run(Soak(sign_ins=25, concurrency=5, calm=0, every=0.5, token_seconds=600))

    assert report.faults == []
    assert any("PostgreSQL is restarted" in line for line in report.lines)
