"""A CSV file in, its rows out, and what is wrong with them, for ``manage.py``."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from django.core.management.base import BaseCommand, CommandError

T = TypeVar("T")

# Of a query's parameters; every database takes as many.
_CHUNK_SIZE: Final = 500
_MAX_SHOWN: Final = 20


class CsvRow(dict[str, str]):
    """The columns asked for, without spaces around them; ``line`` is the file's."""

    line = 0


def read_rows(path: str, *columns: str) -> Iterator[CsvRow]:
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
                row = CsvRow({name: (given[name] or "").strip() for name in columns})
                row.line = reader.line_num
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{path} can't be read as CSV in UTF-8: {error}") from error


def duplicates(rows: Iterable[CsvRow], column: str) -> Iterator[str]:
    """What stands in the column twice."""
    seen: dict[str, int] = {}
    for row in rows:
        first = seen.setdefault(row[column], row.line)
        if first != row.line:
            yield f"line {row.line}: {row[column]!r} stands in line {first} already"


def in_chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many at once as one query takes."""
    for start in range(0, len(items), _CHUNK_SIZE):
        yield items[start : start + _CHUNK_SIZE]


def confirm_changes(command: BaseCommand, problems: Sequence[str], *, apply: bool) -> bool:
    """Whether to go on; what is wrong stops all of it."""
    for line in problems[:_MAX_SHOWN]:
        command.stderr.write(line)
    if problems:
        raise CommandError(f"{len(problems)} can't be done, so that nothing has been changed.")
    if not apply:
        command.stdout.write("Nothing has been changed. To do it, add --apply.")
    return apply
