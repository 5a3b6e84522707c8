"""The pages of the codes have the facts of the table, and each code has a page."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest
from ciam_reference.codes import (
    LANGUAGES,
    code_page,
    code_pages,
    codes_by_heading,
    file_name,
    headings_index,
    kinds_index,
    overridable_fields,
)
from django.utils.translation import override
from pytest_django.fixtures import Settings

from ciam_django.answers import answer_to, possible_answers
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.checks.settings import check_error_overrides
from ciam_django.codes import CODES, Meaning, row
from ciam_django.error_table.advice import KIND_ADVICE, causes
from ciam_django.errors import CiamError
from ciam_django.kinds import Kind
from ciam_django.lookup import OVERRIDABLE_FIELDS
from ciam_django.reporting import report
from tests.rows import for_each_row

ANSWERED = [code for code, meaning in CODES.items() if meaning.kind is not Kind.SUCCESS]


def test_the_url_of_a_problem_leads_to_the_page_of_its_code(settings: Settings) -> None:
    settings.CIAM_PROBLEM_TYPE_URL = "https://docs.example/codes/{code}.html"
    pages = {f"https://docs.example/codes/{name}.html" for name in code_pages()}
    answers = possible_answers()

    assert len(answers) >= len(ANSWERED)
    assert [answer.code for answer in answers.values() if answer.type not in pages] == []
    assert len(pages) == len(CODES)


def test_each_code_has_the_heading_of_the_table() -> None:
    assert [code for rows in codes_by_heading().values() for code in rows] == list(CODES)
    assert "" not in codes_by_heading()


def test_the_index_lists_each_code_by_kind_and_by_heading() -> None:
    for index in (kinds_index(), headings_index()):
        assert [code for code in CODES if f"(<{file_name(code)}.md>)" not in index] == []
    for kind in Kind:
        assert f"### `{kind}`\n" in kinds_index()


@for_each_row("code, meaning", CODES.items())
def test_a_page_has_the_cause_and_the_sentence_in_each_language(
    code: str, meaning: Meaning
) -> None:
    text = code_page(code)

    assert f"# `{code}`\n" in text
    assert causes()[code].cause in text
    assert (causes()[code].advice or KIND_ADVICE[meaning.kind]) in text
    for language, tag in LANGUAGES.items() if meaning.kind is not Kind.SUCCESS else ():
        with override(language):
            # The texts of the package have neither "&" nor "<".
            assert f'<span lang="{tag}">{meaning.message}</span>'.replace("'", "&#x27;") in text


@for_each_row("code", ANSWERED)
def test_the_json_of_a_page_is_the_real_answer(code: str) -> None:
    example = code.replace("*", "Example")
    body = json.loads(block_of(code_page(code), "json"))

    with override("en"):
        answer = answer_to(CiamError(example, request_id=body["request_id"]))
    assert body == json.loads(json.dumps(answer.as_dict()))
    assert answer.code == code


def test_the_override_of_a_page_is_valid_and_changes_nothing(settings: Settings) -> None:
    overrides: dict[str, Any] = {}
    for code in ANSWERED:
        overrides |= ast.literal_eval(block_of(code_page(code), "python").partition(" = ")[2])
    before = {code: answer.as_dict() for code, answer in possible_answers().items()}

    settings.CIAM_ERROR_OVERRIDES = overrides

    assert list(overrides) == ANSWERED
    assert {message.id for message in check_error_overrides(None)} == {
        CHECK_IDS["override uncollapsed"]
    }
    assert {code: answer.as_dict() for code, answer in possible_answers().items()} == before


def test_a_code_that_generic_errors_hide_names_the_code_of_the_answer() -> None:
    text = code_page("Operation.Failure.User.Locked")

    assert "[`Operation.Failure.Username.Or.Password.Error`]" in text
    assert "`ciam_django.W007`" in text
    assert '`"collapse": "sign_in"`' in text


def test_a_page_has_the_headers_that_only_some_answers_have() -> None:
    assert "`Retry-After: 60`" in code_page("too_many_requests")
    assert "`WWW-Authenticate: Bearer`" in code_page("invalid_token")
    assert "The response has the header" not in code_page("Operation.Failure.User.Locked")


@pytest.mark.parametrize(
    ("code", "page"),
    [
        ("invalid_grant", "invalid_grant"),
        ("BAD_configuration", "bad_configuration"),
        ("40029", "wechat.40029"),
        ("Params.Blank.Shop", "Params.Blank.*"),
        ("Params.Blank.OauthClient.Shop", "Params.Blank.OauthClient.*"),
        ("shop", "unknown_error"),
    ],
)
def test_a_page_has_the_levels_and_the_row_of_the_log_line(
    code: str, page: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ciam_django")
    for _ in range(2):
        report(CiamError(code, stage="token"))

    first, second = caplog.records
    (row, levels) = re.findall(
        r"has the words `(row=.+?)`\. Its level is (.+?)\.", code_page(page)
    )[0]
    assert f" {row} " in first.getMessage()
    assert first.levelname == levels.partition(" ")[0]
    # After an ERROR, the second line is a WARNING.
    assert second.levelname == levels.rpartition(" ")[2].replace("ERROR", "WARNING")


def test_the_fields_of_an_override_are_in_the_index() -> None:
    for name, field in OVERRIDABLE_FIELDS.items():
        assert f"| `{name}` | {field.allowed_text} |" in overridable_fields()


def test_an_override_of_a_family_changes_the_codes_of_the_family(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Params.Blank.*": {"status": 422}}

    assert "The override also changes the codes" in code_page("Params.Blank.*")
    assert answer_to(CiamError("Params.Blank.Code")).status == 422


def test_a_success_has_a_page_without_an_answer() -> None:
    text = code_page("Operation.Success")

    assert "```json" not in text
    assert "CIAM_ERROR_OVERRIDES" not in text


def test_a_new_row_gets_a_page_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODES, "Shop.Closed", row(Kind.UPSTREAM, reason="the shop is closed"))

    assert "the shop is closed" in code_pages()["Shop.Closed"]


def block_of(text: str, language: str) -> str:
    """The only code block of the text in a language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(block)
