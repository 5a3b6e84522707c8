"""The table of CIAM's API."""

from __future__ import annotations

import pytest

from ciam_django.client.endpoints import ENDPOINTS, PREFIX


@pytest.mark.parametrize("name", ENDPOINTS)
def test_paths_are_below_the_prefix(name: str) -> None:
    endpoint = ENDPOINTS[name]

    assert PREFIX.endswith("/")
    assert not endpoint.path.startswith("/")
    assert endpoint.method in ("GET", "POST", "PUT")
