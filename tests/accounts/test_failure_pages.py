"""Staff with the permission read the failures of the last day in the admin."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any, Final

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client, RequestFactory
from django.urls import path
from django.utils.formats import localize
from django.utils.timezone import localtime
from pytest_django.fixtures import Settings

from ciam_django.accounts.failure_pages import CiamFailureAdmin
from ciam_django.accounts.models import CiamFailure, CiamIdentity
from ciam_django.error_table.rows import project_table
from ciam_django.errors import CiamError
from ciam_django.failure_memory import remembered_rows
from ciam_django.reporting import report
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.caches import DOWN_CACHES, SHARED_CACHE

pytestmark = pytest.mark.django_db

LIST: Final = "/admin/ciam_accounts/ciamfailure/"
LOCKED: Final = "Operation.Failure.User.Locked"
WRONG_PASSWORD: Final = "Operation.Failure.Username.Or.Password.Error"
ID: Final = "1656572265429$49b433a9"


@pytest.fixture(autouse=True)
def shared_cache(settings: Settings) -> None:
    """A cache of all processes, which is empty."""
    settings.CACHES = SHARED_CACHE
    cache.clear()


def fail(code: str = LOCKED, stage: str = "password", request_id: str = ID) -> CiamError:
    """Report a failure, as the entry points do."""
    error = CiamError(code, stage=stage, request_id=request_id, upstream_text="li@example.com")
    report(error)
    return error


def text_of(client: Client, address: str, **headers: str) -> str:
    """The text of a page, with one space in place of each space and tag."""
    response = client.get(address, headers=headers)
    assert response.status_code == 200, address
    content = response.content.decode().partition('<div id="content-main">')[2]
    content = content.replace("<wbr>", "")
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", content).split()))


@pytest.fixture
def staff(client: Client) -> Client:
    """A member of the staff who may only see the failures."""
    user = User.objects.create_user("support", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_ciamfailure"))
    client.force_login(user)
    return client


# --- The page of all failures -----------------------------------------------------------------


def test_the_list_has_each_code_with_its_count_sentence_and_last_time(staff: Client) -> None:
    for _ in range(12):
        fail()
    fail("timeout", "token")
    fail("Moon.Phase.Wrong", "token")
    sentences = {code: row.sentences["en"] for code, row in project_table().items()}
    text = text_of(staff, LIST)

    assert "14 failures." in text
    assert f"12 {LOCKED} {sentences[LOCKED]} account_state (403)" in text
    assert f"1 timeout {sentences['timeout']} upstream (503)" in text
    assert f"1 unknown_error {sentences['unknown_error']}" in text
    assert ">unknown_<wbr>error<" in staff.get(LIST).content.decode()
    assert text.index(LOCKED) < text.index("timeout")
    assert "reference" not in text
    assert "Moon" not in text
    assert "li@example.com" not in text


def test_the_pages_have_titles_times_and_codes_that_can_break(staff: Client) -> None:
    fail()
    title = "Sign-in failures of the last 24 hours"
    (row,) = remembered_rows()
    at = localize(localtime(row.newest.time))
    for address, heading in ((LIST, title), (f"{LIST}{LOCKED}/", LOCKED)):
        content = staff.get(address).content.decode()
        assert f"<h1>{heading}</h1>" in content
        assert at in content
        assert f'<a href="{LIST}' in content
        assert ".<wbr>Failure.<wbr>User" in content


def test_the_list_is_in_the_language_of_the_staff(staff: Client) -> None:
    fail()
    locked = project_table()[LOCKED].sentences

    for language, count in (("zh-hans", "共失败 1 次。"), ("zh-hant", "共失敗 1 次。")):
        text = text_of(staff, LIST, accept_language=language)
        assert count in text
        assert locked[language] in text


def test_a_failure_is_found_by_its_reference(staff: Client) -> None:
    error = fail()
    fail("timeout", "token", "other")

    for reference in (error.local_reference, f" {ID} "):
        text = text_of(staff, f"{LIST}?q={reference.replace(' ', '+')}")
        assert f"{LOCKED} password {WRONG_PASSWORD} (401) {error.local_reference} {ID}" in text
        assert "No failure" not in text
    text = text_of(staff, f"{LIST}?q=local-0123456789abcdef")
    assert "No failure of the last 24 hours that is still remembered has this reference." in text


def test_a_searched_text_is_shown_without_its_markup(staff: Client) -> None:
    content = staff.get(f"{LIST}?q=<b>{'x' * 500}").content.decode()

    assert 'value="&lt;b&gt;xxx' in content
    assert "x" * 126 not in content


def test_a_page_without_failures_says_why(staff: Client, settings: Settings) -> None:
    assert "There were no failures." in text_of(staff, LIST)
    settings.CACHES = {"default": DOWN_CACHES["django-redis hides failures"]}
    assert "The cache does not answer." in text_of(staff, LIST)
    settings.CIAM_REMEMBER_FAILURES = False
    assert "Failures are not remembered" in text_of(staff, LIST)


def test_the_list_makes_few_calls_and_queries(
    staff: Client, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    fail()
    # The queries of the admin itself.
    with django_assert_max_num_queries(8):
        text_of(staff, LIST)


# --- The page of a code -----------------------------------------------------------------------


def test_the_page_of_a_code_explains_it_and_has_its_failures(staff: Client) -> None:
    error = fail()
    text = text_of(staff, f"{LIST}{LOCKED}/")
    rows = project_table()

    for language in ("en", "zh-hans", "zh-hant"):
        assert rows[LOCKED].sentences[language] in text
        assert rows[WRONG_PASSWORD].sentences[language] in text
    assert "The account is locked at CIAM." in text
    assert "Status 403" in text
    assert "1 failure in the last 24 hours" in text
    assert f"{error.local_reference} {ID}" in text


def test_the_page_of_a_code_without_failures_is_an_explanation(
    staff: Client, settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Shop.*": {"message": "Closed.", "status": 409}}
    text = text_of(staff, f"{LIST}Shop.*/")

    assert "Closed." in text
    assert "CIAM_ERROR_OVERRIDES Shop.*: message, status" in text
    assert "0 failures in the last 24 hours" in text
    assert "instead" not in text
    assert "the client_id" in text_of(staff, f"{LIST}invalid_client/")


def test_an_unknown_code_has_no_page(staff: Client) -> None:
    assert staff.get(f"{LIST}Moon.Phase/").status_code == 404


def test_each_language_has_its_tag(staff: Client) -> None:
    content = staff.get(f"{LIST}{LOCKED}/").content.decode()

    assert re.findall(r'<li lang="([^"]+)">', content) == ["en", "zh-Hans", "zh-Hant"] * 2


# --- Permissions and links --------------------------------------------------------------------


def test_the_admin_lists_the_failures_for_staff_with_the_permission(staff: Client) -> None:
    content = staff.get("/admin/").content.decode()

    assert f'href="{LIST}"' in content
    assert f"{LIST}add/" not in content


def test_no_superuser_can_add_change_or_delete_failures(admin_client: Client) -> None:
    content = admin_client.get("/admin/").content.decode()
    entry = content.partition(f'href="{LIST}"')[2].partition("</tr>")[0]
    failures = admin.site._registry[CiamFailure]
    request = RequestFactory().get("/")
    request.user = User(is_staff=True, is_superuser=True)

    assert failures.get_model_perms(request) == {
        "view": True, "add": False, "change": False, "delete": False,
    }  # fmt: skip
    assert "viewlink" in entry
    assert "addlink" not in entry
    assert "changelink" not in entry


def test_a_person_that_does_not_exist_has_no_page(admin_client: Client) -> None:
    assert admin_client.get("/admin/ciam_accounts/ciamidentity/0/change/").status_code == 302


SUPPORT_SITE = AdminSite("support")
SUPPORT_SITE.register(CiamFailure, CiamFailureAdmin)
urlpatterns = [path("support/", SUPPORT_SITE.urls), path("admin/", admin.site.urls)]


def test_the_links_stay_in_the_admin_site_of_the_page(
    admin_client: Client, settings: Settings
) -> None:
    settings.ROOT_URLCONF = __name__
    fail()
    for address in ("", f"{LOCKED}/"):
        content = admin_client.get(LIST.replace("admin", "support") + address).content.decode()
        assert 'href="/support/ciam_accounts/ciamfailure/' in content
        assert 'href="/admin/' not in content


def test_other_staff_sees_no_failures(client: Client) -> None:
    user = User.objects.create_user("helper", is_staff=True)
    user.user_permissions.add(
        *Permission.objects.filter(content_type__app_label="ciam_accounts").exclude(
            codename="view_ciamfailure"
        )
    )
    client.force_login(user)

    assert client.get(LIST).status_code == 403
    assert client.get(f"{LIST}{LOCKED}/").status_code == 403
    assert LIST not in client.get("/admin/").content.decode()
    client.logout()
    assert client.get(LIST).status_code == 302


def test_the_only_permission_of_the_failures_is_to_view_them() -> None:
    permissions = Permission.objects.filter(content_type__model="ciamfailure")

    assert [each.codename for each in permissions] == ["view_ciamfailure"]
    assert CiamFailure._meta.db_table == CiamIdentity._meta.db_table


@pytest.mark.parametrize("mode", ["ciam"])
def test_the_page_of_a_person_links_to_the_code_for_staff_with_the_permission(
    staff: Client, ciam: FakeCiam
) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    User.objects.filter(pk=browser.user_id or 0).update(is_active=False)
    for _ in range(2):
        Browser(ciam).sign_in()
    identity = CiamIdentity.objects.get()
    page = f"/admin/ciam_accounts/ciamidentity/{identity.pk}/change/"
    assert staff.get(page).status_code == 403
    support = User.objects.get(username="support")
    support.user_permissions.add(Permission.objects.get(codename="view_ciamidentity"))
    link = f'<a href="{LIST}account_inactive/">account_inactive</a>'

    assert staff.get(page).content.decode().count(link) == 2
    support.user_permissions.remove(Permission.objects.get(codename="view_ciamfailure"))
    content = staff.get(page).content.decode()
    assert link not in content
    assert content.count("· account_inactive ·") == 2
