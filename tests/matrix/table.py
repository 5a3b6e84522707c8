"""Writes the matrix as Markdown tables of statuses and codes."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator

from tests.matrix.faults import FAULTS, Fault
from tests.matrix.forgeries import CODES_OF_FORGERIES
from tests.matrix.stages import STAGES, MatrixStage


def failure_table(cell_of: Callable[[MatrixStage, Fault], tuple[int, str]]) -> str:
    """Return the table of failures; ``cell_of`` returns the status and the code of a cell."""
    return "\n".join(_lines(cell_of))


def _lines(cell_of: Callable[[MatrixStage, Fault], tuple[int, str]]) -> Iterator[str]:
    yield _line("failure", "code", *(stage.name for stage in STAGES))
    yield _line(*["---"] * (len(STAGES) + 2))
    rows = [(fault.name, _cells(fault, cell_of)) for fault in FAULTS]
    # Adjacent faults with the same cells share a line.
    for cells, group in itertools.groupby(rows, key=operator.itemgetter(1)):
        names = [name for name, _ in group]
        yield _line(", ".join(names) if len(names) < 9 else _first_to_last(names), *cells)


def _first_to_last(names: list[str]) -> str:
    return f"{names[0]} … {names[-1]} ({len(names)})"


def _cells(
    fault: Fault, cell_of: Callable[[MatrixStage, Fault], tuple[int, str]]
) -> tuple[str, ...]:
    cells = [f"`{fault.code}`"]
    for stage in STAGES:
        if fault.name in stage.impossible:
            cells.append("–")
            continue
        status, code = cell_of(stage, fault)
        cells.append(f"{status}" if code == fault.code else f"{status} `{code}`")
    return tuple(cells)


def forgery_table(status_of: Callable[[str], int]) -> str:
    """Return the table of forgeries; ``status_of`` returns the status for a code."""
    rows = [("forgery", "code", "status"), ("---", "---", "---")]
    rows += [
        (f"`{name}`", f"`{code}`", str(status_of(code)))
        for name, code in CODES_OF_FORGERIES.items()
    ]
    return "\n".join(_line(*row) for row in rows)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
