"""The limits of sent codes and of attempts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.cache import cache
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.accounts.rate_limits import (
    count_attempt,
    count_code_entry,
    count_send,
    rates_of,
    subtract_attempt,
)
from ciam_django.errors import CiamError, Stage

NUMBER = "+8613800000000"


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def request_from(address: str = "192.0.2.1", visitor: str = "") -> HttpRequest:
    request = RequestFactory().post("/", REMOTE_ADDR=address)
    if visitor:
        request.META["CSRF_COOKIE"] = visitor
    return request


def count_passes(function: Callable[[], None], times: int) -> int:
    """Call the function; return the number of calls that are not refused."""
    count = 0
    for _ in range(times):
        try:
            function()
        except CiamError:
            continue
        count += 1
    return count


def test_a_phone_number_gets_one_code_per_minute() -> None:
    count_send(request_from(), NUMBER, "SMS")
    with pytest.raises(CiamError) as raised:
        count_send(request_from("192.0.2.2"), NUMBER, "SMS")

    error = raised.value
    assert (error.code, error.stage) == ("Operation.Failure.Send.SMS.Too.Frequency", "send_code")
    assert error.retry_after is not None
    assert 55 <= error.retry_after <= 60


def test_an_email_address_gets_the_code_for_email() -> None:
    count_send(request_from(), "li@example.com", "EMAIL")
    with pytest.raises(CiamError) as raised:
        count_send(request_from(), "LI@example.com", "EMAIL")

    assert raised.value.code == "Operation.Failure.Send.Email.Too.Frequency"


@pytest.fixture
def advance_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the clock of the cache; return a function that advances the clock by seconds."""
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


