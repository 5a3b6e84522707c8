"""A bearer token in, its user out; what CIAM says of it is told, logged and remembered."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from pytest_django.fixtures import Settings

from ciam_django.accounts import bearer
from ciam_django.accounts.bearer import user_and_bearer
from ciam_django.client import CiamClient
from ciam_django.client.results import SignedIn
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import PASSWORD

DENIED = "Operation.Denied"
DISABLED = "Operation.Failure.User.Disabled"


@pytest.fixture(autouse=True)
def nothing_remembered(db: None) -> None:
    cache.clear()


def request_with(token: str) -> HttpRequest:
    return RequestFactory().get("/", headers={"authorization": f"Bearer {token}"})


def token_for(username: str = "li") -> str:
    signed_in = CiamClient().password_login(username, PASSWORD)
    assert isinstance(signed_in, SignedIn)
    return signed_in.access_token


def refusal_of(token: str) -> CiamError:
    with pytest.raises(CiamError) as raised:
        user_and_bearer(request_with(token))
    # No report shows the token.
    assert token not in repr(raised.value.__dict__)
    return raised.value


def checks(ciam: FakeCiam) -> int:
    return sum(request.path.endswith("/check") for request in ciam.requests)


@pytest.mark.parametrize(
    ("code", "shown", "type_code"),
    [
        # What CIAM says of the person or of their rights is theirs to know.
        (DISABLED, DISABLED, "Operation.Failure"),
        (DENIED, DENIED, ""),
        # Anything else that it refuses is the token's.
        ("invalid_grant", "invalid_token", "invalid_grant"),
        ("invalid_token", "invalid_token", ""),
        ("Operation.Failure.User.Not.Exist", "invalid_token", "Operation.Failure.User.Not.Exist"),
    ],
)
def test_a_refusal_has_ciams_reason_and_is_remembered(
    ciam: FakeCiam, code: str, shown: str, type_code: str
) -> None:
    token = token_for()
    ciam.fail("api", code=code, status=418, request_id="id-1", format="ciam")
    first, second = refusal_of(token), refusal_of(token)

    for error in (first, second):
        assert (error.code, error.type_code, error.stage) == (shown, type_code, "api")
    assert (first.upstream_status, first.request_id) == (418, "id-1")
    assert first.upstream_text
    assert checks(ciam) == 1


def test_a_project_that_remembers_nothing_from_now_on_forgets_what_there_is(
    ciam: FakeCiam, settings: Settings
) -> None:
    token = token_for()
    user_and_bearer(request_with(token))
    settings.CIAM_BEARER_SECONDS = 0
    user_and_bearer(request_with(token))

    assert checks(ciam) == 2


def test_a_failure_that_says_nothing_of_the_token_is_not_remembered(ciam: FakeCiam) -> None:
    token = token_for()
    ciam.misbehave("api", "reset")
    error = refusal_of(token)

    assert (error.code, error.stage) == ("no_connection", "api")
    assert user_and_bearer(request_with(token)) is not None


def test_a_request_without_a_bearer_token_is_for_others(ciam: FakeCiam) -> None:
    for headers in ({}, {"authorization": ""}, {"authorization": "Basic bGk6cA=="}):
        assert user_and_bearer(RequestFactory().get("/", headers=headers)) is None
    for value in ("Bearer", "Bearer ", "Bearer a b", "Bearer ü", f"Bearer {'x' * 8193}"):
        with pytest.raises(CiamError) as raised:
            user_and_bearer(RequestFactory().get("/", headers={"authorization": value}))
        assert (raised.value.code, raised.value.stage) == ("invalid_token", "api")
    assert not ciam.requests


def test_what_is_remembered_is_of_the_settings_that_judged_it(
    ciam: FakeCiam, settings: Settings
) -> None:
    client = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
    address = "server_metadata_url" if "server_metadata_url" in client else "access_token_url"
    other_address = f"https://other.example/{client[address].rpartition('/')[2]}"
    keys = {bearer._cache_key("t"), bearer._cache_key("u")}
    changes: list[dict[str, Any]] = [
        {"CIAM_BEARER": "jwt"},
        {"CIAM_BEARER_AUDIENCES": ["mobile_app"]},
        {"AUTHLIB_OAUTH_CLIENTS": {"ciam": {**client, "client_id": "other"}}},
        {"AUTHLIB_OAUTH_CLIENTS": {"ciam": {**client, address: other_address}}},
    ]
    for changed in changes:
        with override_settings(**changed):
            keys.add(bearer._cache_key("t"))

    assert len(keys) == 2 + len(changes)
    assert not [key for key in keys if not key.startswith("ciam_django.bearer.")]


def test_a_setting_that_is_misspelt_is_our_configuration(
    ciam: FakeCiam, settings: Settings
) -> None:
    token = token_for()
    settings.CIAM_BEARER = "chek"
    error = refusal_of(token)

    assert (error.code, error.stage) == ("bad_configuration", "api")
    assert "CIAM_BEARER" in error.upstream_text
