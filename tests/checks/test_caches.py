"""The caches that are not good enough, and the classes behind the paths of settings."""

from __future__ import annotations

import pytest
from django.core.cache.backends.locmem import LocMemCache
from pytest_django.fixtures import Settings

from ciam_django.checks.caches import cache_fault, is_subclass_path

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


class CacheOfProject(LocMemCache):
    """A subclass in a project."""


@pytest.mark.parametrize(
    ("backend", "fault"),
    [
        (LOCMEM, f"{LOCMEM!r}, which each process has for itself"),
        (f"{__name__}.CacheOfProject", "which each process has for itself"),
        ("django.core.cache.backends.dummy.DummyCache", "which stores nothing"),
        ("django.core.cache.backends.redis.RedisCache", ""),
        ("no_package.Cache", ""),
    ],
)
def test_a_cache_that_forgets_has_a_fault(backend: str, fault: str, settings: Settings) -> None:
    settings.CACHES = {"default": {"BACKEND": backend}}

    assert cache_fault("default").endswith(fault)
    assert bool(cache_fault("default")) is bool(fault)
    assert cache_fault("other") == ""


def test_a_path_is_compared_with_the_class_and_its_bases() -> None:
    assert is_subclass_path(LOCMEM, f"{__name__}.CacheOfProject")
    assert is_subclass_path("a.module.that.Is", "a.module.that.Is")
    assert not is_subclass_path(LOCMEM, f"{__name__}.LOCMEM")
