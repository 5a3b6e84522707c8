"""A first sign-in works with common user models, or names what the model lacks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ciam_django.checks.messages import CHECK_IDS
from tests.accounts.user_models import MODELS

pytestmark = pytest.mark.slow("user models")

IN_MEMORY = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
# Model -> patterns of the values of a new user.
WORKING = {
    "EmailUser": {"email": "li@example.com"},
    "MobileUser": {"mobile": "13800000000"},
    "DefaultsUser": {"username": "[a-z0-9]{10}", "plan": "free", "points": "7"},
    "NumberedUser": {"username": "ciam-[0-9a-f]{24}"},
    "SavedUser": {"username": "ciam-[0-9a-f]{24}"},
    "IntegerUser": {"number": r"\d{10}"},
    "UuidUser": {"name": r"[0-9a-f-]{36}"},
    # The claims do not fit the fields.
    "BirthdayUser": {"username": r"\d{16}", "birthdate": "None", "gender": ""},
}
# Model -> the reason in the log, and True if ``manage.py check`` can know the reason.
FAILING = {
    "StrictUser": ("StrictUser needs a value for 'mobile'", True),
    "TenantUser": ("TenantUser needs a value for 'tenant'", True),
    "CleanUser": ("CleanUser can't be saved: ValidationError ['email']", False),
    "ForgetfulUser": ("ForgetfulUser needs a value for 'number'", False),
}


@pytest.fixture(params=["sqlite", "postgresql"])
def results(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The results of all models, by name."""
    databases = dict.fromkeys(MODELS, IN_MEMORY)
    if request.param == "postgresql":
        create_database: Callable[[], Any] = request.getfixturevalue("create_database")
        databases = {name: create_database() for name in MODELS}
    root = Path(__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.accounts.user_models", json.dumps(databases)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stderr == ""
    results: dict[str, Any] = {}
    for line in process.stdout.splitlines():
        results |= json.loads(line)
    assert list(results) == list(MODELS)
    return results


def test_a_first_sign_in_works_or_names_what_the_user_model_lacks(results: dict[str, Any]) -> None:
    assert {*WORKING, *FAILING} == set(results)
    for name, patterns in WORKING.items():
        result = results[name]
        assert (result["is_same"], result["is_other"]) == (True, True), name
        for field, pattern in patterns.items():
            assert re.fullmatch(pattern, result["values"][field]), (name, field, result)
        assert CHECK_IDS["user model"] not in result["checks"], name
    for name, (reason, is_checked) in FAILING.items():
        result = results[name]
        assert result["error"] == "bad_configuration", name
        assert reason in result["text"]
        assert (CHECK_IDS["user model"] in result["checks"]) == is_checked, name
