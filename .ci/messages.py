"""Compare the committed catalogues with the sources; with ``--write``, update them instead."""

from __future__ import annotations

import gettext
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOCALES = ("zh_Hans", "zh_Hant")
ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "ciam_django", ROOT / "example_project" / "example")


def main() -> int:
    write = "--write" in sys.argv[1:]
    faults = [
        fault
        for package in PACKAGES
        for fault in (update_and_check if write else compare_with_sources)(package)
    ]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def update_and_check(package: Path) -> list[str]:
    """Update a package's catalogues, and return the faults that remain."""
    update_catalogues(package)
    return [fault for locale in LOCALES for fault in faults_of(catalogue(package, locale))]


def compare_with_sources(package: Path) -> list[str]:
    """Return the faults of a package's committed catalogues; change nothing."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / package.name
        shutil.copytree(package, copy)
        update_catalogues(copy)
        return [fault for locale in LOCALES for fault in differences(locale, package, copy)]


def update_catalogues(package: Path) -> None:
    """Collect the texts into the .po files and compile them.

    The options keep a diff small: file names without line numbers, no wrapping (it differs between
    versions of gettext) and no obsolete entries. Django does not rewrite a file if only its date
    would change.
    """
    locales = [f"--locale={locale}" for locale in LOCALES]
    (package / "locale").mkdir(exist_ok=True)
    django = [sys.executable, "-m", "django"]
    collect = ["makemessages", "--no-obsolete", "--no-wrap", "--add-location=file"]
    subprocess.run([*django, *collect, *locales], cwd=package, check=True)
    subprocess.run([*django, "compilemessages", *locales], cwd=package, check=True)


def differences(locale: str, package: Path, fresh_package: Path) -> list[str]:
    """Return the faults of a committed catalogue, compared with a new one from the sources."""
    ours, fresh = catalogue(package, locale), catalogue(fresh_package, locale)
    if not ours.exists() or not ours.with_suffix(".mo").exists():
        return [f"{locale}: no catalogue. Run tox run -e messages -- --write"]
    faults = faults_of(ours)
    if normalized(ours) != normalized(fresh):
        faults.append(f"{ours}: differs from the sources. Run tox run -e messages -- --write")
    if compiled(ours) != compiled(fresh):
        faults.append(
            f"{ours.with_suffix('.mo')}: differs from the .po file. Compile the .po file."
        )
    return faults


def faults_of(po: Path) -> list[str]:
    """Return the entries that users would see in English, and the errors that msgfmt finds."""
    kinds = ("untranslated", "only-fuzzy")
    faults = [f"{po}: {kind}:\n{entries}" for kind in kinds if (entries := entries_of(po, kind))]
    checked = subprocess.run(
        ["msgfmt", "--check-format", "--check-domain", "-o", "-", str(po)],
        capture_output=True,
        check=False,
    )
    return faults if checked.returncode == 0 else [*faults, checked.stderr.decode()]


def entries_of(po: Path, kind: str) -> str:
    return output_of("msgattrib", f"--{kind}", "--no-obsolete", str(po))


def normalized(po: Path) -> list[str]:
    """Return the lines as the installed gettext writes them, without the date."""
    lines = output_of("msgcat", "--no-wrap", "--sort-output", str(po)).splitlines()
    return [line for line in lines if not line.startswith('"POT-Creation-Date:')]


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


def compiled(po: Path) -> dict[object, str]:
    """Return the texts of a .po file's .mo file.

    The bytes of a .mo file differ between versions of gettext, so texts are compared.
    """
    with po.with_suffix(".mo").open("rb") as file:
        texts: dict[object, str] = dict(vars(gettext.GNUTranslations(file))["_catalog"])
    texts.pop("")  # the header, with the date
    return texts


def catalogue(package: Path, locale: str) -> Path:
    return package / "locale" / locale / "LC_MESSAGES" / "django.po"


if __name__ == "__main__":
    sys.exit(main())
