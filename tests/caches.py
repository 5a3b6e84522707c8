"""The caches that a project can have: servers that are down, and backends that forget entries.

No server listens at the address of the down servers, so each call fails at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.core.cache.backends.redis import RedisCache

_NO_SERVER: Final = "redis://127.0.0.1:1"


class HidingRedisCache(RedisCache):
    """A backend that hides failures as django-redis does with ``IGNORE_EXCEPTIONS``.

    A failed ``get`` returns the default, and each other failed method returns None.
    """

    hidden_result: bool | None = None

    def _hide(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception:  # noqa: BLE001  (as the backend does)
            return self.hidden_result

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        try:
            return super().get(key, default, version)
        except Exception:  # noqa: BLE001  (as the backend does)
            return default

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._hide(super().get_many, *args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return self._hide(super().add, *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._hide(super().set, *args, **kwargs)

    def incr(self, *args: Any, **kwargs: Any) -> Any:
        return self._hide(super().incr, *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._hide(super().delete, *args, **kwargs)


class FalseRedisCache(HidingRedisCache):
    """A backend that hides failures as PyMemcacheCache does with ``ignore_exc``."""

    hidden_result = False


# Kind of cache -> the default of ``CACHES``. Each call to these caches fails.
DOWN_CACHES: Final[Mapping[str, dict[str, Any]]] = {
    "Redis is down": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": _NO_SERVER,
    },
    "django-redis hides failures": {
        "BACKEND": "tests.caches.HidingRedisCache",
        "LOCATION": _NO_SERVER,
    },
    "PyMemcache hides failures": {
        "BACKEND": "tests.caches.FalseRedisCache",
        "LOCATION": _NO_SERVER,
    },
    "the table is missing": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "missing",
    },
}
# Kind of cache -> the default of ``CACHES``. These caches do not fail, but lose entries.
FORGETFUL_CACHES: Final[Mapping[str, dict[str, Any]]] = {
    "no cache": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    "the cache is full": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "full",
        # Each new entry deletes all other entries.
        "OPTIONS": {"MAX_ENTRIES": 1, "CULL_FREQUENCY": 0},
    },
}
