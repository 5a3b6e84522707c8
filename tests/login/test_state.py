"""The sealed cookie of a sign-in under way."""

from __future__ import annotations

import base64
import dataclasses
import time

import pytest
from cryptography.fernet import Fernet
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from pytest_django.fixtures import Settings

from ciam_django.client.crypto import fernet_for
from ciam_django.login import state


def sealed(sign_in: state.SignInState, request: HttpRequest | None = None) -> HttpResponse:
    response = HttpResponse()
    state.set_state_cookie(request or RequestFactory().get("/"), response, sign_in)
    return response


def request_with(response: HttpResponse) -> HttpRequest:
    request = RequestFactory().get("/")
    request.COOKIES = {name: morsel.value for name, morsel in response.cookies.items()}
    return request


def test_what_is_kept_comes_back() -> None:
    begun = state.new_sign_in_state(next_url="/next/")

    assert state.state_from_cookie(request_with(sealed(begun)), begun.state) == begun


def test_no_report_shows_what_a_state_holds() -> None:
    begun = state.new_sign_in_state(next_url="/next/")
    secrets = (begun.state, begun.nonce, begun.code_verifier, begun.next)

    assert not [secret for secret in secrets if secret in repr(begun)]


def test_secrets_are_new_each_time() -> None:
    first, second = state.new_sign_in_state(next_url=""), state.new_sign_in_state(next_url="")

    for name in ("state", "nonce", "code_verifier"):
        assert getattr(first, name) != getattr(second, name)
    assert 43 <= len(first.code_verifier) <= 128


@pytest.mark.parametrize("asked", ["", "x", "x" * 10_000, "\0", "\ud800", "状态"])
def test_an_unknown_state_is_none(asked: str) -> None:
    assert (
        state.state_from_cookie(request_with(sealed(state.new_sign_in_state(next_url=""))), asked)
        is None
    )


def test_the_state_of_another_provider_is_none() -> None:
    begun = state.new_sign_in_state(next_url="", provider="wechat")

    assert state.state_from_cookie(request_with(sealed(begun)), begun.state) is None
    assert state.state_from_cookie(request_with(sealed(begun)), begun.state, "wechat") == begun


def aged(cookie: str, seconds: int, purpose: str = state.__name__) -> str:
    """The cookie as it would be if it had been set so long ago."""
    seal = fernet_for(purpose)
    key = seal._fernets[0]
    fernet = Fernet(base64.urlsafe_b64encode(key._signing_key + key._encryption_key))
    made_at = seal.extract_timestamp(cookie)
    return fernet.encrypt_at_time(seal.decrypt(cookie), made_at - seconds).decode()


@pytest.mark.parametrize(
    ("age", "is_kept"), [(0, True), (599, True), (601, False), (80_000, False)]
)
def test_ten_minutes_are_the_end(age: int, is_kept: bool) -> None:
    begun = state.new_sign_in_state(next_url="")
    request = request_with(sealed(begun))
    request.COOKIES = {name: aged(value, age) for name, value in request.COOKIES.items()}

    assert (state.state_from_cookie(request, begun.state) is not None) is is_kept
    assert state.is_expired(request, begun.state) is not is_kept


def test_a_cookie_under_another_name_is_none() -> None:
    begun, other = state.new_sign_in_state(next_url=""), state.new_sign_in_state(next_url="")
    request = request_with(sealed(begun))
    value = next(iter(request.COOKIES.values()))
    request.COOKIES = {f"ciam_state_{other.digest}": value}

    assert state.state_from_cookie(request, other.state) is None


@pytest.mark.parametrize("content", [b"[]", b"{}", b"no json", b'{"state": 1}'])
def test_sealed_nonsense_is_none(content: bytes) -> None:
    begun = state.new_sign_in_state(next_url="")
    request = RequestFactory().get("/")
    request.COOKIES = {
        f"ciam_state_{begun.digest}": fernet_for(state.__name__).encrypt(content).decode()
    }

    assert state.state_from_cookie(request, begun.state) is None


def test_a_browser_is_known_to_have_a_cookie_of_a_state_even_a_spoilt_one() -> None:
    begun = state.new_sign_in_state(next_url="")
    request = request_with(sealed(begun))
    assert state.has_state_cookie(request, begun.state)
    assert not state.has_state_cookie(request, "another")
    request.COOKIES = dict.fromkeys(request.COOKIES, "spoilt")

    assert state.has_state_cookie(request, begun.state)
    assert state.state_from_cookie(request, begun.state) is None


def test_keys_rotate(settings: Settings) -> None:
    begun = state.new_sign_in_state(next_url="")
    request = request_with(sealed(begun))
    old = settings.SECRET_KEY
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[old]):
        assert state.state_from_cookie(request, begun.state) == begun
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[]):
        assert state.state_from_cookie(request, begun.state) is None


def test_a_state_is_spent_once() -> None:
    begun = state.new_sign_in_state(next_url="")

    assert [state.claim_state(begun), state.claim_state(begun)] == [True, False]
    assert state.claim_state(dataclasses.replace(begun, state="another"))


@pytest.mark.parametrize("seconds", [2, 599])
def test_a_spent_state_stays_spent_for_as_long_as_its_cookie_is_good(
    seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = state.new_sign_in_state(next_url="")
    request = request_with(sealed(begun))
    assert state.claim_state(begun)
    later = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: later)

    # The browser still has the cookie, and the cache still knows that it has been used.
    assert state.state_from_cookie(request, begun.state) == begun
    assert state.is_claimed(begun.state)
    assert not state.claim_state(begun)


@pytest.mark.parametrize("garbage", ["", "garbage", "\xff", "gAAAAA" + "=" * 4000])
def test_garbage_cookies_are_the_first_to_go(garbage: str) -> None:
    begun = [state.new_sign_in_state(next_url="") for _ in range(4)]
    request = RequestFactory().get("/")
    for sign_in in begun:
        request.COOKIES |= request_with(sealed(sign_in)).COOKIES
    request.COOKIES["ciam_state_garbage"] = garbage
    dropped = [
        n
        for n, m in sealed(state.new_sign_in_state(next_url=""), request).cookies.items()
        if not m.value
    ]

    assert dropped == ["ciam_state_garbage"]
