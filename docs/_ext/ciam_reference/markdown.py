"""Make Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>|#])")


def escaped(text: str) -> str:
    """Return a plain text as Markdown."""
    return _SPECIAL.sub(r"\\\1", text)


def literal(text: str) -> str:
    """Return a text as a code span."""
    fence = "``" if "`" in text else "`"
    padding = " " if "`" in text else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def literals(texts: Iterable[str]) -> str:
    """Return the texts as code spans, separated by commas; a dash if there is no text."""
    return ", ".join(map(literal, texts)) or "–"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells are Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    # An escaped line must not be escaped again.
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def definition(name: str, *paragraphs: str) -> str:
    """Return a list item with further paragraphs."""
    first, *others = paragraphs
    return "\n\n".join([f"- {name}: {first}", *(f"  {other}" for other in others)])


def page(*parts: str) -> str:
    """Return the parts that are not empty, separated by empty lines."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
