"""CIAM's token answer in, what a session keeps of it out."""

from __future__ import annotations

import dataclasses
import time
import traceback
from typing import Any

import pytest

from ciam_django.accounts.session_store import (
    Tokens,
    decrypted_tokens,
    encrypted_tokens,
    updated_tokens,
)
from ciam_django.errors import CiamError
from tests.rows import for_each_row

OLD = Tokens("key", access_token="a-1", refresh_token="r-1", id_token="i-1", may_check=True)
NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


@for_each_row(
    "expires_in, refresh_from, expires_at",
    [
        # Five minutes before the end; of a short life, a tenth.
        (7200, NOW + 6900, NOW + 7200),
        (7200.0, NOW + 6900, NOW + 7200),
        (100, NOW + 90, NOW + 100),
        # When it ends is unknown.
        (0, 0, 0),
        (None, 0, 0),
        (True, 0, 0),
        (-1, 0, 0),
        (-0.5, 0, 0),
        ("7200", 0, 0),
        ([], 0, 0),
    ],
)
def test_tokens_end_when_the_answer_says(
    expires_in: object, refresh_from: float, expires_at: float
) -> None:
    tokens = updated_tokens(OLD, {"access_token": "a-2", "expires_in": expires_in})

    assert (tokens.refresh_from, tokens.expires_at) == (refresh_from, expires_at)
    assert tokens.is_usable
    assert not tokens.is_refresh_due


def test_an_answer_leaves_what_it_does_not_replace() -> None:
    tokens = updated_tokens(OLD, {"access_token": "a-2"})
    assert tokens == dataclasses.replace(OLD, access_token="a-2")

    tokens = updated_tokens(
        OLD, {"access_token": "a-2", "refresh_token": "r-2", "id_token": "i-2", "scope": "openid"}
    )
    assert tokens == dataclasses.replace(
        OLD, access_token="a-2", refresh_token="r-2", id_token="i-2"
    )


@for_each_row("wrong", [None, "", 7, True, ["r-2"], {"a": "b"}])
def test_a_token_that_is_no_text_replaces_none(wrong: object) -> None:
    tokens = updated_tokens(OLD, {"access_token": "a-2", "refresh_token": wrong, "id_token": wrong})

    assert (tokens.refresh_token, tokens.id_token) == ("r-1", "i-1")


@for_each_row(
    "changed, is_usable, is_refresh_due",
    [
        ({}, True, False),
        ({"access_token": ""}, False, False),
        ({"expires_at": NOW + 1}, True, False),
        ({"expires_at": NOW}, False, False),
        ({"expires_at": NOW - 1}, False, False),
        ({"refresh_from": NOW + 1}, True, False),
        ({"refresh_from": NOW}, True, True),
        ({"refresh_from": NOW - 1, "expires_at": NOW + 1}, True, True),
    ],
)
def test_a_token_is_good_before_its_end_and_renewed_before_it(
    changed: dict[str, Any], is_usable: bool, is_refresh_due: bool
) -> None:
    tokens = dataclasses.replace(OLD, **changed)

    assert (tokens.is_usable, tokens.is_refresh_due) == (is_usable, is_refresh_due)


def test_what_is_encrypted_comes_back_and_shows_nothing() -> None:
    encrypted = encrypted_tokens(OLD)

    assert decrypted_tokens(encrypted) == OLD
    assert not [value for value in ("a-1", "r-1", "i-1", "key") if value in encrypted]


@for_each_row("text", ["", "nothing that anybody sealed", "\udc80"])
def test_what_no_key_opens_has_ended(text: str) -> None:
    with pytest.raises(CiamError) as raised:
        decrypted_tokens(text)

    assert (raised.value.code, raised.value.stage) == ("session_ended", "refresh")
    frames = traceback.walk_tb(raised.value.__traceback__)
    found = {frame.f_code.co_name: dict(frame.f_locals) for frame, _line in frames}
    assert found["decrypted_tokens"] == {}


def test_a_session_without_tokens_has_none() -> None:
    tokens = Tokens("key")

    assert (tokens.access_token, tokens.refresh_token, tokens.id_token) == ("", "", "")
    assert (tokens.is_usable, tokens.is_refresh_due, tokens.may_check) == (False, False, False)


def test_no_report_shows_a_token_or_a_key() -> None:
    shown = repr(OLD)

    assert not [value for value in ("a-1", "r-1", "i-1", "key'") if value in shown]
