"""Find the statement of a project's source code that gives a setting its value."""

from __future__ import annotations

import ast
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Assignment:
    """An assignment to a name: the file, the first line, and the assigned expression.

    ``extends_earlier_value`` is True for ``X += ["y"]`` and ``X = [*X, "y"]``.
    """

    path: Path
    line: int
    value: ast.expr
    extends_earlier_value: bool

    @property
    def end_line(self) -> int:
        """The last line of the assigned expression."""
        return self.value.end_lineno or self.line


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    path: Path
    line: int


def source_path(module: str) -> Path | None:
    """The source file of an imported module; None if there is no source file."""
    name = getattr(sys.modules.get(module), "__file__", None)
    path = Path(name).resolve() if name else None
    return path if path and path.suffix == ".py" and path.exists() else None


def first_import_line(path: Path) -> int:
    """The line of a file's first import, except imports from ``__future__``; or the first line."""
    for statement in _tree_of(path).body:
        if isinstance(statement, ast.Import) or (
            isinstance(statement, ast.ImportFrom) and statement.module != "__future__"
        ):
            return statement.lineno
    return 1


def _tree_of(path: Path) -> ast.Module:
    with tokenize.open(path) as file:
        return ast.parse(file.read())


def assignment_of(module: str, name: str) -> Assignment | None:
    """The last assignment to a name in a module, or in a module that it imports the name from.

    An assignment that extends the earlier value does not count.
    """
    assignments = _assignments(module, name, frozenset())
    return next((each for each in assignments if not each.extends_earlier_value), None)


def place_of_entry(module: str, name: str, text: str) -> Place | None:
    """The place of a string in the list or the dict with this name.

    The list may be made of other lists, as in ``INSTALLED_APPS = DJANGO_APPS + OWN_APPS``.
    """
    return _place_of_entry(module, name, text, frozenset())


def _place_of_entry(module: str, name: str, text: str, users: frozenset[str]) -> Place | None:
    """The place of a string in the list; ``users`` are the lists that are made of this list."""
    for assignment in _assignments(module, name, frozenset()):
        nodes = list(ast.walk(assignment.value))
        for node in nodes:
            if isinstance(node, ast.Constant) and node.value == text:
                return Place(assignment.path, node.lineno)
        parts = {node.id for node in nodes if isinstance(node, ast.Name)} - users - {name}
        for part in sorted(parts):
            found = _place_of_entry(module, part, text, users | {name})
            if found:
                return found
    return None


def _assignments(module: str, name: str, importers: frozenset[str]) -> Iterator[Assignment]:
    """Yield the assignments to a name, the last first, also those of imported modules."""
    path = source_path(module)
    if path is None or module in importers:
        return
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for statement in reversed(list(_statements(_tree_of(path).body))):
        value = _assigned_value(statement, name)
        if value is not None:
            extends = isinstance(statement, ast.AugAssign) or _has_name(value, name)
            yield Assignment(path, value.lineno, value, extends)
        if isinstance(statement, ast.ImportFrom):
            source = _absolute_name(statement, package)
            for alias in statement.names:
                if alias.name == "*" or (alias.asname or alias.name) == name:
                    imported_name = name if alias.name == "*" else alias.name
                    yield from _assignments(source, imported_name, importers | {module})


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the statements of a module or a class, also the statements in ``if`` and ``try``."""
    for statement in body:
        yield statement
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "handlers", "orelse", "finalbody"):
                yield from _statements(getattr(statement, field, ()))


def _assigned_value(statement: ast.AST, name: str) -> ast.expr | None:
    match statement:
        case ast.Assign(targets=targets, value=value) if any(
            isinstance(target, ast.Name) and target.id == name for target in targets
        ):
            return value
        case (
            ast.AnnAssign(target=ast.Name(id=assigned), value=value)
            | ast.AugAssign(target=ast.Name(id=assigned), value=value)
        ) if assigned == name:
            return value
    return None


def _has_name(expression: ast.expr, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(expression))


def _absolute_name(statement: ast.ImportFrom, package: str) -> str:
    """The absolute name of the module that the statement imports from."""
    if not statement.level:
        return statement.module or ""
    parents = package.split(".")
    parts = parents[: len(parents) - statement.level + 1]
    return ".".join([*parts, *([statement.module] if statement.module else [])])
