"""The reference of the signals."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from typing import Final

from django.dispatch import Signal

from ciam_reference.markdown import literal, literals, page
from ciam_reference.sources import (
    Call,
    calls_in,
    docstrings_of_names,
    modules,
    name_of,
)

_MODULES: Final = ("ciam_django.signals", "ciam_django.accounts.signals")
# This function sends a signal of an identity, and adds these arguments.
_SENDING_FUNCTION: Final = "send_on_commit"
_ARGUMENTS_OF_IDENTITIES: Final = ("identity", "user")


def signals_reference() -> str:
    """Return a section for each signal, with its arguments."""
    sent = arguments_of_signals()
    return page(*(_section(path, sent[path.rpartition(".")[2]]) for path in signal_paths()))


def signal_paths() -> list[str]:
    """Return the dotted paths of all signals of the package."""
    return [
        f"{module}.{name}"
        for module in _MODULES
        for name, value in vars(importlib.import_module(module)).items()
        if isinstance(value, Signal)
    ]


def arguments_of_signals() -> dict[str, list[str]]:
    """Return signal -> the names of the arguments, from the calls that send the signal."""
    found: dict[str, list[str]] = {}
    for module in modules():
        for call in calls_in(module):
            for name, arguments in _sent_in(call):
                known = found.setdefault(name, [])
                known += [each for each in arguments if each not in known]
    return found


def _sent_in(call: Call) -> Iterator[tuple[str, list[str]]]:
    arguments = [keyword.arg for keyword in call.node.keywords if keyword.arg]
    match call.node.func:
        case ast.Attribute(value=ast.Name(id=name), attr="send_robust"):
            yield name, arguments
    if name_of(call.node.func) == _SENDING_FUNCTION:
        yield name_of(call.node.args[0]), [*_ARGUMENTS_OF_IDENTITIES, *arguments]


def _section(path: str, arguments: list[str]) -> str:
    module, _, name = path.rpartition(".")
    return page(
        f"## {literal(name)}",
        f"Import: `from {module} import {name}`",
        docstrings_of_names(module)[name],
        f"Arguments: {literals(arguments)}.",
    )
