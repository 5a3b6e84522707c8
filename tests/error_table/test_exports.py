"""The exports are valid in their formats, complete and stable."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.test import Client
from django.utils.translation import override
from pytest_django.fixtures import Settings

from ciam_django.answers import BODY_MEMBERS, answer_to, possible_answers
from ciam_django.codes import CODES
from ciam_django.error_table.exports import _MEMBERS, FORMATS
from ciam_django.error_table.rows import FIELDS, project_table
from ciam_django.errors import CiamError
from ciam_django.kinds import Action, Kind
from ciam_django.privacy import one_line
from ciam_django.testing import FakeCiam
from tests.docs.test_json import needs_npm

LOCKED = "Operation.Failure.User.Locked"
FORMULAS = {"=1": "=HYPERLINK(1)", "Shop.At": "@SUM(A1)", "Shop.Minus": "-1+1", "Shop.Tab": "\t=1"}


def schema() -> dict[str, Any]:
    return dict(json.loads(FORMATS["jsonschema"]()))


def validator() -> Any:
    return jsonschema.Draft202012Validator(schema())


def test_the_json_has_all_rows_in_the_order_of_the_table() -> None:
    document = json.loads(FORMATS["json"]())

    assert [row["code"] for row in document["codes"]] == list(CODES)
    assert all(list(row) == list(FIELDS) for row in document["codes"])
    assert document["languages"] == ["en", "zh-hans", "zh-hant"]
    assert [name for name in ("format", "version") if name not in document] == []


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_the_same_in_each_language_and_ends_with_a_newline(name: str) -> None:
    text = FORMATS[name]()
    with override("zh-hant"):
        assert FORMATS[name]() == text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_the_csv_has_all_rows_with_the_sentences() -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"]())))

    assert [row["code"] for row in rows] == list(CODES)
    (locked,) = [row for row in rows if row["code"] == LOCKED]
    assert locked["status"] == "403"
    assert locked["retry"] == "False"
    assert locked["field"] == ""
    assert locked["sentence_zh-hans"] == project_table()[LOCKED].sentences["zh-hans"]


def test_no_cell_of_the_csv_is_a_formula(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = FORMULAS
    rows = list(csv.reader(io.StringIO(FORMATS["csv"]())))
    cells = [cell for row in rows for cell in row]

    assert [cell for cell in cells if re.match(r"[=+\-@\t\r\n]", cell)] == []
    assert {f"'{one_line(text)}" for text in FORMULAS.values()} <= set(cells)


@pytest.mark.parametrize("name", FORMATS)
def test_no_character_of_an_override_controls_a_terminal_or_breaks_a_line(
    name: str, settings: Settings
) -> None:
    hostile = 'a\x1b[2J\x9b\u202e\ud800\u2028\r\n=1 */ "b" \\'
    settings.CIAM_ERROR_OVERRIDES = {hostile: hostile}
    text = FORMATS[name]()

    assert text.replace("\n", "").isprintable()
    assert text.encode()
    if name == "json":
        row = json.loads(text)["codes"][-1]
        assert (row["code"], row["sentences"]["en"]) == (hostile, hostile)


def test_the_members_are_the_members_of_the_body() -> None:
    assert tuple(_MEMBERS) == BODY_MEMBERS


def test_each_possible_answer_is_valid_in_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    answers = [answer_to(CiamError(code, retry_after=60)) for code in CODES]
    answers += possible_answers().values()
    bodies = [json.loads(json.dumps(answer.as_dict())) for answer in answers]

    judge = validator()

    assert [body for body in bodies if not judge.is_valid(body)] == []


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["ciam"])
def test_real_answers_over_http_are_valid_in_the_schema(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    client = Client(headers={"accept": "application/json"})
    responses = [
        client.get("/ciam/callback/?state=x&code=y"),
        client.post("/ciam/api/password/", {}, content_type="application/json"),
        client.post("/ciam/api/password/", "{", content_type="application/json"),
        client.get("/ciam/api/password/"),
    ]

    judge = validator()

    for response in responses:
        assert response.status_code >= 400
        judge.validate(response.json())


@pytest.mark.parametrize(
    "change",
    [
        {"status": 200},
        {"status": "403"},
        {"kind": "strange"},
        {"action": None},
        {"field": "Phone number"},
        {"retry_after": 0},
        {"request_id": "<b>"},
        {"code": 7},
        {"detail": ...},
    ],
)
def test_a_wrong_body_is_not_valid_in_the_schema(change: dict[str, Any]) -> None:
    body = {**answer_to(CiamError(LOCKED)).as_dict(), **change}
    body = {name: value for name, value in body.items() if value is not ...}

    assert not validator().is_valid(body)


def test_the_codes_of_the_project_are_in_the_schema_and_in_the_types(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {'Shop."Closed': "We are closed."}
    codes, _ = schema()["properties"]["code"]["anyOf"]
    types = FORMATS["typescript"]()

    assert codes["enum"] == [
        *(code for code in CODES if code != "Operation.Success"),
        'Shop."Closed',
    ]
    assert '\n  | "Shop.\\"Closed";' in types


def test_the_types_have_all_codes_kinds_actions_and_members() -> None:
    types = FORMATS["typescript"]()
    unions = {
        name: re.findall(r'^  \| "(.+?)"', text, re.MULTILINE)
        for name, text in re.findall(r"^export type (\w+) =((?:\n  \| .+)+);$", types, re.MULTILINE)
    }

    assert unions == {
        "CiamErrorCode": [code for code in CODES if code != "Operation.Success"],
        "CiamErrorKind": [str(kind) for kind in Kind if kind is not Kind.SUCCESS],
        "CiamErrorAction": [str(action) for action in Action],
    }
    interface = types.partition("export interface CiamProblem {")[2]
    assert re.findall(r"^  (\w+): (.+);$", interface, re.MULTILINE) == [
        ("type", "string"),
        ("title", "string"),
        ("status", "number"),
        ("detail", "string"),
        ("code", "CiamErrorCode | (string & {})"),
        ("kind", "CiamErrorKind"),
        ("field", "string | null"),
        ("action", "CiamErrorAction"),
        ("action_url", "string | null"),
        ("retry_after", "number | null"),
        ("request_id", "string"),
    ]


PROGRAM = """
import type { CiamErrorCode, CiamErrorKind, CiamProblem } from "./ciam";
export const bodies: CiamProblem[] = BODIES;
export const code: CiamErrorCode = "invalid_grant";
export const own: CiamProblem["code"] = "Shop.Closed";
export function labelOf(kind: CiamErrorKind): string {
  switch (kind) {
    KINDS
  }
}
"""


@needs_npm
@pytest.mark.slow("TypeScript from npm")
def test_the_compiler_accepts_the_types_and_refuses_a_wrong_body(tmp_path: Path) -> None:
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "typescript@5.7.3"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    bodies = json.dumps([answer.as_dict() for answer in possible_answers().values()])
    kinds = [f'case "{kind}": return "";' for kind in Kind if kind is not Kind.SUCCESS]
    (tmp_path / "ciam.ts").write_text(FORMATS["typescript"](), encoding="utf-8")

    def faults(bodies: str, cases: list[str]) -> str:
        program = PROGRAM.replace("BODIES", bodies).replace("KINDS", "\n".join(cases))
        (tmp_path / "program.ts").write_text(program, encoding="utf-8")
        compiler = ["npx", "tsc", "--noEmit", "--strict", "--target", "es2022", "program.ts"]
        return subprocess.run(
            compiler, cwd=tmp_path, check=False, timeout=120, capture_output=True, text=True
        ).stdout

    assert faults(bodies, kinds) == ""
    assert "not assignable to type 'number'" in faults(bodies.replace(": 403", ': "403"'), kinds)
    # The kinds are complete: without a case, the function can end without a result.
    assert "lacks ending return statement" in faults(bodies, kinds[1:])
