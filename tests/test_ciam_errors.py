"""``manage.py ciam_errors`` lists, explains, exports and compares, with the documented statuses."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from ciam_django.codes import CODES
from ciam_django.error_table.rows import project_table
from ciam_django.errors import CiamError
from ciam_django.reporting import report
from tests.caches import DOWN_CACHES, SHARED_CACHE, SharedCache

ROOT: Final = Path(__file__).parents[1]
LOCKED: Final = "Operation.Failure.User.Locked"
WRONG_PASSWORD: Final = "Operation.Failure.Username.Or.Password.Error"
ID: Final = "1656572265429$49b433a9"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run() -> Run:
    """A function that runs the command, and returns its status, its output and its errors."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        out, errors = io.StringIO(), io.StringIO()
        try:
            call_command("ciam_errors", *arguments, stdout=out, stderr=errors)
        except CommandError as error:
            return error.returncode, out.getvalue(), f"{errors.getvalue()}{error}"
        except SystemExit as error:
            return int(str(error.code)), out.getvalue(), errors.getvalue()
        return 0, out.getvalue(), errors.getvalue()

    return run_command


@pytest.fixture
def shared_cache(settings: Settings) -> None:
    """A cache of all processes, which is empty."""
    settings.CACHES = SHARED_CACHE
    cache.clear()


def standard_input(content: bytes) -> io.TextIOWrapper:
    """A standard input that accepts only UTF-8 as text."""
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="strict")


def fail(code: str = LOCKED, stage: str = "password", request_id: str = ID) -> CiamError:
    """Report a failure, as the entry points do."""
    error = CiamError(
        code,
        stage=stage,
        request_id=request_id,
        upstream_text="li@example.com",
        upstream_status=500,
    )
    report(error)
    return error


# --- list -------------------------------------------------------------------------------------


def test_the_list_has_each_code_and_aligned_columns(run: Run) -> None:
    status, output, errors = run("list")
    header, *lines = output.splitlines()
    start = header.index("sentence")

    assert status == 0
    assert [line.split()[0] for line in lines] == list(CODES)
    assert {line[start - 2 : start] for line in lines} == {"  "}
    assert errors == f"Codes: {len(CODES)}.\n"


def test_the_list_is_filtered(run: Run) -> None:
    by_kind = run("list", "--kind", "captcha")[1].splitlines()[1:]
    by_audience = run("list", "--kind", "captcha", "--audience", "developer")[1].splitlines()[1:]
    by_sentence = run("list", "--text", "已被锁定")[1].splitlines()[1:]
    by_code = run("list", "--text", "user.LOCKED", "--language", "zh-hant")[1].splitlines()[1:]
    in_one_language = run("list", "--text", "已被锁定", "--language", "en")[1].splitlines()[1:]

    assert {line.split()[2] for line in by_kind} == {"captcha"}
    assert 0 < len(by_audience) < len(by_kind)
    assert any(line.startswith(LOCKED) and "This account is locked" in line for line in by_sentence)
    assert any(line.startswith(LOCKED) and "鎖定" in line for line in by_code)
    assert in_one_language == []


def test_the_list_as_json_has_the_texts_of_the_languages(run: Run) -> None:
    rows = json.loads(run("list", "--text", LOCKED, "--json")[1])
    (row,) = json.loads(run("list", "--text", "wechat.45011", "--json", "--language", "zh-hans")[1])

    assert list(rows[0]["sentences"]) == ["en", "zh-hans", "zh-hant"]
    assert list(row["sentences"]) == list(row["titles"]) == ["zh-hans"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("list", "--language", "xx"), 2),
        (("explain", " "), 2),
        (("explain", ID, "--log", "missing.log"), 2),
        # The variable of a script that is not set.
        (("explain", ID, "--log", ""), 2),
        (("diff", ""), 2),
        (("diff", "--vendor", ""), 2),
        (("diff", "missing.json"), 2),
        (("diff", "--vendor", "missing.tsv"), 2),
        # Outside of tests, the status of a wrong option is 2, too.
        ((), 1),
        (("list", "--kind", "x"), 1),
        (("export", "--format", "xml"), 1),
        (("diff", "old.json", "--vendor", "missing.tsv"), 1),
    ],
)
def test_wrong_input_has_an_error_and_no_output(
    arguments: tuple[str, ...], expected: int, run: Run
) -> None:
    status, output, errors = run(*arguments)

    assert (status, output) == (expected, "")
    assert errors


# --- explain ----------------------------------------------------------------------------------


