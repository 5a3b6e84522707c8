"""Test where the assignment of a setting is found in the files of a project."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ciam_django.checks.settings_source import (
    assignment_of,
    first_import_line,
    place_of_entry,
    source_path,
)
from tests.rows import for_each_row

# The files of a project, and the file and the line of the assignment to X that counts.
PROJECTS: dict[str, tuple[dict[str, str], str]] = {
    "one file": ({"__init__.py": "Y = 1\nX = [1]\n"}, "__init__.py:2"),
    "last of two": ({"__init__.py": "X = 1\nX = 2\n"}, "__init__.py:2"),
    "with a type": ({"__init__.py": "X: int = 1\n"}, "__init__.py:1"),
    "two targets": ({"__init__.py": "Y = X = 1\n"}, "__init__.py:1"),
    "extended": (
        {"__init__.py": "X = [1]\nX += [2]\nX = [*X, 3]\nX.append(4)\n"},
        "__init__.py:1",
    ),
    "in a condition": (
        {"__init__.py": "X = 1\nif X:\n    X = 2\nelse:\n    X = 3\n"},
        "__init__.py:5",
    ),
    "in try": (
        {"__init__.py": "try:\n    import none\nexcept ImportError:\n    X = 2\n"},
        "__init__.py:4",
    ),
    "in a class": ({"__init__.py": "class Dev:\n    X = 2\n"}, "__init__.py:2"),
    "not in a function": ({"__init__.py": "X = 1\ndef f():\n    X = 2\n"}, "__init__.py:1"),
    "split": (
        {"__init__.py": "from .dev import *\n", "dev.py": "from .base import *\nX += [2]\n",
         "base.py": "X = [1]\n"},
        "base.py:1",
    ),
    "overridden in dev": (
        {"__init__.py": "from .dev import *\n", "dev.py": "from .base import *\nX = [2]\n",
         "base.py": "X = [1]\n"},
        "dev.py:2",
    ),
    "later import": (
        {"__init__.py": "X = 1\nfrom .local import *\n", "local.py": "X = 2\n"},
        "local.py:1",
    ),
    "later import without the name": (
        {"__init__.py": "X = 1\nfrom .local import *\n", "local.py": "Y = 2\n"},
        "__init__.py:1",
    ),
    "other name": (
        {"__init__.py": "from .base import Z as X\n", "base.py": "Z = 1\nX = 2\n"},
        "base.py:1",
    ),
    "absolute import": (
        {"__init__.py": "from {name}.base import X\n", "base.py": "X = 1\n"},
        "base.py:1",
    ),
    "package above": (
        {"__init__.py": "from .deep.dev import *\n", "base.py": "X = 1\n",
         "deep/__init__.py": "", "deep/dev.py": "from .. import base\nfrom ..base import *\n"},
        "base.py:1",
    ),
    "circle": (
        {"__init__.py": "X = 1\nfrom .other import *\n", "other.py": "from {name} import *\n"},
        "__init__.py:1",
    ),
}  # fmt: skip


@pytest.fixture
def project_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path of Python; the modules of the folder are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def import_project(folder: Path, name: str, files: dict[str, str]) -> None:
    """Write the files of a package, and import the package."""
    for path, text in files.items():
        file = folder / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("{name}", name), encoding="utf-8")
    importlib.invalidate_caches()
    importlib.import_module(name)


@for_each_row("row", PROJECTS)
def test_the_assignment_that_counts_is_found(row: str, project_folder: Path) -> None:
    files, expected = PROJECTS[row]
    name = f"source_{list(PROJECTS).index(row)}"
    import_project(project_folder, name, files)

    found = assignment_of(name, "X")

    assert found
    assert f"{found.path.relative_to(project_folder / name)}:{found.line}" == expected


def test_a_name_that_is_assigned_nowhere_is_not_found(project_folder: Path) -> None:
    (project_folder / "nowhere.py").write_text("from os.path import *\nfrom sys import X\nY = 1")
    sys.modules["nowhere"] = type(sys)("nowhere")
    sys.modules["nowhere"].__file__ = str(project_folder / "nowhere.py")

    assert assignment_of("nowhere", "X") is None
    assert assignment_of("no.such.module", "X") is None
    assert assignment_of("", "X") is None


@for_each_row(
    "text, line",
    [
        ("", 1),
        ('"""Text."""\nX = 1\n', 1),
        ('"""Text."""\nfrom __future__ import annotations\n\nimport sys\nimport os\n', 4),
        ("from os import path\n", 1),
        ("if X:\n    import a\nfrom . import urls\n", 3),
    ],
)
def test_the_line_of_the_first_import_is_found(text: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "urls.py").write_text(text)

    assert first_import_line(tmp_path / "urls.py") == line


def test_a_module_without_a_source_file_has_no_path() -> None:
    assert source_path("sys") is None
    assert source_path(__name__) == Path(__file__)


# Settings -> the file and the line of the entry "a" of X.
ENTRIES: dict[str, tuple[dict[str, str], str | None]] = {
    "list": ({"__init__.py": 'X = [\n    "b",\n    "a",  # 中文\n]\n'}, "__init__.py:3"),
    "extended": ({"__init__.py": 'X = []\nX += [\n    "a"]\n'}, "__init__.py:3"),
    "extended list": ({"__init__.py": 'X = [\n    "a"]\nX += ["b"]\n'}, "__init__.py:2"),
    "sum": (
        {"__init__.py": "from .apps import OWN\nX = OWN + []\n", "apps.py": '\nOWN = ["a"]\n'},
        "apps.py:2",
    ),
    "parts": ({"__init__.py": 'A = ["a"]\nB = ["b"]\nX = [*B, *A]\n'}, "__init__.py:1"),
    "circle": ({"__init__.py": "A = []\nX = A\nA = X\n"}, None),
    "missing": ({"__init__.py": 'X = ["b"]\n'}, None),
}


@for_each_row("row", ENTRIES)
def test_the_place_of_an_entry_is_found(row: str, project_folder: Path) -> None:
    files, expected = ENTRIES[row]
    name = f"entries_{list(ENTRIES).index(row)}"
    import_project(project_folder, name, files)

    found = place_of_entry(name, "X", "a")

    described = found and f"{found.path.relative_to(project_folder / name)}:{found.line}"
    assert described == expected


def test_an_assignment_knows_its_last_line(project_folder: Path) -> None:
    import_project(project_folder, "lines", {"__init__.py": "X = [\n    1,\n]\n"})

    found = assignment_of("lines", "X")

    assert found
    assert (found.line, found.end_line) == (1, 3)
