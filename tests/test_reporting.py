"""Test that an error is reported once, in one log line, at the level of its kind."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django import reporting
from ciam_django.answers import answer_to
from ciam_django.codes import CODES, Meaning
from ciam_django.drf import exception_handler
from ciam_django.errors import CiamError
from ciam_django.kinds import Kind
from ciam_django.middleware import CiamErrorMiddleware
from ciam_django.reporting import answer_and_report, report
from ciam_django.signals import unknown_code
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
REQUEST_ID = "1700000000000$0f0e0d0c-1111-2222-3333-444455556666"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "ciam_django")
    return caplog


def levels(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in log.records]


@for_each_row("code", CODES)
def test_a_line_has_the_level_of_its_kind(code: str, log: pytest.LogCaptureFixture) -> None:
    log.clear()
    reporting._last_logged.clear()
    answer_and_report(CiamError(code))

    kind = CODES[code].kind
    expected = {Kind.CONFIGURATION: "ERROR", Kind.UPSTREAM: "WARNING", Kind.SUCCESS: "WARNING"}
    assert levels(log) == [expected.get(kind, "INFO")]
    assert log.records[0].name == "ciam_django"


def test_a_line_has_all_facts_of_the_error(log: pytest.LogCaptureFixture) -> None:
    error = CiamError(
        "Params.Blank.New",
        type_code="Params.Blank",
        upstream_text="It's blank\nreally",
        request_id=REQUEST_ID,
        upstream_status=400,
        stage="profile",
    )

    answer_and_report(error)

    (record,) = log.records
    assert record.getMessage() == (
        "Sign-in failure: code=Params.Blank.New type_code=Params.Blank row=Params.Blank.* "
        "step=family kind=validation stage=profile status=400 shown=Params.Blank.* "
        f'upstream_status=400 request_id={REQUEST_ID} upstream_text="It\'s blank really"'
    )
    assert record.exc_info is None
    assert not hasattr(record, "request")


@contextlib.contextmanager
def counting_unknown_codes() -> Iterator[list[str]]:
    """The codes of the signal ``unknown_code``."""
    codes: list[str] = []

    def add_code(sender: object, code: str, **kwargs: object) -> None:
        codes.append(code)

    unknown_code.connect(add_code)
    yield codes
    unknown_code.disconnect(add_code)


@for_each_row(
    "error, step, ids",
    [
        (CiamError("timeout", request_id=REQUEST_ID), "exact", (REQUEST_ID, None)),
        (CiamError("Brand.New", type_code="Params.Blank"), "type_code", ("local-", None)),
        (CiamError("Brand.New", upstream_status=429), "status", ("local-", None)),
        (
            CiamError("Operation.Failure.Username.Or.Password.Error", request_id=REQUEST_ID),
            "exact",
            (REQUEST_ID, None),
        ),
        (
            CiamError(LOCKED, stage="password", request_id=REQUEST_ID),
            "exact",
            ("local-", REQUEST_ID),
        ),
    ],
)
def test_a_line_has_the_step_of_the_look_up_and_the_ids_of_the_request(
    error: CiamError, step: str, ids: tuple[str, str | None], log: pytest.LogCaptureFixture
) -> None:
    log.clear()
    answer_and_report(error)
    fields = vars(log.records[-1])

    assert fields["ciam_step"] == step
    assert f" step={step} " in log.messages[-1]
    assert fields["ciam_request_id"].startswith(ids[0])
    assert fields["ciam_upstream_request_id"] == ids[1]


@for_each_row(
    "code, type_code, expected",
    [
        ("Params.Blank.New", "Phone.1380", ("Params.Blank.*", None)),
        ("Phone.13800001234", "", ("unknown_error", None)),
        ("Phone.13800001234", "Operation.Failure", ("Operation.Failure", "Operation.Failure")),
        ("Own.Code", "", ("Own.Code", None)),
        (LOCKED, "Operation.Denied", (LOCKED, "Operation.Denied")),
    ],
)
def test_no_field_has_a_text_of_ciam_except_for_known_codes(
    code: str,
    type_code: str,
    expected: tuple[str, str | None],
    log: pytest.LogCaptureFixture,
    settings: Settings,
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Own.Code": "Sorry."}
    log.clear()
    answer_and_report(CiamError(code, type_code=type_code, upstream_text="to be redacted"))

    (record,) = log.records
    fields = {name: value for name, value in vars(record).items() if name.startswith("ciam_")}
    assert (fields["ciam_code"], fields["ciam_type_code"]) == expected
    assert f"code={code} type_code={type_code or '-'} " in record.getMessage()
    assert "upstream_text='to be redacted'" in record.getMessage()
    assert "redacted" not in repr(fields)
    assert "1380" not in repr(fields)


def test_a_line_ends_with_the_reason_that_users_do_not_read(log: pytest.LogCaptureFixture) -> None:
    answer = answer_and_report(CiamError("40125"))

    (record,) = log.records
    assert record.getMessage().endswith(" reason='the AppSecret is wrong'")
    assert "AppSecret" not in json.dumps(answer.as_dict())


def test_a_line_has_a_dash_for_each_missing_value(log: pytest.LogCaptureFixture) -> None:
    answer_and_report(CiamError("mismatching_state", request_id="abc"))

    (line,) = log.messages
    assert line == (
        "Sign-in failure: code=mismatching_state type_code=- row=mismatching_state step=exact "
        "kind=flow stage=- status=400 shown=mismatching_state upstream_status=- request_id=abc "
        "upstream_text=''"
    )


def test_an_error_that_passes_several_entry_points_is_logged_once(
    log: pytest.LogCaptureFixture, rf: RequestFactory
) -> None:
    error = CiamError("timeout")
    middleware = CiamErrorMiddleware(lambda request: HttpResponse())

    answer_and_report(error)
    exception_handler(error, {"request": rf.get("/")})
    middleware.process_exception(rf.get("/"), error)

    assert len(log.records) == 1


def test_a_misconfiguration_is_logged_as_an_error_once_in_ten_minutes(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    for seconds in (0, 1, 599, 601, 602, 1200, 1202):
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
            answer_and_report(CiamError("invalid_client"))

    assert levels(log) == ["ERROR", "WARNING", "WARNING", "ERROR", "WARNING", "WARNING", "ERROR"]


def test_each_misconfigured_code_is_logged_as_an_error_in_any_letter_case(
    log: pytest.LogCaptureFixture,
) -> None:
    for code in ("invalid_client", "INVALID_CLIENT", "invalid_scope", "Invalid_Client"):
        answer_and_report(CiamError(code))

    assert levels(log) == ["ERROR", "WARNING", "ERROR", "WARNING"]


@pytest.mark.parametrize(
    ("code", "type_code"),
    [("Brand.New", ""), ("Params.Blank.New", ""), ("Brand.New", "Params.Blank"), ("", "")],
)
def test_an_unknown_code_is_logged_as_a_warning_once(
    code: str, type_code: str, log: pytest.LogCaptureFixture
) -> None:
    for spelling in (code, code, code.upper()):
        answer_and_report(CiamError(spelling, type_code=type_code))

    assert levels(log) == ["WARNING", "INFO", "INFO"]


@pytest.mark.parametrize("code", ["invalid_client", "Brand.New"])
def test_a_code_of_the_query_string_is_logged_at_info(
    code: str, rf: RequestFactory, log: pytest.LogCaptureFixture
) -> None:
    # Authlib raises an error with this code before it checks the state.
    request = rf.get("/my/callback/", {"error": code})
    with counting_unknown_codes() as unknown:
        answer_and_report(CiamError(code), request)
    # Anybody can send any code.
    assert unknown == []
    answer_and_report(CiamError(code, stage="callback"), request)
    answer_and_report(CiamError("unauthorized_client"), request)

    assert levels(log)[0] == "INFO"
    assert "INFO" not in levels(log)[1:]


def test_an_unpublished_code_of_a_configuration_family_is_logged_as_an_error(
    table: dict[str, Meaning], log: pytest.LogCaptureFixture
) -> None:
    table["Brand.*"] = table["invalid_client"]
    answer_and_report(CiamError("Brand.New"))
    answer_and_report(CiamError("Brand.New"))

    assert levels(log) == ["ERROR", "WARNING"]


def test_an_unpublished_code_of_an_upstream_family_is_always_logged_as_a_warning(
    table: dict[str, Meaning], log: pytest.LogCaptureFixture
) -> None:
    table["Brand.*"] = table["timeout"]
    answer_and_report(CiamError("Brand.New"))
    answer_and_report(CiamError("Brand.New"))

    assert levels(log) == ["WARNING", "WARNING"]


def test_each_unknown_code_is_logged_as_a_warning(log: pytest.LogCaptureFixture) -> None:
    with counting_unknown_codes() as unknown:
        for code in ("Brand.New", "Brand.Newer", "Brand.New", LOCKED, "invalid_client", "timeout"):
            answer_and_report(CiamError(code))
    assert unknown == ["Brand.New", "Brand.Newer"]
    del log.records[2:]

    assert levels(log) == ["WARNING", "WARNING"]


def test_a_429_without_a_code_is_not_logged_as_unknown(log: pytest.LogCaptureFixture) -> None:
    answer_and_report(CiamError("too_many_requests", upstream_status=429))

    assert levels(log) == ["INFO"]


def test_a_code_of_the_settings_is_not_logged_as_unknown(
    log: pytest.LogCaptureFixture, settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Brand.New": {"kind": "flow"}}
    answer_and_report(CiamError("Brand.New"))

    assert levels(log) == ["INFO"]


def test_the_number_of_stored_codes_is_limited(log: pytest.LogCaptureFixture) -> None:
    for number in range(1500):
        answer_and_report(CiamError(f"Brand.New{number}"))

    assert len(reporting._last_logged) == 1000


def test_concurrent_failures_are_logged_as_one_error(log: pytest.LogCaptureFixture) -> None:
    threads = [
        threading.Thread(target=answer_and_report, args=[CiamError("invalid_client")])
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(levels(log)) == ["ERROR"] + ["WARNING"] * 15


def test_an_error_with_line_breaks_is_logged_in_one_line(log: pytest.LogCaptureFixture) -> None:
    answer_and_report(
        CiamError(
            "x\r\nERROR all is lost\x1b[2J" + "y" * 500,
            type_code="z\nstage=token",
            upstream_text="a\r\nERROR b\u2028c\x85d\x9be",
        )
    )

    (line,) = log.messages
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert "code=xERRORallislost2J" + "y" * 111 + " " in line
    assert "type_code=zstagetoken " in line


def test_answer_to_reports_nothing_and_repeats_its_answer(
    log: pytest.LogCaptureFixture,
) -> None:
    error = CiamError(LOCKED, stage="password")

    assert answer_to(error) == answer_to(error)
    assert levels(log) == []
    assert error.is_reported is False


@pytest.mark.parametrize("report_error", [report, answer_and_report])
@pytest.mark.parametrize("is_chained", [True, False])
def test_a_reported_error_keeps_only_the_names_of_its_causes(
    report_error: Callable[[CiamError], object], is_chained: bool
) -> None:
    def fail() -> None:
        try:
            raise ConnectionError("S3cret-4711")
        except ConnectionError as cause:
            if is_chained:
                raise CiamError("timeout") from cause
            raise CiamError("timeout")  # noqa: B904  (its context is the cause)

    with pytest.raises(CiamError) as raised:
        fail()
    error = raised.value
    report_error(error)

    assert error.__cause__ is error.__context__ is None
    assert error.__traceback__ is None
    assert error.cause_names == ("ConnectionError",)


def test_a_report_needs_no_answer(log: pytest.LogCaptureFixture) -> None:
    error = CiamError(LOCKED, stage="callback")
    report(error)
    report(error)

    assert levels(log) == ["INFO"]
    assert f"request_id={answer_to(error).request_id} " in log.messages[0]


def test_a_secret_is_not_logged(log: pytest.LogCaptureFixture) -> None:
    answer_and_report(
        CiamError("invalid_grant", upstream_text="Invalid authorization code: 20230102abcDE")
    )

    assert "20230102" not in log.text
    assert "abcDE" not in log.text


def test_the_log_keeps_the_true_code(log: pytest.LogCaptureFixture) -> None:
    answer_and_report(CiamError(LOCKED, stage="password"))

    assert f"code={LOCKED} " in log.text
    assert f"row={LOCKED} " in log.text
    assert "shown=Operation.Failure.Username.Or.Password.Error " in log.text


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_reports_while_a_thread_of_its_parent_is_reporting() -> None:
    with reporting._last_logged_lock:
        child = os.fork()
        if not child:
            os._exit(reporting._last_logged_lock.locked())
        _, status = os.waitpid(child, 0)
        reporting._renew_lock()
        assert not reporting._last_logged_lock.locked()

    assert os.waitstatus_to_exitcode(status) == 0
