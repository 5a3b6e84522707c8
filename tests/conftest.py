"""What the tests share: the fake CIAM, and a project that signs in at it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django import answers, conf
from ciam_django.client import shared
from ciam_django.codes import CODES, Meaning
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.login.person import Person

pytest_plugins = ["ciam_django.testing.fixtures"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CIAM_DJANGO_NO_SKIPS is set, a test that skips has failed: CI lacks something."""
    report = yield
    if report.skipped and os.environ.get("CIAM_DJANGO_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def no_alarm_has_sounded() -> Iterator[None]:
    """A code's first log line differs from its next ones, in each process."""
    answers._alarms.clear()
    shared._logged_at.clear()
    yield
    answers._alarms.clear()
    shared._logged_at.clear()


@pytest.fixture
def table() -> Iterator[dict[str, Meaning]]:
    """The table, to be changed at will: afterwards it is as it was, its order too."""
    rows = dict(CODES)
    conf.forget()
    yield CODES
    CODES.clear()
    CODES.update(rows)
    conf.forget()


@pytest.fixture(params=["oidc", "ciam"])
def mode(request: pytest.FixtureRequest) -> str:
    """Each of the two modes in turn."""
    return str(request.param)


@pytest.fixture
def ciam(fake_ciam: FakeCiam, mode: str, settings: Settings) -> FakeCiam:
    """The fake CIAM, which the project's settings point at."""
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client(mode)}
    settings.CIAM_TIMEOUT = 2.0
    return fake_ciam


@pytest.fixture
def person(ciam: FakeCiam, db: None) -> Person:
    """A person who fills in our own forms; nobody has been counted yet."""
    cache.clear()
    return Person(ciam)


@pytest.fixture
def browser(ciam: FakeCiam, db: None) -> Browser:
    """A person's browser, which walks from our login page to CIAM's and back."""
    return Browser(ciam)


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a Redis of our own, which listens to nobody else."""
    program = shutil.which("redis-server")
    if program is None:
        # A newcomer's machine may lack it; CI installs it, and a skip fails there.
        pytest.skip("redis-server is not installed, so that no cache spans processes")
    place = tmp_path_factory.mktemp("redis") / "socket"
    options = ["--port", "0", "--unixsocket", str(place), "--save", "", "--dir", str(place.parent)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as server:
        while not place.exists():
            assert server.poll() is None
            time.sleep(0.01)
        yield place
        server.terminate()
