"""Test the facts and the code blocks of docs/answers.md."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from django.test import override_settings

from ciam_django.answers import answer_to
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.errors import CiamError
from ciam_django.kinds import KINDS, Kind
from ciam_django.lookup import OVERRIDABLE_FIELDS
from tests.checks.test_settings import found_with
from tests.test_public_places import STABLE_PATHS, check_importable, documented_paths

TEXT = (Path(__file__).parents[2] / "docs/answers.md").read_text(encoding="utf-8")
BLOCKS = dict.fromkeys(re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL))


def settings_of_blocks() -> list[dict[str, Any]]:
    """The settings of each block of Python code."""
    found = []
    for language, block in BLOCKS:
        if language == "python":
            names: dict[str, Any] = {}
            exec(block, names)  # noqa: S102  (our own text)
            found.append({name: value for name, value in names.items() if name.isupper()})
    return found


def test_the_settings_of_each_block_have_no_message_of_the_checks() -> None:
    blocks = settings_of_blocks()

    assert len(blocks) == 3
    for block in blocks:
        assert found_with(**block) == []


def test_the_first_block_shows_its_message_to_all_users() -> None:
    (error,) = settings_of_blocks()[0]["CIAM_ERROR_OVERRIDES"]

    with override_settings(**settings_of_blocks()[0]):
        answer = answer_to(CiamError(error, stage="password"))

    assert answer.detail == "Call us on 95187 to unlock your account."


def test_the_table_has_the_defaults_of_each_kind() -> None:
    rows = re.findall(r"^\| (`\w+`.*?) \| (\d+) \| (\w+) \| (.+) \|$", TEXT, re.MULTILINE)
    shown = {
        kind: (int(status), action, log.partition(",")[0])
        for names, status, action, log in rows
        for kind in re.findall(r"`(\w+)`", names)
    }

    assert shown == {
        str(kind): (row.status, str(row.action), logging.getLevelName(row.log_level))
        for kind, row in KINDS.items()
        if kind is not Kind.SUCCESS
    }


def test_the_document_names_each_field_of_an_override() -> None:
    (sentence,) = re.findall(r"The value is a text, or a dict of the fields.*?\.", TEXT, re.DOTALL)

    assert re.findall(r"`(\w+)`", sentence) == list(OVERRIDABLE_FIELDS)


def test_the_document_names_stable_places_and_real_checks() -> None:
    identifiers = set(re.findall(r"ciam_django\.[EW]\d{3}\b", TEXT))
    paths = set(documented_paths(TEXT)) - identifiers

    assert paths <= STABLE_PATHS
    for each in paths:
        check_importable(each)
    assert identifiers
    assert identifiers <= set(CHECK_IDS.values())