def test_a_new_period_starts_after_the_old_period(
    settings: Settings, advance_clock: Callable[[float], None]
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/s",)}

    def send() -> None:
        count_send(request_from(), NUMBER, "SMS")

    assert count_passes(send, 3) == 1
    advance_clock(0.9)
    assert count_passes(send, 3) == 0
    advance_clock(0.2)
    assert count_passes(send, 3) == 1


def test_a_longer_period_counts_only_sends_that_the_shorter_period_allows(
    settings: Settings, advance_clock: Callable[[float], None]
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("3/hour", "1/s")}
    request = request_from()

    for _ in range(3):
        assert count_passes(lambda: count_send(request, NUMBER, "SMS"), 5) == 1
        advance_clock(1.1)
    with pytest.raises(CiamError) as raised:
        count_send(request, NUMBER, "SMS")
    assert (raised.value.retry_after or 0) > 3500


@pytest.mark.parametrize(
    ("limit_key", "same", "other"),
    [
        ("visitor", request_from("192.0.2.2", "a"), request_from("192.0.2.1", "b")),
        ("address", request_from("192.0.2.1", "b"), request_from("192.0.2.2", "a")),
    ],
)
def test_each_limit_key_has_its_own_count(
    settings: Settings, limit_key: str, same: HttpRequest, other: HttpRequest
) -> None:
    settings.CIAM_SEND_LIMITS = {limit_key: ("1/hour",)}
    count_send(request_from("192.0.2.1", "a"), NUMBER, "SMS")

    count_send(other, NUMBER, "SMS")
    with pytest.raises(CiamError):
        count_send(same, "+8613900000000", "SMS")


def test_a_request_without_cookie_and_session_counts_for_no_visitor(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"visitor": ("1/hour",)}

    assert count_passes(lambda: count_send(request_from(), NUMBER, "SMS"), 3) == 3


def test_ipv6_addresses_of_one_network_share_a_count(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"address": ("1/hour",)}
    count_send(request_from("2001:db8:1:2::1"), NUMBER, "SMS")

    count_send(request_from("2001:db8:1:3::1"), NUMBER, "SMS")
    with pytest.raises(CiamError):
        count_send(request_from("2001:db8:1:2:ffff::9"), NUMBER, "SMS")


def test_a_header_does_not_change_the_client_address(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"address": ("1/hour",)}
    count_send(request_from(), NUMBER, "SMS")

    request = RequestFactory().post(
        "/", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": "198.51.100.7"}
    )
    with pytest.raises(CiamError):
        count_send(request, NUMBER, "SMS")


def real_ip(request: HttpRequest) -> str:
    return request.headers["X-Real-IP"]


def test_a_function_of_the_project_finds_the_client_address(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"address": ("1/hour",)}
    settings.CIAM_CLIENT_IP = f"{__name__}.real_ip"

    def request(address: str) -> HttpRequest:
        return RequestFactory().post("/", headers={"X-Real-IP": address})

    count_send(request("198.51.100.7"), NUMBER, "SMS")
    count_send(request("198.51.100.8"), NUMBER, "SMS")
    count_send(request("not an address"), NUMBER, "SMS")
    with pytest.raises(CiamError):
        count_send(request("198.51.100.7"), NUMBER, "SMS")


def test_a_text_that_is_no_ip_address_is_counted_like_an_address(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"address": ("1/hour",)}
    settings.CIAM_CLIENT_IP = f"{__name__}.real_ip"
    request = RequestFactory().post("/", headers={"X-Real-IP": "not an address"})
    count_send(request, NUMBER, "SMS")

    with pytest.raises(CiamError):
        count_send(request, NUMBER, "SMS")


def test_successful_attempts_are_not_counted(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",), "address": ("2/min",)}
    request = request_from()

    for _ in range(5):
        count_attempt(request, "li", Stage.PASSWORD)
        subtract_attempt(request, "li")


def test_failed_attempts_stay_counted(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    request = request_from()
    count_attempt(request, "li", Stage.PASSWORD)
    count_attempt(request, "li", Stage.PASSWORD)
    subtract_attempt(request, "li")

    count_attempt(request, "LI", Stage.PASSWORD)
    with pytest.raises(CiamError) as raised:
        count_attempt(request, "li", Stage.PASSWORD)
    assert (raised.value.code, raised.value.stage) == ("too_many_requests", "password")


def test_an_attempt_that_was_not_counted_can_be_subtracted(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    request = request_from()
    subtract_attempt(request, "li")

    # A failure of the cache would be logged.
    assert not caplog.records
    assert count_passes(lambda: count_attempt(request, "li", Stage.PASSWORD), 5) == 2


def test_more_subtractions_than_attempts_do_not_raise_the_limit(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    request = request_from()
    count_attempt(request, "li", Stage.PASSWORD)
    for _ in range(3):
        subtract_attempt(request, "li")

    assert not caplog.records
    assert count_passes(lambda: count_attempt(request, "li", Stage.PASSWORD), 5) == 2


def test_a_code_is_refused_after_five_entries() -> None:
    assert count_passes(lambda: count_code_entry("flow 1", "SMS"), 7) == 5
    with pytest.raises(CiamError) as raised:
        count_code_entry("flow 1", "Email")
    assert raised.value.code == "Operation.Failure.Email.Code.Too.Frequency"

    count_code_entry("flow 2", "SMS")


def test_the_cache_has_no_phone_number_and_no_address() -> None:
    count_send(request_from(visitor="cookie"), NUMBER, "SMS")
    # No method lists the keys of this cache, and the stubs do not have the attribute.
    keys = " ".join(cache._cache)  # type: ignore[attr-defined]

    assert "ciam_django.limit.send.receiver" in keys
    for secret in ("13800000000", "192.0.2", "cookie"):
        assert secret not in keys


def test_the_cache_keys_depend_on_the_secret_key(settings: Settings) -> None:
    count_send(request_from(), NUMBER, "SMS")
    before = set(cache._cache)  # type: ignore[attr-defined]
    # An attacker who reads the cache cannot find a phone number by trying all numbers.
    settings.SECRET_KEY = "another"
    count_send(request_from(), NUMBER, "SMS")

    assert before
    assert len(set(cache._cache)) == 2 * len(before)  # type: ignore[attr-defined]


def test_an_unreadable_rate_is_left_out() -> None:
    limits = (("receiver", ("5/hour", "often", "1/min")), ("address", ()))

    assert rates_of(limits) == [("receiver", [(1, 60), (5, 3600)]), ("address", [])]


def test_no_request_is_refused_while_the_cache_is_down(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }
    with caplog.at_level(logging.WARNING):
        assert count_passes(lambda: count_send(request_from(), NUMBER, "SMS"), 3) == 3
        subtract_attempt(request_from(), "li")

    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def count_parallel_passes(function: Callable[[], None], times: int) -> int:
    with ThreadPoolExecutor(8) as threads:
        return sum(threads.map(lambda _: count_passes(function, 1), range(times)))


@pytest.mark.parametrize("limit", [1, 7])
def test_parallel_requests_do_not_exceed_the_limit(settings: Settings, limit: int) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": (f"{limit}/hour",)}

    assert count_parallel_passes(lambda: count_send(request_from(), NUMBER, "SMS"), 40) == limit


@pytest.mark.parametrize("limit", [1, 7])
def test_parallel_requests_do_not_exceed_the_limit_in_redis(
    settings: Settings, redis: Path, limit: int
) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"unix://{redis}",
        }
    }
    settings.CIAM_SEND_LIMITS = {"receiver": (f"{limit}/hour",)}
    settings.CIAM_TRY_LIMITS = {"receiver": (f"{limit}/hour",)}

    assert count_parallel_passes(lambda: count_send(request_from(), NUMBER, "SMS"), 40) == limit

    request = request_from()
    count_attempt(request, "li", Stage.PASSWORD)
    subtract_attempt(request, "li")
    assert count_parallel_passes(lambda: count_attempt(request, "li", Stage.PASSWORD), 40) == limit
