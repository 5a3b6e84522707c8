"""``ciam_link`` and ``ciam_rekey`` need ``--apply``, and change all rows or no row."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.fields import GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from ciam_django.accounts import fake_people
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.client.app import ciam_app
from ciam_django.client.person import Person, issuer_of
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from tests.accounts.shop.models import MobileUser
from tests.browser import Browser
from tests.rows import for_each_row
from tests.users import get_or_create_user

pytestmark = pytest.mark.django_db

OLD = "https://old.example"
WriteTable = Callable[..., str]


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """A function that writes lines to a file and returns the path."""

    def write(*lines: str, encoding: str = "utf-8") -> str:
        path = tmp_path / "table.csv"
        path.write_bytes("\r\n".join(lines).encode(encoding))
        return str(path)

    return write


def run_command(*arguments: str) -> str:
    """Run a command that succeeds; return its output."""
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def fail_command(*arguments: str) -> str:
    """Run a command that fails; return its error texts."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as raised:
        call_command(*arguments, stdout=out, stderr=err)
    return err.getvalue() + str(raised.value)


# --- Linking ------------------------------------------------------------------------------------


def test_existing_users_are_linked_only_with_apply(ciam: FakeCiam, write_table: WriteTable) -> None:
    li = User.objects.create_user("shop-li")
    path = write_table("subject,user,note", f'{user_id_of("li")}, shop-li ,"a, b"')
    output = run_command("ciam_link", path)

    assert "Users that are linked already: 0. Users to link: 1." in output
    assert "Nothing has been changed" in output
    assert not CiamIdentity.objects.exists()
    assert "Linked users: 1." in run_command("ciam_link", path, "--apply")
    browser = Browser(ciam)
    browser.sign_in("li")
    assert browser.user_id == str(li.pk)
    assert "Users that are linked already: 1. Users to link: 0." in run_command(
        "ciam_link", path, "--apply"
    )


def test_users_can_be_named_by_another_unique_field(
    ciam: FakeCiam, write_table: WriteTable
) -> None:
    user = User.objects.create_user("li")
    run_command("ciam_link", write_table("user,subject", f"{user.pk},u-1"), "--by", "id", "--apply")

    assert CiamIdentity.objects.get().user == user
    assert "there is no user with the id 'li'" in fail_command(
        "ciam_link", write_table("user,subject", "li,u-2"), "--by", "id"
    )
    assert "is not a unique field" in fail_command(
        "ciam_link", write_table("user,subject"), "--by", "email"
    )
    assert "is not a unique field" in fail_command(
        "ciam_link", write_table("user,subject"), "--by", "shoe"
    )


def test_many_users_are_linked_with_few_queries(
    write_table: WriteTable, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    User.objects.bulk_create([User(username=f"user-{number}") for number in range(1200)])
    lines = [f"user-{number},u-{number}" for number in range(1200)]
    with django_assert_max_num_queries(20):
        run_command("ciam_link", write_table("user,subject", *lines), "--issuer", OLD, "--apply")

    assert CiamIdentity.objects.filter(issuer=OLD).count() == 1200


def test_a_file_saved_by_excel_is_read(write_table: WriteTable) -> None:
    User.objects.create_user("李")
    path = write_table("user,subject", "李,u-1", encoding="utf-8-sig")

    assert "Linked users: 1." in run_command("ciam_link", path, "--issuer", OLD, "--apply")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nobody,u-2", "line 3: there is no user with the username 'nobody'"),
        ("wang,", "line 3: the subject is empty"),
        (f"wang,{'x' * 256}", "line 3: the subject is empty, too long"),
        ("wang", "line 3: the subject is empty"),
        ("wang,u-1", "line 3: 'u-1' stands in line 2 already"),
        ("wang,u-9", "line 3: 'u-9' is linked to another user"),
    ],
)
def test_a_single_wrong_line_stops_all_changes(
    write_table: WriteTable, line: str, problem: str
) -> None:
    for name in ("li", "wang"):
        User.objects.create_user(name)
    get_or_create_user(Person(OLD, "u-9"))
    output = fail_command(
        "ciam_link", write_table("user,subject", "li,u-1", line), "--issuer", OLD, "--apply"
    )

    assert problem in output
    assert "Nothing has been changed." in output
    assert CiamIdentity.objects.count() == 1


