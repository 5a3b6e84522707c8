"""The table of CIAM's API."""

from __future__ import annotations

from ciam_django.client.endpoints import ENDPOINTS, PREFIX
from ciam_django.testing.api import API_OPERATIONS
from tests.rows import for_each_row


@for_each_row("name", ENDPOINTS)
def test_paths_are_below_the_prefix(name: str) -> None:
    endpoint = ENDPOINTS[name]

    assert PREFIX.endswith("/")
    assert not endpoint.path.startswith("/")
    assert endpoint.method in ("GET", "POST", "PUT")


# The fake plays these beside its OAuth endpoints.
BESIDE_OAUTH = {"application_token", "user_info", "change_user_info", "user_logout"}


@for_each_row("name", sorted(set(ENDPOINTS) - BESIDE_OAUTH))
def test_the_fake_plays_each_call(name: str) -> None:
    endpoint = ENDPOINTS[name]

    played = {call.method: call for call in API_OPERATIONS[endpoint.path]}[endpoint.method]

    assert played.stage == endpoint.stage
    assert played.scope == endpoint.credential
