"""``sign_in`` signs the user of a person in."""

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


def test_a_sign_in_is_a_login_for_django() -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    sign_in(request, LI, {"access_token": "t-1"})

    assert get_user(request) == get_or_create_user(LI)
    assert is_signed_in_by_ciam(request)


def test_an_unpaired_surrogate_in_a_claim_does_not_fail_the_sign_in() -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    claims = {"email": "li@\ud800", "preferred_username": "\ud800", "sid": "\ud800"}
    sign_in(request, Person(LI.issuer, LI.subject, claims), {"access_token": "t-1"})

    assert CiamSession.objects.get().sid_key == ""


def test_an_inactive_user_is_refused_and_the_session_stays_empty() -> None:
    get_user_model().objects.filter(pk=get_or_create_user(LI).pk).update(is_active=False)
    request = RequestFactory().get("/")
    request.session = SessionStore()
    with pytest.raises(CiamError) as raised:
        sign_in(request, LI, {"access_token": "t-1"})

    assert (raised.value.code, raised.value.stage) == ("account_inactive", "callback")
    assert not is_signed_in_by_ciam(request)
    assert request.session.is_empty()


class ShopBackend(CiamBackend):
    """The backend of a project."""


def test_a_subclass_of_the_backend_signs_in(settings: Settings) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.ShopBackend"]
    request = RequestFactory().get("/")
    request.session = SessionStore()
    sign_in(request, LI, {"access_token": "t-1"})

    assert get_user(request) == get_or_create_user(LI)
    assert is_signed_in_by_ciam(request)


def test_a_missing_backend_is_a_misconfiguration(settings: Settings) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    request = RequestFactory().get("/")
    request.session = SessionStore()
    with pytest.raises(CiamError) as raised:
        sign_in(request, LI, {"access_token": "t-1"})

    assert (raised.value.code, raised.value.stage) == ("bad_configuration", "callback")
