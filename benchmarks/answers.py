"""Time making the answer for a code in the user's language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from django.conf import settings
from django.utils.translation import activate, gettext, override

from benchmarks.cases import Case, Row, Seconds, timed_case
from ciam_django.answers import answer_to
from ciam_django.codes import CODES
from ciam_django.errors import CiamError

CODE: Final = "Operation.Failure.User.Locked"
ROWS = [
    Row("Code to answer, over a dict look-up and one gettext", "answer", "by hand", 5.0),
    Row("Code to answer with 200 overrides, over none", "200 overrides", "answer", 1.0),
]
# Overrides for other codes only, so that the answer stays the same.
OVERRIDES: Final = {code: {"status": 418} for code in [c for c in CODES if c != CODE][:150]} | {
    f"My.Own.{number}": "A text of the project." for number in range(50)
}


def cases() -> Mapping[str, Case]:
    activate("zh-hans")
    with override(None):
        table = {code: str(row.message) for code, row in CODES.items()}

    def by_hand() -> str:
        return gettext(table[CODE])

    def answer() -> object:
        return answer_to(CiamError(CODE, request_id="1656572265429$49b4", stage="token"))

    return {
        "by hand": timed_case(by_hand),
        "answer": timed_case(answer),
        "200 overrides": _case_with_overrides(answer),
    }


def _case_with_overrides(answer: Callable[[], object]) -> Case:
    timed = timed_case(answer)

    def case(loops: int) -> Seconds:
        settings.CIAM_ERROR_OVERRIDES = OVERRIDES
        answer()
        seconds = timed(loops)
        settings.CIAM_ERROR_OVERRIDES = {}
        return seconds

    return case
