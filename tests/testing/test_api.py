"""Tests of the fake's API, with the checks of a real server."""

from __future__ import annotations

import time

import pytest
import requests
from joserfc import jwt

from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import (
    CAPTCHA_TEXT,
    CODE,
    PASSWORD,
    Accounts,
    username_of_identifier,
)
from ciam_django.testing.api import API_OPERATIONS, Operation
from ciam_django.testing.captcha_image import CAPTCHA_PNG
from ciam_django.testing.failures import STAGES, RefusedError
from tests.testing.test_server import fake, http, token_for

__all__ = ["fake", "http"]

SMS = {"type": "SMS", "phoneNumber": "13800000000"}


@pytest.fixture
def application(fake: FakeCiam, http: requests.Session) -> requests.Session:
    """An HTTP session that sends the application's access token."""
    client = fake.client()
    body = {
        "client_id": client["client_id"],
        "client_secret": client["client_secret"],
        "grant_type": "client_credentials",
    }
    token = http.post(fake.address("oauth/token"), json=body).json()["data"]["access_token"]
    http.headers["Authorization"] = f"Bearer {token}"
    return http


def code_of(answer: requests.Response) -> str:
    body = answer.json()
    return str(body.get("error") or body["message"])


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("login/pwd", {}, "Params.Blank.User.Username"),
        ("login/pwd", {"username": "li"}, "Params.Blank.User.Password"),
        ("login/pwd", {"username": "li", "password": 7}, "Params.Blank.User.Password"),
        ("login/pwd", [], "Params.Illegal"),
        ("login/obtain_code", {}, "Params.Blank.User.Phone.Number"),
        ("login/obtain_code", {"phoneNumber": "138"}, "Params.Blank.Type"),
        ("login/obtain_code", {"type": "FAX", "phoneNumber": "138"}, "Params.Illegal.Type"),
        (
            "login/obtain_code",
            {"type": "SMS", "phoneNumber": "li"},
            "Params.Illegal.User.Phone.Number",
        ),
        ("login/obtain_code", {"type": "EMAIL"}, "Params.Blank.User.Email"),
        ("login/verify_code", SMS, "Params.Blank.FId"),
        ("login/verify_code", {**SMS, "fId": "x"}, "Operation.Failure.FId.Not.Found"),
        ("login/social", {"code": "x"}, "Params.Blank.AuthenticateInformation.EnterpriseAuthId"),
        (
            "login/social",
            {"enterpriseAuthId": "source_wechat"},
            "Params.Blank.Social.Callback.Code",
        ),
    ],
)
@pytest.mark.covering
def test_a_missing_or_invalid_parameter_is_refused_with_its_own_code(
    fake: FakeCiam, application: requests.Session, path: str, body: object, code: str
) -> None:
    assert code_of(application.post(fake.address(path), json=body)) == code


def test_a_body_that_is_not_json_is_refused(fake: FakeCiam, application: requests.Session) -> None:
    answer = application.post(fake.address("login/pwd"), data="username=li")

    assert code_of(answer) == "Unsupported.Media.Type"


def test_the_applications_calls_need_an_application_token_with_the_scope(
    fake: FakeCiam, application: requests.Session
) -> None:
    assert application.get(fake.address("captcha")).json()["success"] is True
    assert application.head(fake.address("captcha")).status_code == 200
    assert code_of(application.get(fake.address("management/user"))) == "Operation.Denied"
    fake.expire_application_tokens()
    assert code_of(application.get(fake.address("captcha"))) == "invalid_token"


def test_an_access_token_is_accepted_in_the_query(fake: FakeCiam, http: requests.Session) -> None:
    token = token_for(fake, http)["access_token"]

    assert http.get(f"{fake.address('user/info')}?access_token={token}").json()["success"] is True


def test_logout_ends_the_access_token(fake: FakeCiam, http: requests.Session) -> None:
    headers = {"Authorization": f"Bearer {token_for(fake, http)['access_token']}"}

    assert http.post(fake.address("user/logout"), headers=headers).json()["success"] is True
    assert code_of(http.get(fake.address("user/info"), headers=headers)) == "invalid_token"


def test_a_code_ends_after_five_wrong_attempts_or_five_minutes(
    fake: FakeCiam, application: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(code: str) -> str:
        body = {**SMS, "fId": flow, "code": code}
        return code_of(application.post(fake.address("login/verify_code"), json=body))

    answer = application.post(fake.address("login/obtain_code"), json=SMS).json()
    flow = answer["data"]["fId"]
    assert submit("") == "Params.Blank.Code"
    assert [submit("000000") for _ in range(6)] == [
        *["Operation.Failure.SMS.Code.Error"] * 5,
        "Operation.Failure.SMS.Code.Too.Frequency",
    ]
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 301)
    assert submit(CODE) == "Operation.Failure.SMS.Code.Not.Find"
    monkeypatch.setattr(time, "monotonic", lambda: now() + 601)
    assert submit(CODE) == "Operation.Failure.FId.Not.Found"


def test_a_captcha_is_valid_for_one_attempt(fake: FakeCiam, application: requests.Session) -> None:
    def submit(**captcha: str) -> str:
        body = {"username": "li", "password": "wrong", **captcha}
        return code_of(application.post(fake.address("login/pwd"), json=body))

    for _ in range(3):
        submit()
    assert submit(captchaCode="unknown") == "Operation.Failure.Captcha.Invalid"
    captcha = application.get(fake.address("captcha")).json()["data"]["captchaCode"]
    assert submit(captchaCode=captcha) == "Operation.Failure.Captcha.Error"
    assert submit(captchaCode=captcha, captchaText="fake") == "Operation.Failure.Captcha.Invalid"


