"""Signing in as JSON: for front ends and mini programs."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CAPTCHA_TEXT, CODE, PASSWORD
from tests.planting import LeakyFailure

NUMBER = "138 0000 1234"
AGREED = ["terms", "privacy"]


@pytest.fixture(params=["session", "token"])
def gives(request: pytest.FixtureRequest, settings: Settings) -> str:
    settings.CIAM_API_SIGN_IN = request.param
    return str(request.param)


@pytest.fixture
def mode() -> str:
    return "ciam"


class App:
    """A front end, which has nothing but JSON."""

    def __init__(self) -> None:
        self.client = Client(enforce_csrf_checks=True, headers={"Accept": "application/json"})
        self.offered = self.client.get("/ciam/api/").json()
        self.flow = ""

    def sends(self, name: str, **given: object) -> Any:
        """Take a step; the answer with its status."""
        body = {"consent": AGREED, **({"flow": self.flow} if self.flow else {}), **given}
        answer = self.client.post(
            f"/ciam/api/{name}/",
            body,
            content_type="application/json",
            headers={"X-CSRFToken": self.offered.get("csrf_token", "")},
        )
        told = answer.json()
        self.flow = told.get("flow", self.flow)
        return {"http": answer.status_code, **told}

    @property
    def user_id(self) -> str | None:
        found: str | None = self.client.session.get("_auth_user_id")
        return found


@pytest.fixture
def app(ciam: FakeCiam, gives: str, db: None, settings: Settings) -> App:
    cache.clear()
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email", "recover", "sign_up"]
    settings.CIAM_SEND_LIMITS = {}
    settings.CIAM_SOCIAL_PROVIDERS = {
        "wechat": {"mini_program": {"app_id": "wx3", "source": "source_wechat_mini_program"}}
    }
    return App()


def is_in(app: App, told: dict[str, Any], gives: str) -> bool:
    """Whether somebody is signed in, as the project chose."""
    assert User.objects.count() == 1
    assert (told["http"], told["status"]) == (200, "signed_in")
    if gives == "session":
        assert "access_token" not in told
        return app.user_id is not None
    assert told["token_type"] == "Bearer"
    assert told["expires_in"] == 7200
    assert "sessionid" not in app.client.cookies
    return bool(told["access_token"] and told["refresh_token"])


def test_it_says_what_there_is(app: App, gives: str) -> None:
    assert app.offered["methods"] == ["password", "sms", "email", "recover", "sign_up"]
    assert app.offered["captcha_for_codes"] is False
    assert app.offered["consents"][0] == {
        "id": "terms",
        "name": "用户协议",
        "url": "https://example.com/terms",
        "is_required": True,
    }
    assert ("csrf_token" in app.offered) is (gives == "session")


def test_a_password_signs_in(app: App, gives: str) -> None:
    assert is_in(app, app.sends("password", username="li", password=PASSWORD), gives)


@pytest.mark.parametrize("gives", ["session"], indirect=True)
def test_next_is_ours_or_none(app: App) -> None:
    given = {"username": "li", "password": PASSWORD}

    told = app.sends("password", **given, next="/cart/")
    assert told["next"] == "/cart/"
    # With the token of the new session, the app goes on.
    app.offered = told
    assert (
        app.sends("password", **given, next="https://evil.example/")["next"]
        != "https://evil.example/"
    )


def test_a_failure_is_the_body_of_the_doors(app: App) -> None:
    told = app.sends("password", username="li", password="wrong")

    assert (told["http"], told["status"]) == (401, 401)
    assert told["code"] == "Operation.Failure.Username.Or.Password.Error"
    assert told["action"] == "change_input"


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({}, "Params.Blank.User.Username", "username"),
        ({"username": "li"}, "Params.Blank.User.Password", "password"),
        ({"username": "li", "password": "x" * 300}, "Params.Illegal.User.Password", "password"),
        (
            {"username": "li", "password": "x", "consent": ["terms"]},
            "Params.Illegal.Consent",
            "consent",
        ),
        (
            {"username": "li", "password": "x", "consent": "terms"},
            "Params.Illegal.Consent",
            "consent",
        ),
        ({"username": "l\0i", "password": "x"}, "Params.Illegal.User.Username", "username"),
    ],
)
def test_what_is_wrong_with_the_input_is_said_at_its_field(
    app: App, ciam: FakeCiam, given: dict[str, Any], code: str, field: str
) -> None:
    told = app.sends("password", **given)

    assert (told["http"], told["code"], told["field"]) == (400, code, field)
    assert not [request for request in ciam.requests if request.stage == "password"]


def test_a_code_signs_in(app: App, gives: str) -> None:
    told = app.sends("sms", phone_number=NUMBER)
    assert told["step"] == "code"
    assert told["sent_to"] == "+86 138****1234"
    assert told["wait"] in (59, 60)
    assert told["fields"] == [{"name": "code", "label": "Verification code"}]
    assert told["others"] == ["resend"]

    assert app.sends("code", code="135790")["code"] == "Operation.Failure.SMS.Code.Error"
    assert is_in(app, app.sends("code", code=CODE), gives)


def test_the_steps_that_ciam_asks_for_are_json_too(app: App, gives: str) -> None:
    told = app.sends("password", username="thorough", password=PASSWORD)
    assert told["step"] == "second_factor"
    assert told["channels"] == {"PWD": "", "SMS": "138****0000"}
    assert app.sends("second_factor", channel="SMS")["step"] == "second_factor_code"
    assert app.sends("second_factor_code", code=CODE)["step"] == "consent"
    told = app.sends("consent")
    assert told["step"] == "profile"
    assert [field["name"] for field in told["fields"]] == ["display_name", "email"]
    assert is_in(app, app.sends("profile", do="skip"), gives)


def test_a_lost_password_is_replaced(app: App) -> None:
    app.sends("recover", receiver="li@example.com")
    told = app.sends("recover_code", code=CODE, password="a-new-passw0rd")

    assert (told["status"], told["detail"]) == (
        "done",
        "Your password has been changed. Sign in with the new one.",
    )


def test_a_picture_comes_as_data(app: App, ciam: FakeCiam, gives: str) -> None:
    ciam.wants_captcha = True
    assert app.sends("sms", phone_number=NUMBER)["code"] == "Params.Blank.CaptchaCode"
    told = app.client.get("/ciam/api/captcha/").json()
    assert told["image"].startswith("data:image/png;base64,")

    told = app.sends(
        "sms", phone_number=NUMBER, captcha=CAPTCHA_TEXT, captcha_id=told["captcha_id"]
    )
    assert told["step"] == "code"


def test_what_is_no_picture_is_not_passed_on(app: App, ciam: FakeCiam) -> None:
    body = {"success": True, "data": {"captchaCode": "1", "image": "data:text/html;base64,PGI+"}}
    ciam.plan("api", LeakyFailure(body=body), times=1)

    answer = app.client.get("/ciam/api/captcha/")
    assert (answer.status_code, answer.json()["code"]) == (503, "unreadable_answer")


@pytest.mark.parametrize("flow", ["", "x", "x" * 10_000, "流"])
def test_a_flow_that_is_none_begins_anew(app: App, flow: str) -> None:
    app.flow = flow
    told = app.sends("code", code=CODE)

    assert (told["http"], told["code"]) == (410, "Operation.Failure.FId.Not.Found")


def test_a_flow_is_of_its_step(app: App) -> None:
    app.sends("sms", phone_number=NUMBER)

    assert app.sends("link_code", code=CODE)["http"] == 410


@pytest.mark.parametrize("body", ["", "[]", "null", "{", "[" * 100_000, '"x"'])
def test_a_body_that_is_no_object_is_refused(app: App, body: str) -> None:
    answer = app.client.post(
        "/ciam/api/password/",
        body,
        content_type="application/json",
        headers={"X-CSRFToken": app.offered.get("csrf_token", "")},
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("name", ["unknown", "email", "mini_program"])
def test_what_is_not_offered_is_not_found(app: App, settings: Settings, name: str) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    settings.CIAM_SOCIAL_PROVIDERS = {}

    answer = app.client.post(
        f"/ciam/api/{name}/",
        {},
        content_type="application/json",
        headers={"X-CSRFToken": app.offered.get("csrf_token", "")},
    )
    assert answer.status_code == 404


@pytest.mark.parametrize("gives", ["session"], indirect=True)
def test_where_a_session_comes_of_it_other_sites_are_kept_out(app: App) -> None:
    app.offered = {}
    told = app.sends("password", username="li", password=PASSWORD)

    assert (told["http"], told["code"]) == (403, "csrf_failed")
    assert app.user_id is None


def test_who_is_switched_off_gets_neither(app: App) -> None:
    app.sends("password", username="li", password=PASSWORD)
    User.objects.update(is_active=False)
    app.client.logout()
    app.offered = app.client.get("/ciam/api/").json()

    assert app.sends("password", username="li", password=PASSWORD)["code"] == "account_inactive"


# --- Tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize("gives", ["token"], indirect=True)
@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_tokens_are_renewed(app: App, ciam: FakeCiam) -> None:
    told = app.sends("password", username="li", password=PASSWORD)
    renewed = app.sends("renew", refresh_token=told["refresh_token"])

    assert renewed["http"] == 200
    assert renewed["access_token"] not in ("", told["access_token"])
    assert renewed["refresh_token"]


@pytest.mark.parametrize("gives", ["token"], indirect=True)
@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({}, 400, "invalid_request"),
        ({"refresh_token": 7}, 400, "invalid_request"),
        ({"refresh_token": "spent"}, 401, "invalid_grant"),
    ],
)
def test_a_refresh_token_that_is_none_gets_none(
    app: App, given: dict[str, Any], status: int, code: str
) -> None:
    told = app.sends("renew", **given)

    assert (told["http"], told["code"]) == (status, code)


@pytest.mark.parametrize("gives", ["session"], indirect=True)
def test_a_session_has_no_tokens_to_renew(app: App) -> None:
    answer = app.client.post("/ciam/api/renew/", {}, content_type="application/json")

    assert answer.status_code == 404


# --- WeChat's mini program --------------------------------------------------------------------


def test_a_mini_program_signs_in_silently(app: App, ciam: FakeCiam, gives: str) -> None:
    code = ciam.accounts.issue_social_code("li")

    assert is_in(app, app.sends("mini_program", login_code=code), gives)
    assert CiamIdentity.objects.get().provider == "wechat-mini_program"


def test_who_is_unknown_gives_their_phone_number(app: App, ciam: FakeCiam, gives: str) -> None:
    told = app.sends("mini_program", login_code="fake:unlinked")
    assert (told["http"], told["code"]) == (401, "Operation.Failure.Mini.Program.Silent.Login")

    told = app.sends("mini_program_phone", login_code="fake:unlinked")
    assert (told["http"], told["action"]) == (400, "give_consent")
    assert is_in(
        app, app.sends("mini_program_phone", login_code="fake:unlinked", phone_code="p"), gives
    )


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("mini_program_phone", {"encrypted_data": "e" * 2000, "iv": "i"}),
        ("mini_program_user_info", {"encrypted_data": "e" * 2000, "iv": "i"}),
    ],
)
def test_encrypted_data_serve_as_well(
    app: App, gives: str, name: str, given: dict[str, str]
) -> None:
    assert is_in(app, app.sends(name, login_code="fake:li", **given), gives)


@pytest.mark.parametrize(
    ("name", "given", "code"),
    [
        ("mini_program", {}, "Params.Blank.Mini.Program.LoginCode"),
        ("mini_program_user_info", {"login_code": "x"}, "Params.Blank.Mini.Program.Userinfo"),
    ],
)
def test_what_wechat_did_not_give_is_named(
    app: App, name: str, given: dict[str, str], code: str
) -> None:
    assert app.sends(name, **given)["code"] == code


def test_a_mini_program_is_limited_but_for_who_signs_in(app: App, settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ("2/min",)}
    for _ in range(3):
        assert app.sends("mini_program", login_code="fake:li")["http"] == 200
        app.offered = app.client.get("/ciam/api/").json()
    for _ in range(2):
        assert app.sends("mini_program", login_code="spent")["http"] == 401

    told = app.sends("mini_program", login_code="fake:li")
    assert (told["http"], told["code"]) == (429, "too_many_requests")


def test_an_unknown_person_of_wechats_may_be_linked(app: App, gives: str) -> None:
    told = app.sends("mini_program", login_code="fake:stranger")
    assert told["step"] == "link"
    assert is_in(app, app.sends("link", do="create"), gives)
