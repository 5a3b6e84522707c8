"""Define the table of the instruments: the events that each instrument counts, and its labels.

The adapters translate the table and decide nothing. The names follow the naming rules of
OpenTelemetry (https://opentelemetry.io/docs/specs/semconv/general/naming/), and the units are those
of UCUM. ``prometheus_name`` derives the names of Prometheus by the same rules as OpenTelemetry's
exporter, so that both adapters give the same series.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ciam_django.client.endpoints import (
    ENDPOINTS,
    OAUTH_ENDPOINTS,
    OTHER_ENDPOINT,
    EndpointGroup,
)
from ciam_django.codes import UNKNOWN
from ciam_django.conf import SETTINGS, cached_until_settings_change
from ciam_django.errors import Stage
from ciam_django.events import (
    CACHE_FAILED,
    CALL_FINISHED,
    CALLS_FULL,
    CIRCUIT_CLOSED,
    CIRCUIT_OPENED,
    FAILED,
    LIMIT_REACHED,
    REFRESH_FAILED,
    SIGNED_IN,
    SIGNED_OUT,
    TOKENS_REFRESHED,
    Fact,
)
from ciam_django.kinds import Kind
from ciam_django.lookup import known_keys
from ciam_django.provider_names import PROVIDER_NAMES, provider_row

Facts = Mapping[str, Fact]

# The value of a label whose fact is missing.
NONE: Final = "none"
# The value of a label whose fact has no value of the table.
OTHER: Final = "other"


# --- The labels -------------------------------------------------------------------------------
# Each pair of values is a series of its own in the memory of the site and of the database. Nothing
# that a browser or CIAM has sent may become a value.


@dataclass(frozen=True, slots=True)
class Label:
    """A row of ``LABELS``.

    ``values`` returns all values of the label. ``value`` computes the value from the facts of an
    event; a value that is not in ``values()`` is replaced by ``fallback``.
    """

    values: Callable[[], Collection[str]]
    value: Callable[[Facts], Any]
    fallback: str
    meaning: str


def _fact(name: str) -> Callable[[Facts], Any]:
    return lambda facts: facts.get(name)


@cached_until_settings_change("CIAM_ERROR_OVERRIDES")
def _rows() -> Collection[str]:
    return frozenset(known_keys())


def _outcome(facts: Facts) -> str:
    """Return the kind of the failure, or ``success``."""
    return str(facts.get("kind") or Kind.SUCCESS)


_SIGN_IN_METHODS: Final[tuple[str, ...]] = SETTINGS["CIAM_LOGIN_METHODS"].allowed.items.names  # type: ignore[attr-defined]  # a list of names
_LIMIT_KEYS: Final[tuple[str, ...]] = SETTINGS["CIAM_TRY_LIMITS"].allowed.keys.names  # type: ignore[attr-defined]  # a dict with names as keys
_ACTS: Final = ("send", "try", "picture", "token")
_SIGN_OUT_REASONS: Final = (
    "left",
    "ended",
    "back_channel",
    "front_channel",
    "unlinked",
    "password",
)
# The circuit of the whole host has the first name.
_GROUPS: Final = ("all", *EndpointGroup)
_KINDS: Final = tuple(Kind)
_STAGES: Final = tuple(Stage)


def _method(facts: Facts) -> str:
    """Return the login method, or the row of the provider without the project's own name."""
    method = facts.get("method")
    if not method:
        return NONE
    return str(method) if method in _SIGN_IN_METHODS else provider_row(str(method))


LABELS: Final[Mapping[str, Label]] = {
    "act": Label(lambda: _ACTS, _fact("act"), OTHER, "The limited act."),
    "counter": Label(lambda: _LIMIT_KEYS, _fact("counter"), OTHER, "The counter that is full."),
    "endpoint": Label(
        lambda: {*ENDPOINTS, *OAUTH_ENDPOINTS},
        _fact("endpoint"),
        OTHER_ENDPOINT,
        "The name of CIAM's endpoint.",
    ),
    "group": Label(
        lambda: _GROUPS, _fact("group"), OTHER, "The group of endpoints that share a circuit."
    ),
    "kind": Label(lambda: _KINDS, _fact("kind"), OTHER, "The kind of the row."),
    "method": Label(
        lambda: {*_SIGN_IN_METHODS, *PROVIDER_NAMES, NONE},
        _method,
        OTHER,
        "The login method or the social provider.",
    ),
    "outcome": Label(lambda: _KINDS, _outcome, OTHER, "The kind of the failure, or `success`."),
    "reason": Label(
        lambda: _SIGN_OUT_REASONS,
        _fact("sign_out_reason"),
        OTHER,
        "The `reason` of the signal `signed_out`.",
    ),
    "row": Label(
        _rows,
        _fact("row"),
        UNKNOWN,
        "The row of the table, or the key of `CIAM_ERROR_OVERRIDES`, that has explained the code.",
    ),
    "stage": Label(lambda: _STAGES, _fact("stage"), NONE, "The stage of the failure."),
}


def labels_of(instrument: Instrument, facts: Facts) -> dict[str, str]:
    """Return the labels of the instrument for an event."""
    return {name: _value_of(LABELS[name], facts) for name in instrument.labels}


def _value_of(label: Label, facts: Facts) -> str:
    value = str(label.value(facts))
    return value if value in label.values() else label.fallback


# --- The instruments --------------------------------------------------------------------------


