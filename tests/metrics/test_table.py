"""The table of the instruments, and the limits of their labels."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from ciam_django import events
from ciam_django.codes import CODES, UNKNOWN
from ciam_django.conf import SETTINGS
from ciam_django.metrics.table import (
    COUNTED_EVENTS,
    INSTRUMENTS,
    LABELS,
    Facts,
    InstrumentKind,
    attribute_name,
    labels_of,
    measurements_of,
    prometheus_label,
    span_of,
)
from tests.rows import for_each_row

ACCOUNTS = Path(__file__).parents[2] / "ciam_django" / "accounts"
BY_NAME = {instrument.name: instrument for instrument in INSTRUMENTS}


def test_each_instrument_has_a_name_of_its_own_and_known_events_facts_and_labels() -> None:
    assert len(BY_NAME) == len(INSTRUMENTS)
    for instrument in INSTRUMENTS:
        assert re.fullmatch(r"ciam(\.[a-z]+(_[a-z]+)*)+", instrument.name)
        assert set(instrument.events) <= set(events.EVENTS)
        assert set(instrument.labels) <= set(LABELS)
        assert bool(instrument.buckets) == (instrument.kind is InstrumentKind.HISTOGRAM)
    assert {label for each in INSTRUMENTS for label in each.labels} == set(LABELS)


def test_the_names_of_prometheus_have_the_unit_and_the_prefix() -> None:
    names = {each.name: each.prometheus_name for each in INSTRUMENTS}

    assert names["ciam.sign_ins"] == "ciam_sign_ins"
    assert names["ciam.call.duration"] == "ciam_call_duration_seconds"
    assert attribute_name("row") == "ciam.row"
    assert prometheus_label("row") == "ciam_row"


@for_each_row(
    "label, facts, value",
    [
        ("method", {"method": "password"}, "password"),
        ("method", {"method": "wechat-website"}, "wechat"),
        ("method", {"method": "shop"}, "dingtalk"),
        ("method", {"method": "company"}, "other"),
        ("method", {"method": None}, "none"),
        ("method", {}, "none"),
        ("stage", {"stage": "token"}, "token"),
        ("stage", {"stage": None}, "none"),
        ("stage", {"stage": "x"}, "none"),
        ("kind", {"kind": "upstream"}, "upstream"),
        ("kind", {"kind": "x"}, "other"),
        ("row", {"row": "invalid_grant"}, "invalid_grant"),
        ("row", {"row": "Shop.Closed"}, "Shop.Closed"),
        ("row", {"row": "shop.closed"}, UNKNOWN),
        ("row", {"row": "Params.Blank.*"}, "Params.Blank.*"),
        ("endpoint", {"endpoint": "userinfo"}, "userinfo"),
        ("endpoint", {"endpoint": "captcha"}, "captcha"),
        ("endpoint", {"endpoint": "x"}, "other"),
        ("outcome", {"kind": None}, "success"),
        ("outcome", {"kind": "upstream"}, "upstream"),
        ("outcome", {"kind": "x"}, "other"),
        ("group", {"group": "all"}, "all"),
        ("group", {"group": "x"}, "other"),
        ("reason", {"sign_out_reason": "left"}, "left"),
        ("reason", {"sign_out_reason": "x"}, "other"),
        ("act", {"act": "send"}, "send"),
        ("act", {"act": "x"}, "other"),
        ("counter", {"counter": "site"}, "site"),
        ("counter", {"counter": "13800000000"}, "other"),
    ],
)
def test_a_label_has_a_value_of_the_table(
    settings: Settings, label: str, facts: Facts, value: str
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": "The shop is closed."}
    settings.CIAM_SOCIAL_PROVIDERS = {
        "shop": {"provider": "dingtalk"},
        "company": {"provider": "generic"},
    }
    instrument = next(each for each in INSTRUMENTS if label in each.labels)

    assert labels_of(instrument, facts)[label] == value


def test_the_values_of_the_labels_are_those_of_the_tables_and_the_settings() -> None:
    assert set(CODES) == set(LABELS["row"].values())
    assert set(SETTINGS["CIAM_SEND_LIMITS"].default) <= set(LABELS["counter"].values())
    for label in LABELS.values():
        assert label.meaning.endswith(".")
        assert all(re.fullmatch(r"\S{1,80}", str(value)) for value in label.values())


def test_the_acts_and_the_reasons_are_those_of_the_accounts_app() -> None:
    limits = (ACCOUNTS / "rate_limits.py").read_text(encoding="utf-8")
    signals = (ACCOUNTS / "signals.py").read_text(encoding="utf-8")
    text = signals.partition("signed_out: Final")[2].partition("\n\nlinked")[0]
    reasons = re.findall(r"``(\w+)``(?=: |, ``\w+``: )", text)

    assert set(LABELS["act"].values()) == set(re.findall(r'_Act\(\s*"\w+",\s*"(\w+)"', limits))
    assert list(LABELS["reason"].values()) == reasons


HOSTILE = [
    "",
    "x" * 10_000,
    "\x00\n\r",
    'a"} 1\nfake_total{x="',
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "13800000000",
    "li@example.com",
    "eyJhbGciOiJub25lIn0.e30.",
    "\ud800",
    "مرحبا",
    *(f"Hostile.Code.Number.{number}" for number in range(150)),
    *(f"Params.Blank.Field{number}" for number in range(150)),
    *(f"wechat.{number}" for number in range(77000, 77100)),
]


def test_hostile_facts_share_few_label_sets_of_each_instrument() -> None:
    facts = {name for event in events.EVENTS.values() for name in event.facts} | {"method"}
    seen: dict[str, set[tuple[tuple[str, str], ...]]] = {each.name: set() for each in INSTRUMENTS}
    for event, value in itertools.product(COUNTED_EVENTS, HOSTILE):
        hostile: Facts = {**dict.fromkeys(facts, value), "seconds": 0.1}
        for found in measurements_of(event, hostile):
            seen[found.instrument.name].add(tuple(found.labels.items()))

    for name, sets in seen.items():
        # An empty method is no method, and a method can begin with the name of a provider.
        assert 1 <= len(sets) <= 3, name
        for label, value in itertools.chain(*sets):
            assert value in {*LABELS[label].values(), LABELS[label].fallback}


def test_a_span_has_the_names_of_the_conventions_and_neither_url_nor_query() -> None:
    span = span_of(
        {
            "endpoint": "token",
            "http_method": "POST",
            "server_address": "login.example.com",
            "server_port": 443,
            "http_status": 200,
            "seconds": 0.25,
            "began_at_ns": 1_000,
            "row": None,
        }
    )

    assert (span.name, span.error) == ("POST token", "")
    assert (span.began_at_ns, span.ended_at_ns) == (1_000, 250_001_000)
    assert span.attributes == {
        "http.request.method": "POST",
        "server.address": "login.example.com",
        "server.port": 443,
        "http.response.status_code": 200,
        "ciam.endpoint": "token",
    }


@pytest.mark.parametrize(
    ("row", "error"), [("invalid_grant", "invalid_grant"), ("Hostile.Code", UNKNOWN)]
)
def test_the_error_of_a_span_is_a_row_of_the_table(row: str, error: str) -> None:
    span = span_of({"endpoint": "keys", "http_method": "GET", "row": row, "seconds": 1.5})

    assert span.error == error
    assert span.attributes == {
        "http.request.method": "GET",
        "error.type": error,
        "ciam.endpoint": "keys",
    }
