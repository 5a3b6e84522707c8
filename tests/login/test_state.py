"""Tests of the encrypted cookie that stores a sign-in until its callback."""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.test import RequestFactory, override_settings
from pytest_django.fixtures import Settings

from ciam_django.client.cache import FORMAT, set_encrypted
from ciam_django.client.crypto import fernet_for
from ciam_django.login import state
from tests.browser import Browser
from tests.rows import for_each_row


def response_with_cookie(
    sign_in: state.SignInState, request: HttpRequest | None = None
) -> HttpResponse:
    response = HttpResponse()
    state.set_state_cookie(request or RequestFactory().get("/"), response, sign_in)
    return response


def request_with(response: HttpResponse) -> HttpRequest:
    request = RequestFactory().get("/")
    request.COOKIES = {name: morsel.value for name, morsel in response.cookies.items()}
    return request


def test_a_stored_sign_in_can_be_read() -> None:
    sign_in = state.new_sign_in_state(next_url="/next/")
    request = request_with(response_with_cookie(sign_in))

    assert state.state_from_cookie(request, sign_in.state) == sign_in


def test_the_host_of_a_sign_in_is_found_only_with_its_state() -> None:
    sign_in = state.new_sign_in_state(next_url="")
    response_with_cookie(sign_in)

    assert state.starting_host(sign_in.state) == "testserver"
    assert state.starting_host("another") == ""


def test_the_code_challenge_is_the_one_of_rfc_7636() -> None:
    sign_in = dataclasses.replace(
        state.new_sign_in_state(next_url=""),
        code_verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    )

    # RFC 7636, appendix B.
    assert sign_in.code_challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_repr_of_a_sign_in_state_shows_no_secret_and_no_next() -> None:
    sign_in = state.new_sign_in_state(next_url="/next/")
    secrets = (sign_in.state, sign_in.nonce, sign_in.code_verifier, sign_in.next)

    assert not [secret for secret in secrets if secret in repr(sign_in)]


def test_each_sign_in_has_new_secrets() -> None:
    first, second = state.new_sign_in_state(next_url=""), state.new_sign_in_state(next_url="")

    for name in ("state", "nonce", "code_verifier"):
        assert getattr(first, name) != getattr(second, name)
    assert 43 <= len(first.code_verifier) <= 128
    # Unless the caller says otherwise, the sign-in is at CIAM and links no identity.
    assert (first.provider, first.link_to_user) == ("ciam", "")


@pytest.mark.parametrize("unknown_state", ["", "x", "x" * 10_000, "\0", "\ud800", "状态"])
def test_an_unknown_state_gives_none(unknown_state: str) -> None:
    request = request_with(response_with_cookie(state.new_sign_in_state(next_url="")))

    assert state.state_from_cookie(request, unknown_state) is None


def test_the_state_of_another_provider_gives_none() -> None:
    sign_in = state.new_sign_in_state(next_url="", provider="wechat")
    request = request_with(response_with_cookie(sign_in))

    assert state.state_from_cookie(request, sign_in.state) is None
    assert state.state_from_cookie(request, sign_in.state, "wechat") == sign_in


def aged(cookie: str, seconds: int, purpose: str = state._COOKIES.purpose) -> str:
    """Return the value of the cookie as if the cookie had been set ``seconds`` earlier."""
    multi_fernet = fernet_for(purpose)
    key = multi_fernet._fernets[0]
    fernet = Fernet(base64.urlsafe_b64encode(key._signing_key + key._encryption_key))
    set_at = multi_fernet.extract_timestamp(cookie)
    return fernet.encrypt_at_time(multi_fernet.decrypt(cookie), set_at - seconds).decode()


def state_cookie_names(cookies: SimpleCookie) -> list[str]:
    """Return the names of the state cookies that are not deleted."""
    return [name for name in cookies if "ciam_state_" in name and cookies[name].value]


def age_state_cookies(browser: Browser, seconds: int) -> None:
    """Change a browser's state cookies as if its sign-ins had started ``seconds`` earlier."""
    for name in state_cookie_names(browser.client.cookies):
        browser.client.cookies[name] = aged(browser.client.cookies[name].value, seconds)


@pytest.mark.parametrize(
    ("age", "is_valid"), [(0, True), (599, True), (601, False), (80_000, False)]
)
def test_a_sign_in_expires_after_ten_minutes(age: int, is_valid: bool) -> None:
    sign_in = state.new_sign_in_state(next_url="")
    request = request_with(response_with_cookie(sign_in))
    request.COOKIES = {name: aged(value, age) for name, value in request.COOKIES.items()}

    assert (state.state_from_cookie(request, sign_in.state) is not None) is is_valid
    assert state.is_expired(request, sign_in.state) is not is_valid


