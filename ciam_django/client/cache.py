"""Share data between processes through Django's cache.

A failure of the cache is logged and does not stop a sign-in, even if the backend hides the failure,
as django-redis does with ``IGNORE_EXCEPTIONS`` and PyMemcache with ``ignore_exc``.

The values are encrypted, and each value is valid for its own key only. So a person who can write to
the cache can neither forge a value nor copy a value to another key. Such a person can still store
and delete keys, and change counts.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from cryptography.fernet import InvalidToken
from django.core.cache import cache as django_cache

from ciam_django.client.crypto import fernet_for
from ciam_django.events import CACHE_FAILED, NO_LINE, record

# The keys contain this number. A version of this package that stores other content has another
# number, so that no version reads the content of the other version during a deploy.
FORMAT: Final = 2
# The key of the encrypted values depends on this text.
_PURPOSE: Final = "ciam_django.client.cache"
# The number of keys that one call asks for.
_CHUNK_SIZE: Final = 500
# Seconds between two log lines about the cache with the same level.
_LOG_INTERVAL: Final = 60
# Seconds after which a failed call is slow, and seconds without calls after a slow failure.
_SLOW_SECONDS: Final = 0.3
_PAUSE_SECONDS: Final = 5


class HiddenFailureError(Exception):
    """The cache has failed, and its backend has hidden the failure."""


class CachePausedError(Exception):
    """The cache is not called, because a call has failed slowly in the last seconds."""


class _PausingCache:
    """Django's cache; after a slow failure, each call fails at once for ``_PAUSE_SECONDS``.

    A sign-in calls the cache many times. If the server does not answer, each call would last as
    long as the timeout of the backend.
    """

    def __init__(self) -> None:
        self.paused_until = 0.0
        # The class of the last failure, which the log names during the pause.
        self.failure: type[Exception] = HiddenFailureError

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            started_at = time.monotonic()
            if started_at < self.paused_until:
                raise CachePausedError
            try:
                return getattr(django_cache, name)(*args, **kwargs)
            except ValueError:
                # ``incr`` and ``decr`` raise this exception if the key has no value.
                raise
            except Exception as error:
                self.failure = type(error)
                self.pause_after_slow_failure(started_at)
                raise

        return call

    def pause(self, seconds: float) -> None:
        """Let each call of the next ``seconds`` seconds fail at once."""
        self.paused_until = time.monotonic() + seconds

    def pause_after_slow_failure(self, started_at: float) -> None:
        """Pause if the call that has just failed was slow; ``started_at`` is its start."""
        if time.monotonic() - started_at >= _SLOW_SECONDS:
            self.pause(_PAUSE_SECONDS)


cache: Final = _PausingCache()


def get_cached(key: str, *, level: int = logging.WARNING) -> Any:
    """Return the value of the key; None if the key has no valid value, or if the cache fails.

    ``level`` is the level of the log line about a failure of the cache.
    """
    stored_key = _stored_key(key)
    return _decrypted(stored_key, _get(stored_key, level))


def get_many_cached(keys: Sequence[str]) -> dict[str, Any]:
    """Return key -> value of each key with a valid value; fewer values if the cache fails."""
    values = {key: _decrypted(_stored_key(key), stored) for key, stored in _get_all(keys).items()}
    return {key: value for key, value in values.items() if value is not None}


def get_numbers(keys: Sequence[str]) -> dict[str, int]:
    """Return key -> number of each key with a number of ``increment_number``."""
    return {key: number for key, number in _get_all(keys).items() if type(number) is int}


def _get_all(keys: Sequence[str]) -> dict[str, Any]:
    """Return key -> stored value; keys that are read after a failure of the cache are absent."""
    found: dict[str, Any] = {}
    with _LoggingFailure(logging.WARNING):
        for start in range(0, len(keys), _CHUNK_SIZE):
            by_stored_key = {_stored_key(key): key for key in keys[start : start + _CHUNK_SIZE]}
            found.update(
                (by_stored_key[name], value) for name, value in _get_many(by_stored_key).items()
            )
    return found


def set_cached(key: str, value: Any, *, seconds: int, level: int = logging.WARNING) -> None:
    """Store the value, as JSON, for ``seconds`` seconds; do nothing if the cache fails.

    ``level`` is the level of the log line about a failure of the cache.
    """
    stored_key = _stored_key(key)
    _set(stored_key, _encrypted(stored_key, value, seconds), seconds, level)


def set_encrypted(key: str, encrypted: str, *, seconds: int) -> None:
    """Store a text that the caller has encrypted; do nothing if the cache fails.

    The caller's encryption has to prove that the text belongs to the key and has not ended.
    """
    _set(_stored_key(key), encrypted, seconds, logging.WARNING)


def get_encrypted(key: str) -> str:
    """Return the text of ``set_encrypted``, which may be of another program, or an empty text."""
    stored = _get(_stored_key(key), logging.WARNING)
    return stored if isinstance(stored, str) else ""


def acquire_once(key: str, *, seconds: int) -> bool:
    """Store the key for ``seconds`` seconds; ``is_acquired`` tells if the key is stored.

    Return True if the key was not stored yet, or if the cache fails.
    """
    with _LoggingFailure(logging.WARNING):
        return _add_or_get(_stored_key(key), round(time.time()), seconds)[0]
    return True


def is_acquired(key: str, *, level: int = logging.WARNING) -> bool:
    """Return True if ``acquire_once`` has stored the key; False if the cache fails.

    ``level`` is the level of the log line about a failure of the cache.
    """
    return _get(_stored_key(key), level) is not None


def acquired_keys(keys: Collection[str]) -> list[str]:
    """Return the keys that ``acquire_once`` has stored; return none if the cache fails."""
    stored_keys = {_stored_key(key): key for key in keys}
    with _LoggingFailure(logging.WARNING):
        return [stored_keys[name] for name in _get_many(stored_keys)]
    return []


def try_cache() -> bool:
    """Store a value for a minute and read the value; return True if both succeed."""
    with _LoggingFailure(logging.INFO):
        _add_or_get(_stored_key("ciam_django.health"), 1, _LOG_INTERVAL)
        return True
    return False


def acquired_at(key: str) -> int:
    """Return the time at which ``acquire_once`` has stored the key; 0 if it is unknown."""
    stored = _get(_stored_key(key), logging.WARNING)
    return stored if isinstance(stored, int) else 0


def delete_cached(key: str) -> None:
    """Delete the value of the key; do nothing if the cache fails."""
    with _LoggingFailure(logging.WARNING):
        cache.delete(_stored_key(key))


def _get(stored_key: str, level: int) -> Any:
    with _LoggingFailure(level):
        return cache.get(stored_key)
    return None


def _set(stored_key: str, encrypted: str, seconds: int, level: int) -> None:
    with _LoggingFailure(level):
        cache.set(stored_key, encrypted, timeout=seconds)


def _add_or_get(stored_key: str, value: Any, seconds: int) -> tuple[bool, Any]:
    """Store the value if the key has no value.

    Return True and the value, or False and the value that was stored before. Raises
    ``HiddenFailureError`` if the cache neither stores a value nor has a value.
    """
    started_at = time.monotonic()
    # After the first turn, another request may have deleted the value that was stored before.
    for _ in range(2):
        if cache.add(stored_key, value, timeout=seconds):
            return True, value
        stored = cache.get(stored_key)
        if stored is not None:
            return False, stored
    cache.failure = HiddenFailureError
    cache.pause_after_slow_failure(started_at)
    raise HiddenFailureError


def _stored_key(key: str) -> str:
    return f"{key}.{FORMAT}"


def _encrypted(stored_key: str, value: Any, seconds: int) -> str:
    """Return the value, encrypted with its key and with the time of its end."""
    content = json.dumps([stored_key, time.time() + seconds, value])
    return fernet_for(_PURPOSE).encrypt(content.encode()).decode()


def _decrypted(stored_key: str, encrypted: object) -> Any:
    """Return the value; None if the text is not ours, has ended, or belongs to another key."""
    if not isinstance(encrypted, str):
        return None
    try:
        key, until, value = json.loads(fernet_for(_PURPOSE).decrypt(encrypted))
    except (InvalidToken, ValueError):
        # ``ValueError``: the text is not ASCII.
        return None
    return value if key == stored_key and time.time() < until else None


def increment_number(key: str, *, seconds: int, level: int = logging.WARNING) -> int | None:
    """Add one to the number of the key, and return it; None if the cache fails.

    The number ends ``seconds`` seconds after its first increment. ``level`` is the level of the log
    line about a failure of the cache.
    """
    with _LoggingFailure(level):
        return _add_to_counter(_stored_key(key), seconds)
    return None


def increment_count(key: str, seconds: int) -> tuple[int, int]:
    """Add one to the key's count, and return the result of ``increment_counts`` for the key."""
    return next(increment_counts([(key, seconds)]))


