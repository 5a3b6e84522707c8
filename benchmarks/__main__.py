"""Run the suites with ``python -m benchmarks``, and write the results into README.md.

``python -m benchmarks answers rest`` runs these suites only. It prints the tables, and writes
nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final

import certifi
import django

from benchmarks.ask import ROUNDS
from benchmarks.cases import Figure, Rounds, Row, Seconds

SUITES: Final = {
    "middleware": "A request without an error",
    "errors": "A raised error",
    "threads": "A raised error in several threads",
    "rest": "REST framework",
    "answers": "From a code to an answer",
    "logins": "A login",
    "signed_in": "A request of a signed-in person",
    "openapi": "The OpenAPI document and the JSON of the login page",
    "imports": "Importing",
}
PEERS: Final = (
    "Django", "djangorestframework", "Authlib", "requests", "social-auth-app-django",
    "django-allauth", "django-cors-headers", "drf-standardized-errors", "drf-exceptions-hog",
)  # fmt: skip
_README: Final = Path(__file__).with_name("README.md")
# The reasons for missed targets, written by hand.
_MISSED_TARGETS: Final = Path(__file__).with_name("missed_targets.md")


def main() -> None:
    """Measure the suites of the command line and print their tables, or all and write README.md."""
    # requests prefers these variables to the certificates that a session is configured with.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    }
    began = time.monotonic()
    suites = sys.argv[1:] or list(SUITES)
    with contextlib.ExitStack() as stack:
        if "logins" in suites:
            client = stack.enter_context(running_fake_ciam())
            environment["BENCHMARKS_CIAM"] = json.dumps({"ciam": client})
        rounds = {suite: measure_rounds(suite, environment) for suite in suites}
        profiles = {
            (suite, row.case): run_module("benchmarks.profiled", suite, row.case, **environment)
            for suite in suites
            for row in load_rows(suite)
            if not is_within_target(row, rounds[suite])
        }
    if sys.argv[1:]:
        sys.stdout.write("\n".join(suite_text(suite, rounds[suite], profiles) for suite in suites))
        return
    counts = json.loads(run_module("benchmarks.counts", **environment))
    minutes = (time.monotonic() - began) / 60
    _README.write_text(readme_text(rounds, profiles, counts, minutes), encoding="utf-8")
    sys.stdout.write(_README.read_text(encoding="utf-8"))


@contextlib.contextmanager
def running_fake_ciam() -> Iterator[Mapping[str, Any]]:
    """Run a fake CIAM over https in a separate process; yield its client for Authlib's setting.

    The fake's certificate follows certifi's in one file, so that a login reads as many certificates
    as with a real CIAM.
    """
    command = [sys.executable, "-m", "ciam_django.testing", "--https", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        output = "".join(iter(process.stdout.readline, "}\n")) + "}"
        client = json.loads(output.partition("= ")[2])
        own = Path(client["client_kwargs"]["verify"])
        bundle = own.with_name("certificates.pem")
        bundle.write_bytes(Path(certifi.where()).read_bytes() + own.read_bytes())
        client["client_kwargs"]["verify"] = str(bundle)
        try:
            yield client
        finally:
            # The fake removes its folder after SIGINT, the signal of Ctrl-C.
            process.send_signal(signal.SIGINT)
            process.communicate()


def measure_rounds(suite: str, environment: Mapping[str, str]) -> Rounds:
    """Return the times of each case of a suite, which a process of its own measures."""
    times = json.loads(run_module("benchmarks.ask", suite, **environment))
    return {name: [Seconds(*seconds) for seconds in each] for name, each in times.items()}


def run_module(module: str, *arguments: str, **environment: str) -> str:
    """Run one of our modules, and return its standard output."""
    command = [sys.executable, "-m", module, *arguments]
    completed = subprocess.run(
        command, check=True, env=environment, stdout=subprocess.PIPE, text=True
    )
    return completed.stdout


def load_rows(suite: str) -> list[Row]:
    """Return the rows of a suite's table."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    django.setup()
    rows: list[Row] = import_module(f"benchmarks.{suite}").ROWS
    return rows


