"""A stage, a fault and a surface in, what was answered out."""

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
from ciam_django.conf import clear_settings_caches
from ciam_django.testing import FakeCiam
from tests.matrix import site
from tests.matrix.faults import FAULTS, Fault
from tests.matrix.stages import STAGES, MatrixStage, Run, prepare_callback

# Seconds. The honest calls before the call that fails have the same timeout. Where the machine is
# busy, the timeout is a multiple of what it takes to reach the stage.
TIMEOUT: Final = 0.5
_TIMES_THE_WAY: Final = 5
PATIENT_TIMEOUT: Final = 30.0
# What an answer may take beyond the timeout; what the fake does takes 30.
ALLOWANCE: Final = 10.0
# Every fault is tried at every stage, but a variant of a body at three of them: the next variant is
# tried at the three stages before. The nightly run tries the variants at every stage, too.
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
    """What came of a cell."""

    response: HttpResponse
    seconds: float
    timeout: float
    # The stages that CIAM was asked for.
    asked: list[str]
    log_lines: list[logging.LogRecord]

    @property
    def code(self) -> str:
        """By the log line, which has the true one."""
        return str(_log_fields(self.log_lines)["code"])

    @property
    def stage(self) -> str:
        """By the log line."""
        return str(_log_fields(self.log_lines)["stage"])


def _log_fields(lines: list[logging.LogRecord]) -> dict[str, str]:
    (line,) = (line for line in lines if line.getMessage().startswith("Sign-in failure:"))
    pairs = (pair.partition("=") for pair in line.getMessage().split() if "=" in pair)
    return {name: value for name, _, value in pairs}


def run_cell(ciam: FakeCiam, stage: MatrixStage, fault: Fault, surface: str) -> CellResult:
    """What a person, a program or a REST client gets when a stage fails so."""
    with _project(ciam, stage.scope) as client:
        began = time.monotonic()
        go = stage.prepare(ciam, surface)
        timeout = max(TIMEOUT, _TIMES_THE_WAY * (time.monotonic() - began))
        fault.plan(ciam, stage.fails_at)
        client.update({**ciam.client("oidc"), "client_kwargs": client["client_kwargs"]})
        return _run(ciam, go, timeout if fault.is_slow else PATIENT_TIMEOUT)


def run_callback(
    ciam: FakeCiam, surface: str, *, forgery: str = "", username: str = "li"
) -> CellResult:
    """What they get who come back from CIAM's page, where they have typed a user name."""
    with _project(ciam, "openid phone"):
        go = prepare_callback(ciam, surface, username)
        if forgery:
            ciam.forge(forgery)
        return _run(ciam, go, PATIENT_TIMEOUT)


def _run(ciam: FakeCiam, go: Run, timeout: float) -> CellResult:
    with override_settings(CIAM_TIMEOUT=timeout), _captured_log() as lines:
        _reset_state()
        before = len(ciam.requests)
        began = time.monotonic()
        response = go()
        seconds = time.monotonic() - began
        asked = [request.stage for request in ciam.requests[before:]]
        return CellResult(response, seconds, timeout, asked, list(lines))


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
    """Forget what this process and the cache know of CIAM, and which alarms have sounded."""
    cache.clear()
    clear_settings_caches()
    reporting._last_logged.clear()


@contextlib.contextmanager
def _captured_log() -> Iterator[list[logging.LogRecord]]:
    """What all of Python logs, from INFO on."""
    kept = _ListHandler()
    root = logging.getLogger()
    level = root.level
    root.addHandler(kept)
    root.setLevel(logging.INFO)
    try:
        yield kept.lines
    finally:
        root.removeHandler(kept)
        root.setLevel(level)


class _ListHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record)
