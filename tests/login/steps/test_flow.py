"""What a browser or an app carries of a sign-in under way."""

from __future__ import annotations

import time

import pytest

from ciam_django.login import state
from ciam_django.login.cookies import EncryptedCookies
from ciam_django.login.steps import flow as flows
from ciam_django.login.steps.flow import Flow

FLOW = Flow("code", "f1", next="/cart/", recipient={"type": "SMS"}, counted_name="+8613800000000")


def test_what_is_sealed_comes_back() -> None:
    assert flows.decrypted_flow(flows.encrypted_flow(FLOW)) == FLOW


def test_nobody_can_read_or_change_it() -> None:
    text = flows.encrypted_flow(FLOW)

    assert "138" not in text
    assert flows.decrypted_flow(text[:-4] + "AAAA") is None


@pytest.mark.parametrize("text", ["", "x", "流", "x" * 10_000])
def test_anything_else_is_none(text: str) -> None:
    assert flows.decrypted_flow(text) is None


def test_a_seal_of_another_purpose_is_none() -> None:
    others = EncryptedCookies(state._COOKIES.purpose, "state_", 600)

    assert flows.decrypted_flow(others.encrypted({"step": "code", "flow_id": "f1"})) is None


def test_what_another_version_sealed_is_none() -> None:
    assert flows.decrypted_flow(flows._COOKIES.encrypted({"step": "code", "gone": 1})) is None


def test_how_long_to_wait_is_counted_from_the_code() -> None:
    assert FLOW.resend_wait == 0
    assert Flow("code", "f1", sent_at=time.time()).resend_wait == 60
    assert Flow("code", "f1", sent_at=time.time() - 70).resend_wait == 0


def test_no_report_shows_what_is_private() -> None:
    assert "138" not in repr(FLOW)
    assert "f1" not in repr(FLOW)
