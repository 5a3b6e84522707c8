"""What all processes share: Django's cache, without which a sign-in goes on all the same."""

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

# Any cache backend's own exception may come, and none of them is worth a failed sign-in.


def get_cached(key: str, *, level: int = logging.WARNING) -> Any:
    """What is kept under the key; None where there is nothing, or no cache, which is logged."""
    try:
        return cache.get(key)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, level)
        return None


def set_cached(key: str, value: Any, *, seconds: int) -> None:
    """Keep a value for so long."""
    try:
        cache.set(key, value, timeout=seconds)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)


def acquire_once(key: str, *, seconds: int) -> bool:
    """Whether nobody has asked this of the key for so long; everybody is first without a cache."""
    try:
        return cache.add(key, 1, timeout=seconds)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)
        return True


def delete_cached(key: str) -> None:
    """Keep it no longer."""
    try:
        cache.delete(key)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)


def increment_count(key: str, seconds: int) -> tuple[int, int]:
    """How often this key was counted since its time began, now included; seconds until it ends.

    The first count begins the time. Exact under concurrency where the cache's ``add`` and ``incr``
    are: on Redis, memcached and in one process. Without a cache each count is the first.
    """
    try:
        now = time.time()
        cache.add(f"{key}.until", now + seconds, timeout=seconds)
        # None where it has ended since: the next to count begins anew.
        until = cache.get(f"{key}.until") or now + seconds
        counter = f"{key}.{until}"
        cache.add(counter, 0, timeout=seconds)
        return cache.incr(counter), max(1, math.ceil(until - now))
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)
        return 1, seconds


def count_all(counters: Iterable[tuple[str, int, int]]) -> int:
    """Increment each count until one exceeds its limit; the seconds to wait then, or 0.

    A counter is a key, a limit, and the seconds that it counts for.
    """
    for key, limit, seconds in counters:
        count, wait = increment_count(key, seconds)
        if count > limit:
            return wait
    return 0


def uncount_all(counters: Iterable[tuple[str, int, int]]) -> None:
    """Take one count back from each counter of ``count_all``."""
    for key, _limit, _seconds in counters:
        decrement_count(key)


def decrement_count(key: str) -> None:
    """Take one count back."""
    try:
        until = cache.get(f"{key}.until")
        if until is not None and cache.get(f"{key}.{until}"):
            cache.decr(f"{key}.{until}")
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)


# Level -> when: what strangers can bring about must not keep a warning back.
_logged_at: dict[int, float] = {}


def _log_cache_failure(error: Exception, level: int) -> None:
    now = time.monotonic()
    if now - _logged_at.get(level, -_LOG_INTERVAL) < _LOG_INTERVAL:
        return
    _logged_at[level] = now
    # The type alone: the words may hold the cache's address with its password.
    logger.log(level, "Django's cache is down (%s), so that processes share nothing.", type(error))
