"""What the tenant has set up, and how seldom it is asked for."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django.login import tenant_config
from ciam_django.testing import FakeCiam


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture(autouse=True)
def nothing_known(ciam: FakeCiam) -> None:
    cache.clear()


def test_ciam_says_what_there_is(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = []
    assert tenant_config.load_login_methods() == ["password", "sms", "email", "recover", "sign_up"]


def test_the_members_that_it_lacks_are_nothing(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = []
    ciam.login_page = {"loginType": None, "passwordRecovery": "no", "register": 7}

    assert tenant_config.load_login_methods() == ["hosted"]


def test_it_is_asked_once(ciam: FakeCiam) -> None:
    for _ in range(3):
        assert tenant_config.load_login_page().second_factors == ("pwd", "sms")
        assert [consent.id for consent in tenant_config.load_consents()] == ["terms", "privacy"]

    paths = [request.path.rpartition("/")[2] for request in ciam.requests]
    assert sorted(paths) == ["consents", "loginpage", "token"]


def test_while_it_fails_pages_do_not_wait_for_it_again(ciam: FakeCiam) -> None:
    ciam.fail("api", code="Service.Internal.Error", times=None)

    for _ in range(3):
        assert tenant_config.load_consents() == ()
    assert [request.stage for request in ciam.requests].count("api") == 1
