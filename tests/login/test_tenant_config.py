"""Tests of loading and caching the tenant's configuration."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django.client.cache import acquire_once
from ciam_django.login import tenant_config
from ciam_django.testing import FakeCiam


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture(autouse=True)
def cleared_cache(ciam: FakeCiam) -> None:
    cache.clear()


def test_the_login_methods_come_from_ciam_without_the_setting(
    ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = []
    assert tenant_config.load_login_methods() == ["password", "sms", "email", "recover", "sign_up"]


def test_missing_and_invalid_members_offer_no_login_method(
    ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = []
    ciam.login_page = {"loginType": None, "passwordRecovery": "no", "register": 7}

    assert tenant_config.load_login_methods() == ["hosted"]


def test_the_configuration_is_loaded_once(ciam: FakeCiam) -> None:
    for _ in range(3):
        assert tenant_config.load_login_page().second_factors == ("pwd", "sms")
        assert [consent.id for consent in tenant_config.load_consents()] == ["terms", "privacy"]

    paths = [request.path.rpartition("/")[2] for request in ciam.requests]
    assert sorted(paths) == ["consents", "loginpage", "token"]


def test_a_failed_request_is_not_repeated_for_each_page(ciam: FakeCiam) -> None:
    ciam.fail("api", code="Service.Internal.Error", times=None)

    for _ in range(3):
        assert tenant_config.load_consents() == ()
    assert [request.stage for request in ciam.requests].count("api") == 1


def test_a_fresh_copy_is_used_while_the_failure_of_another_process_counts(ciam: FakeCiam) -> None:
    consents = tenant_config.load_consents()
    assert consents
    acquire_once("ciam_django.configured.consents", seconds=30)

    assert tenant_config.load_consents() == consents
