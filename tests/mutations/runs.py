"""Run the tests of a module on a changed copy of the source tree, each time in a new process."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import coverage
import pytest

from tests.mutations.changes import (
    Change,
    is_in_cached_function,
    is_in_function,
    lines_of_statement,
    lines_of_users,
)
from tests.mutations.swaps import changed_functions, replace_functions
from tests.mutations.table import guards_of, path_of
from tests.processes import forking_context

# In seconds. A change counts as caught if the tests take this much longer than without the change,
# because the change makes the package wait forever.
_PATIENCE: Final = 60
_TIMES_AS_LONG: Final = 5
_NOT_COPIED: Final = (
    *(".git", ".tox", ".venv", ".hypothesis", ".*_cache"),
    *("*.egg-info", "build", "dist", "__pycache__"),
)
# Exit statuses of pytest: a test has failed, or a module cannot be imported.
_CAUGHT: Final = frozenset({1, 2, 3, 4})
# The tests of a line run in groups of this many seconds, the fastest tests first.
_SECONDS_OF_GROUP: Final = 2.0

# The tests that try a survivor again: the table may not name the file of the test that notices it.
_ALL_QUICK_TESTS: Final = ("-m", "not slow", "tests")

# The file in a copy with the time and the lines of each test of the module that was measured last.
_MEASURED: Final = "measured.tsv"

# Test -> its time in seconds, and the executed lines of a module.
Rows = dict[str, list[float]]

# The exit status of a run that has run no test, because the change needs new imports.
_NEEDS_IMPORTS: Final = 99


class Copies:
    """Copies of the source tree, in which the tests run; each thread uses its own copy."""

    def __init__(
        self,
        root: Path,
        folder: Path,
        count: int,
        options: Sequence[str] = (),
        kept: Path | None = None,
    ) -> None:
        self._root = root
        # The file with the measurements of earlier runs.
        self._kept = kept
        # More options of pytest.
        self._options = options
        self._folder = folder
        self._count = count
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        # Copy -> a process that has imported a module and its tests.
        self._warm: dict[Path, WarmProcess] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        # (module, line) -> the test functions that execute the line, as pytest names them. An empty
        # name means that the line is also executed outside a test, for example at the import.
        self._tests_of_lines: dict[tuple[str, int], list[str]] = {}
        self._seconds_of_test: dict[str, float] = {}
        self._lock = threading.Lock()
        # The seconds of all quick tests, measured when the first change survives; else 0.
        self._seconds_of_all = 0.0

    def prepare(self, modules: Sequence[str]) -> None:
        """Make the copies, and run the tests of the modules without a change.

        The run measures the time of each test, and finds the tests that execute each line. With the
        file of an earlier run, only the files of tests run that are not measured for a module, or
        that have changed, or whose module has changed.
        """
        first = self._folder / "0"
        shutil.copytree(self._root, first, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        known: dict[str, Rows] = {}
        if self._kept and self._kept.exists():
            known = json.loads(self._kept.read_text(encoding="utf-8"))
        keys = {
            (module, file): self._key(first, module, file)
            for module in modules
            for file in ("", *guards_of(module))
        }
        tests = list(
            dict.fromkeys(
                file or guards_of(module)[0]
                for (module, file), key in keys.items()
                if key not in known
            )
        )
        if tests:
            known |= self._measure(first, modules, tests, keys)
        if self._kept:
            self._kept.write_text(json.dumps(known), encoding="utf-8")
        for (module, _), key in keys.items():
            for test, (seconds, *lines) in known[key].items():
                self._seconds_of_test[test] = seconds
                self._seconds[module] += seconds
                for line in lines:
                    self._tests_of_lines.setdefault((module, int(line)), []).append(test)
        for module in modules:
            # Python would use the bytecode of the unchanged module for a changed module.
            cached = (first / path_of(module)).parent / "__pycache__"
            for file in cached.glob(f"{Path(module).name}.*"):
                file.unlink()
        self._free.put(first)
        for number in range(1, self._count):
            self._free.put(shutil.copytree(first, self._folder / str(number)))

    def _key(self, copy: Path, module: str, file: str) -> str:
        """Return the key of the measurement of a file of tests for a module."""
        paths = [copy / path_of(module), *([copy / file] if file else [])]
        digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths]
        return " ".join([module, file, *digests, *self._options])

    def _measure(
        self,
        copy: Path,
        modules: Sequence[str],
        tests: Sequence[str],
        keys: Mapping[tuple[str, str], str],
    ) -> dict[str, Rows]:
        """Run the files of tests, and return the measurements by their keys."""
        with contextlib.closing(
            WarmProcess(copy, modules, tests, self._options, is_measured=True)
        ) as process:
            if process.run(tests, None) != 0:
                raise SystemExit(f"the tests fail without a change:\n{process.output}")
        found: dict[str, Rows] = {
            key: {} for (_, file), key in keys.items() if not file or file in tests
        }
        for row in (copy / _MEASURED).read_text(encoding="utf-8").splitlines():
            module, test, seconds, *lines = row.split("\t")
            key = keys.get((module, test.partition("::")[0]))
            if key in found:
                found[key][test] = [float(seconds), *map(int, lines)]
        return found

    def close(self) -> None:
        """End the processes."""
        for process in self._warm.values():
            process.close()

    def is_caught(self, module: str, change: Change) -> bool:
        """Return True if the tests of the module fail, or do not end, with the change.

        Only the tests that execute a line of the changed statement run. If the import executes the
        statement, or if no test does, all tests of the module run. If these tests pass, all quick
        tests run in a new process, in which nothing is kept from before the change.
        """
        copy = self._free.get()
        path = copy / path_of(module)
        original = path.read_bytes()
        changed = change.apply(original)
        try:
            process = self._warm_process(copy, module)
            path.write_bytes(changed)
            for tests, needs_imports in self._groups(module, original, change):
                timeout = _PATIENCE + _TIMES_AS_LONG * self._seconds_of(module, tests)
                status: int | None = _NEEDS_IMPORTS
                if not needs_imports:
                    status = process.run(tests, timeout, changed)
                if status == _NEEDS_IMPORTS:
                    arguments = [_NO_MIGRATIONS, *self._options, *tests]
                    status = run_tests(copy, arguments, timeout)
                if _is_failure(status):
                    return True
            timeout = _PATIENCE + _TIMES_AS_LONG * self._measure_all_quick_tests()
            return _is_failure(run_tests(copy, _ALL_QUICK_TESTS, timeout))
        finally:
            path.write_bytes(original)
            self._free.put(copy)

    def _measure_all_quick_tests(self) -> float:
        """Return the seconds of all quick tests without a change; they run once."""
        with self._lock:
            if not self._seconds_of_all:
                copy = self._folder / "unchanged"
                shutil.copytree(self._root, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED))
                started_at = time.monotonic()
                if run_tests(copy, _ALL_QUICK_TESTS, None) != 0:
                    raise SystemExit(f"the quick tests fail in a copy of the tree: {copy}")
                self._seconds_of_all = time.monotonic() - started_at
            return self._seconds_of_all

    def _warm_process(self, copy: Path, module: str) -> WarmProcess:
        """Return the process of a copy that has imported the module and its tests."""
        process = self._warm.get(copy)
        if process is None or process.modules != [module]:
            if process is not None:
                process.close()
            process = WarmProcess(copy, [module], guards_of(module), self._options)
            self._warm[copy] = process
        return process

    def _groups(
        self, module: str, source: bytes, change: Change
    ) -> Iterator[tuple[Sequence[str], bool]]:
        """Yield the tests in the order in which they probably notice the change soonest.

        Each group has True if its tests need new imports: an import has called the changed
        function, for example to make the patterns of URLs, or the process may have its result.
        """
        tests = self._tests_of(module, lines_of_statement(source, change))
        is_cached = is_in_cached_function(source, change)
        is_called = is_in_function(source, change) and not is_cached
        if is_called and tests and "" not in tests:
            count = self._count_in_group(tests)
            yield from ((each, False) for each in (tests[:count], tests[count:]) if each)
            return
        users = [test for test in self._tests_of(module, lines_of_users(source, change)) if test]
        if users:
            yield users[: self._count_in_group(users)], False
        yield guards_of(module), is_cached or "" in tests

    def _tests_of(self, module: str, lines: Iterable[int]) -> list[str]:
        """Return the tests that execute any of the lines, the fastest tests first."""
        found = {test for line in lines for test in self._tests_of_lines.get((module, line), ())}
        return sorted(found, key=lambda test: (self._seconds_of_test[test], test))

    def _seconds_of(self, module: str, tests: Iterable[str]) -> float:
        """Return the seconds of tests without a change; a file counts as all the tests."""
        of_module = self._seconds[module]
        return min(of_module, sum(self._seconds_of_test.get(test, of_module) for test in tests))

    def _count_in_group(self, tests: Sequence[str]) -> int:
        """Return the number of the first tests that take about ``_SECONDS_OF_GROUP``."""
        seconds = itertools.accumulate(self._seconds_of_test[test] for test in tests)
        return sum(each <= _SECONDS_OF_GROUP for each in seconds) + 1


class WarmProcess:
    """A process that imports modules and their tests once, and makes a copy of itself for each run.

    The run of a change gives the functions of the first module their changed code.
    """

    def __init__(
        self,
        copy: Path,
        modules: Sequence[str],
        tests: Sequence[str],
        options: Sequence[str],
        *,
        is_measured: bool = False,
    ) -> None:
        self.modules = modules
        self._copy = copy
        self._connection, other = forking_context.Pipe()
        arguments = (str(copy), modules, [_NO_MIGRATIONS, *options, *tests], is_measured, other)
        self._process: Any = forking_context.Process(target=_serve_runs, args=arguments)
        self._process.start()
        other.close()
        # The source must not change before the process has imported it. Without a message, the
        # process has ended, and ``run`` fails.
        with contextlib.suppress(EOFError):
            self._connection.recv()

    @property
    def output(self) -> str:
        """The output of the process and of its runs."""
        return _output_of(self._copy).read_text(encoding="utf-8", errors="replace")

    def run(
        self, tests: Sequence[str], timeout: float | None, changed: bytes | None = None
    ) -> int | None:
        """Run the tests, and return the exit status of pytest; None after the timeout.

        ``changed`` is the changed source of the module. The status is ``_NEEDS_IMPORTS`` if the
        import of the module executes the change.
        """
        try:
            self._connection.send((list(tests), timeout, changed))
            status: int | None = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise SystemExit(f"the process of the tests has ended:\n{self.output}") from None
        return status

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()


def run_tests(copy: Path, tests: Sequence[str], timeout: float | None) -> int | None:
    """Run pytest in a new process, and return its exit status; None after the timeout."""
    process: Any = forking_context.Process(target=_run_pytest, args=(str(copy), list(tests)))
    process.start()
    process.join(timeout)
    status: int | None = process.exitcode
    if status is None:
        _end_group(process.pid)
        process.join()
    return status


def _is_failure(status: int | None) -> bool:
    """Return True for a failed test, for a timeout, and for a process that a signal has ended."""
    return status is None or status < 0 or status in _CAUGHT


def _output_of(copy: Path) -> Path:
    return copy.with_name(f"output-{copy.name}")


def _end_group(pid: int) -> None:
    """End a process and the servers that its tests have started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


