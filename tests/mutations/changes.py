"""Find the one-line changes of a module's source that should make a test fail."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# Operator -> (its text, the text of its replacement).
_OTHER_COMPARISONS: Final[dict[type[ast.cmpop], tuple[str, str]]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
# Decorators that are not removed: the module could not be imported, or would only be slower.
_KEPT_DECORATORS: Final = re.compile(
    r"(?:\w+\.)*(?:property|cached_property|classmethod|staticmethod|dataclass|wraps|cache|"
    r"lru_cache|unique|contextmanager|cached_until_settings_change)\b"
)
# Arguments with texts for developers, which no test has to repeat.
_WORDS: Final = {"upstream_text", "verbose_name", "verbose_name_plural"}
_CALLS_WITH_WORDS: Final = re.compile(
    r"(?:logger\.\w+|logging\.getLogger|_|\w*gettext\w*|TypeVar|ParamSpec|cast)$"
)
# Calls whose arguments only type checkers read.
_FOR_TYPE_CHECKERS: Final = {"TypeVar", "ParamSpec"}
# Calls whose first argument is a name that only a representation shows.
_CALLS_WITH_NAMES: Final = re.compile(r"(?:contextvars\.)?ContextVar$")
# The type in a subscript that is a type, such as ``Mapping[str, "Name"]``.
_GENERIC_TYPE: Final = re.compile(r"(?:[A-Z]\w*[a-z]\w*|tuple|dict|list|set|frozenset|type)$")
# A value of a clock: ``<=`` instead of ``<`` makes a difference for one exact instant.
_CLOCK: Final = re.compile(
    r"\b(?:time\.(?:time|monotonic|perf_counter)\(\)|timezone\.now\(\)|now\b)"
)


@dataclass(frozen=True, slots=True)
class Change:
    """The part of a source from ``start`` to ``end``, in bytes, and its replacement ``new``."""

    kind: str
    start: int
    end: int
    new: bytes

    def apply(self, source: bytes) -> bytes:
        """Return the source with this change."""
        return source[: self.start] + self.new + source[self.end :]


def changes_of(source: bytes) -> list[Change]:
    """Return all changes of a source, in its order; each changed source is valid Python."""
    changes = set(_Finder(source).changes(ast.parse(source)))
    return sorted(changes, key=lambda change: (change.start, change.end, change.new))


def first_changed_line(source: bytes, change: Change) -> tuple[int, str, str]:
    """Return the number of the first line that differs, the old line and the new line."""
    old = source.decode().splitlines()
    new = change.apply(source).decode().splitlines()
    pairs = zip([*old, ""], [*new, ""], strict=False)
    number = next(number for number, pair in enumerate(pairs) if pair[0] != pair[1])
    return number + 1, [*old, ""][number].strip(), [*new, ""][number].strip()


def lines_of_statement(source: bytes, change: Change) -> range:
    """Return the lines of the statement that contains a change, without the statements in it."""
    number = source[: change.start].count(b"\n") + 1
    statements = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt))
    heads = [_lines_of_head(node) for node in statements]
    return min((lines for lines in heads if number in lines), key=len, default=range(0))


def lines_of_users(source: bytes, change: Change) -> set[int]:
    """Return the lines that use the name that a statement of the module defines.

    If a constant is made of another constant, the lines that use the first one are included. The
    lines of a defined function or class are included too.
    """
    tree = ast.parse(source)
    number = source[: change.start].count(b"\n") + 1
    found: list[ast.stmt] = []
    names: set[str] = set()
    users = [node for node in tree.body if number in range(_first_line(node), _last_line(node) + 1)]
    while users:
        found += users
        names |= {name for node in users for name in _names_of(node)}
        users = [
            node
            for node in tree.body
            if node not in found
            and isinstance(node, ast.Assign | ast.AnnAssign)
            and any(each.id in names for each in ast.walk(node) if isinstance(each, ast.Name))
        ]
    uses = (each for each in ast.walk(tree) if isinstance(each, ast.Name) and each.id in names)
    lines = {line for node in found for line in range(_first_line(node), _last_line(node) + 1)}
    return lines | {each.lineno for each in uses}


def _names_of(statement: ast.stmt) -> set[str]:
    """Return the names that a statement of a module defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(node.lineno for node in decorators)])


def _last_line(statement: ast.stmt) -> int:
    return statement.end_lineno or statement.lineno


def is_in_function(source: bytes, change: Change) -> bool:
    """Return True if a change is in the body of a function, which the import does not execute."""
    return bool(_functions_around(source, change))


def is_in_cached_function(source: bytes, change: Change) -> bool:
    """Return True if only the first call in a process executes the body with the change."""
    return any(
        "cache" in ast.unparse(decorator)
        for function in _functions_around(source, change)
        for decorator in function.decorator_list
    )


def _functions_around(
    source: bytes, change: Change
) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    number = source[: change.start].count(b"\n") + 1
    return [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body[0].lineno <= number <= _last_line(node)
    ]


def _lines_of_head(statement: ast.stmt) -> range:
    body: list[ast.stmt] = getattr(statement, "body", [])
    end = max(body[0].lineno - 1, statement.lineno) if body else _last_line(statement)
    return range(_first_line(statement), end + 1)


