"""Property tests of the input of forms, steps and JSON endpoints, and of CIAM's answers."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from ciam_django.login.steps import flow as flows
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.table import STEPS
from ciam_django.testing import FakeCiam
from tests.browser import HTML
from tests.planting import LeakyFailure
from tests.properties.strategies import JSON, MEMBERS

pytestmark = [pytest.mark.django_db, pytest.mark.slow("properties")]

FIELDS = sorted(
    {
        *(name for step in STEPS.values() for name in step.form.base_fields),
        "captcha", "captcha_id", "consent", "display_name", "do", "flow", "method", "next",
        "phone_region",
    }
)  # fmt: skip
LIKELY_VALUES = st.sampled_from(
    ["li", "careful", "stale", "odd", "fake-password", "246810", "13800000004", "li@example.com",
     "resend", "skip", "create", "other", "SMS", "PWD", "terms", "sms", "/next/", "TW", "9123 4567"]
)  # fmt: skip
FORM_INPUT = st.dictionaries(
    st.sampled_from(FIELDS), LIKELY_VALUES | st.text(max_size=40), max_size=6
)
JSON_INPUT = st.dictionaries(st.sampled_from(FIELDS), LIKELY_VALUES | JSON, max_size=6)
STEP_DATA = {
    "channels": {"SMS": "", "PWD": ""},
    "asked": ["displayName", "email"],
    "linked": "f",
    "issuer": "https://ciam.example",
    "subject": "u-1",
    "claims": {},
    "masked": "",
}


@pytest.fixture(autouse=True)
def enable_all_login_methods(fake_ciam: FakeCiam, settings: Settings) -> None:
    cache.clear()
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client("ciam")}
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email", "recover", "sign_up"]
    settings.CIAM_SEND_LIMITS = settings.CIAM_TRY_LIMITS = {}
    settings.CIAM_SOCIAL_PROVIDERS = {
        "wechat": {"mini_program": {"app_id": "1", "source": "source_wechat_mini_program"}}
    }


def flow_of(step: str, flow_id: str) -> Flow:
    return Flow(
        step, flow_id, recipient={"type": "SMS"}, counted_name="somebody", step_data=STEP_DATA
    )


def is_answered(response: HttpResponse) -> bool:
    """Return True for a page, a redirect, a 404, or an error with a code of ours."""
    if response.status_code in (200, 302, 404):
        return True
    return response.status_code >= 400 and bool(response["Ciam-Error-Code"])


@given(st.sampled_from(["login", "recover", "sign-up"]), FORM_INPUT)
def test_a_form_answers_any_input(page: str, inputs: dict[str, str]) -> None:
    response = Client(headers={"Accept": HTML}).post(f"/ciam/{page}/", inputs)

    assert is_answered(cast("HttpResponse", response))


@given(st.sampled_from(sorted(STEPS)), JSON_INPUT)
def test_a_json_endpoint_answers_any_input(name: str, inputs: dict[str, Any]) -> None:
    response = Client().post(f"/ciam/api/{name}/", inputs, content_type="application/json")

    assert is_answered(cast("HttpResponse", response))
    assert isinstance(json.loads(response.content), dict)


@given(st.sampled_from(sorted(STEPS)), st.sampled_from(["", "a flow"]), JSON_INPUT, MEMBERS)
def test_a_step_answers_any_input_and_any_body_of_ciam(
    fake_ciam: FakeCiam, name: str, flow_id: str, inputs: dict[str, Any], body: dict[str, Any]
) -> None:
    for stage in ("password", "send_code", "verify_code", "social", "register", "profile"):
        fake_ciam.plan(stage, LeakyFailure(body=body), times=1)
    inputs["flow"] = flows.encrypted_flow(flow_of(name, flow_id))
    response = Client().post(f"/ciam/api/{name}/", inputs, content_type="application/json")
    fake_ciam.reset()

    assert is_answered(cast("HttpResponse", response))
    assert isinstance(json.loads(response.content), dict)


@given(st.sampled_from(sorted(STEPS)), st.sampled_from(["", "a flow"]), FORM_INPUT)
def test_the_page_of_a_step_answers_any_input(
    name: str, flow_id: str, inputs: dict[str, str]
) -> None:
    client = Client(headers={"Accept": HTML})
    flow = flow_of(name, flow_id)
    client.cookies[f"ciam_flow_{flow.id}"] = flows.encrypted_flow(flow)

    assert is_answered(cast("HttpResponse", client.get(f"/ciam/step/{flow.id}/")))
    assert is_answered(cast("HttpResponse", client.post(f"/ciam/step/{flow.id}/", inputs)))
