"""The table of a project is compared with the package, an older export and CIAM's list."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from ciam_django.codes import CODES
from ciam_django.error_table import differences
from ciam_django.error_table.differences import (
    Difference,
    WrongInputError,
    differences_from_export,
    differences_from_package,
    differences_from_vendor,
)
from ciam_django.error_table.exports import json_export

LOCKED = "Operation.Failure.User.Locked"
VENDOR_LIST = Path(differences.__file__).with_name("vendor_codes.tsv")

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a file, and returns its path."""

    def write_file(content: str) -> str:
        path = tmp_path / "file"
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write_file


# --- Tables -----------------------------------------------------------------------------------


def test_a_project_without_overrides_has_the_table_of_the_package() -> None:
    assert differences_from_package() == []


def test_an_override_is_a_change_and_an_own_code_is_new(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {
        LOCKED: {"status": 423, "message": {"zh-hans": "锁定"}},
        "Shop.Closed": "We are closed.",
    }
    locked, new = differences_from_package()

    assert new == Difference("Shop.Closed", "new")
    assert (locked.code, locked.what) == (LOCKED, "changed")
    assert locked.changes["status"] == (403, 423)
    assert locked.changes["sentences[zh-hans]"][1] == "锁定"
    assert list(locked.changes) == ["status", "sentences[zh-hans]"]


def test_an_older_export_shows_what_is_new_gone_and_changed(
    settings: Settings, write: Write
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": "We are closed.", LOCKED: {"retry": True}}
    path = write(json_export())
    assert differences_from_export(path) == []
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Full": "We are full."}
    # A language that only one of the tables has is no difference.
    settings.LANGUAGES = [("en", "English"), ("zh-tw", "Taiwan")]

    assert differences_from_export(path) == [
        Difference(LOCKED, "changed", {"retry": (True, False)}),
        Difference("Shop.Full", "new"),
        Difference("Shop.Closed", "gone"),
    ]


def changed_export(**members: Any) -> str:
    document = json.loads(json_export())
    document["codes"][0].update(members)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "must be 1. Make the file with"),
        ('{"format": 2}', "must be 1. Make the file with"),
        ('{"format": 1}', "has no list 'codes'"),
        ('{"format": 1, "codes": [7]}', "member 'code' is missing"),
        ('{"format": 1, "codes": [{"code": "x"}]}', "member 'kind' is missing"),
    ],
)
def test_a_file_that_is_no_export_is_refused(content: str, reason: str, write: Write) -> None:
    with pytest.raises(WrongInputError, match=reason):
        differences_from_export(write(content))


def test_a_member_of_a_wrong_type_and_a_missing_file_are_refused(
    write: Write, tmp_path: Path
) -> None:
    wrong: list[dict[str, Any]] = [{"status": "403"}, {"retry": None}, {"field": 1}, {"titles": []}]
    for members in wrong:
        with pytest.raises(WrongInputError, match=f"member '{next(iter(members))}'"):
            differences_from_export(write(changed_export(**members)))
    with pytest.raises(WrongInputError, match="can't be read as UTF-8"):
        differences_from_export(str(tmp_path / "missing"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WrongInputError, match="can't be read as UTF-8"):
        differences_from_vendor(str(tmp_path / "bytes"))


# --- The vendor's list ------------------------------------------------------------------------


def test_the_list_of_this_version_has_the_first_codes_of_the_table() -> None:
    lines = VENDOR_LIST.read_text(encoding="utf-8").splitlines()

    assert [line.split("\t")[1] for line in lines[1:]] == list(CODES)[:162]
    assert differences_from_vendor(str(VENDOR_LIST)) == []


def test_a_list_with_commas_and_other_columns_is_compared(write: Write) -> None:
    rows = [line.split("\t") for line in VENDOR_LIST.read_text(encoding="utf-8").splitlines()]
    quoted = ["\ufeff" + ",".join([*reversed(rows[0]), "note"])]
    quoted += [f'"{text}",{code},{family},"a\nb"' for family, code, text in rows[1:]]

    assert differences_from_vendor(write("\n".join(quoted))) == []


def test_the_codes_that_are_new_gone_or_changed_are_told(settings: Settings, write: Write) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": "We are closed."}
    text = VENDOR_LIST.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "\tlogin_failed\t" not in line]
    content = "\n".join(lines).replace("\tuser_deleted\t", "\tUser_Deleted\t")
    content = content.replace("The token is invalid.", "The token has ended.", 1)
    content += "\nservice\tOperation.Failure.User.Sleeping\tAsleep.\nnew\tMoon.Phase\t"
    content += "\nnew\tShop.Closed\tClosed.\n"

    assert differences_from_vendor(write(content)) == [
        Difference(
            "invalid_token",
            "changed",
            {"description": ("The token is invalid.", "The token has ended.")},
        ),
        Difference("User_Deleted", "changed", {"key": ("user_deleted", "User_Deleted")}),
        Difference(
            "Operation.Failure.User.Sleeping",
            "new",
            note="the family Operation.Failure.User.* answers it, with the kind account_state",
        ),
        Difference(
            "Moon.Phase", "new", note="unknown: unknown_error answers it, with the kind upstream"
        ),
        Difference("Shop.Closed", "new", note="this project has the row Shop.Closed"),
        Difference("login_failed", "gone"),
    ]


def test_only_the_columns_of_the_file_are_compared(write: Write) -> None:
    content = "key\n" + "\n".join(list(CODES)[:162])

    assert differences_from_vendor(write(content)) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "has no column 'key'"),
        ("code\tdescription\nx\ty", "has no column 'key'"),
        ("key\tdescription\na b\ty", "line 2: 'a b' is no code"),
        ("key,description\n\x1b[2J,y", "line 2: .* is no code"),
        ("key,description\n=1+1,y", "line 2: '=1[+]1' is no code"),
        ("key,description\nx,y\nX,z", "line 3: X is there already"),
        ('key,description\nx,"y', "line 1: unexpected end of data"),
        ("key,description\n,y", "line 2: '' is no code"),
    ],
)
def test_a_file_that_is_no_list_is_refused(content: str, reason: str, write: Write) -> None:
    with pytest.raises(WrongInputError, match=reason):
        differences_from_vendor(write(content))
