"""Test that each event is one log line with its facts as fields, and calls the observers."""

from __future__ import annotations

import ast
import functools
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from pythonjsonlogger.json import JsonFormatter

from ciam_django import events
from ciam_django.events import (
    CACHE_FAILED,
    CALL_FINISHED,
    COMMON_FACTS,
    EVENTS,
    FACTS,
    FAILED,
    LIMIT_REACHED,
    NO_LINE,
    PREFIX,
    SIGNED_IN,
    Event,
    Fact,
    RequestScope,
    add_observer,
    record,
    remove_observer,
    request_scope,
    scope_of,
)
from ciam_django.kinds import Kind
from ciam_django.privacy import hide_request_data
from tests.rows import for_each_row
from tests.test_imports import PACKAGE

# Type -> a value that is not the value of a fact that is missing.
EXAMPLES: dict[type, object] = {str: "a %s 'text'", int: 7, float: 0.25, bool: True}

NO_COMMON_FACTS: dict[str, Any] = dict.fromkeys(COMMON_FACTS)

Heard = list[tuple[str, Mapping[str, Fact], HttpRequest | None]]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "ciam_django")
    return caplog


@pytest.fixture
def heard() -> Iterator[Heard]:
    """The events that an observer gets."""
    heard: Heard = []

    def observer(name: str, facts: Mapping[str, Fact], request: HttpRequest | None) -> None:
        heard.append((name, facts, request))

    add_observer(observer)
    yield heard
    remove_observer(observer)


def example_facts(event: Event) -> dict[str, Any]:
    return {name: EXAMPLES[FACTS[name].type] for name in (*event.facts, *event.text_facts)}


# --- The tables -------------------------------------------------------------------------------


@for_each_row("name, event", EVENTS.items())
def test_the_text_of_an_event_names_only_its_facts(name: str, event: Event) -> None:
    placeholders = re.findall(r"%\((\w+)\)", event.text)
    named = {each.removeprefix("_") for each in placeholders}

    assert name == event.name
    assert named <= {*event.facts, *event.text_facts, *COMMON_FACTS}
    assert set(event.text_facts) <= named
    assert bool(event.text) == bool(event.levels)
    assert {each[1:] for each in placeholders if each.startswith("_")} == set(event.optional)
    facts = [*event.facts, *event.text_facts]
    assert set(event.optional) <= set(facts)
    assert len(facts) == len(set(facts))
    assert set(facts) <= set(FACTS)


def test_a_log_line_has_the_name_of_the_constant_of_its_event() -> None:
    constants = {name: row for name, row in vars(events).items() if isinstance(row, Event)}

    assert {name.lower(): row for name, row in constants.items()} == EVENTS


def test_each_event_has_a_meaning_unless_its_line_tells_what_to_do() -> None:
    without_meaning = {event.name for event in EVENTS.values() if not event.meaning}

    assert without_meaning == {
        "address_limit_shared", "no_client_address", "redirect_page_missing",
    }  # fmt: skip
    assert all(event.meaning.endswith(".") for event in EVENTS.values() if event.meaning)


def test_each_fact_belongs_to_an_event() -> None:
    used = {
        *COMMON_FACTS,
        *(name for row in EVENTS.values() for name in (*row.facts, *row.text_facts)),
    }

    assert used == set(FACTS)
    assert list(FACTS) == sorted(FACTS)
    assert all(len(row.meaning) > 10 for row in FACTS.values())


def test_no_field_replaces_an_attribute_of_a_log_record() -> None:
    attributes = vars(logging.makeLogRecord({}))

    assert [name for name in attributes if name.startswith(PREFIX)] == []
    assert "event" not in FACTS


@functools.cache
def sources_that_record() -> dict[str, str]:
    """File -> source code, of each module that records events."""
    sources = {
        str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
    }
    imports = re.compile(r"^from ciam_django\.events import [^)]*?\brecord\b", re.MULTILINE)
    later = "record_on_commit,"
    return {file: text for file, text in sources.items() if imports.search(text) or later in text}


def calls_of_record() -> Iterator[tuple[str, ast.Call]]:
    """Each call of ``record`` or ``record_on_commit``, also by a partial, with its place."""
    names = {"record", "record_on_commit"}
    for file, source in sources_that_record().items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and names & {
                getattr(each, "id", "") for each in (node.func, *node.args[:1])
            }:
                yield f"{file}:{node.lineno}", node


