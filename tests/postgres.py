"""Run a PostgreSQL of its own, without TCP and without fsync."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.servers import running

_USER = "tests"


def find_postgres() -> Path | None:
    """Return the folder of PostgreSQL's programs, or None if PostgreSQL is not installed."""
    # Debian's folders are preferred to the PATH. The newest version is the last folder.
    candidates = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    return next((Path(path).resolve().parent for path in reversed(candidates) if path), None)


@contextlib.contextmanager
def running_postgres(programs: Path, *options: str) -> Iterator[Path]:
    """Run PostgreSQL with further options, such as ``shared_buffers=1GB``.

    Yield the folder of the socket.
    """
    # PostgreSQL does not run as root (nor does pytest-postgresql), and its user needs access to the
    # folder.
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="ciam_django-", dir="/tmp") as folder:
        place = Path(folder)
        if user:
            shutil.chown(place, user)
        as_user: dict[str, Any] = {"user": user, "cwd": place, "stdout": subprocess.DEVNULL}
        data: list[str | Path] = ["-D", str(place / "data")]
        command = [programs / "initdb", *data, "-U", _USER, "-A", "trust", "--no-sync"]
        subprocess.run(command, check=True, **as_user)
        arguments = ["-k", folder]
        for option in ("listen_addresses=", "fsync=off", *options):
            arguments += ["-c", option]
        with running(
            [programs / "postgres", *data, *arguments],
            place / ".s.PGSQL.5432",
            stderr=subprocess.DEVNULL,
            **as_user,
        ):
            _wait_for_postgres(place)
            yield place


def _wait_for_postgres(place: Path) -> None:
    """Wait until PostgreSQL answers, which is later than the creation of its socket."""
    until = time.monotonic() + 180
    while True:
        try:
            psycopg.connect(host=str(place), user=_USER, dbname="postgres").close()
        except psycopg.OperationalError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


def create_postgres_database(place: Path) -> dict[str, Any]:
    """Create a database in the PostgreSQL of this socket, and return its settings."""
    name = f"tests_{uuid.uuid4().hex}"
    with psycopg.connect(host=str(place), user=_USER, dbname="postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": _USER,
        "HOST": str(place),
    }
