"""Share data between processes through Django's cache.

Failures of the cache are logged and do not stop a sign-in.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from typing import Any, Final

from django.core.cache import cache

logger = logging.getLogger("ciam_django")

# Seconds between two log lines about the cache with the same level.
_LOG_INTERVAL: Final = 60

# Cache backends raise exceptions of their own, so these functions catch Exception.


def get_cached(key: str, *, level: int = logging.WARNING) -> Any:
    """Return the value of the key; None if the key has no value, or if the cache fails.

    ``level`` is the level of the log line about a failure of the cache.
    """
    try:
        return cache.get(key)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, level)
        return None


def set_cached(key: str, value: Any, *, seconds: int) -> None:
    """Store the value for ``seconds`` seconds; do nothing if the cache fails."""
    try:
        cache.set(key, value, timeout=seconds)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)


def acquire_once(key: str, *, seconds: int) -> bool:
    """Store the key for ``seconds`` seconds.

    Return True if the key was not stored yet, or if the cache fails.
    """
    try:
        return cache.add(key, 1, timeout=seconds)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)
        return True


def delete_cached(key: str) -> None:
    """Delete the value of the key; do nothing if the cache fails."""
    try:
        cache.delete(key)
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)


def increment_count(key: str, seconds: int) -> tuple[int, int]:
    """Add one to the key's count.

    Return the count in the current period of ``seconds`` seconds, and the seconds until the period
    ends. The first count begins a period. The counts of concurrent requests are exact if the
    cache's ``add`` and ``incr`` are atomic: with Redis, with memcached, and within one process. If
    the cache fails, return the count 1 and ``seconds``.
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


def increment_until_limit(counters: Iterable[tuple[str, int, int]]) -> int:
    """Increment the counters in order, and stop at the first count above its limit.

    A counter is a key, a limit, and a period in seconds. Return the seconds until the period of
    this count ends, or 0 if each count is within its limit.
    """
    for key, limit, seconds in counters:
        count, wait = increment_count(key, seconds)
        if count > limit:
            return wait
    return 0


def decrement_counts(counters: Iterable[tuple[str, int, int]]) -> None:
    """Subtract one from each counter. Call this only if ``increment_until_limit`` returned 0."""
    for key, _limit, _seconds in counters:
        decrement_count(key)


def decrement_count(key: str) -> None:
    """Subtract one from the key's count in the current period, if the count is above 0."""
    try:
        until = cache.get(f"{key}.until")
        if until is not None and cache.get(f"{key}.{until}"):
            cache.decr(f"{key}.{until}")
    except Exception as error:  # noqa: BLE001
        _log_cache_failure(error, logging.WARNING)


# Level -> time of the last line. Each level has its own time, because the lines that anonymous
# users can cause must not suppress a warning.
_logged_at: dict[int, float] = {}


def _log_cache_failure(error: Exception, level: int) -> None:
    """Log the failure, at most once in ``_LOG_INTERVAL`` for each level."""
    now = time.monotonic()
    if now - _logged_at.get(level, -_LOG_INTERVAL) < _LOG_INTERVAL:
        return
    _logged_at[level] = now
    # Only the type is logged: the text may hold the cache's address with its password.
    logger.log(level, "Django's cache is down (%s). Processes can't share data.", type(error))
