"""Test that a failure of Django's cache stops no caller, and that values can't be forged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.cache import cache as django_cache
from django.core.cache.backends.locmem import LocMemCache
from pytest_django.fixtures import Settings

from ciam_django.client import cache
from ciam_django.client.crypto import fernet_for
from tests.caches import DOWN_CACHES, FORGETFUL_CACHES
from tests.rows import for_each_row


@pytest.fixture
def is_down(settings: Settings) -> None:
    """Let Django's cache be a Redis server that does not run."""
    settings.CACHES = {"default": DOWN_CACHES["Redis is down"]}


@pytest.mark.usefixtures("is_down")
@for_each_row(
    "function, expected",
    [
        (lambda: cache.get_cached("key"), None),
        (lambda: cache.set_cached("key", 1, seconds=60), None),
        (lambda: cache.get_encrypted("key"), ""),
        (lambda: cache.set_encrypted("key", "text", seconds=60), None),
        (lambda: cache.acquire_once("key", seconds=60), True),
        (lambda: cache.is_acquired("key"), False),
        (lambda: cache.delete_cached("key"), None),
        (lambda: cache.increment_count("key", 60), (1, 60)),
        (lambda: cache.count_in_period("key"), (0, 0)),
        (lambda: cache.decrement_counts(["key"]), None),
    ],
)
def test_each_function_logs_a_warning_and_returns_if_the_cache_is_down(
    function: Callable[[], object], expected: object, caplog: pytest.LogCaptureFixture
) -> None:
    cache._logged_at.clear()
    caplog.clear()
    with caplog.at_level(logging.INFO, "ciam_django"):
        assert function() == expected

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Django's cache is down" in caplog.text


