"""Tests of the encrypted flow that a browser or an app stores between two steps."""

from __future__ import annotations

import time

import pytest

from ciam_django.login import state
from ciam_django.login.cookies import EncryptedCookies
from ciam_django.login.steps import flow
from ciam_django.login.steps.flow import Flow, decrypted_flow, encrypted_flow

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


def test_a_flow_of_another_version_gives_none() -> None:
    assert decrypted_flow(flow._COOKIES.encrypted({"step": "code", "gone": 1})) is None


def test_the_resend_wait_starts_when_the_code_is_sent() -> None:
    assert FLOW.resend_wait == 0
    assert Flow("code", "f1", sent_at=time.time()).resend_wait == 60
    assert Flow("code", "f1", sent_at=time.time() - 70).resend_wait == 0


def test_the_repr_of_a_flow_shows_no_recipient_and_no_flow_id() -> None:
    assert "138" not in repr(FLOW)
    assert "f1" not in repr(FLOW)
