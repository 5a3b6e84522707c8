"""Count the codes to send and the attempts before a call to CIAM, and enforce the rate limits."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ipaddress
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string

from ciam_django.answers import is_failure_of_ciam, is_refused_password
from ciam_django.client.cache import (
    count_in_period,
    decrement_counts,
    increment_count,
    increment_counts,
)
from ciam_django.conf import conf, rate_format
from ciam_django.errors import CiamError, Stage
from ciam_django.events import (
    ADDRESS_LIMIT_SHARED,
    LIMIT_REACHED,
    NO_CLIENT_ADDRESS,
    NO_LINE,
    Event,
    record,
)
from ciam_django.privacy import own_text

_SECONDS: Final = {"s": 1, "min": 60, "hour": 3600, "day": 86400}
_UNITS: Final = {seconds: unit for unit, seconds in _SECONDS.items()}
# CIAM has the same limits: the wrong entries of one code, and the lifetime of a code in seconds.
_MAX_CODE_ENTRIES: Final = 5
_CODE_LIFETIME: Final = 600
# The seconds for which a failed password of a name counts towards a CAPTCHA.
_PASSWORD_SECONDS: Final = 86400
# A network assigns a whole /64 of IPv6 addresses to one household or one phone.
_IPV6_PREFIX: Final = 64
# A translator puts an IPv4 address into the last 32 bits of an address of this network (RFC 6052).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Seconds between two warnings of a process about the same problem.
_WARNING_INTERVAL: Final = 600

# CIAM counts by client address, but sees only the address of this site. Hence the site counts by
# recipient or account, by visitor (a browser or a session), by client address, and for the whole
# site. A request over a limit gets the same answer as from CIAM.
LIMIT_KEYS: Final = ("receiver", "visitor", "address", "site")

# The key of the passwords that count towards a CAPTCHA, which have no setting with rates.
_CAPTCHA_KEY: Final = "captcha"

# The counts of a recipient for passwords and for codes are separate.
_RECEIVER_ACTS: Final[Mapping[Stage, str]] = {
    Stage.PASSWORD: "password",
    Stage.VERIFY_CODE: "code",
}


class _Act(NamedTuple):
    """A counted act: the setting with its limits, its name in the keys, and its error.

    With ``has_site_budget``, all browsers share the count of the site.
    """

    setting: str
    name: str
    stage: Stage
    code: str = "too_many_requests"
    has_site_budget: bool = False


_REFUSED_TOKEN: Final = _Act("CIAM_TRY_LIMITS", "token", Stage.API)


class _Counter(NamedTuple):
    """The count of one name in one period; ``limit_key`` is a key of the setting."""

    limit_key: str
    key: str
    limit: int
    seconds: int


class Counted:
    """The counters that a request has incremented.

    Each counter has its limit key, its key in the cache, and the time when its period ends.
    """

    __slots__ = ("counters",)

    def __init__(self) -> None:
        self.counters: list[tuple[str, str, float]] = []

    def subtract(self) -> None:
        """Subtract the request from all counters."""
        self._subtract((*LIMIT_KEYS, _CAPTCHA_KEY))

    def subtract_recipient(self) -> None:
        """Subtract the request from the counters of the recipient or account.

        The request stays counted for the visitor, the address and the site. Without these counts, a
        client could repeat a failing request without a limit.
        """
        self._subtract(("receiver",))

    def _subtract(self, limit_keys: Sequence[str]) -> None:
        now = time.time()
        # A new period has not counted the request.
        decrement_counts(
            [
                key
                for limit_key, key, ends_at in self.counters
                if limit_key in limit_keys and now < ends_at
            ]
        )


def count_send(
    request: HttpRequest, recipient: str, channel: str, known_browser: str = ""
) -> Counted:
    """Count a code to send; ``channel`` is ``EMAIL`` or ``SMS``.

    ``known_browser`` is the id of the browser if the browser has signed in with the recipient
    before. Raises ``CiamError`` with ``retry_after`` in seconds if a limit is reached:
    ``Operation.Failure.Send.Email.Too.Frequency`` or ``Operation.Failure.Send.SMS.Too.Frequency``.
    """
    name = "Email" if channel == "EMAIL" else "SMS"
    code = f"Operation.Failure.Send.{name}.Too.Frequency"
    act = _Act("CIAM_SEND_LIMITS", "send", Stage.SEND_CODE, code, has_site_budget=True)
    # All known browsers of a recipient share one count: with a count for each browser, the owner of
    # an account could send more codes by signing in with more browsers. The site's budget limits
    # costs, so all browsers share it.
    receiver = f"known {recipient}" if known_browser else recipient
    return _count(request, act, receiver, known_browser)


def count_attempt(
    request: HttpRequest, name: str, stage: Stage, known_browser: str = ""
) -> Counted:
    """Count an attempt with credentials; ``name`` is empty if the request names no account.

    ``known_browser`` is the id of the browser if the browser has signed in with the name before.
    Such a browser has a count of its own, so that others cannot lock its owner out. Raises
    ``CiamError``: ``too_many_requests``, with ``retry_after`` in seconds, above a limit.
    """
    act = _Act("CIAM_TRY_LIMITS", "try", stage)
    return _count(request, act, f"{known_browser} {name}".strip(), known_browser)


@contextlib.contextmanager
def counting_attempt(
    request: HttpRequest, name: str, stage: Stage, known_browser: str = ""
) -> Iterator[Counted]:
    """Count an attempt before the block with ``count_attempt``; subtract a successful attempt.

    The block gets the counters, and can add counters, from which a success is subtracted, too.
    A failed attempt stays counted. If CIAM itself has failed, the attempt is subtracted from the
    count of the account, because CIAM has not checked the credentials; likewise if CIAM has refused
    a new password, but not the code beside it. A code of CIAM that is not known stays counted,
    because it may mean that the credentials are wrong.
    """
    counted = count_attempt(request, name, stage, known_browser)
    try:
        yield counted
    except CiamError as error:
        if is_failure_of_ciam(error) or is_refused_password(error):
            counted.subtract_recipient()
        raise
    counted.subtract()


def count_captcha(request: HttpRequest, known_browser: str = "") -> None:
    """Count the request of a CAPTCHA, with the limits of an attempt.

    ``known_browser`` is the id of the browser if the browser has signed in before. Raises
    ``CiamError``: ``too_many_requests``, with ``retry_after`` in seconds, above a limit.
    """
    _count(request, _Act("CIAM_TRY_LIMITS", "picture", Stage.API), "", known_browser)


def count_refused_token(request: HttpRequest) -> None:
    """Count a refused bearer token, with the limits of an attempt.

    Raises ``CiamError``: ``too_many_requests``, with ``retry_after`` in seconds, above a limit.
    """
    _count(request, _REFUSED_TOKEN)


def refuse_many_refused_tokens(request: HttpRequest) -> None:
    """Raise ``too_many_requests`` if ``count_refused_token`` has reached a limit; count nothing."""
    for counter in _counters(request, _REFUSED_TOKEN):
        count, wait = count_in_period(counter.key)
        if count >= counter.limit:
            raise _limit_error(_REFUSED_TOKEN, counter, wait)


@contextlib.contextmanager
def counting_code_entry(code_id: str, channel_name: str) -> Iterator[None]:
    """Count an entry of a code before the block.

    Raises ``...Code.Too.Frequency`` for the sixth and later entries. The count is the same if no
    code was sent, so that the limit does not reveal accounts. If CIAM itself fails, or refuses the
    new password beside the code, the entry is not counted.
    """
    key = _key("code", "entry", code_id)
    count, _ = increment_count(key, _CODE_LIFETIME)
    if count > _MAX_CODE_ENTRIES:
        raise CiamError(
            f"Operation.Failure.{channel_name}.Code.Too.Frequency", stage=Stage.VERIFY_CODE
        )
    try:
        yield
    except CiamError as error:
        if is_failure_of_ciam(error) or is_refused_password(error):
            decrement_counts([key])
        raise


def count_password_without_captcha(name: str, counted: Counted) -> bool:
    """Count a password for a name; return True if the name needs a CAPTCHA after its failures.

    The limit is ``CIAM_CAPTCHA_AFTER``. The count is the same if the account does not exist. The
    counter is added to those of the attempt, ``counted``.
    """
    key = _password_key(name)
    count, wait = increment_count(key, _PASSWORD_SECONDS)
    counted.counters.append((_CAPTCHA_KEY, key, time.time() + wait - 1))
    return 0 < conf.CIAM_CAPTCHA_AFTER < count


def subtract_password_without_captcha(name: str) -> None:
    """Subtract a password that CIAM has not refused; the refused passwords stay counted."""
    decrement_counts([_password_key(name)])


def _password_key(name: str) -> str:
    return _key("password", "captcha", name.casefold())


# --- The counters -----------------------------------------------------------------------------


def _count(request: HttpRequest, act: _Act, receiver: str = "", known_browser: str = "") -> Counted:
    """Increment the counters of the request.

    If a counter is above its limit, raise the ``CiamError`` of the act, and subtract the request
    from all counters: CIAM does not get the request. A longer period counts only the requests that
    the shorter periods allow.
    """
    counted = Counted()
    counters = _counters(request, act, receiver, known_browser)
    counts = increment_counts([(counter.key, counter.seconds) for counter in counters])
    for counter, (count, wait) in zip(counters, counts, strict=True):
        # `wait` is rounded up, so the period may end up to a second earlier.
        counted.counters.append((counter.limit_key, counter.key, time.time() + wait - 1))
        if count > counter.limit:
            counted.subtract()
            if counter.limit_key == "address" and not (known_browser or conf.CIAM_CLIENT_IP):
                _warn(ADDRESS_LIMIT_SHARED)
            raise _limit_error(act, counter, wait)
    return counted


def _limit_error(act: _Act, counter: _Counter, wait: int) -> CiamError:
    """Return the error of a full counter; the error's log line names the counter."""
    rate = f"{counter.limit} per {_UNITS[counter.seconds]}"
    text = f"{act.setting}: the counter {counter.limit_key!r} is full ({rate})"
    is_line_due = counter.limit_key == "site" and _claim_warning(text)
    record(
        LIMIT_REACHED,
        level=None if is_line_due else NO_LINE,
        setting=act.setting,
        act=act.name,
        counter=counter.limit_key,
        rate=rate,
    )
    return CiamError(act.code, stage=act.stage, retry_after=wait, upstream_text=own_text(text))


