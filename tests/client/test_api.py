"""CIAM's API, over real HTTP."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from ciam_django.client import CiamClient
from ciam_django.client.oauth import ciam_app
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from tests.browser import query_of


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture
def access_token(ciam: FakeCiam) -> str:
    app = ciam_app()
    callback = "http://testserver/ciam/callback/"
    address = app.authorization_url(
        redirect_uri=callback, state="s" * 32, nonce="n" * 32, code_verifier="v" * 43
    )
    code = query_of(ciam.authorize(address, username="li"))["code"]
    token = app.token_of(code=code, redirect_uri=callback, code_verifier="v" * 43)
    return str(token["access_token"])


def test_user_info_is_the_person_of_the_token(access_token: str) -> None:
    assert CiamClient().user_info(access_token)["username"] == "li"


def test_a_bad_token_is_an_error_that_does_not_hold_it(ciam: FakeCiam, access_token: str) -> None:
    with pytest.raises(CiamError) as raised:
        CiamClient().user_info(f"{access_token}x")

    assert (raised.value.code, raised.value.stage) == ("invalid_token", "api")
    assert access_token not in raised.value.upstream_text


def test_a_failure_body_is_never_data(ciam: FakeCiam, access_token: str) -> None:
    ciam.fail("api", code="Operation.Failure.User.Disabled", status=200)
    with pytest.raises(CiamError) as raised:
        CiamClient().user_info(access_token)

    assert raised.value.code == "Operation.Failure.User.Disabled"


def test_without_an_address_it_is_our_configuration(settings: Settings) -> None:
    client = {**settings.AUTHLIB_OAUTH_CLIENTS["ciam"], "api_base_url": ""}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    with pytest.raises(CiamError) as raised:
        CiamClient().user_info("token")

    assert (raised.value.code, raised.value.stage) == ("bad_configuration", "api")
