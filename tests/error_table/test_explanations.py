"""The explanation of a code says what users get, and how the row was found."""

from __future__ import annotations

from typing import Any

from django.utils.translation import override
from pytest_django.fixtures import Settings

from ciam_django.error_table.explanations import explanation_lines, explanation_of, is_code
from ciam_django.error_table.rows import project_table
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
WRONG_PASSWORD = "Operation.Failure.Username.Or.Password.Error"


def test_each_code_of_the_table_is_explained() -> None:
    for code, row in project_table().items():
        explanation = explanation_of(code)

        assert (explanation.row, explanation.found_by) == (code, "the exact code")
        assert (explanation.kind, explanation.status) == (row.kind, row.status)
        assert explanation.sentences == row.sentences, code
        assert explanation.titles == row.titles, code
        assert explanation.cause, code
        assert explanation.advice, code
        assert explanation.similar == (), code


@for_each_row(
    "arguments, row, found_by",
    [
        (("operation.failure.user.LOCKED",), LOCKED, "the exact code"),
        (("40029",), "wechat.40029", "the exact code"),
        (
            ("Params.Blank.Moon",),
            "Params.Blank.*",
            "its family: the code has no row of its own",
        ),
        (
            ("Moon", "Params.Blank"),
            "Params.Blank",
            "the type code, because the code has no row and no family",
        ),
        (
            ("Moon", "", 429),
            "too_many_requests",
            "the HTTP status 429 of CIAM, because the code has no row and no family",
        ),
        (("Moon",), "unknown_error", "no step: the code is unknown"),
    ],
)
def test_the_step_that_finds_the_row_is_told(
    arguments: tuple[Any, ...], row: str, found_by: str
) -> None:
    explanation = explanation_of(*arguments)

    assert (explanation.row, explanation.found_by) == (row, found_by)


def test_another_spelling_names_its_row() -> None:
    assert explanation_of("40029").alias_of == "wechat.40029"
    assert explanation_of("wechat.40029").alias_of is None
    assert "  spelling of   wechat.40029" in list(explanation_lines(explanation_of("40029")))


