"""Tests of the encrypted flow that a browser or an app stores between two steps."""

from __future__ import annotations

import dataclasses
import time

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from ciam_django.login import state
from ciam_django.login.cookies import EncryptedCookies
from ciam_django.login.steps import flow
from ciam_django.login.steps import flow as flows
from ciam_django.login.steps.flow import Flow, decrypted_flow, encrypted_flow
from tests.login.test_state import aged

FLOW = Flow("code", "f1", next="/cart/", recipient={"type": "SMS"}, counted_name="+8613800000000")


def test_an_encrypted_flow_can_be_decrypted() -> None:
    assert decrypted_flow(encrypted_flow(FLOW)) == FLOW


def test_an_encrypted_flow_cannot_be_read_or_changed() -> None:
    text = encrypted_flow(FLOW)

    assert "138" not in text
    assert decrypted_flow(text[:-4] + "AAAA") is None


@pytest.mark.parametrize("text", ["", "x", "流", "x" * 10_000])
def test_a_text_that_is_no_flow_gives_none(text: str) -> None:
    assert decrypted_flow(text) is None


def test_a_text_encrypted_for_another_purpose_gives_none() -> None:
    others = EncryptedCookies(state._COOKIES.purpose, "state_", 600)

    assert decrypted_flow(others.encrypted({"step": "code", "flow_id": "f1"})) is None


AGES = pytest.mark.parametrize(("age", "is_good"), [(0, True), (595, True), (601, False)])


@AGES
def test_a_browsers_flow_ends_after_ten_minutes(age: int, is_good: bool) -> None:
    response, request = HttpResponse(), RequestFactory().get("/")
    flows.set_flow_cookie(request, response, FLOW)
    request.COOKIES = {
        name: aged(cookie.value, age, flows.__name__) for name, cookie in response.cookies.items()
    }

    assert flows.flow_from_cookie(request, FLOW.id) == (FLOW if is_good else None)


@AGES
def test_an_apps_flow_ends_after_ten_minutes(age: int, is_good: bool) -> None:
    text = aged(flows.encrypted_flow(FLOW), age, flows.__name__)

    assert flows.decrypted_flow(text) == (FLOW if is_good else None)


def test_an_apps_flow_of_more_than_4096_characters_is_none() -> None:
    texts = [
        flows.encrypted_flow(dataclasses.replace(FLOW, next="/" * length))
        for length in range(2500, 3000, 10)
    ]
    short = [text for text in texts if len(text) <= 4096]
    long = [text for text in texts if len(text) > 4096]

    assert min(map(len, long)) - max(map(len, short)) < 40
    assert all(flows.decrypted_flow(text) for text in short)
    assert not any(flows.decrypted_flow(text) for text in long)


def test_a_flow_of_another_version_gives_none() -> None:
    assert decrypted_flow(flow._COOKIES.encrypted({"step": "code", "gone": 1})) is None


def test_the_resend_wait_starts_when_the_code_is_sent() -> None:
    assert FLOW.resend_wait == 0
    assert Flow("code", "f1", sent_at=time.time()).resend_wait == 60
    assert Flow("code", "f1", sent_at=time.time() - 70).resend_wait == 0


def test_a_flow_without_a_recipient_or_a_provider_names_none() -> None:
    flow = Flow("consent", "f1")

    assert (flow.channel, flow.provider, flow.link_to_user) == ("", "", "")
    assert FLOW.channel == "SMS"


def test_the_repr_of_a_flow_shows_no_recipient_and_no_flow_id() -> None:
    flow = Flow(
        "code",
        "flow-secret",
        next="/next-secret/",
        recipient={"type": "SMS", "phoneNumber": "number-secret"},
        counted_name="name-secret",
        masked_recipient="masked-secret",
        step_data={"token": "data-secret"},
    )

    assert "secret" not in repr(flow)
    assert "step='code'" in repr(flow)
