"""Tests of ``python -m ciam_django.testing``."""

from __future__ import annotations

import runpy
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ciam_django.testing.__main__ import main

PROGRAM = Path(__file__).parents[2] / "ciam_django/testing/__main__.py"


@pytest.mark.parametrize("arguments", [["--port", "0"], ["--port", "0", "--https", "--mode=ciam"]])
def test_the_command_prints_its_address_and_the_client_setting(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = threading.Event()
    stopped.set()

    assert main(arguments, stopped) == 0
    printed = capsys.readouterr().out
    assert "The fake CIAM runs at http" in printed
    assert '"client_secret"' in printed


def test_ctrl_c_stops_the_command_cleanly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    assert main(["--port", "0"], Interrupted()) == 0


def test_a_taken_port_is_reported_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as exited:
        main(["--port", str(taken.getsockname()[1])])

    assert exited.value.code == 2
    assert "Address already in use" in capsys.readouterr().err


def test_the_module_runs_as_a_command() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ciam_django.testing", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert "http://127.0.0.1:" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, "")


def test_the_option_help_exits_with_status_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ciam_django.testing", "--help"])
    with pytest.raises(SystemExit) as exited:
        runpy.run_path(str(PROGRAM), run_name="__main__")

    assert exited.value.code == 0
