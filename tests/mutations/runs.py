"""Run the tests of a module on a changed copy of the source tree, each time in a new process."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import queue
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import coverage
import pytest

from tests.mutations.changes import (
    Change,
    is_in_function,
    lines_of_statement,
    lines_of_users,
)
from tests.mutations.table import guards_of, path_of

# In seconds. A change counts as caught if the tests take this much longer than without the change,
# because the change makes the package wait forever.
_PATIENCE: Final = 60
_TIMES_AS_LONG: Final = 5
_NOT_COPIED: Final = (".*", "*.egg-info", "build", "dist", "__pycache__")
# Exit statuses of pytest: a test has failed, or a module cannot be imported.
_CAUGHT: Final = frozenset({1, 2, 3, 4})
# The tests of a line run in groups of this many seconds, the fastest tests first.
_SECONDS_OF_GROUP: Final = 2.0

# The file in a copy with the time and the lines of each test of the module that was measured last.
_MEASURED: Final = "measured.tsv"

# Each run starts as a copy of a process that has imported these modules, because the imports would
# take most of the time of a run. A plugin of pytest is not here: pytest must import it.
_PRELOADED: Final = (
    "asyncio",
    "authlib.integrations.django_client",
    "authlib.integrations.requests_client",
    "cryptography.fernet",
    "cryptography.x509",
    "django.contrib.admin.options",
    "django.db.backends.sqlite3.base",
    "django.test",
    "joserfc.jwt",
    "phonenumbers",
    "pytest",
    "rest_framework",
    "werkzeug.serving",
)
_processes: Final = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(list(_PRELOADED))


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run: the exit status of pytest, or None after the timeout, and the output."""

    status: int | None
    output: str
    seconds: float

    @property
    def has_caught(self) -> bool:
        """True if a test has failed, or if the tests did not end."""
        return self.status is None or self.status in _CAUGHT


