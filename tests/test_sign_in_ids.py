"""Test that all events of one sign-in share an id, and that no two sign-ins do."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django.fixtures import Settings

from ciam_django.client.crypto import from_stored
from ciam_django.login.state import SignInState, new_sign_in_state
from ciam_django.login.steps.flow import Flow
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE, PASSWORD
from tests.browser import Browser
from tests.login.person import FormBrowser
from tests.login.steps.test_native import PROVIDERS
from tests.login.test_api import NUMBER, App
from tests.login.test_social import registered_at, sign_in_at

Commit = Callable[..., AbstractContextManager[Any]]
SIGN_IN_ID = re.compile(r"[0-9a-f]{16}")


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture(autouse=True)
def offered(ciam: FakeCiam, db: None, settings: Settings) -> None:
    cache.clear()
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(ciam)
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email", "sign_up", "hosted"]
    settings.CIAM_SEND_LIMITS = {}
    settings.CIAM_CONSENT_BEFORE = []


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "ciam_django")
    return caplog


def events_of(log: pytest.LogCaptureFixture) -> list[tuple[str, str | None]]:
    """The name and the id of the sign-in of each event."""
    return [(vars(entry)["ciam_event"], vars(entry)["ciam_sign_in"]) for entry in log.records]


def ids_of(log: pytest.LogCaptureFixture, *names: str) -> set[str]:
    """The ids of the sign-ins, whose events have these names."""
    events = events_of(log)
    assert [name for name, _ in events] == [*names], events
    ids = {sign_in or "" for _, sign_in in events}
    assert all(SIGN_IN_ID.fullmatch(each) for each in ids), events
    return ids


def methods_of(log: pytest.LogCaptureFixture) -> set[str | None]:
    return {vars(entry)["ciam_method"] for entry in log.records}


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_a_sign_in_at_ciams_page_has_one_id_from_its_start_to_its_end(
    ciam: FakeCiam,
    log: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    ids = set()
    for _ in range(2):
        log.clear()
        with django_capture_on_commit_callbacks(execute=True):
            Browser(ciam).sign_in()
        ids |= ids_of(log, "sign_in_started", "signed_in")
        assert methods_of(log) == {"hosted"}
        assert vars(log.records[0])["ciam_ms"] >= 0
        assert 0 < vars(log.records[-1])["ciam_ms"] < 30_000
    assert len(ids) == 2


def test_a_failed_sign_in_has_the_id_of_its_start(
    ciam: FakeCiam, log: pytest.LogCaptureFixture
) -> None:
    ciam.fail("token", code="Operation.Failure.User.Locked")
    Browser(ciam).sign_in()

    assert len(ids_of(log, "sign_in_started", "failed")) == 1


@pytest.mark.parametrize(
    ("address", "method"), [("authorize/", "hosted"), ("with/qq/", "qq")], ids=["hosted", "qq"]
)
def test_a_missing_consent_has_an_id_and_the_method(
    address: str,
    method: str,
    settings: Settings,
    log: pytest.LogCaptureFixture,
    person: FormBrowser,
) -> None:
    settings.CIAM_CONSENT_BEFORE = ["social", "hosted"]
    person.open_page("/ciam/login/")
    sent = {"csrfmiddlewaretoken": person.client.cookies["csrftoken"].value}
    log.clear()
    person.client.post(f"/ciam/{address}", sent)

    assert len(ids_of(log, "failed")) == 1
    assert methods_of(log) == {method}


def test_a_callback_without_a_valid_state_has_no_id(
    client: Client, log: pytest.LogCaptureFixture
) -> None:
    client.get("/ciam/callback/?state=x&code=y", headers={"Accept": "application/json"})

    assert events_of(log)[-1] == ("failed", None)


@pytest.mark.parametrize(
    ("username", "steps"), [("li", []), ("careful", ["step_asked"] * 2)], ids=["plain", "careful"]
)
def test_a_sign_in_at_a_provider_has_one_id(
    person: FormBrowser,
    username: str,
    steps: list[str],
    log: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        sign_in_at(person, "wechat-website", username)
        if steps:
            person.submit_form(channel="SMS")
            person.submit_form(code=CODE)

    assert methods_of(log) == {"wechat-website"}
    assert len(ids_of(log, "sign_in_started", *steps, "signed_in")) == 1


def test_the_steps_of_a_sign_in_with_a_code_have_one_id(
    person: FormBrowser,
    log: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        person.open_page("/ciam/login/?method=sms")
        person.submit_form(phone_number=NUMBER)
        person.submit_form(code="135790")
        person.submit_form(code=CODE)

    assert len(ids_of(log, "step_asked", "failed", "signed_in")) == 1
    assert methods_of(log) == {"sms"}


def test_the_steps_of_a_sign_in_with_a_password_have_one_id(
    person: FormBrowser,
    log: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        person.open_page("/ciam/login/?method=password")
        person.submit_form(username="careful", password=PASSWORD)
        person.submit_form(channel="SMS")
        person.submit_form(code=CODE)

    assert len(ids_of(log, "step_asked", "step_asked", "signed_in")) == 1
    assert methods_of(log) == {"password"}


def test_the_steps_of_a_registration_have_one_id(
    person: FormBrowser,
    log: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        person.open_page("/ciam/sign-up/")
        person.submit_form(receiver="139 0000 9999")
        person.submit_form(code=CODE, password="a-New-passw0rd")

    assert len(ids_of(log, "step_asked", "signed_in")) == 1
    assert methods_of(log) == {"sign_up"}


@pytest.mark.parametrize("sign_in_mode", ["session", "token"])
def test_the_steps_of_a_sign_in_with_json_have_one_id(
    sign_in_mode: str,
    settings: Settings,
    log: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    settings.CIAM_API_SIGN_IN = sign_in_mode
    app = App()
    with django_capture_on_commit_callbacks(execute=True):
        app.send("password", username="careful", password=PASSWORD)
        app.send("second_factor", channel="SMS")
        app.send("second_factor_code", code=CODE)

    assert len(ids_of(log, "step_asked", "step_asked", "signed_in")) == 1
    assert methods_of(log) == {"password"}


def test_the_steps_of_a_mini_program_have_one_id(
    settings: Settings,
    log: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    row = {"app_id": "wx3", "source": "source_wechat_mini_program"}
    settings.CIAM_SOCIAL_PROVIDERS = {"wechat": {"mini_program": row}}
    app = App()
    with django_capture_on_commit_callbacks(execute=True):
        app.send("mini_program", login_code="fake:careful")
        app.send("second_factor", channel="SMS")
        app.send("second_factor_code", code=CODE)

    assert len(ids_of(log, "step_asked", "step_asked", "signed_in")) == 1
    assert methods_of(log) == {"wechat-mini_program"}


def test_a_native_app_has_an_id_for_each_sign_in(
    ciam: FakeCiam,
    settings: Settings,
    log: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = PROVIDERS
    settings.CIAM_API_SIGN_IN = "token"
    app = App()
    with django_capture_on_commit_callbacks(execute=True):
        for code in (ciam.native_code("li"), "wrong", ciam.native_code("li")):
            app.send("with/apple", code=code)

    # The lines of successes are written after the commit, here at the end of the block.
    assert len(ids_of(log, "failed", "signed_in", "signed_in")) == 3
    assert methods_of(log) == {"apple"}


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_linking_an_identity_has_one_id(
    ciam: FakeCiam,
    log: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    browser = FormBrowser(ciam)
    sign_in_at(browser, "qq")
    log.clear()
    with django_capture_on_commit_callbacks(execute=True):
        token = browser.client.cookies["csrftoken"].value
        fields = {"link": "1", "csrfmiddlewaretoken": token}
        response = browser.client.post("/ciam/authorize/", fields)
        callback = ciam.authorize(response["Location"], username="zhang")
        browser.open_page(callback.partition("testserver")[2])
        browser.follow_redirect()
        if vars(log.records[-1])["ciam_event"] == "step_asked":
            browser.submit_form()

    names = [name for name, _ in events_of(log)]
    assert (names[0], names[-1]) == ("sign_in_started", "linked")
    assert len(ids_of(log, *names)) == 1


@pytest.mark.parametrize("stored", [new_sign_in_state(next_url="/a/"), Flow("code", "f-1")])
def test_what_an_older_version_has_stored_gets_an_id(stored: SignInState | Flow) -> None:
    members = dataclasses.asdict(stored)
    del members["sign_in"]
    read: Any = from_stored(type(stored), members)

    assert read
    assert SIGN_IN_ID.fullmatch(read.sign_in)
    assert read == dataclasses.replace(stored, sign_in=read.sign_in)


def test_each_sign_in_has_its_own_random_id() -> None:
    first, second = new_sign_in_state(next_url=""), new_sign_in_state(next_url="")
    assert first.sign_in != second.sign_in
    assert first.sign_in not in first.state + first.nonce + first.code_verifier
    assert Flow("code", "").sign_in != Flow("code", "").sign_in
    assert isinstance(first, SignInState)
