"""How many codes are sent, and how often something is tried."""

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
    uncount_attempt,
)
from ciam_django.errors import CiamError, Stage

NUMBER = "+8613800000000"


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    cache.clear()


def request_from(address: str = "192.0.2.1", visitor: str = "") -> HttpRequest:
    request = RequestFactory().post("/", REMOTE_ADDR=address)
    if visitor:
        request.META["CSRF_COOKIE"] = visitor
    return request


def passed(function: Callable[[], None], times: int) -> int:
    """How many of so many calls are not refused."""
    count = 0
    for _ in range(times):
        try:
            function()
        except CiamError:
            continue
        count += 1
    return count


def test_a_number_gets_one_code_a_minute() -> None:
    count_send(request_from(), NUMBER, "SMS")
    with pytest.raises(CiamError) as raised:
        count_send(request_from("192.0.2.2"), NUMBER, "SMS")

    error = raised.value
    assert (error.code, error.stage) == ("Operation.Failure.Send.SMS.Too.Frequency", "send_code")
    assert error.retry_after is not None
    assert 55 <= error.retry_after <= 60


def test_an_address_gets_the_answer_of_mail() -> None:
    count_send(request_from(), "li@example.com", "EMAIL")
    with pytest.raises(CiamError) as raised:
        count_send(request_from(), "LI@example.com", "EMAIL")

    assert raised.value.code == "Operation.Failure.Send.Email.Too.Frequency"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stops the clock of the cache, and lets so many seconds pass."""
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def test_a_time_that_is_over_begins_anew(
    settings: Settings, later: Callable[[float], None]
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/s",)}

    def send() -> None:
        count_send(request_from(), NUMBER, "SMS")

    assert passed(send, 3) == 1
    later(0.9)
    assert passed(send, 3) == 0
    later(0.2)
    assert passed(send, 3) == 1


def test_a_longer_time_counts_what_the_shorter_let_pass(
    settings: Settings, later: Callable[[float], None]
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("3/hour", "1/s")}
    request = request_from()

    for _ in range(3):
        assert passed(lambda: count_send(request, NUMBER, "SMS"), 5) == 1
        later(1.1)
    with pytest.raises(CiamError) as raised:
        count_send(request, NUMBER, "SMS")
    assert (raised.value.retry_after or 0) > 3500


@pytest.mark.parametrize(
    ("scope", "same", "other"),
    [
        ("visitor", request_from("192.0.2.2", "a"), request_from("192.0.2.1", "b")),
        ("address", request_from("192.0.2.1", "b"), request_from("192.0.2.2", "a")),
    ],
)
def test_each_scope_counts_for_itself(
    settings: Settings, scope: str, same: HttpRequest, other: HttpRequest
) -> None:
    settings.CIAM_SEND_LIMITS = {scope: ("1/hour",)}
    count_send(request_from("192.0.2.1", "a"), NUMBER, "SMS")

    count_send(other, NUMBER, "SMS")
    with pytest.raises(CiamError):
        count_send(same, "+8613900000000", "SMS")


def test_who_has_neither_cookie_nor_session_is_no_visitor(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"visitor": ("1/hour",)}

    assert passed(lambda: count_send(request_from(), NUMBER, "SMS"), 3) == 3


def test_the_addresses_of_one_network_are_one(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"address": ("1/hour",)}
    count_send(request_from("2001:db8:1:2::1"), NUMBER, "SMS")

    count_send(request_from("2001:db8:1:3::1"), NUMBER, "SMS")
    with pytest.raises(CiamError):
        count_send(request_from("2001:db8:1:2:ffff::9"), NUMBER, "SMS")


def test_a_header_changes_nothing(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"address": ("1/hour",)}
    count_send(request_from(), NUMBER, "SMS")

    request = RequestFactory().post(
        "/", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": "198.51.100.7"}
    )
    with pytest.raises(CiamError):
        count_send(request, NUMBER, "SMS")


def address_of_tests(request: HttpRequest) -> str:
    return request.headers["X-Real-IP"]


def test_the_project_can_say_where_the_address_is(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"address": ("1/hour",)}
    settings.CIAM_CLIENT_IP = f"{__name__}.address_of_tests"

    def request(address: str) -> HttpRequest:
        return RequestFactory().post("/", headers={"X-Real-IP": address})

    count_send(request("198.51.100.7"), NUMBER, "SMS")
    count_send(request("198.51.100.8"), NUMBER, "SMS")
    count_send(request("not an address"), NUMBER, "SMS")
    with pytest.raises(CiamError):
        count_send(request("198.51.100.7"), NUMBER, "SMS")


def test_a_right_password_counts_for_nothing(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",), "address": ("2/min",)}
    request = request_from()

    for _ in range(5):
        count_attempt(request, "li", Stage.PASSWORD)
        uncount_attempt(request, "li")


def test_wrong_ones_stay_counted(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    request = request_from()
    count_attempt(request, "li", Stage.PASSWORD)
    count_attempt(request, "li", Stage.PASSWORD)
    uncount_attempt(request, "li")

    count_attempt(request, "LI", Stage.PASSWORD)
    with pytest.raises(CiamError) as raised:
        count_attempt(request, "li", Stage.PASSWORD)
    assert (raised.value.code, raised.value.stage) == ("too_many_requests", "password")


def test_what_was_never_counted_can_be_given_back(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    request = request_from()
    uncount_attempt(request, "li")

    # A failure of the cache would be logged.
    assert not caplog.records
    assert passed(lambda: count_attempt(request, "li", Stage.PASSWORD), 5) == 2


def test_giving_back_more_than_was_counted_raises_no_limit(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    request = request_from()
    count_attempt(request, "li", Stage.PASSWORD)
    for _ in range(3):
        uncount_attempt(request, "li")

    assert not caplog.records
    assert passed(lambda: count_attempt(request, "li", Stage.PASSWORD), 5) == 2


def test_a_code_wears_out_after_five_entries() -> None:
    assert passed(lambda: count_code_entry("flow 1", "SMS"), 7) == 5
    with pytest.raises(CiamError) as raised:
        count_code_entry("flow 1", "Email")
    assert raised.value.code == "Operation.Failure.Email.Code.Too.Frequency"

    count_code_entry("flow 2", "SMS")


def test_no_number_and_no_address_is_in_the_cache() -> None:
    count_send(request_from(visitor="cookie"), NUMBER, "SMS")
    # The cache of one process, whose contents no method lists and the stubs leave out.
    keys = " ".join(cache._cache)  # type: ignore[attr-defined]

    assert "ciam_django.limit.send.receiver" in keys
    for secret in ("13800000000", "192.0.2", "cookie"):
        assert secret not in keys


def test_a_name_in_the_cache_is_a_digest_that_needs_the_secret_key(settings: Settings) -> None:
    count_send(request_from(), NUMBER, "SMS")
    before = set(cache._cache)  # type: ignore[attr-defined]
    # Whoever reads the cache and tries all phone numbers has to have the key, too.
    settings.SECRET_KEY = "another"
    count_send(request_from(), NUMBER, "SMS")

    assert before
    assert len(set(cache._cache)) == 2 * len(before)  # type: ignore[attr-defined]


def test_a_rate_that_cannot_be_read_is_left_out() -> None:
    given = (("receiver", ("5/hour", "often", "1/min")), ("address", ()))

    assert rates_of(given) == [("receiver", [(1, 60), (5, 3600)]), ("address", [])]


def test_without_a_cache_nobody_is_refused(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }
    with caplog.at_level(logging.WARNING):
        assert passed(lambda: count_send(request_from(), NUMBER, "SMS"), 3) == 3
        uncount_attempt(request_from(), "li")

    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def at_once(function: Callable[[], None], times: int) -> int:
    with ThreadPoolExecutor(8) as threads:
        return sum(threads.map(lambda _: passed(function, 1), range(times)))


@pytest.mark.parametrize("most", [1, 7])
def test_of_many_at_once_just_as_many_pass_as_may(settings: Settings, most: int) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": (f"{most}/hour",)}

    assert at_once(lambda: count_send(request_from(), NUMBER, "SMS"), 40) == most


@pytest.mark.parametrize("most", [1, 7])
def test_so_it_is_over_redis(settings: Settings, redis: Path, most: int) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"unix://{redis}",
        }
    }
    settings.CIAM_SEND_LIMITS = {"receiver": (f"{most}/hour",)}
    settings.CIAM_TRY_LIMITS = {"receiver": (f"{most}/hour",)}

    assert at_once(lambda: count_send(request_from(), NUMBER, "SMS"), 40) == most

    request = request_from()
    count_attempt(request, "li", Stage.PASSWORD)
    uncount_attempt(request, "li")
    assert at_once(lambda: count_attempt(request, "li", Stage.PASSWORD), 40) == most
