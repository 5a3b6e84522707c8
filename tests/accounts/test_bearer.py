"""The result of verifying a bearer token is cached for seconds, and attempts are limited."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django.accounts import bearer
from ciam_django.testing import FakeCiam
from tests.drf.test_authentication import (
    asked,
    get,
    refused,
    site,  # noqa: F401  (an autouse fixture)
    token_for,
)

pytestmark = pytest.mark.django_db


# --- What is remembered -----------------------------------------------------------------------


def test_a_good_answer_serves_for_the_next_requests(ciam: FakeCiam) -> None:
    token = token_for()
    first = get(token)
    questions = asked(ciam)

    assert [get(token).json() for _ in range(3)] == [first.json()] * 3
    assert asked(ciam) == questions


def test_without_seconds_nothing_is_remembered(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_BEARER_SECONDS = 0
    token = token_for()
    get(token)
    get(token)

    assert asked(ciam).count("check") == 2
    assert not [key for key in keys_in_cache() if "bearer" in key]


def test_a_refusal_is_remembered_for_some_seconds(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        refused(get("of-nobody"))
    assert asked(ciam) == ["check"]

    later(monkeypatch, 6)
    refused(get("of-nobody"))
    assert asked(ciam) == ["check"] * 2


def test_a_good_answer_is_forgotten_in_time(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_for()
    get(token)
    later(monkeypatch, 31)
    get(token)

    assert asked(ciam).count("check") == 2


@pytest.mark.parametrize("told", [True, False])
def test_no_answer_outlives_its_token(
    told: bool, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    if told:
        ciam.access_token_claims = {"exp": None}
        ciam.token_check = {"exp": int(time.time()) + 10}
    else:
        ciam.token_lifetime = 10
    token = token_for()
    get(token)
    later(monkeypatch, 5)
    get(token)
    assert asked(ciam).count("check") == 1

    later(monkeypatch, 11)
    get(token)
    assert asked(ciam).count("check") == 2


def test_not_even_where_a_cache_keeps_it_too_long(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    ciam.token_lifetime = 10
    token = token_for()
    get(token)
    for key in keys_in_cache():
        cache.touch(key, 3600)
    later(monkeypatch, 11)
    get(token)

    assert asked(ciam).count("check") == 2


def test_what_is_remembered_is_sealed_and_does_not_name_the_token(ciam: FakeCiam) -> None:
    token = token_for()
    get(token)
    (key,) = [key for key in keys_in_cache() if "bearer" in key]

    kept = cache.get(key)
    assert token not in key
    for secret in (token, token.split(".")[1], "li@example.com", ciam.access_tokens[token].user_id):
        assert secret not in kept


def test_what_others_have_written_is_not_believed(ciam: FakeCiam, settings: Settings) -> None:
    token = token_for()
    get(token)
    (key,) = [key for key in keys_in_cache() if "bearer" in key]
    nonsense: list[Any] = ["nonsense", b"nonsense", 7, {"person": {}}]
    for written in nonsense:
        cache.set(key, written)
        assert get(token).status_code == 200
    assert asked(ciam).count("check") == 5


def test_a_stricter_setting_holds_at_once(ciam: FakeCiam, settings: Settings) -> None:
    ciam.client_id_of_tokens = "mobile_app"
    settings.CIAM_BEARER_AUDIENCES = ["mobile_app"]
    token = token_for()
    assert get(token).status_code == 200
    settings.CIAM_BEARER_AUDIENCES = []

    refused(get(token))


def keys_in_cache() -> list[str]:
    stored: Any = cache
    return [str(key).split(":", 2)[2] for key in stored._cache]


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.undo()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)


# --- When CIAM is down, and when there is too much --------------------------------------------


@pytest.mark.parametrize("stage", ["api", "userinfo"])
def test_ciam_being_down_is_no_fault_of_the_tokens(
    stage: str, ciam: FakeCiam, mode: str, settings: Settings
) -> None:
    token = token_for()
    if stage == "userinfo" and mode == "ciam":
        stage = "api"
    for how in ("reset", "html", "truncated"):
        ciam.misbehave(stage, how)
        response = get(token)

        assert response.status_code == 503, how
        assert "WWW-Authenticate" not in response
    assert get(token).status_code == 200


def test_random_tokens_are_not_brought_before_ciam_for_long(
    ciam: FakeCiam, settings: Settings
) -> None:
    good = token_for()
    assert get(good).status_code == 200
    settings.CIAM_TRY_LIMITS = {"address": ["3/min"]}
    answers = [get(f"random-{number}") for number in range(6)]

    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 3
    assert answers[-1].json()["code"] == "too_many_requests"
    assert 0 < int(answers[-1]["Retry-After"]) <= 60
    assert asked(ciam).count("check") == 4
    # Who is remembered is asked nothing, and another address is another one.
    assert get(good).status_code == 200
    assert get("random-7", REMOTE_ADDR="192.0.2.7").status_code == 401


def test_good_tokens_and_a_ciam_that_is_down_count_for_nothing(
    ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ["2/min"]}
    settings.CIAM_BEARER_SECONDS = 0
    token = token_for()

    assert [get(token).status_code for _ in range(5)] == [200] * 5
    ciam.misbehave("api", "reset", times=None)
    assert [get(token).status_code for _ in range(5)] == [503] * 5


def test_a_cache_that_is_down_keeps_nobody_out(ciam: FakeCiam, settings: Settings) -> None:
    token = token_for()
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }

    assert get(token).status_code == 200


@pytest.mark.parametrize("given", ["chek", "", None])
def test_a_setting_that_says_nothing_lets_nobody_in(
    given: Any, ciam: FakeCiam, settings: Settings
) -> None:
    token = token_for()
    settings.CIAM_BEARER = given

    assert get(token).status_code == 500


def test_an_error_of_ciams_that_says_nothing_of_the_token_is_not_remembered(
    ciam: FakeCiam,
) -> None:
    token = token_for()
    for code, status in (("too_many_requests", 429), ("unknown.code", 503)):
        ciam.fail("api", code=code)
        assert get(token).status_code == status
    assert get(token).status_code == 200


def test_the_ways_to_prove_are_those_that_the_check_allows() -> None:
    assert set(bearer._VERIFIERS) == {"check", "jwt"}