def test_a_password_can_be_the_second_factor(fake: FakeCiam, application: requests.Session) -> None:
    body = {"username": "careful", "password": PASSWORD}
    step = application.post(fake.address("login/pwd"), json=body).json()["data"]
    proof = {"fId": step["fId"], "type": "PWD", "password": PASSWORD}

    answer = application.post(fake.address("verify_second_factor"), json=proof).json()
    assert answer["data"]["access_token"]


def test_a_user_name_can_be_registered_once() -> None:
    accounts = Accounts()
    accounts.create_account("li")

    with pytest.raises(Exception, match=r"Params\.Exist\.User\.Username"):
        accounts.create_account("li")


def test_an_api_call_fails_as_the_user_name_asks(
    fake: FakeCiam, application: requests.Session
) -> None:
    body = {"username": "fail:Operation.Failure.User.Locked", "password": PASSWORD}
    answer = application.post(fake.address("login/pwd"), json=body)
    assert code_of(answer) == "Operation.Failure.User.Locked: as the user name asked"

    body["username"] = "html:password"
    assert application.post(fake.address("login/pwd"), json=body).status_code == 405


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("login/update_pwd", {}, "Params.Blank.FId"),
        ("login/consent", {"fId": "x"}, "Operation.Failure.FId.Not.Found"),
        ("login/mini_program/silent", {}, "Params.Blank.AuthenticateInformation.EnterpriseAuthId"),
        (
            "login/mini_program/silent",
            {"enterpriseAuthId": "source_wechat_mini_program"},
            "Params.Blank.Mini.Program.LoginCode",
        ),
        ("login/mini_program/phone", {}, "Params.Blank.Mini.Program.Phone"),
        ("login/mini_program/userinfo", {"iv": "x"}, "Params.Blank.Mini.Program.Userinfo"),
    ],
)
@pytest.mark.covering
def test_the_calls_of_later_steps_and_mini_programs_check_their_parameters(
    fake: FakeCiam, application: requests.Session, path: str, body: dict[str, str], code: str
) -> None:
    assert code_of(application.post(fake.address(path), json=body)) == code


def test_a_step_out_of_order_is_refused(fake: FakeCiam, application: requests.Session) -> None:
    body = {"username": "thorough", "password": PASSWORD}
    flow = application.post(fake.address("login/pwd"), json=body).json()["data"]
    assert flow["flowType"] == "NEED_TWO_FACTOR"

    answer = application.post(fake.address("login/consent"), json={"fId": flow["fId"]})
    assert code_of(answer) == "Operation.Failure.FId.Not.Found"


def test_all_consents_are_required_if_the_tenant_requires_consents(
    fake: FakeCiam, application: requests.Session
) -> None:
    fake.requires_consents = True
    body = {"username": "li", "password": PASSWORD, "consents": ["terms"]}
    assert code_of(application.post(fake.address("login/pwd"), json=body)) == (
        "Params.Illegal.Consent"
    )

    body["consents"] = ["terms", "privacy"]
    assert application.post(fake.address("login/pwd"), json=body).json()["success"]


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "Params.Blank.User.Password"),
        (PASSWORD, "Params.Illegal.User.Password.Same.Old"),
        ("onlyletters", "Params.Illegal.User.Password.Policy"),
        ("1234567890", "Params.Illegal.User.Password.Policy"),
        ("a1", "Params.Illegal.User.Password.Policy"),
    ],
)
def test_a_new_password_that_breaks_the_policy_is_refused(password: str, code: str) -> None:
    with pytest.raises(RefusedError) as raised:
        Accounts().set_password("li", password)

    assert raised.value.failure.code == code


def test_each_identifier_selects_its_own_user_name() -> None:
    assert username_of_identifier("+86 138 0000 0001") == "nobody13800000001"
    assert username_of_identifier("13800001234") == "13800001234"
    assert username_of_identifier("li@example.com") == "li@example.com"


def test_a_captcha_can_be_spent_once() -> None:
    accounts = Accounts()
    captcha = accounts.issue_captcha()
    assert CAPTCHA_PNG.startswith(b"\x89PNG")

    accounts.spend_captcha({"captchaCode": captcha, "captchaText": CAPTCHA_TEXT.upper()})
    with pytest.raises(RefusedError):
        accounts.spend_captcha({"captchaCode": captcha, "captchaText": CAPTCHA_TEXT})


def test_the_tenant_selects_the_id_token_of_the_api(
    fake: FakeCiam, application: requests.Session
) -> None:
    def claims() -> dict[str, object]:
        body = {"username": "li", "password": PASSWORD}
        token = application.post(fake.address("login/pwd"), json=body).json()["data"]["id_token"]
        return dict(jwt.decode(token, fake.key, ["RS256"]).claims)

    assert claims()["iss"] == fake.issuer
    assert "nonce" not in claims()
    fake.api_id_token = "ciam"
    assert "iss" not in claims()


@pytest.mark.parametrize("call", [call for calls in API_OPERATIONS.values() for call in calls])
def test_each_api_call_has_a_stage_that_can_fail(call: Operation) -> None:
    assert call.stage in STAGES
