"""The reference of the log lines."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ciam_reference.markdown import literal, page, table
from ciam_reference.sources import PLACEHOLDER, Call, calls_in, modules, name_of

_LEVELS: Final = ("debug", "info", "warning", "error", "exception", "critical")
_FAILURE_LINE: Final = "Sign-in failure: "
# A placeholder of the module logging, such as %s or %.1f.
_LOGGING_PLACEHOLDER: Final = re.compile(r"%[-+ #0-9.]*[a-z]")

# Tests compare the names with the line of `reporting.py`.
FAILURE_FIELDS: Final[Mapping[str, str]] = {
    "code": "The true code, as CIAM, OAuth 2.0, Authlib or the project has sent it.",
    "type_code": "CIAM's `code`, where CIAM's `message` has the more exact code.",
    "row": "The row of the table that matches: a code, a family or `unknown_error`.",
    "step": "The step that has found the row: `exact`, `family`, `type_code`, `status`, `unknown`.",
    "kind": "The kind of the row.",
    "stage": "The part of the sign-in that has failed.",
    "status": "The HTTP status of the answer.",
    "shown": "The code that the user gets. It differs from `row` if the answer is generic.",
    "upstream_status": "The HTTP status of CIAM's response.",
    "request_id": "The id that the answer has, too. It begins with `local-` if it is not CIAM's.",
    "upstream_request_id": "CIAM's request id, if the answer has a local id. Quote it to CIAM.",
    "upstream_text": "The text of CIAM for developers, redacted.",
    "reason": "The reason for developers, from the row.",
}

# The meaning of lines that do not say all themselves. Tests compare the templates with the source
# code of the package.
OTHER_LINES: Final[Mapping[str, str]] = {
    "Sign-in: user=%s provider=%s session=%s": (
        "A sign-in has succeeded. The user is the primary key; the session is `django` or `token`."
    ),
    "CIAM gives no new copy: code=%s. The copy of %d seconds ago is used.": (
        "The metadata, the keys or the application token can't be fetched. Sign-ins go on until "
        "the copy reaches `CIAM_STALE_LIMIT`."
    ),
    "%s answers again.": "CIAM was silent, and its host answers again.",
    "Django's cache is down (%s). Processes can't share data.": (
        "The cache fails. Sign-ins go on; rate limits and used states are those of one process."
    ),
    "The project's templates can't render %r (CIAM_BASE_TEMPLATE is %r): %s%s\n%s": (
        "The package shows its own page instead. Correct your template."
    ),
    "…: the counter … is full (… per …). All clients are refused.": (
        "The whole site has reached the limit `site` of `CIAM_SEND_LIMITS` or `CIAM_TRY_LIMITS`: "
        "look for an attack, or raise the limit."
    ),
}


@dataclass(frozen=True)
class LogLine:
    """A call that writes a log line: its level in words, and its template."""

    level: str
    template: str


def logs_reference() -> str:
    """Return the fields of the line of a failure, and the other lines."""
    return page(
        "## The line of a failure",
        f"```text\n{failure_template()}\n```",
        table(["field", "meaning"], ([literal(n), text] for n, text in FAILURE_FIELDS.items())),
        "## Other lines",
        *(
            page(
                f"```text\n{_readable(line.template)}\n```",
                f"{line.level}. {OTHER_LINES.get(line.template, '')}",
            )
            for line in log_lines()
        ),
    )


def log_lines() -> list[LogLine]:
    """Return all log lines of the package except the line of a failure."""
    found = (line for module in modules() for call in calls_in(module) for line in _lines_of(call))
    return [line for line in found if not line.template.startswith(_FAILURE_LINE)]


def failure_template() -> str:
    """Return the template of the line of a failure, as it is in ``reporting.py``."""
    return next(
        _readable(line.template)
        for call in calls_in("ciam_django.reporting")
        for line in _lines_of(call)
        if line.template.startswith(_FAILURE_LINE)
    )


def failure_fields() -> set[str]:
    """Return the names of the fields of the line of a failure, optional fields included."""
    for call in calls_in("ciam_django.reporting"):
        if any(line.template.startswith(_FAILURE_LINE) for line in _lines_of(call)):
            texts = (
                node.value
                for node in ast.walk(call.node)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            )
            return {name for text in texts for name in re.findall(r"(\w+)=", text)}
    return set()


def _lines_of(call: Call) -> Iterator[LogLine]:
    match call.node.func:
        case ast.Attribute(value=ast.Name(id="logger"), attr=level) if level in _LEVELS:
            yield from _line(level.upper(), call, call.argument(0, "msg"))
        case ast.Attribute(value=ast.Name(id="logger"), attr="log"):
            yield from _line("INFO, WARNING or ERROR", call, call.argument(1, "msg"))
        case ast.Name(id="_warn"):
            yield from _line("WARNING", call, call.argument(0, "text"))
        case _ if name_of(call.node.func) == "partial" and len(call.node.args) > 1:
            match call.node.args[0]:
                case ast.Attribute(value=ast.Name(id="logger"), attr=level):
                    yield from _line(level.upper(), call, call.node.args[1])


def _line(level: str, call: Call, template: ast.expr | None) -> Iterator[LogLine]:
    text = call.text(template)
    if text != PLACEHOLDER:
        yield LogLine(level, text)


def _readable(template: str) -> str:
    return _LOGGING_PLACEHOLDER.sub(PLACEHOLDER, template)
