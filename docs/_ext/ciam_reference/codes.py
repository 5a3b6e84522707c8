"""The page of each code, and the index of the codes."""

from __future__ import annotations

import functools
import html
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from django.utils.translation import override

from ciam_django import codes
from ciam_django.answers import GENERIC_ERROR_STAGES, answer_to, code_in_url
from ciam_django.codes import ALIASES, CODES, COLLAPSE_TARGETS, Meaning
from ciam_django.conf import conf
from ciam_django.error_table.advice import KIND_ADVICE, advice_for, causes
from ciam_django.errors import CiamError
from ciam_django.kinds import ACTIONS, KINDS, Audience, Kind
from ciam_django.lookup import OVERRIDABLE_FIELDS
from ciam_reference.markdown import escaped, literal, literals, page, table

# The language codes of Django -> of HTML.
LANGUAGES: Final = {"en": "en", "zh-hans": "zh-Hans", "zh-hant": "zh-Hant"}
_LANGUAGE_NAMES: Final = {"en": "English", "zh-hans": "简体中文", "zh-hant": "繁體中文"}
_REQUEST_ID: Final = "1656572265429$49b433a9-219a-910a-0323-2af4f1f1a9ce"
# The headers that only some answers have.
_HEADERS: Final = ("Retry-After", "WWW-Authenticate")
_HEADING: Final = re.compile(r"^    # --- (.+?) -+$")
_ROW: Final = re.compile(r'^    (?:"([^"]+)"|(UNKNOWN)): row\(')


def file_name(code: str) -> str:
    """Return the name of the page of a code, as ``{code}`` in ``CIAM_PROBLEM_TYPE_URL``."""
    return code_in_url(code)


def code_pages() -> Mapping[str, str]:
    """Return file name without suffix -> page, for each code."""
    return {file_name(code): code_page(code) for code in CODES}


