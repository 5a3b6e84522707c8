"""Sends and tries, counted before CIAM is asked, which sees one address: ours.

Who is counted: the receiver or account, the visitor (a browser, or a session) and the client's
address. Who is over a limit gets the same answer as CIAM would give.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
from collections.abc import Sequence
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string

from ciam_django.client.cache import count_all, increment_count, uncount_all
from ciam_django.conf import RATE, conf
from ciam_django.errors import CiamError, Stage

_SECONDS: Final = {"s": 1, "min": 60, "hour": 3600, "day": 86400}
# As CIAM's own: wrong entries of one code, and seconds for which it is good.
_MAX_CODE_ENTRIES: Final = 5
_CODE_LIFETIME: Final = 600
# A network gives a household, or a phone, as many addresses of IPv6.
_IPV6_PREFIX: Final = 64

LIMIT_KEYS: Final = ("receiver", "visitor", "address")


def count_send(request: HttpRequest, recipient: str, channel: str) -> None:
    """Count a code that is to be sent, or raise ``...Send.SMS.Too.Frequency`` or its like."""
    name = "Email" if channel == "EMAIL" else "SMS"
    wait = _count(request, recipient, "send")
    if wait:
        code = f"Operation.Failure.Send.{name}.Too.Frequency"
        raise CiamError(code, stage=Stage.SEND_CODE, retry_after=wait)


def count_attempt(request: HttpRequest, recipient: str, stage: Stage) -> None:
    """Count an attempt to prove something, or raise ``too_many_requests``."""
    wait = _count(request, recipient, "try")
    if wait:
        raise CiamError("too_many_requests", stage=stage, retry_after=wait)


def uncount_attempt(request: HttpRequest, recipient: str) -> None:
    """Give back what an attempt counted that was right; what others failed stays."""
    _uncount(request, recipient, "try")


def _uncount(request: HttpRequest, recipient: str, act: str) -> None:
    uncount_all(_counters(request, recipient, act))


def count_captcha(request: HttpRequest) -> None:
    """Count a picture that CIAM is asked for, as if it were an attempt."""
    wait = _count(request, "", "picture")
    if wait:
        raise CiamError("too_many_requests", stage=Stage.API, retry_after=wait)


def count_token_check(request: HttpRequest) -> None:
    """Count a bearer token that has to be proved, as if it were an attempt."""
    wait = _count(request, "", "token")
    if wait:
        raise CiamError("too_many_requests", stage=Stage.API, retry_after=wait)


def uncount_token_check(request: HttpRequest) -> None:
    """Give back what a bearer token counted that was not refused."""
    _uncount(request, "", "token")


def count_code_entry(code_id: str, channel_name: str) -> None:
    """Count an entry of one code that was sent, or none was: both wear out alike."""
    count, _ = increment_count(_key("code", "entry", code_id), _CODE_LIFETIME)
    if count > _MAX_CODE_ENTRIES:
        raise CiamError(
            f"Operation.Failure.{channel_name}.Code.Too.Frequency", stage=Stage.VERIFY_CODE
        )


def _count(request: HttpRequest, recipient: str, act: str) -> int:
    """The seconds to wait, or 0. A longer period counts only what the shorter periods allow."""
    return count_all(_counters(request, recipient, act))


def _counters(request: HttpRequest, recipient: str, act: str) -> Sequence[tuple[str, int, int]]:
    """The counters of the request, for ``client.cache.count_all``."""
    limits = conf.CIAM_SEND_LIMITS if act == "send" else conf.CIAM_TRY_LIMITS
    address = _address(request, conf.CIAM_CLIENT_IP)
    counted_as = (recipient.casefold(), _visitor(request), address)
    names = dict(zip(LIMIT_KEYS, counted_as, strict=True))
    rates = rates_of(tuple((name, tuple(given)) for name, given in limits.items()))
    return [
        (f"{_key(act, limit_key, names[limit_key])}.{seconds}", limit, seconds)
        for limit_key, pairs in rates
        if names.get(limit_key)
        for limit, seconds in pairs
    ]


def _key(act: str, limit_key: str, name: str) -> str:
    # A digest, since caches are not where numbers and addresses belong.
    digest = hashlib.sha256(f"{settings.SECRET_KEY} {name}".encode(errors="replace")).hexdigest()
    return f"ciam_django.limit.{act}.{limit_key}.{digest[:32]}"


def _visitor(request: HttpRequest) -> str:
    """The browser by its form token, or its session; empty for who has neither."""
    session = getattr(request, "session", None)
    form_token: str = request.META.get("CSRF_COOKIE", "")
    return (session.session_key if session is not None else "") or form_token


def _address(request: HttpRequest, function_path: str) -> str:
    """The client's address, or its network for IPv6; never a header that anybody can write.

    ``function_path`` is ``CIAM_CLIENT_IP``.
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
    given: tuple[tuple[str, tuple[str, ...]], ...],
) -> Sequence[tuple[str, Sequence[tuple[int, int]]]]:
    """Scope -> (how many, in how many seconds), the shortest time first.

    A rate that can't be read is left out; ``manage.py check`` names it.
    """
    found = []
    for limit_key, rates in given:
        matches = [match for match in map(RATE.fullmatch, rates) if match]
        pairs = [(int(match[1]), _SECONDS[match[2]]) for match in matches]
        found.append((limit_key, sorted(pairs, key=lambda pair: pair[1])))
    return found