def _counters(
    request: HttpRequest, act: _Act, receiver: str = "", known_browser: str = ""
) -> Sequence[_Counter]:
    """Return the counters of the request; a name that is empty is not counted.

    A known browser has counts of its own instead of the counts of its address and of the site:
    others at the same address must not lock its owner out. Only ``has_site_budget`` of the act
    makes all browsers share the count of the site.
    """
    limits, client_ip = getattr(conf, act.setting), conf.CIAM_CLIENT_IP
    names = {
        "receiver": receiver.casefold(),
        "visitor": _visitor(request),
        "address": known_browser or _address(request, client_ip),
        "site": (not act.has_site_budget and known_browser) or "all",
    }
    # A stranger who enters wrong passwords for an account must not stop the account's codes.
    receiver_act = _RECEIVER_ACTS.get(act.stage, act.name) if act.name == "try" else act.name
    return [
        _Counter(limit_key, f"{key}.{seconds}", limit, seconds)
        for limit_key, pairs in rates_of(tuple((key, tuple(rate)) for key, rate in limits.items()))
        if (name := names.get(limit_key))
        for key in [_key(receiver_act if limit_key == "receiver" else act.name, limit_key, name)]
        for limit, seconds in pairs
    ]


def _key(act: str, limit_key: str, name: str) -> str:
    # A digest, because phone numbers and addresses must not be readable in a cache.
    digest = hashlib.sha256(f"{settings.SECRET_KEY} {name}".encode(errors="replace")).hexdigest()
    return f"ciam_django.limit.{act}.{limit_key}.{digest[:32]}"


