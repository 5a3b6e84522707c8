"""The adapter of Prometheus, with its client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import Settings

from ciam_django.events import (
    CACHE_FAILED,
    CALL_FINISHED,
    CALLS_FULL,
    CIRCUIT_CLOSED,
    CIRCUIT_OPENED,
    FAILED,
    LIMIT_REACHED,
    SIGNED_IN,
    SIGNED_OUT,
    TOKENS_REFRESHED,
    Event,
    record,
)
from ciam_django.metrics.prometheus import PrometheusAdapter
from ciam_django.metrics.table import INSTRUMENTS, LABELS, Facts, measurements_of, span_of

ROOT = Path(__file__).parents[2]


def add(adapter: PrometheusAdapter, event: Event, **facts: object) -> None:
    all_facts: Facts = {**dict.fromkeys(event.facts), **facts}  # type: ignore[dict-item]  # facts of a test
    for measurement in measurements_of(event.name, all_facts):
        adapter.add(measurement)


def samples_of(registry: CollectorRegistry) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The values by the name of the sample and by the labels, without the times of creation."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                values = found.setdefault(sample.name, {})
                values[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_each_instrument_has_its_name_its_labels_and_its_value_in_the_text_format() -> None:
    registry = CollectorRegistry()
    adapter = PrometheusAdapter(registry)
    add(adapter, SIGNED_IN)
    add(adapter, SIGNED_IN)
    add(adapter, FAILED, stage="token", kind="upstream", row="timeout")
    add(adapter, CALL_FINISHED, endpoint="token", seconds=0.3)
    add(adapter, TOKENS_REFRESHED)
    add(adapter, CIRCUIT_OPENED, group="token")
    add(adapter, CALLS_FULL, group="all")
    add(adapter, LIMIT_REACHED, act="send", counter="site")
    add(adapter, SIGNED_OUT, sign_out_reason="left")
    add(adapter, CACHE_FAILED, error="redis.exceptions.ConnectionError")
    call = (("ciam_endpoint", "token"), ("ciam_outcome", "success"))
    samples = samples_of(registry)
    buckets = samples.pop("ciam_call_duration_seconds_bucket")

    assert samples == {
        "ciam_sign_ins_total": {(("ciam_method", "none"),): 2},
        "ciam_sign_outs_total": {(("ciam_reason", "left"),): 1},
        "ciam_cache_failures_total": {(): 1},
        "ciam_failures_total": {
            (
                ("ciam_kind", "upstream"),
                ("ciam_method", "none"),
                ("ciam_row", "timeout"),
                ("ciam_stage", "token"),
            ): 1
        },
        "ciam_call_duration_seconds_count": {call: 1},
        "ciam_call_duration_seconds_sum": {call: 0.3},
        "ciam_token_refreshes_total": {(("ciam_outcome", "success"),): 1},
        "ciam_circuit_open": {(("ciam_group", "token"),): 1},
        "ciam_circuit_openings_total": {(("ciam_group", "token"),): 1},
        "ciam_refused_calls_total": {(("ciam_group", "all"),): 1},
        "ciam_limits_reached_total": {(("ciam_act", "send"), ("ciam_counter", "site")): 1},
    }
    assert len(buckets) == 15
    assert sum(buckets.values()) == 8

    add(adapter, CIRCUIT_CLOSED, group="token")
    assert samples_of(registry)["ciam_circuit_open"] == {(("ciam_group", "token"),): 0}


def test_the_adapter_has_a_collector_for_each_instrument_and_no_spans() -> None:
    registry = CollectorRegistry()
    adapter = PrometheusAdapter(registry)
    adapter.add_span(span_of({"endpoint": "token", "http_method": "POST", "row": "timeout"}))
    families = {family.name: family for family in registry.collect()}

    assert {each.prometheus_name: each.meaning for each in INSTRUMENTS} == {
        name: family.documentation for name, family in families.items()
    }


def test_the_setting_counts_in_the_registry_of_the_client(settings: Settings) -> None:
    settings.CIAM_METRICS = ["prometheus"]
    name, labels = "ciam_refused_calls_total", {"ciam_group": "profile"}
    before = REGISTRY.get_sample_value(name, labels) or 0
    record(CALLS_FULL, group="profile")
    settings.CIAM_METRICS = []
    record(CALLS_FULL, group="profile")

    assert REGISTRY.get_sample_value(name, labels) == before + 1


def test_hostile_codes_create_as_many_series_as_the_table_has_rows() -> None:
    registry = CollectorRegistry()
    adapter = PrometheusAdapter(registry)
    for number in range(100):
        hostile = f'{number}"}} 1\nciam_sign_ins_total{{x="'
        add(adapter, FAILED, row=hostile, kind=hostile, stage=hostile, method=hostile)
        add(adapter, CALL_FINISHED, endpoint=hostile, kind=hostile, seconds=0.1)
    samples = samples_of(registry)

    (labels,) = samples["ciam_failures_total"]
    assert dict(labels) == {
        f"ciam_{name}": LABELS[name].fallback for name in ("stage", "kind", "row", "method")
    }
    assert len(samples["ciam_call_duration_seconds_count"]) == 1
    assert "ciam_sign_ins_total" not in samples


PROCESS = """
import sys
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["ciam_django"], DATABASES={}, CIAM_METRICS=["prometheus"])
django.setup()
from ciam_django.events import CIRCUIT_CLOSED, CIRCUIT_OPENED, SIGNED_IN, record
record(SIGNED_IN)
record({"open": CIRCUIT_OPENED, "closed": CIRCUIT_CLOSED}[sys.argv[1]], group="token")
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow("deployments of several processes")
def test_several_processes_are_counted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    running = []
    # CIAM was silent for the first process, and has answered to the second process.
    for state in ("open", "closed"):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROCESS, state],
            cwd=ROOT,
            env=os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        running.append(process)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no types
    samples = samples_of(registry)
    for process in running:
        process.communicate()

    assert samples["ciam_sign_ins_total"] == {(("ciam_method", "none"),): 2}
    assert samples["ciam_circuit_openings_total"] == {(("ciam_group", "token"),): 1}
    assert samples["ciam_circuit_open"] == {(("ciam_group", "token"),): 0}
