"""Compare the names in the documentation with the names in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from django.core.management import get_commands, load_command_class
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from example import tenant

from ciam_django import reporting
from ciam_django.accounts import bearer, last_failure, session_clearing, session_store, transactions
from ciam_django.accounts.management.commands import ciam_clear
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.client import circuit_breaker
from ciam_django.codes import CODES, UNKNOWN
from ciam_django.conf import SETTINGS, Conf
from ciam_django.kinds import Kind
from ciam_django.login import cookies, state
from tests.docs.blocks import ROOT, all_blocks, pages
from tests.rows import for_each_row
from tests.settings_reference import declaration

# Environment variables of the example.
NO_SETTINGS: Final = set(tenant._VARIABLES.values())
# The pages for readers, without the references and the page of the example.
REFERENCES: Final = {"index.md"}
GUIDES: Final = [
    page for page in pages() if page.parent.name == "docs" and page.name not in REFERENCES
]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# The pages, and the README, whose blocks other tests run.
DOCUMENTS: Final = [ROOT / "README.md", *pages()]


def matches(pattern: str) -> Iterator[tuple[str, Any]]:
    """Yield the page and the match of a pattern, in all documents."""
    for page in DOCUMENTS:
        for match in re.finditer(pattern, text_of(page), re.MULTILINE):
            yield page.name, match


def test_each_setting_of_the_package_exists() -> None:
    named = [(page, match[0]) for page, match in matches(r"\bCIAM_[A-Z_]+[A-Z]\b")]

    assert len(named) > 100
    assert [each for each in named if each[1] not in {*SETTINGS, *NO_SETTINGS}] == []


def test_each_declaration_of_a_setting_is_that_of_its_row() -> None:
    declared = [match for _, match in matches(r"`((CIAM_\w+): [^`]+)`")]

    assert len(declared) > 8
    for match in declared:
        assert match[1] == declaration(match[2])


def test_each_id_of_a_check_exists() -> None:
    named = {(page, match[0]) for page, match in matches(r"\bciam_django\.[EW]\d{3}\b")}

    assert len(named) > 10
    assert [each for each in named if each[1] not in CHECK_IDS.values()] == []


def test_each_name_of_a_url_pattern_exists() -> None:
    named = {(page, match[1]) for page, match in matches(r"\b(ciam:[a-z_]+)")}
    wrong = []
    for page, name in named:
        try:
            reverse(name, args=["qq"] if "provider" in name else None)
        except NoReverseMatch:
            wrong.append((page, name))

    assert len(named) > 10
    assert wrong == []


def test_each_address_of_the_package_exists() -> None:
    named = {(page, match[1]) for page, match in matches(r"(?<!developer)(/ciam/[\w/<>-]*/)")}
    # A part of an address that the reader replaces.
    addresses = {re.sub(r"<\w+>", "qq", address) for _, address in named} - {"/ciam/"}
    wrong = []
    for address in addresses:
        try:
            assert resolve(address).app_name == "ciam"
        except Resolver404:
            wrong.append(address)

    assert len(addresses) > 15
    assert wrong == []


def test_each_code_of_ciam_exists() -> None:
    named = {
        (page, match[0])
        for page, match in matches(r"\b(?:Operation|Params)(?:\.[A-Z]\w+)+(?:\.\*)?")
    }
    # The code of an override is a code that the package does not know.
    unknown = {"Operation.Failure.Branch.Closed", "Operation.Failure"}

    assert len(named) > 5
    assert [each for each in named if each[1] not in {*CODES, *unknown}] == []


def test_each_other_code_exists() -> None:
    named = {(page, match[1]) for page, match in matches(r"\bcodes? `([a-z_]+)`")}

    assert len(named) > 2
    assert [each for each in named if each[1] not in {*CODES, UNKNOWN}] == []


def test_each_kind_exists() -> None:
    named = {(page, match[1]) for page, match in matches(r"\bkind[ =]`?([a-z_]+)\b")}

    assert named
    kinds = {str(kind) for kind in Kind}
    assert {name for _, name in named if "_" in name} <= kinds


def test_the_wechat_page_has_the_reasons_of_the_rows() -> None:
    rows = re.findall(r"^\| `(\d{5})` \| (.+) \|$", text_of(ROOT / "docs/wechat.md"), re.MULTILINE)

    assert len(rows) >= 5
    for code, reason in rows:
        assert reason == str(CODES[f"wechat.{code}"].reason)


def test_each_command_in_a_sentence_exists_with_its_options() -> None:
    named = {
        (page, match[1]) for page, match in matches(r"`(?:python )?manage\.py ([a-z_]+[^`]*)`")
    }

    assert named
    for _, command in named:
        name, *options = command.split()
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        for option in options:
            if option.startswith("-"):
                assert option in parser._option_string_actions, command


def test_each_file_of_the_repository_exists() -> None:
    named = {match[1] for _, match in matches(r"`((?:ciam_django|tests|docs)/[\w/]+\.\w+)`")}

    assert len(named) > 5
    for name in named:
        folders = (ROOT, ROOT / "ciam_django/templates", ROOT / "ciam_django/static")
        assert any((folder / name).exists() for folder in folders), name


def test_each_module_of_the_architecture_page_exists() -> None:
    text = text_of(ROOT / "docs/architecture.md")
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:\.py|/))`", text))

    assert len(named) > 25
    for name in named:
        paths = [ROOT / "ciam_django" / name, ROOT / "ciam_django/login/steps" / name, ROOT / name]
        assert any(path.exists() for path in paths), name


# Page, a part of a sentence, and the number in the code, in the unit of the sentence.
NUMBERS: Final = [
    ("sessions.md", "in less than five minutes", session_store._REFRESH_MARGIN / 60, 5),
    ("sessions.md", "for 5 seconds", transactions.PATIENCE_SECONDS, 5),
    ("wechat.md", "For 30 seconds, a second", state.REPEAT_SECONDS, 30),
    ("troubleshooting.md", "waited for more than ten minutes", state.STATE_SECONDS / 60, 10),
    ("troubleshooting.md", "at most once in ten minutes", reporting._ERROR_INTERVAL / 60, 10),
    ("troubleshooting.md", "fail at once for 10 seconds", circuit_breaker.PAUSE_SECONDS, 10),
    ("operating.md", "fail at once for 10 seconds", circuit_breaker.PAUSE_SECONDS, 10),
    ("operating.md", "process and ten minutes", reporting._ERROR_INTERVAL / 60, 10),
    ("operating.md", "the row after 30 days", ciam_clear._DEFAULT_DAYS, 30),
    ("operating.md", "500 rows in each", session_clearing._BATCH_SIZE, 500),
    ("rest-framework.md", "for at most five seconds", bearer._REFUSAL_SECONDS, 5),
    ("login-methods.md", "for half a year", cookies._KNOWN_SECONDS / 86400, 180),
    ("login-methods.md", "three failed passwords", Conf.CIAM_CAPTCHA_AFTER.default, 3),
    ("accounts.md", "of the last 24 hours", last_failure._LIFETIME / 3600, 24),
]


@for_each_row("page, words, in_code, in_text", NUMBERS)
def test_a_number_in_a_sentence_is_that_of_the_code(
    page: str, words: str, in_code: float, in_text: float
) -> None:
    assert words in " ".join(text_of(ROOT / "docs" / page).split())
    assert in_code == in_text


# --- Pages and links --------------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    """The anchors of the headings of a page, as a code host makes them."""
    text = re.sub(r"^ *```.*?^ *```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {word.replace(" ", "-") for word in words}


def links() -> list[tuple[Path, str]]:
    """The page and the target of each link that is not the address of another site."""
    found = []
    for page in DOCUMENTS:
        text = re.sub(r"^ *```.*?^ *```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
        targets = re.findall(r"\]\(([^)\s]+)\)", text)
        found += [(page, target) for target in targets if "://" not in target]
    return found


@for_each_row("page, target", links())
def test_each_link_has_its_page_and_its_heading(page: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = page.parent / name if name else page

    assert path.exists()
    if anchor:
        assert anchor in anchors_of(path)


GENERATED_LISTS: Final = [
    *sorted((ROOT / "docs/reference").glob("*.md")),
    ROOT / "docs/codes/index.md",
]


@pytest.mark.parametrize("page", [*GUIDES, *GENERATED_LISTS], ids=lambda page: page.name)
def test_each_page_begins_with_its_readers(page: Path) -> None:
    heading, empty, first = text_of(page).split("\n", 2)

    assert heading.startswith("# ")
    assert empty == ""
    assert first.startswith("This page is for you if ")


def test_no_guide_has_raw_html() -> None:
    for page in GUIDES:
        text = re.sub(r"^ *```.*?^ *```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r"`[^`]*`|<https?://[^>]+>", "", text)
        assert re.findall(r"<[a-z!/][^>]*>", text) == [], page.name


def test_each_import_of_a_block_is_possible() -> None:
    statements = {
        line
        for block in all_blocks()
        if block.language == "python"
        for line in re.findall(r"^from ciam_django[\w.]* import [\w, ]+$", block.text, re.MULTILINE)
    }

    assert len(statements) > 10
    for statement in statements:
        exec(statement, {})  # noqa: S102  (an import of the documentation)
