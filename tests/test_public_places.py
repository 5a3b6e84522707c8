"""The documentation names only places that stay where they are."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.rows import for_each_row

ROOT: Final = Path(__file__).parents[1]
GUIDES: Final = tuple(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))
DOCUMENTS: Final = ("README.md", "example_project/README.md", "CHANGELOG.md", *GUIDES)
# A module that projects may name -> the names in it that projects may use.
STABLE: Final[dict[str, set[str]]] = {
    "ciam_django.accounts": set(),
    "ciam_django.accounts.backends": {"CiamBackend"},
    "ciam_django.accounts.middleware": {"CiamSessionMiddleware"},
    "ciam_django.accounts.signals": {
        "created",
        "linked",
        "signed_in",
        "signed_out",
        "unlinked",
    },
    "ciam_django.accounts.users": {"user_from_claims"},
    "ciam_django.answers": {"answer_to"},
    "ciam_django.axes": {"lockout_response", "typed_name"},
    "ciam_django.client": {
        "AsyncCiamClient",
        "CiamClient",
        "ciam_compliance_fix",
        "raise_for_failure",
    },
    "ciam_django.codes": {"CODES"},
    "ciam_django.drf": {"exception_handler"},
    "ciam_django.drf.authentication": {"CiamBearerAuthentication"},
    "ciam_django.drf.permissions": {"HasScope"},
    "ciam_django.drf.renderers": {"ProblemJSONRenderer"},
    "ciam_django.drf.schema": {"CiamAutoSchema", "with_ciam"},
    "ciam_django.drf.serializers": {"error_at_field", "raising_validation_errors"},
    "ciam_django.drf.standardized": {"CiamExceptionHandler"},
    "ciam_django.errors": {"CiamError", "Stage", "raising_ciam_errors"},
    "ciam_django.forms": {"add_error"},
    "ciam_django.lookup": {"meaning_of"},
    "ciam_django.middleware": {"CiamErrorMiddleware"},
    "ciam_django.network": {"forwarded_for", "remote_addr"},
    "ciam_django.ninja": {"user_and_bearer"},
    "ciam_django.signals": {"login_failed", "unknown_code"},
    "ciam_django.testing": {"FakeCiam"},
    "ciam_django.testing.fixtures": {"fake_ciam"},
    "ciam_django.tokens": {
        "aaccess_token_of",
        "access_token_of",
        "aend_other_sessions",
        "auser_and_bearer",
        "end_other_sessions",
        "user_and_bearer",
    },
    "ciam_django.urls": {"app_name", "urlpatterns"},
}
# An event of the browser: it only looks like the path of a module.
NO_PATHS: Final = {"ciam_django.signed_in"}
STABLE_PATHS: Final = {
    *STABLE,
    *(f"{module}.{name}" for module, names in STABLE.items() for name in names),
}

_PATH: Final = re.compile(r"\bciam_django(?:\.[A-Za-z_]\w*)+")
_CHECK_ID: Final = re.compile(r"ciam_django\.[EW]\d{3}")
_IMPORT: Final = re.compile(r"^from ciam_django[\w.]* import .+$", re.MULTILINE)
_FILE: Final = re.compile(r"\b(?:ciam_django|client|tests)/[\w/]+\.\w+")


def documented_paths(text: str) -> Iterator[str]:
    """The dotted paths in a text; ``from a import b`` names ``a.b``."""
    yield from _PATH.findall(text)
    for statement in _IMPORT.findall(text):
        for node in ast.walk(ast.parse(statement)):
            if isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def check_importable(path: str) -> None:
    """Import a module, or a name in a module."""
    try:
        importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"


def test_each_documented_path_is_a_stable_place() -> None:
    paths = {
        (document, path)
        for document in DOCUMENTS
        for path in documented_paths((ROOT / document).read_text(encoding="utf-8"))
        if path not in NO_PATHS and not _CHECK_ID.fullmatch(path)
    }

    assert len(paths) > 100
    assert [each for each in paths if each[1] not in STABLE_PATHS] == []
    for _, path in paths:
        check_importable(path)


@for_each_row("path", sorted(STABLE_PATHS))
def test_each_stable_place_is_there(path: str) -> None:
    check_importable(path)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ('"ciam_django.drf.exception_handler"', ["ciam_django.drf.exception_handler"]),
        ("`ciam_django` and django.forms", []),
        (
            "from ciam_django.forms import add_error, other",
            ["ciam_django.forms", "ciam_django.forms.add_error", "ciam_django.forms.other"],
        ),
    ],
)
def test_a_path_in_a_text_is_found(text: str, paths: list[str]) -> None:
    assert list(documented_paths(text)) == paths


@pytest.mark.parametrize("document", [*DOCUMENTS, "CONTRIBUTING.md"])
def test_each_documented_file_is_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for name in _FILE.findall(text):
        # The name of a template begins with the name of the app.
        folders = [ROOT, ROOT / "ciam_django", ROOT / "ciam_django/templates"]
        folders.append(ROOT / "ciam_django/static")
        assert any((folder / name).exists() for folder in folders), name
