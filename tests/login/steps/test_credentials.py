"""Tests of the counts of sent codes and of attempts, at each door."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django.login.steps.credentials import _limited_name
from ciam_django.login.steps.flow import Flow
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE, PASSWORD
from tests.login.person import FormBrowser
from tests.login.test_api import App
from tests.login.test_social import registered_at, sign_in_at
from tests.rows import for_each_row

NUMBER: Final = "138 0000 1234"
MISSING_NUMBER: Final = "138 0000 0001"
WRONG: Final = "Operation.Failure.Username.Or.Password.Error"
TOO_MANY_TEXTS: Final = "Operation.Failure.Send.SMS.Too.Frequency"
# First step -> the page, the field with the recipient, and the stage of CIAM's endpoint.
SENDERS: Final[Mapping[str, tuple[str, str, str]]] = {
    "sms": ("/ciam/login/?method=sms&prompt=login", "phone_number", "send_code"),
    "email": ("/ciam/login/?method=email&prompt=login", "email", "send_code"),
    "recover": ("/ciam/recover/", "receiver", "recover"),
    "sign_up": ("/ciam/sign-up/", "receiver", "send_code"),
}


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture(autouse=True)
def all_methods(settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = ["password", *SENDERS]
    settings.CIAM_SEND_LIMITS = {}


class Doors:
    """A browser and an app that send the same steps, at the pages and at the JSON endpoints."""

    def __init__(self, person: FormBrowser) -> None:
        self.person, self.app = person, App()

    def send_code(self, door: str, name: str) -> tuple[int, str]:
        """Submit the first step; return the status and the code of the answer."""
        # Otherwise, the flow of the last code would go on.
        self.app.flow = ""
        for key in [key for key in self.person.client.cookies if key.startswith("ciam_flow_")]:
            del self.person.client.cookies[key]
        page, field, _ = SENDERS[name]
        fields = {field: "li@example.com" if name == "email" else NUMBER, "captcha": "x"}
        if door == "json":
            answer = self.app.send(name, **fields)
            return answer["http"], answer.get("code", "")
        self.person.open_page(page)
        return self._submit(**fields)

    def resend_code(self, door: str) -> tuple[int, str]:
        """Ask for another code of the flow that ``send_code`` has started."""
        self.person.ciam.accounts._last_sends.clear()
        if door == "json":
            answer = self.app.send("code", do="resend")
            return answer["http"], answer.get("code", "")
        return self._submit(do="resend")

    def sign_in(self, door: str, password: str, username: str = "li") -> tuple[int, str]:
        """Submit a password."""
        if door == "json":
            answer = self.app.send("password", username=username, password=password)
            self.app.offered = self.app.client.get("/ciam/api/").json()
            return answer["http"], answer.get("code", "")
        self.person.open_page("/ciam/login/?prompt=login")
        return self._submit(username=username, password=password)

    def _submit(self, **fields: str) -> tuple[int, str]:
        response = self.person.submit_form(**fields)
        return response.status_code, response.headers.get("Ciam-Error-Code", "")


@pytest.fixture
def doors(person: FormBrowser) -> Doors:
    return Doors(person)


def plan_failure(ciam: FakeCiam, name: str, failure: str) -> None:
    stage = SENDERS[name][2]
    if "." in failure:
        ciam.fail(stage, code=failure, status=503)
    else:
        ciam.misbehave(stage, failure)


# --- Codes that CIAM does not send ------------------------------------------------------------


@for_each_row(
    "door, name, failure",
    [(door, name, "Service.Internal.Error") for door in ("page", "json") for name in SENDERS]
    + [
        ("page", "sms", failure)
        for failure in (
            "Operation.Failure.Captcha.Error",
            "Operation.Failure.Send.SMS.Fail",
            "reset",
            "html",
        )
    ],
)
@pytest.mark.slow("many sign-ins and sends")
def test_a_code_that_was_not_sent_does_not_block_the_recipient(
    doors: Doors, settings: Settings, door: str, name: str, failure: str
) -> None:
    cache.clear()
    doors.person.ciam.accounts._last_sends.clear()
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",)}
    plan_failure(doors.person.ciam, name, failure)
    statuses = [doors.send_code(door, name)[0] for _ in range(3)]

    assert statuses[0] >= 400
    assert statuses[1:] == [200, 429]


@for_each_row("door, name", [("page", "sms"), ("json", "email"), ("page", "recover")])
def test_a_code_that_was_not_sent_again_does_not_block_the_recipient(
    doors: Doors, settings: Settings, door: str, name: str
) -> None:
    cache.clear()
    doors.person.ciam.accounts._last_sends.clear()
    settings.CIAM_SEND_LIMITS = {"receiver": ("2/hour",)}
    assert doors.send_code(door, name)[0] == 200
    plan_failure(doors.person.ciam, name, "Service.Internal.Error")

    statuses = [doors.resend_code(door)[0] for _ in range(3)]
    assert statuses == [503, 200, 429]


@for_each_row("failure", ["no_token", "silent"])
def test_a_code_that_may_have_been_sent_stays_counted(
    doors: Doors, settings: Settings, failure: str
) -> None:
    cache.clear()
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",)}
    settings.CIAM_TIMEOUT = 0.1 if failure == "silent" else 30.0
    plan_failure(doors.person.ciam, "sms", failure)

    assert doors.send_code("page", "sms")[0] == 503
    assert doors.send_code("page", "sms") == (429, TOO_MANY_TEXTS)


def test_failing_sends_are_limited_for_the_client(doors: Doors, settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",), "address": ("3/hour",)}
    doors.person.ciam.fail("send_code", code="Operation.Failure.Captcha.Error", times=None)

    statuses = [doors.send_code("page", "sms")[0] for _ in range(5)]
    assert statuses == [400, 400, 400, 429, 429]


@pytest.mark.slow("many sign-ins and sends")
def test_the_counts_do_not_tell_if_an_account_exists(doors: Doors, settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("2/hour",)}
    for code in ("Operation.Failure.User.Not.Exist", "Operation.Failure.User.Locked", ""):
        cache.clear()
        doors.person.ciam.accounts._last_sends.clear()
        if code:
            doors.person.ciam.fail("send_code", code=code)
        answers = []
        for _ in range(3):
            answers.append(doors.send_code("page", "sms"))
            doors.person.ciam.accounts._last_sends.clear()

        assert answers == [(200, ""), (200, ""), (429, TOO_MANY_TEXTS)], code


# --- Strangers cannot lock an owner out -------------------------------------------------------


@for_each_row("door", ["page", "json"])
@pytest.mark.slow("many sign-ins and sends")
def test_wrong_passwords_of_strangers_stop_neither_the_known_browser_nor_a_code(
    doors: Doors, settings: Settings, door: str
) -> None:
    cache.clear()
    doors.person.ciam.accounts._failed_attempts.clear()
    doors.person.ciam.accounts._last_sends.clear()
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",), "address": ("5/min",)}
    owner = Doors(FormBrowser(doors.person.ciam))
    assert owner.sign_in(door, PASSWORD, NUMBER)[0] in (200, 302)
    stranger = Doors(FormBrowser(doors.person.ciam))
    assert [stranger.sign_in(door, "wrong", NUMBER)[1] for _ in range(3)] == [
        WRONG, WRONG, "too_many_requests"
    ]  # fmt: skip

    # The stranger needs a known browser even with the right password.
    assert stranger.sign_in(door, PASSWORD, NUMBER)[1] == "too_many_requests"
    assert owner.sign_in(door, PASSWORD, NUMBER)[0] in (200, 302)
    # Another browser of the owner can use a code.
    other = Doors(FormBrowser(doors.person.ciam))
    other.send_code("page", "sms")
    assert other.person.submit_form(code=CODE).status_code == 302


def test_a_known_browser_is_known_only_for_the_names_that_have_signed_in(
    doors: Doors, settings: Settings
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    assert doors.sign_in("page", PASSWORD, "li")[0] == 302
    for _ in range(2):
        Doors(FormBrowser(doors.person.ciam)).sign_in("page", "wrong", "wang")

    # Otherwise, any customer could guess passwords of other accounts.
    assert doors.sign_in("page", PASSWORD, "wang")[1] == "too_many_requests"


def test_a_known_browser_has_a_limit_of_its_own(doors: Doors, settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    doors.sign_in("page", PASSWORD, "li")

    codes = [doors.sign_in("page", "wrong", "li")[1] for _ in range(3)]
    assert codes == [WRONG, WRONG, "too_many_requests"]


def test_sent_codes_of_strangers_do_not_stop_the_known_browser(
    doors: Doors, settings: Settings
) -> None:
    doors.send_code("page", "sms")
    assert doors.person.submit_form(code=CODE).status_code == 302
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",), "address": ("1/hour",)}
    stranger = Doors(FormBrowser(doors.person.ciam))
    for _ in range(2):
        doors.person.ciam.accounts._last_sends.clear()
        status, _ = stranger.send_code("page", "sms")
    assert status == 429

    assert [doors.send_code("page", "sms")[0] for _ in range(2)] == [200, 429]


@for_each_row("door", ["page", "json"])
@pytest.mark.slow("many sign-ins and sends")
def test_the_owner_signs_in_after_a_recovery_although_strangers_enter_wrong_passwords(
    doors: Doors, settings: Settings, door: str
) -> None:
    cache.clear()
    doors.person.ciam.accounts._last_sends.clear()
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    for _ in range(2):
        Doors(FormBrowser(doors.person.ciam)).sign_in("page", "wrong", NUMBER)
    owner = Doors(FormBrowser(doors.person.ciam))
    assert owner.sign_in(door, PASSWORD, NUMBER)[1] == "too_many_requests"

    assert owner.send_code(door, "recover")[0] == 200
    password = f"new-password-{door}-1"
    if door == "json":
        assert owner.app.send("recover_code", code=CODE, password=password)["status"] == "done"
    else:
        owner.person.submit_form(code=CODE, password=password)
    assert owner.sign_in(door, password, NUMBER)[0] in (200, 302)


def test_the_log_names_the_full_counter_and_not_the_recipient(
    doors: Doors, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",)}
    with caplog.at_level(logging.INFO, "ciam_django"):
        for _ in range(2):
            doors.send_code("page", "sms")

    assert "upstream_text=\"CIAM_SEND_LIMITS: the counter 'receiver' is full (1 per hour)\"" in (
        caplog.text
    )
    assert "1380000" not in caplog.text


# --- The second factor ------------------------------------------------------------------------


@pytest.fixture
def social(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(ciam)


def test_texts_of_the_second_factor_are_counted_over_several_social_sign_ins(
    person: FormBrowser, settings: Settings, social: None
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("2/hour",)}
    statuses = []
    for provider in ("qq", "wechat-website", "qq"):
        fresh = FormBrowser(person.ciam)
        sign_in_at(fresh, provider, "careful")
        person.ciam.accounts._last_sends.clear()
        statuses.append(fresh.submit_form(channel="SMS").status_code)

    assert statuses == [200, 200, 429]


def test_entries_of_the_second_factor_are_counted_over_several_social_sign_ins(
    person: FormBrowser, settings: Settings, social: None
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("3/hour",)}
    codes = []
    for _ in range(2):
        fresh = FormBrowser(person.ciam)
        sign_in_at(fresh, "qq", "careful")
        person.ciam.accounts._last_sends.clear()
        fresh.submit_form(channel="SMS")
        codes += [fresh.submit_form(code="1")["Ciam-Error-Code"] for _ in range(2)]

    assert codes == ["Operation.Failure.SMS.Code.Error"] * 3 + ["too_many_requests"]
    # The password as the second factor has the same count.
    fresh.submit_form(do="other")
    fresh.submit_form(channel="PWD")
    assert fresh.submit_form(password=PASSWORD).status_code == 429


def test_a_known_browser_gets_no_count_of_its_own_for_the_second_factor_of_another_account(
    person: FormBrowser, settings: Settings, social: None
) -> None:
    sign_in_at(person, "qq", "wang")
    assert person.user_id
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",)}
    statuses = []
    for browser in (FormBrowser(person.ciam), person):
        sign_in_at(browser, "qq", "careful")
        person.ciam.accounts._last_sends.clear()
        statuses.append(browser.submit_form(channel="SMS").status_code)

    assert statuses == [200, 429]


def test_a_failed_send_of_the_second_factor_does_not_block_the_account(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",)}
    person.open_page("/ciam/login/")
    person.submit_form(username="careful", password=PASSWORD)
    person.ciam.fail("send_code", code="Service.Internal.Error")

    assert [person.submit_form(channel="SMS").status_code for _ in range(2)] == [503, 200]


@for_each_row(
    "step, counted_name, account, expected",
    [
        # The codes of a login method are counted for the recipient, like its sent codes.
        ("code", "li", "138****1234", "li"),
        ("second_factor_code", "li", "138****1234", "second factor li"),
        ("second_factor", "", "138****1234", "second factor 138****1234"),
        ("second_factor_password", "", "", "second factor f-1"),
    ],
)
def test_the_second_factor_of_an_account_is_counted_apart(
    step: str, counted_name: str, account: str, expected: str
) -> None:
    flow = Flow(step, "f-1", counted_name=counted_name, step_data={"account": account})

    assert _limited_name(flow) == expected