def test_a_misspelt_code_names_the_similar_codes(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": "We are closed."}

    assert explanation_of("Shop.Close").similar == ["Shop.Closed"]
    assert explanation_of("Operation.Failure.User.Loked").similar[0] == LOCKED
    assert explanation_of("Moon").similar == []
    # Only the three most similar codes.
    similar = explanation_of("Params.Blank.Moon").similar
    assert similar == ["Params.Blank.*", "Params.Blank", "Params.Blank.Code"]


def test_the_overrides_in_force_are_told_in_their_order(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {
        LOCKED: {"message": "Locked.", "stauts": 1},
        "operation.failure.user.*": {"status": 423, "retry": True},
        "unknown_error": {"status": 500},
        "Params.Blank": {"field": "phone"},
        "too_many_requests": {"retry": False},
        "wechat.40029": {"status": 401},
        "40029": {"retry": True},
        "Operation.Failure.User.Disabled": {"stauts": 1},
    }

    assert list(explanation_of(LOCKED).overrides.items()) == [
        ("operation.failure.user.*", ["retry", "status"]),
        (LOCKED, ["message"]),
    ]
    assert list(explanation_of("Operation.Failure.User.Disabled").overrides) == [
        "operation.failure.user.*"
    ]
    assert list(explanation_of("40029").overrides) == ["wechat.40029", "40029"]
    assert list(explanation_of("Moon").overrides) == ["unknown_error"]
    assert list(explanation_of("Moon", "Params.Blank").overrides) == ["Params.Blank"]
    assert list(explanation_of("Moon", "", 429).overrides) == ["too_many_requests"]
    (line,) = [
        line for line in explanation_lines(explanation_of(LOCKED)) if line.startswith("  overrides")
    ]
    assert line == (
        "  overrides     CIAM_ERROR_OVERRIDES['operation.failure.user.*'] sets retry, status; "
        f"CIAM_ERROR_OVERRIDES['{LOCKED}'] sets message"
    )


def test_the_generic_answer_and_its_stages_are_told(settings: Settings) -> None:
    generic = explanation_of(LOCKED).generic

    assert generic is not None
    assert generic.code == WRONG_PASSWORD
    assert list(generic.stages) == ["password", "recover", "register", "send_code", "verify_code"]
    assert generic.sentences == project_table()[WRONG_PASSWORD].sentences
    lines = "\n".join(explanation_lines(explanation_of(LOCKED)))
    assert f"users get {WRONG_PASSWORD} instead" in lines
    assert explanation_of("timeout").generic is None
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: "Locked."}
    assert explanation_of(LOCKED).generic is None
    settings.CIAM_ERROR_OVERRIDES = {}
    settings.CIAM_GENERIC_ERRORS = False
    assert explanation_of(LOCKED).generic is None


def test_a_code_for_developers_has_its_reason() -> None:
    lines = list(explanation_lines(explanation_of("invalid_client")))

    assert "  The sentence is general, because only a developer can use the reason." in lines
    (reason,) = [line for line in lines if "Reason in the log line" in line]
    assert "client_secret" in reason
    assert "  Page of the documentation: codes/invalid_client" in lines
    assert not any("`" in line for line in lines)


@for_each_row(
    "fields, is_general",
    [
        ({"message": "Your branch is closed."}, False),
        ({"kind": "permission"}, True),
        ({"message": "Your branch is closed.", "audience": "developer"}, True),
        ({"message": "Your branch is closed.", "audience": "user"}, False),
    ],
)
def test_a_sentence_of_the_project_is_not_called_general(
    fields: dict[str, str], is_general: bool, settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": fields}
    explanation = explanation_of("Shop.Closed")

    assert explanation.is_general is is_general
    assert any("is general" in line for line in explanation_lines(explanation)) is is_general


def test_a_code_of_the_project_has_advice_and_no_page(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": {"message": "Closed.", "kind": "consent"}}
    settings.LANGUAGE_CODE = "fr"
    explanation = explanation_of("Shop.Closed")
    lines = list(explanation_lines(explanation))

    assert (explanation.cause, explanation.page, explanation.reason) == ("", "", "")
    assert lines[-1] == "  Nothing: the user has to agree to the terms."
    assert "  overrides     CIAM_ERROR_OVERRIDES['Shop.Closed'] sets kind, message" in lines
    assert "  title         Please agree to continue" in lines


@for_each_row(
    "text, expected",
    [
        (LOCKED, True),
        ("40029", True),
        ("Params.*", True),
        ("*.Too.Frequency", True),
        ("mismatching_state", True),
        ("local-0123456789abcdef", False),
        ("1656572265429$49b4", False),
        ("a b", False),
        ("", False),
        ("x" * 128, True),
        ("x" * 129, False),
    ],
)
def test_the_form_of_a_code_is_told_from_a_request_id(text: str, expected: bool) -> None:
    assert is_code(text) is expected


def text_of(code: str) -> str:
    """The explanation of a code as operators read it, without the spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in explanation_lines(explanation_of(code)))


def sentences_of(code: str) -> str:
    sentences = project_table()[code].sentences
    return "\n".join(f"  {language:<13} {sentence}" for language, sentence in sentences.items())


@for_each_row("language", ["en", "zh-hans"])
def test_the_explanation_of_a_code_with_a_generic_answer_is_one_page(language: str) -> None:
    with override(language):
        text = text_of(LOCKED)

    assert (
        text
        == f"""\
  code          {LOCKED}
  row           {LOCKED}
  found by      the exact code
  kind          account_state
  status        403
  title         Account unavailable
  action        contact_support (Contact support)
  field         none
  audience      user
  retry         no
  log level     INFO
  overrides     none

What users read:
{sentences_of(LOCKED)}
  At the stages password, recover, register, send_code, verify_code, users get {WRONG_PASSWORD} \
instead,
  because the true answer tells if an account exists (CIAM_GENERIC_ERRORS):
{sentences_of(WRONG_PASSWORD)}

What operators do:
  The account is locked at CIAM.
  {explanation_of(LOCKED).advice.replace("`", "")}
  Page of the documentation: codes/{LOCKED}"""
    )


def test_the_explanation_of_an_unknown_code_names_the_similar_codes() -> None:
    misspelt = "Operation.Failure.Captcha.Eror"

    assert (
        text_of(misspelt)
        == f"""\
  code          {misspelt}
  row           unknown_error
  found by      no step: the code is unknown
  did you mean  Operation.Failure.Captcha.Error, Operation.Failure.Captcha.Invalid
  kind          upstream
  status        503
  title         Service temporarily unavailable
  action        retry (Try again)
  field         none
  audience      developer
  retry         no
  log level     WARNING
  overrides     none

What users read:
{sentences_of("unknown_error")}
  The sentence is general, because only a developer can use the reason.

What operators do:
  CIAM has sent a code that has no row and no family.
  {explanation_of(misspelt).advice.replace("`", "")}
  Page of the documentation: codes/unknown_error"""
    )


def test_the_explanation_tells_the_field_and_that_an_attempt_can_be_repeated() -> None:
    assert "\n  field         password\n" in text_of("Params.Blank.User.Password")
    assert "\n  retry         yes\n" in text_of("too_many_requests")
