"""What the tests share: the fake CIAM, and a project that signs in at it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import translation
from pytest_django.fixtures import Settings

from ciam_django import conf, lookup, reporting
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


# --- What pytest's last lines say, and what xdist needs for it ---------------------------------

_not_covered: set[str] = set()
# What takes the time -> how many slow tests were left out for it.
_left_out: Counter[str] = Counter()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count the slow tests that "-m" leaves out, by the reason that their marker gives."""
    if items and "slow" in items[0].config.option.markexpr:
        slow = (item.get_closest_marker("slow") for item in items)
        _left_out.update(marker.args[0] for marker in slow if marker)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Start the workers of xdist with this Python's -X dev and -W, which xdist would leave out."""
    options = ["-X", "dev"] if sys.flags.dev_mode else []
    options += [f"-W{each}" for each in sys.warnoptions]
    for spec in specs:
        spec.python = shlex.join([sys.executable, *options])


def pytest_configure(config: pytest.Config) -> None:
    """A worker of xdist is measured; a process that a test starts is not, as without workers."""
    if hasattr(config, "workerinput"):
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist has no last lines: it gives to the controller what they would say."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["not_covered"] = sorted(_not_covered)
        output["left_out"] = dict(_left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take what a worker gives; a worker that has crashed gives nothing."""
    output = getattr(node, "workeroutput", {})
    _not_covered.update(output.get("not_covered", ()))
    # Each worker collects all tests, and leaves out the same.
    _left_out.update(Counter(output.get("left_out", {})) - _left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests had to do without, which ran all the same; and which tests did not run."""
    for line in sorted(_not_covered):
        terminalreporter.write_line(f"not covered: {line}")
    if _left_out:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in _left_out.most_common())
        terminalreporter.write_line(f"left out: {_left_out.total()} tests marked slow: {reasons}")
        terminalreporter.write_line("run them with: tox run -e full")


@pytest.fixture(autouse=True)
def no_alarm_has_sounded() -> Iterator[None]:
    """A code's first log line differs from its next ones, in each process."""
    reporting._last_logged.clear()
    client_cache._logged_at.clear()
    yield
    reporting._last_logged.clear()
    client_cache._logged_at.clear()


@pytest.fixture(autouse=True)
def nothing_is_cached() -> None:
    """The cache of a process keeps what an earlier test counted and noted."""
    cache.clear()


@pytest.fixture(autouse=True)
def no_language_is_active() -> Iterator[None]:
    """The language of the last request stays active in its thread."""
    translation.deactivate()
    yield
    translation.deactivate()


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
    # A busy machine takes its time.
    settings.CIAM_TIMEOUT = 30.0
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
            until = time.monotonic() + 180
            while not place.exists():
                assert server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.01)
            yield
        finally:
            server.send_signal(signal.SIGINT)