def test_a_code_is_explained_as_text_and_as_json(run: Run) -> None:
    status, text, _ = run("explain", f" {LOCKED.lower()} ")
    document = json.loads(run("explain", "40029", "--json")[1])

    assert status == 0
    assert f"  row           {LOCKED}" in text.splitlines()
    assert "  zh-hans       该账号已被锁定，请联系客服解锁。" in text.splitlines()
    assert document["failures"] == []
    assert document["explanation"]["alias_of"] == "wechat.40029"


@pytest.mark.usefixtures("shared_cache")
def test_an_unknown_code_says_what_the_answer_would_be(run: Run) -> None:
    status, text, errors = run("explain", "Moon.Phase.Wrong")

    assert status == 0
    assert errors.startswith("No failure has the request id 'Moon.Phase.Wrong'. The cache")
    assert errors.endswith("So this is the explanation of a code.\n")
    assert "  found by      no step: the code is unknown" in text
    sentence = project_table()["unknown_error"].sentences["en"]
    assert f"  en            {sentence}\n" in text
    assert "did you mean" not in text
    assert "  did you mean  timeout" in run("explain", "timeuot")[1]


@pytest.mark.usefixtures("shared_cache")
def test_a_failure_of_the_cache_is_explained_by_each_of_its_ids(run: Run) -> None:
    error = fail()

    for reference in (error.local_reference, ID):
        status, text, _ = run("explain", reference)
        assert status == 0
        assert text.startswith("Failure in the cache 'default', at 20")
        assert f"  request_id          {error.local_reference}\n" in text
        assert f"  upstream_request_id {ID}\n" in text
        assert f"  shown               {WRONG_PASSWORD}\n" in text
        assert f"  row           {LOCKED}\n" in text
        assert "  the user has read   The username or password is incorrect." in text
        assert "li@example.com" not in text


@pytest.mark.usefixtures("shared_cache")
def test_an_unknown_code_of_the_cache_is_in_the_log_line_only(run: Run) -> None:
    fail("Moon.Phase.Wrong", "token")
    text = run("explain", ID)[1]

    assert "Moon" not in text
    assert "  The cache has no code without a row of its own: the log line has CIAM's code." in text
    assert "  row           unknown_error" in text


