"""Remember the failures of the last day in Django's cache, for ``ciam_errors`` and for the admin.

In each hour, the newest ``_PLACES`` failures of each row of the table are remembered, and all
failures of the row are counted. So the memory has a bound: ``_HOURS * _PLACES`` (250) values for
each row, each with at most 1.5 KB and usually 0.7 KB. Anonymous users can cause the failures of a
few dozen rows: 40 rows that are full in each hour take 10 MB of a Redis. A flood of failures
overwrites the older failures of the same row and hour, and no others.

A failure costs two calls of the cache: one adds to the number of the row's failures in the hour,
which chooses the place, and the other writes the failure there. A sign-in that succeeds costs none.

A record has no personal data, and nothing that CIAM or a browser has written, except for the
request id of CIAM. The code of a failure is stored only if the code is a row or a key of the
settings.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpRequest

from ciam_django.client.cache import (
    get_many_cached,
    get_numbers,
    increment_number,
    set_cached,
)
from ciam_django.client.crypto import from_stored
from ciam_django.conf import cached_until_settings_change, conf
from ciam_django.errors import REQUEST_ID
from ciam_django.events import FAILED, Fact, add_observer
from ciam_django.lookup import is_known, known_keys
from ciam_django.privacy import loggable_code

CACHE_ALIAS: Final = "default"
# Seconds for which a failure is remembered.
LIFETIME: Final = 24 * 3600
# The current hour, and the hours that the last day has touched.
_HOURS: Final = 25
# The failures of a row that are remembered in an hour.
_PLACES: Final = 10

# Each process has these caches for itself, or they delete entries above MAX_ENTRIES. In such a
# cache, failures of anonymous users would push out the counters of the rate limits.
_FORGETFUL_CACHES: Final = (DummyCache, LocMemCache, DatabaseCache, FileBasedCache)


@dataclasses.dataclass(frozen=True, slots=True)
class RememberedFailure:
    """A failure of the last day.

    ``at`` is in seconds since the epoch. ``code`` is the true code; if no row has this code, it is
    the key of the row that answered. ``step`` is the step of the look-up. ``shown`` is the code
    that the user has got. ``sign_in`` is the random id that all log lines of the sign-in have, and
    ``method`` is the login method; both are empty if they are unknown.
    """

    at: float
    code: str
    row: str
    step: str
    kind: str
    stage: str
    status: int
    shown: str
    request_id: str
    upstream_request_id: str
    # The records of an older version do not have these members.
    sign_in: str = ""
    method: str = ""

    @property
    def time(self) -> datetime:
        """The time of the failure, in UTC."""
        return datetime.fromtimestamp(self.at, UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class RowFailures:
    """The failures of a row in the last day, of which ``failures`` has the newest first.

    ``count`` is the number of all of them. It begins with the full hour, up to an hour earlier.
    """

    row: str
    count: int
    failures: Sequence[RememberedFailure]

    @property
    def newest(self) -> RememberedFailure:
        """The newest failure."""
        return self.failures[0]


# --- Writing ----------------------------------------------------------------------------------


@enum.unique
class MemoryFault(enum.Enum):
    """The reason why there is no memory of failures."""

    OFF = "CIAM_REMEMBER_FAILURES is off"
    FORGETFUL = "the processes do not share the cache, or it deletes entries"
    DOWN = "the cache does not answer"


def memory_fault() -> MemoryFault | None:
    """Return the reason why no failures are remembered, or None; the call asks the cache."""
    if not conf.CIAM_REMEMBER_FAILURES:
        return MemoryFault.OFF
    if not is_remembering():
        return MemoryFault.FORGETFUL
    key = f"ciam_django.failures.question.{secrets.token_hex(8)}"
    set_cached(key, True, seconds=60)
    return None if get_many_cached([key]) else MemoryFault.DOWN


@cached_until_settings_change("CACHES", "CIAM_REMEMBER_FAILURES")
def is_remembering() -> bool:
    """Return True if the setting is on, and if the processes share a cache that keeps values."""
    return conf.CIAM_REMEMBER_FAILURES and not isinstance(caches[CACHE_ALIAS], _FORGETFUL_CACHES)


def observe_failures() -> None:
    """Remember each failure that is recorded from now on in this process."""
    add_observer(_observe, FAILED)


def _observe(name: str, facts: Mapping[str, Fact], request: HttpRequest | None) -> None:
    remember(facts)


def remember(facts: Mapping[str, Fact]) -> None:
    """Remember a failure with the facts of its event; do nothing if ``is_remembering`` is false.

    A failure of the cache is logged, and changes nothing else.
    """
    if not is_remembering():
        return
    now = time.time()
    row, code = loggable_code(str(facts["row"])), str(facts["code"] or "")
    failure = RememberedFailure(
        at=round(now, 3),
        code=loggable_code(code) if is_known(code) else row,
        row=row,
        step=loggable_code(str(facts["step"])),
        kind=loggable_code(str(facts["kind"])),
        stage=loggable_code(str(facts["stage"] or "")),
        status=int(facts["status"] or 0),
        shown=loggable_code(str(facts["shown"])),
        request_id=_request_id(facts["request_id"]),
        upstream_request_id=_request_id(facts["upstream_request_id"]),
        sign_in=loggable_code(str(facts.get("sign_in") or "")),
        method=loggable_code(str(facts.get("method") or "")),
    )
    key = _number_key(int(now // 3600), row)
    # Anonymous users can cause failures, so a broken cache is logged here without a warning.
    number = increment_number(key, seconds=LIFETIME + 3600, level=logging.INFO)
    if number is not None:
        place_key = _place_key(key, number % _PLACES)
        content = dataclasses.asdict(failure)
        set_cached(place_key, content, seconds=LIFETIME, level=logging.INFO)


def _request_id(value: object) -> str:
    return value if isinstance(value, str) and REQUEST_ID.fullmatch(value) else ""


def _number_key(hour: int, row: str) -> str:
    return f"ciam_django.failures.{hour}.{row}"


def _place_key(number_key: str, place: int) -> str:
    return f"{number_key}/{place}"


# --- Reading ----------------------------------------------------------------------------------


def remembered_rows() -> list[RowFailures]:
    """Return the failures of the last day that the cache still has, the most frequent row first."""
    now = time.time()
    hours = [int(now // 3600) - age for age in range(_HOURS)]
    rows = {
        _number_key(hour, row): row for row in map(loggable_code, known_keys()) for hour in hours
    }
    numbers = get_numbers(list(rows))
    counts: Counter[str] = Counter()
    for key, number in numbers.items():
        counts[rows[key]] += number
    places = [
        _place_key(key, place % _PLACES)
        for key, number in numbers.items()
        for place in range(max(1, number - _PLACES + 1), number + 1)
    ]
    by_row: dict[str, list[RememberedFailure]] = {}
    for content in get_many_cached(places).values():
        failure = from_stored(RememberedFailure, content)
        if failure and failure.at > now - LIFETIME:
            by_row.setdefault(failure.row, []).append(failure)
    found = [
        RowFailures(row, counts[row], sorted(failures, key=_time_of, reverse=True))
        for row, failures in by_row.items()
    ]
    return sorted(found, key=lambda row: row.count, reverse=True)


def _time_of(failure: RememberedFailure) -> float:
    return failure.at


def failures_with_reference(reference: str) -> list[RememberedFailure]:
    """Return the remembered failures with this request id, of the answer or of CIAM.

    An empty text is no request id, and finds nothing.
    """
    return [
        failure
        for row in remembered_rows()
        for failure in row.failures
        if reference and reference in (failure.request_id, failure.upstream_request_id)
    ]