class _Finder:
    """Walks a syntax tree without the parts that only people and type checkers read."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def changes(self, tree: ast.AST) -> Iterator[Change]:
        """Yield the changes of a node and of its descendants."""
        yield from self._changes_here(tree)
        for child in self._children(tree):
            yield from self.changes(child)

    def _changes_here(self, node: ast.AST) -> Iterator[Change]:
        if _is_for_type_checkers(node):
            return
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            yield self._negated(node.test)
        elif isinstance(node, ast.comprehension):
            yield from map(self._negated, node.ifs)
        elif isinstance(node, ast.Compare):
            yield from self._other_comparisons(node)
        elif isinstance(node, ast.BoolOp):
            yield from self._other_connectives(node)
        elif isinstance(node, ast.Constant):
            yield from self._other_constants(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) not in _FOR_TYPE_CHECKERS:
            yield from self._without_arguments(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from self._changes_of_function(node)
        elif self._is_removable(node):
            yield self._replaced("removed statement", node, b"pass")

    def _is_removable(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Raise | ast.Delete):
            return True
        if isinstance(node, ast.Assign):
            return isinstance(node.targets[0], ast.Attribute | ast.Subscript)
        if isinstance(node, ast.Expr):
            value = node.value.value if isinstance(node.value, ast.Await) else node.value
            return isinstance(value, ast.Call)
        return False

    def _children(self, node: ast.AST) -> Iterator[ast.AST]:
        if _is_for_type_checkers(node):
            return
        if isinstance(node, ast.Call) and _CALLS_WITH_WORDS.match(ast.unparse(node.func)):
            return
        if isinstance(node, ast.Subscript) and _GENERIC_TYPE.match(ast.unparse(node.value)):
            return
        if isinstance(node, ast.JoinedStr):
            # The texts between the values of an f-string do not change.
            yield from (value for value in node.values if isinstance(value, ast.FormattedValue))
            return
        is_named = isinstance(node, ast.Call) and _CALLS_WITH_NAMES.match(ast.unparse(node.func))
        for name, value in ast.iter_fields(node):
            if is_named and name == "args":
                continue
            if name in {"annotation", "returns", "decorator_list", "type_params"}:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not self._is_for_people(child):
                    yield child

    def _is_for_people(self, node: ast.AST) -> bool:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        return is_docstring or (isinstance(node, ast.keyword) and node.arg in _WORDS)

    # --- The kinds of changes -----------------------------------------------------------------

    def _negated(self, test: ast.expr) -> Change:
        return self._replaced("negated condition", test, b"not (" + self._text(test) + b")")

    def _other_comparisons(self, node: ast.Compare) -> Iterator[Change]:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            old, new = _OTHER_COMPARISONS[type(operator)]
            is_order = isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE)
            if not (is_order and any(_CLOCK.search(ast.unparse(each)) for each in (left, right))):
                yield self._other_operator("other comparison", left, right, old, new)
            left = right

    def _other_connectives(self, node: ast.BoolOp) -> Iterator[Change]:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield self._other_operator("other connective", left, right, old, new)

    def _other_operator(
        self, kind: str, left: ast.expr, right: ast.expr, old: str, new: str
    ) -> Change:
        start, end = self._span(left)[1], self._span(right)[0]
        between = self._source[start:end].decode()
        # The pattern skips an "in" of a comment, and finds an "is not" on two lines.
        words = r"\s+".join(map(re.escape, old.split()))
        changed = re.sub(rf"^(\s*\)*\s*){words}(?!\w)", rf"\g<1>{new}", between)
        return Change(kind, start, end, changed.encode())

    def _other_constants(self, node: ast.Constant) -> Iterator[Change]:
        value = node.value
        if isinstance(value, bool):
            yield self._replaced("other constant", node, str(not value).encode())
        elif isinstance(value, int | float):
            # No test notices a large limit that is one higher.
            other = value + 1 if abs(value) < 10 else value * 2
            yield self._replaced("other constant", node, repr(other).encode())
        elif isinstance(value, str | bytes):
            text = self._text(node)
            # Inside of an f-string, the quote must not be the quote of the f-string.
            quote, kind = text[-1:], b"b" if isinstance(value, bytes) else b""
            content = b"" if value else b"changed"
            yield self._replaced("other constant", node, kind + quote + content + quote)

    def _without_arguments(self, node: ast.Call) -> Iterator[Change]:
        for keyword in node.keywords:
            if keyword.arg and keyword.arg not in _WORDS:
                start, end = self._span(keyword)
                comma = re.match(rb"\s*,", self._source[end:])
                yield Change("removed argument", start, end + (comma.end() if comma else 0), b"")

    def _changes_of_function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef
    ) -> Iterator[Change]:
        for decorator in node.decorator_list:
            if not _KEPT_DECORATORS.match(ast.unparse(decorator)):
                start, end = self._span(decorator)
                yield Change("removed decorator", start - len(b"@"), end, b"")
        annotation = ast.unparse(node.returns) if node.returns else ""
        values = ["True", "False"] if annotation == "bool" else ["None"]
        for statement in _returns_of(node):
            if statement.value and ast.unparse(statement.value) not in {"None", "True", "False"}:
                for value in values:
                    yield self._replaced("other result", statement, f"return {value}".encode())

    # --- Positions in the source --------------------------------------------------------------

    def _span(self, node: ast.AST) -> tuple[int, int]:
        """Return start and end in bytes, without the parentheses around an expression."""
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _text(self, node: ast.AST) -> bytes:
        start, end = self._span(node)
        return self._source[start:end]

    def _replaced(self, kind: str, node: ast.AST, new: bytes) -> Change:
        return Change(kind, *self._span(node), new)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _returns_of(function: ast.AST) -> Iterator[ast.Return]:
    """Yield the return statements of a function, without the statements of inner functions."""
    for child in ast.iter_child_nodes(function):
        if isinstance(child, ast.Return):
            yield child
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _returns_of(child)
