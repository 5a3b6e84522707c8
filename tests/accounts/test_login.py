"""``sign_in`` signs the user of a person in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.backends import BaseBackend
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.accounts import signals
from ciam_django.accounts.backends import CiamBackend
from ciam_django.accounts.login import (
    authenticate_token_holder,
    is_signed_in_by_ciam,
    sign_in,
    sign_in_without_session,
)
from ciam_django.accounts.models import CiamIdentity, CiamSession
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


@pytest.mark.parametrize("has_session", [True, False])
def test_an_inactive_user_is_refused_and_the_session_stays_empty(has_session: bool) -> None:
    get_user_model().objects.filter(pk=get_or_create_user(LI).pk).update(is_active=False)
    request = RequestFactory().get("/")
    request.session = SessionStore()
    enter = (
        functools.partial(sign_in, token_response={"access_token": "t-1"})
        if has_session
        else sign_in_without_session
    )
    with pytest.raises(CiamError) as raised:
        enter(request, LI)

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


@pytest.mark.parametrize("has_session", [True, False])
def test_a_project_is_told_of_the_request_and_the_person(
    django_capture_on_commit_callbacks: Callable[..., Any], has_session: bool
) -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    heard: list[dict[str, Any]] = []

    def hear(sender: object, **told: Any) -> None:
        heard.append(told)

    created: list[dict[str, Any]] = []

    def hear_of_new(sender: object, **told: Any) -> None:
        created.append(told)

    signals.signed_in.connect(hear)
    signals.created.connect(hear_of_new)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            if has_session:
                sign_in(request, LI, {"access_token": "t-1"})
            else:
                sign_in_without_session(request, LI)
    finally:
        signals.signed_in.disconnect(hear)
        signals.created.disconnect(hear_of_new)

    assert [told["person"] for told in created] == [LI]
    (told,) = heard
    assert told["request"] is request
    assert told["person"] == LI
    assert told["user"] == get_or_create_user(LI)
    assert CiamSession.objects.count() == has_session
    assert request.session.is_empty() is not has_session


@pytest.mark.parametrize("is_active", [True, False])
def test_who_holds_a_token_is_let_in_if_the_user_is_not_switched_off(is_active: bool) -> None:
    request = RequestFactory().get("/")
    user = authenticate_token_holder(request, LI)
    assert user == get_or_create_user(LI)
    type(user).objects.update(is_active=is_active)
    if is_active:
        assert authenticate_token_holder(RequestFactory().get("/"), LI) == user
        return
    with pytest.raises(CiamError) as raised:
        authenticate_token_holder(RequestFactory().get("/"), LI)
    assert (raised.value.code, raised.value.stage) == ("account_inactive", "api")


def test_a_key_of_the_session_before_signing_in_is_good_for_nothing() -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    request.session["cart"] = ["tea"]
    request.session.save()
    before = request.session.session_key
    sign_in(request, LI, {"access_token": "t-1"})

    assert request.session.session_key != before
    assert not SessionStore().exists(str(before))
    assert request.session["cart"] == ["tea"]


def test_the_first_person_of_another_issuer_is_our_configuration() -> None:
    get_or_create_user(LI)
    request = RequestFactory().get("/")
    request.session = SessionStore()
    with pytest.raises(CiamError) as raised:
        sign_in(request, Person("https://other.example", "u-1"), {"access_token": "t-1"})

    assert (raised.value.code, raised.value.stage) == ("bad_configuration", "callback")
    assert "https://other.example" not in str(raised.value)
    # Nobody has become a stranger.
    assert [it.issuer for it in CiamIdentity.objects.all()] == [LI.issuer]
    assert request.session.is_empty()


def test_a_person_who_is_known_signs_in_whatever_the_issuer_of_others_is() -> None:
    for person in (LI, Person("https://other.example", "u-2")):
        get_or_create_user(person)
    request = RequestFactory().get("/")
    request.session = SessionStore()
    sign_in(request, LI, {"access_token": "t-1"})

    assert get_user(request) == get_or_create_user(LI)


class LockingBackend(BaseBackend):
    """A backend that refuses everybody, and says so in the words of django-axes."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        assert request is not None
        vars(request)["axes_locked_out"] = True
        raise PermissionDenied


def test_who_is_locked_out_by_another_backend_is_told_to_wait(settings: Settings) -> None:
    settings.AUTHENTICATION_BACKENDS = [
        f"{__name__}.LockingBackend",
        "ciam_django.accounts.backends.CiamBackend",
    ]
    request = RequestFactory().get("/")
    request.session = SessionStore()
    with pytest.raises(CiamError) as raised:
        sign_in(request, LI, {"access_token": "t-1"})

    assert (raised.value.code, raised.value.stage) == ("too_many_requests", "callback")
    assert not CiamIdentity.objects.exists()


def test_a_missing_backend_is_a_misconfiguration(settings: Settings) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    request = RequestFactory().get("/")
    request.session = SessionStore()
    with pytest.raises(CiamError) as raised:
        sign_in(request, LI, {"access_token": "t-1"})

    assert (raised.value.code, raised.value.stage) == ("bad_configuration", "callback")
