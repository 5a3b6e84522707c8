"""The adapter of OpenTelemetry, with its SDK."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.trace import SpanKind, StatusCode
from pytest_django.fixtures import Settings

from ciam_django import __version__
from ciam_django.client import CiamClient
from ciam_django.codes import UNKNOWN
from ciam_django.errors import CiamError
from ciam_django.events import (
    CALL_FINISHED,
    CIRCUIT_CLOSED,
    CIRCUIT_OPENED,
    LIMIT_REACHED,
    REFRESH_FAILED,
    TOKENS_REFRESHED,
    record,
)
from ciam_django.metrics.table import INSTRUMENTS
from ciam_django.reporting import answer_and_report
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.metrics.conftest import Exported, labels


def test_a_sign_in_and_a_failed_sign_in_are_counted_with_their_calls(
    exported: Exported, browser: Browser, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        browser.sign_in()
    browser.client.logout()
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    browser.ciam.fail("token", code="Operation.Failure.User.Locked")
    browser.open_callback(callback)
    counts = exported.counts()

    row = "Operation.Failure.User.Locked"
    assert counts["ciam.sign_ins"] == {labels(method="hosted"): 1}
    assert counts["ciam.failures"] == {
        labels(stage="token", kind="account_state", row=row, method="hosted"): 1
    }
    assert counts["ciam.call.duration"] == {
        labels(endpoint="metadata", outcome="success"): 1,
        labels(endpoint="token", outcome="success"): 1,
        labels(endpoint="token", outcome="account_state"): 1,
        labels(endpoint="keys", outcome="success"): 1,
    }


def test_the_durations_are_seconds_in_buckets_of_the_table(exported: Exported) -> None:
    record(CALL_FINISHED, endpoint="token", seconds=0.3)
    (point,) = exported.points()["ciam.call.duration"]
    (row,) = [each for each in INSTRUMENTS if each.name == "ciam.call.duration"]

    assert isinstance(point, HistogramDataPoint)
    assert point.sum == 0.3
    assert tuple(point.explicit_bounds) == row.buckets


def test_refreshes_are_counted_by_their_outcome(exported: Exported) -> None:
    record(TOKENS_REFRESHED)
    record(REFRESH_FAILED, code="timeout", row="timeout", kind="upstream")

    assert exported.counts()["ciam.token_refreshes"] == {
        labels(outcome="success"): 1,
        labels(outcome="upstream"): 1,
    }


def test_full_limits_are_counted(exported: Exported) -> None:
    record(LIMIT_REACHED, setting="CIAM_SEND_LIMITS", act="send", counter="site", rate="1 per day")

    assert exported.counts()["ciam.limits_reached"] == {labels(act="send", counter="site"): 1}


def test_the_state_of_a_circuit_is_exported_each_time(exported: Exported) -> None:
    record(CIRCUIT_OPENED, host="login.example.com", group="token")
    states = [exported.counts()["ciam.circuit.open"][labels(group="token")] for _ in range(2)]
    record(CIRCUIT_CLOSED, host="login.example.com", group="token")
    states.append(exported.counts()["ciam.circuit.open"][labels(group="token")])

    assert states == [1, 1, 0]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_has_no_state_of_its_parent(exported: Exported) -> None:
    record(CIRCUIT_OPENED, host="login.example.com", group="check")
    if (child := os.fork()) == 0:
        status = 2
        with contextlib.suppress(BaseException):
            status = int("ciam.circuit.open" in exported.counts())
        os._exit(status)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert exported.counts()["ciam.circuit.open"][labels(group="check")] == 1


def test_a_call_is_a_span_of_a_client_with_the_row_of_its_failure(
    exported: Exported, ciam: FakeCiam
) -> None:
    CiamClient().captcha()
    ciam.fail("api", code="Hostile.Code.Of.Nobody", text="secret text", status=500)
    with pytest.raises(CiamError):
        CiamClient().captcha()
    token, captcha, failed = exported.spans()

    assert [span.name for span in (token, captcha, failed)] == [
        "POST application_token",
        "GET captcha",
        "GET captcha",
    ]
    assert {span.kind for span in (token, captcha, failed)} == {SpanKind.CLIENT}
    assert captcha.status.status_code is StatusCode.UNSET
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, UNKNOWN)
    assert captcha.instrumentation_scope is not None
    assert captcha.instrumentation_scope.version == __version__
    assert dict(failed.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": int(ciam.url.rpartition(":")[2]),
        "http.response.status_code": 500,
        "error.type": UNKNOWN,
        "ciam.endpoint": "captcha",
    }
    assert captcha.start_time is not None
    assert captcha.end_time is not None
    assert 0 < captcha.end_time - captcha.start_time < 60e9
    assert not failed.events
    for span in (token, captcha, failed):
        assert "idaasAppId" not in span.to_json()
        assert "secret" not in span.to_json()


def test_hostile_codes_share_the_label_set_of_unknown_codes(
    exported: Exported, settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": {"message": "Closed.", "kind": "permission"}}
    for number in range(100):
        answer_and_report(CiamError(f"Hostile.Code{number}", stage="token"))
        answer_and_report(CiamError(f"x{number}\n" * 99, stage="token"))
    answer_and_report(CiamError("Shop.Closed", stage="token"))
    counts = exported.counts()["ciam.failures"]

    assert sum(counts.values()) == 201
    assert {dict(each)["ciam.row"] for each in counts} == {UNKNOWN, "Shop.Closed"}
    assert len(counts) == 2
