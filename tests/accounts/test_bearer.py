"""The result of verifying a bearer token is cached for seconds, and attempts are limited."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.cache import cache
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from pytest_django.fixtures import Settings

from ciam_django.accounts import bearer
from ciam_django.accounts.bearer import user_and_bearer
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from tests.drf.test_authentication import (
    assert_refused,
    get,
    site,  # noqa: F401  (an autouse fixture)
    token_calls,
    token_for,
)

pytestmark = pytest.mark.django_db

DENIED = "Operation.Denied"
DISABLED = "Operation.Failure.User.Disabled"


# --- Cached results ---------------------------------------------------------------------------


def test_a_good_answer_is_cached_for_the_next_requests(ciam: FakeCiam) -> None:
    token = token_for()
    first = get(token)
    calls = token_calls(ciam)

    assert [get(token).json() for _ in range(3)] == [first.json()] * 3
    assert token_calls(ciam) == calls


def test_a_request_with_a_cached_token_reads_only_its_user(
    ciam: FakeCiam, django_assert_num_queries: Any
) -> None:
    token = token_for()
    get(token, "/open/")
    with django_assert_num_queries(1) as captured:
        response = get(token, "/open/")

    assert response.status_code == 200
    assert "subject" not in captured[0]["sql"]


def test_zero_seconds_switch_the_cache_off(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_BEARER_SECONDS = 0
    token = token_for()
    get(token)
    get(token)

    assert token_calls(ciam).count("check") == 2
    assert not [key for key in keys_in_cache() if "bearer" in key]


def test_a_refusal_is_cached_for_some_seconds(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert_refused(get("of-nobody"))
    assert token_calls(ciam) == ["check"]

    move_clock(monkeypatch, 5.5)
    assert_refused(get("of-nobody"))
    assert token_calls(ciam) == ["check"] * 2


def test_a_cached_answer_expires(ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch) -> None:
    token = token_for()
    get(token)
    move_clock(monkeypatch, 31)
    get(token)

    assert token_calls(ciam).count("check") == 2


def test_the_answer_for_a_token_without_an_expiry_is_cached_and_expires(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    ciam.access_token_claims = {"exp": None}
    ciam.token_check = {"exp": None}
    token = token_for()
    get(token)
    get(token)
    assert token_calls(ciam).count("check") == 1

    move_clock(monkeypatch, 31)
    get(token)
    assert token_calls(ciam).count("check") == 2


@pytest.mark.parametrize("is_exp_from_ciam", [True, False])
def test_no_cached_answer_outlives_its_token(
    is_exp_from_ciam: bool, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_exp_from_ciam:
        ciam.access_token_claims = {"exp": None}
        ciam.token_check = {"exp": int(time.time()) + 10}
    else:
        ciam.token_lifetime = 10
    token = token_for()
    get(token)
    move_clock(monkeypatch, 5)
    get(token)
    assert token_calls(ciam).count("check") == 1

    move_clock(monkeypatch, 11)
    get(token)
    assert token_calls(ciam).count("check") == 2


def test_an_answer_that_the_cache_holds_too_long_is_not_used(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    ciam.token_lifetime = 10
    token = token_for()
    get(token)
    for key in keys_in_cache():
        cache.touch(key, 3600)
    move_clock(monkeypatch, 11)
    get(token)

    assert token_calls(ciam).count("check") == 2


def test_a_cached_answer_is_encrypted_and_its_key_hides_the_token(ciam: FakeCiam) -> None:
    token = token_for()
    get(token)
    (key,) = [key for key in keys_in_cache() if "bearer" in key]

    cached = cache.get(key)
    assert token not in key
    for secret in (token, token.split(".")[1], "li@example.com", ciam.access_tokens[token].user_id):
        assert secret not in cached


def test_foreign_values_in_the_cache_are_ignored(ciam: FakeCiam, settings: Settings) -> None:
    token = token_for()
    get(token)
    (key,) = [key for key in keys_in_cache() if "bearer" in key]
    nonsense: list[Any] = ["nonsense", b"nonsense", 7, {"person": {}}]
    for value in nonsense:
        cache.set(key, value)
        assert get(token).status_code == 200
    assert token_calls(ciam).count("check") == 5


def test_the_cached_answer_of_another_token_does_not_sign_in(ciam: FakeCiam) -> None:
    token, other_token = token_for("li"), token_for("wang")
    user = get(token).json()["user"]
    (key,) = [key for key in keys_in_cache() if "bearer" in key]
    other_user = get(other_token).json()["user"]
    (other_key,) = [other for other in keys_in_cache() if "bearer" in other and other != key]
    # A person with access to the cache copies the answer for another person's token.
    cache.set(other_key, cache.get(key))

    assert get(other_token).json()["user"] == other_user != user


def test_a_stricter_setting_applies_at_once(ciam: FakeCiam, settings: Settings) -> None:
    ciam.client_id_of_tokens = "mobile_app"
    settings.CIAM_BEARER_AUDIENCES = ["mobile_app"]
    token = token_for()
    assert get(token).status_code == 200
    settings.CIAM_BEARER_AUDIENCES = []

    assert_refused(get(token))


def keys_in_cache() -> list[str]:
    stored: Any = cache
    return [str(key).split(":", 2)[2] for key in stored._cache]


def move_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.undo()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)


# --- When CIAM is down, and when there is too much --------------------------------------------


@pytest.mark.parametrize("stage", ["api", "userinfo"])
def test_an_outage_of_ciam_does_not_refuse_the_token(
    stage: str, ciam: FakeCiam, mode: str, settings: Settings
) -> None:
    token = token_for()
    if stage == "userinfo" and mode == "ciam":
        stage = "api"
    for fault in ("reset", "html", "truncated"):
        ciam.misbehave(stage, fault)
        response = get(token)

        assert response.status_code == 503, fault
        assert "WWW-Authenticate" not in response
    assert get(token).status_code == 200


def test_many_invalid_tokens_are_rate_limited_before_ciam_is_called(
    ciam: FakeCiam, settings: Settings
) -> None:
    good = token_for()
    assert get(good).status_code == 200
    settings.CIAM_TRY_LIMITS = {"address": ["3/min"]}
    answers = [get(f"random-{number}") for number in range(6)]

    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 3
    assert answers[-1].json()["code"] == "too_many_requests"
    assert 0 < int(answers[-1]["Retry-After"]) <= 60
    assert token_calls(ciam).count("check") == 4
    # A cached token needs no call to CIAM, and each address has a limit of its own.
    assert get(good).status_code == 200
    assert get("random-7", REMOTE_ADDR="192.0.2.7").status_code == 401


def test_a_valid_token_is_not_refused_because_of_other_clients_at_its_address(
    ciam: FakeCiam, mode: str, settings: Settings
) -> None:
    settings.CIAM_BEARER_SECONDS = 0
    ciam.signs_access_tokens = True
    known, new = token_for(), token_for("wang")
    assert get(known).status_code == 200
    settings.CIAM_TRY_LIMITS = {"address": ["2/min"]}
    assert [get(f"random-{number}").status_code for number in range(4)] == [401, 401, 429, 429]

    # CIAM has accepted the token before.
    assert get(known).status_code == 200
    # CIAM has signed the token. In CIAM's own mode, only CIAM can tell that the token is valid.
    assert get(new).status_code == (200 if mode == "oidc" else 429)


def test_a_valid_token_is_remembered_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    bearer.remember_token("token")
    for seconds, is_remembered in ((86390, True), (86401, False)):
        move_clock(monkeypatch, seconds)
        assert bearer.is_remembered_token("token") is is_remembered
        assert not bearer.is_remembered_token("another")


def test_a_token_that_ciam_refuses_is_no_longer_remembered(
    ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_BEARER_SECONDS = 0
    token = token_for()
    assert get(token).status_code == 200
    assert bearer.is_remembered_token(token)
    ciam.fail("api", code="invalid_grant")

    assert get(token).status_code == 401
    assert not bearer.is_remembered_token(token)


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_signed_token_is_never_refused_because_of_its_address(
    ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_BEARER = "jwt"
    settings.CIAM_TRY_LIMITS = {"address": ["2/min"]}
    ciam.signs_access_tokens = True
    token = token_for()
    answers = [get(f"random-{number}") for number in range(4)]

    assert [answer.status_code for answer in answers] == [401, 401, 429, 429]
    assert get(token).status_code == 200
    assert not bearer.is_remembered_token(token)


def test_valid_tokens_and_outages_do_not_count_towards_the_rate_limit(
    ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ["2/min"]}
    settings.CIAM_BEARER_SECONDS = 0
    token = token_for()

    assert [get(token).status_code for _ in range(5)] == [200] * 5
    ciam.misbehave("api", "reset", times=None)
    assert [get(token).status_code for _ in range(5)] == [503] * 5


def test_a_cache_outage_does_not_refuse_a_valid_token(ciam: FakeCiam, settings: Settings) -> None:
    token = token_for()
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }

    assert get(token).status_code == 200


@pytest.mark.parametrize("value", ["chek", "", None])
def test_an_invalid_ciam_bearer_setting_answers_every_token_with_a_500(
    value: Any, ciam: FakeCiam, settings: Settings
) -> None:
    token = token_for()
    settings.CIAM_BEARER = value

    assert get(token).status_code == 500


def test_an_error_of_ciam_that_is_not_about_the_token_is_not_cached(
    ciam: FakeCiam,
) -> None:
    token = token_for()
    for code, status in (("too_many_requests", 429), ("unknown.code", 503)):
        ciam.fail("api", code=code)
        assert get(token).status_code == status
    assert get(token).status_code == 200


def test_the_verifiers_are_the_values_that_the_check_allows() -> None:
    assert set(bearer._VERIFIERS) == {"check", "jwt"}


# --- Refusals ---------------------------------------------------------------------------------


def request_with(token: str) -> HttpRequest:
    return RequestFactory().get("/", headers={"authorization": f"Bearer {token}"})


def error_for(token: str) -> CiamError:
    with pytest.raises(CiamError) as raised:
        user_and_bearer(request_with(token))
    # A report of the error must not show the token.
    assert token not in repr(raised.value.__dict__)
    return raised.value


def check_count(ciam: FakeCiam) -> int:
    return sum(request.path.endswith("/check") for request in ciam.requests)


@pytest.mark.parametrize(
    ("code", "shown", "type_code"),
    [
        # The client receives CIAM's codes about the user or about the user's rights.
        (DISABLED, DISABLED, "Operation.Failure"),
        (DENIED, DENIED, ""),
        # Each other refusal is answered with invalid_token.
        ("invalid_grant", "invalid_token", "invalid_grant"),
        ("invalid_token", "invalid_token", ""),
        ("Operation.Failure.User.Not.Exist", "invalid_token", "Operation.Failure.User.Not.Exist"),
    ],
)
def test_a_refused_token_is_cached_with_ciams_reason(
    ciam: FakeCiam, code: str, shown: str, type_code: str
) -> None:
    token = token_for()
    ciam.fail("api", code=code, status=418, request_id="id-1", format="ciam")
    first, second = error_for(token), error_for(token)

    for error in (first, second):
        assert (error.code, error.type_code, error.stage) == (shown, type_code, "api")
    assert (first.upstream_status, first.request_id) == (418, "id-1")
    assert first.upstream_text
    assert check_count(ciam) == 1


def test_ciam_bearer_seconds_of_0_ignores_the_cached_results(
    ciam: FakeCiam, settings: Settings
) -> None:
    token = token_for()
    user_and_bearer(request_with(token))
    settings.CIAM_BEARER_SECONDS = 0
    user_and_bearer(request_with(token))

    assert check_count(ciam) == 2


def test_a_lost_connection_is_not_cached_as_a_refusal_of_the_token(ciam: FakeCiam) -> None:
    token = token_for()
    ciam.misbehave("api", "reset")
    error = error_for(token)

    assert (error.code, error.stage) == ("no_connection", "api")
    assert user_and_bearer(request_with(token)) is not None


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": ""}, {"authorization": "Basic bGk6cA=="}]
)
def test_a_request_without_the_bearer_scheme_has_no_user_and_asks_ciam_nothing(
    ciam: FakeCiam, headers: dict[str, str]
) -> None:
    assert user_and_bearer(RequestFactory().get("/", headers=headers)) is None
    assert not ciam.requests


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Bearer a b", "Bearer ü", f"Bearer {'x' * 8193}"]
)
def test_a_malformed_bearer_token_is_refused_without_a_request_to_ciam(
    ciam: FakeCiam, value: str
) -> None:
    with pytest.raises(CiamError) as raised:
        user_and_bearer(RequestFactory().get("/", headers={"authorization": value}))

    assert (raised.value.code, raised.value.stage) == ("invalid_token", "api")
    assert not ciam.requests


def test_each_change_of_the_bearer_settings_gives_another_cache_key(
    ciam: FakeCiam, settings: Settings
) -> None:
    client = settings.AUTHLIB_OAUTH_CLIENTS["ciam"]
    address = "server_metadata_url" if "server_metadata_url" in client else "access_token_url"
    other_address = f"https://other.example/{client[address].rpartition('/')[2]}"
    keys = {bearer._cache_key("t"), bearer._cache_key("u")}
    changes: list[dict[str, Any]] = [
        {"CIAM_BEARER": "jwt"},
        {"CIAM_BEARER_AUDIENCES": ["mobile_app"]},
        {"AUTHLIB_OAUTH_CLIENTS": {"ciam": {**client, "client_id": "other"}}},
        {"AUTHLIB_OAUTH_CLIENTS": {"ciam": {**client, address: other_address}}},
    ]
    for changed in changes:
        with override_settings(**changed):
            keys.add(bearer._cache_key("t"))

    assert len(keys) == 2 + len(changes)
    assert not [key for key in keys if not key.startswith("ciam_django.bearer.")]


def test_an_unknown_value_of_ciam_bearer_is_a_misconfiguration_that_names_the_setting(
    ciam: FakeCiam, settings: Settings
) -> None:
    token = token_for()
    settings.CIAM_BEARER = "chek"
    error = error_for(token)

    assert (error.code, error.stage) == ("bad_configuration", "api")
    assert "CIAM_BEARER" in error.upstream_text
