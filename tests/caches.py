"""The caches that a project can have: servers that are down, backends that forget entries, and one
that keeps all entries.

No server listens at the address of the down servers, so each call fails at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
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


class ForgettingCache(BaseCache):
    """A backend that is new to this package, and whose ``add`` always succeeds."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return True

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return default

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return False


def make_key(key: str, prefix: str, version: int) -> str:
    """Return the key of an entry: a function of a project for ``KEY_FUNCTION``."""
    return f"shop:{prefix}:{version}:{key}"


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


class SharedCache(BaseCache):
    """A cache that keeps all entries, as Redis does, in the memory of one process.

    ``calls`` has the names of the methods that were called.
    """

    _memory: Any = LocMemCache("shared", {"OPTIONS": {"MAX_ENTRIES": 10**6}})
    calls: ClassVar[list[str]] = []

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        self.calls.append("add")
        return bool(self._memory.add(*args, **kwargs))

    def get(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("get")
        return self._memory.get(*args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> None:
        self.calls.append("set")
        self._memory.set(*args, **kwargs)

    def incr(self, *args: Any, **kwargs: Any) -> int:
        self.calls.append("incr")
        return int(self._memory.incr(*args, **kwargs))

    def get_many(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        self.calls.append("get_many")
        return dict(self._memory.get_many(*args, **kwargs))

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        self.calls.append("delete")
        return bool(self._memory.delete(*args, **kwargs))

    def clear(self) -> None:
        self.calls.clear()
        self._memory.clear()


SHARED_CACHE: Final[Mapping[str, Any]] = {"default": {"BACKEND": "tests.caches.SharedCache"}}
