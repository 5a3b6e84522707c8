"""Explain a code, or the failure with a request id, to operators."""

from __future__ import annotations

import dataclasses
import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.utils.translation import override

from ciam_django.answers import GENERIC_ERROR_STAGES, code_in_url
from ciam_django.codes import UNKNOWN, Meaning
from ciam_django.conf import conf
from ciam_django.error_table.advice import advice_for, cause_of
from ciam_django.error_table.rows import sentence_in, table_languages
from ciam_django.kinds import ACTIONS, KINDS, Audience
from ciam_django.lookup import (
    MatchedRow,
    alias_target,
    applied_overrides,
    generic_row,
    is_known,
    known_keys,
    matched_row,
)

_CODE: Final = re.compile(r"(\*\.)?[A-Za-z]\w*(\.\w+)*(\.\*)?", re.ASCII)
_MAX_CODE_LENGTH: Final = 128
# The similarity of a misspelt code and the intended code.
_MIN_SIMILARITY: Final = 0.8
_MATCH_TEXTS: Final[Mapping[str, str]] = {
    "exact": "the exact code",
    "family": "its family: the code has no row of its own",
    "type code": "the type code, because the code has no row and no family",
    "status": "the HTTP status 429 of CIAM, because the code has no row and no family",
    "unknown": "no step: the code is unknown",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Explanation:
    """All that operators need to know about a code.

    ``alias_of`` is the row that has the code as another spelling. ``overrides`` has, for each key
    of ``CIAM_ERROR_OVERRIDES`` that changes the answer, the fields that it changes. ``titles`` and
    ``sentences`` are by language. ``is_general`` is true if the sentence is that of the kind, and
    only developers can use the reason. ``generic`` says when users get another answer, and has the
    code and the sentences of this answer; it is None if users always get this one. ``page`` is the
    name of the page of the documentation, without suffix.
    """

    code: str
    row: str
    found_by: str
    alias_of: str | None
    similar: Sequence[str]
    kind: str
    status: int
    action: str
    action_label: str
    field: str | None
    audience: str
    retry: bool
    log_level: str
    overrides: Mapping[str, Sequence[str]]
    titles: Mapping[str, str]
    sentences: Mapping[str, str]
    is_general: bool
    reason: str
    cause: str
    advice: str
    generic: GenericAnswer | None
    page: str


@dataclasses.dataclass(frozen=True, slots=True)
class GenericAnswer:
    """The answer that users get at some stages instead of the answer of the row."""

    stages: Sequence[str]
    code: str
    sentences: Mapping[str, str]


def is_code(text: str) -> bool:
    """Return True if the text has the form of a code or of a family."""
    return len(text) <= _MAX_CODE_LENGTH and (is_known(text) or bool(_CODE.fullmatch(text)))


def explanation_of(
    code: str, type_code: str = "", upstream_status: int | None = None
) -> Explanation:
    """Return the explanation of a code, as the answers of this project treat the code."""
    row = matched_row(code, type_code, upstream_status)
    meaning = row.meaning
    languages = table_languages()
    title = meaning.title or KINDS[meaning.kind].title
    cause = cause_of(row.key)
    overrides = _overrides_of(code, type_code, row)
    has_own_message = any("message" in fields for fields in overrides.values())
    with override("en"):
        action_label = str(ACTIONS[meaning.action].label)
    return Explanation(
        code=code,
        row=row.key,
        found_by=_MATCH_TEXTS[row.matched_by],
        alias_of=alias_target(code),
        similar=_similar_codes(code) if row.matched_by in ("unknown", "family") else (),
        kind=str(meaning.kind),
        status=meaning.status,
        action=str(meaning.action),
        action_label=action_label,
        field=meaning.field,
        audience=str(meaning.audience),
        retry=meaning.retry,
        log_level=logging.getLevelName(KINDS[meaning.kind].log_level),
        overrides=overrides,
        titles={language: sentence_in(language, title) for language in languages},
        sentences=_sentences(row, languages),
        is_general=(
            meaning.audience == Audience.DEVELOPER
            and (row.has_hidden_message or not has_own_message)
        ),
        reason=str(row.reason),
        cause=_plain_text(cause),
        advice=_plain_text(advice_for(row.key, meaning.kind)),
        generic=_generic_answer(row, meaning, languages),
        page=f"codes/{code_in_url(row.key)}" if cause else "",
    )


def _plain_text(text: str) -> str:
    """Return a text of the documentation without the marks of code."""
    return text.replace("`", "")


def _similar_codes(code: str) -> list[str]:
    """Return at most three codes of the table that look like the code, the most similar first."""
    by_folded = {key.casefold(): key for key in known_keys()}
    close = difflib.get_close_matches(code.casefold(), by_folded, n=3, cutoff=_MIN_SIMILARITY)
    return [by_folded[folded] for folded in close]


def _overrides_of(code: str, type_code: str, row: MatchedRow) -> dict[str, list[str]]:
    matched_code = {"type code": type_code, "status": row.key, "unknown": UNKNOWN}.get(
        row.matched_by, code
    )
    found = {key: sorted(fields) for key, fields in applied_overrides(matched_code).items()}
    return {key: names for key, names in found.items() if names}


def _sentences(row: MatchedRow, languages: Sequence[str]) -> dict[str, str]:
    return {language: sentence_in(language, row.message_for_users) for language in languages}


def _generic_answer(
    row: MatchedRow, meaning: Meaning, languages: Sequence[str]
) -> GenericAnswer | None:
    # A message of the project is shown at all stages.
    if meaning.collapse is None or row.has_project_message or not conf.CIAM_GENERIC_ERRORS:
        return None
    target = generic_row(meaning.collapse)
    return GenericAnswer(
        sorted(map(str, GENERIC_ERROR_STAGES)), target.key, _sentences(target, languages)
    )


# --- As text ----------------------------------------------------------------------------------


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """Yield the lines of an explanation for a terminal, in English."""
    yield from _lines_of_facts(_facts(explanation))
    yield ""
    yield "What users read:"
    yield from _lines_of_facts(explanation.sentences.items())
    if generic := explanation.generic:
        yield f"  At the stages {', '.join(generic.stages)}, users get {generic.code} instead,"
        yield "  because the true answer tells if an account exists (CIAM_GENERIC_ERRORS):"
        yield from _lines_of_facts(generic.sentences.items())
    elif explanation.is_general:
        yield "  The sentence is general, because only a developer can use the reason."
    yield ""
    yield "What operators do:"
    for text in (explanation.cause, explanation.advice):
        if text:
            yield f"  {text}"
    if explanation.reason:
        yield f"  Reason in the log line: {explanation.reason}"
    if explanation.page:
        yield f"  Page of the documentation: {explanation.page}"


def _facts(explanation: Explanation) -> Iterator[tuple[str, object]]:
    yield "code", explanation.code
    if explanation.alias_of:
        yield "spelling of", explanation.alias_of
    yield "row", explanation.row
    yield "found by", explanation.found_by
    if explanation.similar:
        yield "did you mean", ", ".join(explanation.similar)
    yield "kind", explanation.kind
    yield "status", explanation.status
    yield (
        "title",
        explanation.titles.get(settings.LANGUAGE_CODE) or next(iter(explanation.titles.values())),
    )
    yield "action", f"{explanation.action} ({explanation.action_label})"
    yield "field", explanation.field or "none"
    yield "audience", explanation.audience
    yield "retry", "yes" if explanation.retry else "no"
    yield "log level", explanation.log_level
    yield "overrides", _overrides_text(explanation.overrides)


def _overrides_text(overrides: Mapping[str, Sequence[str]]) -> str:
    parts = [
        f"CIAM_ERROR_OVERRIDES[{key!r}] sets {', '.join(names)}" for key, names in overrides.items()
    ]
    return "; ".join(parts) or "none"


def _lines_of_facts(facts: Any) -> Iterator[str]:
    return (f"  {name:<13} {value}" for name, value in facts)
