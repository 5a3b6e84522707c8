"""Define the table of the adapters: the names that ``CIAM_METRICS`` may have.

This module imports neither OpenTelemetry nor Prometheus, so that a check can use the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ciam_django.conf import conf

# Name in CIAM_METRICS -> the path of the class. The name is the name of the extra, too.
ADAPTERS: Final[Mapping[str, str]] = {
    "otel": "ciam_django.metrics.otel.OpenTelemetryAdapter",
    "prometheus": "ciam_django.metrics.prometheus.PrometheusAdapter",
}

# Name -> the reason why the adapter of this process can't start.
start_problems: Final[dict[str, str]] = {}


def adapter_names() -> list[str]:
    """Return the names of ``CIAM_METRICS`` that the table has.

    ``manage.py check`` reports a value of another type, and any other name.
    """
    # The value of the project may have another type than the declared type.
    value: Any = conf.CIAM_METRICS
    return [name for name in ADAPTERS if name in value] if isinstance(value, list | tuple) else []
