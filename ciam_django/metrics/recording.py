"""Observe the events of the package, and pass their measurements to the adapters of the setting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, Protocol

from django.http import HttpRequest
from django.utils.module_loading import import_string

from ciam_django.conf import cached_until_settings_change
from ciam_django.events import (
    CALL_FINISHED,
    EVENTS,
    OBSERVER_FAILED,
    add_observer,
    record,
    remove_observer,
)
from ciam_django.metrics.adapters import ADAPTERS, adapter_names, start_problems
from ciam_django.metrics.table import (
    COUNTED_EVENTS,
    Facts,
    Measurement,
    Span,
    measurements_of,
    span_of,
)


class Adapter(Protocol):
    """Translates the table into the instruments of another package."""

    def add(self, measurement: Measurement) -> None:
        """Count, set or observe the value of a measurement."""

    def add_span(self, span: Span) -> None:
        """Export the span of a call to CIAM."""


def follow_setting() -> None:
    """Observe the counted events while ``CIAM_METRICS`` names a package.

    The adapters are imported now, and not in the first request.
    """
    if _adapters():
        add_observer(observe, *(EVENTS[name] for name in COUNTED_EVENTS))
    else:
        remove_observer(observe)


def observe(event: str, facts: Facts, request: HttpRequest | None) -> None:
    """Measure an event with the adapters of ``CIAM_METRICS``."""
    adapters = _adapters()
    for measurement in measurements_of(event, facts):
        for adapter in adapters:
            adapter.add(measurement)
    if event == CALL_FINISHED.name:
        span = span_of(facts)
        for adapter in adapters:
            adapter.add_span(span)


@cached_until_settings_change("CIAM_METRICS")
def _adapters() -> Sequence[Adapter]:
    """Return the adapters of the setting that can start in this process.

    ``manage.py check`` reports the others.
    """
    found = [_load(name) for name in adapter_names()]
    return [adapter for adapter in found if adapter]


# Name -> the only adapter of the process: Prometheus refuses a second instrument of the same name.
_loaded: Final[dict[str, Adapter | None]] = {}
_lock: Final = threading.Lock()


def _load(name: str) -> Adapter | None:
    with _lock:
        if name not in _loaded:
            try:
                _loaded[name] = import_string(ADAPTERS[name])()
            except ImportError:
                return None
            except Exception as error:  # noqa: BLE001  (a site without metrics must start)
                # The folder of PROMETHEUS_MULTIPROC_DIR can be missing. There is no second attempt,
                # which would fail at the instruments of the first attempt.
                _loaded[name] = None
                start_problems[name] = f"{type(error).__name__}: {error}"
                record(OBSERVER_FAILED, observer=name, error=type(error).__name__)
        return _loaded[name]
