"""Compare the table of this project with the package's table, an older export, or CIAM's list."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ciam_django.error_table.exports import FORMAT
from ciam_django.error_table.rows import FIELDS, TableRow, package_table, project_table
from ciam_django.lookup import matched_row

# The list that the vendor had published when this version was made.
_VENDOR_CODES: Final = Path(__file__).with_name("vendor_codes.tsv")
_VENDOR_COLUMNS: Final = ("key", "family", "description")
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,127}")
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "status": (int,),
    "field": (str, type(None)),
    "retry": (bool,),
    "collapse": (str, type(None)),
    "titles": (dict,),
    "sentences": (dict,),
}


class WrongInputError(Exception):
    """A file can't be read as what it should be; the text says what is wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A code that is new, gone or changed; ``changes`` has name -> the old and the new value.

    ``note`` says, for a code of CIAM's list, which row answers the code.
    """

    code: str
    what: str
    changes: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    note: str = ""


# --- Tables -----------------------------------------------------------------------------------


def differences_from_package() -> list[Difference]:
    """Return what the settings of this project change in the table of the package."""
    return list(_differences(package_table(), project_table()))


def differences_from_export(path: str) -> list[Difference]:
    """Return what has changed in the table of this project since an export as JSON.

    Texts in languages that only one of the tables has are not compared. Raises ``WrongInputError``.
    """
    return list(_differences(_read_export(path), project_table()))


def _differences(old: Mapping[str, TableRow], new: Mapping[str, TableRow]) -> Iterator[Difference]:
    for code, row in new.items():
        if code not in old:
            yield Difference(code, "new")
        elif changes := _changes(old[code], row):
            yield Difference(code, "changed", changes)
    for code in old:
        if code not in new:
            yield Difference(code, "gone")


def _changes(old: TableRow, new: TableRow) -> dict[str, tuple[Any, Any]]:
    changes: dict[str, tuple[Any, Any]] = {}
    for name in FIELDS:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(after, Mapping):
            for language in after:
                if language in before and before[language] != after[language]:
                    changes[f"{name}[{language}]"] = before[language], after[language]
        elif before != after:
            changes[name] = before, after
    return changes


def _read_export(path: str) -> dict[str, TableRow]:
    try:
        document = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise WrongInputError(f"{path} is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise WrongInputError(
            f"{path} is no export of this command: the member 'format' must be {FORMAT}. Make the "
            "file with: manage.py ciam_errors export --format json"
        )
    rows = document.get("codes")
    if not isinstance(rows, list):
        raise WrongInputError(f"{path} has no list 'codes'.")
    return {row.code: row for row in (_exported_row(path, content) for content in rows)}


def _exported_row(path: str, content: Any) -> TableRow:
    members = content if isinstance(content, dict) else {}
    for name in FIELDS:
        if not isinstance(members.get(name, ...), _TYPES.get(name, (str,))):
            raise WrongInputError(f"{path} has a code whose member {name!r} is missing or wrong.")
    return TableRow(**{name: members[name] for name in FIELDS})


# --- The vendor's list ------------------------------------------------------------------------


def differences_from_vendor(path: str) -> list[Difference]:
    """Return what has changed between the vendor's list of this version and the list in a file.

    The file has tabs or commas between its columns, and its first line names the columns ``key``
    and, optionally, ``family`` and ``description``. Raises ``WrongInputError``.
    """
    old, new = _read_vendor_list(str(_VENDOR_CODES)), _read_vendor_list(path)
    found = []
    for folded, members in new.items():
        code = members["key"]
        if folded not in old:
            found.append(Difference(code, "new", note=_note_on(code)))
            continue
        changes = {
            name: (before, members[name])
            for name, before in old[folded].items()
            if name in members and before != members[name]
        }
        if changes:
            found.append(Difference(code, "changed", changes))
    found += [
        Difference(members["key"], "gone") for folded, members in old.items() if folded not in new
    ]
    return found


def _note_on(code: str) -> str:
    """Say how the table of this project answers a new code of the vendor."""
    row = matched_row(code)
    if row.matched_by == "exact":
        return f"this project has the row {row.key}"
    if row.matched_by == "family":
        return f"the family {row.key} answers it, with the kind {row.meaning.kind}"
    return f"unknown: {row.key} answers it, with the kind {row.meaning.kind}"


def _read_vendor_list(path: str) -> dict[str, dict[str, str]]:
    """Return folded code -> column -> value."""
    text = _read_text(path)
    file = io.StringIO(text)
    if "\t" in text.partition("\n")[0]:
        # The vendor's texts have quotation marks, which have no meaning in a file with tabs.
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.DictReader(file, strict=True)
    found: dict[str, dict[str, str]] = {}
    try:
        columns = [name for name in _VENDOR_COLUMNS if name in (reader.fieldnames or ())]
        if "key" not in columns:
            raise WrongInputError(f"{path} has no column 'key' in its first line.")
        for fields in reader:
            members = {name: " ".join((fields[name] or "").split()) for name in columns}
            code = members["key"]
            if not _CODE.fullmatch(code):
                raise WrongInputError(f"{path}, line {reader.line_num}: {code[:80]!r} is no code.")
            if code.casefold() in found:
                raise WrongInputError(f"{path}, line {reader.line_num}: {code} is there already.")
            found[code.casefold()] = members
    except csv.Error as error:
        raise WrongInputError(f"{path}, line {reader.line_num}: {error}") from error
    return found


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongInputError(f"{path} can't be read as UTF-8: {error}") from error
