"""Try one-line changes of the package, and print the changes that make no test fail.

``python -m tests.mutations --module login/state`` tries all changes of a module.
``--sample 200 --seed 1`` tries a random sample of the changes of all modules.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutations.changes import Change, changes_of, first_changed_line
from tests.mutations.runs import Copies
from tests.mutations.table import MODULES, ROOT, path_of

# The least percentage of changes that must make a test fail.
BAR: Final = 95
EQUIVALENT: Final = Path(__file__).with_name("equivalent.tsv")

# (module, old line, new line) -> why no test can fail.
Equivalents = Mapping[tuple[str, str, str], str]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of a module that should make a test fail."""

    module: str
    change: Change
    line: int
    old: str
    new: str

    def __str__(self) -> str:
        place = f"{path_of(self.module).as_posix()}:{self.line}"
        return f"  {place}  {self.change.kind}\n    - {self.old}\n    + {self.new}"


def mutations_of(module: str) -> list[Mutation]:
    """Return all mutations of a module, in the order of the source."""
    source = (ROOT / path_of(module)).read_bytes()
    return [
        Mutation(module, change, *first_changed_line(source, change))
        for change in changes_of(source)
    ]


def read_equivalents(text: str) -> dict[tuple[str, str, str], str]:
    """Return the known equivalent mutations, with the reason for each mutation."""
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return {(module, old, new): reason for module, old, new, reason in rows}


def stale_equivalents(
    equivalents: Equivalents, mutations: Sequence[Mutation]
) -> list[tuple[str, str, str]]:
    """Return the equivalents of the modules of ``mutations`` that match no mutation."""
    known = {(mutation.module, mutation.old, mutation.new) for mutation in mutations}
    modules = {mutation.module for mutation in mutations}
    return [key for key in equivalents if key[0] in modules and key not in known]


# --- The report -----------------------------------------------------------------------------------


def survivors(
    mutations: Sequence[Mutation],
    processes: int,
    *,
    is_quick: bool = False,
    kept: Path | None = None,
) -> Iterator[Mutation]:
    """Yield the mutations that make no test fail; with ``is_quick``, no quick test."""
    options = ["-m", "not slow or covering or other_row"] if is_quick else []
    with (
        tempfile.TemporaryDirectory(prefix="ciam_django-mutations-") as folder,
        ThreadPoolExecutor(processes) as threads,
        contextlib.closing(Copies(ROOT, Path(folder), processes, options, kept)) as copies,
    ):
        copies.prepare(sorted({mutation.module for mutation in mutations}))
        caught = threads.map(
            lambda mutation: copies.is_caught(mutation.module, mutation.change), mutations
        )
        for mutation, is_caught in zip(mutations, caught, strict=True):
            if not is_caught:
                yield mutation


def report(mutations: Sequence[Mutation], survived: Sequence[Mutation]) -> str:
    """Return a line for each module, the survivors and the total."""
    tried_counts = Counter(mutation.module for mutation in mutations)
    survivor_counts = Counter(mutation.module for mutation in survived)
    lines = [
        f"{module}: {count - survivor_counts[module]} of {count} caught, "
        f"{survivor_counts[module]} survived"
        for module, count in sorted(tried_counts.items())
    ]
    lines += ["", *map(str, survived)] if survived else []
    total, caught = len(mutations), len(mutations) - len(survived)
    return "\n".join(
        [
            *lines,
            "",
            f"{caught} of {total} caught: {percent(caught, total):.1f} %",
        ]
    )


def percent(part: int, total: int) -> float:
    """Return the percentage, and 100 if the total is 0."""
    return 100 * part / total if total else 100.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; return 1 if the tests catch less than ``BAR`` percent."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--module", action="append", choices=list(MODULES), metavar="MODULE")
    parser.add_argument("--sample", type=int, help="number of random changes to try")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random sample")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="leave out the slow tests")
    parser.add_argument(
        "--kept", type=Path, metavar="FILE", help="keep the measured lines for the next run"
    )
    parser.add_argument("--list", action="store_true", help="print the changes without trying them")
    options = parser.parse_args(arguments)

    candidates = [
        mutation for module in options.module or MODULES for mutation in mutations_of(module)
    ]
    equivalents = read_equivalents(EQUIVALENT.read_text(encoding="utf-8"))
    if stale := stale_equivalents(equivalents, candidates):
        raise SystemExit(f"{EQUIVALENT.name} contains changes that no longer exist: {stale}")
    mutations = [
        mutation
        for mutation in candidates
        if (mutation.module, mutation.old, mutation.new) not in equivalents
    ]
    if options.sample is not None and options.sample < len(mutations):
        sample = random.Random(options.seed).sample(range(len(mutations)), options.sample)
        mutations = [mutations[number] for number in sorted(sample)]
    if options.list:
        sys.stdout.write("\n".join([*map(str, mutations), f"{len(mutations)} changes\n"]))
        return 0

    survived = []
    for mutation in survivors(
        mutations, options.processes, is_quick=options.quick, kept=options.kept
    ):
        # A survivor is printed at once, because the whole run takes hours.
        sys.stderr.write(f"survived:\n{mutation}\n")
        sys.stderr.flush()
        survived.append(mutation)
    sys.stdout.write(report(mutations, survived) + "\n")
    return int(percent(len(mutations) - len(survived), len(mutations)) < BAR)


if __name__ == "__main__":
    sys.exit(main())
