"""Read texts from the source code of the package, where no table has them."""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ciam_django

PACKAGE: Final = Path(ciam_django.__file__).parent
# Replaces a value that only the running program knows.
PLACEHOLDER: Final = "…"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Call:
    """A call in a module, with the function around it, or None."""

    module: str
    node: ast.Call
    function: Function | None

    def argument(self, position: int, name: str) -> ast.expr | None:
        """Return an argument by its position or its name."""
        named = {keyword.arg: keyword.value for keyword in self.node.keywords}
        return self.node.args[position] if position < len(self.node.args) else named.get(name)

    def text(self, node: ast.expr | None) -> str:
        """Return the text of an expression; a placeholder replaces each unknown value."""
        return _text(node, self.module, self.function)

    def assigned_value(self, name: str) -> ast.expr | None:
        """Return the expression that the function around the call assigns to a name first."""
        return _assigned_value(name, self.function)

    @property
    def purpose(self) -> str:
        """The first sentence of the docstring of the function around the call."""
        return first_sentence(ast.get_docstring(self.function) or "") if self.function else ""


def modules() -> Iterator[str]:
    """Yield the names of the package's modules, without the fake CIAM and the migrations."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "testing" and "migrations" not in parts:
            yield ".".join(["ciam_django", *(part for part in parts if part != "__init__")])


@functools.cache
def tree_of(module: str) -> ast.Module:
    """Return the syntax tree of a module."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def calls_in(module: str) -> Sequence[Call]:
    """Return all calls of a module, in the order of the source code."""
    return tuple(_calls_below(tree_of(module), module, None))


def _calls_below(node: ast.AST, module: str, function: Function | None) -> Iterator[Call]:
    if isinstance(node, ast.Call):
        yield Call(module, node, function)
    inner = node if isinstance(node, Function) else function
    for child in ast.iter_child_nodes(node):
        yield from _calls_below(child, module, inner)


def name_of(node: ast.expr) -> str:
    """Return the last name of a dotted expression: ``log`` for ``logger.log``."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
    return ""


def docstrings_of_names(module: str) -> dict[str, str]:
    """Return name -> docstring as Markdown, for names with a text below their assignment."""
    body = tree_of(module).body
    found = {}
    for statement, following in itertools.pairwise(body):
        match statement, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = "\n\n".join(map(_as_markdown, text.split("\n\n")))
    return found


def first_sentence(docstring: str) -> str:
    """Return the first paragraph of a docstring as Markdown, in one line."""
    return _as_markdown(docstring.split("\n\n", maxsplit=1)[0])


def _as_markdown(paragraph: str) -> str:
    return " ".join(paragraph.split()).replace("``", "`")


def _text(node: ast.expr | None, module: str, function: Function | None) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value, module, function) for value in values)
        case ast.FormattedValue(value=value, conversion=conversion):
            text = _text(value, module, function)
            is_quoted = conversion == ord("r") and text != PLACEHOLDER
            return repr(text) if is_quoted else text
        case ast.Name(id=name):
            return _assigned_text(name, module, function)
        case ast.IfExp(body=body, orelse=orelse):
            texts = [_text(each, module, function) for each in (body, orelse)]
            return PLACEHOLDER if PLACEHOLDER in texts else " / ".join(texts)
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))):
            table = getattr(importlib.import_module(module), name, None)
            return str(table[key]) if isinstance(table, dict) else PLACEHOLDER
    return PLACEHOLDER


def _assigned_text(name: str, module: str, function: Function | None) -> str:
    """Return the text that the function or the module assigns to a name."""
    if value := _assigned_value(name, function):
        return _text(value, module, function)
    constant = getattr(importlib.import_module(module), name, None)
    return constant if isinstance(constant, str) else PLACEHOLDER


def _assigned_value(name: str, function: Function | None) -> ast.expr | None:
    for statement in ast.walk(function) if function else ():
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                return value
    return None