def is_within_target(row: Row, rounds: Rounds) -> bool:
    """Return True if the figure of CPU time, as printed, does not exceed the target."""
    return row.target is None or round(row.figure(rounds).median, 2) <= row.target


# --- The text of README.md ----------------------------------------------------------------------

_HEAD: Final = f"""\
# Speed compared with other packages

`tox run -e benchmarks` writes this file. Each figure is a ratio (×) or a difference of two cases.
All cases run once in each of {ROUNDS} rounds, and the figure is the median of the rounds. The
target is the highest figure of CPU time that we accept; a dash means that there is no target. All
figures come from one run on one machine. `ciam_django` creates its log lines and sends them to a
`NullHandler`. A ratio below 1 × means that `ciam_django` is faster.
"""
_TABLE_HEAD: Final = (
    "| comparison | CPU | quartiles | wall | target | reached |\n|---|--:|--:|--:|--:|---|"
)


def readme_text(
    rounds: Mapping[str, Rounds],
    profiles: Mapping[tuple[str, str], str],
    counts: Mapping[str, Mapping[str, int]],
    minutes: float,
) -> str:
    """Return the whole text of README.md."""
    parts = [_HEAD, _machine_text(minutes)]
    parts += [suite_text(suite, rounds[suite], profiles) for suite in SUITES]
    parts.append(_counts_table(counts))
    parts.append(_MISSED_TARGETS.read_text(encoding="utf-8"))
    return "\n".join(parts)


def suite_text(suite: str, rounds: Rounds, profiles: Mapping[tuple[str, str], str]) -> str:
    """Return the table of a suite, and the profiles of the cases that miss their targets."""
    lines = [f"## {SUITES[suite]}\n", _TABLE_HEAD]
    lines += [_table_line(row, rounds) for row in load_rows(suite)]
    parts = ["\n".join(lines) + "\n"]
    for (profiled_suite, case), profile in profiles.items():
        if profiled_suite == suite:
            parts.append(f"Profile of `{case}`:\n\n```\n{profile}\n```\n")
    return "\n".join(parts)


def _table_line(row: Row, rounds: Rounds) -> str:
    figure, wall = row.figure(rounds), row.figure(rounds, "wall")
    cells = [row.label, _number(figure.median, row), _quartiles(figure), _number(wall.median, row)]
    if row.target is None:
        return f"| {' | '.join(cells)} | – | |"
    verdict = "yes" if is_within_target(row, rounds) else "**no**"
    return f"| {' | '.join(cells)} | {_number(row.target, row)} | {verdict} |"


def _number(value: float, row: Row) -> str:
    return f"{value:.2f} {row.unit}"


def _quartiles(figure: Figure) -> str:
    return f"{figure.low:.2f}–{figure.high:.2f}"


def _counts_table(counts: Mapping[str, Mapping[str, int]]) -> str:
    ours, theirs, by_hand = counts["ciam"], counts["authlib"], counts["by_hand"]
    lines = [
        "## Calls and queries of a login in a warm process\n",
        "| count | ciam_django | target | Authlib | by hand |",
    ]
    lines.append("|---|--:|--:|--:|--:|")
    for name, text, target in (
        ("calls", "calls to CIAM", 1),
        ("connections", "new connections", 0),
        ("queries", "queries besides BEGIN and COMMIT", 6),
        ("first queries", "queries of the first login of a user", 9),
    ):
        lines.append(f"| {text} | {ours[name]} | {target} | {theirs[name]} | {by_hand[name]} |")
    return "\n".join(lines) + "\n"


def _machine_text(minutes: float) -> str:
    cpu = next(
        line.partition(": ")[2]
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    )
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PEERS)
    return (
        f"{cpu}, {os.cpu_count()} CPUs, shared; {platform.system()}, "
        f"Python {platform.python_version()}; {versions}. "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, in {minutes:.1f} minutes.\n"
    )


if __name__ == "__main__":
    main()
