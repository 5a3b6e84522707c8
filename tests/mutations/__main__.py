"""Try one-line changes of the package, and name those that no test notices.

``python -m tests.mutations --module login/state`` tries all changes of a module,
``--sample 200 --seed 1`` as many of all modules, drawn by lot.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutations.changes import Change, changes_of, first_changed_line
from tests.mutations.table import MODULES, ROOT, guards_of, path_of

# Percent of the changes that the tests have to notice.
BAR: Final = 95
EQUIVALENT: Final = Path(__file__).with_name("equivalent.tsv")
# Seconds. A change after which the tests take so much longer than before makes something wait for
# ever, which is noticed.
_PATIENCE: Final = 60
_TIMES_AS_LONG: Final = 5
_NOT_COPIED: Final = (".*", "*.egg-info", "build", "dist", "__pycache__")
# Of pytest: tests ran, and some failed; a module that cannot be imported.
_CAUGHT: Final = frozenset({1, 2, 3, 4})

# Module, old line, new line -> why nobody can notice.
Equivalents = Mapping[tuple[str, str, str], str]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of a module, which the tests should notice."""

    module: str
    change: Change
    line: int
    old: str
    new: str

    def __str__(self) -> str:
        place = f"{path_of(self.module).as_posix()}:{self.line}"
        return f"  {place}  {self.change.kind}\n    - {self.old}\n    + {self.new}"


def mutations_of(module: str) -> list[Mutation]:
    """All mutations of a module, in the order of its source."""
    source = (ROOT / path_of(module)).read_bytes()
    return [
        Mutation(module, change, *first_changed_line(source, change))
        for change in changes_of(source)
    ]


def read_equivalents(text: str) -> dict[tuple[str, str, str], str]:
    """The known equivalent mutations, with the reason for each."""
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return {(module, old, new): reason for module, old, new, reason in rows}


def stale_equivalents(
    equivalents: Equivalents, mutations: Sequence[Mutation]
) -> list[tuple[str, str, str]]:
    """Those of the modules tried that are a change of no line any longer."""
    known = {(it.module, it.old, it.new) for it in mutations}
    modules = {it.module for it in mutations}
    return [key for key in equivalents if key[0] in modules and key not in known]


# --- Running the tests on a changed copy ----------------------------------------------------------


class Copies:
    """Copies of the tree, one for each thread, in which the tests run."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._seconds: dict[str, float] = {}

    def prepare(self, modules: Sequence[str]) -> None:
        """Make the copies, and see how long the tests of each module take without a change."""
        first = self._folder / "0"
        shutil.copytree(ROOT, first, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        for module in modules:
            began = time.monotonic()
            status, output = _run_tests(first, module, None, keeps_bytecode=True)
            if status != 0:
                raise SystemExit(f"the tests of {module} fail without a change:\n{output}")
            self._seconds[module] = time.monotonic() - began
        for module in modules:
            # Python would take the old module's bytecode for the new one's.
            cached = (first / path_of(module)).parent / "__pycache__"
            for file in cached.glob(f"{Path(module).name}.*"):
                file.unlink()
        self._free.put(first)
        for number in range(1, self._count):
            self._free.put(shutil.copytree(first, self._folder / str(number)))

    def is_caught(self, mutation: Mutation) -> bool:
        """Whether the tests of the module fail, or do not end, with the change in it."""
        copy = self._free.get()
        path = copy / path_of(mutation.module)
        original = path.read_bytes()
        try:
            path.write_bytes(mutation.change.apply(original))
            timeout = _PATIENCE + _TIMES_AS_LONG * self._seconds[mutation.module]
            status, _ = _run_tests(copy, mutation.module, timeout)
            return status is None or status in _CAUGHT
        finally:
            path.write_bytes(original)
            self._free.put(copy)


def _run_tests(
    copy: Path, module: str, timeout: float | None, *, keeps_bytecode: bool = False
) -> tuple[int | None, str]:
    """The exit status of pytest, None if it had to be stopped; and what it wrote."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=short"]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if not keeps_bytecode:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    with subprocess.Popen(
        [*command, *guards_of(module)],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # With the servers that the tests have started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, ""
        return process.returncode, output


# --- The report -----------------------------------------------------------------------------------


def survivors(mutations: Sequence[Mutation], processes: int) -> Iterator[Mutation]:
    """The mutations that no test notices."""
    with (
        tempfile.TemporaryDirectory(prefix="ciam_django-mutations-") as folder,
        ThreadPoolExecutor(processes) as threads,
    ):
        copies = Copies(Path(folder), processes)
        copies.prepare(sorted({mutation.module for mutation in mutations}))
        caught = threads.map(copies.is_caught, mutations)
        for mutation, is_caught in zip(mutations, caught, strict=True):
            if not is_caught:
                yield mutation


def report(mutations: Sequence[Mutation], survived: Sequence[Mutation]) -> str:
    """A line for each module, the survivors, and the sum."""
    tried = Counter(mutation.module for mutation in mutations)
    alive = Counter(mutation.module for mutation in survived)
    lines = [
        f"{module}: {count - alive[module]} of {count} caught, {alive[module]} survived"
        for module, count in sorted(tried.items())
    ]
    lines += ["", *map(str, survived)] if survived else []
    whole, caught = len(mutations), len(mutations) - len(survived)
    return "\n".join(
        [
            *lines,
            "",
            f"{caught} of {whole} caught: {percent(caught, whole):.1f} %",
        ]
    )


def percent(part: int, whole: int) -> float:
    """100 where nothing was tried."""
    return 100 * part / whole if whole else 100.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 1 where the tests notice less than the bar."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--module", action="append", choices=list(MODULES), metavar="MODULE")
    parser.add_argument("--sample", type=int, help="how many changes, drawn by lot")
    parser.add_argument("--seed", type=int, default=0, help="draws the same lots again")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true", help="print the changes; try none")
    given = parser.parse_args(arguments)

    found = [it for module in given.module or MODULES for it in mutations_of(module)]
    equivalents = read_equivalents(EQUIVALENT.read_text(encoding="utf-8"))
    if stale := stale_equivalents(equivalents, found):
        raise SystemExit(f"{EQUIVALENT.name} names changes that there are no longer: {stale}")
    mutations = [it for it in found if (it.module, it.old, it.new) not in equivalents]
    if given.sample is not None and given.sample < len(mutations):
        drawn = random.Random(given.seed).sample(range(len(mutations)), given.sample)
        mutations = [mutations[number] for number in sorted(drawn)]
    if given.list:
        sys.stdout.write("\n".join([*map(str, mutations), f"{len(mutations)} changes\n"]))
        return 0

    survived = []
    for mutation in survivors(mutations, given.processes):
        # At once: all of them take hours.
        sys.stderr.write(f"survived:\n{mutation}\n")
        sys.stderr.flush()
        survived.append(mutation)
    sys.stdout.write(report(mutations, survived) + "\n")
    return int(percent(len(mutations) - len(survived), len(mutations)) < BAR)


if __name__ == "__main__":
    sys.exit(main())
