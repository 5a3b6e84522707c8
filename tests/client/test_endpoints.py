"""The table of CIAM's API."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from ciam_django.client import endpoints
from ciam_django.client.endpoints import ENDPOINTS, PREFIX, EndpointGroup, endpoint_of
from ciam_django.errors import CiamError
from ciam_django.testing.api import API_OPERATIONS
from tests.rows import for_each_row


@for_each_row("name", ENDPOINTS)
def test_each_path_is_relative_to_the_prefix(name: str) -> None:
    endpoint = ENDPOINTS[name]

    assert PREFIX.endswith("/")
    assert not endpoint.path.startswith("/")
    assert endpoint.method in ("GET", "POST", "PUT")


GROUPS = {
    "application_token": "token",
    "password_login": "login",
    "mini_program_phone": "login",
    "user_check": "check",
    "user_logout": "profile",
    "find_user": "management",
}


@for_each_row("name", GROUPS)
def test_endpoints_with_one_purpose_share_a_group(name: str) -> None:
    endpoint = endpoint_of(name)

    assert (endpoint.group or endpoints.GROUPS[endpoint.credential]) == GROUPS[name]


def test_a_project_can_put_an_endpoint_into_another_group(settings: Settings) -> None:
    settings.CIAM_ENDPOINTS = {"captcha": {"group": "management"}}
    assert endpoint_of("captcha").group is EndpointGroup.MANAGEMENT

    settings.CIAM_ENDPOINTS = {"captcha": {"group": "no such"}}
    with pytest.raises(CiamError, match="bad_configuration"):
        endpoint_of("captcha")


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
