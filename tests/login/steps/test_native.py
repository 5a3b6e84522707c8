"""Signing in with the code that a provider's SDK has given to a native app."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE
from tests.rows import for_each_row

PROVIDERS = {
    "wechat": {
        "app": {"app_id": "wx4", "source": "source_wechat_app"},
        "website": {"app_id": "wx1", "source": "source_wechat_website", "native": True},
    },
    "apple": {"app_id": "a", "source": "source_apple", "native": True},
    "google": {
        "app_id": "g",
        "source": "source_google",
        "native": True,
        "proofs": ["pkce", "nonce"],
    },
    "alipay": {"app_id": "p", "source": "source_alipay"},
    "qq": {"app_id": "q", "source": "source_qq", "native": True},
}
VERIFIER = "v" * 43
AGREED = ["terms", "privacy"]


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.fixture(autouse=True)
def registered(ciam: FakeCiam, db: None, settings: Settings) -> None:
    cache.clear()
    settings.CIAM_SOCIAL_PROVIDERS = PROVIDERS
    settings.CIAM_API_SIGN_IN = "token"


def send(name: str, client: Client | None = None, **members: object) -> Any:
    """Send a code to the endpoint of a provider, or the input of a step."""
    client = client or Client(enforce_csrf_checks=True)
    body = {"consent": AGREED, **members}
    return client.post(f"/ciam/api/{name}/", body, content_type="application/json")


def calls_of(ciam: FakeCiam) -> int:
    return [request.stage for request in ciam.requests].count("social")


@pytest.mark.parametrize("name", ["wechat-app", "apple"])
def test_an_app_signs_in_with_the_code_of_an_sdk(ciam: FakeCiam, name: str) -> None:
    answer = send(f"with/{name}", code=ciam.native_code("li"))

    assert (answer.status_code, answer.json()["status"]) == (200, "signed_in")
    assert answer.json()["access_token"]
    assert "sessionid" not in answer.cookies
    assert CiamIdentity.objects.get().provider == name
    (request,) = [request for request in ciam.requests if request.stage == "social"]
    assert f'"source_{name.replace("-", "_")}"'.encode() in request.body
    assert json.loads(request.body)["consents"] == AGREED


def test_a_project_that_asks_for_the_consent_itself_sends_none(
    ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_CONSENT_BEFORE = []

    assert send("with/apple", code=ciam.native_code(), consent=[]).status_code == 200
    (request,) = [request for request in ciam.requests if request.stage == "social"]
    assert "consents" not in json.loads(request.body)


def test_a_code_is_good_once(ciam: FakeCiam) -> None:
    code = ciam.native_code("li")

    assert send("with/apple", code=code).status_code == 200
    assert send("with/apple", code=code).json()["code"] == "Operation.Failure.Social.Code.Expired"


def test_the_name_that_apple_tells_once_reaches_a_new_user_over_the_steps(ciam: FakeCiam) -> None:
    code = ciam.native_code("stranger")
    step = send("with/apple", code=code, given_name="小明", family_name="王").json()
    assert (step["status"], step["step"]) == ("step", "link")
    step = send("link", flow=step["flow"], receiver="138 0000 1234").json()
    answer = send(step["step"], flow=step["flow"], code=CODE)

    assert answer.json()["status"] == "signed_in"
    user = User.objects.get()
    assert (user.first_name, user.last_name) == ("小明", "王")


def test_a_session_needs_the_csrf_token_and_json(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_API_SIGN_IN = "session"
    client = Client(enforce_csrf_checks=True)
    code = ciam.native_code("li")
    headers = {"X-CSRFToken": client.get("/ciam/api/").json()["csrf_token"]}

    assert send("with/apple", client, code=code).json()["code"] == "csrf_failed"
    form = client.post("/ciam/api/with/apple/", {"code": code}, headers=headers)
    assert form.json()["code"] == "unsupported_media_type"
    assert calls_of(ciam) == 0
    answer = client.post(
        "/ciam/api/with/apple/",
        {"code": code, "consent": AGREED, "next": "/cart/"},
        content_type="application/json",
        headers=headers,
    ).json()
    assert (answer["status"], answer["next"]) == ("signed_in", "/cart/")
    assert client.session["_auth_user_id"]


def test_another_site_cannot_sign_its_visitors_in(ciam: FakeCiam) -> None:
    client = Client(headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"})

    assert send("with/apple", client, code=ciam.native_code()).json()["code"] == "csrf_failed"
    assert calls_of(ciam) == 0


# Name of the endpoint, members, status and code of the answer. CIAM is never called.
REFUSED = [
    ("with/apple", {}, 400, "Params.Blank.Social.Callback.Code"),
    ("with/apple", {"code": ""}, 400, "Params.Blank.Social.Callback.Code"),
    ("with/apple", {"code": 7}, 401, "Operation.Failure.Social.Code.Expired"),
    ("with/apple", {"code": "c" * 2049}, 401, "Operation.Failure.Social.Code.Expired"),
    ("with/apple", {"code": "c", "nonce": "n"}, 400, "invalid_request"),
    ("with/apple", {"code": "c", "code_verifier": VERIFIER}, 400, "invalid_request"),
    ("with/apple", {"code": "c", "given_name": ["x"]}, 400, "invalid_request"),
    ("with/apple", {"code": "c", "next": 7}, 400, "invalid_request"),
    ("with/apple", {"code": "c", "consent": ["terms"]}, 400, "Params.Illegal.Consent"),
    ("with/google", {"code": "c", "nonce": "n"}, 400, "invalid_request"),
    ("with/google", {"code": "c", "code_verifier": VERIFIER}, 400, "invalid_request"),
    ("with/google", {"code": "c", "code_verifier": "v" * 42, "nonce": "n"}, 400, "invalid_request"),
    ("with/alipay", {"code": "c"}, 404, "unknown_endpoint"),
    ("with/qq", {"code": "c"}, 404, "unknown_endpoint"),
    ("with/wechat-website", {"code": "c"}, 404, "unknown_endpoint"),
    ("with/nobody", {"code": "c"}, 404, "unknown_endpoint"),
    ("native", {"code": "c"}, 404, "unknown_endpoint"),
]


@for_each_row("name, members, status, code", REFUSED)
def test_a_wrong_request_is_refused_before_ciam_is_called(
    name: str, members: dict[str, Any], status: int, code: str, ciam: FakeCiam
) -> None:
    answer = send(name, **members)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer["Content-Type"] == "application/json"
    assert calls_of(ciam) == 0


def test_the_log_says_how_a_provider_takes_the_codes_of_an_sdk(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    send("with/alipay", code="c")

    assert "add 'native': True to the entry" in caplog.text


def test_the_proofs_of_a_registration_are_sent_to_ciam(ciam: FakeCiam) -> None:
    def send_code(nonce: str) -> int:
        code = ciam.native_code("li", code_verifier=VERIFIER, nonce="right")
        answer = send("with/google", code=code, code_verifier=VERIFIER, nonce=nonce)
        return int(answer.status_code)

    assert send_code("wrong") == 401
    assert send_code("right") == 200


def test_failed_codes_are_limited_before_ciam_is_called(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ["2/min"]}
    codes = [send("with/apple", code="wrong").json()["code"] for _ in range(3)]

    assert codes == [*["Operation.Failure.Social.Code.Expired"] * 2, "too_many_requests"]
    assert calls_of(ciam) == 2
