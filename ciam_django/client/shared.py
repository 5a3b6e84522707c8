"""What all processes share: Django's cache, without which a sign-in goes on all the same."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from django.core.cache import cache

logger = logging.getLogger("ciam_django")

# Seconds.
_BETWEEN_WARNINGS: Final = 60

# Any cache backend's own exception may come, and none of them is worth a failed sign-in.


def shared(key: str) -> Any:
    """What is kept under the key; None where there is nothing, or no cache."""
    try:
        return cache.get(key)
    except Exception as error:  # noqa: BLE001
        _warn(error)
        return None


def share(key: str, value: Any, *, seconds: int) -> None:
    """Keep a value for so long."""
    try:
        cache.set(key, value, timeout=seconds)
    except Exception as error:  # noqa: BLE001
        _warn(error)


def is_first(key: str, *, seconds: int) -> bool:
    """Whether nobody has asked this of the key for so long; everybody is first without a cache."""
    try:
        return cache.add(key, 1, timeout=seconds)
    except Exception as error:  # noqa: BLE001
        _warn(error)
        return True


def unshare(key: str) -> None:
    """Keep it no longer."""
    try:
        cache.delete(key)
    except Exception as error:  # noqa: BLE001
        _warn(error)


_warned_at: list[float] = []


def _warn(error: Exception) -> None:
    now = time.monotonic()
    if _warned_at and now - _warned_at[0] < _BETWEEN_WARNINGS:
        return
    _warned_at[:] = [now]
    # The type alone: the words may hold the cache's address with its password.
    logger.warning("Django's cache is down (%s), so that processes share nothing.", type(error))
