"""Find the fenced code blocks of the documentation.

The first line of a block can be a comment with the name of a file, such as ``# shop/views.py``. The
reader then knows where the block belongs, and a test can name the block.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"

_FENCE: Final = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
# The comment with the name of a file, in each language that has comments.
_FILE_NAME: Final = re.compile(r"(?:#|//|\{#|/\*) ([\w./-]+\.\w+)(?: #\}| \*/)?\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block: its page, the number of its first line, its language and its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def file(self) -> str:
        """The name of the file that the block belongs to; empty if the block names no file."""
        match = _FILE_NAME.match(self.text)
        return match[1] if match else ""

    @property
    def is_settings(self) -> bool:
        """True for lines of a settings file: the file is named, or each line sets a setting."""
        if self.language != "python" or self.file:
            return self.file.endswith("settings.py")
        try:
            statements = ast.parse(self.text).body
        except SyntaxError:
            # No test takes the block, so that a test names the block.
            return False
        return all(
            isinstance(statement, ast.Assign)
            and isinstance(statement.targets[0], ast.Name)
            and statement.targets[0].id.isupper()
            for statement in statements
        )

    def with_text(self, old: str, new: str) -> Block:
        """A copy of the block with a text replaced, such as an address that a test replaces."""
        assert old in self.text, f"{self.place} has no {old!r}"
        return replace(self, text=self.text.replace(old, new))

    @property
    def place(self) -> str:
        """The place of the block for a message of a test."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """The pages that people write; the pages in folders of ``docs`` are generated."""
    return [ROOT / "example_project/README.md", *sorted(DOCS.glob("*.md"))]


def blocks_in(path: Path) -> Iterator[Block]:
    """Yield the code blocks of a page; without the directives of Sphinx, such as a toctree."""
    text = path.read_text(encoding="utf-8")
    page = str(path.relative_to(ROOT))
    for match in _FENCE.finditer(text):
        lines = match["text"].splitlines()
        content = "".join(f"{line.removeprefix(match['indent'])}\n" for line in lines)
        if match["language"].startswith("{"):
            continue
        number = text.count("\n", 0, match.start()) + 1
        yield Block(page, number, match["language"].strip(), content)


def all_blocks() -> list[Block]:
    """The code blocks of all pages."""
    return [block for path in pages() for block in blocks_in(path)]


# The blocks that the test modules take.
taken: Final[set[Block]] = set()


def take(page: str, file: str, index: int | None = None) -> Block:
    """Return the block of a page of ``docs`` with this file, and record that a test takes it.

    ``index`` selects one of several blocks with the same name.
    """
    found = [block for block in blocks_in(DOCS / page) if block.file == file]
    assert found, f"docs/{page} has no block {file}"
    assert index is not None or len(found) == 1, f"docs/{page} has {len(found)} blocks {file}"
    taken.add(found[index or 0])
    return found[index or 0]


def take_all(page: str, language: str) -> list[Block]:
    """Return the blocks of a page that have this language and name no file, and record them."""
    found = [
        block for block in blocks_in(DOCS / page) if block.language == language and not block.file
    ]
    taken.update(found)
    return found
