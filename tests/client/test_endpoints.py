"""The table of CIAM's API."""

from __future__ import annotations

from ciam_django.client.endpoints import ENDPOINTS, PREFIX
from ciam_django.testing.api import API_OPERATIONS
from tests.rows import for_each_row


@for_each_row("name", ENDPOINTS)
def test_each_path_is_relative_to_the_prefix(name: str) -> None:
    endpoint = ENDPOINTS[name]

    assert PREFIX.endswith("/")
    assert not endpoint.path.startswith("/")
    assert endpoint.method in ("GET", "POST", "PUT")


# The fake serves these endpoints together with its OAuth endpoints.
SERVED_WITH_OAUTH = {"application_token", "user_info", "change_user_info", "user_logout"}


@for_each_row("name", sorted(set(ENDPOINTS) - SERVED_WITH_OAUTH))
def test_the_fake_serves_each_endpoint(name: str) -> None:
    endpoint = ENDPOINTS[name]

    served = {operation.method: operation for operation in API_OPERATIONS[endpoint.path]}[
        endpoint.method
    ]

    assert served.stage == endpoint.stage
    assert served.scope == endpoint.credential
