"""Tests of the keys for encryption: each purpose has its own key, which stays the same."""

from __future__ import annotations

import ast
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.fernet import InvalidToken
from pytest_django.fixtures import Settings

from ciam_django.client.crypto import fernet_for, from_stored
from tests.rows import for_each_row

PACKAGE: Final = Path(__file__).parents[2] / "ciam_django"
# The functions and classes whose first argument is a purpose.
KEYED: Final = {"fernet_for", "EncryptedCookies", "salted_hmac"}
# These two modules take the purpose from their callers.
TAKES_A_PURPOSE: Final = {"client/crypto.py", "login/cookies.py"}


def purposes_in(source: str) -> Iterator[str | None]:
    """Yield the purpose of each keyed call, and None if the purpose is not a literal text."""
    tree = ast.parse(source)
    constants = {
        node.target.id: node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        if name in KEYED:
            purpose: ast.expr | None = node.args[0] if node.args else None
            if isinstance(purpose, ast.Name):
                purpose = constants.get(purpose.id)
            is_text = isinstance(purpose, ast.Constant) and isinstance(purpose.value, str)
            yield purpose.value if is_text else None  # type: ignore[union-attr]  # a text is a Constant's


@pytest.mark.slow("the source code of all modules")
def test_each_purpose_is_a_literal_text_of_one_module() -> None:
    modules = {
        str(path.relative_to(PACKAGE)): set(purposes_in(path.read_text(encoding="utf-8")))
        for path in PACKAGE.rglob("*.py")
    }
    for name in TAKES_A_PURPOSE:
        # The purpose of these calls is an argument, which is checked where the caller passes it.
        modules[name].remove(None)
    used = Counter(purpose for purposes in modules.values() for purpose in purposes)

    assert None not in used
    assert set(used.values()) == {1}
    # Stored tokens, cookies and digests become useless when one of these texts changes.
    assert set(used) == {
        "ciam_django.accounts.last_failure",
        "ciam_django.accounts.tokens",
        "ciam_django.client.cache",
        "ciam_django.login.captcha",
        "ciam_django.login.names",
        "ciam_django.login.known_browsers",
        "ciam_django.login.notices",
        "ciam_django.login.outcome",
        "ciam_django.login.state",
        "ciam_django.login.steps.flow",
    }


@pytest.mark.parametrize(
    ("source", "purposes"),
    [
        ("fernet_for(__name__)", [None]),
        ("_PURPOSE = __name__\nfernet_for(_PURPOSE)", [None]),
        ("_PURPOSE: Final = 'a'\ncrypto.fernet_for(_PURPOSE)", ["a"]),
        ("EncryptedCookies(f'{__name__}', 'state_', 600)", [None]),
        ("salted_hmac('b', text)", ["b"]),
        ("fernet_for()", [None]),
    ],
)
def test_a_computed_purpose_is_found(source: str, purposes: list[str | None]) -> None:
    assert list(purposes_in(source)) == purposes


def test_another_purpose_decrypts_nothing() -> None:
    encrypted = fernet_for("a").encrypt(b"text")

    assert fernet_for("a").decrypt(encrypted) == b"text"
    with pytest.raises(InvalidToken):
        fernet_for("b").decrypt(encrypted)


def test_a_fallback_key_still_decrypts(settings: Settings) -> None:
    encrypted = fernet_for("a").encrypt(b"text")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "new"

    assert fernet_for("a").decrypt(encrypted) == b"text"


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    name: str
    at: float = 0
    parts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    extra: Any = None


@for_each_row(
    "content, expected",
    [
        ({"name": "a"}, Stored("a")),
        ({"name": "a", "at": 1, "parts": {"b": "c"}, "extra": 2}, Stored("a", 1, {"b": "c"}, 2)),
        # Another version of the package has stored one member more.
        ({"name": "a", "at": 1.5, "newer": 3}, Stored("a", 1.5)),
        ({"at": 1}, None),
        ({"name": None}, None),
        ({"name": "a", "at": "1"}, None),
        ({"name": "a", "parts": []}, None),
        ({}, None),
        (None, None),
        ([], None),
        ("name", None),
    ],
)
def test_stored_content_ignores_unknown_members_and_has_defaults_for_missing_members(
    content: object, expected: Stored | None
) -> None:
    assert from_stored(Stored, content) == expected


def test_a_text_of_an_older_version_can_be_decrypted(settings: Settings) -> None:
    settings.SECRET_KEY = "an old secret key"
    token = (
        b"gAAAAABlU_EA4wzc4CpTEqBJt1qR9fOuNlhYMd2nE4nDdqtAs5FNCyfiL6h6MWgfSVpSnvt40cbqk8LhzxrJ7mAo1VUT"
        b"uHiZQQ=="
    )

    assert fernet_for("a purpose").decrypt(token) == b"kept"
