"""Record the last failure of a person, so that support staff can read the failure in the admin."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from django.http import HttpRequest

from ciam_django.accounts.backends import attributed_digest, name_digest
from ciam_django.accounts.models import CiamIdentity
from ciam_django.answers import Answer
from ciam_django.client.cache import get_cached, set_cached
from ciam_django.client.crypto import from_stored
from ciam_django.errors import CiamError
from ciam_django.privacy import loggable_code

# Seconds for which a record is cached. People ask for help soon, and anonymous users could fill a
# cache of long-lived records.
# The records are only in Django's cache, under digests: the input of an anonymous user creates no
# database row, and the cache contains no names.
_LIFETIME: Final = 24 * 3600


@dataclasses.dataclass(frozen=True, slots=True)
class LastFailure:
    """Time, code and request id of a failure; the log line has the same request id."""

    at: datetime
    code: str
    request_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Record:
    """A failure in the cache; ``at`` is in seconds since the epoch."""

    at: float
    code: str
    request_id: str


def record_login_failure(
    sender: object, *, request: HttpRequest | None, error: CiamError, answer: Answer, **more: object
) -> None:
    """Receive ``login_failed`` and record the failure for the name of the request."""
    if request:
        record_failure(request, error.code, answer.request_id)


def record_failure(request: HttpRequest, code: str, request_id: str) -> None:
    """Record the failure for the name of ``attribute_failures_to``; do nothing without a name."""
    if digest := attributed_digest(request):
        record = _Record(time.time(), loggable_code(code), request_id)
        set_cached(_cache_key(digest), dataclasses.asdict(record), seconds=_LIFETIME)


def last_failure_of(identity: CiamIdentity) -> LastFailure | None:
    """Return the newest failure in the cache for the identity; None if there is no failure."""
    failures = list(_recorded_failures([name_digest(identity.key), *identity.names]))
    return max(failures, key=lambda failure: failure.at, default=None)


def _recorded_failures(digests: Iterable[str]) -> Iterable[LastFailure]:
    for digest in digests:
        record = from_stored(_Record, get_cached(_cache_key(digest)))
        if record:
            at = datetime.fromtimestamp(record.at, UTC)
            yield LastFailure(at, record.code, record.request_id)


def _cache_key(digest: str) -> str:
    return f"ciam_django.last_failure.{digest}"
