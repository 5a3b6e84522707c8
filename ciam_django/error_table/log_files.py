"""Find the failures of a request id in a log file.

A line is the text of the logger ``ciam_django`` or a JSON object with the same facts, after any
beginning. The lines of a log can have any content, so only values in the form of ids, codes and
words are read.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final

from ciam_django.events import FAILED, PREFIX

_START: Final = "Sign-in failure: "
# The values after this word have spaces.
_END_OF_WORDS: Final = " upstream_text="
# The words of the text that tell more than the fields with these names.
_SENT: Final = ("code",)
_VALUE: Final = re.compile(r"[A-Za-z0-9$._:*-]{1,128}")
# A longer line is no line of a failure. The longest one has less than 4 KB.
_MAX_LINE_LENGTH: Final = 64 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class LoggedFailure:
    """A failure of a log file, with the number of its line."""

    line: int
    code: str
    type_code: str = ""
    row: str = ""
    step: str = ""
    kind: str = ""
    stage: str = ""
    status: str = ""
    shown: str = ""
    upstream_status: str = ""
    request_id: str = ""
    upstream_request_id: str = ""
    # Only the fields of JSON lines have these facts.
    sign_in: str = ""
    method: str = ""


_NAMES: Final = tuple(
    field.name for field in dataclasses.fields(LoggedFailure) if field.name != "line"
)


@dataclasses.dataclass(slots=True)
class SearchedLog:
    """The failures of a log that have the request id, and what was read."""

    lines: int = 0
    lines_with_failures: int = 0
    failures: list[LoggedFailure] = dataclasses.field(default_factory=list)


def search_log(lines: Iterable[str], reference: str) -> SearchedLog:
    """Return the failures with this request id, of the answer or of CIAM."""
    searched = SearchedLog()
    for number, line in enumerate(lines, start=1):
        searched.lines = number
        failure = failure_in(line, number)
        if failure is None:
            continue
        searched.lines_with_failures += 1
        if reference in (failure.request_id, failure.upstream_request_id):
            searched.failures.append(failure)
    return searched


def search_log_file(path: str, reference: str) -> SearchedLog:
    """Search a log file, which can be compressed with gzip. Raises ``OSError``."""
    opener: Any = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            return search_log(lines_of(file), reference)
    except (EOFError, zlib.error) as error:
        raise OSError(f"the end of the file is missing ({error})") from error


def lines_of(file: BinaryIO) -> Iterator[str]:
    """Yield the lines of a file, which can have any bytes; a line that is too long is empty.

    A small compressed file can have a line that does not fit into memory.
    """
    while line := file.readline(_MAX_LINE_LENGTH):
        rest = line
        while len(rest) == _MAX_LINE_LENGTH and not rest.endswith(b"\n"):
            line, rest = b"", file.readline(_MAX_LINE_LENGTH)
        yield line.decode(errors="replace")


def failure_in(line: str, number: int) -> LoggedFailure | None:
    """Return the failure that a line of a log tells, or None."""
    if len(line) > _MAX_LINE_LENGTH:
        return None
    members = _members_of_json(line)
    words = dict(_words_of_text(line)) if members is None else _words_of_members(members)
    facts = {
        name: words[name]
        for name in _NAMES
        if words.get(name, "-") != "-" and _VALUE.fullmatch(words[name])
    }
    if "row" in facts and words.get("code") == "":
        # The code has no character that is logged.
        facts["code"] = facts["row"]
    return LoggedFailure(number, **facts) if "code" in facts else None


def _words_of_text(line: str) -> Iterator[tuple[str, str]]:
    """Yield the words ``name=value`` of the text of a failure.

    A formatter can add ``sign_in=...`` as the last word of the line.
    """
    words, _, others = line.partition(_START)[2].partition(_END_OF_WORDS)
    last_word = [word for word in others.split()[-1:] if word.startswith("sign_in=")]
    for word in (*words.split(), *last_word):
        name, _, value = word.partition("=")
        yield name, value


def _members_of_json(line: str) -> dict[str, Any] | None:
    """Return the JSON object of a line with our fields, or None for any other line."""
    # Most lines of a log are no failures, and need not be parsed.
    if f'"{PREFIX}code"' not in line:
        return None
    try:
        # journalctl and other programs write the time and the name of the service before the line.
        members = json.loads(line[line.find("{") :])
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) and f"{PREFIX}code" in members else None


def _words_of_members(members: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts of the fields, and of the text with the true code, of a failure.

    Other members, such as the user agent, can have a text that looks like the text of a failure.
    """
    if members.get(f"{PREFIX}event") != FAILED.name:
        return {}
    fields = {name: members.get(f"{PREFIX}{name}") for name in _NAMES}
    words = {name: str(value) for name, value in fields.items() if value is not None}
    for text in members.values():
        if isinstance(text, str) and text.startswith(_START):
            told = dict(_words_of_text(text))
            if told.get("request_id") == words.get("request_id"):
                return {**told, **words, **{name: told[name] for name in _SENT if name in told}}
    return words