class Copies:
    """Copies of the source tree, in which the tests run; each thread uses its own copy."""

    def __init__(self, root: Path, folder: Path, count: int) -> None:
        self._root = root
        self._folder = folder
        self._count = count
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._seconds: dict[str, float] = {}
        # (module, line) -> the test functions that execute the line, as pytest names them. An empty
        # name means that the line is also executed outside a test, for example at the import.
        self._tests_of_lines: dict[tuple[str, int], list[str]] = {}
        self._seconds_of_test: dict[str, float] = {}

    def prepare(self, modules: Sequence[str]) -> None:
        """Make the copies, and run the tests of each module without a change.

        The runs measure the time of each test, and find the tests that execute each line.
        """
        first = self._folder / "0"
        shutil.copytree(self._root, first, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        for module in modules:
            run = run_tests(first, guards_of(module), None, module)
            if run.status != 0:
                raise SystemExit(f"the tests of {module} fail without a change:\n{run.output}")
            self._seconds[module] = run.seconds
            for row in (first / _MEASURED).read_text(encoding="utf-8").splitlines():
                seconds, test, *lines = row.split("\t")
                self._seconds_of_test[test] = float(seconds)
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

    def is_caught(self, module: str, change: Change) -> bool:
        """Return True if the tests of the module fail, or do not end, with the change.

        Only the tests that execute a line of the changed statement run. If the import executes the
        statement, or if no test does, all tests of the module run.
        """
        copy = self._free.get()
        path = copy / path_of(module)
        original = path.read_bytes()
        timeout = _PATIENCE + _TIMES_AS_LONG * self._seconds[module]
        try:
            path.write_bytes(change.apply(original))
            groups = self._groups(module, original, change)
            return any(run_tests(copy, tests, timeout).has_caught for tests in groups)
        finally:
            path.write_bytes(original)
            self._free.put(copy)

    def _groups(self, module: str, source: bytes, change: Change) -> Iterator[Sequence[str]]:
        """Yield the tests in the order in which they probably notice the change soonest."""
        tests = self._tests_of(module, lines_of_statement(source, change))
        if is_in_function(source, change) and tests and "" not in tests:
            count = self._count_in_group(tests)
            yield from filter(None, [tests[:count], tests[count:]])
            return
        users = [test for test in self._tests_of(module, lines_of_users(source, change)) if test]
        if users:
            yield users[: self._count_in_group(users)]
        yield guards_of(module)

    def _tests_of(self, module: str, lines: Iterable[int]) -> list[str]:
        """Return the tests that execute any of the lines, the fastest tests first."""
        found = {test for line in lines for test in self._tests_of_lines.get((module, line), ())}
        return sorted(found, key=lambda test: (self._seconds_of_test[test], test))

    def _count_in_group(self, tests: Sequence[str]) -> int:
        """Return the number of the first tests that take about ``_SECONDS_OF_GROUP``."""
        seconds = itertools.accumulate(self._seconds_of_test[test] for test in tests)
        return sum(each <= _SECONDS_OF_GROUP for each in seconds) + 1


def run_tests(
    copy: Path, tests: Sequence[str], timeout: float | None, measured_module: str = ""
) -> Run:
    """Run pytest in a copy until the first failure.

    With ``measured_module``, the run also stores the lines that each test executes.
    """
    with tempfile.NamedTemporaryFile(dir=copy.parent, prefix="output-") as output:
        process: Any = _processes.Process(
            target=_run_pytest, args=(str(copy), list(tests), output.name, measured_module)
        )
        began = time.monotonic()
        process.start()
        process.join(timeout)
        status = process.exitcode
        if status is None:
            # The process group includes the servers that the tests have started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
        text = Path(output.name).read_text(encoding="utf-8", errors="replace")
    # A process that a signal has ended has a negative status, and counts as a failure.
    return Run(1 if status is not None and status < 0 else status, text, time.monotonic() - began)


# --- In the new process ---------------------------------------------------------------------------


def _run_pytest(copy: str, tests: Sequence[str], output: str, measured_module: str) -> None:
    os.setsid()
    os.chdir(copy)
    file = os.open(output, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    # The tests import "tests" from the copy, and not from the tree of this module.
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    tree = str(Path(__file__).parents[2])
    sys.path[:] = [copy, *(path for path in sys.path if path not in ("", tree))]
    os.environ["PYTHONPATH"] = copy
    sys.dont_write_bytecode = not measured_module
    # Only the plugin that the tests need is loaded, because the others take most of the start.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "pytest_django.plugin", "--tb=short"]
    measurement = _Measurement(measured_module) if measured_module else None
    status = pytest.main([*options, *tests], plugins=[measurement] if measurement else [])
    if measurement:
        measurement.store()
    sys.stdout.flush()
    os._exit(int(status))


class _Measurement:
    """A plugin of pytest that stores the executed lines and the time of each test function."""

    def __init__(self, module: str) -> None:
        self._file = Path(_MEASURED).absolute()
        self._path = path_of(module)
        self._coverage = coverage.Coverage(
            data_file=None, include=[str(self._path)], config_file=False, messages=False
        )
        self._coverage.set_option("run:disable_warnings", ["no-data-collected"])
        self._coverage.start()
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._seconds[report.nodeid.partition("[")[0]] += report.duration

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._coverage.switch_context(nodeid.partition("[")[0])

    def pytest_runtest_logfinish(self) -> None:
        self._coverage.switch_context("")

    def store(self) -> None:
        """Write a row for each test function: its seconds, its name and its lines.

        The row of the lines that are executed outside a test has no name.
        """
        self._coverage.stop()
        data = self._coverage.get_data()
        lines_of: dict[str, set[int]] = {}
        for measured in data.measured_files():
            for line, contexts in data.contexts_by_lineno(measured).items():
                for context in contexts:
                    lines_of.setdefault(context, set()).add(line)
        rows = [
            "\t".join([f"{self._seconds[test]:.3f}", test, *map(str, lines)])
            for test, lines in lines_of.items()
        ]
        self._file.write_text("\n".join(rows), encoding="utf-8")
