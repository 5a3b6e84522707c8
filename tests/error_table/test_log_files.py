"""A failure is found in a log by its request id, in plain lines and in JSON lines."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from ciam_django.error_table.log_files import LoggedFailure, failure_in, search_log
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
    (entry,) = caplog.records
    return entry


def facts_as_json(record: logging.LogRecord, **members: Any) -> str:
    """The record as a formatter for JSON writes it, without its text."""
    fields = {name: value for name, value in vars(record).items() if name.startswith("ciam_")}
    return json.dumps({"timestamp": "2026-11-27 17:00:00", **fields, **members})


def expected(line: int, record: logging.LogRecord) -> LoggedFailure:
    return LoggedFailure(
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
    lines = [
        text,
        f"[2026-11-27 17:00:00,123] INFO ciam_django: {text}\n",
        json.dumps({"message": text, "levelname": "INFO"}),
        facts_as_json(record),
        f"  {facts_as_json(record, message=text)}\n",
    ]

    assert [failure_in(line, 7) for line in lines] == [expected(7, record)] * len(lines)
    assert expected(7, record).request_id.startswith("local-")


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
        '{"ciam_code": null}',
        '{"ciam_code": {"x": 1}}',
        '{"ciam_code": "\\u001b[2J"}',
        '{"a":' * 5000,
        "Sign-in failure: code=x " + "y" * 70_000,
    ],
)
def test_another_line_is_no_failure(line: str) -> None:
    assert failure_in(line, 1) is None


def test_a_value_that_no_line_of_ours_has_is_left_out() -> None:
    failure = failure_in("Sign-in failure: code=timeout row=<b> shown=\x1b[2J strange=1 x", 1)

    assert failure == LoggedFailure(line=1, code="timeout")


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
