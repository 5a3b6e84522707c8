"""Unpack the source distribution, compare its files with those of git, and run tests in it.

The arguments are the root of the repository, a directory for the unpacked files, and the arguments
of pytest. tox gives the path of the archive in TOX_PACKAGE.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

# setuptools adds these files to those of the repository.
ADDED = ("PKG-INFO", "ciam_django.egg-info/")


def main(archive: Path, root: Path, directory: Path, tests: list[str]) -> int:
    with tarfile.open(archive) as file:
        file.extractall(directory, filter="data")
    unpacked = directory / archive.name.removesuffix(".tar.gz")
    check_files(files_of_git(root), files_of(unpacked))
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "pytest", *tests]
    return subprocess.run(command, cwd=unpacked, check=False).returncode


def check_files(tracked: set[str], unpacked: set[str]) -> None:
    missing = sorted(tracked - unpacked)
    assert not missing, f"not in the source distribution (see MANIFEST.in): {missing}"
    unknown = sorted(name for name in unpacked - tracked if not name.startswith(ADDED))
    assert not unknown, f"in the source distribution, but not known to git: {unknown}"


def files_of_git(root: Path) -> set[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return {name for name in names.split("\0") if name and (root / name).is_file()}


def files_of(directory: Path) -> set[str]:
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix() for path in paths}


if __name__ == "__main__":
    archive, root, directory = os.environ["TOX_PACKAGE"], *sys.argv[1:3]
    sys.exit(main(Path(archive), Path(root), Path(directory), sys.argv[3:]))
