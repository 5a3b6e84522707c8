"""The failures of the last day are in the cache, within bounds, and without personal data."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from django.core.cache import cache, caches
from pytest_django.fixtures import Settings

from ciam_django import failure_memory
from ciam_django.checks.caches import cache_fault
from ciam_django.client.cache import get_many_cached, set_cached
from ciam_django.errors import CiamError
from ciam_django.events import remove_observer
from ciam_django.failure_memory import (
    LIFETIME,
    MemoryFault,
    failures_with_reference,
    is_remembering,
    memory_fault,
    observe_failures,
    remember,
    remembered_rows,
)
from ciam_django.reporting import report
from tests.caches import DOWN_CACHES, FORGETFUL_CACHES, SHARED_CACHE, SharedCache

ROOT: Final = Path(__file__).parents[1]
LOCKED: Final = "Operation.Failure.User.Locked"
LONG_ID: Final = "9" * 128
FACTS: Final[dict[str, Any]] = {
    "code": LOCKED,
    "type_code": "Operation.Failure",
    "row": LOCKED,
    "step": "exact",
    "kind": "account_state",
    "stage": "token",
    "status": 403,
    "shown": LOCKED,
    "upstream_status": 500,
    "request_id": "1656572265429$49b4",
    "upstream_request_id": None,
    "upstream_text": "li@example.com is locked",
    "reason": None,
}


@pytest.fixture
def shared_cache(settings: Settings) -> None:
    """A cache of all processes, which is empty."""
    settings.CACHES = SHARED_CACHE
    cache.clear()


def remember_failures(*count_and_facts: tuple[int, dict[str, Any]]) -> None:
    for count, facts in count_and_facts:
        for _ in range(count):
            remember({**FACTS, **facts})


@pytest.mark.usefixtures("shared_cache")
def test_a_failure_is_found_by_both_request_ids_for_a_day(
    advance_clock: Callable[[float], None],
) -> None:
    remember({**FACTS, "request_id": "local-0123456789abcdef", "upstream_request_id": "1656$49"})
    (failure,) = failures_with_reference("local-0123456789abcdef")

    assert failures_with_reference("1656$49") == [failure]
    assert failures_with_reference("1656$4") == failures_with_reference("") == []
    assert (failure.code, failure.row, failure.step, failure.kind) == (
        LOCKED, LOCKED, "exact", "account_state",
    )  # fmt: skip
    assert (failure.stage, failure.status, failure.shown) == ("token", 403, LOCKED)
    assert (failure.sign_in, failure.method) == ("", "")
    remember({**FACTS, "request_id": "x", "sign_in": "3f2a9c01", "method": "sms"})
    (other,) = failures_with_reference("x")
    assert (other.sign_in, other.method) == ("3f2a9c01", "sms")
    assert abs(failure.time.timestamp() - failure.at) < 1
    advance_clock(LIFETIME - 60)
    assert failures_with_reference("1656$49") == [failure]
    advance_clock(120)
    assert remembered_rows() == []


@pytest.mark.usefixtures("shared_cache")
def test_a_failure_is_two_calls_of_the_cache() -> None:
    remember(FACTS)
    SharedCache.calls.clear()
    remember(FACTS)

    assert SharedCache.calls == ["incr", "set"]


@pytest.mark.usefixtures("shared_cache")
def test_another_spelling_of_a_row_is_the_code_of_the_record() -> None:
    remember({**FACTS, "code": "40029", "row": "wechat.40029"})
    remember({**FACTS, "code": None, "row": "timeout"})

    codes = [failure.code for row in remembered_rows() for failure in row.failures]
    assert codes == ["40029", "timeout"]


@pytest.mark.usefixtures("shared_cache")
def test_each_failure_is_observed_once() -> None:
    remove_observer(failure_memory._observe)
    report(CiamError("timeout"))
    assert remembered_rows() == []
    observe_failures()
    observe_failures()
    report(CiamError("timeout"))

    assert [row.count for row in remembered_rows()] == [1]


@pytest.mark.usefixtures("shared_cache")
def test_a_record_has_no_text_of_upstream_and_no_code_without_a_row() -> None:
    remember(
        {
            **FACTS,
            "code": "Li.Ming.13800138000",
            "row": "unknown_error",
            "step": "unknown",
            "shown": "unknown_error",
            "request_id": "not an <id>",
            "stage": None,
            "status": None,
        }
    )
    ((failure,),) = [each.failures for each in remembered_rows()]

    assert failure.code == failure.row == "unknown_error"
    assert failure.request_id == failure.stage == ""
    assert failure.status == 0
    assert "Ming" not in repr(failure)
    assert "li@example.com" not in repr(failure)


@pytest.mark.usefixtures("shared_cache")
def test_a_flood_leaves_few_short_values_and_the_failures_of_other_rows(
    settings: Settings,
) -> None:
    row = "flood" * 30
    settings.CIAM_ERROR_OVERRIDES = {row[:128]: "Wait."}
    remember({**FACTS, "request_id": "before"})
    flood = {
        "code": "x" * 5000,
        "row": row,
        "shown": row,
        "request_id": LONG_ID,
        "upstream_request_id": LONG_ID,
    }
    for _ in range(100):
        remember({**FACTS, **flood})
    values = [*SharedCache._memory._cache.values()]

    # Each row also has a number.
    assert len(values) == failure_memory._PLACES + 1 + 2
    assert max(map(len, values)) < 1500
    assert len(failures_with_reference("before")) == 1
    of_flood, other = remembered_rows()
    assert (of_flood.count, len(of_flood.failures)) == (100, failure_memory._PLACES)
    assert (other.count, len(other.failures)) == (1, 1)


def test_the_bound_of_the_memory_is_what_its_docstring_says() -> None:
    number = failure_memory._HOURS * failure_memory._PLACES

    assert f"({number:,})" in str(failure_memory.__doc__)


@pytest.mark.usefixtures("shared_cache")
def test_the_failures_of_a_day_are_counted_by_row(advance_clock: Callable[[float], None]) -> None:
    advance_clock(3600 - time.time() % 3600)
    remember_failures((40, {}))
    advance_clock(3600)
    for number in range(12):
        remember({**FACTS, "request_id": f"second.{number}"})
        advance_clock(1)
    remember_failures((1, {"row": "timeout", "code": "timeout"}))
    locked, other = remembered_rows()

    assert (locked.row, locked.count) == (LOCKED, 52)
    assert (other.row, other.count) == ("timeout", 1)
    assert locked.newest.request_id == "second.11"
    ids = [failure.request_id for failure in locked.failures]
    assert ids[:10] == [f"second.{number}" for number in range(11, 1, -1)]
    assert ids[10:] == [FACTS["request_id"]] * 10


@pytest.mark.parametrize("kind", FORGETFUL_CACHES)
def test_a_cache_that_forgets_gets_no_failures(kind: str, settings: Settings) -> None:
    settings.CACHES = {"default": FORGETFUL_CACHES[kind]}
    remember(FACTS)

    assert not is_remembering()
    assert memory_fault() is MemoryFault.FORGETFUL
    assert remembered_rows() == []


def test_no_cache_is_used_that_the_checks_report(settings: Settings) -> None:
    for cls in failure_memory._FORGETFUL_CACHES:
        settings.CACHES = {
            "default": {"BACKEND": f"{cls.__module__}.{cls.__qualname__}", "LOCATION": "x"}
        }
        assert cache_fault("default")
        assert not is_remembering()
    settings.CACHES = {"default": DOWN_CACHES["Redis is down"]}

    assert not cache_fault("default")
    assert is_remembering()


@pytest.mark.usefixtures("shared_cache")
def test_nothing_is_remembered_while_the_setting_is_off(settings: Settings) -> None:
    settings.CIAM_REMEMBER_FAILURES = False
    remember(FACTS)

    assert memory_fault() is MemoryFault.OFF
    assert SharedCache.calls == []
    settings.CIAM_REMEMBER_FAILURES = True
    assert memory_fault() is None


@pytest.mark.parametrize("kind", ["Redis is down", "django-redis hides failures"])
def test_a_cache_that_is_down_changes_nothing(
    kind: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    settings.CACHES = {"default": DOWN_CACHES[kind]}
    remember(FACTS)
    # Anonymous users can cause failures.
    assert {record.levelname for record in caplog.records} == {"INFO"}

    assert remembered_rows() == []
    assert memory_fault() is MemoryFault.DOWN
    assert all("cache is down" in record.getMessage() for record in caplog.records)


@pytest.mark.usefixtures("shared_cache")
def test_a_value_that_others_have_written_is_no_failure() -> None:
    remember(FACTS)
    remember(FACTS)
    stored = caches["default"]
    first, second = [key.split(":", 2)[2] for key in SharedCache._memory._cache if "/" in key]
    encrypted = stored.get(first)
    stored.set(first, json.dumps({**FACTS, "at": 1e12}))
    # The value of one key is not valid under another key.
    stored.set(second, encrypted)
    assert remembered_rows() == []

    stored.set(first, encrypted)
    assert [len(each.failures) for each in remembered_rows()] == [1]


@pytest.mark.usefixtures("shared_cache")
def test_a_record_of_a_version_with_other_members_is_left_out() -> None:
    remember(FACTS)
    remember({**FACTS, "request_id": "second"})
    hour = int(time.time() // 3600)
    key = failure_memory._place_key(failure_memory._number_key(hour, LOCKED), 1)
    set_cached(key, {"code": LOCKED}, seconds=60)

    ((failure,),) = [each.failures for each in remembered_rows()]
    assert failure.request_id == "second"


@pytest.mark.usefixtures("shared_cache")
def test_a_record_of_a_version_without_sign_ins_is_read() -> None:
    remember({**FACTS, "sign_in": "3f2a9c01", "method": "sms"})
    key = failure_memory._place_key(failure_memory._number_key(int(time.time() // 3600), LOCKED), 1)
    record = get_many_cached([key])[key]
    assert (record.pop("sign_in"), record.pop("method")) == ("3f2a9c01", "sms")
    set_cached(key, record, seconds=60)

    ((failure,),) = [each.failures for each in remembered_rows()]
    assert (failure.code, failure.sign_in, failure.method) == (LOCKED, "", "")


@pytest.mark.usefixtures("shared_cache")
def test_a_cache_that_fails_after_the_count_is_logged_without_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ConnectionError

    caplog.set_level(logging.INFO, "ciam_django")
    monkeypatch.setattr(SharedCache, "set", fail)
    remember(FACTS)

    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "cache is down" in caplog.text


PROGRAM: Final = """
import sys
import time
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["ciam_django"], DATABASES={}, SECRET_KEY="s",
    CACHES={"default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": sys.argv[1],
    }},
)
import django
django.setup()
from ciam_django.errors import CiamError
from ciam_django.failure_memory import remembered_rows
from ciam_django.reporting import report
for number in range(int(sys.argv[2])):
    report(CiamError("timeout", stage="token", request_id=f"{sys.argv[3]}.{number}"))
found = remembered_rows()
print([(each.row, each.count) for each in found], found[0].newest.request_id)
"""


@pytest.mark.slow("processes of bare projects")
def test_processes_share_their_failures_with_redis(redis: Path) -> None:
    def run(count: int, name: str) -> str:
        command = [sys.executable, "-c", PROGRAM, f"unix://{redis}", str(count), name]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    assert run(3, "first") == "[('timeout', 3)] first.2"
    assert run(20, "second") == "[('timeout', 23)] second.19"
