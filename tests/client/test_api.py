"""CIAM's API, over real HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django.client import CiamClient
from ciam_django.client.app import ciam_app
from ciam_django.client.endpoints import ENDPOINTS
from ciam_django.client.results import NextStep, SignedIn
from ciam_django.errors import CiamError
from ciam_django.lookup import meaning_of
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CAPTCHA_TEXT, CODE, PASSWORD
from ciam_django.testing.fixtures import cache_keys_of
from tests.browser import query_of

SMS = {"type": "SMS", "phoneRegion": "86", "phoneNumber": "13800000000"}
RECIPIENT = {"phoneRegion": "86", "phoneNumber": "13800000000"}


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture
def client(ciam: FakeCiam) -> CiamClient:
    return CiamClient()


@pytest.fixture
def access_token(ciam: FakeCiam) -> str:
    app = ciam_app()
    callback = "http://testserver/ciam/callback/"
    address = app.authorization_url(
        redirect_uri=callback, state="s" * 32, nonce="n" * 32, code_verifier="v" * 43
    )
    code = query_of(ciam.authorize(address, username="li"))["code"]
    token = app.exchange_code(code=code, redirect_uri=callback, code_verifier="v" * 43)
    return str(token["access_token"])


def code_of(function: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(CiamError) as raised:
        function()
    return raised.value.code, raised.value.stage


def stages(ciam: FakeCiam) -> list[str]:
    return [request.stage for request in ciam.requests]


# --- The user's access token ------------------------------------------------------------------


def test_user_info_returns_the_user_of_the_token(client: CiamClient, access_token: str) -> None:
    assert client.user_info(access_token).username == "li"


def test_the_error_of_a_bad_token_does_not_contain_the_token(
    client: CiamClient, access_token: str
) -> None:
    with pytest.raises(CiamError) as raised:
        client.user_info(f"{access_token}x")

    assert (raised.value.code, raised.value.stage) == ("invalid_token", "api")
    assert access_token not in raised.value.upstream_text


def test_a_failure_body_with_status_200_raises_an_error(ciam: FakeCiam, access_token: str) -> None:
    ciam.fail("api", code="Operation.Failure.User.Disabled", status=200)

    assert code_of(lambda: CiamClient().user_info(access_token))[0] == (
        "Operation.Failure.User.Disabled"
    )


def test_a_missing_api_base_url_is_a_misconfiguration(settings: Settings) -> None:
    client = {**settings.AUTHLIB_OAUTH_CLIENTS["ciam"], "api_base_url": ""}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}

    assert code_of(lambda: CiamClient().user_info("token")) == ("bad_configuration", "api")


@pytest.mark.parametrize(
    "call",
    [
        lambda client, token: client.user_check(token),
        lambda client, token: client.operate_check(token, "UPDATE_PASSWORD"),
        lambda client, token: client.change_user_info(token, displayName="Li"),
        lambda client, token: client.login_history(token),
        lambda client, token: client.agreements(token),
        lambda client, token: client.recall_agreement(token, "terms"),
        lambda client, token: client.change_password(token, oldPassword="a", password="b"),
        lambda client, token: client.change_phone(token, "flow", CODE),
        lambda client, token: client.change_email(token, "flow", CODE),
        lambda client, token: client.close_account(token),
        lambda client, token: client.user_logout(token),
    ],
)
@pytest.mark.covering
def test_a_call_with_a_users_token_needs_a_valid_token(
    client: CiamClient,
    ciam: FakeCiam,
    access_token: str,
    call: Callable[[CiamClient, str], object],
) -> None:
    call(client, access_token)

    assert code_of(lambda: call(client, "bad"))[0] == "invalid_token"
    assert "application" not in stages(ciam)


# --- Signing in -------------------------------------------------------------------------------


def test_the_data_of_a_login_page_are_returned(client: CiamClient) -> None:
    assert client.login_page().second_factors == ("pwd", "sms")
    assert not client.login_page().wants_captcha_for_codes
    assert [consent.id for consent in client.consents()] == ["terms", "privacy"]
    sources = client.auth_sources()
    assert sources[0].type == "wechat"
    assert client.adapter_info(sources[0].id)["type"] == "wechat"
    assert client.captcha().image.startswith("data:image/png;base64,")


def test_a_password_signs_in(client: CiamClient) -> None:
    result = client.password_login("li", PASSWORD)

    assert isinstance(result, SignedIn)
    assert client.user_info(result.access_token).user_id == result.user_id
    assert result.access_token not in repr(result)


def test_wrong_passwords_require_a_captcha_and_then_lock_the_account(client: CiamClient) -> None:
    wrong = ("Operation.Failure.Username.Or.Password.Error", "password")
    for _ in range(3):
        assert code_of(lambda: client.password_login("li", "wrong")) == wrong
    assert code_of(lambda: client.password_login("li", PASSWORD))[0] == "Params.Blank.CaptchaCode"

    def sign_in_with_captcha(password: str, text: str = CAPTCHA_TEXT) -> SignedIn | NextStep:
        captcha = client.captcha().id
        return client.password_login("li", password, captchaCode=captcha, captchaText=text)

    assert code_of(lambda: sign_in_with_captcha(PASSWORD, "no"))[0] == (
        "Operation.Failure.Captcha.Error"
    )
    assert code_of(lambda: sign_in_with_captcha("wrong")) == wrong
    assert code_of(lambda: sign_in_with_captcha("wrong"))[0] == (
        "Operation.Failure.User.Locked.And.Password.Error"
    )
    assert code_of(lambda: sign_in_with_captcha(PASSWORD))[0] == "Operation.Failure.User.Locked"

    client.unlock_user(client.create_user(username="li").user_id)
    assert isinstance(client.password_login("li", PASSWORD), SignedIn)


def test_users_are_disabled_and_enabled(client: CiamClient) -> None:
    user_id = client.create_user(username="li").user_id
    assert client.find_user(user_id).username == "li"
    client.disable_user(user_id)
    assert code_of(lambda: client.password_login("li", PASSWORD))[0] == (
        "Operation.Failure.User.Disabled"
    )
    client.enable_user(user_id)

    assert isinstance(client.password_login("li", PASSWORD), SignedIn)
    assert code_of(lambda: client.find_user("nobody"))[0] == "Operation.Failure.User.Not.Exist"


@pytest.mark.parametrize("state", ["locked", "disabled", "archived"])
def test_an_unusable_account_has_its_own_code(client: CiamClient, state: str) -> None:
    code = f"Operation.Failure.User.{state.title()}"

    assert code_of(lambda: client.password_login(f"{state}-li", PASSWORD))[0] == code


def test_a_next_step_is_a_value_and_not_a_sign_in(client: CiamClient) -> None:
    step = client.password_login("careful-li", PASSWORD)

    assert isinstance(step, NextStep)
    assert (step.flow_type, step.additional["phoneNumber"]) == ("NEED_TWO_FACTOR", "138****0000")
    assert client.prepare_second_factor(step.flow_id, "SMS") == step.flow_id
    wrong = code_of(lambda: client.verify_second_factor(step.flow_id, "SMS", code="000000"))
    assert wrong == ("Operation.Failure.SMS.Code.Error", "verify_code")
    done = client.verify_second_factor(step.flow_id, "SMS", code=CODE)
    assert isinstance(done, SignedIn)
    assert code_of(lambda: client.verify_second_factor(step.flow_id, "SMS", code=CODE))[0] == (
        "Operation.Failure.FId.Not.Found"
    )


def test_a_sent_code_signs_in_once(client: CiamClient) -> None:
    flow_id = client.obtain_code("SMS", **RECIPIENT)
    too_often = ("Operation.Failure.Send.SMS.Too.Frequency", "send_code")
    assert code_of(lambda: client.obtain_code("SMS", **RECIPIENT)) == too_often

    assert isinstance(client.verify_code(flow_id, CODE, **SMS), SignedIn)
    assert code_of(lambda: client.verify_code(flow_id, CODE, **SMS))[0] == (
        "Operation.Failure.FId.Not.Found"
    )


def test_a_code_is_refused_with_another_recipient(client: CiamClient) -> None:
    flow_id = client.obtain_code("EMAIL", email="li@example.com")
    other = code_of(
        lambda: client.verify_code(flow_id, CODE, type="EMAIL", email="wang@example.com")
    )

    assert other[0] == "Operation.Failure.Email.Not.Same"


def test_a_social_code_signs_in_once(client: CiamClient, ciam: FakeCiam) -> None:
    code = ciam.accounts.issue_social_code("li")

    assert isinstance(client.social_login("source_wechat", code), SignedIn)
    assert code_of(lambda: client.social_login("source_wechat", code)) == (
        "Operation.Failure.Social.Code.Expired",
        "social",
    )
    assert code_of(lambda: client.social_login("source_none", code))[0] == (
        "Operation.Failure.AuthenticateInformation.Not.Found"
    )


def test_signing_up_creates_an_account_once(client: CiamClient) -> None:
    flow_id = client.register_obtain_code("SMS", **RECIPIENT)
    assert isinstance(client.register_submit(flow_id, code=CODE, username="new"), SignedIn)

    assert code_of(lambda: client.create_user(username="new"))[0] == "Params.Exist.User.Username"


def test_success_without_a_token_is_not_a_sign_in(client: CiamClient, ciam: FakeCiam) -> None:
    ciam.misbehave("password", "no_token")

    assert code_of(lambda: client.password_login("li", PASSWORD)) == (
        "unreadable_answer",
        "password",
    )


# --- The application's token ------------------------------------------------------------------


def test_all_calls_share_an_application_token(ciam: FakeCiam) -> None:
    client = CiamClient()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: client.captcha(), range(12)))

    assert stages(ciam).count("application") == 1
    client.create_user(username="li")
    assert stages(ciam).count("application") == 2


def test_the_application_token_is_encrypted_in_the_cache(
    client: CiamClient, ciam: FakeCiam
) -> None:
    client.captcha()
    (token,) = ciam.application_tokens
    cached = [cache.get(key) for key in cache_keys_of(ciam)]

    assert any(cached)
    assert token not in repr(cached)


def test_another_secret_key_fetches_another_application_token(
    ciam: FakeCiam, settings: Settings
) -> None:
    CiamClient().captcha()
    settings.SECRET_KEY = "another"
    CiamClient().captcha()

    assert stages(ciam).count("application") == 2


def test_the_application_token_is_refreshed_before_its_expiry(
    client: CiamClient, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.captcha()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 6700)
    ciam.fail("application", code="Service.Internal.Error", status=500)
    client.captcha()
    assert stages(ciam).count("application") == 2

    cache.clear()
    monkeypatch.setattr(time, "time", lambda: now() + 7300)
    client.captcha()
    assert stages(ciam).count("application") == 3


def test_an_expired_application_token_is_replaced_once(client: CiamClient, ciam: FakeCiam) -> None:
    client.captcha()
    ciam.expire_application_tokens()

    assert isinstance(client.password_login("li", PASSWORD), SignedIn)
    assert stages(ciam).count("application") == 2

    # The token is not replaced a second time in the same minute.
    ciam.fail("password", code="invalid_token", status=401, times=None)
    for _ in range(3):
        assert code_of(lambda: client.password_login("li", PASSWORD)) == (
            "bad_configuration",
            "password",
        )
    assert stages(ciam).count("application") == 2


@pytest.mark.parametrize(
    ("second", "code"),
    [("invalid_token", "bad_configuration"), ("Service.Internal.Error", "Service.Internal.Error")],
)
@pytest.mark.covering
def test_a_new_application_token_that_is_refused_is_a_misconfiguration(
    client: CiamClient, ciam: FakeCiam, second: str, code: str
) -> None:
    ciam.fail("password", code="invalid_token", status=401)
    ciam.fail("password", code=second, status=500)

    assert code_of(lambda: client.password_login("li", PASSWORD)) == (code, "password")
    assert stages(ciam).count("application") == 2


@pytest.mark.parametrize(
    ("code", "answered"),
    [
        ("invalid_client", "invalid_client"),
        ("invalid_grant", "bad_configuration"),
        ("invalid_token", "bad_configuration"),
        ("access_denied", "bad_configuration"),
        ("Service.Internal.Error", "Service.Internal.Error"),
    ],
)
def test_a_failed_fetch_of_the_application_token_signs_no_user_out(
    client: CiamClient, ciam: FakeCiam, code: str, answered: str
) -> None:
    ciam.fail("application", code=code, status=401)

    assert code_of(lambda: client.password_login("li", PASSWORD)) == (answered, "password")
    assert meaning_of(answered).status >= 500


# --- The table --------------------------------------------------------------------------------


def test_a_setting_corrects_a_row_of_the_table(
    client: CiamClient, settings: Settings, ciam: FakeCiam, access_token: str
) -> None:
    settings.CIAM_ENDPOINTS = {"change_password": {"path": "user/info", "method": "PUT"}}
    client.change_password(access_token, password="new")

    assert ciam.requests[-1].path.endswith("/user/info")


@pytest.mark.parametrize("row", [{"pth": "x"}, {"credential": "nobody"}])
def test_a_misspelt_row_is_a_misconfiguration(
    client: CiamClient, settings: Settings, row: dict[str, str]
) -> None:
    settings.CIAM_ENDPOINTS = {"captcha": row}

    assert code_of(client.captcha) == ("bad_configuration", "api")


def test_every_row_has_a_method_of_the_client() -> None:
    assert set(ENDPOINTS) <= {*dir(CiamClient), "application_token"}


def test_a_parameter_is_sent_under_the_tenants_name(
    client: CiamClient, ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_ENDPOINTS = {"password_login": {"parameters": {"consents": "consentUuids"}}}
    client.password_login("li", PASSWORD, consents=["terms"])

    sent = json.loads(ciam.requests[-1].body)
    assert sent == {"username": "li", "password": PASSWORD, "consentUuids": ["terms"]}
