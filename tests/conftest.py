"""Fixtures and hooks that all tests share."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
from django.core.cache import cache
from django.db import connections
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import translation
from pytest_django.fixtures import Settings

from ciam_django import conf, lookup, reporting
from ciam_django.client import cache as client_cache
from ciam_django.client import circuit_breaker
from ciam_django.codes import CODES, Meaning
from ciam_django.login import redirects
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.login.person import FormBrowser
from tests.postgres import create_postgres_database, find_postgres, running_postgres
from tests.servers import running

pytest_plugins = ["ciam_django.testing.fixtures"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a skipped test fail if CIAM_DJANGO_NO_SKIPS is set, because CI installs everything."""
    report = yield
    # CI can't install the history that a shallow clone lacks.
    is_shallow = "the clone is shallow" in str(report.longrepr)
    if report.skipped and os.environ.get("CIAM_DJANGO_NO_SKIPS") and not is_shallow:
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
    return report


# The decorator of each view caches what it derives from CSRF_TRUSTED_ORIGINS, which tests change.
for _name in ("csrf_trusted_origins_hosts", "allowed_origins_exact", "allowed_origin_subdomains"):
    setattr(CsrfViewMiddleware, _name, property(vars(CsrfViewMiddleware)[_name].func))


# Django's default of LOGIN_REDIRECT_URL.
DEFAULT_REDIRECT: Final = "/accounts/profile/"

# --- Pytest's last lines, also with the workers of xdist ---------------------------------------

_not_covered: set[str] = set()
# Reason of the marker "slow" -> number of tests left out.
_left_out: Counter[str] = Counter()

# The reasons of the slow tests whose results hardly depend on the versions of Python, Django and
# the dependencies. With CIAM_DJANGO_RUN_ONCE, an environment leaves these tests out: another
# environment runs them. "tox run -e py311-django52" at night runs them with the lowest versions.
RUN_ONCE: Final = frozenset(
    {
        "Chromium",
        "React from npm",
        "TypeScript from npm",
        "a misspelling of each code",
        "a process for each change",
        "a short soak",
        "all catalogues of Django",
        "anonymous requests with the worst headers, cookies, bodies and addresses",
        "answers of all codes",
        "deployments of several processes",
        "exchanges of all accounts",
        "failures at every stage",
        "forms that fail",
        "htmx from npm, in Chromium",
        "leaks",
        "node",
        "other rows of parameters",
        "processes of an existing project",
        "processes of bare projects",
        "projects of newcomers",
        "properties",
        "pytest in pytest",
        "schemathesis",
        "the OpenAPI document",
        "the blocks of the documentation",
        "the build of the documentation",
        "the example project",
        "the logins of the benchmarks",
        "the measurement of the tests",
        "the source code of all modules",
        "two versions side by side",
    }
)
# The folders whose slow tests execute branches that no quick test executes.
_COVERING_FOLDERS: Final = ("tests/client/", "tests/drf/", "tests/testing/")
# The reasons of tests that mostly wait, for minutes. Started first, they wait while the other
# processes of the run work.
_WAITING: Final = frozenset({"a short soak", "deployments of several processes"})
_LEAVES_OUT_ONCE: Final = bool(os.environ.get("CIAM_DJANGO_RUN_ONCE"))


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count the slow tests that this run leaves out, by the reason in their marker."""
    if items and (_LEAVES_OUT_ONCE or "slow" in items[0].config.option.markexpr):
        _left_out.update(reason for item in items if (reason := _slow_reason(item)))


def _slow_reason(item: pytest.Item) -> str:
    """Return the reason in the marker "slow"; empty for a quick test."""
    marker = item.get_closest_marker("slow")
    return str(marker.args[0]) if marker else ""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file whose tests another environment of tox runs.

    CIAM_DJANGO_SHARING is the list of the environments that share the files, which a comma
    separates. Each environment has about as many large files and small files as the others.
    """
    environments = os.environ.get("CIAM_DJANGO_SHARING", "").split(",")
    name = os.environ.get("TOX_ENV_NAME", "")
    if not (name and name in environments and collection_path.name.startswith("test_")):
        return None
    files = _files_by_size(config.rootpath)
    is_ours = files.index(collection_path) % len(environments) == environments.index(name)
    return None if is_ours else True