@enum.unique
class InstrumentKind(enum.StrEnum):
    """A kind of instrument, with the name of OpenTelemetry and Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """A row of ``INSTRUMENTS``.

    ``events`` maps the name of an event to the function that returns the added, the set or the
    observed value. ``unit`` is a unit of UCUM. ``buckets`` are the upper limits of a histogram.
    """

    name: str
    kind: InstrumentKind
    unit: str
    meaning: str
    events: Mapping[str, Callable[[Facts], float]]
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name in Prometheus, without the ``_total`` that its client appends to counters.

        https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
        """
        suffix = "_seconds" if self.unit == "s" else ""
        return f"{self.name.replace('.', '_')}{suffix}"


def attribute_name(label: str) -> str:
    """Return the name of a label in OpenTelemetry.

    In Prometheus, the dot is an underscore. The prefix also keeps the label ``endpoint`` apart from
    the label of the scraped target that the operator of Prometheus adds.
    """
    return f"ciam.{label}"


def prometheus_label(label: str) -> str:
    """Return the name of a label in Prometheus."""
    return attribute_name(label).replace(".", "_")


def _one(facts: Facts) -> float:
    return 1


def _one_of_this_process(facts: Facts) -> float:
    return 0 if facts.get("elsewhere") else 1


def _zero(facts: Facts) -> float:
    return 0


def _seconds(facts: Facts) -> float:
    return float(facts.get("seconds") or 0)


INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    Instrument(
        "ciam.sign_ins",
        InstrumentKind.COUNTER,
        "{sign_in}",
        "Sign-ins that have succeeded.",
        {SIGNED_IN.name: _one},
        ("method",),
    ),
    Instrument(
        "ciam.sign_outs",
        InstrumentKind.COUNTER,
        "{sign_out}",
        "Sessions that have ended before their time.",
        {SIGNED_OUT.name: _one},
        ("reason",),
    ),
    Instrument(
        "ciam.failures",
        InstrumentKind.COUNTER,
        "{failure}",
        "Failures that were answered or logged.",
        {FAILED.name: _one},
        ("stage", "kind", "row", "method"),
    ),
    Instrument(
        "ciam.call.duration",
        InstrumentKind.HISTOGRAM,
        "s",
        "Duration of the calls to CIAM, from the connection to the last byte.",
        {CALL_FINISHED.name: _seconds},
        ("endpoint", "outcome"),
        # The boundaries of http.client.request.duration:
        # https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
        (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    ),
    Instrument(
        "ciam.token_refreshes",
        InstrumentKind.COUNTER,
        "{refresh}",
        "Refreshes of the tokens of a session.",
        {TOKENS_REFRESHED.name: _one, REFRESH_FAILED.name: _one},
        ("outcome",),
    ),
    Instrument(
        "ciam.circuit.open",
        InstrumentKind.GAUGE,
        # The unit "1" would give the name "_ratio" in Prometheus.
        "{circuit}",
        "1 since CIAM was silent, until a call of the group has an answer, otherwise 0.",
        {CIRCUIT_OPENED.name: _one, CIRCUIT_CLOSED.name: _zero},
        ("group",),
    ),
    Instrument(
        "ciam.circuit.openings",
        InstrumentKind.COUNTER,
        "{opening}",
        "Calls without an answer that have opened a circuit, or have kept it open.",
        {CIRCUIT_OPENED.name: _one_of_this_process},
        ("group",),
    ),
    Instrument(
        "ciam.refused_calls",
        InstrumentKind.COUNTER,
        "{call}",
        "Calls that were refused because CIAM_MAX_CALLS calls of the process ran already.",
        {CALLS_FULL.name: _one},
        ("group",),
    ),
    Instrument(
        "ciam.limits_reached",
        InstrumentKind.COUNTER,
        "{request}",
        "Requests that were refused because a rate limit was full.",
        {LIMIT_REACHED.name: _one},
        ("act", "counter"),
    ),
    Instrument(
        "ciam.cache_failures",
        InstrumentKind.COUNTER,
        "{failure}",
        "Calls of Django's cache that have failed.",
        {CACHE_FAILED.name: _one},
        (),
    ),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A value for an instrument, and its labels."""

    instrument: Instrument
    value: float
    labels: Mapping[str, str]


COUNTED_EVENTS: Final[Mapping[str, Sequence[Instrument]]] = {
    event: tuple(each for each in INSTRUMENTS if event in each.events)
    for instrument in INSTRUMENTS
    for event in instrument.events
}
"""Name of an event -> the instruments that count the event."""


def measurements_of(event: str, facts: Facts) -> Iterator[Measurement]:
    """Yield the measurements of a counted event."""
    for instrument in COUNTED_EVENTS[event]:
        yield Measurement(instrument, instrument.events[event](facts), labels_of(instrument, facts))


# --- The spans --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """The span of a call to CIAM, with times in nanoseconds since the epoch.

    ``error`` is the row of the failure, or empty.
    """

    name: str
    began_at_ns: int
    ended_at_ns: int
    attributes: Mapping[str, str | int]
    error: str


def span_of(facts: Facts) -> Span:
    """Return the span of the event ``call_finished``.

    The attributes have the names of OpenTelemetry's conventions for HTTP clients, without the URL,
    whose query can have secrets: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
    """
    endpoint = _value_of(LABELS["endpoint"], facts)
    error = _value_of(LABELS["row"], facts) if facts.get("row") else ""
    attributes = {
        "http.request.method": facts.get("http_method"),
        "server.address": facts.get("server_address"),
        "server.port": facts.get("server_port"),
        "http.response.status_code": facts.get("http_status"),
        "error.type": error or None,
        attribute_name("endpoint"): endpoint,
    }
    began_at_ns = int(facts.get("began_at_ns") or 0)
    return Span(
        f"{facts.get('http_method')} {endpoint}",
        began_at_ns,
        began_at_ns + round(_seconds(facts) * 1e9),
        {name: value for name, value in attributes.items() if isinstance(value, str | int)},
        error,
    )
