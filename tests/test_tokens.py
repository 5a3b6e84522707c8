"""``access_token_of`` gives a view the access token of the signed-in person."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from ciam_django.testing import FakeCiam
from tests.accounts.test_session_check import (
    change,
    person,  # noqa: F401  (a fixture)
    site,  # noqa: F401  (an autouse fixture)
    stages,
)
from tests.browser import Browser

pytestmark = pytest.mark.django_db


def test_a_project_calls_ciam_with_the_persons_token(
    person: Browser,  # noqa: F811  (the fixture)
    ciam: FakeCiam,
    settings: Settings,
) -> None:
    assert person.client.get("/profile/").content == b"li"
    # A view can be the first to need a new one.
    change(person, refresh_from=1.0, expires_at=2.0)
    settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if "CiamSession" not in m]
    person.client.handler.load_middleware()
    assert person.client.get("/profile/").content == b"li"

    assert stages(ciam).count("refresh") == 1


def test_who_has_not_signed_in_has_none(browser: Browser) -> None:
    answer = browser.client.get("/profile/", headers={"Accept": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")
