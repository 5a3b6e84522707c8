"""Translate the table into instruments and spans of OpenTelemetry's API.

Without an SDK that the project configures, the API does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from ciam_django import __version__
from ciam_django.metrics.table import (
    INSTRUMENTS,
    Instrument,
    InstrumentKind,
    Measurement,
    Span,
    attribute_name,
)

_SCOPE: Final = "ciam_django"

Attributes = Mapping[str, str]
Add = Callable[[float, Attributes], object]


class OpenTelemetryAdapter:
    """The instruments of a meter, and a tracer; the global providers are the default."""

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        meter = metrics.get_meter(_SCOPE, __version__, meter_provider)
        self._tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider)
        self._adders = {each.name: _ADDERS[each.kind](meter, each) for each in INSTRUMENTS}

    def add(self, measurement: Measurement) -> None:
        """Count, set or observe the value of a measurement."""
        attributes = {attribute_name(name): value for name, value in measurement.labels.items()}
        self._adders[measurement.instrument.name](measurement.value, attributes)

    def add_span(self, span: Span) -> None:
        """Start and end the span of a call to CIAM with the times of the call."""
        started = self._tracer.start_span(
            span.name, kind=SpanKind.CLIENT, attributes=span.attributes, start_time=span.began_at_ns
        )
        if span.error:
            started.set_status(Status(StatusCode.ERROR, span.error))
        started.end(span.ended_at_ns)


def _counter_adder(meter: Meter, row: Instrument) -> Add:
    return meter.create_counter(row.name, row.unit, row.meaning).add


def _histogram_adder(meter: Meter, row: Instrument) -> Add:
    return meter.create_histogram(
        row.name, row.unit, row.meaning, explicit_bucket_boundaries_advisory=row.buckets
    ).record


def _gauge_adder(meter: Meter, row: Instrument) -> Add:
    """Return a function that sets the value; each export reads the values.

    OpenTelemetry's synchronous gauge is exported once after each change only.
    """
    values: dict[frozenset[tuple[str, str]], float] = {}
    # The state of a forked process is its own.
    os.register_at_fork(after_in_child=values.clear)

    def set_value(value: float, attributes: Attributes) -> None:
        values[frozenset(attributes.items())] = value

    def read(options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, dict(key)) for key, value in list(values.items())]

    meter.create_observable_gauge(row.name, [read], row.unit, row.meaning)
    return set_value


_ADDERS: Final[Mapping[InstrumentKind, Callable[[Meter, Instrument], Add]]] = {
    InstrumentKind.COUNTER: _counter_adder,
    InstrumentKind.GAUGE: _gauge_adder,
    InstrumentKind.HISTOGRAM: _histogram_adder,
}
