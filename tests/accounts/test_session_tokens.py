"""Tests of the tokens of a session, which CIAM's token response updates."""

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
from ciam_django.client.crypto import fernet_for
from ciam_django.errors import CiamError
from tests.rows import for_each_row

OLD = Tokens(
    "session-key",
    access_token="access-1",
    refresh_token="refresh-1",
    id_token="id-token-1",
    may_check=True,
)
NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


@for_each_row(
    "expires_in, refresh_from, expires_at",
    [
        # The refresh is due five minutes before the expiry, or a tenth of a short lifetime.
        (7200, NOW + 6900, NOW + 7200),
        (7200.0, NOW + 6900, NOW + 7200),
        (100, NOW + 90, NOW + 100),
        # The time of the expiry is unknown.
        (0, 0, 0),
        (None, 0, 0),
        (True, 0, 0),
        (-1, 0, 0),
        (-0.5, 0, 0),
        # Some providers write the number as a text.
        ("7200", NOW + 6900, NOW + 7200),
        ([], 0, 0),
    ],
)
def test_expires_in_sets_the_times_of_refresh_and_expiry(
    expires_in: object, refresh_from: float, expires_at: float
) -> None:
    tokens = updated_tokens(OLD, {"access_token": "a-2", "expires_in": expires_in})

    assert (tokens.refresh_from, tokens.expires_at) == (refresh_from, expires_at)
    assert tokens.is_usable
    assert not tokens.is_refresh_due


def test_a_token_response_replaces_only_the_tokens_that_it_contains() -> None:
    tokens = updated_tokens(OLD, {"access_token": "a-2"})
    assert tokens == dataclasses.replace(OLD, access_token="a-2")

    tokens = updated_tokens(
        OLD, {"access_token": "a-2", "refresh_token": "r-2", "id_token": "i-2", "scope": "openid"}
    )
    assert tokens == dataclasses.replace(
        OLD, access_token="a-2", refresh_token="r-2", id_token="i-2"
    )


@for_each_row("wrong", [None, "", 7, True, ["r-2"], {"a": "b"}])
def test_a_refresh_token_or_id_token_that_is_no_text_replaces_no_token(wrong: object) -> None:
    tokens = updated_tokens(OLD, {"access_token": "a-2", "refresh_token": wrong, "id_token": wrong})

    assert (tokens.refresh_token, tokens.id_token) == ("refresh-1", "id-token-1")


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
def test_a_token_is_usable_until_it_expires_and_its_refresh_can_be_due_earlier(
    changed: dict[str, Any], is_usable: bool, is_refresh_due: bool
) -> None:
    tokens = dataclasses.replace(OLD, **changed)

    assert (tokens.is_usable, tokens.is_refresh_due) == (is_usable, is_refresh_due)


def test_encrypted_tokens_can_be_decrypted_and_show_no_token_and_no_session_key() -> None:
    encrypted = encrypted_tokens(OLD)

    assert decrypted_tokens(encrypted) == OLD
    assert not [
        value
        for value in ("access-1", "refresh-1", "id-token-1", "session-key")
        if value in encrypted
    ]


OTHER_CONTENT = fernet_for("ciam_django.accounts.tokens").encrypt(b"[]").decode()


@for_each_row("text", ["", "not encrypted tokens", "\udc80", OTHER_CONTENT])
def test_text_that_cannot_be_decrypted_raises_session_ended_and_shows_no_local_variables(
    text: str,
) -> None:
    with pytest.raises(CiamError) as raised:
        decrypted_tokens(text)

    assert (raised.value.code, raised.value.stage) == ("session_ended", "refresh")
    frames = traceback.walk_tb(raised.value.__traceback__)
    variables = {frame.f_code.co_name: dict(frame.f_locals) for frame, _line in frames}
    assert variables["decrypted_tokens"] == {}


def test_the_default_tokens_are_empty_and_unusable() -> None:
    tokens = Tokens("session-key")

    assert (tokens.access_token, tokens.refresh_token, tokens.id_token) == ("", "", "")
    assert (tokens.is_usable, tokens.is_refresh_due, tokens.may_check) == (False, False, False)


def test_the_repr_of_the_tokens_shows_no_token_and_no_session_key() -> None:
    representation = repr(OLD)

    assert not [
        value
        for value in ("access-1", "refresh-1", "id-token-1", "session-key")
        if value in representation
    ]
