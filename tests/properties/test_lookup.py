"""Property tests of the look-up of codes, with any ``CIAM_ERROR_OVERRIDES``."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from ciam_django.answers import answer_to
from ciam_django.codes import CODES
from ciam_django.errors import CiamError, code_in
from ciam_django.lookup import matched_row, meaning_of
from tests.properties.strategies import CODE, JSON, SCALARS, STATUS

pytestmark = pytest.mark.slow("properties")

FIELDS = st.sampled_from(
    ["message", "status", "kind", "action", "field", "audience", "retry", "collapse", "mesage"]
)
OVERRIDES = st.dictionaries(
    CODE | st.text(max_size=20) | st.integers(),
    SCALARS | st.dictionaries(FIELDS, JSON, max_size=4) | JSON,
    max_size=4,
)


@given(st.text(max_size=200) | CODE, st.text(max_size=40) | CODE, st.none() | STATUS)
def test_any_code_matches_a_row(code: str, type_code: str, status: int | None) -> None:
    match = matched_row(code, type_code, status)

    assert match.key in CODES
    assert match.matched_by in ("exact", "family", "type code", "status", "unknown")


@given(CODE, st.randoms(use_true_random=False))
def test_letter_case_of_a_code_does_not_matter(code: str, random: Any) -> None:
    mixed = "".join(random.choice([letter.upper(), letter.lower()]) for letter in code)

    assert matched_row(mixed).key == matched_row(code).key


@given(CODE, st.sampled_from([" ", ": ", "\n", "，", " - ", "\t"]), st.text(max_size=80))
def test_text_after_a_code_does_not_matter(code: str, gap: str, words: str) -> None:
    assert code_in(f"{code}{gap}{words}") in (code, "")
    assert code_in(f"{code}{gap}") == code_in(code)


@given(OVERRIDES | JSON, CODE)
def test_an_answer_is_possible_with_any_overrides_setting(overrides: Any, code: str) -> None:
    with override_settings(CIAM_ERROR_OVERRIDES=overrides):
        codes = [code, *(overrides if isinstance(overrides, dict) else ())]
        for name in (str(name) for name in codes):
            assert meaning_of(name).kind
            assert 400 <= answer_to(CiamError(name)).status <= 599
