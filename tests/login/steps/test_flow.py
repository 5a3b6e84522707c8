"""What a browser or an app carries of a sign-in under way."""

from __future__ import annotations

import time

import pytest

from ciam_django.login import state
from ciam_django.login.cookies import SealedCookies
from ciam_django.login.steps import flow as flows
from ciam_django.login.steps.flow import Flow

FLOW = Flow("code", "f1", next="/cart/", receiver={"type": "SMS"}, who="+8613800000000")


def test_what_is_sealed_comes_back() -> None:
    assert flows.opened(flows.sealed(FLOW)) == FLOW


def test_nobody_can_read_or_change_it() -> None:
    text = flows.sealed(FLOW)

    assert "138" not in text
    assert flows.opened(text[:-4] + "AAAA") is None


@pytest.mark.parametrize("text", ["", "x", "流", "x" * 10_000])
def test_anything_else_is_none(text: str) -> None:
    assert flows.opened(text) is None


def test_a_seal_of_another_purpose_is_none() -> None:
    others = SealedCookies(state.__name__, "state_", 600)

    assert flows.opened(others.sealed({"step": "code", "flow_id": "f1"})) is None


def test_what_another_version_sealed_is_none() -> None:
    assert flows.opened(flows._COOKIES.sealed({"step": "code", "gone": 1})) is None


def test_how_long_to_wait_is_counted_from_the_code() -> None:
    assert FLOW.wait == 0
    assert Flow("code", "f1", sent_at=time.time()).wait == 60
    assert Flow("code", "f1", sent_at=time.time() - 70).wait == 0


def test_no_report_shows_what_is_private() -> None:
    assert "138" not in repr(FLOW)
    assert "f1" not in repr(FLOW)
