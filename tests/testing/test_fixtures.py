"""Test the pytest plugin in projects of its users, with the entry point of setup.cfg."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest

from ciam_django import testing

ROOT = Path(__file__).parents[2]
PLUGIN = "ciam_django.testing.fixtures"

# The test of a project without Django. None in sys.modules makes an import fail.
UNRELATED_TEST = """
import sys

def test_nothing_is_imported():
    loaded = {name for name in sys.modules if sys.modules[name]}
    assert "ciam_django.testing.fixtures" in loaded
    assert not loaded & {"django", "werkzeug", "joserfc", "ciam_django.testing.server"}
"""
DJANGO_TEST = """
def test_the_fake_answers(fake_ciam):
    assert fake_ciam.client("oidc")["client_id"]
"""
CONFTEST = f"pytest_plugins = [{PLUGIN!r}]\n"


@pytest.fixture
def run_pytest(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs pytest in a project with these files.

    The metadata of an installed package is on the path, with the entry points of setup.cfg.
    """
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    metadata = tmp_path / "site" / "ciam_django-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ciam_django\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "".join(f"[{group}]\n{lines}\n" for group, lines in parser["options.entry_points"].items())
    )
    project = tmp_path / "project"
    project.mkdir()

    def run(files: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            (project / name).write_text(text, encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
        environment |= {
            "PYTHONPATH": f"{metadata.parent}{os.pathsep}{ROOT}",
            # The other plugins of this machine import Django and werkzeug. With "-p", pytest loads
            # the entry point with this name.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, *options],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_plugin_imports_neither_django_nor_the_server_in_an_unrelated_project(
    run_pytest: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    result = run_pytest({"test_unrelated.py": UNRELATED_TEST})

    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout


def test_the_line_in_a_conftest_works_beside_the_entry_point(
    run_pytest: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    files = {"conftest.py": CONFTEST, "test_django.py": DJANGO_TEST, "site_settings.py": ""}

    result = run_pytest(files, "-p", "pytest_django.plugin", "--ds", "site_settings")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ciam_django.testing.server")
    monkeypatch.setitem(sys.modules, "werkzeug", None)

    with pytest.raises(ModuleNotFoundError, match=r"werkzeug.*: install ciam_django\[testing\]$"):
        testing.FakeCiam()


def test_the_package_has_no_other_name() -> None:
    assert not hasattr(testing, "FakeCaim")