def test_an_unreadable_file_is_reported(write_table: WriteTable, tmp_path: Path) -> None:
    assert "lacks ['subject']" in fail_command("ciam_link", write_table("user,id"), "--issuer", OLD)
    assert "lacks" in fail_command("ciam_link", write_table(""), "--issuer", OLD)
    assert "can't be read" in fail_command("ciam_link", str(tmp_path / "none.csv"), "--issuer", OLD)
    latin = write_table("user,subject", "é,x", encoding="latin-1")
    assert "can't be read" in fail_command("ciam_link", latin, "--issuer", OLD)


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("command", ["ciam_link", "ciam_rekey"])
def test_the_issuer_is_exactly_the_issuer_of_a_sign_in(
    ciam: FakeCiam, write_table: WriteTable, command: str
) -> None:
    ciam.metadata = {"issuer": f"{ciam.issuer}/"}
    ciam.id_token_claims = {"iss": f"{ciam.issuer}/"}
    if command == "ciam_link":
        User.objects.create_user("shop-li")
        run_command(command, write_table("user,subject", f"shop-li,{user_id_of('li')}"), "--apply")
    else:
        get_or_create_user(Person(ciam.issuer, user_id_of("li")))
        run_command(command, "--from", ciam.issuer, "--apply")
    browser = Browser(ciam)
    browser.sign_in("li")

    assert browser.user_id == str(User.objects.get().pk)
    assert CiamIdentity.objects.get().issuer == f"{ciam.issuer}/"


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_command_without_metadata_asks_for_the_issuer(
    ciam: FakeCiam, write_table: WriteTable
) -> None:
    ciam.fail("discovery", code="Service.Internal.Error", status=500, times=None)
    path = write_table("user,subject")

    assert "Name the issuer in the command" in fail_command("ciam_link", path)
    assert "Users to link: 0." in run_command("ciam_link", path, "--issuer", OLD)
    ciam.reset()


# --- Another mode, issuer or client -------------------------------------------------------------


@pytest.mark.parametrize("mode", ["oidc"])
def test_people_keep_their_users_after_a_change_of_the_mode(
    ciam: FakeCiam, settings: Settings, write_table: WriteTable
) -> None:
    user = get_or_create_user(Person(OLD, "sub-of-li"))
    get_or_create_user(Person(OLD, "sub-of-wang"))
    table = ["old,new", f"sub-of-li,{user_id_of('li')}", f"sub-of-wang,{user_id_of('wang')}"]
    arguments = ("ciam_rekey", "--from", OLD, "--subjects", write_table(*table, "gone,u-3"))
    output = run_command(*arguments)

    assert f"Identities to rename: 2. From {OLD} to {ciam.issuer}" in output
    assert "Nothing has been changed" in output
    assert CiamIdentity.objects.filter(issuer=OLD).count() == 2
    assert "Renamed identities: 2." in run_command(*arguments, "--apply")
    browser = Browser(ciam)
    browser.sign_in("li")
    assert browser.user_id == str(user.pk)


def test_identities_can_keep_their_subjects_under_a_new_issuer() -> None:
    user = get_or_create_user(Person(OLD, "u-1"))
    run_command("ciam_rekey", "--from", OLD, "--to", "https://new.example", "--apply")

    assert get_or_create_user(Person("https://new.example", "u-1")) == user


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (["u-1,x"], "the subject 'u-2' is not in the column 'old'"),
        (["u-1,x", "u-2,"], "the new subject is empty"),
        (["u-1,x", "u-2,x"], "line 3: 'x' stands in line 2 already"),
        (["u-1,x", "u-1,y", "u-2,z"], "line 3: 'u-1' stands in line 2 already"),
        (["u-1,taken", "u-2,z"], "the new subject 'taken' belongs to another identity"),
    ],
)
def test_a_single_identity_that_cannot_be_renamed_stops_all_changes(
    write_table: WriteTable, table: list[str], problem: str
) -> None:
    for subject in ("u-1", "u-2"):
        get_or_create_user(Person(OLD, subject))
    get_or_create_user(Person("https://new.example", "taken"))
    arguments = ["--to", "https://new.example", "--subjects", write_table("old,new", *table)]

    assert problem in fail_command("ciam_rekey", "--from", OLD, *arguments, "--apply")
    assert CiamIdentity.objects.filter(issuer=OLD).count() == 2


def test_an_issuer_without_identities_is_reported() -> None:
    get_or_create_user(Person(OLD, "u-1"))

    assert f"Allowed: {OLD}" in fail_command("ciam_rekey", "--from", "x", "--to", "y")


