"""Test that a failure of Django's cache is logged and stops no caller."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest
from pytest_django.fixtures import Settings

from ciam_django.client import cache
from tests.rows import for_each_row


@pytest.fixture
def is_down(settings: Settings) -> None:
    """Let Django's cache be a Redis server that does not run."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }


@pytest.mark.usefixtures("is_down")
@for_each_row(
    "function, expected",
    [
        (lambda: cache.get_cached("key"), None),
        (lambda: cache.set_cached("key", 1, seconds=60), None),
        (lambda: cache.acquire_once("key", seconds=60), True),
        (lambda: cache.delete_cached("key"), None),
        (lambda: cache.increment_count("key", 60), (1, 60)),
        (lambda: cache.increment_until_limit([("key", 1, 60)]), 0),
        (lambda: cache.decrement_counts([("key", 1, 60)]), None),
        (lambda: cache.decrement_count("key"), None),
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
    cache.decrement_count("key")

    assert cache.increment_count("key", 60)[0] == 2
    for _ in range(4):
        cache.decrement_count("key")
    assert cache.increment_count("key", 60)[0] == 1