def test_each_recorded_fact_is_a_fact_of_its_event() -> None:
    rows = {name: row for name, row in vars(events).items() if isinstance(row, Event)}
    wrong = []
    for place, call in calls_of_record():
        arguments = {each.id for each in call.args if isinstance(each, ast.Name)}
        given = {each.arg for each in call.keywords} - {"level", "scope", None}
        wrong += [
            (place, name)
            for row in arguments & set(rows)
            for name in given - {*rows[row].facts, *rows[row].text_facts}
        ]

    assert wrong == []


def test_each_event_is_recorded() -> None:
    names = {name for name, row in vars(events).items() if isinstance(row, Event)}
    found = {
        name
        for source in sources_that_record().values()
        for name in re.findall(r"\b[A-Z]+_?[A-Z_]*\b", source)
    }

    assert not names - found


def test_only_the_module_of_the_events_writes_log_lines() -> None:
    pattern = re.compile(r"\blogger\.(?:log|handle|debug|info|warning|error|exception|critical)\b")
    writers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }

    assert writers == {"events.py"}


# --- Log lines --------------------------------------------------------------------------------


@for_each_row("event", [event for event in EVENTS.values() if event.levels])
def test_a_line_has_the_facts_of_its_event_as_fields(
    event: Event, log: pytest.LogCaptureFixture
) -> None:
    for level in (None, *event.levels):
        log.clear()
        record(event, level=level, **example_facts(event))

        (entry,) = log.records
        assert (entry.name, entry.levelno) == ("ciam_django", level or event.levels[0])
        shown = {name: example_facts(event)[name] for name in event.facts}
        expected = {"event": event.name, **NO_COMMON_FACTS, **shown}
        assert fields_of(entry) == expected
        assert not re.search(r"%\(|%[sdr](?! 'text')", entry.getMessage())
        assert entry.funcName == "test_a_line_has_the_facts_of_its_event_as_fields"


@for_each_row("event", [event for event in EVENTS.values() if event.levels])
def test_a_line_without_facts_has_empty_fields(event: Event, log: pytest.LogCaptureFixture) -> None:
    if "%d" in re.sub(r"\(\w+\)", "", event.text):
        return
    log.clear()
    record(event)

    (entry,) = log.records
    assert fields_of(entry) == {
        "event": event.name,
        **NO_COMMON_FACTS,
        **dict.fromkeys(event.facts),
    }
    assert "None" not in entry.getMessage()


def fields_of(entry: logging.LogRecord) -> dict[str, Any]:
    return {
        name.removeprefix(PREFIX): value
        for name, value in vars(entry).items()
        if name.startswith(PREFIX)
    }


def test_the_optional_parts_of_a_line_need_their_facts(log: pytest.LogCaptureFixture) -> None:
    record(FAILED, sent_code="a", upstream_text="b")
    record(FAILED, sent_code="a", upstream_text="b", upstream_request_id="c", reason="d")

    short, long = log.messages
    assert short.endswith(" request_id=- upstream_text='b'")
    assert long.endswith(" request_id=- upstream_request_id=c upstream_text='b' reason='d'")


def test_a_field_has_exactly_the_type_of_its_fact(log: pytest.LogCaptureFixture) -> None:
    record(FAILED, kind=Kind.UPSTREAM, status="503")
    record(SIGNED_IN, user=7)

    failed, signed_in = log.records
    assert type(fields_of(failed)["kind"]) is str
    assert fields_of(failed)["status"] == 503
    assert fields_of(signed_in)["user"] == "7"


@for_each_row("event", [event for event in EVENTS.values() if event.levels])
def test_a_json_formatter_loses_no_field(event: Event, log: pytest.LogCaptureFixture) -> None:
    log.clear()
    record(event, **example_facts(event))

    (entry,) = log.records
    attributes = "{levelname} {name} {message} {funcName}"
    text = JsonFormatter(attributes, style="{").format(entry)
    members = json.loads(text)
    fields = {f"{PREFIX}{name}": value for name, value in fields_of(entry).items()}
    assert {name: members[name] for name in fields} == fields
    assert members["message"] == entry.getMessage()
    assert {"levelname", "name", "funcName"} < set(members)
    assert json.loads(json.dumps(fields)) == fields


