"""Record the last failures of a person, so that support staff can read them in the admin."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from typing import Final, NamedTuple

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
# The failures of a name that are recorded, and the failures of a person that are shown.
_MAX_FAILURES: Final = 5


class LastFailure(NamedTuple):
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
    """Record the failure for the name of ``attribute_failures_to``; do nothing without a name.

    If a name has two failures at the same moment, the record of one failure can be lost.
    """
    if digest := attributed_digest(request):
        record = _Record(time.time(), loggable_code(code), request_id)
        records = [record, *_records_of(digest)][:_MAX_FAILURES]
        set_cached(
            _cache_key(digest), [dataclasses.asdict(each) for each in records], seconds=_LIFETIME
        )


def last_failures_of(identity: CiamIdentity) -> list[LastFailure]:
    """Return at most five failures of the last day for the identity, the newest first."""
    digests = [name_digest(identity.key), *identity.names]
    records = [record for digest in digests for record in _records_of(digest)]
    records.sort(key=lambda record: record.at, reverse=True)
    return [
        LastFailure(datetime.fromtimestamp(record.at, UTC), record.code, record.request_id)
        for record in records[:_MAX_FAILURES]
    ]


def _records_of(digest: str) -> list[_Record]:
    """Return the recorded failures of the last day for a name, the newest first."""
    content = get_cached(_cache_key(digest))
    if not isinstance(content, list):
        return []
    records = (from_stored(_Record, each) for each in content)
    return [record for record in records if record and record.at > time.time() - _LIFETIME]


def _cache_key(digest: str) -> str:
    return f"ciam_django.last_failures.{digest}"
