"""Measure logins with many people: ``python -m benchmarks.scale`` fills a PostgreSQL of its own.

The command asks PostgreSQL for the plan of each query of some tasks, compares the time of a login
in a small and in a large database, and measures logins of many threads. ``--write`` writes the
tables into ``docs/scale.md``. The exit status is 1 if a query reads a large table without an index
or sorts more than a page, or if a login takes longer in the large database.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import django

from benchmarks.__main__ import running_fake_ciam
from ciam_django.testing import FakeCiam
from tests.postgres import create_postgres_database, find_postgres, running_postgres

_SMALL: Final = 1_000
_LARGE: Final = 1_000_000
# A login in the large database may take this multiple of the time in the small database.
_LARGEST_RATIO: Final = 1.15
_ROUNDS: Final = 30
_LOGINS: Final = 4
_THREADS: Final = (1, 8, 64)
_ROUNDS_OF_THREADS: Final = 5
_LOGINS_OF_THREADS: Final = 128
_PREFIXES: Final = {"ciam_django": "ciam", "by hand": "by_hand"}
_DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "scale.md"
# The command writes the rest of the page after this heading.
_HEADING: Final = "## Results\n"


def main() -> int:
    """Measure, and print or write the tables; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--rows", type=int, default=_LARGE, help=f"default: {_LARGE}")
    parser.add_argument("--write", action="store_true", help="write docs/scale.md")
    arguments = parser.parse_args()
    programs = find_postgres()
    if programs is None:
        raise SystemExit("Install PostgreSQL.")
    with running_postgres(programs, "max_connections=200", "shared_buffers=512MB") as place:
        databases = [create_postgres_database(place) for _ in range(3)]
        with FakeCiam(https=True) as fake:
            site = load_site(fake.client(), databases[0])
            text, faults = measure_rows(site, fake, databases[:2], arguments.rows)
        with running_fake_ciam() as client:
            text += measure_threads(site, client, databases[2])
    sys.stdout.write(text + "".join(f"\n{fault}\n" for fault in faults))
    if arguments.write:
        head = _DOCUMENT.read_text(encoding="utf-8").partition(_HEADING)[0]
        _DOCUMENT.write_text(f"{head}{_HEADING}\n{text}", encoding="utf-8")
    return 1 if faults else 0


def load_site(client: Mapping[str, Any], database: Mapping[str, Any]) -> Any:
    """Set Django up with the client and the database, and return ``scale_site``."""
    os.environ["BENCHMARKS_CIAM"] = json.dumps({"ciam": client})
    os.environ["BENCHMARKS_DATABASE"] = json.dumps(database)
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.scale_settings"
    django.setup()
    return import_module("benchmarks.scale_site")


def measure_rows(
    site: Any, fake: FakeCiam, databases: Sequence[Mapping[str, Any]], rows: int
) -> tuple[str, list[str]]:
    """Return the tables of the plans and of the times, and the faults."""
    small, large = (database["NAME"] for database in databases)
    for name, count in ((small, _SMALL), (large, rows)):
        site.use_database(name)
        site.fill_database(count, fake.issuer)
    all_plans = site.plans_of_tasks(fake)
    faults = [f"{plans.task} {fault}" for plans in all_plans for fault in plans.faults]
    times: dict[str, list[tuple[float, float]]] = {small: [], large: []}
    for _ in range(_ROUNDS):
        for name, each in times.items():
            site.use_database(name)
            each.append(site.login_times(_LOGINS))
    site.use_database(large)
    deleted, seconds = site.clear_sessions()
    lines = [
        f"### Plans with {rows:,} identities and {rows:,} sessions\n",
        "| task | queries | time in PostgreSQL | slowest query | pages read |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {plans.task} | {plans.queries} | {plans.milliseconds:.1f} ms "
        f"| {plans.slowest:.1f} ms | {plans.buffers} |"
        for plans in all_plans
    ]
    lines += [
        f"\nThen `ciam_clear` deleted {deleted} rows in {seconds:.0f} seconds.",
        f"\n### A login with {_SMALL:,} and with {rows:,} rows\n",
        f"| time | {_SMALL:,} rows | {rows:,} rows | ratio |",
        "|---|--:|--:|--:|",
    ]
    for position, label in enumerate(("in the database", "in all")):
        # The lower quartiles, because other work on the machine only adds time.
        before, after = (
            statistics.quantiles([each[position] for each in times[name]], n=4)[0]
            for name in (small, large)
        )
        ratio = after / before
        lines.append(f"| {label} | {before:.2f} ms | {after:.2f} ms | {ratio:.2f} |")
        if ratio > _LARGEST_RATIO:
            faults.append(f"A login takes {ratio:.2f} times as long {label}.")
    return "\n".join([*lines, ""]), faults


def measure_threads(site: Any, client: Mapping[str, Any], database: Mapping[str, Any]) -> str:
    """Return the table of the logins of many threads, with the fake CIAM in another process."""
    site.use_client(client)
    site.use_database(database["NAME"])
    site.create_tables()
    for username in site.people(max(_THREADS)):
        site.sign_in(username)
    lines = [
        "\n### Logins of many threads\n",
        "| threads | ciam_django | by hand | ratio |",
        "|--:|--:|--:|--:|",
    ]
    for threads in _THREADS:
        rates: dict[str, list[float]] = {name: [] for name in _PREFIXES}
        for _ in range(_ROUNDS_OF_THREADS):
            for name, prefix in _PREFIXES.items():
                rates[name].append(site.logins_per_second(prefix, threads, _LOGINS_OF_THREADS))
        ours, by_hand = (statistics.median(each) for each in rates.values())
        ratio = statistics.median(a / b for a, b in zip(*rates.values(), strict=True))
        lines.append(f"| {threads} | {ours:.0f} a second | {by_hand:.0f} a second | {ratio:.2f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
