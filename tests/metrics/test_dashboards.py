"""The dashboard and the alert rules of the documentation, compared with the instruments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from ciam_django.codes import CODES, UNKNOWN
from ciam_django.lookup import matched_row
from ciam_django.metrics.table import INSTRUMENTS, LABELS, InstrumentKind, prometheus_label
from tests.metrics import dashboard
from tests.metrics.reference import alert_rules
from tests.rows import for_each_row

RULES: Final = alert_rules()
PANELS: Final[list[dict[str, Any]]] = json.loads(dashboard.PATH.read_text(encoding="utf-8"))[
    "panels"
]
QUERIES: Final = {
    **{
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in PANELS
        for target in panel["targets"]
    },
    **{f"alert {rule['alert']}": rule["expr"] for rule in RULES},
}
# The ends of the names of a counter and of a histogram.
SUFFIXES: Final = {
    InstrumentKind.COUNTER: ("_total",),
    InstrumentKind.GAUGE: ("",),
    InstrumentKind.HISTOGRAM: ("_bucket", "_count", "_sum"),
}
# Sample -> the labels that the table gives it.
SAMPLES: Final = {
    f"{row.prometheus_name}{suffix}": {prometheus_label(name) for name in row.labels}
    for row in INSTRUMENTS
    for suffix in SUFFIXES[row.kind]
}
# Labels that Prometheus and its client add.
ADDED: Final = {"job", "le"}

_METRIC: Final = re.compile(r"\bciam_\w+(?=[\s{\[)]|$)")
_SELECTOR: Final = re.compile(r"\b(ciam_\w+)\{([^}]*)\}")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING: Final = re.compile(r"\bby\s*\(([^)]*)\)")


def metrics_in(query: str) -> set[str]:
    """The names of the metrics in a query, which are no labels."""
    without_groups = _GROUPING.sub("", query)
    return {name for name in _METRIC.findall(without_groups) if name not in labels_of_table()}


def labels_of_table() -> set[str]:
    return {prometheus_label(name) for name in LABELS}


def labels_in(query: str) -> Iterator[str]:
    """The labels in a query: those of matchers and of groups."""
    for group in _GROUPING.findall(query):
        yield from (name.strip() for name in group.split(","))
    yield from (name for name, _, _ in _MATCHER.findall(query))


def test_the_file_of_the_dashboard_is_what_the_table_of_panels_gives() -> None:
    """Run ``python -m tests.metrics.dashboard`` after a change of the table of panels."""
    assert dashboard.PATH.read_text(encoding="utf-8") == dashboard.dashboard()


@for_each_row("name", QUERIES)
def test_a_query_has_only_metrics_and_labels_of_the_table(name: str) -> None:
    query = QUERIES[name]
    metrics = metrics_in(query)

    assert metrics
    assert metrics <= set(SAMPLES), query
    assert set(labels_in(query)) <= set().union(*(SAMPLES[metric] for metric in metrics), ADDED)
    for metric, matchers in _SELECTOR.findall(query):
        names = {label for label, _, _ in _MATCHER.findall(matchers)}
        assert names <= SAMPLES[metric] | ADDED, query


@for_each_row("name", QUERIES)
def test_a_query_asks_for_values_that_the_labels_have(name: str) -> None:
    for label, operator, text in _MATCHER.findall(QUERIES[name]):
        if label in ADDED:
            continue
        values = LABELS[label.removeprefix("ciam_")].values()
        wanted = text.split("|") if "~" in operator else [re.escape(text)]
        for pattern in wanted:
            assert any(re.fullmatch(pattern, value) for value in values), (label, pattern)


@for_each_row(
    "query, metrics, labels",
    [
        (
            'sum by (job, ciam_row) (rate(ciam_failures_total{ciam_kind=~"a|b"}[5m])) > 0',
            {"ciam_failures_total"},
            ["job", "ciam_row", "ciam_kind"],
        ),
        ("max(ciam_circuit_open)", {"ciam_circuit_open"}, []),
        ("ciam_wrong_total", {"ciam_wrong_total"}, []),
    ],
)
def test_the_names_in_a_query_are_found(query: str, metrics: set[str], labels: list[str]) -> None:
    assert metrics_in(query) == metrics
    assert list(labels_in(query)) == labels


def test_the_rows_that_answer_codes_without_a_row_are_the_families_and_the_unknown_error() -> None:
    (query,) = (query for name, query in QUERIES.items() if name == "alert CiamUnknownCode")
    ((_, operator, pattern), *others) = _MATCHER.findall(query)
    matched = {row for row in LABELS["row"].values() if re.fullmatch(pattern, row)}

    assert operator == "=~"
    assert {text for _, _, text in others} == {pattern}
    assert matched == {UNKNOWN} | {row for row in CODES if "*" in row}
    assert matched_row("Operation.Failure.User.Moon").key in matched


def test_each_instrument_is_on_the_dashboard() -> None:
    shown = {metric for query in QUERIES.values() for metric in metrics_in(query)}

    for row in INSTRUMENTS:
        assert any(metric.startswith(row.prometheus_name) for metric in shown), row.name


def test_each_legend_and_annotation_names_a_label_of_its_query() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert label in set(labels_in(target["expr"])), panel["title"]
    for rule in RULES:
        for text in rule["annotations"].values():
            for label in re.findall(r"\$labels\.(\w+)", text):
                assert label in set(labels_in(rule["expr"])), rule["alert"]


def test_each_panel_has_a_place_of_its_own_and_a_description() -> None:
    places = [tuple(panel["gridPos"].values()) for panel in PANELS]

    assert len(set(places)) == len(PANELS)
    assert all(x + width <= 24 for x, _, width, _ in places)
    assert all(panel["description"].endswith(".") for panel in PANELS)


def test_each_alert_has_a_severity_a_summary_and_the_next_action() -> None:
    names = [rule["alert"] for rule in RULES]

    assert len(set(names)) == len(names) > 5
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert all(rule["annotations"][part].endswith(".") for part in ("summary", "description"))
