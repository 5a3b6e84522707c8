"""Compare the dependencies of setup.cfg with the imports of the package and with tox.ini."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "ciam_django"

# Package or module directly below ciam_django -> the extras whose requirements it may import, too.
EXTRAS_OF_ROOMS: Final[dict[str, set[str]]] = {
    "drf": {"drf", "openapi", "standardized"},
    "metrics": {"otel", "prometheus"},
    "testing": {"testing"},
}
# Requirements that the package does not import, with the reason.
NOT_IMPORTED: Final = {
    "phonenumbers": "ciam_django/phone_numbers.py imports it by its name, at the first use",
    "pytest-django": "the tests of projects use its fixtures beside fake_ciam",
}


def setup_cfg() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements() -> dict[str, list[Requirement]]:
    """The requirements of setup.cfg by extra; those of the package itself have the key ""."""
    parser = setup_cfg()
    texts = {"": parser["options"]["install_requires"], **parser["options.extras_require"]}
    return {
        extra: [Requirement(line) for line in text.split("\n") if line]
        for extra, text in texts.items()
    }


def lower_bounds() -> dict[str, set[str]]:
    """The lower bounds of each required distribution, by its normalized name."""
    bounds: dict[str, set[str]] = {}
    for requirement in [item for items in requirements().values() for item in items]:
        found = bounds.setdefault(canonicalize_name(requirement.name), set())
        found.update(item.version for item in requirement.specifier if item.operator == ">=")
    return bounds


def imported_modules(path: Path) -> set[str]:
    """The first part of each absolute import of a file, without the imports for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def imported_distributions() -> Iterator[tuple[str, str, set[str]]]:
    """Yield the file, the room and the normalized distributions of each import of the package.

    Several distributions have modules of a namespace package, such as ``opentelemetry``.
    """
    distributions = packages_distributions()
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE)
        for module in imported_modules(path) - sys.stdlib_module_names - {"ciam_django"}:
            yield str(file), file.parts[0], {*map(canonicalize_name, distributions[module])}


@pytest.mark.slow("the source code of all modules")
def test_each_import_of_the_package_is_a_requirement_of_setup_cfg() -> None:
    allowed = {
        extra: {canonicalize_name(item.name) for item in items}
        for extra, items in requirements().items()
    }

    missing = [
        f"{file} imports {' or '.join(sorted(found))}"
        for file, room, found in imported_distributions()
        if not any(found & allowed[extra] for extra in {"", *EXTRAS_OF_ROOMS.get(room, set())})
    ]

    assert not missing


@pytest.mark.slow("the source code of all modules")
def test_the_package_imports_each_requirement_of_setup_cfg() -> None:
    imported = {distribution for *_, found in imported_distributions() for distribution in found}

    assert set(lower_bounds()) - imported == set(NOT_IMPORTED)


def test_each_requirement_has_one_lower_bound_which_the_oldest_environment_installs() -> None:
    lines = (ROOT / "tests/lowest.txt").read_text(encoding="utf-8").splitlines()
    lowest = dict(line.split("==") for line in lines if not line.startswith("#"))

    assert lower_bounds() == {
        canonicalize_name(name): {version} for name, version in lowest.items()
    }
    assert "    py311: -r tests/lowest.txt\n" in (ROOT / "tox.ini").read_text(encoding="utf-8")


def test_tox_installs_each_extra() -> None:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")

    assert set(parser["testenv"]["extras"].split()) == set(requirements()) - {""}


def classifiers(start: str) -> set[str]:
    """The version numbers of the classifiers that start with this text."""
    text = setup_cfg()["metadata"]["classifiers"]
    return set(re.findall(rf"^{start} :: (\d+\.\d+)$", text, re.MULTILINE))


def test_the_tests_run_on_the_python_and_django_of_each_classifier() -> None:
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    pairs = re.findall(r"^    py\{?([\d,]+)\}?-django\{?([\d,]+)\}?$", tox, re.MULTILINE)
    pythons = {f"3.{name[1:]}" for names, _ in pairs for name in names.split(",")}
    djangos = {f"{name[0]}.{name[1:]}" for _, names in pairs for name in names.split(",")}
    # CI has no newer Pythons, so that a script fetches them from Debian.
    script = (ROOT / ".ci/newer_python").read_text(encoding="utf-8")
    newer = re.search(r"^pythons=\((.+)\)$", script, re.MULTILINE)

    assert newer
    assert classifiers("Programming Language :: Python") == pythons | set(newer[1].split())
    assert classifiers("Framework :: Django") == djangos