@functools.cache
def _files_by_size(root: Path) -> Sequence[Path]:
    """Return the files of tests, the smallest first."""
    files = root.glob("tests/**/test_*.py")
    return sorted(files, key=lambda file: (file.stat().st_size, file))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """Mark the other rows as slow, and run the tests first that wait for the longest time.

    With CIAM_DJANGO_RUN_ONCE, leave out the tests of RUN_ONCE.
    """
    _mark_covering_folders(items)
    _mark_other_rows(items)
    yield
    items.sort(key=lambda item: _slow_reason(item) not in _WAITING)
    if _LEAVES_OUT_ONCE:
        once = [item for item in items if _slow_reason(item) in RUN_ONCE]
        config.hook.pytest_deselected(items=once)
        items[:] = [item for item in items if _slow_reason(item) not in RUN_ONCE]


def _mark_covering_folders(items: Sequence[pytest.Item]) -> None:
    """Mark the slow tests of some folders as ``covering``."""
    for item in items:
        if item.nodeid.startswith(_COVERING_FOLDERS) and _slow_reason(item):
            item.add_marker(pytest.mark.covering)


def _mark_other_rows(items: Sequence[pytest.Item]) -> None:
    """Mark the rows of parameters that a quick run leaves out as ``slow`` and ``other_row``.

    A test with requests to the fake CIAM takes about fifty times as long as a test without. A quick
    run takes one row of its parameters. The row depends on the name of the test, so that the quick
    tests have about as many rows of each mode, each cache and each format.
    """
    rows: dict[str, list[pytest.Item]] = {}
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "fake_ciam" in fixtures and hasattr(item, "callspec") and not _slow_reason(item):
            rows.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for name, rows_of_test in rows.items():
        quick = zlib.crc32(name.encode()) % len(rows_of_test)
        for other in rows_of_test[:quick] + rows_of_test[quick + 1 :]:
            other.add_marker(pytest.mark.slow("other rows of parameters"))
            other.add_marker(pytest.mark.other_row)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Start the workers of xdist with this Python's -X dev and -W, which xdist does not pass on."""
    options = ["-X", "dev"] if sys.flags.dev_mode else []
    options += [f"-W{option}" for option in sys.warnoptions]
    for spec in specs:
        spec.python = shlex.join([sys.executable, *options])


def pytest_configure(config: pytest.Config) -> None:
    """Switch off coverage in the processes that tests start in a worker, as without workers."""
    if hasattr(config, "workerinput"):
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist if the run has all tests, and not only the files of an argument."""
    node.workerinput["has_all_tests"] = (
        node.config.args_source is pytest.Config.ArgsSource.TESTPATHS
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let each worker of xdist begin with another part of the test modules.

    Pytest rewrites a test module at its first import and stores the result for the other workers.
    Without this function, all workers would rewrite the same module at the same time.
    """
    worker: dict[str, Any] | None = getattr(session.config, "workerinput", None)
    if not (worker and worker["has_all_tests"]):
        return
    root = session.config.rootpath
    names = [
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in sorted(root.glob("tests/**/test_*.py"))
    ]
    number = int(str(worker["workerid"]).removeprefix("gw"))
    start = len(names) * number // int(worker["workercount"])
    for name in names[start:] + names[:start]:
        # The collection reports the error.
        with contextlib.suppress(Exception):
            import_module(name)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the data for the last lines from a worker of xdist to the controller."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["not_covered"] = sorted(_not_covered)
        output["left_out"] = dict(_left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Add the data of a worker; a crashed worker sends no data."""
    output = getattr(node, "workeroutput", {})
    _not_covered.update(output.get("not_covered", ()))
    # Each worker collects all tests and leaves out the same tests, so the counts are not added.
    _left_out.update(Counter(output.get("left_out", {})) - _left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the services that the tests replaced, and the number of slow tests left out."""
    for line in sorted(_not_covered):
        terminalreporter.write_line(f"not covered: {line}")
    if _left_out:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in _left_out.most_common())
        terminalreporter.write_line(f"left out: {_left_out.total()} tests marked slow: {reasons}")
        terminalreporter.write_line("run them with: tox run -e full")


@pytest.fixture(autouse=True)
def clear_logged_codes() -> Iterator[None]:
    """Forget the logged codes, because a code's first log line differs from its next lines."""
    reporting._last_logged.clear()
    client_cache._logged_at.clear()
    # On a busy machine, a failure can be slow.
    client_cache.cache.paused_until = 0.0
    yield
    reporting._last_logged.clear()
    client_cache._logged_at.clear()


