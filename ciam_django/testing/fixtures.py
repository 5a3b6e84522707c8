"""The pytest fixture ``fake_ciam``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from django.core.cache import cache

from ciam_django.testing.server import FakeCiam
from ciam_django.testing.tenant import SLOW_SECONDS


@pytest.fixture(scope="session")
def _running_fake_ciam() -> Iterator[FakeCiam]:
    with FakeCiam() as fake:
        yield fake


@pytest.fixture
def fake_ciam(_running_fake_ciam: FakeCiam) -> FakeCiam:
    """A CIAM on loopback that nobody has told to fail; one server for the whole session."""
    _running_fake_ciam.reset()
    # What reset() leaves alone, for it is set up and not done: a test's own is no other test's.
    _running_fake_ciam.redirect_uris.clear()
    _running_fake_ciam.slow_seconds = SLOW_SECONDS
    # What ciam_django keeps of it in Django's cache, for hours, is of an earlier test's CIAM.
    cache.delete_many(cache_keys_of(_running_fake_ciam))
    return _running_fake_ciam


def cache_keys_of(fake: FakeCiam) -> list[str]:
    """Under which ``ciam_django`` keeps what the fake publishes."""
    return [
        f"ciam_django.kept.{hashlib.sha256(name.encode()).hexdigest()}{suffix}"
        for name in fake.cached_document_names
        for suffix in ("", ".asked", ".fetching", ".failed")
    ]