def test_a_database_without_identities_is_reported() -> None:
    output = fail_command("ciam_rekey", "--from", "x", "--to", "y")

    assert "--from x: no identity has this issuer." in output
    assert "The database has no identity that is allowed." in output


def test_only_the_first_twenty_problems_are_shown(write_table: WriteTable) -> None:
    lines = [f"nobody-{number},u-{number}" for number in range(50)]
    output = fail_command("ciam_link", write_table("user,subject", *lines), "--issuer", OLD)

    assert output.count("there is no user") == 20
    assert "Problems: 50. Nothing has been changed." in output


def test_an_issuer_is_required_to_rename_identities() -> None:
    get_or_create_user(Person(OLD, "u-1"))

    assert f"--from is missing. Allowed: {OLD}" in fail_command("ciam_rekey", "--to", "y")


# --- From a fake CIAM to a tenant -----------------------------------------------------------------

FAKE = "http://127.0.0.1:9000/fake_app_0001"
FORGET = ("ciam_rekey", "--forget-test-people")


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_the_log_line_after_a_change_of_the_issuer_has_the_command_that_ends_the_failure(
    ciam: FakeCiam, settings: Settings, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    Browser(ciam).sign_in()
    old = CiamIdentity.objects.get().issuer
    with FakeCiam() as tenant:
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": tenant.client(mode)}
        assert Browser(tenant).sign_in().status_code == 500
        line = next(message for message in caplog.messages if "code=bad_configuration" in message)
        for text in (old, issuer_of(ciam_app()), f"`manage.py ciam_rekey --from {old}`"):
            assert text in line
        assert "[url]" not in line

        commands = re.findall(r"manage\.py (ciam_rekey --forget-test-people)`", line)
        assert len(commands) == 1
        assert "Nothing has been changed" in run_command(*commands[0].split())
        assert "Removed identities: 1. Deleted users: 1." in run_command(
            *commands[0].split(), "--apply"
        )
        browser = Browser(tenant)
        assert browser.sign_in().status_code == 302
        assert browser.user_id


def test_the_test_people_of_fakes_are_forgotten_only_with_apply() -> None:
    get_or_create_user(Person(FAKE, "u-1"))
    get_or_create_user(Person("http://localhost:8080/x", "u-1"))
    customer = get_or_create_user(Person(OLD, "u-1"))
    looked = run_command(*FORGET)

    assert "Identities to remove: 2." in looked
    assert "Users to delete: 2. Users to keep: 0." in looked
    assert "Nothing has been changed. To make the changes, add --apply." in looked
    assert CiamIdentity.objects.count() == 3
    assert "Removed identities: 2. Deleted users: 2." in run_command(*FORGET, "--apply")
    assert list(User.objects.all()) == [customer]
    assert list(CiamIdentity.objects.values_list("issuer", flat=True)) == [OLD]
    assert "Identities to remove: 0." in run_command(*FORGET, "--apply")


def changed(user: User, **values: object) -> User:
    User.objects.filter(pk=user.pk).update(**values)
    return user


def with_reference(user: User) -> User:
    LogEntry.objects.create(user=user, action_flag=1, object_repr="a book")
    return user


def with_group(user: User) -> User:
    user.groups.add(Group.objects.create(name="editors"))
    return user


def with_password(user: User) -> User:
    user.set_password("a password")
    user.save()
    return user


def with_customer_identity(user: User) -> User:
    CiamIdentity.objects.create(user=user, issuer=OLD, subject="customer")
    return user


@for_each_row(
    "make, reason",
    [
        (lambda user: changed(user, is_staff=True), "is a member of the staff"),
        (lambda user: changed(user, is_superuser=True), "is a member of the staff"),
        (with_password, "has a password"),
        (with_customer_identity, f"has an identity of {OLD}"),
        (
            lambda user: changed(user, date_joined=timezone.now() - timedelta(days=1)),
            "is older than the first sign-in",
        ),
        (with_reference, "is used by admin.LogEntry"),
        (with_group, "is used by auth.User_groups"),
    ],
)
def test_a_user_who_is_more_than_a_test_person_is_kept_without_the_fake_identity(
    db: None, make: Callable[[User], User], reason: str
) -> None:
    user = make(get_or_create_user(Person(FAKE, uuid.uuid4().hex)))
    output = run_command(*FORGET, "--apply")

    assert f"kept: User {user.pk} {reason}." in output
    assert "Deleted users: 0." in output
    assert User.objects.filter(pk=user.pk).exists()
    assert not CiamIdentity.objects.filter(issuer=FAKE).exists()
    user.delete()
    Group.objects.all().delete()


def test_a_user_of_two_test_people_is_deleted_once() -> None:
    user = get_or_create_user(Person(FAKE, "u-1"))
    CiamIdentity.objects.create(user=user, issuer=FAKE, subject="u-2")

    assert "Removed identities: 2. Deleted users: 1." in run_command(*FORGET, "--apply")
    assert not User.objects.exists()


def test_a_model_that_does_not_store_when_a_user_was_created_keeps_its_users() -> None:
    user = MobileUser(mobile="13800000000")
    user.set_unusable_password()
    identity = CiamIdentity(issuer=FAKE, subject="u-1", created_at=timezone.now())

    assert "has no date_joined" in fake_people._reason_to_keep(user, [identity])


@pytest.mark.parametrize("mode", ["oidc"])
def test_the_sessions_of_forgotten_people_end(ciam: FakeCiam, settings: Settings) -> None:
    settings.DEBUG = True
    browser = Browser(ciam)
    browser.sign_in()
    run_command(*FORGET, "--apply")

    assert browser.client.get("/ciam/login/").status_code == 200
    assert not CiamSession.objects.exists()
    assert browser.user_id is None


@pytest.mark.parametrize("issuer", ["http://ciam:9000/fake", "http://127.0.0.1:9000/b"])
def test_one_fake_can_be_named(issuer: str) -> None:
    get_or_create_user(Person(issuer, "u-1"))
    get_or_create_user(Person(FAKE, "u-1"))

    assert "Removed identities: 1. Deleted users: 1." in run_command(
        *FORGET, "--from", issuer, "--apply"
    )
    assert list(CiamIdentity.objects.values_list("issuer", flat=True)) == [FAKE]


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_the_people_of_the_site_are_forgotten_outside_of_debug_only_by_the_name_of_the_issuer(
    ciam: FakeCiam, settings: Settings
) -> None:
    Browser(ciam).sign_in()
    issuer = CiamIdentity.objects.get().issuer

    assert f"--from {issuer}" in fail_command(*FORGET, "--apply")
    assert User.objects.exists()
    settings.AUTHLIB_OAUTH_CLIENTS = {}
    assert "Identities to remove: 1." in run_command(*FORGET)
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}
    assert "Deleted users: 1." in run_command(*FORGET, "--from", issuer, "--apply")


