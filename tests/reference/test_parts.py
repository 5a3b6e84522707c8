"""The reference is complete: it has each setting, check, signal, endpoint, command and log line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ciam_reference.checks import anchor_of, checks_reference, faults, settings_of
from ciam_reference.codes import code_pages
from ciam_reference.commands import commands, commands_reference
from ciam_reference.endpoints import (
    components,
    endpoints,
    endpoints_reference,
    urls_reference,
)
from ciam_reference.headers import REQUEST_HEADERS, RESPONSE_HEADERS, read_headers, set_headers
from ciam_reference.logs import logs_reference
from ciam_reference.parts import PARTS
from ciam_reference.signals import arguments_of_signals, signal_paths, signals_reference
from ciam_reference.sources import PACKAGE
from ciam_reference.targets import targets

import ciam_django.urls
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.codes import CODES
from ciam_django.conf import SETTINGS
from ciam_django.events import EVENTS, FACTS
from ciam_django.login.steps.table import NATIVE, STEPS

DOCS = Path(__file__).parents[2] / "docs"


def sources() -> dict[str, str]:
    """Path -> source code of each module of the package, without the fake CIAM."""
    return {
        str(path): path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
        if "testing" not in path.parts
    }


def test_each_part_is_on_exactly_one_page() -> None:
    pages = [path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")]
    inserted = [
        name
        for page in pages
        for name in re.findall(r"^```\{ciam-reference\} (.+)$", page, re.MULTILINE)
    ]

    assert sorted(inserted) == sorted(PARTS)


# --- Checks -----------------------------------------------------------------------------------


@pytest.mark.slow("the source code of all modules")
def test_each_check_has_a_section_with_its_messages_or_its_settings() -> None:
    text, found = checks_reference(), faults()

    for check, check_id in CHECK_IDS.items():
        assert f"({anchor_of(check_id)})=\n## `{check_id}`" in text
        assert found[check_id] or settings_of(check), f"{check_id} has neither"


def test_each_message_of_the_checks_is_in_the_reference() -> None:
    call = re.compile(r"(?<!def )check_message\(\s*\"|\bid=\"ciam_django\.[EW]\d")
    calls = sum(len(call.findall(source)) for source in sources().values())

    assert sum(map(len, faults().values())) == calls


def test_a_check_names_its_cure_and_the_option_that_runs_it() -> None:
    section = checks_reference().partition("(w061)=")[2].partition("\n(")[0]

    assert "CIAM_SEND_LIMITS has no limit for the whole site." in section
    assert "Purpose of the check: Check that the settings limit the costs of codes" in section
    assert "Hint: `An attacker with many addresses" in section
    assert "Only `manage.py check --deploy` runs this check." in section


def test_a_new_check_id_gets_a_section_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHECK_IDS, "shop", "ciam_django.W999")

    assert "## `ciam_django.W999`: warning, shop" in checks_reference()


# --- Signals and commands ---------------------------------------------------------------------


def test_each_signal_has_a_section_with_its_arguments() -> None:
    text, arguments = signals_reference(), arguments_of_signals()
    defined = [
        name
        for source in sources().values()
        for name in re.findall(r"^(\w+)(?:: Final)? = Signal\(", source, re.MULTILINE)
    ]

    assert sorted(path.rpartition(".")[2] for path in signal_paths()) == sorted(defined)
    for name in defined:
        assert f"## `{name}`" in text
        assert arguments[name]
    assert arguments["login_failed"] == ["request", "error", "answer"]
    assert arguments["signed_in"] == ["identity", "user", "request", "person"]


def test_each_command_has_a_section_with_its_options() -> None:
    files = {
        path.stem
        for path in PACKAGE.rglob("management/commands/*.py")
        if not path.name.startswith("_")
    }

    assert set(commands()) == files
    for name in files:
        assert f"## `{name}`\n" in commands_reference()
    assert "manage.py ciam_link\n    FILE\n    [--by FIELD]\n" in commands_reference()
    assert "--settings" not in commands_reference()


# --- URLs and endpoints -----------------------------------------------------------------------


def test_each_url_pattern_is_in_the_table() -> None:
    for pattern in ciam_django.urls.urlpatterns:
        assert f"| `ciam:{pattern.name}` | `…/{pattern.pattern}` |" in urls_reference()


def test_each_json_endpoint_has_a_section_with_its_fields() -> None:
    text = endpoints_reference()
    paths = {path for _, path, _ in endpoints()}

    steps = [name for name in STEPS if name != NATIVE]
    names = (*steps, "captcha", "renew", "with/wechat-app")
    assert {f"/ciam/api/{name}/" for name in names} < paths
    assert "/ciam/api/" in paths
    for method, path, _ in endpoints():
        assert f"### `{method} {path}`\n" in text
    for name in components():
        assert f"### `{name}`\n" in text
    section = text.partition("### `POST /ciam/api/code/`")[2].partition("\n### ")[0]
    assert "| `code` | string, required |" in section
    assert "[`Params.Blank.Code`]" in section


def test_each_code_that_the_endpoints_raise_is_among_their_errors() -> None:
    source = (PACKAGE / "login/api.py").read_text(encoding="utf-8")
    codes = set(re.findall(r"CiamError\(\s*\"([^\"]+)\"", source))
    errors = endpoints_reference().partition("## Errors of the endpoints")[2]

    assert codes
    for code in codes:
        assert f"| [`{code}`](<" in errors


# --- Headers and log lines --------------------------------------------------------------------


def test_the_headers_of_the_reference_are_those_of_the_source_code() -> None:
    assert set(RESPONSE_HEADERS) == set_headers()
    assert set(REQUEST_HEADERS) == read_headers()


def test_the_reference_of_the_log_lines_has_each_event_and_each_fact() -> None:
    text = logs_reference()

    for name, event in EVENTS.items():
        section = text.partition(f"### `{name}`\n")[2].partition("\n#")[0]
        assert event.meaning in section, name
        assert [fact for fact in event.facts if f"`{fact}`" not in section] == [], name
        assert bool(event.levels) == ("```text" in section), name
    for name, fact in FACTS.items():
        assert f"| `{name}` | `{fact.type.__name__}` | {fact.meaning} |" in text
    assert "Sign-in: user=… provider=… session=…\n```\n\nINFO. A sign-in" in text
    assert (
        "request_id=… upstream_request_id=… upstream_text=… reason=…\n```\n\n"
        "INFO, WARNING or ERROR. A" in text
    )


# --- Links and search -------------------------------------------------------------------------


def test_each_name_that_is_linked_has_its_page_and_its_anchor() -> None:
    texts = {f"codes/{name}": text for name, text in code_pages().items()}
    texts["settings"] = (DOCS / "settings.md").read_text(encoding="utf-8")
    texts["reference/checks"] = checks_reference()
    texts["reference/commands"] = commands_reference()

    assert {*CODES, *SETTINGS, *CHECK_IDS.values(), *commands()} <= set(targets())
    for name, target in targets().items():
        text = texts[target.page]
        headings = re.findall(r"^## `([^`]+)`", text, re.MULTILINE)
        labels = re.findall(r"^\(([^)]+)\)=$", text, re.MULTILINE)
        anchors = {"", *labels, *(heading.lower().replace("_", "-") for heading in headings)}
        assert target.anchor in anchors, name
