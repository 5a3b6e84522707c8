"""A state's cookie is what we sealed, or nothing."""

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


def sealed(sign_in: state.SignInState) -> tuple[str, str]:
    response = HttpResponse()
    state.set_state_cookie(request_with(), response, sign_in)
    ((name, cookie),) = response.cookies.items()
    return name, cookie.value


ANY_TEXT = st.text(st.characters(), max_size=300)


@given(ANY_TEXT, ANY_TEXT)
def test_any_cookie_and_any_state_is_none_of_ours(cookie: str, came_with: str) -> None:
    name = f"ciam_state_{state.state_digest(came_with)}"

    assert state.state_from_cookie(request_with(**{name: cookie}), came_with) is None


@given(st.text(max_size=1000))
def test_what_was_sealed_comes_back(next_url: str) -> None:
    sign_in = state.new_sign_in_state(next_url=next_url)
    name, cookie = sealed(sign_in)

    assert state.state_from_cookie(request_with(**{name: cookie}), sign_in.state) == sign_in


@given(st.integers(0), st.characters(codec="ascii"))
def test_a_cookie_that_differs_in_a_letter_is_none(place: int, letter: str) -> None:
    sign_in = state.new_sign_in_state(next_url="/")
    name, cookie = sealed(sign_in)
    place %= len(cookie)
    other = f"{cookie[:place]}{letter}{cookie[place + 1 :]}"
    found = state.state_from_cookie(request_with(**{name: other}), sign_in.state)

    assert found is None or (found == sign_in and _is_same(other, cookie))


def _is_same(one: str, other: str) -> bool:
    # Base64 has two alphabets, and may have bits that nothing is in.
    return base64.urlsafe_b64decode(one) == base64.urlsafe_b64decode(other)
