"""The pytest fixture ``fake_ciam``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ciam_django.testing.server import FakeCiam
from ciam_django.testing.tenant import PATIENCE


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
    _running_fake_ciam.seconds = PATIENCE
    return _running_fake_ciam
