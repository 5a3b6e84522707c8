"""Run all suites with ``python -m benchmarks``, and write the results into README.md."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final

import certifi
import django
import pyperf

from benchmarks.cases import Row

SUITES: Final = {
    "middleware": "A request without an error",
    "errors": "A raised error",
    "rest": "REST framework",
    "answers": "From a code to an answer",
    "logins": "A login",
    "imports": "Importing",
}
PEERS: Final = (
    "Django", "djangorestframework", "Authlib", "requests", "social-auth-app-django",
    "django-allauth", "django-cors-headers", "drf-standardized-errors", "drf-exceptions-hog",
)  # fmt: skip
# The number of runs of each suite. Other load on the machine then affects all cases alike.
ROUNDS: Final = 3
# pyperf's search for the number of loops would take longer than the values of these suites.
OPTIONS: Final = {"logins": ("--loops", "6"), "imports": ("--loops", "3")}
_README: Final = Path(__file__).with_name("README.md")


def main() -> None:
    """Measure everything, and write README.md."""
    # requests prefers these variables to the certificates that a session is configured with.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    }
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, running_fake_ciam() as client:
        environment["BENCHMARKS_CIAM"] = json.dumps({"ciam": client})
        medians: dict[str, dict[str, float]] = {}
        for suite in SUITES:
            medians[suite] = measure_medians(suite, Path(folder), environment)
        profiles = {
            (suite, row.case): run_module("benchmarks.profiled", suite, row.case, **environment)
            for suite in SUITES
            for row in load_rows(suite)
            if not is_within_target(row, medians[suite])
        }
    counts = json.loads(run_module("benchmarks.counts", **environment))
    minutes = (time.monotonic() - began) / 60
    _README.write_text(readme_text(medians, profiles, counts, minutes), encoding="utf-8")
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


def measure_medians(suite: str, folder: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Return the median of each case in seconds, over all rounds."""
    suites = []
    for number in range(ROUNDS):
        output = folder / f"{suite}{number}.json"
        command = [sys.executable, "-m", "benchmarks.ask", suite, "--quiet"]
        short_run = ["--processes", "1", "--values", "5", "--min-time", "0.02"]
        options = [*short_run, *OPTIONS.get(suite, ())]
        inherited = ["--inherit-environ", "BENCHMARKS_CIAM"]
        subprocess.run(
            [*command, *options, *inherited, "-o", str(output)],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        suites.append(pyperf.BenchmarkSuite.load(str(output)))
    first, *others = suites
    for other in others:
        first.add_runs(other)
    return {benchmark.get_name(): benchmark.median() for benchmark in first}


def run_module(module: str, *arguments: str, **environment: str) -> str:
    """Run one of our modules, and return its standard output."""
    command = [sys.executable, "-m", module, *arguments]
    completed = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return completed.stdout


def load_rows(suite: str) -> list[Row]:
    """Return the rows of a suite's table."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    django.setup()
    rows: list[Row] = import_module(f"benchmarks.{suite}").ROWS
    return rows


def is_within_target(row: Row, medians: Mapping[str, float]) -> bool:
    """Return True if the figure, rounded to two places as printed, does not exceed the target."""
    return row.target is None or round(row.figure(medians), 2) <= row.target


# --- The text of README.md ----------------------------------------------------------------------

_HEAD: Final = """\
# Speed compared with other packages

`tox run -e benchmarks` writes this file. Each figure is a ratio (×) or a difference of medians of
CPU time. All figures come from one run on one machine. `ciam_django` creates its log lines and
sends them to a `NullHandler`. The target is the highest figure that we accept; a dash means that
there is no target. A ratio below 1 × means that `ciam_django` is faster.
"""


def readme_text(
    medians: Mapping[str, Mapping[str, float]],
    profiles: Mapping[tuple[str, str], str],
    counts: Mapping[str, Mapping[str, int]],
    minutes: float,
) -> str:
    """Return the whole text of README.md."""
    parts = [_HEAD, _machine_text(minutes)]
    for suite, title in SUITES.items():
        lines = [f"## {title}\n", "| comparison | figure | target | reached |", "|---|--:|--:|---|"]
        lines += [_table_line(row, medians[suite]) for row in load_rows(suite)]
        parts.append("\n".join(lines) + "\n")
        for (profiled_suite, case), profile in profiles.items():
            if profiled_suite == suite:
                parts.append(f"Profile of `{case}`:\n\n```\n{profile}\n```\n")
    parts.append(_counts_table(counts))
    return "\n".join(parts)


def _table_line(row: Row, medians: Mapping[str, float]) -> str:
    figure = f"{row.figure(medians):.2f} {row.unit}"
    if row.target is None:
        return f"| {row.label} | {figure} | – | |"
    verdict = "yes" if is_within_target(row, medians) else "**no**"
    return f"| {row.label} | {figure} | {row.target:.2f} {row.unit} | {verdict} |"


def _counts_table(counts: Mapping[str, Mapping[str, int]]) -> str:
    ours, theirs = counts["ciam"], counts["authlib"]
    lines = [
        "## Calls and queries of a login in a warm process\n",
        "| count | ciam_django | target | Authlib |",
    ]
    lines.append("|---|--:|--:|--:|")
    for name, text, target in (
        ("calls", "calls to CIAM", 1),
        ("connections", "new connections", 0),
        ("queries", "queries besides BEGIN and COMMIT", 6),
    ):
        lines.append(f"| {text} | {ours[name]} | {target} | {theirs[name]} |")
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