def test_a_cookie_with_the_name_of_another_sign_in_gives_none() -> None:
    sign_in, other = state.new_sign_in_state(next_url=""), state.new_sign_in_state(next_url="")
    request = request_with(response_with_cookie(sign_in))
    value = next(iter(request.COOKIES.values()))
    request.COOKIES = {f"ciam_state_{other.digest}": value}

    assert state.state_from_cookie(request, other.state) is None


@pytest.mark.parametrize("content", [b"[]", b"{}", b"no json", b'{"state": 1}'])
def test_encrypted_content_that_is_no_sign_in_gives_none(content: bytes) -> None:
    sign_in = state.new_sign_in_state(next_url="")
    request = RequestFactory().get("/")
    request.COOKIES = {
        f"ciam_state_{sign_in.digest}": fernet_for(state._COOKIES.purpose).encrypt(content).decode()
    }

    assert state.state_from_cookie(request, sign_in.state) is None


def test_has_state_cookie_is_true_also_for_an_unreadable_cookie() -> None:
    sign_in = state.new_sign_in_state(next_url="")
    request = request_with(response_with_cookie(sign_in))
    assert state.has_state_cookie(request, sign_in.state)
    assert not state.has_state_cookie(request, "another")
    request.COOKIES = dict.fromkeys(request.COOKIES, "unreadable")

    assert state.has_state_cookie(request, sign_in.state)
    assert state.state_from_cookie(request, sign_in.state) is None


def test_the_cookie_of_an_earlier_version_under_https_is_recognized_but_not_read() -> None:
    sign_in = state.new_sign_in_state(next_url="")
    request = RequestFactory().get("/", secure=True)
    request.COOKIES = request_with(response_with_cookie(sign_in)).COOKIES

    assert state.state_from_cookie(request, sign_in.state) is None
    assert state.has_state_cookie(request, sign_in.state)


def test_a_cookie_stays_readable_while_its_key_is_a_fallback(settings: Settings) -> None:
    sign_in = state.new_sign_in_state(next_url="")
    request = request_with(response_with_cookie(sign_in))
    old_key = settings.SECRET_KEY
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[old_key]):
        assert state.state_from_cookie(request, sign_in.state) == sign_in
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[]):
        assert state.state_from_cookie(request, sign_in.state) is None


def test_a_state_can_be_spent_only_once() -> None:
    sign_in = state.new_sign_in_state(next_url="")

    assert not state.is_claimed(sign_in.state)
    assert [state.claim_state(sign_in), state.claim_state(sign_in)] == [True, False]
    assert state.is_claimed(sign_in.state)
    assert state.claim_state(dataclasses.replace(sign_in, state="another"))


def test_one_callback_of_a_state_waits_at_a_time() -> None:
    sign_in = state.new_sign_in_state(next_url="")

    assert [state.try_to_wait(sign_in, 9), state.try_to_wait(sign_in, 9)] == [True, False]
    assert state.try_to_wait(dataclasses.replace(sign_in, state="another"), 9)


@pytest.mark.parametrize("seconds", [2, 599])
def test_a_spent_state_cannot_be_spent_again_while_its_cookie_is_valid(
    seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in = state.new_sign_in_state(next_url="")
    request = request_with(response_with_cookie(sign_in))
    assert state.claim_state(sign_in)
    later = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: later)

    # The cookie is still readable, and the cache still contains the use of the state.
    assert state.state_from_cookie(request, sign_in.state) == sign_in
    assert state.is_claimed(sign_in.state)
    assert not state.claim_state(sign_in)


@pytest.mark.parametrize("garbage", ["", "garbage", "\xff", "\ud800", "gAAAAA" + "=" * 4000])
def test_an_invalid_cookie_is_deleted_first(garbage: str) -> None:
    sign_ins = [state.new_sign_in_state(next_url="") for _ in range(4)]
    request = RequestFactory().get("/")
    for sign_in in sign_ins:
        request.COOKIES |= request_with(response_with_cookie(sign_in)).COOKIES
    request.COOKIES["ciam_state_garbage"] = garbage
    response = response_with_cookie(state.new_sign_in_state(next_url=""), request)
    deleted = [name for name, morsel in response.cookies.items() if not morsel.value]

    assert deleted == ["ciam_state_garbage"]


# --- The outcome of a callback ----------------------------------------------------------------

OUTCOME = state.CallbackOutcome("/next/", ["ciam_laps=1; Max-Age=60"], "key-of-the-session")


def test_an_outcome_can_be_read_only_with_the_content_of_the_cookie() -> None:
    sign_in = state.new_sign_in_state(next_url="/next/")
    assert state.stored_outcome(sign_in) is None
    state.store_outcome(HttpRequest(), None, sign_in, OUTCOME)

    assert state.stored_outcome(sign_in) == OUTCOME
    # The state alone is in the URL of the callback.
    assert state.stored_outcome(dataclasses.replace(sign_in, nonce="a guess")) is None
    assert state.stored_outcome(dataclasses.replace(sign_in, code_verifier="a guess")) is None
    with override_settings(SECRET_KEY="another key"):
        assert state.stored_outcome(sign_in) is None


