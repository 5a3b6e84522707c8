"""What the tests share: the fake CIAM, and a project that signs in at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from ciam_django import answers
from ciam_django.testing import FakeCiam
from tests.browser import Browser

pytest_plugins = ["ciam_django.testing.fixtures"]


@pytest.fixture(autouse=True)
def no_alarm_has_sounded() -> Iterator[None]:
    """A code's first log line differs from its next ones, in each process."""
    answers._alarms.clear()
    yield
    answers._alarms.clear()


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
def browser(ciam: FakeCiam, db: None) -> Browser:
    """A person's browser, which walks from our login page to CIAM's and back."""
    return Browser(ciam)
