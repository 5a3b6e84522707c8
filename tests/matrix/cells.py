"""Runs a cell of the matrix, and returns the answer and the log lines."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.core.cache import cache
from django.http import HttpResponse
from django.test import override_settings

from ciam_django import reporting
from ciam_django.client import circuit_breaker
from ciam_django.conf import clear_settings_caches
from ciam_django.testing import FakeCiam
from tests.matrix import site
from tests.matrix.faults import FAULTS, Fault
from tests.matrix.stages import STAGES, MatrixStage, Run, prepare_callback

# Seconds. The calls that succeed before the failing call have the same timeout. On a busy machine,
# the timeout is a multiple of the time that the test needs to reach the stage.
TIMEOUT: Final = 0.5
_TIMEOUT_FACTOR: Final = 5
PATIENT_TIMEOUT: Final = 30.0
# Seconds that an answer may take beyond the timeout. A slow behaviour of the fake takes 30 seconds.
ALLOWANCE: Final = 10.0
# Each fault is tried at each stage, but each variant of a body is tried at only three stages. For
# the next variant, these stages move one place back. The nightly run tries all variants at all
# stages.
_TURNS: Final = range(len(STAGES)) if "CIAM_DJANGO_EXAMPLES" in os.environ else (0, 3, 5)
TRIED: Final = [
    (stage, fault)
    for place, stage in enumerate(STAGES)
    for number, fault in enumerate(FAULTS)
    if fault.name not in stage.impossible
    and (not fault.is_variant or (number + place) % len(STAGES) in _TURNS)
]


@dataclass(frozen=True, slots=True)
class CellResult:
    """The result of a cell."""

    response: HttpResponse
    seconds: float
    timeout: float
    # The stages of the requests to CIAM.
    requested_stages: list[str]
    log_lines: list[logging.LogRecord]

    @property
    def code(self) -> str:
        """The code in the log line, which is the true code."""
        return str(_log_fields(self.log_lines)["code"])

    @property
    def stage(self) -> str:
        """The stage in the log line."""
        return str(_log_fields(self.log_lines)["stage"])


def _log_fields(lines: list[logging.LogRecord]) -> dict[str, str]:
    (line,) = (line for line in lines if line.getMessage().startswith("Sign-in failure:"))
    pairs = (pair.partition("=") for pair in line.getMessage().split() if "=" in pair)
    return {name: value for name, _, value in pairs}


def run_cell(ciam: FakeCiam, stage: MatrixStage, fault: Fault, surface: str) -> CellResult:
    """Return the answer on a surface when a stage fails with a fault."""
    with _project(ciam, stage.scope) as client:
        start = time.monotonic()
        run = stage.prepare(ciam, surface)
        timeout = max(TIMEOUT, _TIMEOUT_FACTOR * (time.monotonic() - start))
        fault.plan(ciam, stage.fails_at)
        client.update({**ciam.client("oidc"), "client_kwargs": client["client_kwargs"]})
        return _run(ciam, run, timeout if fault.is_slow else PATIENT_TIMEOUT)


def run_callback(
    ciam: FakeCiam, surface: str, *, forgery: str = "", username: str = "li"
) -> CellResult:
    """Return the answer of the callback, after a user has typed a user name at CIAM's page."""
    with _project(ciam, "openid phone"):
        run = prepare_callback(ciam, surface, username)
        if forgery:
            ciam.forge(forgery)
        return _run(ciam, run, PATIENT_TIMEOUT)


def _run(ciam: FakeCiam, run: Run, timeout: float) -> CellResult:
    with override_settings(CIAM_TIMEOUT=timeout), _captured_log() as lines:
        _reset_state()
        before = len(ciam.requests)
        start = time.monotonic()
        response = run()
        seconds = time.monotonic() - start
        requested_stages = [request.stage for request in ciam.requests[before:]]
        return CellResult(response, seconds, timeout, requested_stages, list(lines))


@contextlib.contextmanager
def _project(ciam: FakeCiam, scope: str) -> Iterator[dict[str, Any]]:
    ciam.reset()
    site.fakes[:] = [ciam]
    client = {**ciam.client("oidc"), "client_kwargs": {"scope": scope}}
    with override_settings(
        ROOT_URLCONF="tests.matrix.site", AUTHLIB_OAUTH_CLIENTS={"ciam": client}
    ):
        _reset_state()
        yield client


def _reset_state() -> None:
    """Forget CIAM's documents, a silent CIAM, and the codes that have been logged."""
    cache.clear()
    circuit_breaker.forget_circuits()
    clear_settings_caches()
    reporting._last_logged.clear()


@contextlib.contextmanager
def _captured_log() -> Iterator[list[logging.LogRecord]]:
    """Collect the log records of all loggers, from INFO on, without the line of a circuit."""
    handler = _ListHandler()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class _ListHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        # A call without an answer also opens a circuit.
        if vars(record).get("ciam_event") != "circuit_opened":
            self.lines.append(record)