@pytest.mark.usefixtures("is_down")
def test_a_failure_of_the_cache_is_logged_once_a_minute_for_each_level(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    with caplog.at_level(logging.INFO, "ciam_django"):
        for seconds in (0, 59, 60, 119):
            with monkeypatch.context() as patch:
                patch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
                cache.get_cached("key", level=logging.INFO)
                cache.delete_cached("key")

    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"] * 2


def test_a_subtraction_lowers_the_count_of_the_period_but_not_below_zero() -> None:
    cache.increment_count("key", 60)
    cache.increment_count("key", 60)
    cache.decrement_counts(["key"])

    assert cache.increment_count("key", 60)[0] == 2
    for _ in range(4):
        cache.decrement_counts(["key"])
    assert cache.increment_count("key", 60)[0] == 1


@pytest.mark.parametrize(("passed", "wait"), [(0, 60), (1.5, 59), (59.5, 1), (60, 1)])
def test_the_wait_ends_with_the_period_and_is_at_least_a_second(
    passed: float, wait: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    cache.increment_count("key", 60)
    # The cache of the tests ends its entries at the same time.
    monkeypatch.setattr(LocMemCache, "_has_expired", lambda self, key: False)
    monkeypatch.setattr(time, "time", lambda: now + passed)

    assert cache.increment_count("key", 60) == (2, wait)


# --- Backends that hide failures, and caches that lose entries --------------------------------


HIDING = [DOWN_CACHES[f"{name} hides failures"] for name in ("django-redis", "PyMemcache")]


@pytest.mark.parametrize("backend", HIDING, ids=lambda backend: backend["BACKEND"])
@for_each_row(
    "function, expected",
    [
        (lambda: cache.acquire_once("key", seconds=60), True),
        (lambda: cache.increment_count("key", 60), (1, 60)),
    ],
)
def test_a_hidden_failure_is_logged_and_the_caller_goes_on(
    backend: dict[str, Any],
    function: Callable[[], object],
    expected: object,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.CACHES = {"default": backend}
    cache._logged_at.clear()
    caplog.clear()
    with caplog.at_level(logging.INFO, "ciam_django"):
        assert function() == expected

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "HiddenFailureError" in caplog.text


class LateFailureCache(LocMemCache):
    """A cache whose failure begins before ``incr`` and is hidden."""

    def incr(self, *args: Any, **kwargs: Any) -> Any:
        return None


class ReleasingCache(LocMemCache):
    """A cache in which another request deletes the key after the first refused ``add``."""

    def add(self, key: Any, *args: Any, **kwargs: Any) -> bool:
        is_added = super().add(key, *args, **kwargs)
        if not is_added:
            self.delete(key)
        return is_added


class RacingCache(LocMemCache):
    """A cache in which another request stores the first count at the same moment."""

    def add(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> bool:
        if ".until" not in key:
            super().add(key, 1, *args, **kwargs)
        return super().add(key, value, *args, **kwargs)


class RacingAndReleasingCache(RacingCache, ReleasingCache):
    """A cache that also deletes the count of the other request at once, to make room."""


def use_backend_of_this_module(settings: Settings, name: str) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.{name}", "LOCATION": name}}
    django_cache.clear()


def test_a_hidden_failure_during_a_count_is_logged(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    use_backend_of_this_module(settings, "LateFailureCache")

    assert cache.increment_count("key", 60) == (1, 60)
    assert "HiddenFailureError" in caplog.text


@pytest.mark.parametrize(("name", "count"), [("RacingCache", 2), ("RacingAndReleasingCache", 1)])
def test_the_first_counts_of_two_requests_are_exact_and_no_failure(
    name: str, count: int, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    use_backend_of_this_module(settings, name)

    assert cache.increment_count("key", 60) == (count, 60)
    assert not caplog.records


def test_a_key_that_is_released_at_the_same_moment_is_acquired_and_is_no_failure(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    use_backend_of_this_module(settings, "ReleasingCache")

    assert cache.acquire_once("key", seconds=60)
    assert cache.acquire_once("key", seconds=60)
    assert not caplog.records


@pytest.mark.parametrize("kind", FORGETFUL_CACHES)
def test_a_cache_that_loses_entries_counts_nothing_and_is_no_failure(
    kind: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {"default": FORGETFUL_CACHES[kind]}

    for _ in range(3):
        assert cache.increment_count("key", 60) == (1, 60)
        assert cache.acquire_once("key", seconds=60)
        cache.set_cached("other", 1, seconds=60)
        cache.decrement_counts(["key"])
    assert not caplog.records


def test_a_counter_that_is_deleted_during_a_subtraction_is_no_failure(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.increment_count("key", 60)

    def get_and_delete(self: LocMemCache, key: Any, *args: Any, **kwargs: Any) -> Any:
        value = get(self, key, *args, **kwargs)
        if ".until" not in key:
            self.delete(key)
        return value

    get = LocMemCache.get
    monkeypatch.setattr(LocMemCache, "get", get_and_delete)
    cache.decrement_counts(["key"])
    monkeypatch.undo()

    assert not caplog.records
    assert cache.increment_count("key", 60)[0] == 1


# --- Forged values ----------------------------------------------------------------------------


def stored(key: str) -> Any:
    return django_cache.get(f"{key}.{cache.FORMAT}")


def store(key: str, value: object) -> None:
    django_cache.set(f"{key}.{cache.FORMAT}", value)


VALUES: list[Any] = [1, "text", None, True, 1.5, [1, [2]], {"a": {"b": None}}, "状态 \ud800"]


@for_each_row("value", VALUES)
def test_a_stored_value_is_returned_and_can_not_be_read_in_the_cache(value: Any) -> None:
    cache.set_cached("key", value, seconds=60)

    assert cache.get_cached("key") == value
    assert str(stored("key")).startswith("gAAAA")


def test_a_key_is_acquired_once() -> None:
    assert not cache.is_acquired("key")
    assert [cache.acquire_once("key", seconds=60) for _ in range(2)] == [True, False]
    assert cache.is_acquired("key")
    assert cache.get_cached("key") is None


def forged_values() -> list[Any]:
    encrypt = fernet_for("another purpose").encrypt
    return [
        1, "text", "状态", b"text", [1], {"a": 1}, encrypt(b'["key.2", 9e9, 1]').decode(),
        stored("other"),
    ]  # fmt: skip


def test_a_value_that_another_program_or_another_key_has_stored_is_absent() -> None:
    cache.set_cached("other", 1, seconds=60)
    assert cache.get_cached("other") == 1

    for value in forged_values():
        store("key", value)
        assert cache.get_cached("key") is None, value


def test_a_value_ends_even_if_the_cache_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.set_cached("key", 1, seconds=60)
    value, now = stored("key"), time.time()
    for seconds, expected in ((59, 1), (61, None)):
        store("key", value)
        monkeypatch.setattr(time, "time", lambda seconds=seconds: now + seconds)
        assert cache.get_cached("key") == expected
        monkeypatch.undo()


def test_a_value_stays_readable_while_its_key_is_a_fallback(settings: Settings) -> None:
    cache.set_cached("key", 1, seconds=60)
    old_key, settings.SECRET_KEY = settings.SECRET_KEY, "new"
    assert cache.get_cached("key") is None
    settings.SECRET_KEY_FALLBACKS = [old_key]

    assert cache.get_cached("key") == 1


def test_another_format_shares_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.set_cached("key", 1, seconds=60)
    cache.acquire_once("once", seconds=60)
    cache.increment_count("count", 60)
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)

    assert cache.get_cached("key") is None
    assert cache.acquire_once("once", seconds=60)
    assert cache.increment_count("count", 60)[0] == 1


# --- A server that does not answer ------------------------------------------------------------


class SilentCache(LocMemCache):
    """A cache whose server does not answer within the timeout of the backend."""

    calls: ClassVar[list[str]] = []

    def _fail(self, name: str) -> None:
        self.calls.append(name)
        time.sleep(cache._SLOW_SECONDS)
        raise TimeoutError

    def get(self, *args: Any, **kwargs: Any) -> Any:
        self._fail("get")

    def add(self, *args: Any, **kwargs: Any) -> Any:
        self._fail("add")

    def set(self, *args: Any, **kwargs: Any) -> Any:
        self._fail("set")


class HidingSilentCache(SilentCache):
    """A silent cache that hides its failures."""

    def _fail(self, name: str) -> None:
        self.calls.append(name)
        time.sleep(cache._SLOW_SECONDS / 3)


@pytest.mark.slow("waits for deadlines")
@pytest.mark.parametrize(
    ("name", "calls"),
    [("SilentCache", ["get"]), ("HidingSilentCache", ["get", "add", "get", "add", "get"])],
)
def test_after_a_slow_failure_the_cache_is_not_called_for_some_seconds(
    name: str, calls: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.{name}", "LOCATION": name}}
    monkeypatch.setattr(cache.cache, "paused_until", 0.0)
    monkeypatch.setattr(SilentCache, "calls", [])
    for _ in range(3):
        assert cache.increment_count("key", 60) == (1, 60)
        assert cache.acquire_once("key", seconds=60)
        cache.set_cached("key", 1, seconds=60)
        assert cache.get_cached("key") is None

    assert SilentCache.calls == calls
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + cache._PAUSE_SECONDS)
    cache.get_cached("key")
    assert SilentCache.calls == [*calls, "get"]


@pytest.mark.parametrize(("seconds", "pause"), [(0.25, 0), (0.35, 5)])
def test_a_failure_is_slow_after_0_3_seconds(
    seconds: float, pause: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(cache.cache, "paused_until", 0.0)
    cache.cache.pause_after_slow_failure(1000.0 - seconds)

    assert cache.cache.paused_until == (1000.0 + pause if pause else 0.0)


def test_a_line_during_the_pause_names_the_failure_before_the_pause(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {"default": DOWN_CACHES["Redis is down"]}
    monkeypatch.setattr(cache, "_logged_at", {})
    monkeypatch.setattr(cache, "_SLOW_SECONDS", 0.0)
    monkeypatch.setattr(cache.cache, "paused_until", 0.0)
    caplog.set_level(logging.INFO, "ciam_django")
    cache.get_cached("key", level=logging.INFO)
    cache.get_cached("key")

    assert cache.cache.paused_until > time.monotonic()
    lines = [(entry.levelname, vars(entry)["ciam_error"]) for entry in caplog.records]
    assert [level for level, _ in lines] == ["INFO", "WARNING"]
    assert {error for _, error in lines} == {"redis.exceptions.ConnectionError"}


def test_after_a_quick_failure_the_cache_is_called_again(
    settings: Settings, redis: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each failure is quick, also on a busy machine.
    monkeypatch.setattr(cache, "_SLOW_SECONDS", 60)
    settings.CACHES = {"default": DOWN_CACHES["Redis is down"]}
    assert cache.acquire_once("key", seconds=60)
    location = f"unix://{redis}"
    settings.CACHES = {"default": {**DOWN_CACHES["Redis is down"], "LOCATION": location}}

    assert [cache.acquire_once("key", seconds=60) for _ in range(2)] == [True, False]
