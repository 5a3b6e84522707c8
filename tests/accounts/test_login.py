"""``sign_in`` signs the user of a person in."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import User, UserManager
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
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
from tests.browser import Browser
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
def test_created_and_signed_in_are_sent_with_the_person_and_signed_in_with_the_request(
    django_capture_on_commit_callbacks: Callable[..., Any],
    has_session: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    request = RequestFactory().get("/")
    request.session = SessionStore()
    signed_in: list[dict[str, Any]] = []
    created: list[dict[str, Any]] = []

    def receive_signed_in(sender: object, **arguments: Any) -> None:
        signed_in.append(arguments)

    def receive_created(sender: object, **arguments: Any) -> None:
        created.append(arguments)

    signals.signed_in.connect(receive_signed_in)
    signals.created.connect(receive_created)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            if has_session:
                sign_in(request, LI, {"access_token": "t-1"})
            else:
                sign_in_without_session(request, LI)
    finally:
        signals.signed_in.disconnect(receive_signed_in)
        signals.created.disconnect(receive_created)

    assert [arguments["person"] for arguments in created] == [LI]
    (arguments,) = signed_in
    assert arguments["request"] is request
    assert arguments["person"] == LI
    assert arguments["user"] == get_or_create_user(LI)
    assert CiamSession.objects.count() == has_session
    assert request.session.is_empty() is not has_session
    (record,) = caplog.records
    session = "django" if has_session else "token"
    assert record.levelname == "INFO"
    assert record.getMessage() == (
        f"Sign-in: user={arguments['user'].pk} provider=ciam session={session}"
    )


def test_a_token_holder_is_always_the_same_active_user() -> None:
    user = authenticate_token_holder(RequestFactory().get("/"), LI)

    assert user == get_or_create_user(LI)
    assert authenticate_token_holder(RequestFactory().get("/"), LI) == user


def test_a_token_holder_whose_user_is_inactive_is_refused() -> None:
    user = authenticate_token_holder(RequestFactory().get("/"), LI)
    type(user).objects.update(is_active=False)
    with pytest.raises(CiamError) as raised:
        authenticate_token_holder(RequestFactory().get("/"), LI)

    assert (raised.value.code, raised.value.stage) == ("account_inactive", "api")


def test_a_sign_in_deletes_the_old_session_key_and_keeps_the_session_data() -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    request.session["cart"] = ["tea"]
    request.session.save()
    before = request.session.session_key
    sign_in(request, LI, {"access_token": "t-1"})

    assert request.session.session_key != before
    assert not SessionStore().exists(str(before))
    assert request.session["cart"] == ["tea"]


def test_a_first_sign_in_from_a_second_issuer_is_a_misconfiguration() -> None:
    get_or_create_user(LI)
    request = RequestFactory().get("/")
    request.session = SessionStore()
    with pytest.raises(CiamError) as raised:
        sign_in(request, Person("https://other.example", "u-1"), {"access_token": "t-1"})

    assert (raised.value.code, raised.value.stage) == ("bad_configuration", "callback")
    assert "https://other.example" not in str(raised.value)
    issuers = CiamIdentity.objects.values_list("issuer", flat=True)
    assert list(issuers) == [LI.issuer]
    assert request.session.is_empty()


def test_a_new_person_signs_in_although_the_newest_identity_has_another_issuer() -> None:
    for person in (LI, Person("https://other.example", "u-2")):
        get_or_create_user(person)
    request = RequestFactory().get("/")
    request.session = SessionStore()
    sign_in(request, Person(LI.issuer, "u-3"), {"access_token": "t-1"})

    assert get_user(request) == get_or_create_user(Person(LI.issuer, "u-3"))


def test_a_known_identity_signs_in_although_another_identity_has_another_issuer() -> None:
    for person in (LI, Person("https://other.example", "u-2")):
        get_or_create_user(person)
    request = RequestFactory().get("/")
    request.session = SessionStore()
    sign_in(request, LI, {"access_token": "t-1"})

    assert get_user(request) == get_or_create_user(LI)


class LockingBackend(BaseBackend):
    """A backend that refuses all users and marks the request as django-axes does."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        assert request is not None
        vars(request)["axes_locked_out"] = True
        raise PermissionDenied


def test_a_lockout_by_another_backend_is_answered_with_too_many_requests(
    settings: Settings,
) -> None:
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


# --- Users whom the default manager hides -----------------------------------------------------


class VisibleUsers(UserManager[User]):
    """The default manager of a project that marks deleted users by their name."""

    def get_queryset(self) -> QuerySet[User]:
        return super().get_queryset().exclude(last_name="deleted")


@pytest.fixture
def hides_deleted_users(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = VisibleUsers()
    manager.model = User
    monkeypatch.setattr(User._meta, "default_manager", manager)


@pytest.mark.usefixtures("hides_deleted_users")
def test_a_hidden_user_is_refused_like_an_inactive_user(browser: Browser) -> None:
    browser.sign_in()
    User.objects.update(last_name="deleted")
    # The manager finds another user.
    User.objects.create_user("visible")
    answer = browser.sign_in()

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (403, "account_inactive")
    person = Person(CiamIdentity.objects.get().issuer, CiamIdentity.objects.get().subject)
    with pytest.raises(CiamError) as raised:
        authenticate_token_holder(RequestFactory().get("/"), person)
    assert (raised.value.code, raised.value.stage) == ("account_inactive", "api")


@pytest.mark.usefixtures("hides_deleted_users")
def test_a_new_user_who_is_hidden_is_refused(browser: Browser, settings: Settings) -> None:
    settings.CIAM_USER_FIELDS = {"last_name": ["nickname"]}
    User.objects.create_user("visible")
    request = RequestFactory().get("/")
    request.session = SessionStore()
    with pytest.raises(CiamError) as raised:
        sign_in(request, Person("https://x", "u", {"nickname": "deleted"}), {"access_token": "t"})

    assert raised.value.code == "account_inactive"
    assert not CiamIdentity.objects.exists()
