"""The observer of the events, with the adapters of the setting."""

from __future__ import annotations

import re
import sys

import pytest
from pytest_django.fixtures import Settings

from ciam_django.events import (
    CALL_FINISHED,
    CALLS_FULL,
    SIGNED_IN,
    UNLINKED,
    add_observer,
    record,
    remove_observer,
)
from ciam_django.metrics import recording
from ciam_django.metrics.otel import OpenTelemetryAdapter
from ciam_django.metrics.prometheus import PrometheusAdapter
from tests.metrics.conftest import Exported, forget_adapter_of_prometheus, labels


def test_events_are_counted_while_the_setting_names_the_package(
    exported: Exported, settings: Settings
) -> None:
    record(SIGNED_IN, provider="wechat-website")
    settings.CIAM_METRICS = []
    record(SIGNED_IN, provider="wechat-website")
    settings.CIAM_METRICS = ["otel"]
    record(SIGNED_IN, provider="wechat-website")
    record(UNLINKED)

    assert exported.counts()["ciam.sign_ins"] == {labels(method="none"): 2}


def test_only_counted_events_have_an_observer_and_only_while_the_setting_names_a_package(
    exported: Exported, settings: Settings
) -> None:
    recording.follow_setting()
    assert SIGNED_IN.observers.count(recording.observe) == 1
    assert recording.observe not in UNLINKED.observers

    settings.CIAM_METRICS = []
    assert recording.observe not in SIGNED_IN.observers


def test_the_observer_reads_the_setting_of_each_event(
    exported: Exported, settings: Settings
) -> None:
    settings.CIAM_METRICS = []
    # A plain assignment sends no signal, so that the events keep the observer.
    add_observer(recording.observe, CALL_FINISHED)
    record(CALL_FINISHED, endpoint="token", seconds=0.1)
    remove_observer(recording.observe)

    assert "ciam.call.duration" not in exported.counts()
    assert not exported.spans()


def test_each_package_has_one_adapter_in_a_process(settings: Settings) -> None:
    settings.CIAM_METRICS = ["prometheus", "otel"]
    adapters = recording._adapters()
    settings.CIAM_METRICS = ["otel"]

    assert [type(each) for each in adapters] == [OpenTelemetryAdapter, PrometheusAdapter]
    assert recording._adapters() == [adapters[0]]


def test_a_package_that_is_not_installed_counts_nothing_and_fails_no_event(
    exported: Exported, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_adapter_of_prometheus(monkeypatch)
    monkeypatch.delitem(sys.modules, "ciam_django.metrics.prometheus", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    settings.CIAM_METRICS = ["prometheus", "otel"]
    record(CALLS_FULL, group="all")

    assert exported.counts()["ciam.refused_calls"] == {labels(group="all"): 1}


def test_a_package_that_cannot_start_is_logged_once_and_fails_neither_the_site_nor_an_event(
    exported: Exported,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.CIAM_METRICS = ["prometheus"]
    # Prometheus refuses the names of the first adapter.
    forget_adapter_of_prometheus(monkeypatch)
    problems: dict[str, str] = {}
    monkeypatch.setattr(recording, "start_problems", problems)
    settings.CIAM_METRICS = ["prometheus", "otel"]
    settings.CIAM_METRICS = ["otel", "prometheus"]
    record(CALLS_FULL, group="all")

    assert exported.counts()["ciam.refused_calls"] == {labels(group="all"): 1}
    assert list(problems) == ["prometheus"]
    (line,) = (each for each in caplog.messages if "observer" in each)
    # Older versions of prometheus-client raise ValueError, the class of which this is a subclass.
    assert re.fullmatch(
        r"The observer prometheus has failed \((DuplicateTimeseries|ValueError)\)\. "
        r"Its metrics lack events\.",
        line,
    )
