"""Each code has a cause, and each kind has advice for operators."""

from __future__ import annotations

from ciam_django.codes import CODES
from ciam_django.error_table.advice import KIND_ADVICE, advice_for, cause_of, causes
from ciam_django.kinds import Kind


def test_each_code_has_a_cause_in_the_order_of_the_table() -> None:
    assert list(causes()) == list(CODES)
    assert [row.code for row in causes().values() if not row.cause.endswith(".")] == []


def test_each_kind_has_advice_for_operators() -> None:
    assert list(KIND_ADVICE) == list(Kind)


def test_a_code_of_the_project_has_the_advice_of_its_kind_and_no_cause() -> None:
    assert cause_of("Shop.Closed") == ""
    assert advice_for("Shop.Closed", Kind.CONSENT) == KIND_ADVICE[Kind.CONSENT]
    assert cause_of("invalid_client") == causes()["invalid_client"].cause


def test_advice_about_the_console_of_ciam_is_marked_as_unverified() -> None:
    text = advice_for("Operation.Failure.User.Locked", Kind.ACCOUNT_STATE)

    assert "CIAM's console" in text
    assert text.endswith("(The places and names in CIAM's console are unverified.)")
