"""The limits of sent codes and of attempts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import cache
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.accounts import rate_limits
from ciam_django.accounts.rate_limits import (
    Counted,
    count_attempt,
    count_captcha,
    count_password_without_captcha,
    count_refused_token,
    count_send,
    counting_attempt,
    counting_code_entry,
    rates_of,
    refuse_many_refused_tokens,
    subtract_password_without_captcha,
)
from ciam_django.errors import CiamError, Stage
from ciam_django.events import NO_CLIENT_ADDRESS
from tests.rows import for_each_row

NUMBER = "+8613800000000"


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()
    rate_limits._warned_at.clear()


def request_from(address: str = "192.0.2.1", visitor: str = "") -> HttpRequest:
    request = RequestFactory().post("/", REMOTE_ADDR=address)
    if visitor:
        request.META["CSRF_COOKIE"] = visitor
    return request


def count_passes(function: Callable[[], object], times: int) -> int:
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
def advance_stopped_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the clock of the cache; return a function that advances the clock by seconds."""
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


def test_a_new_period_starts_after_the_old_period(
    settings: Settings, advance_stopped_clock: Callable[[float], None]
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/s",)}

    def send() -> None:
        count_send(request_from(), NUMBER, "SMS")

    assert count_passes(send, 3) == 1
    advance_stopped_clock(0.9)
    assert count_passes(send, 3) == 0
    advance_stopped_clock(0.2)
    assert count_passes(send, 3) == 1


def test_a_longer_period_counts_only_sends_that_the_shorter_period_allows(
    settings: Settings, advance_stopped_clock: Callable[[float], None]
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("3/hour", "1/s")}
    request = request_from()

    for _ in range(3):
        assert count_passes(lambda: count_send(request, NUMBER, "SMS"), 5) == 1
        advance_stopped_clock(1.1)
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


def test_a_session_is_a_visitor_also_without_the_cookie_of_the_forms(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"visitor": ("1/hour",)}

    def send(session_key: str | None) -> None:
        request = request_from(visitor="" if session_key else "c")
        request.session = SessionStore(session_key)
        count_send(request, NUMBER, "SMS")

    # A session without a key is new, and its browser has only the cookie.
    assert [count_passes(partial(send, key), 2) for key in ("a" * 32, "b" * 32, None)] == [1, 1, 1]


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
        with counting_attempt(request, "li", Stage.PASSWORD):
            pass


def test_a_successful_password_does_not_count_towards_a_captcha(settings: Settings) -> None:
    settings.CIAM_CAPTCHA_AFTER = 2

    for _ in range(5):
        with counting_attempt(request_from(), "li", Stage.PASSWORD) as counted:
            assert not count_password_without_captcha("li", counted)
    for _ in range(2):
        assert not count_password_without_captcha("li", Counted())
    assert count_password_without_captcha("li", Counted())


def test_failed_attempts_stay_counted(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    request = request_from()
    count_attempt(request, "li", Stage.PASSWORD)
    count_attempt(request, "li", Stage.PASSWORD).subtract()

    count_attempt(request, "LI", Stage.PASSWORD)
    with pytest.raises(CiamError) as raised:
        count_attempt(request, "li", Stage.PASSWORD)
    assert (raised.value.code, raised.value.stage) == ("too_many_requests", "password")


def test_an_attempt_that_the_cache_has_forgotten_can_be_subtracted(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    request = request_from()
    counted = count_attempt(request, "li", Stage.PASSWORD)
    cache.clear()
    counted.subtract()

    # A failure of the cache would be logged.
    assert not caplog.records
    assert count_passes(lambda: count_attempt(request, "li", Stage.PASSWORD), 5) == 2


def test_more_subtractions_than_attempts_do_not_raise_the_limit(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    request = request_from()
    counted = count_attempt(request, "li", Stage.PASSWORD)
    for _ in range(3):
        counted.subtract()

    assert not caplog.records
    assert count_passes(lambda: count_attempt(request, "li", Stage.PASSWORD), 5) == 2


def test_a_code_is_refused_after_five_entries() -> None:
    assert count_passes(lambda: enter_code("flow 1", "SMS"), 7) == 5
    with pytest.raises(CiamError) as raised:
        enter_code("flow 1", "Email")
    assert raised.value.code == "Operation.Failure.Email.Code.Too.Frequency"

    enter_code("flow 2", "SMS")


def test_the_entries_of_a_code_are_counted_for_ten_minutes(
    advance_stopped_clock: Callable[[float], None],
) -> None:
    assert count_passes(lambda: enter_code("flow 1", "SMS"), 9) == 5
    advance_stopped_clock(595)
    assert count_passes(lambda: enter_code("flow 1", "SMS"), 9) == 0
    advance_stopped_clock(10)
    assert count_passes(lambda: enter_code("flow 1", "SMS"), 9) == 5


def test_a_name_needs_a_captcha_for_a_day_after_its_failed_passwords(
    settings: Settings, advance_stopped_clock: Callable[[float], None]
) -> None:
    settings.CIAM_CAPTCHA_AFTER = 2
    names = ("li", "LI", "li", "wang")
    needs = [count_password_without_captcha(name, Counted()) for name in names]
    assert needs == [False, False, True, False]
    # CIAM has not refused the third password.
    subtract_password_without_captcha("Li")
    advance_stopped_clock(86390)
    assert count_password_without_captcha("li", Counted())
    advance_stopped_clock(20)
    assert not count_password_without_captcha("li", Counted())

    settings.CIAM_CAPTCHA_AFTER = 0
    assert not any(count_password_without_captcha("li", Counted()) for _ in range(9))


def test_a_warning_is_logged_once_in_ten_minutes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for seconds, lines in ((0, 1), (595, 1), (600, 2), (605, 2)):
        monkeypatch.setattr(time, "monotonic", partial(float, 10_000 + seconds))
        rate_limits._warn(NO_CLIENT_ADDRESS)
        assert len(caplog.records) == lines


def enter_code(code_id: str, channel_name: str, error_code: str = "") -> None:
    with counting_code_entry(code_id, channel_name):
        if error_code:
            raise CiamError(error_code)


def test_an_entry_that_ciam_could_not_check_is_not_counted() -> None:
    for _ in range(9):
        with pytest.raises(CiamError, match="no_connection"):
            enter_code("flow 1", "SMS", "no_connection")
    for _ in range(5):
        with pytest.raises(CiamError, match=r"Code\.Error"):
            enter_code("flow 1", "SMS", "Operation.Failure.SMS.Code.Error")
    with pytest.raises(CiamError, match=r"Too\.Frequency"):
        enter_code("flow 1", "SMS")


def test_an_entry_with_an_unknown_code_of_ciam_is_counted() -> None:
    for _ in range(5):
        with pytest.raises(CiamError, match=r"Brand\.New\.Code"):
            enter_code("flow 1", "SMS", "Brand.New.Code")
    with pytest.raises(CiamError, match=r"Too\.Frequency"):
        enter_code("flow 1", "SMS")


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
        assert count_passes(lambda: count_send(request_from(), NUMBER, "SMS").subtract(), 3) == 3
        count_attempt(request_from(), "li", Stage.PASSWORD).subtract()
        refuse_many_refused_tokens(request_from())

    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def count_parallel_passes(function: Callable[[], object], times: int) -> int:
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
    count_attempt(request, "li", Stage.PASSWORD).subtract()
    assert count_parallel_passes(lambda: count_attempt(request, "li", Stage.PASSWORD), 40) == limit


# --- Counts that are given back ---------------------------------------------------------------


def test_a_code_that_was_not_sent_is_given_back_to_the_recipient_only(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",), "address": ("3/hour",)}
    for _ in range(3):
        count_send(request_from(), NUMBER, "SMS").subtract_recipient()

    # The client can't repeat the request without a limit, but another client can send a code.
    with pytest.raises(CiamError):
        count_send(request_from(), NUMBER, "SMS")
    count_send(request_from("192.0.2.2"), NUMBER, "SMS")


def test_a_refused_request_is_counted_nowhere(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("2/hour",), "visitor": ("1/hour",)}
    count_send(request_from(visitor="a"), "+8613900000000", "SMS")
    assert count_passes(lambda: count_send(request_from(visitor="a"), NUMBER, "SMS"), 5) == 0

    # A stranger whose own limit is reached does not use up the codes of a recipient.
    for visitor in ("b", "c"):
        count_send(request_from(visitor=visitor), NUMBER, "SMS")


def test_a_count_of_an_earlier_period_is_not_subtracted_from_the_next_period(
    settings: Settings, advance_stopped_clock: Callable[[float], None]
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/min",)}
    counted = count_send(request_from(), NUMBER, "SMS")
    advance_stopped_clock(61)
    count_send(request_from(), NUMBER, "SMS")
    counted.subtract_recipient()

    with pytest.raises(CiamError):
        count_send(request_from(), NUMBER, "SMS")


def fail_attempt(code: str) -> None:
    with counting_attempt(request_from(), "li", Stage.PASSWORD):
        raise CiamError(code)


@for_each_row(
    "code, attempts",
    [
        ("no_connection", 3),
        ("timeout", 3),
        ("Operation.Failure.Username.Or.Password.Error", 2),
        # Such a code may mean that the password is wrong.
        ("Brand.New.Code", 2),
    ],
)
def test_an_attempt_that_ciam_could_not_check_is_not_counted_for_the_account(
    settings: Settings, code: str, attempts: int
) -> None:
    cache.clear()
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",), "address": ("3/min",)}
    errors = []
    for _ in range(4):
        with pytest.raises(CiamError) as raised:
            fail_attempt(code)
        errors.append(raised.value.code)

    assert errors == [code] * attempts + ["too_many_requests"] * (4 - attempts)


# --- Passwords, codes, and known browsers -----------------------------------------------------


def test_passwords_and_codes_of_an_account_are_counted_apart(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}

    for stage in (Stage.PASSWORD, Stage.VERIFY_CODE):
        passes = count_passes(partial(count_attempt, request_from(), "li", stage), 3)
        assert passes == 2, stage


def test_passwords_and_codes_of_an_address_are_counted_together(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ("2/min",)}
    count_attempt(request_from(), "li", Stage.PASSWORD)
    count_attempt(request_from(), "li", Stage.VERIFY_CODE)

    with pytest.raises(CiamError):
        count_attempt(request_from(), "wang", Stage.PASSWORD)


def test_strangers_cannot_use_up_the_attempts_of_a_known_browser(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = dict.fromkeys(("receiver", "address", "site"), ("2/min",))

    def attempt(known_browser: str) -> Callable[[], object]:
        return lambda: count_attempt(request_from(), "li", Stage.PASSWORD, known_browser)

    assert [count_passes(attempt(browser), 5) for browser in ("", "a", "b", "")] == [2, 2, 2, 0]


def test_all_known_browsers_of_a_recipient_share_the_count_of_codes(settings: Settings) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("2/hour",), "address": ("2/hour",)}

    def send(known_browser: str) -> Callable[[], object]:
        return lambda: count_send(request_from(), NUMBER, "SMS", known_browser)

    assert [count_passes(send(browser), 5) for browser in ("", "a", "b", "")] == [2, 2, 0, 0]


def test_the_budget_of_the_site_holds_for_all_clients(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIAM_SEND_LIMITS = {"site": ("3/day",)}
    for number, browser in enumerate(("", "a", "b")):
        count_send(request_from(f"192.0.2.{number}"), f"+861380000000{number}", "SMS", browser)
    for _ in range(2):
        with pytest.raises(CiamError):
            count_send(request_from("192.0.2.9"), "+8613800000009", "SMS", "c")

    text = "CIAM_SEND_LIMITS: the counter 'site' is full (3 per day). All clients are refused."
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", text)
    ]
    fields = vars(caplog.records[0])
    assert (fields["ciam_setting"], fields["ciam_act"]) == ("CIAM_SEND_LIMITS", "send")
    assert (fields["ciam_counter"], fields["ciam_rate"]) == ("site", "3 per day")


@for_each_row("limit_key", rate_limits.LIMIT_KEYS)
def test_the_error_names_the_counter_that_is_full(settings: Settings, limit_key: str) -> None:
    cache.clear()
    settings.CIAM_TRY_LIMITS = {"receiver": ("600/hour",), limit_key: ("1/hour",)}
    count_attempt(request_from(visitor="cookie"), "li@example.com", Stage.PASSWORD)
    with pytest.raises(CiamError) as raised:
        count_attempt(request_from(visitor="cookie"), "li@example.com", Stage.PASSWORD)

    text = raised.value.upstream_text
    assert text == f"CIAM_TRY_LIMITS: the counter {limit_key!r} is full (1 per hour)"


# --- Addresses --------------------------------------------------------------------------------


@for_each_row(
    "one, other, is_same",
    [
        ("192.0.2.1", "192.0.2.2", False),
        # A server that listens on IPv6 sees mapped IPv4 addresses (RFC 4291, section 2.5.5.2).
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("64:ff9b::c000:201", "192.0.2.1", True),
        ("64:ff9b::c000:201", "64:ff9b::c000:202", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("", "192.0.2.1", False),
        ("", "", True),
    ],
)
def test_two_spellings_of_an_address_share_a_count(
    settings: Settings, one: str, other: str, is_same: bool
) -> None:
    cache.clear()
    settings.CIAM_SEND_LIMITS = {"address": ("1/hour",)}
    count_send(request_from(one), NUMBER, "SMS")

    assert count_passes(lambda: count_send(request_from(other), NUMBER, "SMS"), 1) == (
        0 if is_same else 1
    )


@for_each_row(
    "client_ip, known_browser, has_warning",
    [("", "", True), ("", "b1", False), ("ciam_django.network.remote_addr", "", False)],
)
def test_a_full_address_is_a_warning_only_if_the_address_may_be_a_proxy(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    client_ip: str,
    known_browser: str,
    has_warning: bool,
) -> None:
    cache.clear()
    caplog.clear()
    settings.CIAM_CLIENT_IP = client_ip
    settings.CIAM_TRY_LIMITS = {"address": ("2/min",)}
    attempt = partial(count_attempt, request_from(), "li", Stage.PASSWORD, known_browser)

    assert count_passes(attempt, 5) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"] * has_warning
    assert ("CIAM_CLIENT_IP is not set" in caplog.text) is has_warning


def no_address(request: HttpRequest) -> None:
    """A function of a project that finds no address."""


@for_each_row("function_path", ["", f"{__name__}.no_address"])
def test_clients_without_an_address_share_a_count_and_a_warning_is_logged(
    settings: Settings, caplog: pytest.LogCaptureFixture, function_path: str
) -> None:
    cache.clear()
    caplog.clear()
    rate_limits._warned_at.clear()
    settings.CIAM_CLIENT_IP = function_path
    settings.CIAM_SEND_LIMITS = {"address": ("2/hour",)}

    # A server on a Unix socket has no address of its clients.
    assert count_passes(lambda: count_send(request_from(""), NUMBER, "SMS"), 4) == 2
    warnings = [record for record in caplog.records if "is empty" in record.getMessage()]
    assert [record.levelname for record in warnings] == ["WARNING"]
    assert "CIAM_CLIENT_IP" in warnings[0].getMessage()


# --- CAPTCHAs and tokens ----------------------------------------------------------------------


def test_captchas_and_refused_tokens_have_counts_of_their_own(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ("2/min",)}
    for count in (count_captcha, count_refused_token):
        assert count_passes(partial(count, request_from()), 4) == 2


def test_captchas_and_refused_tokens_stop_no_account(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("1/hour",)}
    for count in (count_captcha, count_refused_token, refuse_many_refused_tokens):
        assert count_passes(partial(count, request_from()), 3) == 3


def test_many_refused_tokens_are_noticed_without_a_count(settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ("2/min", "9/hour")}
    for _ in range(5):
        refuse_many_refused_tokens(request_from())
    count_refused_token(request_from())
    refuse_many_refused_tokens(request_from())
    count_refused_token(request_from())
    with pytest.raises(CiamError) as raised:
        refuse_many_refused_tokens(request_from())

    assert (raised.value.code, raised.value.stage) == ("too_many_requests", "api")
    assert 50 < (raised.value.retry_after or 0) <= 60
