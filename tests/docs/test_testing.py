"""Run the tests of docs/testing.md, and compare its lists with the fake CIAM."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

import pytest
from django.test import Client

from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import (
    CAPTCHA_TEXT,
    CODE,
    PASSWORD,
    STATES_BY_PREFIX,
    STEPS_BY_PREFIX,
)
from ciam_django.testing.failures import BEHAVIOURS, STAGES
from ciam_django.testing.forgeries import FORGERIES
from ciam_django.testing.unreachable import UNREACHABLE
from tests.docs.blocks import DOCS, take
from tests.docs.conftest import Project
from tests.docs.new_project import NEW_PROJECT

PAGE: Final = "testing.md"
TESTS: Final = take(PAGE, "shop/test_sign_in.py")
TEXT: Final = (DOCS / PAGE).read_text(encoding="utf-8")


def names_of_tests() -> list[str]:
    return re.findall(r"^def (test_\w+)\(", TESTS.text, re.MULTILINE)


@pytest.mark.django_db
@pytest.mark.parametrize("name", names_of_tests())
def test_the_tests_of_the_page_pass(
    name: str, project: Project, fake_ciam: FakeCiam, client: Client, settings: Any
) -> None:
    project.start(*NEW_PROJECT, AUTHLIB_OAUTH_CLIENTS={})
    names: dict[str, Any] = {"__name__": "shop.test_sign_in"}
    # Only pytest can call a fixture. The test calls the function below the decorator.
    code = TESTS.with_text("@pytest.fixture(autouse=True)\n", "").text
    exec(code, names)  # noqa: S102  (the code of the documentation)

    names[name](client=client, ciam=names["ciam"](fake_ciam=fake_ciam, settings=settings))


def row(method: str) -> str:
    """The row of a method in the table."""
    match = re.search(rf"^\| `{method}\b.*\|$", TEXT, re.MULTILINE)
    assert match
    return match[0].partition("|")[2].partition("|")[2]


def test_the_page_lists_the_methods_and_their_values() -> None:
    methods = re.findall(r"^\| `(\w+)(?:\(|` \| the requests)", TEXT, re.MULTILINE)
    stages = re.search(r"^The stages are (.*?)\.", TEXT, re.MULTILINE | re.DOTALL)

    assert len(methods) == 11
    assert all(hasattr(FakeCiam, method) for method in methods)
    assert stages
    assert re.findall(r"`(\w+)`", stages[1]) == list(STAGES)
    assert set(re.findall(r"`(\w+)`", row("misbehave"))) == set(BEHAVIOURS)
    assert set(re.findall(r"`(\w+)`", row("unreachable"))) == set(UNREACHABLE)
    assert set(re.findall(r"`(\w+)`", row("forge"))) <= set(FORGERIES)
    parameters = set(inspect.signature(FakeCiam.fail).parameters)
    assert set(re.findall(r"`(\w+)`", row("fail"))) <= parameters


def test_the_page_lists_the_accounts_of_the_fake() -> None:
    section = TEXT.partition("## Accounts of the fake")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)
    names = re.findall(r"`(\w+)`", " ".join(rows))

    assert set(names) == {*STATES_BY_PREFIX, *STEPS_BY_PREFIX}
    for value in (PASSWORD, CODE, CAPTCHA_TEXT):
        assert f"`{value}`" in section