def test_a_failure_of_a_log_is_explained(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    fail("Moon.Phase.Wrong", "token")
    content = f"first\n{caplog.records[-1].getMessage()}\n"
    path = tmp_path / "shop.log"
    path.write_bytes(b"\xff\xfe\n" + content.encode())
    status, text, _ = run("explain", ID, "--log", str(path))
    monkeypatch.setattr(sys, "stdin", standard_input(content.encode() + b"\xff\n"))
    of_standard_input = json.loads(run("explain", ID, "--log", "-", "--json")[1])

    assert status == 0
    assert text.startswith(f"Failure in line 3 of {path}:\n  code                Moon.Phase.Wrong")
    assert "  found by      no step: the code is unknown" in text
    assert of_standard_input["failures"][0]["line"] == 2
    assert of_standard_input["explanation"]["code"] == "Moon.Phase.Wrong"


@pytest.mark.usefixtures("shared_cache")
def test_a_failure_of_the_cache_and_of_the_log_is_shown_with_both_places(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    fail()
    path = tmp_path / "shop.log"
    path.write_text(caplog.records[-1].getMessage(), encoding="utf-8")
    text = run("explain", ID, "--log", str(path))[1]

    assert "Failure in the cache 'default'" in text
    assert f"Failure in line 1 of {path}:" in text


def test_an_id_that_nobody_has_says_where_it_was_looked_for(
    run: Run, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "shop.log"
    path.write_text("a\nSign-in failure: code=timeout request_id=x\n", encoding="utf-8")
    status, output, without_cache = run("explain", "local-0123456789abcdef")
    settings.CACHES = SHARED_CACHE
    _, _, with_file = run("explain", "a b\x1b[2J", "--log", str(path))
    SharedCache.calls.clear()

    assert (status, output) == (1, "")
    assert without_cache == (
        "No failure has the request id 'local-0123456789abcdef'. The cache 'default' was not "
        "searched: the processes do not share the cache, or it deletes entries. No log file was "
        "searched: add --log FILE."
    )
    assert with_file == (
        "No failure has the request id 'ab2J'. The cache 'default' was searched, which has "
        f"failures of the last day. In {path}, 2 lines were searched, and 1 of them are lines of "
        "failures."
    )
    _, _, of_input = run("explain", "x$", "--log", "/dev/null")
    assert "In /dev/null, 0 lines were searched" in of_input
    settings.CACHES = {"default": DOWN_CACHES["django-redis hides failures"]}
    assert "was not searched: the cache does not answer." in run("explain", "x$")[2]
    settings.CIAM_REMEMBER_FAILURES = False
    assert "was not searched: CIAM_REMEMBER_FAILURES is off." in run("explain", "x$")[2]


def test_a_shown_code_of_an_older_setting_has_no_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "Sign-in failure: code=timeout shown=Shop.Closed request_id=x$"
    monkeypatch.setattr(sys, "stdin", standard_input(line.encode()))
    text = run("explain", "x$", "--log", "-")[1]

    assert "  shown               Shop.Closed" in text
    assert "the user has read" not in text


def test_the_standard_input_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", standard_input(b"line\n"))

    assert "In the standard input, 1 lines were searched" in run("explain", "x$", "--log", "-")[2]


# --- The output -------------------------------------------------------------------------------


def test_no_character_of_a_file_controls_the_terminal(run: Run, tmp_path: Path) -> None:
    document = json.loads(run("export")[1])
    code = "\x1b[2J\x9b31m\u202e\ud800\r\nEVIL"
    document["codes"].append({**document["codes"][0], "code": code})
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    _, text, _ = run("diff", str(path))
    _, as_json, _ = run("diff", str(path), "--json")

    assert text == "gone      [2J 31m EVIL\n"
    assert as_json.replace("\n", "").isprintable()
    assert json.loads(as_json)[0]["code"] == code


def test_an_export_is_utf_8_and_a_terminal_without_a_character_gets_its_number() -> None:
    texts = []
    for arguments in (["export"], ["explain", LOCKED]):
        file = io.BytesIO()
        output = io.TextIOWrapper(file, encoding="cp1252")
        call_command("ciam_errors", *arguments, stdout=output)
        output.flush()
        texts.append(file.getvalue())

    assert "该账号已被锁定".encode() in texts[0]
    assert rb"\u8be5\u8d26\u53f7" in texts[1]


# --- export and diff --------------------------------------------------------------------------


@pytest.mark.parametrize("question", [["list"], ["explain", LOCKED], ["diff"]])
def test_the_command_ends_without_a_traceback_if_nobody_reads_the_rest_of_the_output(
    question: list[str], settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: "Locked."}
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stdout, pytest.raises(SystemExit) as ended:
        call_command("ciam_errors", *question, stdout=stdout, stderr=io.StringIO())

    assert ended.value.code == 141


def test_an_export_of_this_table_has_no_difference(
    run: Run, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "codes.json"
    path.write_text(run("export")[1], encoding="utf-8")

    assert run("diff") == (0, "", "Differences: 0.\n")
    assert run("diff", str(path)) == (0, "", "Differences: 0.\n")
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"status": 423}, "Shop.Closed": "We are closed."}
    expected = f"changed  {LOCKED}\n         status: 403 -> 423\nnew      Shop.Closed\n"
    assert run("diff") == (1, expected, "Differences: 2.\n")
    status, output, _ = run("diff", str(path), "--json")
    assert status == 1
    assert [each["what"] for each in json.loads(output)] == ["changed", "new"]


def test_a_changed_list_of_the_vendor_has_the_status_1(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("key\nMoon.Phase\n", encoding="utf-8")
    status, output, errors = run("diff", "--vendor", str(path))

    assert status == 1
    assert output.startswith(
        "new      Moon.Phase: unknown: unknown_error answers it, with the kind upstream\n"
    )
    assert errors == "Differences: 163.\n"


@pytest.mark.parametrize("name", ["json", "csv", "jsonschema", "typescript"])
def test_each_format_is_exported(name: str, run: Run) -> None:
    status, output, _ = run("export", "--format", name)

    assert status == 0
    assert output.count("invalid_grant") >= 1
    assert output.endswith("\n")


PROGRAM: Final = """
import sys
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["ciam_django"], DATABASES={}, SECRET_KEY="s")
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "ciam_errors", *sys.argv[1:]])
"""


@pytest.mark.slow("processes of bare projects")
def test_a_project_with_one_app_and_without_a_database_has_the_command() -> None:
    def run_bare(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-W", "error", "-c", PROGRAM, *arguments]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout or result.stderr

    assert LOCKED in run_bare("list", "--kind", "account_state")[1]
    assert run_bare("explain", LOCKED)[0] == 0
    assert run_bare("explain", "local-0123456789abcdef")[0] == 1
    assert run_bare("export", "--format", "csv")[0] == 0
    assert run_bare("diff") == (0, "Differences: 0.\n")
    assert run_bare("diff", "missing.json")[0] == 2
    assert run_bare("list", "--kind", "x")[0] == 2
