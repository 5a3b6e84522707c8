"""``manage.py ciam_link`` and ``ciam_rekey``: dry first, and all or nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.person import Person
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from tests.browser import Browser
from tests.users import get_or_create_user

pytestmark = pytest.mark.django_db

OLD = "https://old.example"
Written = Callable[..., str]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A file of these lines; its path."""

    def path_of(*lines: str, encoding: str = "utf-8") -> str:
        path = tmp_path / "table.csv"
        path.write_bytes("\r\n".join(lines).encode(encoding))
        return str(path)

    return path_of


def said(*arguments: str) -> str:
    """What a command that succeeds says."""
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def refused(*arguments: str) -> str:
    """What one says that fails."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as raised:
        call_command(*arguments, stdout=out, stderr=err)
    return err.getvalue() + str(raised.value)


# --- Linking ------------------------------------------------------------------------------------


def test_users_are_linked_to_whom_ciam_knows(ciam: FakeCiam, written: Written) -> None:
    li = User.objects.create_user("shop-li")
    path = written("subject,user,note", f'{user_id_of("li")}, shop-li ,"a, b"')
    told = said("ciam_link", path)

    assert "0 are linked already; 1 to link" in told
    assert "Nothing has been changed" in told
    assert not CiamIdentity.objects.exists()
    assert "1 linked." in said("ciam_link", path, "--apply")
    browser = Browser(ciam)
    browser.sign_in("li")
    assert browser.user_id == str(li.pk)
    assert "1 are linked already; 0 to link" in said("ciam_link", path, "--apply")


def test_they_can_be_named_by_another_unique_field(ciam: FakeCiam, written: Written) -> None:
    user = User.objects.create_user("li")
    said("ciam_link", written("user,subject", f"{user.pk},u-1"), "--by", "id", "--apply")

    assert CiamIdentity.objects.get().user == user
    assert "is no unique field" in refused("ciam_link", written("user,subject"), "--by", "email")
    assert "is no unique field" in refused("ciam_link", written("user,subject"), "--by", "shoe")


def test_many_are_linked(
    written: Written, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    User.objects.bulk_create([User(username=f"user-{number}") for number in range(1200)])
    lines = [f"user-{number},u-{number}" for number in range(1200)]
    with django_assert_max_num_queries(20):
        said("ciam_link", written("user,subject", *lines), "--issuer", OLD, "--apply")

    assert CiamIdentity.objects.filter(issuer=OLD).count() == 1200


def test_what_excel_saves_is_read(written: Written) -> None:
    User.objects.create_user("李")
    path = written("user,subject", "李,u-1", encoding="utf-8-sig")

    assert "1 linked." in said("ciam_link", path, "--issuer", OLD, "--apply")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("nobody,u-2", "line 3: there is no user with the username 'nobody'"),
        ("wang,", "line 3: the subject is empty"),
        (f"wang,{'x' * 256}", "line 3: the subject is empty, too long"),
        ("wang", "line 3: the subject is empty"),
        ("wang,u-1", "line 3: 'u-1' stands in line 2 already"),
        ("wang,u-9", "line 3: 'u-9' is linked to another user"),
    ],
)
def test_one_wrong_line_stops_all(written: Written, line: str, what: str) -> None:
    for name in ("li", "wang"):
        User.objects.create_user(name)
    get_or_create_user(Person(OLD, "u-9"))
    told = refused("ciam_link", written("user,subject", "li,u-1", line), "--issuer", OLD, "--apply")

    assert what in told
    assert "nothing has been changed" in told
    assert CiamIdentity.objects.count() == 1


def test_a_file_that_is_no_table_is_told_of(written: Written, tmp_path: Path) -> None:
    assert "lacks ['subject']" in refused("ciam_link", written("user,id"), "--issuer", OLD)
    assert "lacks" in refused("ciam_link", written(""), "--issuer", OLD)
    assert "can't be read" in refused("ciam_link", str(tmp_path / "none.csv"), "--issuer", OLD)
    latin = written("user,subject", "é,x", encoding="latin-1")
    assert "can't be read" in refused("ciam_link", latin, "--issuer", OLD)


# --- Another mode, issuer or client -------------------------------------------------------------


@pytest.mark.parametrize("mode", ["oidc"])
def test_people_stay_who_they_are_in_another_mode(
    ciam: FakeCiam, settings: Settings, written: Written
) -> None:
    user = get_or_create_user(Person(OLD, "sub-of-li"))
    get_or_create_user(Person(OLD, "sub-of-wang"))
    table = ["old,new", f"sub-of-li,{user_id_of('li')}", f"sub-of-wang,{user_id_of('wang')}"]
    arguments = ("ciam_rekey", "--from", OLD, "--subjects", written(*table, "gone,u-3"))
    told = said(*arguments)

    assert f"2 to rename, from {OLD} to {ciam.issuer}." in told
    assert "Nothing has been changed" in told
    assert CiamIdentity.objects.filter(issuer=OLD).count() == 2
    assert "2 renamed." in said(*arguments, "--apply")
    browser = Browser(ciam)
    browser.sign_in("li")
    assert browser.user_id == str(user.pk)


def test_an_issuer_can_move_with_its_subjects() -> None:
    user = get_or_create_user(Person(OLD, "u-1"))
    said("ciam_rekey", "--from", OLD, "--to", "https://new.example", "--apply")

    assert get_or_create_user(Person("https://new.example", "u-1")) == user


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (["u-1,x"], "'u-2' is not in the table"),
        (["u-1,x", "u-2,"], "the new subject is empty"),
        (["u-1,x", "u-2,x"], "line 3: 'x' stands in line 2 already"),
        (["u-1,x", "u-1,y", "u-2,z"], "line 3: 'u-1' stands in line 2 already"),
        (["u-1,taken", "u-2,z"], "'taken' is taken"),
    ],
)
def test_whoever_cannot_be_renamed_stops_all(written: Written, table: list[str], what: str) -> None:
    for subject in ("u-1", "u-2"):
        get_or_create_user(Person(OLD, subject))
    get_or_create_user(Person("https://new.example", "taken"))
    arguments = ["--to", "https://new.example", "--subjects", written("old,new", *table)]

    assert what in refused("ciam_rekey", "--from", OLD, *arguments, "--apply")
    assert CiamIdentity.objects.filter(issuer=OLD).count() == 2


def test_an_issuer_of_nobody_is_told_of() -> None:
    get_or_create_user(Person(OLD, "u-1"))

    assert f"Allowed: ['{OLD}']" in refused("ciam_rekey", "--from", "x", "--to", "y")


def test_only_the_first_of_many_faults_are_told(written: Written) -> None:
    lines = [f"nobody-{number},u-{number}" for number in range(50)]
    told = refused("ciam_link", written("user,subject", *lines), "--issuer", OLD)

    assert told.count("there is no user") == 20
    assert "50 can't be done" in told
