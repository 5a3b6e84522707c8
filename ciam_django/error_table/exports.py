"""Export the table of codes, and the types of the JSON body, for other programs."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ciam_django import __version__
from ciam_django.answers import BODY_MEMBERS
from ciam_django.error_table.rows import (
    FIELDS,
    TableRow,
    is_answered,
    project_table,
    table_languages,
)
from ciam_django.kinds import Action, Kind
from ciam_django.privacy import control_characters, one_line

# The format of ``json_export``. A version that can't read the exports of this version has another
# number.
FORMAT: Final = 1
_BODY: Final = "CiamProblem"
_DESCRIPTION: Final = "The JSON body of a failure (RFC 9457). Each body has all members."
# A spreadsheet takes a cell that begins with one of these characters for a formula:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclasses.dataclass(frozen=True, slots=True)
class _Member:
    """A member of the body: its JSON types, its other limits, and its meaning."""

    types: tuple[str, ...]
    description: str
    limits: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_MEMBERS: Final[Mapping[str, _Member]] = {
    "type": _Member(("string",), "A URI that names the kind or the code, or about:blank."),
    "title": _Member(("string",), "The title of the kind, in the language of the answer."),
    "status": _Member(("integer",), "The HTTP status.", {"minimum": 400, "maximum": 599}),
    "detail": _Member(("string",), "A sentence for the user, in the language of the answer."),
    "code": _Member(("string",), "A stable code. A later version has more codes."),
    "kind": _Member(("string",), "The kind of the failure."),
    "field": _Member(
        ("string", "null"), "The input field with the failure.", {"pattern": "^[a-z_]{1,40}$"}
    ),
    "action": _Member(("string",), "The next action of the user."),
    "action_url": _Member(("string", "null"), "The URL of the action."),
    "retry_after": _Member(
        ("integer", "null"), "The seconds to wait.", {"minimum": 1, "maximum": 3600}
    ),
    "request_id": _Member(
        ("string",), "The reference for the support.", {"pattern": "^[A-Za-z0-9$._:-]{1,128}$"}
    ),
}
_TYPESCRIPT_TYPES: Final = {"string": "string", "integer": "number", "null": "null"}


def json_export() -> str:
    """Return the table of this project as JSON, which ``manage.py ciam_errors diff`` can read."""
    document = {
        "format": FORMAT,
        "version": __version__,
        "languages": table_languages(),
        "codes": [dataclasses.asdict(row) for row in project_table().values()],
    }
    return _json(document)


def csv_export() -> str:
    """Return the table of this project as CSV, with a column for the sentence of each language."""
    languages = table_languages()
    names = [name for name in FIELDS if name not in ("titles", "sentences")]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*names, *(f"sentence_{language}" for language in languages)])
    for row in project_table().values():
        values = [getattr(row, name) for name in names]
        writer.writerow(map(_cell, [*values, *(row.sentences[each] for each in languages)]))
    return file.getvalue()


def json_schema_export() -> str:
    """Return the JSON Schema (2020-12) of the body, with the codes of this project."""
    return _json(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": _BODY,
            "description": _DESCRIPTION,
            "type": "object",
            "properties": {name: _member_schema(name) for name in BODY_MEMBERS},
            "required": list(BODY_MEMBERS),
        }
    )


def typescript_export() -> str:
    """Return TypeScript types of the codes, the kinds, the actions and the body."""
    names = {"code": "CiamErrorCode", "kind": "CiamErrorKind", "action": "CiamErrorAction"}
    parts = ["// Made by: manage.py ciam_errors export --format typescript"]
    for name, type_name in names.items():
        values = "".join(f"\n  | {json_text(value)}" for value in _allowed_values(name))
        parts.append(f"export type {type_name} ={values};")
    members = []
    for name in BODY_MEMBERS:
        member = _MEMBERS[name]
        types = " | ".join(_TYPESCRIPT_TYPES[each] for each in member.types)
        if name in names:
            # `string & {}` allows other texts, and keeps the suggestions of editors.
            types = names[name] + (" | (string & {})" if name == "code" else "")
        members.append(f"  /** {member.description} */\n  {name}: {types};")
    body = "\n".join(members)
    parts.append(f"/** {_DESCRIPTION} */\nexport interface {_BODY} {{\n{body}\n}}")
    return "\n\n".join(parts) + "\n"


FORMATS: Final[Mapping[str, Callable[[], str]]] = {
    "json": json_export,
    "csv": csv_export,
    "jsonschema": json_schema_export,
    "typescript": typescript_export,
}


def _member_schema(name: str) -> dict[str, Any]:
    member = _MEMBERS[name]
    types: Any = list(member.types) if len(member.types) > 1 else member.types[0]
    schema: dict[str, Any] = {"description": member.description, "type": types, **member.limits}
    if name in ("kind", "action"):
        schema["enum"] = _allowed_values(name)
    if name == "code":
        schema["anyOf"] = [{"enum": _allowed_values(name)}, {"type": "string"}]
    return schema


def _allowed_values(name: str) -> list[str]:
    """Return the codes, the kinds or the actions that an answer can have, in their order."""
    if name == "code":
        return [row.code for row in project_table().values() if is_answered(row)]
    if name == "kind":
        return [str(kind) for kind in Kind if kind is not Kind.SUCCESS]
    return [str(action) for action in Action]


def _cell(value: object) -> object:
    """Return the value of a cell: one line, which no spreadsheet takes for a formula."""
    if value is None or isinstance(value, int):
        return value
    text = str(value)
    return one_line(f"'{text}" if text.startswith(_FORMULA_STARTS) else text)


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON, without the characters that control a terminal."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # Only the line breaks of the indentation stay.
    return "\n".join(control_characters().sub(_escaped, line) for line in text.split("\n"))


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in match[0])


def _json(document: Mapping[str, Any]) -> str:
    return json_text(document, indent=1) + "\n"


def rows_as_json(rows: Iterable[TableRow]) -> str:
    """Return rows of the table as a JSON list."""
    return json_text([dataclasses.asdict(row) for row in rows], indent=1)
