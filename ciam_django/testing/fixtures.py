"""The pytest fixture ``fake_ciam``.

The entry point ``pytest11`` of setup.cfg names this module, so that pytest imports the module in
each project. Django and the server are imported when a test uses the fixture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

from ciam_django import testing

if TYPE_CHECKING:
    from ciam_django.testing import FakeCiam

# ``client.cache.FORMAT``: this module imports only modules of ``testing``.
_CACHE_FORMAT: Final = 2


@pytest.fixture(scope="session")
def _running_fake_ciam() -> Iterator[FakeCiam]:
    with testing.FakeCiam() as fake:
        yield fake


@pytest.fixture
def fake_ciam(_running_fake_ciam: FakeCiam) -> FakeCiam:
    """A running ``FakeCiam`` without planned failures; one server serves the whole test session."""
    from django.core.cache import cache  # noqa: PLC0415  (the docstring of the module says why)

    from ciam_django.testing.tenant import SLOW_SECONDS  # noqa: PLC0415  (the same reason)

    _running_fake_ciam.reset()
    # reset() keeps these two settings. A setting of one test must not reach the next test.
    _running_fake_ciam.redirect_uris.clear()
    _running_fake_ciam.slow_seconds = SLOW_SECONDS
    # ciam_django caches the fake's documents for hours, also those of an earlier test.
    cache.delete_many(cache_keys_of(_running_fake_ciam))
    # After a test in which the fake is silent, ciam_django refuses all calls for some seconds.
    circuit_key = f"ciam_django.circuit.{_digest(_running_fake_ciam.url)}"
    states = [f"{circuit_key}.{state}.{_CACHE_FORMAT}" for state in ("silent", "pause", "attempt")]
    cache.delete_many(states)
    cache.set(f"{circuit_key}.answered.{_CACHE_FORMAT}", 1, timeout=600)
    return _running_fake_ciam


def cache_keys_of(fake: FakeCiam) -> list[str]:
    """Return the keys of Django's cache under which ``ciam_django`` caches the fake's documents."""
    return [
        f"ciam_django.kept.{_digest(name)}{suffix}.{_CACHE_FORMAT}"
        for name in fake.cached_document_names
        for suffix in ("", ".asked", ".fetching", ".failed")
    ]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
