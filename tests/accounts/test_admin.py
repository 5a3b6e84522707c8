"""The identities in the admin."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client
from django.utils.formats import localize
from django.utils.timezone import localtime
from pytest_django.fixtures import Settings

from ciam_django.accounts.backends import get_or_create_user
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.tokens import decrypted_tokens, encrypted_tokens
from ciam_django.answers import answer_to
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from tests.browser import Browser

pytestmark = pytest.mark.django_db

LIST = "/admin/ciam_accounts/ciamidentity/"
DISABLED = "Operation.Failure.User.Disabled"


def does(client: Client, action: str, *identities: CiamIdentity) -> Any:
    chosen = [identity.pk for identity in identities]
    return client.post(LIST, {"action": action, "_selected_action": chosen}, follow=True)


@pytest.mark.parametrize(
    "query",
    ["u-1", "o6_bm", "its key", "ciam-"],
)
def test_staff_can_look_at_identities_and_add_none(admin_client: Client, query: str) -> None:
    get_or_create_user(
        Person("https://ciam.example", "u-1", {"unionid": "o6_bm"}, provider="wechat")
    )
    get_or_create_user(Person("https://ciam.example", "u-2"))
    if query == "its key":
        query = CiamIdentity.objects.get(subject="u-1").key
    shown = admin_client.get(LIST, {"q": query}).content.decode()

    assert "u-1" in shown
    assert ("u-2" in shown) == (query == "ciam-")
    assert admin_client.get(f"{LIST}add/").status_code == 403


def test_searching_takes_few_queries(
    admin_client: Client, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    for number in range(30):
        get_or_create_user(Person("https://ciam.example", f"u-{number}"))
    # The admin's own, and one for all identities with their users.
    with django_assert_max_num_queries(8):
        page = admin_client.get(LIST)

    assert page.status_code == 200
    assert "u-29" in page.content.decode()


def test_a_page_tells_when_they_signed_in(admin_client: Client, ciam: FakeCiam) -> None:
    Browser(ciam).sign_in()
    identity = CiamIdentity.objects.get()
    page = admin_client.get(f"{LIST}{identity.pk}/change/").content.decode()

    assert identity.subject in page
    at = localize(localtime(identity.sessions.get().created_at))
    assert at in page.partition("Last sign-in")[2]


def test_a_project_without_time_zones_has_a_page_as_well(
    admin_client: Client, ciam: FakeCiam, settings: Settings
) -> None:
    settings.USE_TZ = False
    Browser(ciam).sign_in()
    identity = CiamIdentity.objects.get()
    page = admin_client.get(f"{LIST}{identity.pk}/change/").content.decode()

    assert localize(identity.sessions.get().created_at) in page.partition("Last sign-in")[2]


# --- The last failure ---------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """The last failures of other tests are of the same people."""
    cache.clear()


def last_failure(client: Client) -> str:
    identity = CiamIdentity.objects.get()
    page = client.get(f"{LIST}{identity.pk}/change/").content.decode()
    return page.partition("Last failure")[2].partition("</div>\n")[0]


def test_who_was_refused_by_this_site_is_told_of(admin_client: Client, ciam: FakeCiam) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    assert "·" not in last_failure(admin_client)
    User.objects.filter(pk=browser.user_id or 0).update(is_active=False)
    answer = Browser(ciam).sign_in()

    assert "account_inactive" in last_failure(admin_client)
    assert answer["Ciam-Request-Id"] in last_failure(admin_client)


def test_whose_session_ciam_has_ended_is_told_of(admin_client: Client, ciam: FakeCiam) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    session = browser.client.session
    session["ciam_session"] = {**session["ciam_session"], "look_at": 1}
    session.save()
    ciam.fail("api", code=DISABLED, times=None)
    ciam.fail("refresh", code=DISABLED, times=None)
    tokens_are_due(browser)
    answer = browser.client.get("/")

    assert answer.status_code == 401
    assert DISABLED in last_failure(admin_client)
    assert answer["Ciam-Request-Id"] in last_failure(admin_client)


def tokens_are_due(browser: Browser) -> None:
    kept = CiamSession.objects.active().get()
    due = dataclasses.replace(decrypted_tokens(kept.sealed), refresh_from=1.0)
    CiamSession.objects.update(sealed=encrypted_tokens(due))


@pytest.mark.parametrize("mode", ["ciam"])
def test_who_has_typed_their_name_before_is_told_of(
    admin_client: Client, person: Any, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    person.open_page("/ciam/login/")
    person.submit_form(username="Li", password="fake-password")
    assert person.user_id
    person.client.logout()
    assert "·" not in last_failure(admin_client)
    person.open_page("/ciam/login/")
    person.submit_form(username=" li ", password="wrong")

    assert "Operation.Failure.Username.Or.Password.Error" in last_failure(admin_client)


def test_a_failure_of_no_request_is_nobodys() -> None:
    assert answer_to(CiamError("invalid_grant", stage="token")).status == 401


def test_strangers_leave_nothing_in_the_database(
    person: Any, settings: Settings, django_assert_num_queries: Callable[..., Any]
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    person.open_page("/ciam/login/")
    with django_assert_num_queries(0):
        answer = person.submit_form(username="li", password="wrong")

    assert answer["Ciam-Error-Code"] == "Operation.Failure.Username.Or.Password.Error"


# --- What CIAM is asked to do -------------------------------------------------------------------


@pytest.fixture
def identity(ciam: FakeCiam) -> CiamIdentity:
    Browser(ciam).sign_in()
    return CiamIdentity.objects.get()


@pytest.mark.parametrize(
    ("action", "said"),
    [("unlock", "Unlocked"), ("disable", "Disabled"), ("enable", "Enabled")],
)
def test_ciam_does_as_it_is_asked_and_the_history_tells(
    admin_client: Client, ciam: FakeCiam, identity: CiamIdentity, action: str, said: str
) -> None:
    page = does(admin_client, action, identity).content.decode()

    assert f"{said} at CIAM. · {identity.subject}" in page
    asked = ciam.requests[-1]
    assert asked.path.endswith(f"management/user/{action}")
    assert user_id_of("li").encode() in asked.body
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (str(identity.pk), f"{said} at CIAM.")


def test_who_is_disabled_is_signed_out(
    admin_client: Client, ciam: FakeCiam, identity: CiamIdentity
) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    does(admin_client, "disable", identity)

    assert browser.user_id is None


def test_what_ciam_refuses_is_told_with_a_reference(
    admin_client: Client, ciam: FakeCiam, identity: CiamIdentity
) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    ciam.fail("api", code="Operation.Failure.User.Not.Exist", text="upstream words", times=None)
    page = does(admin_client, "disable", identity).content.decode()

    assert "Operation.Failure.User.Not.Exist" in page
    assert "upstream words" not in page
    entry = LogEntry.objects.get()
    assert "Operation.Failure.User.Not.Exist" in entry.change_message
    assert browser.user_id


def test_of_many_one_refusal_stops_none(
    admin_client: Client, ciam: FakeCiam, identity: CiamIdentity
) -> None:
    Browser(ciam).sign_in("wang")
    ciam.fail("api", code="Operation.Failure.User.Not.Exist", times=1)
    does(admin_client, "enable", *CiamIdentity.objects.all())

    assert LogEntry.objects.count() == 2
    assert LogEntry.objects.filter(change_message="Enabled at CIAM.").count() == 1


@pytest.mark.parametrize("action", ["unlock", "disable", "enable"])
def test_who_may_only_look_can_ask_ciam_nothing(
    ciam: FakeCiam, identity: CiamIdentity, action: str
) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    names = ["view_ciamidentity", "change_ciamidentity"]
    staff.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(staff, "django.contrib.auth.backends.ModelBackend")
    before = len(ciam.requests)
    does(client, action, identity)

    assert len(ciam.requests) == before
    assert not LogEntry.objects.exists()
    staff.user_permissions.add(Permission.objects.get(codename="manage_ciamidentity"))
    does(client, action, identity)
    assert LogEntry.objects.count() == 1
