"""``python -m tests.metrics.dashboard``: write Grafana's dashboard from the table of panels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PATH: Final = Path(__file__).parents[2] / "docs" / "dashboards" / "grafana.json"
# The width of a dashboard in Grafana's columns, and the height of a panel in its rows.
_COLUMNS: Final = 24
_HEIGHT: Final = 8
_DATA_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A row of ``PANELS``: ``queries`` maps the legend of a query to the query.

    ``unit`` is a unit of Grafana, and ``kind`` is the type of a panel of Grafana. ``{{label}}`` in
    a legend is the value of a label. ``width`` is a number of columns.
    """

    title: str
    meaning: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12


_RATE: Final = "[$__rate_interval]"
_IN: Final = '{job=~"$job"}'


def _rate(metric: str, *labels: str) -> str:
    return f"sum by ({', '.join(labels)}) (rate({metric}{_IN}{_RATE}))"


def _quantile(quantile: float, *labels: str) -> str:
    buckets = _rate("ciam_call_duration_seconds_bucket", "le", *labels)
    return f"histogram_quantile({quantile}, {buckets})"


PANELS: Final = (
    Panel(
        "Sign-ins in an hour",
        "Sign-ins that have succeeded in the last hour.",
        [("sign-ins", f"sum(increase(ciam_sign_ins_total{_IN}[1h]))")],
        kind="stat",
        width=6,
    ),
    Panel(
        "Calls without an answer of CIAM",
        "The share of the calls of the last five minutes to which CIAM gave no usable answer.",
        [
            (
                "share",
                (
                    'sum(rate(ciam_call_duration_seconds_count{job=~"$job", '
                    'ciam_outcome="upstream"}[5m])) / '
                    f"sum(rate(ciam_call_duration_seconds_count{_IN}[5m]))"
                ),
            )
        ],
        unit="percentunit",
        kind="stat",
        width=6,
    ),
    Panel(
        "Open circuits",
        "Groups of endpoints that have had no answer since CIAM was silent.",
        [("open", f"sum(max by (ciam_group) (ciam_circuit_open{_IN}))")],
        kind="stat",
        width=6,
    ),
    Panel(
        "Unknown codes in a day",
        "Failures with a code without a row: its family, or unknown_error, answers it.",
        [
            (
                "failures",
                (
                    'sum(increase(ciam_failures_total{job=~"$job", '
                    'ciam_row=~"unknown_error|.*[*].*"}[1d]))'
                ),
            )
        ],
        kind="stat",
        width=6,
    ),
    Panel(
        "Sign-ins by method",
        "Sign-ins that have succeeded, per second.",
        [("{{ciam_method}}", _rate("ciam_sign_ins_total", "ciam_method"))],
        unit="reqps",
    ),
    Panel(
        "Failures by kind",
        "Failures per second. The kind upstream is CIAM's, the kind configuration is yours.",
        [("{{ciam_kind}}", _rate("ciam_failures_total", "ciam_kind"))],
        unit="reqps",
    ),
    Panel(
        "Failures by stage",
        "Failures per second, by the part of the sign-in.",
        [("{{ciam_stage}}", _rate("ciam_failures_total", "ciam_stage"))],
        unit="reqps",
    ),
    Panel(
        "Failures by method",
        "Failures per second, by the login method or the social provider.",
        [("{{ciam_method}}", _rate("ciam_failures_total", "ciam_method"))],
        unit="reqps",
    ),
    Panel(
        "Sign-outs by reason",
        "Sessions that have ended, per second. CIAM has ended those with the reason ended.",
        [("{{ciam_reason}}", _rate("ciam_sign_outs_total", "ciam_reason"))],
        unit="reqps",
    ),
    Panel(
        "Most frequent rows",
        "The ten most frequent rows of the last hour. The documentation has a page for each row.",
        [
            (
                "{{ciam_row}}",
                f"topk(10, sum by (ciam_row) (increase(ciam_failures_total{_IN}[1h])))",
            )
        ],
        kind="bargauge",
    ),
    Panel(
        "Duration of the calls",
        "The median, the 95th and the 99th percentile of all calls to CIAM.",
        [("50 %", _quantile(0.5)), ("95 %", _quantile(0.95)), ("99 %", _quantile(0.99))],
        unit="s",
    ),
    Panel(
        "Duration by endpoint",
        "The 95th percentile of the calls to each endpoint.",
        [("{{ciam_endpoint}}", _quantile(0.95, "ciam_endpoint"))],
        unit="s",
    ),
    Panel(
        "Calls by outcome",
        "Calls to CIAM per second, by their kind of failure, or success.",
        [("{{ciam_outcome}}", _rate("ciam_call_duration_seconds_count", "ciam_outcome"))],
        unit="reqps",
    ),
    Panel(
        "Refreshes by outcome",
        "Refreshes of tokens per second.",
        [("{{ciam_outcome}}", _rate("ciam_token_refreshes_total", "ciam_outcome"))],
        unit="reqps",
    ),
    Panel(
        "Circuits",
        "1 since CIAM was silent, until a call of the group has an answer.",
        [("{{ciam_group}}", f"max by (ciam_group) (ciam_circuit_open{_IN})")],
        kind="state-timeline",
    ),
    Panel(
        "Openings of circuits",
        "Times per second that CIAM was silent.",
        [("{{ciam_group}}", _rate("ciam_circuit_openings_total", "ciam_group"))],
        unit="cps",
    ),
    Panel(
        "Refused calls",
        "Calls per second that were refused because `CIAM_MAX_CALLS` calls ran already.",
        [("{{ciam_group}}", _rate("ciam_refused_calls_total", "ciam_group"))],
        unit="reqps",
    ),
    Panel(
        "Full rate limits",
        "Requests per second that a rate limit has refused.",
        [
            (
                "{{ciam_act}}: {{ciam_counter}}",
                _rate("ciam_limits_reached_total", "ciam_act", "ciam_counter"),
            )
        ],
        unit="reqps",
    ),
    Panel(
        "Failures of the cache",
        "Failed calls of Django's cache per second. The rate limits do not count then.",
        [("failures", f"sum(rate(ciam_cache_failures_total{_IN}{_RATE}))")],
        unit="cps",
    ),
)


