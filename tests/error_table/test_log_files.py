"""A failure is found in a log by its request id, in plain lines and in JSON lines."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import logging
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from pythonjsonlogger.json import JsonFormatter

from ciam_django.error_table.log_files import (
    LoggedFailure,
    failure_in,
    lines_of,
    search_log,
    search_log_file,
)
from ciam_django.errors import CiamError
from ciam_django.reporting import report
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
ID = "1656572265429$49b433a9"


@pytest.fixture
def record(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """The record of a failure whose answer is generic."""
    caplog.set_level(logging.INFO, "ciam_django")
    report(
        CiamError(
            LOCKED,
            type_code="Operation.Failure",
            upstream_text="request_id=forged code=forged",
            request_id=ID,
            upstream_status=500,
            stage="password",
        )
    )
    # The first test of a process has another line before.
    return caplog.records[-1]


def facts_as_json(record: logging.LogRecord, **members: Any) -> str:
    """The record as a formatter for JSON writes it, without its text."""
    fields = {name: value for name, value in vars(record).items() if name.startswith("ciam_")}
    return json.dumps({"timestamp": "2026-11-27 17:00:00", **fields, **members})


def expected(line: int, record: logging.LogRecord, **facts: str) -> LoggedFailure:
    return LoggedFailure(
        **facts,
        line=line,
        code=LOCKED,
        type_code="Operation.Failure",
        row=LOCKED,
        step="exact",
        kind="account_state",
        stage="password",
        status="401",
        shown="Operation.Failure.Username.Or.Password.Error",
        upstream_status="500",
        request_id=vars(record)["ciam_request_id"],
        upstream_request_id=ID,
    )


def test_a_failure_is_read_from_a_real_record_in_each_format(record: logging.LogRecord) -> None:
    text = record.getMessage()
    vars(record).update(ciam_sign_in="3f2a9c01", ciam_method="password")
    plain = [
        text,
        f"[2026-11-27 17:00:00,123] INFO ciam_django: {text}\n",
        json.dumps({"message": text, "levelname": "INFO"}),
    ]
    with_fields = [
        facts_as_json(record),
        f"  {facts_as_json(record, message=text)}\n",
        JsonFormatter().format(record),
        JsonFormatter("%(levelname)s", json_indent=None).format(record),
        f"Nov 27 17:00:00 shop gunicorn[12]: {JsonFormatter().format(record)}\n",
    ]
    all_facts = expected(7, record, sign_in="3f2a9c01", method="password")
    with_id = expected(7, record, sign_in="3f2a9c01")

    assert [failure_in(line, 7) for line in plain] == [expected(7, record)] * len(plain)
    assert failure_in(f"INFO {text} sign_in=3f2a9c01\n", 7) == with_id
    assert failure_in(f"INFO {text} sign_in=-\n", 7) == expected(7, record)
    assert [failure_in(line, 7) for line in with_fields] == [all_facts] * len(with_fields)
    assert expected(7, record).request_id.startswith("local-")


def test_the_true_code_of_an_unknown_code_is_in_the_text_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    report(CiamError("Moon.Phase", request_id=ID))
    (entry,) = caplog.records
    without_text, with_text = (
        failure_in(line, 1) for line in (facts_as_json(entry), JsonFormatter().format(entry))
    )

    assert without_text is not None
    assert with_text is not None
    assert (without_text.code, without_text.row) == ("unknown_error", "unknown_error")
    assert (with_text.code, with_text.row) == ("Moon.Phase", "unknown_error")


@for_each_row(
    "line",
    [
        "",
        "GET /?q=Sign-in failure:%20code=x",
        "Sign-in failure: ",
        "Sign-in failure: code=",
        "Sign-in failure: code=- row=x request_id=a",
        "Sign-in failure: code=<b> request_id=a",
        "Sign-in: user=1 provider=ciam session=django",
        "{",
        "{}",
        "[]",
        '{"ciam_event": "failed", "ciam_code": null}',
        '{"ciam_event": "failed", "ciam_code": {"x": 1}}',
        '{"ciam_event": "failed", "ciam_code": "\\u001b[2J"}',
        '{"ciam_event": "refresh_failed", "ciam_code": "invalid_grant"}',
        '["ciam_code", "ciam_event", "failed"]',
        '{"ciam_code": "x"',
        '{"ciam_code":' * 5000,
        '{"ciam_code": "x", "ciam_event": "refresh_failed", "path": "Sign-in failure: code=x"}',
        "Sign-in failure: code=x " + "y" * 70_000,
    ],
)
def test_another_line_is_no_failure(line: str) -> None:
    assert failure_in(line, 1) is None


def test_a_value_that_no_line_of_ours_has_is_left_out() -> None:
    failure = failure_in("Sign-in failure: code=timeout row=<b> shown=\x1b[2J strange=1 x", 1)

    assert failure == LoggedFailure(line=1, code="timeout")


def test_a_fact_that_a_line_lacks_is_empty() -> None:
    failure = failure_in("Sign-in failure: code=timeout", 3)

    assert failure is not None
    facts = dataclasses.asdict(failure)
    assert (facts.pop("line"), facts.pop("code")) == (3, "timeout")
    assert set(facts.values()) == {""}


def test_only_the_last_word_of_a_line_tells_the_sign_in() -> None:
    start = "Sign-in failure: code=timeout request_id=x"
    for text in ("'sign_in=forged it is'", "'it is sign_in=forged in the middle'"):
        failure = failure_in(f"{start} upstream_text={text}", 1)
        assert failure == LoggedFailure(line=1, code="timeout", request_id="x")


def test_a_line_of_64_kib_is_read_and_a_longer_line_is_not() -> None:
    for length, is_read in ((64 * 1024, True), (64 * 1024 + 1, False)):
        line = "Sign-in failure: code=timeout ".ljust(length, "y")
        assert (failure_in(line, 1) is not None) is is_read


def test_the_search_counts_the_lines_and_finds_both_request_ids(record: logging.LogRecord) -> None:
    other = "Sign-in failure: code=timeout request_id=x"
    lines = ["first", record.getMessage(), other, facts_as_json(record)]
    failures = [expected(2, record), expected(4, record)]

    for reference in (ID, expected(2, record).request_id):
        searched = search_log(lines, reference)
        assert (searched.lines, searched.lines_with_failures) == (4, 3)
        assert searched.failures == failures
    assert search_log(lines, "forged").failures == []
    assert search_log([], ID).lines == 0


def test_a_compressed_file_is_searched(record: logging.LogRecord, tmp_path: Path) -> None:
    content = f"\u00e9\n{record.getMessage()}\n".encode("latin-1")
    plain, compressed = tmp_path / "shop.log", tmp_path / "shop.log.1.gz"
    plain.write_bytes(content)
    compressed.write_bytes(gzip.compress(content))

    for path in (plain, compressed):
        assert search_log_file(str(path), ID).failures == [expected(2, record)]
    compressed.write_bytes(gzip.compress(content)[:-12])
    with pytest.raises(OSError, match="the end of the file is missing"):
        search_log_file(str(compressed), ID)
    compressed.write_bytes(content)
    with pytest.raises(OSError, match="Not a gzipped file"):
        search_log_file(str(compressed), ID)


def test_a_text_of_another_member_is_not_the_text_of_the_failure(
    record: logging.LogRecord,
) -> None:
    forged = f"Sign-in failure: code=forged row=forged request_id={ID}"
    lines = [
        facts_as_json(record, user_agent=forged),
        facts_as_json(record, path=f"/ {forged}", message=record.getMessage()),
    ]

    assert [failure_in(line, 1) for line in lines] == [expected(1, record)] * 2


def test_a_code_without_a_character_that_is_logged_is_a_failure_of_its_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    report(CiamError("用户被锁定", request_id=ID))
    failure = failure_in(caplog.messages[-1], 1)

    assert failure is not None
    assert (failure.code, failure.request_id) == ("unknown_error", ID)


def test_a_line_that_is_too_long_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "shop.log.gz"
    size = 20_000_000
    path.write_bytes(gzip.compress(b"0" * size + b"\nSign-in failure: code=timeout request_id=x"))
    tracemalloc.start()
    try:
        searched = search_log_file(str(path), "x")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [(failure.line, failure.code) for failure in searched.failures] == [(2, "timeout")]
    assert peak < size / 4


@for_each_row("length", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 3 * 64 * 1024])
def test_each_line_is_one_line_of_any_length(length: int) -> None:
    content = b"x" * (length - 1) + b"\ny\n"

    lines = list(lines_of(io.BytesIO(content)))

    assert [line[-2:] for line in lines] == ["x\n" if length <= 64 * 1024 else "", "y\n"]
