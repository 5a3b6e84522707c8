"""What the tests share: the fake CIAM, and a project that signs in at it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django import answers, conf, lookup
from ciam_django.client import cache as client_cache
from ciam_django.codes import CODES, Meaning
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.login.person import FormBrowser

pytest_plugins = ["ciam_django.testing.fixtures"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CIAM_DJANGO_NO_SKIPS is set, a test that skips has failed: CI lacks something."""
    report = yield
    if report.skipped and os.environ.get("CIAM_DJANGO_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def no_alarm_has_sounded() -> Iterator[None]:
    """A code's first log line differs from its next ones, in each process."""
    answers._alarms.clear()
    client_cache._logged_at.clear()
    yield
    answers._alarms.clear()
    client_cache._logged_at.clear()


@pytest.fixture
def table() -> Iterator[dict[str, Meaning]]:
    """The table, to be changed at will: afterwards it is as it was, its order too."""
    rows = dict(CODES)
    forget_rows()
    yield CODES
    CODES.clear()
    CODES.update(rows)
    forget_rows()


def forget_rows() -> None:
    """Forget the results of changes to the table, which changes in tests only."""
    lookup._keys_by_folded_code.cache_clear()
    conf.clear_settings_caches()


@pytest.fixture(params=["oidc", "ciam"])
def mode(request: pytest.FixtureRequest) -> str:
    """Each of the two modes in turn."""
    return str(request.param)


@pytest.fixture
def ciam(fake_ciam: FakeCiam, mode: str, settings: Settings) -> FakeCiam:
    """The fake CIAM, which the project's settings point at."""
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client(mode)}
    settings.CIAM_TIMEOUT = 2.0
    return fake_ciam


@pytest.fixture
def person(ciam: FakeCiam, db: None) -> FormBrowser:
    """A person who fills in our own forms; nobody has been counted yet."""
    cache.clear()
    return FormBrowser(ciam)


@pytest.fixture
def browser(ciam: FakeCiam, db: None) -> Browser:
    """A person's browser, which walks from our login page to CIAM's and back."""
    return Browser(ciam)


# --- A deployment's servers, each of our own and listening to nobody else --------------------

_not_covered: set[str] = set()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests had to do without, which ran all the same."""
    for line in sorted(_not_covered):
        terminalreporter.write_line(f"not covered: {line}")


def _not_covered_here(what: str) -> None:
    if os.environ.get("CIAM_DJANGO_NO_SKIPS"):
        pytest.fail(f"{what}, where nothing may be missing")
    _not_covered.add(what)


@pytest.fixture
def redis_or_none(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The socket of a Redis; None, and said in the end, where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        _not_covered_here("Redis is not installed: the cache of many processes was a database's")
        yield None
        return
    place = tmp_path_factory.mktemp("redis") / "socket"
    options = ["--port", "0", "--unixsocket", str(place), "--save", "", "--dir", str(place.parent)]
    with running([program, *options], place):
        yield place


@pytest.fixture
def redis(redis_or_none: Path | None) -> Path:
    """The socket of a Redis; a test without one skips."""
    if redis_or_none is None:
        # A newcomer's machine may lack it; CI installs it, and a skip fails there.
        pytest.skip("redis-server is not installed, so that no cache spans processes")
    return redis_or_none


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path | None]:
    """The folder of a PostgreSQL's socket; None, and said in the end, where there is none."""
    # Where Debian has it, the newest last, and otherwise in the PATH.
    found = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    programs = next((Path(path).resolve().parent for path in reversed(found) if path), None)
    if programs is None:
        _not_covered_here("PostgreSQL is not installed: accounts of many processes ran on SQLite")
        yield None
        return
    # It does not run as root (nor would pytest-postgresql), and has to reach its folder.
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="ciam_django-", dir="/tmp") as folder:
        place = Path(folder)
        if user:
            shutil.chown(place, user)
        as_user: dict[str, Any] = {"user": user, "cwd": place, "stdout": subprocess.DEVNULL}
        data: list[str | Path] = ["-D", str(place / "data")]
        making = [programs / "initdb", *data, "-U", "tests", "-A", "trust", "--no-sync"]
        subprocess.run(making, check=True, **as_user)
        options = ["-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with running(
            [programs / "postgres", *data, *options],
            place / ".s.PGSQL.5432",
            stderr=subprocess.DEVNULL,
            **as_user,
        ):
            yield place


@contextlib.contextmanager
def running(command: Sequence[str | Path], place: Path, **options: Any) -> Iterator[None]:
    """A server, from when its socket is there."""
    options = {"stdout": subprocess.DEVNULL, **options}
    with subprocess.Popen(command, **options) as server:
        try:
            until = time.monotonic() + 60
            while not place.exists():
                assert server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.01)
            yield
        finally:
            server.send_signal(signal.SIGINT)