def increment_counts(counters: Sequence[tuple[str, int]]) -> Iterator[tuple[int, int]]:
    """Add one to the count of each (key, seconds) when the caller takes the result of the key.

    A result is the count in the current period of ``seconds`` seconds, and the seconds until the
    period ends. The first count begins a period. The counts of concurrent requests are exact if the
    cache's ``add`` and ``incr`` are atomic: with Redis, with memcached, and within one process. If
    the cache fails, or stores nothing, a result is the count 1 and ``seconds``.
    """
    untils: Mapping[str, float] = {}
    with _LoggingFailure(logging.WARNING):
        # One call for all keys: the periods of most keys have begun already.
        untils = _ends_of_periods([key for key, _ in counters])
    for key, seconds in counters:
        yield _increment(key, seconds, untils.get(key))


def _increment(key: str, seconds: int, until: float | None) -> tuple[int, int]:
    """Add one to the key's count; ``until`` is the end of its period, None if none has begun."""
    with _LoggingFailure(logging.WARNING):
        now = time.time()
        if until is None:
            _, until = _add_or_get(_stored_key(f"{key}.until"), now + seconds, seconds)
        count = _add_to_counter(_stored_key(f"{key}.{until}"), seconds)
        return count, max(1, math.ceil(until - now))
    return 1, seconds


