"""Each code block of the documentation is run, rendered or compared by a test."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import pkgutil
import re
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pytest
from django.core.management import CommandError, get_commands, load_command_class
from django.template import engines
from example import tenant
from example.management.commands import example

import tests.docs
from ciam_django.testing import FakeCiam
from ciam_django.testing.__main__ import main as run_fake_ciam
from tests.docs.blocks import ROOT, Block, all_blocks, pages, taken
from tests.docs.new_project import SETTINGS
from tests.docs.projects import check_messages, running_project, variables_for
from tests.rows import for_each_row


def settings_blocks() -> Iterator[Block]:
    """Yield the blocks of settings that no other test takes."""
    import_test_modules()
    yield from (block for block in all_blocks() if block.is_settings and block not in taken)


def import_test_modules() -> None:
    """Import all test modules of this package, which take their blocks at the import."""
    for module in pkgutil.iter_modules(tests.docs.__path__, f"{tests.docs.__name__}."):
        importlib.import_module(module.name)


# --- Settings ---------------------------------------------------------------------------------


@pytest.mark.django_db
@for_each_row("block", settings_blocks())
@pytest.mark.slow("the blocks of the documentation")
def test_the_checks_have_no_message_about_the_settings_of_a_block(
    block: Block, tmp_path_factory: pytest.TempPathFactory, fake_ciam: FakeCiam
) -> None:
    folder = tmp_path_factory.mktemp("project")
    variables = variables_for([SETTINGS, block], fake_ciam)
    # The fake of the tests has another port than the fake of the documentation.
    block = dataclasses.replace(
        block, text=block.text.replace("http://127.0.0.1:8400", fake_ciam.url)
    )
    with running_project(folder, [SETTINGS, block], variables, ROOT_URLCONF="tests.docs.urls"):
        assert check_messages() == []


# --- Templates --------------------------------------------------------------------------------


def test_the_templates_of_the_documentation_have_no_mistake() -> None:
    for block in all_blocks():
        if block.language == "html":
            engines["django"].from_string(block.text)


# The exceptions of a parser that does not know an option, and of a check in this module.
WRONG_COMMAND: Final = (
    AssertionError, KeyError, SystemExit, CommandError, argparse.ArgumentError,
)  # fmt: skip


# --- Commands ---------------------------------------------------------------------------------


def test_the_commands_of_the_documentation_exist_with_their_options() -> None:
    wrong = []
    for block in all_blocks():
        if block.language == "shell":
            for command in commands_in(block.text):
                try:
                    check_command(shlex.split(command))
                except WRONG_COMMAND as error:
                    wrong.append(f"{block.place}: {command}: {error!r}")
    assert wrong == []


def commands_in(text: str) -> Iterator[str]:
    """Yield the commands of a block; a line that ends with a backslash goes on."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def check_command(words: Sequence[str]) -> None:
    """Raise an exception if a command or one of its options does not exist."""
    # The output of a command can go to a file.
    words = words[:-2] if words[-2:-1] == [">"] else words
    program, *arguments = words
    program = program.removeprefix(".venv/bin/")
    if program in ("python", "python3"):
        arguments = arguments[1:] if arguments[0] == "-m" else arguments
        arguments = arguments[2:] if arguments[0] == "-W" else arguments
        program, *arguments = arguments
    assert program in CHECKED_PROGRAMS, f"no test knows the program {program}"
    CHECKED_PROGRAMS[program](arguments)


def _check_management_command(arguments: Sequence[str]) -> None:
    name, *options = arguments
    command = load_command_class(get_commands()[name], name)
    command.create_parser("manage.py", name).parse_args(list(options))


def _check_example(arguments: Sequence[str]) -> None:
    name, *options = arguments
    assert name == "example"
    example.Command().create_parser("manage.py", name).parse_args(options)


def _check_pip(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("command", choices=["install"])
    parser.add_argument("packages", nargs="+")
    for package in parser.parse_args(list(arguments)).packages:
        if match := re.search(r"(?:\bciam_django|\.)\[([\w,]+)\]", package):
            assert set(match[1].split(",")) <= extras(), package


def extras() -> set[str]:
    """The extras of the package."""
    section = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    section = section.partition("[options.extras_require]\n")[2].partition("\n[")[0]
    return set(re.findall(r"^(\w+) *=", section, re.MULTILINE))


def _check_fake_ciam(arguments: Sequence[str]) -> None:
    """Start and stop the fake CIAM with these options, at a free port."""
    stopped = threading.Event()
    stopped.set()
    assert run_fake_ciam([*arguments, "--port", "0"], stopped) == 0


def _check_curl(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("-H", action="append")
    parser.add_argument("url")
    assert parser.parse_args(list(arguments)).url.startswith("http")


def _check_pytest(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--ds")
    parser.add_argument("files", nargs="*")
    parser.parse_args(list(arguments))


def _check_export(arguments: Sequence[str]) -> None:
    (assignment,) = arguments
    assert re.fullmatch(r"[A-Z_]+=\S+", assignment)
    name = assignment.partition("=")[0]
    assert not name.startswith("CIAM_") or name in tenant._VARIABLES.values(), name


def _check_tox(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("command", choices=["run"])
    parser.add_argument("-q", action="store_true")
    parser.add_argument("-e", required=True)
    name = parser.parse_args(list(arguments)).e
    assert f"[testenv:{name}]" in (ROOT / "tox.ini").read_text(encoding="utf-8")


def _check_load(arguments: Sequence[str]) -> None:
    site, users, at_a_time = arguments
    assert site.startswith("http")
    assert users.isdigit()
    assert at_a_time.isdigit()


def _accept(arguments: Sequence[str]) -> None:
    """Accept a command of the operating system with any argument."""
    assert arguments


CHECKED_PROGRAMS: Final[dict[str, Callable[[Sequence[str]], None]]] = {
    "manage.py": _check_management_command,
    "example_project/manage.py": _check_example,
    "django-admin": _check_management_command,
    "pip": _check_pip,
    "ciam_django.testing": _check_fake_ciam,
    "curl": _check_curl,
    "pytest": _check_pytest,
    "export": _check_export,
    "tox": _check_tox,
    "load.py": _check_load,
    "venv": _accept,
    "source": _accept,
    "grep": _accept,
    "opentelemetry-instrument": _accept,
    "mkdir": _accept,
    "rm": _accept,
    "cp": _accept,
}


def test_a_wrong_command_or_option_is_found() -> None:
    for command in (
        "python manage.py chekc",
        "python manage.py check --databse default",
        "pip install ciam_django[dfr]",
        ".venv/bin/tox run -e exampel",
        "chmod 777 shop",
    ):
        with pytest.raises(WRONG_COMMAND):
            check_command(command.split())


# --- All blocks -------------------------------------------------------------------------------

# Languages whose blocks the tests above check, beside the blocks of settings.
_CHECKED_LANGUAGES: Final = {"html", "shell"}


def test_each_block_is_run_or_compared_by_a_test() -> None:
    import_test_modules()
    left = [
        f"{block.place}: {block.language} {block.file}"
        for block in all_blocks()
        if not (block.is_settings or block.language in _CHECKED_LANGUAGES or block in taken)
    ]

    assert left == []


def test_each_fence_of_a_page_belongs_to_a_block() -> None:
    blocks = all_blocks()
    for page in pages():
        # A directive of Sphinx is no code block.
        text = re.sub(
            r"^```\{.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        fences = re.findall(r"^ *```", text, re.MULTILINE)
        name = str(page.relative_to(ROOT))
        assert len(fences) == 2 * sum(block.page == name for block in blocks), name
    assert all(block.language for block in blocks)