def _visitor(request: HttpRequest) -> str:
    """Return the session key or the CSRF token of the browser; empty if there is neither."""
    session = getattr(request, "session", None)
    form_token: str = request.META.get("CSRF_COOKIE", "")
    return (session.session_key if session is not None else "") or form_token


def _address(request: HttpRequest, function_path: str) -> str:
    """Return the client's address, or the network of an IPv6 address.

    ``function_path`` is ``CIAM_CLIENT_IP``. Without this function, only ``REMOTE_ADDR`` is read,
    because a client can send any header. All clients without an address have the same name, and
    share the limits.
    """
    address = (
        import_string(function_path)(request)
        if function_path
        else request.META.get("REMOTE_ADDR", "")
    )
    if not address:
        _warn(NO_CLIENT_ADDRESS)
        return "no address"
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return str(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    if parsed in _NAT64:
        return str(ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_PREFIX), strict=False))


@functools.lru_cache(maxsize=64)
def rates_of(
    limits: tuple[tuple[str, tuple[str, ...]], ...],
) -> Sequence[tuple[str, Sequence[tuple[int, int]]]]:
    """Return limit key -> (count, seconds) pairs, with the shortest period first.

    A rate that can't be read is left out; ``manage.py check`` reports the rate.
    """
    parsed = []
    for limit_key, texts in limits:
        matches = [match for match in map(rate_format().fullmatch, texts) if match]
        pairs = [(int(match[1]), _SECONDS[match[2]]) for match in matches]
        parsed.append((limit_key, sorted(pairs, key=lambda pair: pair[1])))
    return parsed


# Problem -> the time of its last log line. There are only a few problems.
_warned_at: dict[str, float] = {}


def _warn(event: Event) -> None:
    """Record the event; write its log line at most once in ``_WARNING_INTERVAL``."""
    record(event, level=None if _claim_warning(event.name) else NO_LINE)


def _claim_warning(problem: str) -> bool:
    """Claim the next warning; return False within ``_WARNING_INTERVAL`` after the last claim."""
    now = time.monotonic()
    if now - _warned_at.get(problem, -_WARNING_INTERVAL) < _WARNING_INTERVAL:
        return False
    _warned_at[problem] = now
    return True
