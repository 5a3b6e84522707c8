"""``python -m tests.metrics.reference``: write the tables of ``docs/monitoring.md``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from django.conf import settings

from ciam_django.metrics.table import INSTRUMENTS, LABELS, InstrumentKind, attribute_name

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "monitoring.md"
RULES_PATH: Final = DOCS / "dashboards" / "prometheus_alerts.yml"
# The page lists the values of a label if there are at most so many.
_MAX_VALUES: Final = 20


def alert_rules() -> list[dict[str, Any]]:
    """The alert rules of the file for Prometheus."""
    document = yaml.safe_load(RULES_PATH.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def updated_page(text: str) -> str:
    """The text of the page, with the rows of the tables."""
    for heading, rows in (
        ("| OpenTelemetry |", _instrument_rows()),
        ("| Label |", _label_rows()),
        ("| Alert |", _alert_rows()),
    ):
        start = text.index(heading)
        end = text.index("\n\n", start)
        head = text[start:end].splitlines()[:2]
        lines = [*head, *(f"| {' | '.join(row)} |" for row in rows)]
        text = text[:start] + "\n".join(lines) + text[end:]
    return text


def _instrument_rows() -> Iterator[Sequence[str]]:
    for row in INSTRUMENTS:
        suffix = "_total" if row.kind is InstrumentKind.COUNTER else ""
        labels = ", ".join(f"`{attribute_name(label)}`" for label in row.labels)
        yield f"`{row.name}`", f"`{row.prometheus_name}{suffix}`", labels, row.meaning


def _label_rows() -> Iterator[Sequence[str]]:
    for name, label in sorted(LABELS.items()):
        values = sorted({*label.values(), label.fallback})
        listed = ", ".join(f"`{value}`" for value in values)
        is_short = len(values) <= _MAX_VALUES
        yield f"`{attribute_name(name)}`", f"{label.meaning} {listed if is_short else ''}".strip()


def _alert_rows() -> Iterator[Sequence[str]]:
    for rule in alert_rules():
        yield f"`{rule['alert']}`", rule["labels"]["severity"], rule["annotations"]["description"]


if __name__ == "__main__":
    settings.configure()
    PAGE.write_text(updated_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