@pytest.fixture(autouse=True, scope="session")
def log_missing_page() -> None:
    """Log once that the tests' project has no page for the default of ``LOGIN_REDIRECT_URL``.

    Otherwise the first test of a process that signs a user in would get this log line.
    """
    redirects._log_missing_page(DEFAULT_REDIRECT)


@pytest.fixture(autouse=True)
def clear_cache() -> None:
    """Clear the cache of this process, which has the counts of earlier tests."""
    cache.clear()


@pytest.fixture(autouse=True)
def forget_circuits() -> None:
    """Forget that CIAM was silent in an earlier test."""
    circuit_breaker.forget_circuits()


@pytest.fixture(autouse=True)
def deactivate_language() -> Iterator[None]:
    """Deactivate the language, because a request leaves its language active in the thread."""
    translation.deactivate()
    yield
    translation.deactivate()


@pytest.fixture
def table() -> Iterator[dict[str, Meaning]]:
    """The table of codes, which a test may change; afterwards, rows and order are restored."""
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
    """Each of the two modes, ``oidc`` and ``ciam``."""
    return str(request.param)


@pytest.fixture
def ciam(fake_ciam: FakeCiam, mode: str, settings: Settings) -> FakeCiam:
    """The fake CIAM, with settings of the project that point to it."""
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client(mode)}
    # Requests can be slow on a busy machine.
    settings.CIAM_TIMEOUT = 30.0
    return fake_ciam


@pytest.fixture
def person(ciam: FakeCiam, db: None) -> FormBrowser:
    """A browser that fills in the package's forms; all rate limits start at zero."""
    cache.clear()
    return FormBrowser(ciam)


@pytest.fixture
def browser(ciam: FakeCiam, db: None) -> Browser:
    """A browser that signs in at the fake CIAM."""
    return Browser(ciam)


@pytest.fixture
def advance_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A function that moves the clock forward, also the clock of the cache."""
    passed, now, ticks = [0.0], time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: now() + passed[0])
    monkeypatch.setattr(time, "monotonic", lambda: ticks() + passed[0])

    def advance(seconds: float) -> None:
        passed[0] += seconds

    return advance


@pytest.fixture
def closed_thread_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``close`` close the SQLite connections of other threads.

    Django's ``close`` does nothing for a database in memory, and Python 3.13 warns of the
    connection of a thread that has ended.
    """
    ours = connections["default"]
    monkeypatch.setattr(type(ours), "is_in_memory_db", lambda wrapper: wrapper is ours)


# --- Servers of a deployment, which listen on Unix sockets only -------------------------------


def _record_not_covered(reason: str) -> None:
    if os.environ.get("CIAM_DJANGO_NO_SKIPS"):
        pytest.fail(f"{reason}, where nothing may be missing")
    _not_covered.add(reason)


@pytest.fixture
def redis_or_none(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The socket of a Redis; None without Redis, which the last lines then report."""
    program = shutil.which("redis-server")
    if program is None:
        _record_not_covered("Redis is not installed: the cache of many processes was a database's")
        yield None
        return
    place = tmp_path_factory.mktemp("redis") / "socket"
    options = ["--port", "0", "--unixsocket", str(place), "--save", "", "--dir", str(place.parent)]
    with running([program, *options], place):
        yield place


@pytest.fixture
def redis(redis_or_none: Path | None) -> Path:
    """The socket of a Redis; the test is skipped without Redis."""
    if redis_or_none is None:
        # A developer's machine may have no Redis. CI installs Redis, and a skip fails there.
        pytest.skip("redis-server is not installed, so that no cache spans processes")
    return redis_or_none


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path | None]:
    """The folder of a PostgreSQL's socket; None without PostgreSQL, which the last lines report."""
    programs = find_postgres()
    if programs is None:
        _record_not_covered("PostgreSQL is not installed: accounts of many processes ran on SQLite")
        yield None
        return
    with running_postgres(programs) as place:
        yield place


@pytest.fixture(scope="session")
def create_database(postgres: Path | None) -> Callable[[], dict[str, Any]]:
    """A function that creates a database in PostgreSQL and returns its settings."""
    if postgres is None:
        # A developer's machine may have no PostgreSQL. CI installs it, and a skip fails there.
        pytest.skip("PostgreSQL is not installed")

    return functools.partial(create_postgres_database, postgres)
