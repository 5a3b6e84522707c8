"""The tables of the project and of the package have what users read."""

from __future__ import annotations

import pytest
from django.utils.translation import override
from pytest_django.fixtures import Settings

from ciam_django.answers import answer_to
from ciam_django.codes import CODES
from ciam_django.error_table.rows import (
    is_answered,
    package_table,
    project_table,
    table_languages,
)
from ciam_django.errors import CiamError

LOCKED = "Operation.Failure.User.Locked"


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {
            "Operation.Failure.User.*": {"status": 423, "message": {"fr": "Compte bloqué."}},
            LOCKED: {"message": {"zh-hans": "锁定"}, "audience": "user"},
            "Shop.Closed": {"message": "We are closed.", "kind": "permission"},
            "timeout": {"message": "Look at the network.", "audience": "developer"},
        },
    ],
)
def test_each_row_of_the_project_is_the_answer_in_each_language(
    overrides: dict[str, object], settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = overrides
    settings.LANGUAGES = [*settings.LANGUAGES, ("fr", "Français"), ("de", "Deutsch")]
    rows = project_table()
    wrong = []
    for code, row in rows.items():
        for language in table_languages() if is_answered(row) else ():
            with override(language):
                answer = answer_to(CiamError(code))
            facts = (answer.status, answer.kind, answer.action, answer.field, answer.detail)
            expected = (row.status, row.kind, row.action, row.field, row.sentences[language])
            if facts != expected:
                wrong.append((code, language, facts, expected))

    assert wrong == []
    assert list(rows) == [*CODES, *(["Shop.Closed"] if overrides else [])]
    assert table_languages() == ["en", "zh-hans", "zh-hant", *(["fr"] if overrides else [])]


def test_the_table_of_the_package_has_no_override_and_no_setting(settings: Settings) -> None:
    before = package_table()
    assert before == project_table()
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: "No.", "Shop.Closed": "We are closed."}
    settings.CIAM_UPSTREAM_STATUS = 500

    assert package_table() == before
    changed = project_table()
    assert changed[LOCKED].sentences["zh-hans"] == "No."
    assert changed["server_error"].status == 500


def test_without_a_language_of_ours_the_table_is_in_english(settings: Settings) -> None:
    settings.LANGUAGES = [("de", "Deutsch")]

    assert table_languages() == ["en"]
    assert project_table()[LOCKED].titles == {"en": "Account unavailable"}


def test_a_text_is_found_in_the_code_and_in_the_sentences() -> None:
    row = project_table()[LOCKED]

    assert row.has_text("user.locked")
    assert row.has_text("锁定")
    assert not row.has_text("unlocked by")


def test_only_the_code_of_a_success_is_no_answer() -> None:
    assert [row.code for row in project_table().values() if not is_answered(row)] == [
        "Operation.Success"
    ]
