"""Read the input of ``manage.py`` commands, and report the problems of CSV rows."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from django.core.management.base import BaseCommand, CommandError

from ciam_django.client.app import ciam_app
from ciam_django.client.person import load_issuer
from ciam_django.errors import CiamError

T = TypeVar("T")

# The number of parameters of one query. Every database accepts this number.
_CHUNK_SIZE: Final = 500
MAX_SHOWN: Final = 20


def current_issuer() -> str:
    """Return the issuer that a sign-in gives its persons, which may call CIAM.

    Raises ``CommandError`` if the metadata can't be loaded.
    """
    try:
        return load_issuer(ciam_app())
    except CiamError as error:
        raise CommandError(
            f"The issuer can't be read from CIAM's metadata (code {error}). Name the issuer in the "
            "command, exactly as the metadata writes it."
        ) from error


class CsvRow(dict[str, str]):
    """The requested columns, without surrounding spaces; ``line`` is the number of the line."""

    line = 0


def read_rows(path: str, *columns: str) -> Iterator[CsvRow]:
    """Yield the rows of a CSV file in UTF-8 whose first line names the columns.

    Raises ``CommandError`` if the file can't be read or lacks a column.
    """
    try:
        # Excel saves UTF-8 with a byte order mark.
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise CommandError(
                    f"{path} has the columns {reader.fieldnames}, and lacks {missing}."
                )
            for fields in reader:
                row = CsvRow({name: (fields[name] or "").strip() for name in columns})
                row.line = reader.line_num
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{path} can't be read as CSV in UTF-8: {error}") from error


def duplicates(rows: Iterable[CsvRow], column: str) -> Iterator[str]:
    """Yield a problem for each value that the column contains more than once."""
    seen: dict[str, int] = {}
    for row in rows:
        first = seen.setdefault(row[column], row.line)
        if first != row.line:
            yield f"line {row.line}: {row[column]!r} stands in line {first} already"


def in_chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield slices of the items that are short enough for the parameters of one query."""
    for start in range(0, len(items), _CHUNK_SIZE):
        yield items[start : start + _CHUNK_SIZE]


def confirm_changes(command: BaseCommand, problems: Sequence[str], *, apply: bool) -> bool:
    """Return True if the command may apply its changes.

    Writes the first problems and raises ``CommandError`` if there are problems.
    """
    for line in problems[:MAX_SHOWN]:
        command.stderr.write(line)
    if problems:
        raise CommandError(f"Problems: {len(problems)}. Nothing has been changed.")
    if not apply:
        command.stdout.write("Nothing has been changed. To make the changes, add --apply.")
    return apply
