"""The pages and the actions of identities in Django's admin."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client
from django.utils.formats import localize
from django.utils.timezone import localtime
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import decrypted_tokens, encrypted_tokens
from ciam_django.answers import answer_to
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from tests.browser import Browser
from tests.rows import for_each_row
from tests.users import get_or_create_user

pytestmark = pytest.mark.django_db

LIST = "/admin/ciam_accounts/ciamidentity/"
DISABLED = "Operation.Failure.User.Disabled"


def run_action(client: Client, action: str, *identities: CiamIdentity) -> Any:
    """Choose an action in the list, and confirm the action."""
    return client.post(LIST, {**action_form(action, *identities), "post": "yes"}, follow=True)


def action_form(action: str, *identities: CiamIdentity) -> dict[str, Any]:
    return {"action": action, "_selected_action": [identity.pk for identity in identities]}


@pytest.mark.parametrize(
    "query",
    ["u-1", "o6_bm", "its key", "ciam-"],
)
def test_staff_can_search_identities_and_cannot_add_an_identity(
    admin_client: Client, query: str
) -> None:
    get_or_create_user(
        Person("https://ciam.example", "u-1", {"unionid": "o6_bm"}, provider="wechat")
    )
    get_or_create_user(Person("https://ciam.example", "u-2"))
    if query == "its key":
        query = CiamIdentity.objects.get(subject="u-1").key
    page = admin_client.get(LIST, {"q": query}).content.decode()

    assert "u-1" in page
    assert ("u-2" in page) == (query == "ciam-")
    assert admin_client.get(f"{LIST}add/").status_code == 403


def test_the_list_of_identities_takes_few_queries(
    admin_client: Client, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    for number in range(30):
        get_or_create_user(Person("https://ciam.example", f"u-{number}"))
    # The queries of the admin and of its filters, and one query for all identities and users.
    with django_assert_max_num_queries(8):
        page = admin_client.get(LIST)

    assert page.status_code == 200
    assert "u-29" in page.content.decode()


ID = "…\u206090abcdef"


def cells(page: str) -> list[str]:
    """The texts of the cells of the list, without the boxes of the actions."""
    found = re.findall(r'(?s)<t[hd] class="field-.*?</t[hd]>', page)
    return [unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in found]


@for_each_row(
    "fields, person, contact, user_name",
    [
        (
            {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"},
            "A** L**",
            "a***@example.com",
            "ciam-1",
        ),
        ({"first_name": "李小龙", "last_name": "13800001234"}, "李** 1**", "138****1234", "ciam-1"),
        ({"last_name": "+86 138 0000 1234"}, "+** 1** 0** 1**", "+86138****1234", "ciam-1"),
        ({"username": "13800001234"}, ID, "138****1234", "138****1234"),
        ({"username": "ada@example.com"}, ID, "a***@example.com", "a***@example.com"),
        ({}, ID, "-", "ciam-1"),
        (
            {"username": "ciam-00112233445566778899aabb"},
            ID,
            "-",
            "ciam-001\u2060…\u20608899aabb",
        ),
    ],
)
def test_the_list_masks_the_name_and_the_number_of_a_person(  # noqa: PLR0917  (the parts of a row)
    admin_client: Client,
    settings: Settings,
    fields: dict[str, str],
    person: str,
    contact: str,
    user_name: str,
) -> None:
    settings.CIAM_USER_FIELDS = {"last_name": ["phone_number"]}
    CiamIdentity.objects.all().delete()
    User.objects.filter(is_superuser=False).delete()
    user = User.objects.create_user(**{"username": "ciam-1", **fields})
    CiamIdentity.objects.create(
        user=user,
        issuer="https://ciam.example",
        subject="12345678-90abcdef",
        provider="wechat-website",
    )
    page = admin_client.get(LIST).content.decode()

    assert cells(page) == [person, contact, user_name, "WeChat", "-"]


def test_the_filters_name_providers_and_are_shown_only_for_several_values(
    admin_client: Client,
) -> None:
    get_or_create_user(Person("https://ciam.example", "u-0"))
    assert "?provider=" not in admin_client.get(LIST).content.decode()
    get_or_create_user(Person("https://ciam.example", "u-1", provider="wechat-in_app"))
    get_or_create_user(Person("https://ciam.example", "u-2", provider="qq"))
    page = admin_client.get(LIST).content.decode()
    assert "?issuer=" not in page
    assert 'href="?provider=wechat-in_app">WeChat</a>' in page
    get_or_create_user(Person("https://other.example", "u-3"))
    page = admin_client.get(LIST, {"provider": "qq"}).content.decode()

    assert "?issuer=" in page
    assert "u-2" in page
    assert "u-1" not in page


def test_an_identity_page_shows_the_last_sign_in(admin_client: Client, ciam: FakeCiam) -> None:
    Browser(ciam).sign_in()
    identity = CiamIdentity.objects.get()
    page = admin_client.get(f"{LIST}{identity.pk}/change/").content.decode()

    assert identity.subject in page
    at = localize(localtime(identity.sessions.get().created_at))
    assert at in page.partition("Last sign-in")[2]


def test_an_identity_page_works_in_a_project_without_time_zones(
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
    return page.partition("Last failures")[2].partition("</div>\n")[0]


def test_a_refusal_by_this_site_is_the_last_failure(admin_client: Client, ciam: FakeCiam) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    assert "·" not in last_failure(admin_client)
    User.objects.filter(pk=browser.user_id or 0).update(is_active=False)
    answer = Browser(ciam).sign_in()

    assert "account_inactive" in last_failure(admin_client)
    assert answer["Ciam-Request-Id"] in last_failure(admin_client)


def test_an_end_of_the_session_by_ciam_is_the_last_failure(
    admin_client: Client, ciam: FakeCiam
) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    session = browser.client.session
    session["ciam_session"] = {**session["ciam_session"], "look_at": 1}
    session.save()
    ciam.fail("api", code=DISABLED, times=None)
    ciam.fail("refresh", code=DISABLED, times=None)
    make_tokens_due(browser)
    answer = browser.client.get("/")

    assert answer.status_code == 401
    assert DISABLED in last_failure(admin_client)
    assert answer["Ciam-Request-Id"] in last_failure(admin_client)


def make_tokens_due(browser: Browser) -> None:
    ciam_session = CiamSession.objects.active().get()
    due_tokens = dataclasses.replace(decrypted_tokens(ciam_session.sealed), refresh_from=1.0)
    CiamSession.objects.update(sealed=encrypted_tokens(due_tokens))


@pytest.mark.parametrize("mode", ["ciam"])
def test_a_name_typed_at_an_earlier_sign_in_finds_the_last_failure(
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


def test_a_failure_without_a_request_is_answered() -> None:
    assert answer_to(CiamError("invalid_grant", stage="token")).status == 401


def test_a_failure_of_an_anonymous_user_makes_no_query(
    person: Any, settings: Settings, django_assert_num_queries: Callable[..., Any]
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    person.open_page("/ciam/login/")
    with django_assert_num_queries(0):
        answer = person.submit_form(username="li", password="wrong")

    assert answer["Ciam-Error-Code"] == "Operation.Failure.Username.Or.Password.Error"


# --- Actions at CIAM ----------------------------------------------------------------------------


@pytest.fixture
def identity(ciam: FakeCiam) -> CiamIdentity:
    Browser(ciam).sign_in()
    return CiamIdentity.objects.get()


@pytest.mark.parametrize(
    ("action", "verb"),
    [("unlock", "Unlocked"), ("disable", "Disabled"), ("enable", "Enabled")],
)
def test_an_action_calls_ciam_and_is_in_the_history(
    admin_client: Client, ciam: FakeCiam, identity: CiamIdentity, action: str, verb: str
) -> None:
    page = run_action(admin_client, action, identity).content.decode()

    assert f"{verb} in CIAM. · {identity.subject}" in page
    call = ciam.requests[-1]
    assert call.path.endswith(f"management/user/{action}")
    assert user_id_of("li").encode() in call.body
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (str(identity.pk), f"{verb} in CIAM.")


@pytest.mark.parametrize("action", ["unlock", "disable", "enable"])
def test_an_action_asks_before_ciam_is_called(
    admin_client: Client, ciam: FakeCiam, identity: CiamIdentity, action: str
) -> None:
    request_count = len(ciam.requests)
    page = admin_client.post(LIST, action_form(action, identity)).content.decode()

    assert len(ciam.requests) == request_count
    assert not LogEntry.objects.exists()
    assert f"{action.capitalize()} these people in CIAM?" in page
    # In CIAM's own mode, the person has no name.
    assert re.search(rf"<li>(L\*\*|…\u2060{identity.subject[-8:]})", page)
    sent = dict(re.findall(r'name="(\w+)" value="(\w+)"', page.partition("<ul>")[2]))
    assert {name: sent[name] for name in sent if name != "csrfmiddlewaretoken"} == {
        "_selected_action": str(identity.pk),
        "action": action,
        "post": "yes",
    }


def test_the_question_names_at_most_twenty_people(
    admin_client: Client, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    for number in range(23):
        get_or_create_user(Person("https://ciam.example", f"u-{number}"))
    form = action_form("disable", *CiamIdentity.objects.all())
    # Each filter takes a query for each of its values, and one more.
    with django_assert_max_num_queries(14):
        page = admin_client.post(LIST, form).content.decode()

    assert page.count("<li>…") == 20
    assert "and 3 more people" in page
    assert page.count('name="_selected_action"') == 23


def test_disabling_an_identity_ends_its_sessions(
    admin_client: Client, ciam: FakeCiam, identity: CiamIdentity
) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    run_action(admin_client, "disable", identity)

    assert browser.user_id is None


def test_a_refused_action_shows_and_logs_the_code(
    admin_client: Client, ciam: FakeCiam, identity: CiamIdentity
) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    ciam.fail("api", code="Operation.Failure.User.Not.Exist", text="upstream words", times=None)
    page = run_action(admin_client, "disable", identity).content.decode()

    assert "Operation.Failure.User.Not.Exist" in page
    assert "upstream words" not in page
    entry = LogEntry.objects.get()
    assert "Operation.Failure.User.Not.Exist" in entry.change_message
    assert browser.user_id


def test_a_refusal_does_not_stop_the_action_for_other_identities(
    admin_client: Client, ciam: FakeCiam, identity: CiamIdentity
) -> None:
    Browser(ciam).sign_in("wang")
    ciam.fail("api", code="Operation.Failure.User.Not.Exist", times=1)
    run_action(admin_client, "enable", *CiamIdentity.objects.all())

    assert LogEntry.objects.count() == 2
    assert LogEntry.objects.filter(change_message="Enabled in CIAM.").count() == 1


@pytest.mark.parametrize("action", ["unlock", "disable", "enable"])
def test_an_action_needs_the_manage_permission(
    ciam: FakeCiam, identity: CiamIdentity, action: str
) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    names = ["view_ciamidentity", "change_ciamidentity"]
    staff.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(staff, "django.contrib.auth.backends.ModelBackend")
    request_count = len(ciam.requests)
    run_action(client, action, identity)

    assert len(ciam.requests) == request_count
    assert not LogEntry.objects.exists()
    staff.user_permissions.add(Permission.objects.get(codename="manage_ciamidentity"))
    run_action(client, action, identity)
    assert LogEntry.objects.count() == 1
