"""A CSV file in, its rows out, and what is wrong with them, for ``manage.py``."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from django.core.management.base import BaseCommand, CommandError

T = TypeVar("T")

# Of a query's parameters; every database takes as many.
_CHUNK: Final = 500
_MOST_SHOWN: Final = 20


class Row(dict[str, str]):
    """The columns asked for, without spaces around them; ``line`` is the file's."""

    line = 0


def rows_of(path: str, *columns: str) -> Iterator[Row]:
    """The rows of a CSV file in UTF-8 whose first line names the columns."""
    try:
        # As Excel saves it, too.
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise CommandError(
                    f"{path} has the columns {reader.fieldnames}, and lacks {missing}."
                )
            for given in reader:
                row = Row({name: (given[name] or "").strip() for name in columns})
                row.line = reader.line_num
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{path} can't be read as CSV in UTF-8: {error}") from error


def unique(rows: Iterable[Row], column: str) -> Iterator[str]:
    """What stands in the column twice."""
    seen: dict[str, int] = {}
    for row in rows:
        first = seen.setdefault(row[column], row.line)
        if first != row.line:
            yield f"line {row.line}: {row[column]!r} stands in line {first} already"


def in_chunks(things: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many at once as one query takes."""
    for start in range(0, len(things), _CHUNK):
        yield things[start : start + _CHUNK]


def told(command: BaseCommand, wrong: Sequence[str], *, apply: bool) -> bool:
    """Whether to go on; what is wrong stops all of it."""
    for line in wrong[:_MOST_SHOWN]:
        command.stderr.write(line)
    if wrong:
        raise CommandError(f"{len(wrong)} can't be done, so that nothing has been changed.")
    if not apply:
        command.stdout.write("Nothing has been changed. To do it, add --apply.")
    return apply
