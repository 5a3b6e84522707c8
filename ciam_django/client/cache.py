"""Share data between all processes in Django's cache; a broken cache never fails a sign-in."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from typing import Any, Final

from django.core.cache import cache

logger = logging.getLogger("ciam_django")

# Seconds.
_LOG_INTERVAL: Final = 60

# Each cache backend raises exceptions of its own. No exception of the cache may fail a sign-in.


def get_cached(key: str, *, level: int = logging.WARNING) -> Any:
    """Return the value of the key; None without a value, or if the cache fails, which is logged."""
    try:
        return cache.get(key)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, level)
        return None


def set_cached(key: str, value: Any, *, seconds: int) -> None:
    """Store a value for this number of seconds."""
    try:
        cache.set(key, value, timeout=seconds)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)


def acquire_once(key: str, *, seconds: int) -> bool:
    """Return True for the first call within the seconds, and for each call if the cache fails."""
    try:
        return cache.add(key, 1, timeout=seconds)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)
        return True


def delete_cached(key: str) -> None:
    """Delete the value of the key."""
    try:
        cache.delete(key)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)


def increment_count(key: str, seconds: int) -> tuple[int, int]:
    """Count the key; return its count in the current period, and the seconds until the period ends.

    The first count begins a period. Counts are exact under concurrency if the cache's ``add`` and
    ``incr`` are atomic: on Redis, on memcached and in one process. If the cache fails, each count
    is 1.
    """
    try:
        now = time.time()
        cache.add(f"{key}.until", now + seconds, timeout=seconds)
        # None if the period has just ended: the next count begins a new period.
        until = cache.get(f"{key}.until") or now + seconds
        counter = f"{key}.{until}"
        cache.add(counter, 0, timeout=seconds)
        return cache.incr(counter), max(1, math.ceil(until - now))
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)
        return 1, seconds


def count_all(counters: Iterable[tuple[str, int, int]]) -> int:
    """Increment the counters until a count exceeds its limit; return the seconds to wait, or 0.

    A counter is a key, a limit, and a period in seconds.
    """
    for key, limit, seconds in counters:
        count, wait = increment_count(key, seconds)
        if count > limit:
            return wait
    return 0


def uncount_all(counters: Iterable[tuple[str, int, int]]) -> None:
    """Subtract one count from each counter of ``count_all``."""
    for key, _limit, _seconds in counters:
        decrement_count(key)


def decrement_count(key: str) -> None:
    """Subtract one count from the key."""
    try:
        until = cache.get(f"{key}.until")
        if until is not None and cache.get(f"{key}.{until}"):
            cache.decr(f"{key}.{until}")
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)


# Level -> time of the last line: lines that anonymous users can cause must not suppress a warning.
_logged_at: dict[int, float] = {}


def _log_cache_failure(error: Exception, level: int) -> None:
    now = time.monotonic()
    if now - _logged_at.get(level, -_LOG_INTERVAL) < _LOG_INTERVAL:
        return
    _logged_at[level] = now
    # Only the type is logged: the text may hold the cache's address with its password.
    logger.log(level, "Django's cache is down (%s), so that processes share nothing.", type(error))
