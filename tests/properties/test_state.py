"""Property tests of the encrypted cookie of a state."""

from __future__ import annotations

import base64

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from ciam_django.login import state

pytestmark = pytest.mark.slow("properties")


def request_with(**cookies: str) -> HttpRequest:
    request = RequestFactory().get("/ciam/callback/")
    request.COOKIES.update(cookies)
    return request


def encrypted_cookie(sign_in: state.SignInState) -> tuple[str, str]:
    response = HttpResponse()
    state.set_state_cookie(request_with(), response, sign_in)
    ((name, cookie),) = response.cookies.items()
    return name, cookie.value


ANY_TEXT = st.text(st.characters(), max_size=300)


@given(ANY_TEXT, ANY_TEXT)
def test_a_random_cookie_with_a_random_state_is_refused(cookie: str, query_state: str) -> None:
    name = f"ciam_state_{state.state_digest(query_state)}"

    assert state.state_from_cookie(request_with(**{name: cookie}), query_state) is None


@given(st.text(max_size=1000))
def test_an_encrypted_sign_in_state_is_decrypted_unchanged(next_url: str) -> None:
    sign_in = state.new_sign_in_state(next_url=next_url)
    name, cookie = encrypted_cookie(sign_in)

    assert state.state_from_cookie(request_with(**{name: cookie}), sign_in.state) == sign_in


@given(st.integers(0), st.characters(codec="ascii"))
def test_a_cookie_with_a_changed_character_is_refused(index: int, letter: str) -> None:
    sign_in = state.new_sign_in_state(next_url="/")
    name, cookie = encrypted_cookie(sign_in)
    index %= len(cookie)
    changed = f"{cookie[:index]}{letter}{cookie[index + 1 :]}"
    result = state.state_from_cookie(request_with(**{name: changed}), sign_in.state)

    assert result is None or (result == sign_in and _is_same(changed, cookie))


def _is_same(left: str, right: str) -> bool:
    # Base64 has two alphabets, and the last character can have unused bits.
    return base64.urlsafe_b64decode(left) == base64.urlsafe_b64decode(right)
