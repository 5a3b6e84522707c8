"""The reference of the ids of ``manage.py check``."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ciam_django import checks
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.conf import SETTINGS, Allowed, DictOf, ListOf
from ciam_reference.markdown import literal, literals, page
from ciam_reference.sources import PLACEHOLDER, Call, calls_in, modules, name_of

_PREFIX: Final = "ciam_django."
_SUGGESTION: Final = f"Did you mean {PLACEHOLDER}?"
_MODULES: Final = tuple(
    importlib.import_module(f"{checks.__name__}.{module.name}")
    for module in pkgutil.iter_modules(checks.__path__)
)
# The list of a module of checks -> the option of manage.py check that runs these checks.
_OPTIONS: Final = {"DEPLOY_CHECKS": "--deploy", "DATABASE_CHECKS": "--database default"}


@dataclass(frozen=True)
class Fault:
    """A mistake that a check reports, with the name and the purpose of the check's function."""

    function: str
    purpose: str
    message: str
    cure: str


def checks_reference() -> str:
    """Return a section for each id, in the order of the numbers."""
    by_number = sorted(CHECK_IDS.items(), key=lambda item: item[1][-3:])
    found = faults()
    return page(*(_section(check, check_id, found[check_id]) for check, check_id in by_number))


def anchor_of(check_id: str) -> str:
    """Return the anchor of an id on its page."""
    return check_id.removeprefix(_PREFIX).lower()


def faults() -> dict[str, list[Fault]]:
    """Return id -> the mistakes that the source code of the checks describes."""
    found: dict[str, list[Fault]] = {check_id: [] for check_id in CHECK_IDS.values()}
    for call in (call for module in modules() for call in calls_in(module)):
        check_id, message, hint = _parts_of_message(call)
        text = call.text(message)
        if check_id in found and text != PLACEHOLDER and call.function:
            cure = _SUGGESTION if _is_suggestion(hint, call) else call.text(hint)
            cure = "" if cure == PLACEHOLDER else cure
            found[check_id].append(Fault(call.function.name, call.purpose, text, cure))
    return found


def _parts_of_message(call: Call) -> tuple[str, ast.expr | None, ast.expr | None]:
    """Return the id, the message and the hint of a call that makes a message of a check."""
    match name_of(call.node.func):
        case "check_message":
            check = call.text(call.argument(0, "check"))
            return CHECK_IDS.get(check, ""), call.argument(1, "message"), call.argument(2, "hint")
        case "Error" | "Warning":
            # The class of Django; `check_message` is not imported everywhere.
            check_id = call.argument(3, "id")
            return call.text(check_id), call.argument(0, "msg"), call.argument(1, "hint")
    return "", None, None


def _is_suggestion(hint: ast.expr | None, call: Call) -> bool:
    """Return True if the hint is a result of ``hint_for``, which suggests a name."""
    value = call.assigned_value(hint.id) if isinstance(hint, ast.Name) else hint
    return isinstance(value, ast.Call) and name_of(value.func) == "hint_for"


def settings_of(check: str) -> list[str]:
    """Return the settings whose row names the check for a value, or for a part of a value."""
    return [name for name, row in SETTINGS.items() if check in _checks_of(row.allowed)]


def _checks_of(allowed: Allowed[Any]) -> Iterator[str]:
    yield allowed.check
    # The type of each value is checked, whatever check its row names.
    yield "type"
    match allowed:
        case ListOf():
            yield from _checks_of(allowed.items)
        case DictOf():
            yield from _checks_of(allowed.keys)
            yield from _checks_of(allowed.values)


def _section(check: str, check_id: str, found: Sequence[Fault]) -> str:
    severity = "warning" if ".W" in check_id else "error"
    # The functions that judge one value have no purpose of their own.
    purposes = {each.purpose: None for each in found if each.function.startswith("check_")}
    return page(
        f"({anchor_of(check_id)})=\n## {literal(check_id)}: {severity}, {check}",
        _purpose_paragraph(list(purposes)),
        _option_paragraph(found),
        _settings_paragraph(settings_of(check)),
        *map(_fault_item, found),
    )


def _purpose_paragraph(purposes: Sequence[str]) -> str:
    """The docstrings of the checks, with words that tell them from orders to the reader."""
    if not purposes:
        return ""
    noun = "Purpose" if len(purposes) == 1 else "Purposes"
    return f"{noun} of the check: {' '.join(purposes)}"


def _option_paragraph(found: Sequence[Fault]) -> str:
    functions = {each.function for each in found}
    for name, option in _OPTIONS.items():
        special = {each.__name__ for module in _MODULES for each in getattr(module, name, ())}
        if functions and functions <= special:
            return f"Only `manage.py check {option}` runs this check."
    return ""


def _settings_paragraph(names: Sequence[str]) -> str:
    if not names:
        return ""
    if len(names) == len(SETTINGS):
        return "A setting has a value of another type. The message names the setting and the type."
    allowed = "The message and the reference of the setting have the allowed values."
    return f"A value in {literals(names)} is not allowed. {allowed}"


def _fault_item(fault: Fault) -> str:
    cure = f"\n  \n  Hint: {literal(fault.cure)}" if fault.cure else ""
    return f"- Message: {literal(fault.message)}{cure}"
