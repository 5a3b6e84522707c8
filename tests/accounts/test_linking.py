"""A user who is signed in adds a way in at CIAM, or takes one away."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.dispatch import Signal
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.accounts import signals
from ciam_django.accounts.linking import link_identity
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.client.person import Person
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import PASSWORD
from tests.browser import Browser
from tests.login.test_api import AGREED
from tests.login.test_social import registered_at

ALL = [it for it in vars(signals).values() if isinstance(it, Signal)]
LINKED = {"next": "/account/", "link": "1"}


@pytest.fixture
def staff(browser: Browser) -> User:
    """Somebody who is signed in by a password of Django's."""
    user = User.objects.create_user("staff", email="li@example.com", password="p")
    browser.client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return user


def links(browser: Browser, username: str = "li") -> Any:
    response = browser.client.post("/ciam/authorize/", LINKED)
    assert response.status_code == 302
    return browser.open_callback(browser.sign_in_at_ciam(response["Location"], username))


def unlinks(browser: Browser, identity: object) -> Any:
    return browser.client.post(
        "/ciam/unlink/",
        {"identity": str(identity), "next": "/account/"},
        headers={"Accept": "application/json"},
    )


def test_who_is_signed_in_adds_a_way_in(browser: Browser, staff: User, ciam: FakeCiam) -> None:
    answer = links(browser)

    assert (answer.status_code, answer["Location"]) == (302, "/account/")
    assert browser.user_id == str(staff.pk)
    assert CiamIdentity.objects.get().user_id == staff.pk
    other = Browser(ciam)
    other.sign_in()
    assert other.user_id == str(staff.pk)
    assert User.objects.count() == 1


def test_to_add_it_twice_changes_nothing(browser: Browser, staff: User) -> None:
    links(browser)

    assert links(browser)["Location"] == "/account/"
    assert CiamIdentity.objects.count() == 1


def test_a_way_in_of_another_users_stays_theirs(
    browser: Browser, staff: User, ciam: FakeCiam
) -> None:
    other = Browser(ciam)
    other.sign_in()
    answer = links(browser)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (409, "linked_elsewhere")
    assert re.search(r'href="/account/"[^>]*>\s*Back', answer.content.decode())
    assert browser.user_id == str(staff.pk)
    assert str(CiamIdentity.objects.get().user_id) == other.user_id


def test_an_address_alone_links_nobody(browser: Browser, staff: User, ciam: FakeCiam) -> None:
    # The same address as the user's of this site, and a sign-in that is not asked to be added.
    assert User.objects.filter(email="li@example.com").count() == 1
    browser.sign_in("li")

    assert browser.user_id != str(staff.pk)
    assert CiamIdentity.objects.get().user_id != staff.pk


def test_nobody_adds_to_nobody(browser: Browser) -> None:
    answer = browser.client.post("/ciam/authorize/", LINKED)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (401, "missing_token")


@pytest.mark.parametrize("is_another", [True, False])
def test_who_is_somebody_else_by_then_adds_nothing(
    browser: Browser, staff: User, is_another: bool
) -> None:
    callback = browser.sign_in_at_ciam(browser.client.post("/ciam/authorize/", LINKED)["Location"])
    cookies = {name: it.value for name, it in browser.client.cookies.items() if "state" in name}
    browser.client.logout()
    browser.client.cookies.load(cookies)
    if is_another:
        browser.client.force_login(
            User.objects.create_user("other"), "django.contrib.auth.backends.ModelBackend"
        )
    answer = browser.open_callback(callback)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert not CiamIdentity.objects.exists()


