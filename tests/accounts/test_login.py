"""A person in, a signed-in session out."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.accounts.backends import CiamBackend
from ciam_django.accounts.login import is_signed_in_by_ciam, sign_in
from ciam_django.accounts.models import CiamSession
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from tests.users import get_or_create_user

pytestmark = pytest.mark.django_db

LI = Person("https://ciam.example", "u-1")


def test_signing_in_is_djangos_own() -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    sign_in(request, LI, {"access_token": "t-1"})

    assert get_user(request) == get_or_create_user(LI)
    assert is_signed_in_by_ciam(request)


def test_half_a_character_of_a_claim_is_no_accident() -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    claims = {"email": "li@\ud800", "preferred_username": "\ud800", "sid": "\ud800"}
    sign_in(request, Person(LI.issuer, LI.subject, claims), {"access_token": "t-1"})

    assert CiamSession.objects.get().sid_key == ""


def test_a_user_who_is_switched_off_is_told_so_and_changes_nothing() -> None:
    get_user_model().objects.filter(pk=get_or_create_user(LI).pk).update(is_active=False)
    request = RequestFactory().get("/")
    request.session = SessionStore()
    with pytest.raises(CiamError) as raised:
        sign_in(request, LI, {"access_token": "t-1"})

    assert (raised.value.code, raised.value.stage) == ("account_inactive", "callback")
    assert not is_signed_in_by_ciam(request)
    assert request.session.is_empty()


class ShopBackend(CiamBackend):
    """A project's own."""


def test_a_backend_made_from_ours_signs_in_as_well(settings: Settings) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.ShopBackend"]
    request = RequestFactory().get("/")
    request.session = SessionStore()
    sign_in(request, LI, {"access_token": "t-1"})

    assert get_user(request) == get_or_create_user(LI)
    assert is_signed_in_by_ciam(request)


def test_without_our_backend_it_is_our_configuration(settings: Settings) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    request = RequestFactory().get("/")
    request.session = SessionStore()
    with pytest.raises(CiamError) as raised:
        sign_in(request, LI, {"access_token": "t-1"})

    assert (raised.value.code, raised.value.stage) == ("bad_configuration", "callback")
