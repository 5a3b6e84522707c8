"""Test that each mistake of ``mistakes.py`` has a message from which alone it can be mended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from tests.checks.mistakes import CORRECT, MISTAKES, SECRET
from tests.checks.test_settings import SHARED_CACHES, found_with
from tests.rows import for_each_row

EXAMPLE = Path(__file__).parents[2] / "example_project"


def texts_with(name: str) -> dict[str, list[str]]:
    """The messages and hints for a mistake, by id."""
    mistake = MISTAKES[name]
    with override_settings(**{"CACHES": SHARED_CACHES, **mistake.settings}):
        messages = run_checks(tags=["ciam_django"], include_deployment_checks=mistake.is_deploy)
    texts: dict[str, list[str]] = {}
    for message in messages:
        texts.setdefault(str(message.id), []).append(f"{message.msg} {message.hint}")
    return texts


def test_the_table_has_at_least_55_mistakes() -> None:
    assert len(MISTAKES) >= 55


@for_each_row("name", MISTAKES)
def test_a_mistake_is_reported_with_its_setting_its_value_and_the_allowed_values(name: str) -> None:
    mistake, texts = MISTAKES[name], texts_with(name)

    assert mistake.check_id in texts, texts
    needed = (mistake.setting, mistake.found, mistake.allowed)
    candidates = texts[mistake.check_id]
    assert any(all(each in text for each in needed) for text in candidates), candidates


@for_each_row("name", MISTAKES)
def test_no_message_about_a_mistake_contains_the_secret(name: str) -> None:
    assert SECRET not in str(texts_with(name))


@for_each_row("name", [name for name, mistake in MISTAKES.items() if mistake.is_deploy])
def test_a_mistake_of_a_deployment_is_no_mistake_in_development(name: str) -> None:
    ids = [message.id for message in found_with(**MISTAKES[name].settings)]

    assert MISTAKES[name].check_id not in ids


@for_each_row("name", CORRECT)
def test_correct_settings_have_no_message(name: str) -> None:
    assert found_with(**CORRECT[name]) == []


@pytest.mark.slow("the example project")
def test_the_example_project_has_no_message() -> None:
    result = subprocess.run(
        [sys.executable, EXAMPLE / "manage.py", "check", "--fail-level", "INFO"],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "example.settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