@functools.cache
def codes_by_heading() -> Mapping[str, Sequence[str]]:
    """Return heading of ``codes.py`` -> the codes below the heading."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in Path(codes.__file__).read_text(encoding="utf-8").splitlines():
        if match := _HEADING.match(line):
            heading = match[1]
        elif match := _ROW.match(line):
            found.setdefault(heading, []).append(match[1] or codes.UNKNOWN)
    return found


def sentence_in(language: str, meaning: Meaning) -> str:
    """Return the sentence for users in a language."""
    with override(language):
        return str(meaning.message)


# --- The index --------------------------------------------------------------------------------


def kinds_index() -> str:
    """Return a section for each kind, with its defaults and its codes."""
    return page(*map(_kind_section, Kind))


def headings_index() -> str:
    """Return a section for each heading of the table, with a table of its codes."""
    return page(
        *(
            page(f"### {escaped(heading.replace('`', ''))}", _codes_table(rows))
            for heading, rows in codes_by_heading().items()
        )
    )


def _kind_section(kind: Kind) -> str:
    defaults = KINDS[kind]
    links = [_link(code) for code, meaning in CODES.items() if meaning.kind is kind]
    with override("en"):
        title = str(defaults.title)
    return page(
        f"### {literal(kind)}",
        f"“{title}”: status {defaults.status}, action {literal(defaults.action)}, log level "
        f"{logging.getLevelName(defaults.log_level)}.",
        f"For operators: {KIND_ADVICE[kind]}",
        ", ".join(links),
    )


def overridable_fields() -> str:
    """Return the table of the fields that ``CIAM_ERROR_OVERRIDES`` can replace."""
    rows = ([literal(name), field.allowed_text] for name, field in OVERRIDABLE_FIELDS.items())
    return table(["field", "allowed"], rows)


def _codes_table(rows: Sequence[str]) -> str:
    return table(
        ["code", "status", "kind", "sentence"],
        (
            [
                _link(code),
                str(CODES[code].status),
                f"[{CODES[code].kind}](#{CODES[code].kind})",
                escaped(sentence_in("en", CODES[code])),
            ]
            for code in rows
        ),
    )


def _link(code: str) -> str:
    return f"[{literal(code)}](<{file_name(code)}.md>)"


# --- The page of a code -----------------------------------------------------------------------


def code_page(code: str) -> str:
    """Return the page of a code."""
    meaning = CODES[code]
    return page(
        "---\norphan: true\n---",
        f"# {literal(code)}",
        f"[All codes](index.md) / {_heading_of(code)}",
        *_cause_section(code),
        *(_answer_section(code, meaning) if meaning.kind is not Kind.SUCCESS else ()),
        "## What operators do",
        advice_for(code, meaning.kind),
        _log_paragraph(code, meaning),
        *(_override_section(code, meaning) if meaning.kind is not Kind.SUCCESS else ()),
    )


def _heading_of(code: str) -> str:
    headings = (name for name, rows in codes_by_heading().items() if code in rows)
    return escaped(next(headings, "").replace("`", ""))


def _cause_section(code: str) -> Iterator[str]:
    yield "## When the code occurs"
    cause = causes().get(code)
    yield cause.cause if cause else escaped(str(CODES[code].reason))
    if "*" in code:
        yield (
            "This row is a family: it answers each code of this form that has no row of its own. "
            f"The answer has the code {literal(code)}, and the log line has CIAM's code."
        )
    if spellings := [alias for alias, target in ALIASES.items() if target == code]:
        yield f"Other spellings: {literals(spellings)}."


def _answer_section(code: str, meaning: Meaning) -> Iterator[str]:
    yield "## What the user gets"
    yield "\n".join(_sentence_items(meaning))
    if meaning.audience is Audience.DEVELOPER and meaning.reason:
        yield "Users do not read the reason, because only a developer can use it."
    yield table(["fact", "value"], _facts(meaning))
    if meaning.collapse:
        target = COLLAPSE_TARGETS[meaning.collapse]
        stages = literals(sorted(GENERIC_ERROR_STAGES))
        yield (
            f"This code would tell if an account exists. At the stages {stages}, users get the "
            f"answer to {_link(target)} instead, unless `CIAM_GENERIC_ERRORS` is off. The log line "
            "has the true code."
        )
    yield "## The JSON body"
    example = code.replace("*", "Example")
    if example != code:
        yield f"For a failure with the code {literal(example)}:"
    with override("en"):
        answer = answer_to(CiamError(example, request_id=_REQUEST_ID))
    body = json.dumps(answer.as_dict(), ensure_ascii=False, indent=1)
    yield f"```json\n{body}\n```"
    if headers := [
        f"{name}: {answer.headers[name]}" for name in _HEADERS if name in answer.headers
    ]:
        yield f"The response has the header {literals(headers)}."


def _sentence_items(meaning: Meaning) -> Iterator[str]:
    for language, tag in LANGUAGES.items():
        text = html.escape(sentence_in(language, meaning))
        name = _LANGUAGE_NAMES[language]
        yield f'- <span lang="{tag}">{name}</span>: <span lang="{tag}">{text}</span>'


def _facts(meaning: Meaning) -> Iterator[Sequence[str]]:
    yield "Status", f"{meaning.status}{_status_note(meaning)}"
    yield "Kind", f"[{literal(meaning.kind)}](index.md#{meaning.kind})"
    with override("en"):
        yield "Action", f"{literal(meaning.action)}, “{ACTIONS[meaning.action].label}”"
    yield "Field", literal(meaning.field) if meaning.field else "none"
    yield "Retry", "The same request may succeed later." if meaning.retry else "no"
    yield "Audience", literal(meaning.audience)
    if meaning.collapse:
        yield "Collapse", literal(meaning.collapse)


def _status_note(meaning: Meaning) -> str:
    if meaning.kind is Kind.UPSTREAM and meaning.status == KINDS[Kind.UPSTREAM].status:
        return " (`CIAM_UPSTREAM_STATUS`)"
    if meaning.status == 429 and meaning.retry:
        return f" (`Retry-After`: CIAM's time, or `CIAM_RETRY_AFTER`, {conf.CIAM_RETRY_AFTER} s)"
    return ""


def _log_paragraph(code: str, meaning: Meaning) -> str:
    level = KINDS[meaning.kind].log_level
    words = logging.getLevelName(level)
    if code == codes.UNKNOWN or ("*" in code and level < logging.WARNING):
        words = "WARNING for the first failure with a code, and then INFO"
    reason = f" It also has the reason: {literal(str(meaning.reason))}" if meaning.reason else ""
    # CIAM's code can have other letter case, and WeChat's code another spelling.
    return f"The log line has the words {literal(f'row={code}')}. Its level is {words}.{reason}"


def _override_section(code: str, meaning: Meaning) -> Iterator[str]:
    texts = {language: sentence_in(language, meaning) for language in LANGUAGES}
    lines = [
        "```python",
        "CIAM_ERROR_OVERRIDES = {",
        f"    {_quoted(code)}: {{",
        '        "message": {',
        *(f"            {_quoted(name)}: {_quoted(text)}," for name, text in texts.items()),
        "        },",
        f'        "status": {meaning.status},',
        f'        "action": {_quoted(meaning.action)},',
        "    },",
        "}",
        "```",
    ]
    yield "## Override the answer"
    yield "\n".join(lines)
    yield (
        "Keep only the fields that you change. `CIAM_ERROR_OVERRIDES` can replace "
        "[these fields](index.md#overrides)."
    )
    if "*" in code:
        yield "The override also changes the codes of the family that have rows of their own."
    if meaning.collapse:
        yield (
            "With a message of yours, users read the message at each stage, and it tells them that "
            "an account exists: the check `ciam_django.W007` warns you. With "
            f'`"collapse": "{meaning.collapse}"` in the dict, the answer stays generic.'
        )


def _quoted(text: str) -> str:
    return json.dumps(str(text), ensure_ascii=False)
