"""Signing in with JSON, for front ends and mini programs."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.conf import clear_settings_caches
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CAPTCHA_TEXT, CODE, PASSWORD
from tests.browser import Browser
from tests.planting import LeakyFailure
from tests.rows import for_each_row

NUMBER = "138 0000 1234"
AGREED = ["terms", "privacy"]


@pytest.fixture(params=["session", "token"])
def sign_in_mode(request: pytest.FixtureRequest, settings: Settings) -> str:
    settings.CIAM_API_SIGN_IN = request.param
    return str(request.param)


@pytest.fixture
def mode() -> str:
    return "ciam"


class App:
    """A front end that sends and reads only JSON."""

    def __init__(self) -> None:
        self.client = Client(enforce_csrf_checks=True, headers={"Accept": "application/json"})
        self.offered = self.client.get("/ciam/api/").json()
        self.flow = ""

    def send(self, name: str, **members: object) -> Any:
        """Send a step; return the members of the answer, with the HTTP status as ``http``."""
        body = {"consent": AGREED, **({"flow": self.flow} if self.flow else {}), **members}
        response = self.client.post(
            f"/ciam/api/{name}/",
            body,
            content_type="application/json",
            headers={"X-CSRFToken": self.offered.get("csrf_token", "")},
        )
        answer = response.json()
        self.flow = answer.get("flow", self.flow)
        return {"http": response.status_code, **answer}

    @property
    def user_id(self) -> str | None:
        user_id: str | None = self.client.session.get("_auth_user_id")
        return user_id


@pytest.fixture
def app(ciam: FakeCiam, sign_in_mode: str, db: None, settings: Settings) -> App:
    cache.clear()
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email", "recover", "sign_up"]
    settings.CIAM_SEND_LIMITS = {}
    settings.CIAM_SOCIAL_PROVIDERS = {
        "wechat": {"mini_program": {"app_id": "wx3", "source": "source_wechat_mini_program"}}
    }
    return App()


def is_signed_in(app: App, answer: dict[str, Any], sign_in_mode: str) -> bool:
    """True if the app has the session or the tokens, as ``CIAM_API_SIGN_IN`` requires."""
    assert User.objects.count() == 1
    assert (answer["http"], answer["status"]) == (200, "signed_in")
    if sign_in_mode == "session":
        assert "access_token" not in answer
        return app.user_id is not None
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 7200
    assert "sessionid" not in app.client.cookies
    return bool(answer["access_token"] and answer["refresh_token"])


def test_the_first_answer_describes_the_login_methods_and_the_terms(
    app: App, sign_in_mode: str
) -> None:
    assert app.offered["methods"] == ["password", "sms", "email", "recover", "sign_up"]
    steps = {step["step"]: step["fields"] for step in app.offered["steps"]}
    assert list(steps) == app.offered["methods"]
    assert [field["name"] for field in steps["password"]] == ["username", "password", "consent"]
    assert app.offered["captcha_for_codes"] is False
    assert app.offered["phone_regions"][0] == {
        "id": "CN",
        "calling_code": "86",
        "name": "Mainland China",
    }
    assert str(app.offered).count("Mainland China") == 1
    assert app.offered["consents"][0] == {
        "id": "terms",
        "name": "用户协议",
        "lang": "zh-hans",
        "url": "https://example.com/terms",
        "is_required": True,
    }
    assert ("csrf_token" in app.offered) is (sign_in_mode == "session")


def test_a_password_signs_in(app: App, sign_in_mode: str) -> None:
    assert is_signed_in(app, app.send("password", username="li", password=PASSWORD), sign_in_mode)


@pytest.mark.parametrize("sign_in_mode", ["session"], indirect=True)
def test_next_on_another_host_is_ignored(app: App) -> None:
    credentials = {"username": "li", "password": PASSWORD}

    answer = app.send("password", **credentials, next="/cart/")
    assert answer["next"] == "/cart/"
    # The answer has the CSRF token of the new session.
    app.offered = answer
    assert (
        app.send("password", **credentials, next="https://evil.example/")["next"]
        != "https://evil.example/"
    )


def test_a_failure_has_the_json_body_of_the_entry_points(app: App) -> None:
    answer = app.send("password", username="li", password="wrong")

    assert (answer["http"], answer["status"]) == (401, 401)
    assert answer["code"] == "Operation.Failure.Username.Or.Password.Error"
    assert answer["action"] == "change_input"


@pytest.mark.parametrize(
    ("members", "code", "field"),
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
def test_invalid_input_is_refused_with_its_field_before_ciam_is_called(
    app: App, ciam: FakeCiam, members: dict[str, Any], code: str, field: str
) -> None:
    answer = app.send("password", **members)

    assert (answer["http"], answer["code"], answer["field"]) == (400, code, field)
    assert not [request for request in ciam.requests if request.stage == "password"]


def test_a_code_signs_in(app: App, sign_in_mode: str) -> None:
    answer = app.send("sms", phone_number=NUMBER)
    assert answer["step"] == "code"
    assert answer["sent_to"] == "+86 138****1234"
    assert answer["wait"] in (59, 60)
    assert answer["fields"] == [
        {
            "name": "code",
            "label": "Verification code",
            "type": "text",
            "required": True,
            "autocomplete": "one-time-code",
            "inputmode": "numeric",
            "maxlength": 1000,
            "choices": None,
        }
    ]
    assert answer["others"] == ["resend"]

    assert app.send("code", code="135790")["code"] == "Operation.Failure.SMS.Code.Error"
    # A number has lost the zeros at its start.
    assert app.send("code", code=int(CODE))["code"] == "Operation.Failure.SMS.Code.Error"
    pasted = f"【某某】您的验证码是{CODE}，5分钟内有效"
    assert is_signed_in(app, app.send("code", code=pasted), sign_in_mode)


def test_an_app_that_sends_its_flow_again_gets_the_step_of_the_code(
    app: App, settings: Settings
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/min",)}
    app.send("sms", phone_number=NUMBER)

    answer = app.send("sms", phone_number=NUMBER)
    assert (answer["http"], answer["step"]) == (200, "code")
    # Another recipient gets a code, and a browser without the flow is told to wait.
    assert app.send("sms", phone_number="138 0000 4321")["sent_to"].endswith("4321")
    app.flow = ""
    assert app.send("sms", phone_number=NUMBER)["http"] == 429


def test_the_code_of_a_linked_account_has_a_flow_of_its_own(app: App, sign_in_mode: str) -> None:
    link_flow = app.send("mini_program", login_code="fake:stranger")["flow"]
    assert app.send("link", receiver=NUMBER)["step"] == "link_code"

    app.flow = link_flow
    assert app.send("link", receiver="13800004321")["sent_to"].endswith("4321")
    assert is_signed_in(app, app.send("link_code", code=CODE), sign_in_mode)


def test_the_next_steps_of_ciam_are_json(app: App, sign_in_mode: str) -> None:
    answer = app.send("password", username="thorough", password=PASSWORD)
    assert answer["step"] == "second_factor"
    assert answer["channels"] == {"PWD": "", "SMS": "138****0000"}
    assert app.send("second_factor", channel="SMS")["step"] == "second_factor_code"
    assert app.send("second_factor_code", code=CODE)["step"] == "consent"
    answer = app.send("consent")
    assert answer["step"] == "profile"
    assert [field["name"] for field in answer["fields"]] == ["display_name", "email"]
    assert is_signed_in(app, app.send("profile", do="skip"), sign_in_mode)


@pytest.mark.parametrize("sign_in_mode", ["session"], indirect=True)
def test_an_app_gets_the_fields_that_the_form_asks_for_in_the_language_of_the_request(
    app: App, settings: Settings
) -> None:
    # The texts are those of zh-hant, whose form for Taiwan asks for no city.
    settings.LANGUAGES = [("zh-hk", "Chinese (Hong Kong)")]
    app.client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-HK"
    fields = app.send("password", username="unfinished_options", password=PASSWORD)["fields"]
    refused = app.send("profile", **{field["name"]: "" for field in fields})

    assert "city" in [field["name"] for field in fields]
    assert refused["field"] in [field["name"] for field in fields]


def test_a_lost_password_is_replaced(app: App) -> None:
    app.send("recover", receiver="li@example.com")
    answer = app.send("recover_code", code=CODE, password="a-new-passw0rd")

    assert (answer["status"], answer["detail"]) == (
        "done",
        "Your password has been changed. Sign in with the new one.",
    )


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
@pytest.mark.parametrize("step", ["recover_code", "new_password"])
def test_a_new_password_ends_the_other_sessions_of_the_person_only(
    app: App, ciam: FakeCiam, sign_in_mode: str, step: str
) -> None:
    name = "li@example.com" if step == "recover_code" else "stale-li"
    own, of_wang = Browser(ciam), Browser(ciam)
    own.sign_in(name)
    of_wang.sign_in("wang")
    if step == "recover_code":
        app.send("recover", receiver="li@example.com")
        assert app.send("recover_code", code=CODE, password="a-new-passw0rd")["status"] == "done"
    else:
        assert app.send("password", username=name, password=PASSWORD)["step"] == "new_password"
        assert app.send("new_password", password="a-new-passw0rd")["status"] == "signed_in"
        assert (app.user_id is not None) == (sign_in_mode == "session")

    assert own.user_id is None
    assert of_wang.user_id


def test_a_number_without_a_country_code_belongs_to_the_region_that_the_app_sends(
    app: App, sign_in_mode: str
) -> None:
    sent = app.send("sms", phone_number="0912345678", phone_region="TW")
    assert sent["sent_to"] == "+886 91****678"

    for region, code in (
        ("CN", "phone_region_mismatch"),
        (None, "phone_region_mismatch"),
        ("886", "unsupported_phone_region"),
        (["TW"], "unsupported_phone_region"),
    ):
        answer = app.send("recover", receiver="0912345678", phone_region=region)
        assert (answer["http"], answer["code"], answer["field"]) == (400, code, "phone_number")


@pytest.mark.parametrize("sign_in_mode", ["session"], indirect=True)
@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("lacks", ["user", "issuer"])
@pytest.mark.covering
def test_a_lost_password_is_replaced_although_the_person_is_not_known(
    app: App, ciam: FakeCiam, lacks: str
) -> None:
    Browser(ciam).sign_in("li")
    app.send("recover", receiver="li@example.com")
    if lacks == "issuer":
        clear_settings_caches()
        cache.clear()
        ciam.fail("discovery", code="Service.Internal.Error", status=500, times=None)
    else:
        ciam.misbehave("recover", "no_token")
    answer = app.send("recover_code", code=CODE, password="a-new-passw0rd")
    ciam.reset()

    assert answer["status"] == "done"
    assert CiamSession.objects.active().count() == 1


def test_the_image_of_a_captcha_is_a_data_url(app: App, ciam: FakeCiam, sign_in_mode: str) -> None:
    ciam.wants_captcha = True
    assert app.send("sms", phone_number=NUMBER)["code"] == "Params.Blank.CaptchaCode"
    answer = app.client.get("/ciam/api/captcha/").json()
    assert answer["image"].startswith("data:image/png;base64,")

    answer = app.send(
        "sms", phone_number=NUMBER, captcha=CAPTCHA_TEXT, captcha_id=answer["captcha_id"]
    )
    assert answer["step"] == "code"


def test_a_captcha_that_is_not_an_image_is_refused(app: App, ciam: FakeCiam) -> None:
    body = {"success": True, "data": {"captchaCode": "1", "image": "data:text/html;base64,PGI+"}}
    ciam.plan("api", LeakyFailure(body=body), times=1)

    response = app.client.get("/ciam/api/captcha/")
    assert (response.status_code, response.json()["code"]) == (503, "unreadable_answer")


@pytest.mark.parametrize("flow", ["", "x", "x" * 10_000, "流"])
def test_an_invalid_flow_is_answered_as_expired(app: App, flow: str) -> None:
    app.flow = flow
    answer = app.send("code", code=CODE)

    assert (answer["http"], answer["code"]) == (410, "Operation.Failure.FId.Not.Found")


def test_a_flow_is_refused_at_another_step(app: App) -> None:
    app.send("sms", phone_number=NUMBER)

    assert app.send("link_code", code=CODE)["http"] == 410


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", "{", "[" * 10_000, "[" * 100_000, '"x"', '{"a": "%s"}' % ("b" * 16_384)],
)
@pytest.mark.covering
def test_a_body_that_is_not_an_object_is_refused(app: App, body: str) -> None:
    response = app.client.post(
        "/ciam/api/password/",
        body,
        content_type="application/json",
        headers={"X-CSRFToken": app.offered.get("csrf_token", "")},
    )

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("name", ["unknown", "email", "mini_program"])
def test_a_step_that_is_not_offered_is_not_found(app: App, settings: Settings, name: str) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    settings.CIAM_SOCIAL_PROVIDERS = {}

    response = app.client.post(
        f"/ciam/api/{name}/",
        {},
        content_type="application/json",
        headers={"X-CSRFToken": app.offered.get("csrf_token", "")},
    )
    assert response.status_code == 404


@pytest.mark.parametrize("sign_in_mode", ["session"], indirect=True)
def test_a_sign_in_with_a_session_needs_a_csrf_token(app: App) -> None:
    app.offered = {}
    answer = app.send("password", username="li", password=PASSWORD)

    assert (answer["http"], answer["code"]) == (403, "csrf_failed")
    assert app.user_id is None


def test_an_inactive_user_is_refused(app: App) -> None:
    app.send("password", username="li", password=PASSWORD)
    User.objects.update(is_active=False)
    app.client.logout()
    app.offered = app.client.get("/ciam/api/").json()

    assert app.send("password", username="li", password=PASSWORD)["code"] == "account_inactive"


# --- Tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sign_in_mode", ["token"], indirect=True)
@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_tokens_are_refreshed(app: App, ciam: FakeCiam, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    answer = app.send("password", username="li", password=PASSWORD)
    refreshed = app.send("renew", refresh_token=answer["refresh_token"])

    assert refreshed["http"] == 200
    assert refreshed["access_token"] not in ("", answer["access_token"])
    assert refreshed["refresh_token"]
    assert app.send("renew", refresh_token="spent")["http"] == 401
    (line,) = [each for each in caplog.messages if each.startswith("Refresh failure: ")]
    assert line == "Refresh failure: user=- code=invalid_grant row=invalid_grant kind=token"


@pytest.mark.parametrize("sign_in_mode", ["token"], indirect=True)
@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({}, 400, "invalid_request"),
        ({"refresh_token": 7}, 400, "invalid_request"),
        ({"refresh_token": "spent"}, 401, "invalid_grant"),
    ],
)
def test_an_invalid_refresh_token_is_refused(
    app: App, members: dict[str, Any], status: int, code: str
) -> None:
    answer = app.send("renew", **members)

    assert (answer["http"], answer["code"]) == (status, code)


@pytest.mark.parametrize("sign_in_mode", ["token"], indirect=True)
@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_tokens_of_an_inactive_user_are_not_refreshed(app: App) -> None:
    tokens = app.send("password", username="li", password=PASSWORD)
    User.objects.update(is_active=False)
    answer = app.send("renew", refresh_token=tokens["refresh_token"])

    assert (answer["http"], answer["code"]) == (403, "account_inactive")
    assert "access_token" not in answer


@pytest.mark.parametrize("sign_in_mode", ["token"], indirect=True)
@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize(
    ("code", "status"),
    [("Operation.Failure.User.Disabled", 403), ("Service.Internal.Error", 200)],
)
@pytest.mark.covering
def test_refreshed_tokens_are_withheld_only_if_ciam_refuses_the_person(
    app: App, ciam: FakeCiam, code: str, status: int
) -> None:
    tokens = app.send("password", username="li", password=PASSWORD)
    # The old refresh token is spent, so that the app needs the new refresh token.
    ciam.fail("userinfo", code=code)
    answer = app.send("renew", refresh_token=tokens["refresh_token"])

    assert (answer["http"], "refresh_token" in answer) == (status, status == 200)


@pytest.mark.parametrize("sign_in_mode", ["session"], indirect=True)
def test_a_session_has_no_tokens_to_refresh(app: App) -> None:
    response = app.client.post("/ciam/api/renew/", {}, content_type="application/json")

    assert response.status_code == 404


# --- Requests that are not as documented, and requests of other sites ---------------------------


def post(app: App, name: str, body: str | bytes, content_type: str, **headers: str) -> Any:
    headers = {"X-CSRFToken": app.offered.get("csrf_token", ""), **headers}
    return app.client.generic(
        "POST", f"/ciam/api/{name}/", body, content_type=content_type, headers=headers
    )


MULTIPART = 'multipart/form-data; boundary="x"'
FORM = "application/x-www-form-urlencoded"
CREDENTIALS = json.dumps({"username": "li", "password": PASSWORD, "consent": AGREED})


@for_each_row(
    "content_type, body",
    [
        (MULTIPART, '--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nli\r\n--x--'),
        ("multipart/form-data", "no boundary"),
        (MULTIPART, "broken"),
        (FORM, "username=li&password=x"),
        ("text/plain", CREDENTIALS),
        ("text/plain; charset=application/json", CREDENTIALS),
        ("application/jsonp", CREDENTIALS),
    ],
)
def test_a_body_of_another_type_is_answered_with_415(
    app: App, content_type: str, body: str
) -> None:
    for name, headers in (
        ("password", {"Accept": "application/json"}),
        ("password", {"Accept": "text/html", "X-CSRFToken": ""}),
        ("renew", {"Accept": "*/*"}),
    ):
        response = post(app, name, body, content_type, **headers)

        assert (response.status_code, response["Content-Type"]) == (415, "application/json")
        assert response.json()["code"] == "unsupported_media_type"
        assert app.user_id is None


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.a+json"],
)
def test_json_of_each_spelling_is_accepted(app: App, content_type: str) -> None:
    assert post(app, "password", CREDENTIALS, content_type).json()["status"] == "signed_in"


@for_each_row(
    "body", [b"\xff\xfe", b'{"username": "\xff"}', b"{" * 1000, b"1" * 5000, b"x" * 3_000_000]
)
def test_a_broken_body_is_answered_with_400(app: App, body: bytes) -> None:
    response = post(app, "password", body, "application/json")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


def test_a_surrogate_in_a_text_is_refused(app: App) -> None:
    for member in ("username", "password", "flow", "next", "captcha", "captcha_id", "do"):
        body = json.dumps({**json.loads(CREDENTIALS), member: "\ud800"})

        assert post(app, "password", body, "application/json").status_code < 500


@for_each_row(
    "path, method, allowed",
    [
        ("", "POST", "GET, HEAD"),
        ("captcha/", "DELETE", "GET, HEAD"),
        ("password/", "GET", "POST"),
        ("password/", "OPTIONS", "POST"),
        ("renew/", "PUT", "POST"),
    ],
)
def test_another_method_is_answered_with_405(
    app: App, path: str, method: str, allowed: str
) -> None:
    response = app.client.generic(method, f"/ciam/api/{path}", headers={"Accept": "text/html"})

    assert (response.status_code, response["Allow"]) == (405, allowed)
    assert response.json()["code"] == "method_not_allowed"


@for_each_row("path", ["nonsense/", "a/b/c/", "password/x/", "../api/x/", "流/"])
def test_an_unknown_url_is_answered_with_404(app: App, path: str) -> None:
    response = app.client.post(
        f"/ciam/api/{path}",
        {},
        content_type="application/json",
        headers={"X-CSRFToken": app.offered.get("csrf_token", ""), "Accept": "text/html"},
    )

    assert (response.status_code, response["Content-Type"]) == (404, "application/json")
    assert response.json()["code"] == "unknown_endpoint"


def test_a_failed_csrf_check_is_json_for_each_accept_header(app: App, sign_in_mode: str) -> None:
    response = post(
        app,
        "password",
        CREDENTIALS,
        "application/json",
        **{"X-CSRFToken": "", "Accept": "text/html"},
    )
    expected = (403, "csrf_failed") if sign_in_mode == "session" else (200, None)

    assert (response.status_code, response.json().get("code")) == expected


@for_each_row(
    "site, origin, is_accepted",
    [
        ("cross-site", "https://evil.test", False),
        ("cross-site", "", False),
        ("cross-site", "null", False),
        ("cross-site", "http://app.test", False),
        ("cross-site", "https://app.test.evil.test", False),
        ("cross-site", "https://evilapps.test", False),
        ("cross-site", "https://app-1.preview.test" + "x" * 300, False),
        ("cross-site", "https://app.test", True),
        ("cross-site", "https://shop.apps.test", True),
        ("cross-site", "https://spa.test:8443", True),
        ("cross-site", "https://app-1.preview.test", True),
        ("same-site", "https://www.testserver", True),
        ("same-origin", "http://testserver", True),
        ("none", "", True),
    ],
)
@pytest.mark.parametrize("sign_in_mode", ["token"], indirect=True)
def test_another_site_needs_a_trusted_origin(
    app: App, settings: Settings, site: str, origin: str, is_accepted: bool
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.test", "https://*.apps.test"]
    settings.CORS_ALLOWED_ORIGINS = ["https://spa.test:8443"]
    settings.CORS_ALLOWED_ORIGIN_REGEXES = [r"^https://app-\d+\.preview\.test$"]
    settings.CORS_ALLOW_ALL_ORIGINS = True
    headers = {"Sec-Fetch-Site": site, **({"Origin": origin} if origin else {})}
    for name in ("sms", "renew"):
        response = post(app, name, "{}", "application/json", **headers)

        assert response.status_code == (400 if is_accepted else 403)
        assert (response.json()["code"] == "csrf_failed") is not is_accepted


SPA: Final = "https://spa.test"


@pytest.fixture
def spa(settings: Settings) -> str:
    """The origin of a front end, with the settings that docs/recipes.md names."""
    settings.MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", *settings.MIDDLEWARE]
    settings.CORS_ALLOWED_ORIGINS = settings.CSRF_TRUSTED_ORIGINS = [SPA]
    settings.CORS_ALLOW_CREDENTIALS = True
    settings.CORS_EXPOSE_HEADERS = ["Ciam-Error-Code", "Ciam-Request-Id", "Retry-After"]
    settings.SESSION_COOKIE_SAMESITE = settings.CSRF_COOKIE_SAMESITE = "None"
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    return SPA


def test_a_front_end_on_another_origin_signs_in_and_out(
    spa: str, app: App, sign_in_mode: str
) -> None:
    client = Client(
        enforce_csrf_checks=True,
        headers={"Origin": spa, "Sec-Fetch-Site": "cross-site", "Accept": "application/json"},
    )
    preflight = client.options(
        "/ciam/api/password/",
        secure=True,
        headers={
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,x-csrftoken",
        },
    )
    offered = client.get("/ciam/api/", secure=True)
    refused, accepted = (
        client.post(
            "/ciam/api/password/",
            {**json.loads(CREDENTIALS), "password": password},
            content_type="application/json",
            secure=True,
            headers={"X-CSRFToken": offered.json().get("csrf_token", "")},
        )
        for password in ("wrong", PASSWORD)
    )
    for response in (preflight, offered, refused, accepted):
        assert response["Access-Control-Allow-Origin"] == spa
        assert response["Access-Control-Allow-Credentials"] == "true"
    assert preflight.status_code == 200
    assert {"content-type", "x-csrftoken"} <= set(
        preflight["Access-Control-Allow-Headers"].split(", ")
    )
    assert refused.status_code == 401
    assert "Ciam-Error-Code" in refused["Access-Control-Expose-Headers"]
    assert accepted.json()["status"] == "signed_in"
    if sign_in_mode == "session":
        cookie = accepted.cookies["sessionid"]
        assert (cookie["samesite"], cookie["secure"]) == ("None", True)
        signed_out = client.post(
            "/ciam/logout/",
            secure=True,
            headers={"X-CSRFToken": accepted.json()["csrf_token"]},
        )
        assert signed_out.json()["status"] == "redirect"
        assert "_auth_user_id" not in client.session


def test_a_front_end_on_another_origin_that_is_not_allowed_signs_nobody_in(
    spa: str, app: App
) -> None:
    client = Client(
        enforce_csrf_checks=True,
        headers={"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"},
    )
    offered = client.get("/ciam/api/", secure=True)
    response = client.post(
        "/ciam/api/password/",
        json.loads(CREDENTIALS),
        content_type="application/json",
        secure=True,
        headers={"X-CSRFToken": offered.json().get("csrf_token", "")},
    )

    assert (response.status_code, response.json()["code"]) == (403, "csrf_failed")
    assert "Access-Control-Allow-Origin" not in {**offered.headers, **response.headers}
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("language", "title"),
    [("zh_CN", "请输入验证码"), ("zh_TW", "請輸入驗證碼"), ("en", "Enter the code")],
)
def test_a_step_and_a_failure_are_in_the_language_that_wechat_names(
    app: App, language: str, title: str
) -> None:
    headers = {"Accept-Language": language}
    body = json.dumps({"phone_number": NUMBER, "consent": AGREED})
    step = post(app, "sms", body, "application/json", **headers)
    failure = post(app, "sms", "{}", "application/json", **headers)
    unsupported = post(app, "sms", "{}", "text/plain", **headers)

    assert step.json()["title"] == title
    expected = {"zh_CN": "zh-hans", "zh_TW": "zh-hant", "en": "en"}[language]
    assert {each["Content-Language"] for each in (step, failure, unsupported)} == {expected}


# --- WeChat's mini program --------------------------------------------------------------------


def test_a_mini_program_signs_in_silently(app: App, ciam: FakeCiam, sign_in_mode: str) -> None:
    code = ciam.accounts.issue_social_code("li")

    assert is_signed_in(app, app.send("mini_program", login_code=code), sign_in_mode)
    assert CiamIdentity.objects.get().provider == "wechat-mini_program"


def test_an_unknown_user_signs_in_with_a_phone_number(
    app: App, ciam: FakeCiam, sign_in_mode: str
) -> None:
    answer = app.send("mini_program", login_code="fake:unlinked")
    assert (answer["http"], answer["code"]) == (401, "Operation.Failure.Mini.Program.Silent.Login")

    answer = app.send("mini_program_phone", login_code="fake:unlinked")
    assert (answer["http"], answer["action"]) == (400, "give_consent")
    assert is_signed_in(
        app,
        app.send("mini_program_phone", login_code="fake:unlinked", phone_code="p"),
        sign_in_mode,
    )


@pytest.mark.usefixtures("app")
@for_each_row(
    "step, ways, consent, code",
    [
        ("mini_program_phone", ["social"], None, "Params.Illegal.Consent of CIAM"),
        ("mini_program_phone", ["mini_program"], None, "Params.Illegal.Consent"),
        ("mini_program_phone", [], ["terms"], "Params.Illegal.Consent"),
        ("mini_program_phone", [], AGREED, None),
        ("mini_program_user_info", ["mini_program"], AGREED, None),
        ("mini_program", ["mini_program"], None, None),
    ],
)
def test_the_consent_of_a_mini_program_is_checked_if_it_is_sent_or_required(
    ciam: FakeCiam,
    settings: Settings,
    *,
    step: str,
    ways: list[str],
    consent: object,
    code: str | None,
) -> None:
    settings.CIAM_CONSENT_BEFORE, ciam.requires_consents = ways, True
    request_count = len(ciam.requests)
    members = {"login_code": "fake:li", "encrypted_data": "e", "iv": "i", "consent": consent}
    if step == "mini_program":
        members = {"login_code": "fake:li"}
    # A sign-in changes the CSRF token.
    answer = App().send(step, **members)
    called = any(request.stage == "social" for request in ciam.requests[request_count:])

    assert answer.get("code") == (code and code.removesuffix(" of CIAM"))
    assert called is (code != "Params.Illegal.Consent")


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("mini_program_phone", {"encrypted_data": "e" * 2000, "iv": "i"}),
        ("mini_program_user_info", {"encrypted_data": "e" * 2000, "iv": "i"}),
    ],
)
def test_encrypted_data_of_wechat_sign_in(
    app: App, sign_in_mode: str, name: str, members: dict[str, str]
) -> None:
    assert is_signed_in(app, app.send(name, login_code="fake:li", **members), sign_in_mode)


@pytest.mark.parametrize(
    ("name", "members", "code"),
    [
        ("mini_program", {}, "Params.Blank.Mini.Program.LoginCode"),
        ("mini_program_user_info", {"login_code": "x"}, "Params.Blank.Mini.Program.Userinfo"),
    ],
)
def test_a_missing_member_of_wechat_has_its_own_code(
    app: App, name: str, members: dict[str, str], code: str
) -> None:
    assert app.send(name, **members)["code"] == code


def test_only_failed_sign_ins_of_a_mini_program_are_limited(app: App, settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ("2/min",)}
    for _ in range(3):
        assert app.send("mini_program", login_code="fake:li")["http"] == 200
        app.offered = app.client.get("/ciam/api/").json()
    for _ in range(2):
        assert app.send("mini_program", login_code="spent")["http"] == 401

    answer = app.send("mini_program", login_code="fake:li")
    assert (answer["http"], answer["code"]) == (429, "too_many_requests")


def test_failed_sign_ins_of_a_mini_program_stop_no_other_account(
    app: App, settings: Settings
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("1/hour",)}
    inputs: dict[str, dict[str, str]] = {
        "mini_program": {},
        "mini_program_phone": {"phone_code": "p"},
        "mini_program_user_info": {"encrypted_data": "e", "iv": "i"},
    }
    for name, members in inputs.items():
        for _ in range(2):
            assert app.send(name, login_code="spent", **members)["http"] != 429


def test_an_unknown_wechat_user_can_create_an_account(app: App, sign_in_mode: str) -> None:
    answer = app.send("mini_program", login_code="fake:stranger")
    assert answer["step"] == "link"
    assert is_signed_in(app, app.send("link", do="create"), sign_in_mode)


@pytest.mark.parametrize("sign_in_mode", ["token"], indirect=True)
def test_a_refresh_token_of_ours_is_not_refused_because_of_its_address(
    app: App, settings: Settings
) -> None:
    tokens = app.send("password", username="li", password=PASSWORD)
    settings.CIAM_TRY_LIMITS = {"address": ("2/min",)}

    def refresh(refresh_token: str) -> int:
        body = {"refresh_token": refresh_token}
        return app.client.post("/ciam/api/renew/", body, "application/json").status_code

    stranger_statuses = [refresh("guess") for _ in range(3)]
    assert stranger_statuses[2] == 429
    assert 429 not in stranger_statuses[:2]
    assert refresh(tokens["refresh_token"]) == 200