def test_an_event_without_a_line_writes_none(log: pytest.LogCaptureFixture) -> None:
    record(CALL_FINISHED, endpoint="token")
    record(LIMIT_REACHED, level=NO_LINE, counter="address")

    assert log.records == []


# --- The common facts -------------------------------------------------------------------------

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENTS = [
    (f"00-{TRACE_ID}-00f067aa0ba902b7-01", True),
    (f"00-{TRACE_ID}-00f067aa0ba902b7-00", True),
    # A later version may have further parts (section 4.3).
    (f"cc-{TRACE_ID}-00f067aa0ba902b7-01", True),
    (f"cc-{TRACE_ID}-00f067aa0ba902b7-01-what-the-future", True),
    ("", False),
    (f"00-{TRACE_ID}-00f067aa0ba902b7-01-more", False),
    (f"ff-{TRACE_ID}-00f067aa0ba902b7-01", False),
    (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
    (f"cc-{'0' * 32}-00f067aa0ba902b7-01", False),
    (f"00-{TRACE_ID}-{'0' * 16}-01", False),
    (f"00-{TRACE_ID.upper()}-00f067aa0ba902b7-01", False),
    (f"00-{TRACE_ID[1:]}-00f067aa0ba902b7-01", False),
    (f"00-{TRACE_ID[1:]}g-00f067aa0ba902b7-01", False),
    (f" 00-{TRACE_ID}-00f067aa0ba902b7-01", False),
    (f"00-{TRACE_ID}-00f067aa0ba902b7-01\n", False),
    (f"00-{TRACE_ID}-00f067aa0ba902b7-01,00-{TRACE_ID}-00f067aa0ba902b7-01", False),
    (f"cc-{TRACE_ID}-00f067aa0ba902b7-01-\u00e9", False),
    (f"cc-{TRACE_ID}-00f067aa0ba902b7-01more", False),
    (f"٠٠-{TRACE_ID}-00f067aa0ba902b7-01", False),
    ("13800001234", False),
]


@for_each_row("header, is_valid", TRACEPARENTS)
def test_a_field_has_the_trace_id_of_a_valid_traceparent_only(
    header: str, is_valid: bool, rf: RequestFactory, log: pytest.LogCaptureFixture
) -> None:
    log.clear()
    record(SIGNED_IN, rf.get("/", HTTP_TRACEPARENT=header))

    assert fields_of(log.records[0])["trace_id"] == (TRACE_ID if is_valid else None)


def test_the_events_of_a_request_share_its_scope(
    rf: RequestFactory, log: pytest.LogCaptureFixture
) -> None:
    traceparent = f"00-{TRACE_ID}-00f067aa0ba902b7-01"

    def view(request: HttpRequest) -> HttpResponse:
        record(SIGNED_IN)
        scope = request_scope.get()
        assert scope is not None
        scope.sign_in, scope.method, scope.seconds_at_ciam = "5", "sms", 0.0126
        record(SIGNED_IN)
        return HttpResponse()

    hide_request_data(view)(rf.get("/", HTTP_TRACEPARENT=traceparent))
    record(SIGNED_IN)

    common = [
        {name: value for name, value in fields_of(entry).items() if name in COMMON_FACTS}
        for entry in log.records
    ]
    assert common == [
        {"sign_in": None, "method": None, "ms": 0, "trace_id": TRACE_ID},
        {"sign_in": "5", "method": "sms", "ms": 13, "trace_id": TRACE_ID},
        NO_COMMON_FACTS,
    ]


def test_the_events_of_a_projects_view_have_the_facts_of_its_request(
    rf: RequestFactory, log: pytest.LogCaptureFixture
) -> None:
    request = rf.get("/", HTTP_TRACEPARENT=f"00-{TRACE_ID}-00f067aa0ba902b7-01")
    with scope_of(request):
        outer = request_scope.get()
        record(SIGNED_IN)
        with scope_of(rf.get("/")):
            assert request_scope.get() is outer
        assert request_scope.get() is outer

    assert request_scope.get() is None
    assert fields_of(log.records[0])["trace_id"] == TRACE_ID
    assert fields_of(log.records[0])["ms"] == 0


def test_a_logger_class_of_the_project_gets_the_fields_as_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[Mapping[str, object]] = []

    class ProjectLogger(logging.Logger):
        def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: N802  (logging's name)
            got.append(args[8])
            return super().makeRecord(*args, **kwargs)

    monkeypatch.setattr("ciam_django.events.logger", ProjectLogger("ciam_django", logging.INFO))
    record(SIGNED_IN, user=5)

    assert [(each["ciam_event"], each["ciam_user"]) for each in got] == [("signed_in", "5")]


def test_an_event_after_the_view_can_have_the_scope_of_the_view(
    log: pytest.LogCaptureFixture,
) -> None:
    scope = RequestScope()
    scope.sign_in = "6"
    record(SIGNED_IN, scope=scope)

    assert fields_of(log.records[0])["sign_in"] == "6"


# --- Observers --------------------------------------------------------------------------------


def test_an_observer_gets_each_event_with_all_facts_and_the_request(
    heard: Heard, rf: RequestFactory
) -> None:
    request = rf.get("/")
    logging.getLogger("ciam_django").setLevel(logging.CRITICAL)
    try:
        record(SIGNED_IN, request, user=1, provider="ciam")
        record(CALL_FINISHED, endpoint="token", seconds=1)
    finally:
        logging.getLogger("ciam_django").setLevel(logging.NOTSET)

    (signed_in, facts, with_request), (call, call_facts, without_request) = heard
    assert (signed_in, call) == ("signed_in", "call_finished")
    assert facts == {**NO_COMMON_FACTS, "user": "1", "provider": "ciam", "session": None}
    assert (with_request, without_request) == (request, None)
    assert call_facts["seconds"] == 1.0
    assert math.isclose(float(call_facts["seconds"] or 0), 1)
    assert set(call_facts) == {*CALL_FINISHED.facts, *COMMON_FACTS}


def test_a_failing_observer_is_logged_once_and_stops_nothing(
    heard: Heard, log: pytest.LogCaptureFixture
) -> None:
    class Failing:
        """An observer that can't be hashed."""

        __hash__ = None  # type: ignore[assignment]  # what a dataclass has

        def __call__(self, name: str, facts: Mapping[str, Fact], request: object) -> None:
            raise ValueError(str(facts))

    failing = Failing()
    CACHE_FAILED.observers.insert(0, failing)
    try:
        record(CACHE_FAILED, error="x.Y")
        record(CACHE_FAILED, error="x.Y")
    finally:
        remove_observer(failing)

    assert len(heard) == 2
    errors = [entry for entry in log.records if entry.levelname == "ERROR"]
    (line,) = [entry.getMessage() for entry in errors]
    assert line.startswith("The observer test_a_failing_observer_is_logged_once_and_stops_nothing.")
    assert line.endswith("Failing has failed (ValueError). Its metrics lack events.")
    assert "x.Y" not in line
    assert set(fields_of(errors[0])) == {"event", "observer", "error", *COMMON_FACTS}


def test_a_failing_function_is_logged_with_its_name(log: pytest.LogCaptureFixture) -> None:
    def failing(name: str, facts: Mapping[str, Fact], request: HttpRequest | None) -> None:
        raise ValueError

    add_observer(failing, SIGNED_IN)
    record(SIGNED_IN, level=NO_LINE)
    remove_observer(failing)

    (line,) = log.messages
    assert ".failing has failed (ValueError)" in line


def test_an_observer_that_removes_itself_does_not_hide_an_event_from_the_next(
    heard: Heard,
) -> None:
    def leaving(name: str, facts: Mapping[str, Fact], request: HttpRequest | None) -> None:
        remove_observer(leaving)

    SIGNED_IN.observers.insert(0, leaving)
    record(SIGNED_IN)
    record(SIGNED_IN)

    assert [name for name, _, _ in heard] == ["signed_in", "signed_in"]


def test_an_observer_of_one_event_gets_no_other_event() -> None:
    heard = []

    def observer(name: str, facts: Mapping[str, Fact], request: HttpRequest | None) -> None:
        heard.append(name)

    add_observer(observer, FAILED)
    add_observer(observer, FAILED)
    for event in EVENTS.values():
        record(event, level=NO_LINE)
    remove_observer(observer)
    record(FAILED, level=NO_LINE)

    assert heard == ["failed"]
