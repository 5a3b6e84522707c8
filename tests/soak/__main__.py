"""Run the soak, and print its table: ``python -m tests.soak --sign-ins 300 --calm 1000``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from tests.soak.deployment import Deployment, Usage, running_deployment
from tests.soak.visitors import Visitors

# The growth that is allowed from the middle of the calm sign-ins to their end, for each number.
ALLOWED_GROWTH: Final = Usage(16 * 2**20, 64, 16, 64)


# The number of measurements during the calm sign-ins.
_PARTS: Final = 10


@dataclass(frozen=True)
class Soak:
    """The options of a soak; ``every`` is the time between two faults, in seconds."""

    sign_ins: int
    concurrency: int
    calm: int
    every: float = 4.0
    token_seconds: int = 10
    only: str = ""
    log: Path | None = None


@dataclass(frozen=True)
class Report:
    """The lines of the tables, and what must not have happened."""

    lines: Sequence[str]
    faults: Sequence[str]


def run(soak: Soak) -> Report:
    """Run the soak, and return its report."""
    with (
        tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as folder,
        running_deployment(Path(folder), soak.token_seconds) as deployment,
    ):
        visitors = Visitors(deployment)
        lines = ["| during the faults | |", "|---|---|"]
        began_at = time.monotonic()
        times: list[str] = []
        failures = _sign_in_during_faults(deployment, visitors, soak, times)
        seconds = time.monotonic() - began_at
        visitors.check_tokens(soak.concurrency)
        lines += [
            f"| sign-ins, {soak.concurrency} at a time | {len(visitors.people)} |",
            f"| seconds | {seconds:.0f} |",
            *(f"| {name} | {failures.count(name)} times |" for name in dict.fromkeys(failures)),
            *(f"| answer: {answer} | {n} |" for answer, n in sorted(visitors.answers.items())),
        ]
        if soak.log:
            _write_log(soak.log, deployment, visitors, times)
        faults = [f"{what}: {names[:20]}" for what, names in sorted(visitors.faults.items())]
        faults += _doubled(deployment, visitors)
        more_lines, growth = _sign_in_calmly(deployment, soak)
        return Report([*lines, "", *more_lines], [*faults, *growth])


def _sign_in_during_faults(
    deployment: Deployment, visitors: Visitors, soak: Soak, times: list[str]
) -> list[str]:
    """Let the parts fail until all people have signed in; return the names of the faults."""
    has_ended, names = threading.Event(), list[str]()

    def fail() -> None:
        faults = deployment.faults(soak.only)
        while not has_ended.wait(soak.every):
            name, at = next(faults), visitors.seconds()
            names.append(name)
            times.append(f"{at:.1f} s: {name} (ended)")

    thread = threading.Thread(target=fail)
    thread.start()
    try:
        visitors.sign_in_all(range(soak.sign_ins), soak.concurrency)
    finally:
        has_ended.set()
        thread.join()
    return names


def _write_log(
    path: Path, deployment: Deployment, visitors: Visitors, times: Sequence[str]
) -> None:
    """Write the times of the faults, the pages that need an explanation, and the site's log."""
    samples = [f"== {key}\n{page}" for key, page in visitors.samples.items()]
    site = (deployment.folder / "site.log").read_text(encoding="utf-8", errors="replace")
    path.write_text("\n".join([*times, *samples, "== site.log", site]), encoding="utf-8")


def _doubled(deployment: Deployment, visitors: Visitors) -> list[str]:
    """Compare the tables with the people: each person has one identity and one user."""
    counts = deployment.query(
        "SELECT count(*), count(DISTINCT subject), count(DISTINCT user_id),"
        " (SELECT count(*) FROM auth_user) FROM ciam_accounts_ciamidentity",
        "soak",
    )
    expected = (len(visitors.people),) * 4
    if counts == expected:
        return []
    return [f"identities, subjects, their users, all users: {counts}, not {expected}"]


def _sign_in_calmly(deployment: Deployment, soak: Soak) -> tuple[list[str], list[str]]:
    """Let people sign in without faults; return the table, and what has grown."""
    part = max(1, -(-soak.calm // _PARTS))
    usages = []
    visitors = Visitors(deployment)
    began_at = time.monotonic()
    for start in range(0, soak.calm, part):
        numbers = range(soak.sign_ins + start, soak.sign_ins + min(start + part, soak.calm))
        visitors.sign_in_all(numbers, soak.concurrency)
        visitors.people.clear()
        usages.append(deployment.usage())
    seconds = time.monotonic() - began_at
    lines = [
        f"| {soak.calm} calm sign-ins in {seconds:.0f} s | "
        + " | ".join(f"after {part * (n + 1)}" for n in range(len(usages)))
        + " |",
        "|---" * (len(usages) + 1) + "|",
        "| memory of the workers, MiB | "
        + " | ".join(f"{usage.memory / 2**20:.0f}" for usage in usages)
        + " |",
    ]
    for name in ("descriptors", "database_connections", "cache_connections"):
        values = " | ".join(str(getattr(usage, name)) for usage in usages)
        lines.append(f"| {name.replace('_', ' ')} | {values} |")
    grown = [
        f"{each.name}: {[getattr(usage, each.name) for usage in usages]}"
        for each in fields(Usage)
        if usages
        and _growth([getattr(usage, each.name) for usage in usages])
        > getattr(ALLOWED_GROWTH, each.name)
    ]
    faults = [f"calm: {what}: {names[:20]}" for what, names in sorted(visitors.faults.items())]
    return lines, [*faults, *grown]


def _growth(values: Sequence[int]) -> int:
    """Return by how much the peak of the second half exceeds the peak of the first half.

    Each request under ASGI has a thread with a cache connection of its own, which the garbage
    collection closes. So the numbers go up and down.
    """
    half = (len(values) + 1) // 2
    return max(values[half:], default=0) - max(values[:half])


def main() -> None:
    """Read the options, run the soak, and print the report; the exit status is 1 after a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--sign-ins", type=int, default=5000, help="sign-ins during the faults")
    parser.add_argument("--concurrency", type=int, default=30, help="sign-ins at the same time")
    parser.add_argument("--calm", type=int, default=20_000, help="sign-ins after the faults")
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two faults")
    parser.add_argument("--only", default="", help="only the faults whose name has this text")
    parser.add_argument("--log", type=Path, help="a file for the log of the site, to read later")
    options = parser.parse_args()
    report = run(Soak(**vars(options)))
    sys.stdout.write("\n".join([*report.lines, "", *report.faults, ""]))
    sys.exit(bool(report.faults))


if __name__ == "__main__":
    main()
