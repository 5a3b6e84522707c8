"""Translate the table into instruments of Prometheus' client, in one process or in many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from ciam_django.metrics.table import (
    INSTRUMENTS,
    Instrument,
    InstrumentKind,
    Measurement,
    Span,
    prometheus_label,
)


class PrometheusAdapter:
    """The instruments in a registry; the default is the client's own registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._collectors = {each.name: _new_collector(each, registry) for each in INSTRUMENTS}

    def add(self, measurement: Measurement) -> None:
        """Count, set or observe the value of a measurement."""
        instrument = measurement.instrument
        labels = {prometheus_label(name): value for name, value in measurement.labels.items()}
        collector = self._collectors[instrument.name]
        series = collector.labels(**labels) if labels else collector
        _METHODS[instrument.kind](series, measurement.value)

    def add_span(self, span: Span) -> None:
        """Do nothing: Prometheus has no spans."""


def _new_collector(row: Instrument, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name, text = row.prometheus_name, row.meaning
    labels = [prometheus_label(label) for label in row.labels]
    if row.kind is InstrumentKind.COUNTER:
        return Counter(name, text, labels, registry=registry)
    if row.kind is InstrumentKind.HISTOGRAM:
        return Histogram(name, text, labels, registry=registry, buckets=row.buckets)
    # All processes share the state of a circuit, so the newest value of a process is the value.
    return Gauge(name, text, labels, registry=registry, multiprocess_mode="livemostrecent")


_METHODS: Final[Mapping[InstrumentKind, Callable[[Any, float], None]]] = {
    InstrumentKind.COUNTER: Counter.inc,
    InstrumentKind.GAUGE: Gauge.set,
    InstrumentKind.HISTOGRAM: Histogram.observe,
}
