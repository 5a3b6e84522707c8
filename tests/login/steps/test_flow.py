"""Tests of the encrypted flow that a browser or an app stores between two steps."""

from __future__ import annotations

import base64
import dataclasses
import time

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from ciam_django.client.results import NextStep
from ciam_django.login import state
from ciam_django.login.cookies import EncryptedCookies
from ciam_django.login.steps import flow as flows
from ciam_django.login.steps.flow import Flow, decrypted_flow, encrypted_flow
from ciam_django.login.steps.results import next_flow
from tests.login.test_state import aged

FLOW = Flow("code", "f1", next="/cart/", recipient={"type": "SMS"}, counted_name="+8613800000000")


def test_an_encrypted_flow_can_be_decrypted() -> None:
    assert decrypted_flow(encrypted_flow(FLOW)) == FLOW


def test_an_encrypted_flow_cannot_be_read_or_changed() -> None:
    text = encrypted_flow(FLOW)

    assert FLOW.counted_name[1:] not in text
    assert FLOW.counted_name[1:].encode() not in base64.urlsafe_b64decode(text)
    assert decrypted_flow(text[:-4] + "AAAA") is None


@pytest.mark.parametrize("text", ["", "x", "流", "x" * 10_000])
def test_a_text_that_is_no_flow_gives_none(text: str) -> None:
    assert decrypted_flow(text) is None


def test_a_text_encrypted_for_another_purpose_gives_none() -> None:
    others = EncryptedCookies(state._COOKIES.purpose, "state_", 600)

    assert decrypted_flow(others.encrypted({"step": "code", "flow_id": "f1"})) is None


AGES = pytest.mark.parametrize(("age", "is_valid"), [(0, True), (595, True), (601, False)])


@AGES
def test_the_flow_in_a_cookie_expires_after_ten_minutes(age: int, is_valid: bool) -> None:
    response, request = HttpResponse(), RequestFactory().get("/")
    flows.set_flow_cookie(request, response, FLOW)
    request.COOKIES = {
        name: aged(cookie.value, age, flows.__name__) for name, cookie in response.cookies.items()
    }

    assert flows.flow_from_cookie(request, FLOW.id) == (FLOW if is_valid else None)


@AGES
def test_the_flow_in_an_encrypted_text_expires_after_ten_minutes(age: int, is_valid: bool) -> None:
    text = aged(encrypted_flow(FLOW), age, flows.__name__)

    assert decrypted_flow(text) == (FLOW if is_valid else None)


def test_an_encrypted_flow_of_more_than_4096_characters_gives_none() -> None:
    texts = [
        encrypted_flow(dataclasses.replace(FLOW, next="/" * length))
        for length in range(2000, 3000, 10)
    ]
    short_texts = [text for text in texts if len(text) <= 4096]
    long_texts = [text for text in texts if len(text) > 4096]

    # The lengths have steps, because the texts are padded.
    assert min(map(len, long_texts)) - max(map(len, short_texts)) < 700
    assert all(decrypted_flow(text) for text in short_texts)
    assert not any(decrypted_flow(text) for text in long_texts)


def test_the_length_of_an_encrypted_flow_does_not_depend_on_the_id_of_ciams_flow() -> None:
    for next_url in ("", "/cart/", *("/" * length for length in range(200, 240))):
        flows_of_next = [
            dataclasses.replace(FLOW, ciam_flow_id=flow_id, next=next_url)
            for flow_id in ("", "f1", "0" * 32, "0" * 64)
        ]
        assert len({len(encrypted_flow(flow)) for flow in flows_of_next}) == 1
        assert [decrypted_flow(encrypted_flow(flow)) for flow in flows_of_next] == flows_of_next


def test_a_flow_of_another_version_gives_none() -> None:
    assert decrypted_flow(flows._COOKIES.encrypted({"step": "code", "gone": 1})) is None


def test_the_resend_wait_starts_when_the_code_is_sent() -> None:
    assert FLOW.resend_wait == 0
    assert Flow("code", "f1", sent_at=time.time()).resend_wait == 60
    assert Flow("code", "f1", sent_at=time.time() - 70).resend_wait == 0


def test_a_new_flow_has_no_channel_no_provider_and_no_user_to_link() -> None:
    new_flow = Flow("consent", "f1")

    assert (new_flow.channel, new_flow.provider, new_flow.link_to_user) == ("", "", "")
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


def test_a_flow_remembers_a_new_password_through_all_later_steps() -> None:
    consent = NextStep("f-2", "NEED_CONSENT", {})
    flow = next_flow(consent, Flow("new_password", "f-1"))
    assert flow.has_new_password
    assert next_flow(consent, flow).has_new_password
    assert not next_flow(consent, Flow("consent", "f-1")).has_new_password