def test_a_flow_of_several_steps_is_added_at_its_end(
    browser: Browser, staff: User, ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(ciam)
    url = browser.client.post("/ciam/with/qq/", LINKED)["Location"]
    callback = ciam.authorize_at_provider(url, username="stranger")
    assert callback
    step = browser.open_callback(callback)["Location"]
    answer = browser.client.post(step, {"do": "create"})

    assert (answer.status_code, answer["Location"]) == (302, "/account/")
    identity = CiamIdentity.objects.get()
    assert (identity.user_id, identity.provider) == (staff.pk, "qq")


def test_a_provider_that_says_no_leads_back(
    browser: Browser, staff: User, ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(ciam)
    url = browser.client.post("/ciam/with/qq/", LINKED)["Location"]
    callback = ciam.authorize_at_provider(url, username="li", cancel=True)
    assert callback
    answer = browser.open_callback(callback)

    assert answer["Ciam-Error-Code"] == "access_denied"
    assert browser.user_id == str(staff.pk)


# --- Taking it away ---------------------------------------------------------------------------


def test_a_way_in_is_taken_away_and_its_sessions_end(
    browser: Browser, staff: User, ciam: FakeCiam
) -> None:
    links(browser)
    other = Browser(ciam)
    other.sign_in()
    answer = unlinks(browser, CiamIdentity.objects.get().pk)

    assert (answer.status_code, answer["Location"]) == (302, "/account/")
    assert not CiamIdentity.objects.exists()
    assert other.user_id is None
    assert browser.user_id == str(staff.pk)


def test_who_comes_back_by_what_was_taken_away_is_somebody_new(
    browser: Browser, ciam: FakeCiam
) -> None:
    browser.sign_in()
    links(browser, "wang")
    unlinks(browser, CiamIdentity.objects.order_by("pk")[0].pk)
    other = Browser(ciam)

    assert other.sign_in().status_code == 302
    assert other.user_id != browser.user_id


def test_who_came_in_by_it_stays_until_they_leave(browser: Browser) -> None:
    browser.sign_in()
    user = User.objects.get()
    user.set_password("p")
    user.save()
    browser.sign_in()
    assert unlinks(browser, CiamIdentity.objects.get().pk).status_code == 302

    assert browser.user_id == str(user.pk)
    assert not CiamSession.objects.exists()
    assert "ciam_session" not in browser.client.session


def test_the_last_way_in_stays(browser: Browser, ciam: FakeCiam) -> None:
    # Those of other users are none of this user's.
    Browser(ciam).sign_in("wang")
    browser.sign_in()
    answer = unlinks(browser, CiamIdentity.objects.get(user_id=int(browser.user_id or 0)).pk)

    assert (answer.status_code, answer.json()["code"]) == (409, "last_way_in")
    assert CiamIdentity.objects.count() == 2


def test_the_sessions_of_what_was_taken_away_are_told_of_as_such(
    browser: Browser,
    staff: User,
    ciam: FakeCiam,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    links(browser)
    Browser(ciam).sign_in()
    heard: list[object] = []

    def hear(sender: object, **told: Any) -> None:
        heard.append(told["reason"])

    signals.signed_out.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            unlinks(browser, CiamIdentity.objects.get().pk)
    finally:
        signals.signed_out.disconnect(hear)

    assert heard == ["unlinked"]


def test_what_is_added_is_handed_back(browser: Browser, staff: User) -> None:
    request = RequestFactory().get("/")
    request.user = staff
    identity = link_identity(request, Person("https://ciam.example", "u-1", provider="qq"))

    assert identity == CiamIdentity.objects.get()
    assert (identity.user_id, identity.subject, identity.provider) == (staff.pk, "u-1", "qq")


def test_the_page_that_says_so_leads_back(browser: Browser) -> None:
    browser.sign_in()
    form = {"identity": CiamIdentity.objects.get().pk, "next": "/account/"}
    page = browser.client.post("/ciam/unlink/", form).content.decode()

    assert "This is your only way to sign in." in page
    assert re.search(r'href="/account/"[^>]*>\s*Back', page)


def test_a_password_is_no_way_in_where_no_backend_takes_it(
    browser: Browser, staff: User, settings: Settings
) -> None:
    links(browser)
    settings.AUTHENTICATION_BACKENDS = ["ciam_django.accounts.backends.CiamBackend"]
    browser.sign_in()

    assert unlinks(browser, CiamIdentity.objects.get().pk).json()["code"] == "last_way_in"


def test_of_two_ways_in_at_ciam_one_can_go(browser: Browser) -> None:
    browser.sign_in()
    links(browser, "wang")
    first, second = CiamIdentity.objects.order_by("pk")
    assert unlinks(browser, first.pk).status_code == 302

    assert unlinks(browser, second.pk).json()["code"] == "last_way_in"


@pytest.mark.parametrize("identity", ["", "x", "-1", "0", "9" * 40, "٣", "1 or 1=1"])
def test_what_is_no_identity_is_not_found(browser: Browser, staff: User, identity: str) -> None:
    assert unlinks(browser, identity).status_code == 404


def test_nobody_takes_away_what_is_another_users(
    browser: Browser, staff: User, ciam: FakeCiam
) -> None:
    Browser(ciam).sign_in()

    assert unlinks(browser, CiamIdentity.objects.get().pk).status_code == 404
    assert CiamIdentity.objects.count() == 1


def test_nobody_takes_away_from_nobody(browser: Browser, db: None) -> None:
    assert unlinks(browser, 1).json()["code"] == "missing_token"
    assert Client(enforce_csrf_checks=True).post("/ciam/unlink/").status_code == 403


# --- What a project is told ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_project_is_told_what_happens(
    browser: Browser,
    staff: User,
    ciam: FakeCiam,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    found: list[tuple[str, str]] = []
    # What a receiver raises is logged, and reaches no test.
    heard: list[tuple[str, dict[str, Any]]] = []

    def hear(sender: object, signal: Signal, **told: Any) -> None:
        name = next(name for name, it in vars(signals).items() if it is signal)
        found.append((name, told.get("reason", "")))
        heard.append((name, told))

    for signal in ALL:
        signal.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            links(browser)
        with django_capture_on_commit_callbacks(execute=True):
            unlinks(browser, CiamIdentity.objects.get().pk)
        with django_capture_on_commit_callbacks(execute=True):
            browser.sign_in("wang")
        with django_capture_on_commit_callbacks(execute=True):
            browser.client.post("/ciam/logout/")
        with django_capture_on_commit_callbacks(execute=True):
            browser.sign_in("wang")
        with django_capture_on_commit_callbacks(execute=True):
            session = browser.client.session
            session["ciam_session"] = {**session["ciam_session"], "look_at": 1}
            session.save()
            CiamSession.objects.active().update(sealed="nothing that anybody sealed")
            assert browser.client.get("/admin/").status_code == 401
    finally:
        for signal in ALL:
            signal.disconnect(hear)

    assert found == [
        ("linked", ""),
        ("unlinked", ""),
        ("created", ""),
        ("signed_in", ""),
        ("signed_out", "left"),
        ("signed_in", ""),
        ("signed_out", "ended"),
    ]
    for name, told in heard:
        assert told["user"].pk == told["identity"].user_id
        if name in {"linked", "created", "signed_in"}:
            assert told["person"].subject == told["identity"].subject
        if name in {"linked", "unlinked", "signed_in"}:
            assert told["request"].session


def test_who_is_refused_is_not_told_of(
    browser: Browser, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    browser.sign_in()
    User.objects.update(is_active=False)
    with django_capture_on_commit_callbacks() as callbacks:
        assert browser.sign_in().status_code == 403

    assert not callbacks


def test_an_app_that_keeps_its_tokens_is_told_of(
    ciam: FakeCiam,
    db: None,
    settings: Settings,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    settings.CIAM_API_SIGN_IN = "token"
    settings.CIAM_LOGIN_METHODS = ["password"]
    heard: list[object] = []

    def hear(sender: object, **told: Any) -> None:
        heard.append(told["user"].pk)

    signals.signed_in.connect(hear)
    with django_capture_on_commit_callbacks(execute=True):
        answer = Client().post(
            "/ciam/api/password/",
            json.dumps({"username": "li", "password": PASSWORD, "consent": AGREED}),
            content_type="application/json",
        )
    signals.signed_in.disconnect(hear)

    assert answer.status_code == 200, answer.content
    assert heard == [User.objects.get().pk]
    assert not CiamSession.objects.exists()