def dashboard() -> str:
    """The text of the dashboard's file."""
    document = {
        "title": "Sign-in through CIAM (ciam_django)",
        "uid": "ciam-django",
        "description": "Sign-ins, failures, calls to CIAM and rate limits of ciam_django.",
        "tags": ["ciam_django", "django"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_DATA_SOURCE_VARIABLE, _JOB_VARIABLE]},
        "panels": _placed_panels(),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


_DATA_SOURCE_VARIABLE: Final = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
}
_JOB_VARIABLE: Final = {
    "name": "job",
    "label": "Job",
    "type": "query",
    "datasource": _DATA_SOURCE,
    "query": "label_values(ciam_call_duration_seconds_count, job)",
    "refresh": 2,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
}


def _placed_panels() -> list[dict[str, Any]]:
    """The panels as Grafana's JSON, from left to right and from the top to the bottom."""
    placed, x, y = [], 0, 0
    for number, panel in enumerate(PANELS, start=1):
        if x + panel.width > _COLUMNS:
            x, y = 0, y + _HEIGHT
        placed.append(
            {
                "id": number,
                "type": panel.kind,
                "title": panel.title,
                "description": panel.meaning,
                "datasource": _DATA_SOURCE,
                "gridPos": {"x": x, "y": y, "w": panel.width, "h": _HEIGHT},
                "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
                "targets": [
                    {
                        "refId": chr(ord("A") + index),
                        "datasource": _DATA_SOURCE,
                        "expr": query,
                        "legendFormat": legend,
                    }
                    for index, (legend, query) in enumerate(panel.queries)
                ],
            }
        )
        x += panel.width
    return placed


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(dashboard(), encoding="utf-8")
