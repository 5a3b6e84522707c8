"""Test that a request passes few modules and changes the module few times."""

from __future__ import annotations

import pytest
from django.core.signals import request_finished, request_started
from pytest_django.fixtures import Settings

from ciam_django.accounts import transactions
from ciam_django.client import circuit_breaker
from ciam_django.testing.accounts import PASSWORD
from tests.browser import Browser
from tests.login.person import FormBrowser
from tests.request_path import RequestPath, path_of

pytestmark = [pytest.mark.django_db, pytest.mark.parametrize("mode", ["oidc"])]


@pytest.fixture(autouse=True)
def disconnect_changes() -> None:
    """Disconnect the receivers that a refresh in a transaction of an earlier test has connected."""
    request_started.disconnect(dispatch_uid=transactions.__name__)
    request_finished.disconnect(dispatch_uid=transactions.__name__)


@pytest.fixture(autouse=True)
def answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all calls of a test be within a second, however slow the machine is.

    The first call of a second shares the state of its circuit with the other processes.
    """
    monkeypatch.setattr(circuit_breaker, "_SHARING_INTERVAL", 60.0)


def test_a_correct_password_passes_few_modules(person: FormBrowser, settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]

    def send_password() -> None:
        person.open_page("/ciam/login/")
        response = person.submit_form(username="li", password=PASSWORD)
        assert response.status_code == 302

    send_password()
    person.client.logout()
    person.open_page("/ciam/login/")
    path = path_of(lambda: person.submit_form(username="li", password=PASSWORD))

    assert "_auth_user_id" in person.client.session
    assert_short(path, modules=26, changes=77)


def test_a_callback_of_a_known_user_passes_few_modules(browser: Browser) -> None:
    browser.sign_in()
    browser.client.logout()
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    path = path_of(lambda: browser.open_callback(callback))

    assert "_auth_user_id" in browser.client.session
    # The outcome is stored for a second callback.
    assert_short(path, modules=20, changes=57)


def assert_short(path: RequestPath, *, modules: int, changes: int) -> None:
    assert 5 < len(path.modules) <= modules, path
    assert 5 < path.changes <= changes, path
