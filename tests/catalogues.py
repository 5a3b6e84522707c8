"""Write a catalogue of a project, for a language that the package does not have."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest


def write_catalogue(
    folder: Path, language: str, texts: Mapping[str, str], *, has_code: bool = True
) -> str:
    """Compile a catalogue with the given texts of pages, and return the folder for LOCALE_PATHS.

    The catalogue also has the code of its language, unless ``has_code`` is False. The test is
    skipped without gettext.
    """
    if shutil.which("msgfmt") is None:
        pytest.skip("gettext is not installed, so that no catalogue can be compiled")
    place = folder / language / "LC_MESSAGES"
    place.mkdir(parents=True)
    entries = ['msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n']
    if has_code:
        entries += [f'msgctxt "ciam language code"\nmsgid "en"\nmsgstr "{language}"\n']
    entries += [f'msgctxt "ciam"\nmsgid "{old}"\nmsgstr "{new}"\n' for old, new in texts.items()]
    (place / "django.po").write_text("\n".join(entries), encoding="utf-8")
    subprocess.run(["msgfmt", "-o", place / "django.mo", place / "django.po"], check=True)
    return str(folder)
