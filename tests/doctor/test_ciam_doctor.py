"""Test the output and the exit status of ``manage.py ciam_doctor``."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from ciam_django.doctor import production, table
from ciam_django.doctor.examination import Examination
from ciam_django.doctor.findings import Finding, Status
from ciam_django.doctor.table import NEEDS, QUESTIONS, Question, findings
from ciam_django.testing import FakeCiam
from ciam_django.testing.tenant import CLIENT_SECRET

pytestmark = pytest.mark.django_db

PROJECT = Path(__file__).parents[2]
LINE = re.compile(
    r"(OK|WARNING|ERROR) +[a-z ]+: asked .+\. Came: .+\.( To do: .+)?"
    r"|SKIPPED [a-z ]+: not asked, because .+\."
)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start one process instead of four, which is faster, and wins each key."""
    monkeypatch.setattr(production, "_PROCESSES", 1)


def run_doctor(*arguments: str) -> tuple[int, str, str]:
    """Run the command, and return the exit status, the output and the text of the error."""
    out = io.StringIO()
    try:
        call_command("ciam_doctor", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


def test_a_good_site_has_a_line_for_each_question_and_the_status_0(
    ciam: FakeCiam, site: Settings, mode: str
) -> None:
    status, output, _ = run_doctor()
    lines = output.splitlines()

    assert status == 0, output
    assert all(LINE.fullmatch(line) for line in lines), output
    assert len(lines) == len(QUESTIONS)
    # The cache of the tests is that of one process.
    judgements = [line.split()[0] for line in lines if "LocMemCache" not in line]
    # The workers are unknown, SQLite has no clock, and CIAM's own mode has no metadata and no keys.
    skipped = 4 if mode == "ciam" else 2
    assert judgements.count("SKIPPED") == skipped
    assert judgements.count("OK") == len(judgements) - skipped
    assert CLIENT_SECRET not in output


def test_an_error_has_the_status_1_and_the_names_of_the_questions(
    ciam: FakeCiam, site: Settings
) -> None:
    ciam.fail("application", code="invalid_client", status=401)
    status, output, error = run_doctor()

    assert status == 1
    assert "ERROR   application token: asked an application token" in output
    assert error == "Questions with errors: application token."


def test_the_json_document_has_the_worst_status_and_the_findings(
    ciam: FakeCiam, site: Settings
) -> None:
    status, output, _ = run_doctor("--json")
    document = json.loads(output)

    assert (status, document["status"]) == (0, "warning")
    assert [each["question"] for each in document["findings"]] == [each.name for each in QUESTIONS]
    members = {"question", "status", "asked", "found", "advice"}
    assert all(set(each) == members for each in document["findings"])
    ciam.fail("application", code="invalid_client", status=401)
    status, output, _ = run_doctor("--json", "--only", "application token", "--only", "clock")
    document = json.loads(output)
    assert (status, document["status"]) == (1, "error")
    assert [each["status"] for each in document["findings"]] == ["error", "ok"]


def test_a_pipeline_reads_json_and_the_exit_status(tmp_path: Path) -> None:
    settings = tmp_path / "broken_settings.py"
    settings.write_text("from tests.settings import *\nCIAM_RETRY_AFTER = -1\n", encoding="utf-8")
    command = [sys.executable, "-m", "django", "ciam_doctor", "--json", "--only", "settings"]
    result = subprocess.run(
        [*command, "--settings", "broken_settings", "--pythonpath", str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    # Django ends other commands here, before they do anything.
    assert result.returncode == 1, result.stderr
    assert "(ciam_django.E003)" in str(json.loads(result.stdout)["findings"])
    assert "Traceback" not in result.stderr


def test_an_unknown_question_is_refused_with_the_names() -> None:
    with pytest.raises(CommandError, match=r"invalid choice: 'metdata'.*application token"):
        call_command("ciam_doctor", "--only", "metdata")


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_named_question_that_is_not_asked_has_the_status_1(
    ciam: FakeCiam, site: Settings
) -> None:
    ciam.fail("discovery", code="Operation.Failure.System.Busy", status=500)
    status, output, error = run_doctor("--only", "keys", "--only", "cookies")

    assert "SKIPPED keys: not asked, because the question 'metadata' has failed." in output
    assert (status, error) == (1, "Questions that were not asked: keys.")


# --- The table ------------------------------------------------------------------------------------


def test_each_row_has_its_own_name_and_known_needs() -> None:
    names = [question.name for question in QUESTIONS]

    assert len(set(names)) == len(names)
    assert {need for question in QUESTIONS for need in question.needs} == set(NEEDS)


def test_a_question_that_fails_does_not_end_the_command_and_shows_no_text() -> None:
    def broken(examination: Examination) -> list[Finding]:
        raise ValueError(CLIENT_SECRET)

    found = dict(findings([Question("broken", broken)]))

    assert found["broken"].status is Status.ERROR
    assert found["broken"].found == "the exception builtins.ValueError"


def test_no_question_gives_an_empty_document() -> None:
    assert list(table.findings([])) == []
