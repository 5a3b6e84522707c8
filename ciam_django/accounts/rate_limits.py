"""Count the codes to send and the attempts before a call to CIAM, and enforce the rate limits."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
from collections.abc import Sequence
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string

from ciam_django.client.cache import (
    decrement_count,
    decrement_counts,
    increment_count,
    increment_until_limit,
)
from ciam_django.conf import RATE, conf
from ciam_django.errors import CiamError, Stage

_SECONDS: Final = {"s": 1, "min": 60, "hour": 3600, "day": 86400}
# CIAM has the same limits: the wrong entries of one code, and the lifetime of a code in seconds.
_MAX_CODE_ENTRIES: Final = 5
_CODE_LIFETIME: Final = 600
# The seconds for which a failed password of a name counts towards a CAPTCHA.
_PASSWORD_SECONDS: Final = 86400
# A network assigns a whole /64 of IPv6 addresses to one household or one phone.
_IPV6_PREFIX: Final = 64

# CIAM counts by client address, but sees only the address of this site. Hence the site counts by
# recipient or account, by visitor (a browser or a session), and by client address. A request over
# a limit gets the same answer as from CIAM.
LIMIT_KEYS: Final = ("receiver", "visitor", "address")


def count_send(request: HttpRequest, recipient: str, channel: str) -> None:
    """Count a code to send; ``channel`` is ``EMAIL`` or ``SMS``.

    Raises ``CiamError`` with ``retry_after`` in seconds if a limit is reached:
    ``Operation.Failure.Send.Email.Too.Frequency`` or ``Operation.Failure.Send.SMS.Too.Frequency``.
    """
    name = "Email" if channel == "EMAIL" else "SMS"
    wait = _count(request, recipient, "send")
    if wait:
        code = f"Operation.Failure.Send.{name}.Too.Frequency"
        raise CiamError(code, stage=Stage.SEND_CODE, retry_after=wait)


def count_attempt(request: HttpRequest, recipient: str, stage: Stage) -> None:
    """Count an attempt with credentials.

    Raises ``CiamError``: ``too_many_requests``, with ``retry_after`` in seconds, above a limit.
    """
    wait = _count(request, recipient, "try")
    if wait:
        raise CiamError("too_many_requests", stage=stage, retry_after=wait)


def subtract_attempt(request: HttpRequest, recipient: str) -> None:
    """Subtract a successful attempt from the counts; failed attempts stay counted."""
    _subtract(request, recipient, "try")


def _subtract(request: HttpRequest, recipient: str, act: str) -> None:
    decrement_counts(_counters(request, recipient, act))


def count_captcha(request: HttpRequest) -> None:
    """Count the request of a CAPTCHA, with the limits of an attempt.

    Raises ``CiamError``: ``too_many_requests``, with ``retry_after`` in seconds, above a limit.
    """
    wait = _count(request, "", "picture")
    if wait:
        raise CiamError("too_many_requests", stage=Stage.API, retry_after=wait)


def count_token_check(request: HttpRequest) -> None:
    """Count the check of a bearer token, with the limits of an attempt.

    Raises ``CiamError``: ``too_many_requests``, with ``retry_after`` in seconds, above a limit.
    """
    wait = _count(request, "", "token")
    if wait:
        raise CiamError("too_many_requests", stage=Stage.API, retry_after=wait)


def subtract_token_check(request: HttpRequest) -> None:
    """Subtract a check from the counts, because the check did not reject the bearer token."""
    _subtract(request, "", "token")


def count_code_entry(code_id: str, channel_name: str) -> None:
    """Count an entry of a code; raise ``...Code.Too.Frequency`` for the sixth and later entries.

    The count is the same if no code was sent, so that the limit does not reveal accounts.
    """
    count, _ = increment_count(_key("code", "entry", code_id), _CODE_LIFETIME)
    if count > _MAX_CODE_ENTRIES:
        raise CiamError(
            f"Operation.Failure.{channel_name}.Code.Too.Frequency", stage=Stage.VERIFY_CODE
        )


def count_password_without_captcha(name: str) -> None:
    """Count a password for a name; raise ``Params.Blank.CaptchaCode`` after too many failures.

    The limit is ``CIAM_CAPTCHA_AFTER``. The count is the same if the account does not exist.
    """
    limit = conf.CIAM_CAPTCHA_AFTER
    count, _ = increment_count(_password_key(name), _PASSWORD_SECONDS)
    if limit and count > limit:
        raise CiamError("Params.Blank.CaptchaCode", stage=Stage.PASSWORD)


def subtract_password_without_captcha(name: str) -> None:
    """Subtract a password that CIAM has not refused; the refused passwords stay counted."""
    decrement_count(_password_key(name))


def _password_key(name: str) -> str:
    return _key("password", "captcha", name.casefold())


def _count(request: HttpRequest, recipient: str, act: str) -> int:
    """Count the request; return the seconds to wait if a limit is exceeded, otherwise 0.

    A longer period counts only the requests that the shorter periods allow.
    """
    return increment_until_limit(_counters(request, recipient, act))


def _counters(request: HttpRequest, recipient: str, act: str) -> Sequence[tuple[str, int, int]]:
    """Return the counters of the request as ``client.cache.increment_until_limit`` takes them."""
    limits = conf.CIAM_SEND_LIMITS if act == "send" else conf.CIAM_TRY_LIMITS
    address = _address(request, conf.CIAM_CLIENT_IP)
    counted_as = (recipient.casefold(), _visitor(request), address)
    names = dict(zip(LIMIT_KEYS, counted_as, strict=True))
    rates = rates_of(tuple((name, tuple(texts)) for name, texts in limits.items()))
    return [
        (f"{_key(act, limit_key, names[limit_key])}.{seconds}", limit, seconds)
        for limit_key, pairs in rates
        if names.get(limit_key)
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
    because a client can send any header.
    """
    address = (
        import_string(function_path)(request)
        if function_path
        else request.META.get("REMOTE_ADDR", "")
    )
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return str(address)
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)


@functools.lru_cache(maxsize=64)
def rates_of(
    limits: tuple[tuple[str, tuple[str, ...]], ...],
) -> Sequence[tuple[str, Sequence[tuple[int, int]]]]:
    """Return limit key -> (count, seconds) pairs, with the shortest period first.

    A rate that can't be read is left out; ``manage.py check`` reports the rate.
    """
    parsed = []
    for limit_key, texts in limits:
        matches = [match for match in map(RATE.fullmatch, texts) if match]
        pairs = [(int(match[1]), _SECONDS[match[2]]) for match in matches]
        parsed.append((limit_key, sorted(pairs, key=lambda pair: pair[1])))
    return parsed
