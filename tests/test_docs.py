"""Compare the documentation with the facts in the code."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ciam_django.conf import SETTINGS
from tests import settings_reference
from tests.settings_reference import declaration

ROOT = Path(__file__).parents[1]
COMMAND = re.compile(r"^(?:\$ )?(python3 -m venv .+)$", re.MULTILINE)
DECLARATION = re.compile(r"`((CIAM_\w+): [^`]+)`")
# A line of the map in CONTRIBUTING.md: indentation, the name of a file or a folder, a description.
MAP_LINE = re.compile(r"( *)([\w.]+/?)(?: {2,}(\S.*))?")
# An absolute path of a home directory or of a build machine. The path of a URL does not match.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:root|work|home/\w+|Users/\w+)/")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_readme_has_the_two_commands_that_ci_runs() -> None:
    commands = COMMAND.findall(text_of("README.md"))

    assert [command.rpartition(" ")[2] for command in commands] == ["example", "test"]
    for command in commands:
        assert f"'{command}'" in text_of(".ci/run")


def test_the_readme_declares_settings_with_the_type_and_default_of_their_rows() -> None:
    text = " ".join(text_of("README.md").split())
    declarations = DECLARATION.findall(text)

    assert declarations
    assert set(re.findall(r"\bCIAM_(?!DJANGO_)[A-Z_]+\b", text)) <= set(SETTINGS)
    for text_of_declaration, setting in declarations:
        assert text_of_declaration == declaration(setting)


def test_the_readme_describes_settings_with_the_sentences_of_their_rows() -> None:
    text = text_of("README.md")
    items = re.findall(r"^- `(CIAM_\w+)[^`]*`\s+((?:.+\n(?:  (?! *```).+\n)*))", text, re.MULTILINE)

    assert [name for name, _ in items] == [name for name in SETTINGS if f"`{name}: " in text]
    for name, words in items:
        assert " ".join(words.split()).startswith(SETTINGS[name].description)


def test_the_settings_reference_is_generated_from_the_rows() -> None:
    assert settings_reference.PATH.read_text(encoding="utf-8") == settings_reference.reference()
    assert "](docs/settings.md)" in text_of("README.md")


def test_relative_links_in_the_documentation_lead_to_committed_files() -> None:
    documents = [ROOT / "README.md", ROOT / "docs/codes/index.md"]
    documents += [path for path in ROOT.glob("docs/**/*.md") if path.parent.name != "codes"]
    links = [
        (document, (document.parent / link).resolve())
        for document in documents
        for link in re.findall(
            r"\]\(<?(?![a-z]+:)([^)#>\s]+)", document.read_text(encoding="utf-8")
        )
    ]

    assert links
    for document, target in links:
        assert target.exists(), f"{document.relative_to(ROOT)}: {target}"
        # The build writes the other pages of this folder, and a code host does not have them.
        assert target.parent != ROOT / "docs/codes" or target.name == "index.md", document


def test_the_readme_has_at_most_150_lines() -> None:
    assert len(text_of("README.md").splitlines()) <= 150


def test_template_blocks_in_the_documentation_exist() -> None:
    templates = "".join(
        path.read_text(encoding="utf-8") for path in ROOT.glob("ciam_django/templates/**/*.html")
    )
    named = set(re.findall(r"`(ciam_[a-z_]+)`", text_of("docs/login-methods.md")))

    assert len(named) >= 8
    assert named <= set(re.findall(r"\{% block (\w+) %\}", templates))


def test_templates_in_the_documentation_exist() -> None:
    named = set(re.findall(r"`(?:ciam_django/)?(\w+\.html)`", text_of("docs/login-methods.md")))

    assert len(named) >= 8
    for name in named:
        assert (ROOT / "ciam_django/templates/ciam_django" / name).exists()


# The numbers of the sections of RFC 9700 that have requirements.
RFC_9700_SECTIONS = [
    "2.1", "2.1.1", "2.1.2", "2.2", "2.2.1", "2.2.2", "2.3", "2.4", "2.5", "2.6", "3",
    *(f"4.{number}" for number in range(1, 18)),
]  # fmt: skip


def security_sections() -> dict[str, str]:
    """The sections of docs/security.md, by number; a section includes its subsections."""
    text = text_of("docs/security.md")
    headings = list(re.finditer(r"^(#{2,4}) ([\d.]+?)\.? .+$", text, re.MULTILINE))
    sections = {}
    for index, heading in enumerate(headings):
        following = (
            later.start() for later in headings[index + 1 :] if len(later[1]) <= len(heading[1])
        )
        sections[heading[2]] = text[heading.end() : next(following, len(text))]
    return sections


def test_the_security_document_answers_each_section_of_rfc_9700() -> None:
    sections = security_sections()

    assert [number for number in RFC_9700_SECTIONS if number not in sections] == []
    for number in RFC_9700_SECTIONS:
        # A test shows that the section is met, or the text says why the section is not met.
        assert "::test_" in sections[number] or "Not met: " in sections[number], number


def test_modules_and_tests_in_the_security_document_exist() -> None:
    text = text_of("docs/security.md")
    references = re.findall(r"`((?:ciam_django|tests)/[\w/]+\.py)(?:::(\w+(?:::\w+)?))?`", text)

    assert len(references) > 50
    for path, names in references:
        source = text_of(path)
        for name in names.split("::") if names else ():
            assert re.search(rf"^ *(?:def|class) {name}\b", source, re.MULTILINE), (path, name)
    # No other spelling of a reference escapes the test.
    assert text.count("::test_") + text.count("::TestOidc") == sum(
        len(names.split("::")) for _, names in references if names
    )


def test_images_in_the_documentation_exist() -> None:
    for name in ("README.md", "example_project/README.md"):
        pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text_of(name))
        assert pictures
        for picture in pictures:
            assert ((ROOT / name).parent / picture).exists()


def test_the_screenshots_of_the_example_are_those_that_the_script_takes() -> None:
    tables = {
        node.targets[0].id: node.value
        for node in ast.parse(text_of(".ci/screenshots.py")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    names, languages = (
        [ast.literal_eval(key) for key in table.keys if key]
        for table in (tables["PAGES"], tables["LOCALES"])
        if isinstance(table, ast.Dict)
    )

    assert {path.name for path in (ROOT / "example_project/screenshots").iterdir()} == {
        f"{name}-{language}.png" for name in names for language in languages
    }


def test_tox_environments_in_the_contributing_guide_exist() -> None:
    named = re.findall(r"tox run (?:-q )?-e ([\w-]+)", text_of("CONTRIBUTING.md"))
    # Environments with a section, and environments that the list of all environments names.
    listed = re.findall(r"^(?:\[testenv:| {4})([\w-]+)\]?$", text_of("tox.ini"), re.MULTILINE)

    assert named
    assert set(named) <= {*listed, "test"}


def mapped_paths() -> Iterator[str]:
    """Yield the paths in the map of CONTRIBUTING.md, relative to the root, folders with a slash."""
    section = text_of("CONTRIBUTING.md").partition("## Map of the package")[2]
    folders: list[str] = []
    for line in section.split("```")[1].splitlines():
        if not line.strip():
            continue
        match = MAP_LINE.fullmatch(line)
        assert match, line
        indentation, name, description = match.groups()
        assert description or name == "ciam_django/", line
        del folders[len(indentation) // 2 :]
        yield "".join([*folders, name])
        if name.endswith("/"):
            folders.append(name)


def test_the_map_in_contributing_names_all_files_of_the_package() -> None:
    paths = list(mapped_paths())
    # A migration or an empty __init__.py has no line of its own.
    modules = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("ciam_django/**/*.py")
        if path.parent.name != "migrations"
        and (path.name != "__init__.py" or path.parent.name == "ciam_django")
    }
    folders = {
        f"{path.relative_to(ROOT)}/"
        for path in [ROOT / "ciam_django", *ROOT.glob("ciam_django/**/")]
        if (path / "__init__.py").exists()
    }

    assert len(paths) == len(set(paths))
    assert modules == {path for path in paths if path.endswith(".py")}
    assert folders <= set(paths)
    for path in paths:
        assert (ROOT / path).exists(), path


def test_no_file_names_a_path_of_a_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository says which files are ours")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]

    matches = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files
        for match in MACHINE_PATH.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]

    assert files
    assert not matches