@pytest.fixture
def related_entries() -> Iterator[None]:
    """Give the user model a generic relation, whose rows Django deletes with the user."""
    field = GenericRelation(LogEntry)
    model: Any = User
    model.add_to_class("related_entries", field)
    yield
    model._meta.private_fields.remove(field)
    del model.related_entries
    model._meta._expire_cache()


def test_a_user_with_rows_of_a_generic_relation_is_kept(related_entries: None) -> None:
    user = get_or_create_user(Person(FAKE, "u-1"))
    assert "Users to delete: 1." in run_command(*FORGET)
    editor = User.objects.create_user("editor")
    of_users = ContentType.objects.get_for_model(User)
    LogEntry.objects.create(
        user=editor,
        content_type=of_users,
        object_id=str(user.pk),
        action_flag=1,
        object_repr="a user",
    )

    assert f"kept: User {user.pk} is used by admin.LogEntry." in run_command(*FORGET, "--apply")
    assert LogEntry.objects.exists()


@pytest.mark.parametrize("issuer", [OLD, "http://127.0.0.1:1/unknown"])
def test_a_tenant_is_never_forgotten(issuer: str) -> None:
    customer = get_or_create_user(Person(OLD, "u-1"))
    get_or_create_user(Person(FAKE, "u-1"))

    text = fail_command(*FORGET, "--from", issuer, "--apply")
    assert f"--from {issuer}: is no issuer of a fake CIAM with identities" in text
    assert f"Allowed: {FAKE}" in text
    assert User.objects.filter(pk=customer.pk).exists()


@pytest.mark.parametrize("arguments", [("--to", "x"), ("--subjects", "table.csv")])
def test_the_arguments_of_a_new_name_are_refused_with_forgotten_people(
    arguments: tuple[str, str],
) -> None:
    assert "renames nobody" in fail_command(*FORGET, *arguments)