# --- In the new process ---------------------------------------------------------------------------

# Only the plugin that the tests need is loaded, because the others take most of the start.
_OPTIONS: Final = ("-x", "-q", "-p", "no:cacheprovider", "-p", "pytest_django.plugin", "--tb=short")
# Without migrations, the tables of the tests are made sooner. All quick tests include tests of the
# migrations.
_NO_MIGRATIONS: Final = "--no-migrations"


def _run_pytest(copy: str, tests: Sequence[str]) -> None:
    _enter(copy, Path(os.devnull))
    os._exit(pytest.main([*_OPTIONS, *tests]))


def _serve_runs(
    copy: str,
    modules: Sequence[str],
    tests: Sequence[str],
    is_measured: bool,
    connection: Connection,
) -> None:
    """Import the modules with their tests, and run tests until the connection ends."""
    _enter(copy, _output_of(Path(copy)), writes_bytecode=is_measured)
    measurement = _Measurement(modules) if is_measured else None
    server = _Server(Path(copy, path_of(modules[0])), connection, measurement)
    os._exit(pytest.main([*_OPTIONS, *tests], plugins=[server]))


class _NoItem:
    """Stands for the next test after which only what belongs to the whole session is kept."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[pytest.Session]:
        return [self._session]


class _Server:
    """A plugin of pytest that runs the requested tests, each time in a copy of the process."""

    def __init__(
        self, path: Path, connection: Connection, measurement: _Measurement | None
    ) -> None:
        self._path = path
        self._original = path.read_bytes()
        self._connection = connection
        self._measurement = measurement
        # The texts of the failures.
        self._failures: list[str] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        if self._measurement:
            config.pluginmanager.register(self._measurement)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failures.append(f"{report.nodeid}\n{report.longreprtext}")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if self._measurement:
            # A copy of this process keeps only the lines that are not stored yet.
            self._measurement.stop()
        else:
            self._make_database(session)
        self._connection.send("ready")
        with contextlib.suppress(EOFError):
            while True:
                tests, timeout, changed = self._connection.recv()
                functions = changed_functions(self._path, self._original, changed or self._original)
                if functions is None:
                    self._connection.send(_NEEDS_IMPORTS)
                    continue
                pid = os.fork()
                if not pid:
                    os.setsid()
                    if changed and not replace_functions(self._path, functions):
                        os._exit(_NEEDS_IMPORTS)
                    os._exit(self._run(session, set(tests)))
                self._connection.send(_status_of(pid, timeout))
        return True

    def _make_database(self, session: pytest.Session) -> None:
        """Let a test make the database, which the copies of this process then have already.

        The test must start no server: a copy would lack the server's thread.
        """
        for item in session.items:
            names = set(getattr(item, "fixturenames", ()))
            if "db" in names and not names & {"ciam", "fake_ciam", "browser", "person"}:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=_NoItem(session))
                self._failures.clear()
                return

    def _run(self, session: pytest.Session, tests: set[str]) -> int:
        items = [
            item
            for item in session.items
            if not tests.isdisjoint({item.nodeid.partition("[")[0], item.nodeid.partition("::")[0]})
        ]
        if self._measurement:
            self._measurement.start()
        for item, next_item in itertools.zip_longest(items, items[1:]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=next_item)
            if self._failures or session.testsfailed:
                _output_of(Path.cwd()).write_text("\n".join(self._failures), encoding="utf-8")
                return 1
        if self._measurement:
            self._measurement.stop()
            self._measurement.store()
        return 0 if items else 5


def _status_of(pid: int, timeout: float | None) -> int | None:
    """Return the exit status of a child process; end the child after the timeout."""
    until = time.monotonic() + (math.inf if timeout is None else timeout)
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _end_group(pid)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    _end_group(pid)
    os.waitpid(pid, 0)
    return None


def _enter(copy: str, output: Path, *, writes_bytecode: bool = False) -> None:
    """Let this process import the modules of the copy, and write into a file."""
    os.setsid()
    os.chdir(copy)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    # The tests import "tests" from the copy, and not from the tree of this module.
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    tree = str(Path(__file__).parents[2])
    sys.path[:] = [copy, *(path for path in sys.path if path not in ("", tree))]
    os.environ["PYTHONPATH"] = copy
    sys.dont_write_bytecode = not writes_bytecode
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # The configuration of the copy names the settings.
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


class _Measurement:
    """A plugin of pytest that stores the executed lines and the time of each test function."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._file = Path(_MEASURED).absolute()
        # As the data of coverage names the files.
        self._modules = {str(path_of(module).absolute()): module for module in modules}
        self._coverage = coverage.Coverage(
            data_file=None, include=list(self._modules), config_file=False, messages=False
        )
        self._coverage.set_option("run:disable_warnings", ["no-data-collected"])
        self._seconds: Counter[str] = Counter()
        self.start()

    def start(self) -> None:
        """Begin or continue to record the executed lines."""
        self._coverage.start()

    def stop(self) -> None:
        """Pause the recording."""
        self._coverage.stop()

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._seconds[report.nodeid.partition("[")[0]] += report.duration

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._coverage.switch_context(nodeid.partition("[")[0])

    def pytest_runtest_logfinish(self) -> None:
        self._coverage.switch_context("")

    def store(self) -> None:
        """Write a row for each module and test function: the seconds and the executed lines.

        The row of the lines that are executed outside a test has no name.
        """
        data = self._coverage.get_data()
        rows = []
        for file, module in self._modules.items():
            lines_of: dict[str, list[int]] = {}
            for line, tests in data.contexts_by_lineno(file).items():
                for test in tests:
                    lines_of.setdefault(test, []).append(line)
            rows += [
                "\t".join([module, test, f"{self._seconds[test]:.3f}", *map(str, lines)])
                for test, lines in lines_of.items()
            ]
        self._file.write_text("\n".join(rows), encoding="utf-8")
