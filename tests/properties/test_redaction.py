"""Property tests of the redaction of secrets in upstream texts."""

from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ciam_django.errors import CiamError
from ciam_django.privacy import redacted_text

pytestmark = pytest.mark.slow("properties")

WORDS = st.text(max_size=80)
AROUND = st.sampled_from([" ", ": ", "=", '"', "'", ", ", "\n", "，", "。", "(", ")", "<", ">"])


@st.composite
def tokens(draw: st.DrawFn) -> str:
    raw = draw(st.binary(min_size=15, max_size=40))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@st.composite
def jwts(draw: st.DrawFn) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "HS256"}, {"sub": draw(st.text("abcdef", min_size=6, max_size=20))})
    ]
    return ".".join([*parts, draw(tokens())])


SECRETS = st.one_of(
    tokens().filter(lambda token: any(letter.isdigit() for letter in token)),
    jwts(),
    st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True),
    st.from_regex(r"\+86 ?1[3-9][0-9]{9}", fullmatch=True),
    st.from_regex(r"[a-z]{3,10}@[a-z]{3,10}\.(com|cn)", fullmatch=True),
    st.from_regex(r"[0-9]{6}", fullmatch=True),
)


@given(WORDS, AROUND, SECRETS, AROUND, WORDS)
def test_no_secret_survives_redaction(
    before: str, left: str, secret: str, right: str, after: str
) -> None:
    text = redacted_text(f"{before}{left}{secret}{right}{after}")

    assert secret not in text
    assert secret not in CiamError("x", upstream_text=f"{before}{left}{secret}").upstream_text


@given(st.text(max_size=3000))
def test_any_text_is_redacted_to_one_short_line(text: str) -> None:
    line = redacted_text(text)

    assert len(line) <= 500
    assert line.splitlines() in ([], [line])


PIECES = st.sampled_from(
    ["code", "token", "密码", "=", "：", '"', "'", " ", "，", "@", "a@b.cn", "1234", "x", "+", "."]
)


@given(st.text(max_size=600) | st.lists(PIECES, max_size=9).map("".join))
def test_a_second_redaction_changes_nothing(text: str) -> None:
    once = redacted_text(text)

    assert redacted_text(once) == once


HOSTILE = ["a", "1", "eyJ", "@", "a@", "https://", "code=", "password:'", "1-", "\n", "密码：", "("]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_long_repetitive_text_is_redacted_in_half_a_second(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    redacted_text(text)

    assert time.process_time() - start < 0.5
