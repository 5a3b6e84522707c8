"""Fixtures with the real packages: OpenTelemetry's SDK in memory, and registries of Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_django.fixtures import Settings

from ciam_django.metrics import recording

# Each collection of the reader has only what was counted since the last collection.
_SINCE_LAST: Final = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Exported:
    """The measurements and spans that OpenTelemetry's SDK has collected since the last call."""

    reader: InMemoryMetricReader
    exporter: InMemorySpanExporter

    def points(self) -> dict[str, list[HistogramDataPoint | NumberDataPoint]]:
        """The data points by the name of their instrument."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)  # type: ignore[arg-type]  # exponential, too
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def counts(self) -> dict[str, dict[frozenset[tuple[str, object]], float]]:
        """The value of each counter or gauge, or the number of values of a histogram, by labels."""
        return {
            name: {
                frozenset((point.attributes or {}).items()): (
                    point.value if isinstance(point, NumberDataPoint) else point.count
                )
                for point in points
            }
            for name, points in self.points().items()
        }

    def spans(self) -> tuple[ReadableSpan, ...]:
        """The finished spans."""
        spans = self.exporter.get_finished_spans()
        self.exporter.clear()
        return spans


def labels(**values: str) -> frozenset[tuple[str, object]]:
    """The attributes of a data point of OpenTelemetry, without their prefix."""
    return frozenset((f"ciam.{name}", value) for name, value in values.items())


def forget_adapter_of_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next event make an adapter of Prometheus's client again.

    The adapter of OpenTelemetry stays: its SDK reads only the first gauge of a name, and the first
    gauge has to be the gauge of the adapter that later tests use.
    """
    adapter = recording._load("otel")
    monkeypatch.setattr(recording, "_loaded", {"otel": adapter})


@pytest.fixture
def mode() -> str:
    return "oidc"


@pytest.fixture(scope="session")
def sdk() -> Exported:
    """The SDK as the global provider, which can be set once in a process."""
    exported = Exported(
        InMemoryMetricReader(preferred_temporality=_SINCE_LAST),  # type: ignore[arg-type]  # the classes of the API are keys, too
        InMemorySpanExporter(),
    )
    metrics.set_meter_provider(MeterProvider([exported.reader], shutdown_on_exit=False))
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exported.exporter))
    trace.set_tracer_provider(tracers)
    return exported


@pytest.fixture
def exported(sdk: Exported, settings: Settings) -> Exported:
    """The metrics of OpenTelemetry, switched on, without those of earlier tests."""
    settings.CIAM_METRICS = ["otel"]
    sdk.points()
    sdk.spans()
    return sdk