def test_an_outcome_ends_even_if_the_cache_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in = state.new_sign_in_state(next_url="/next/")
    state.store_outcome(HttpRequest(), None, sign_in, OUTCOME)
    later = time.time() + state.REPEAT_SECONDS + 2
    cache.set(stored_key := f"{state._outcome_key(sign_in)}.{FORMAT}", cache.get(stored_key), None)
    monkeypatch.setattr(time, "time", lambda: later)

    assert cache.get(stored_key)
    assert state.stored_outcome(sign_in) is None


@pytest.mark.parametrize("stored", [b"bytes", "garbage", "\u72b6\u6001", "gAAAAA" + "=" * 4000, 7])
def test_a_text_of_another_program_is_no_outcome(stored: object) -> None:
    sign_in = state.new_sign_in_state(next_url="/next/")
    cache.set(f"{state._outcome_key(sign_in)}.{FORMAT}", stored)

    assert state.stored_outcome(sign_in) is None


def test_the_outcome_of_another_state_is_not_read() -> None:
    sign_in, other = state.new_sign_in_state(next_url=""), state.new_sign_in_state(next_url="")
    state.store_outcome(HttpRequest(), None, other, OUTCOME)
    copied = cache.get(f"{state._outcome_key(other)}.{FORMAT}")
    cache.set(f"{state._outcome_key(sign_in)}.{FORMAT}", copied)

    assert state.stored_outcome(other) == OUTCOME
    assert state.stored_outcome(sign_in) is None


def test_the_cache_shows_nothing_of_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in = state.new_sign_in_state(next_url="/next/")
    stored: list[str] = []
    monkeypatch.setattr(cache, "set", lambda *arguments, **options: stored.append(str(arguments)))
    state.store_outcome(HttpRequest(), None, sign_in, OUTCOME)

    assert stored
    for secret in (*OUTCOME.cookies, OUTCOME.url, OUTCOME.session_key, sign_in.state):
        assert secret not in stored[0]
        assert secret not in repr(OUTCOME)


@pytest.mark.parametrize("content", [{"url": 1}, []])
def test_the_outcome_of_another_version_is_not_read(content: object) -> None:
    sign_in = state.new_sign_in_state(next_url="/next/")
    encrypted = state._outcome_fernet(sign_in).encrypt(json.dumps(content).encode())
    set_encrypted(state._outcome_key(sign_in), encrypted.decode(), seconds=30)

    assert state.stored_outcome(sign_in) is None


@pytest.mark.parametrize(("seconds", "may_repeat"), [(0, True), (29, True), (32, False)])
def test_a_state_may_be_repeated_for_thirty_seconds(
    seconds: int, may_repeat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in = state.new_sign_in_state(next_url="")
    assert not state.may_repeat(sign_in)
    assert state.claim_state(sign_in)
    later = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: later)

    assert state.may_repeat(sign_in) is may_repeat


@for_each_row(
    "change, is_saved",
    [
        (lambda session: session.get("cart"), False),
        (lambda session: session.update({"tab": "new"}), True),
        # A change inside a list of the session.
        (lambda session: session["ciam_signed_in_by"][0].append("new"), True),
        (lambda session: session.set_expiry(60), True),
    ],
)
@pytest.mark.django_db
def test_a_saved_session_is_saved_again_only_after_a_change(
    change: Callable[[SessionStore], object],
    is_saved: bool,
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    request, sign_in = RequestFactory().get("/"), state.new_sign_in_state(next_url="/next/")
    request.session = SessionStore()
    request.session.create()
    state.remember_next(request, sign_in.digest, sign_in.next)
    outcome = state.record_success(request, HttpResponseRedirect("/next/"), sign_in)
    change(request.session)
    # Django's middleware calls the method, which updates the row in a savepoint.
    with django_assert_num_queries(3 if is_saved else 0):
        request.session.save()
    stored = SessionStore(request.session.session_key)

    assert outcome.session_key == request.session.session_key
    assert dict(stored.items()) == dict(request.session.items())


@pytest.mark.django_db
def test_a_saved_session_can_get_a_new_key() -> None:
    request, sign_in = RequestFactory().get("/"), state.new_sign_in_state(next_url="/next/")
    request.session = SessionStore()
    request.session.create()
    state.remember_next(request, sign_in.digest, sign_in.next)
    outcome = state.record_success(request, HttpResponseRedirect("/next/"), sign_in)
    request.session.cycle_key()
    request.session.save()

    assert request.session.session_key != outcome.session_key
    assert not SessionStore().exists(outcome.session_key)
    stored = SessionStore(request.session.session_key)
    assert state.remembered_next(request, sign_in.digest) == "/next/"
    assert dict(stored.items()) == dict(request.session.items())
