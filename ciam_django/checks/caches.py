"""Find the caches that are not good enough, and the classes behind the paths of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.conf import settings
from django.utils.module_loading import import_string

CACHE_BACKENDS: Final = "django.core.cache.backends"
# Cache backend -> the reason why the cache is not good enough. Each backend but the first deletes
# entries above MAX_ENTRIES, whose default is 300.
_FORGETFUL_CACHES: Final[Mapping[str, str]] = {
    f"{CACHE_BACKENDS}.dummy.DummyCache": "which stores nothing",
    f"{CACHE_BACKENDS}.locmem.LocMemCache": "which each process has for itself",
    f"{CACHE_BACKENDS}.db.DatabaseCache": "which deletes entries and does not count exactly",
    f"{CACHE_BACKENDS}.filebased.FileBasedCache": (
        "which deletes entries and does not count exactly"
    ),
}


def cache_fault(alias: str) -> str:
    """Return the backend of a cache and the reason why it is not good enough; empty for others."""
    backend = settings.CACHES.get(alias, {}).get("BACKEND", "")
    for class_path, reason in _FORGETFUL_CACHES.items():
        if is_subclass_path(class_path, backend):
            return f"{backend!r}, {reason}"
    return ""


def is_subclass_path(class_path: str, path: str) -> bool:
    """Return True if ``path`` is the path of the class ``class_path`` or of its subclass."""
    if path == class_path:
        # A module with models can't be imported before its app is installed.
        return True
    try:
        imported = import_string(path)
    except Exception:  # noqa: BLE001  (the module of a project can raise anything)
        # Django reports paths that can't be imported.
        return False
    classes = getattr(imported, "__mro__", ())
    return class_path in [f"{cls.__module__}.{cls.__qualname__}" for cls in classes]