def _add_to_counter(stored_key: str, seconds: int) -> int:
    """Add one to a counter, and return its count. Raises ``HiddenFailureError``."""
    try:
        count = cache.incr(stored_key)
    except ValueError:
        # The first count of the period, unless another request has just stored the first count.
        if cache.add(stored_key, 1, timeout=seconds):
            return 1
        try:
            count = cache.incr(stored_key)
        except ValueError:
            # The cache stores nothing, or has just deleted the counter to make room.
            return 1
    # A backend that hides a failure returns None or False.
    if type(count) is not int:
        raise HiddenFailureError
    return count


def count_in_period(key: str) -> tuple[int, int]:
    """Return the key's count in the current period, and the seconds until the period ends.

    Return 0 and 0 if no period has begun, or if the cache fails.
    """
    with _LoggingFailure(logging.WARNING):
        until = cache.get(_stored_key(f"{key}.until"))
        count = cache.get(_stored_key(f"{key}.{until}")) if until is not None else None
        return (count, max(1, math.ceil(until - time.time()))) if count else (0, 0)
    return 0, 0


def decrement_counts(keys: Sequence[str]) -> None:
    """Subtract one from each key's count in the current period, if the count is above 0."""
    with _LoggingFailure(logging.WARNING):
        untils = _ends_of_periods(keys)
        counters = [_stored_key(f"{key}.{until}") for key, until in untils.items()]
        for counter, count in _get_many(counters).items():
            if count:
                # ``ValueError``: the counter has just been deleted.
                with contextlib.suppress(ValueError):
                    cache.decr(counter)


def _ends_of_periods(keys: Sequence[str]) -> dict[str, float]:
    """Return key -> time at which the key's current period ends.

    A key for which no period has begun is absent.
    """
    stored_keys = {_stored_key(f"{key}.until"): key for key in keys}
    return {stored_keys[name]: until for name, until in _get_many(stored_keys).items()}


def _get_many(stored_keys: Collection[str]) -> Mapping[str, Any]:
    # A backend that hides a failure can return None or False.
    return cache.get_many(stored_keys) or {}


# Level -> time of the last line. Each level has its own time, because the lines that anonymous
# users can cause must not suppress a warning.
_logged_at: dict[int, float] = {}


class _LoggingFailure:
    """A context manager that ends its block at an exception, and logs the exception.

    ``level`` is the level of the line. The backends of the cache raise exceptions of their own.
    """

    def __init__(self, level: int) -> None:
        self._level = level

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Exception):
            _log_cache_failure(error, self._level)
            return True
        return False


def _log_cache_failure(error: Exception, level: int) -> None:
    """Log the failure, at most once in ``_LOG_INTERVAL`` for each level."""
    now = time.monotonic()
    is_line_due = now - _logged_at.get(level, -_LOG_INTERVAL) >= _LOG_INTERVAL
    if is_line_due:
        _logged_at[level] = now
    kind = cache.failure if isinstance(error, CachePausedError) else type(error)
    # Only the type is logged: the text may hold the cache's address with its password.
    record(
        CACHE_FAILED,
        level=level if is_line_due else NO_LINE,
        error=str(kind).removeprefix("<class '").removesuffix("'>"),
    )
