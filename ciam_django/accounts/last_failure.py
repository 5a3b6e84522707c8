"""Whose sign-in failed last, and how: for who is asked for help, in the admin.

In Django's cache alone, under digests: what strangers type makes no row, and names nobody.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from ciam_django.accounts.models import CiamIdentity
from ciam_django.answers import Answer
from ciam_django.client.cache import get_cached, set_cached
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from ciam_django.privacy import loggable_code

# Stored digests depend on this text: another text makes ``CiamIdentity.names`` useless.
_PURPOSE: Final = "ciam_django.accounts.last_failure"
# Seconds: who asks for help does so soon, and strangers can fill what is kept for long.
_LIFETIME: Final = 24 * 3600
# Who is known by more is found by the newest.
_MAX_NAMES: Final = 8
# Where a request carries whom its failure is of.
_REQUEST_ATTRIBUTE: Final = "_ciam_tried_by"
# What people are known by to CIAM, and may type to sign in.
_NAME_CLAIMS: Final = ("email", "preferred_username", "username")


@dataclasses.dataclass(frozen=True, slots=True)
class LastFailure:
    """What the log line has, too, under the same request id."""

    at: datetime
    code: str
    request_id: str


def name_digest(name: str) -> str:
    """What stands for a name of somebody; phone numbers are few, hence with Django's key."""
    plain = name.strip().casefold().encode(errors="replace")
    return salted_hmac(_PURPOSE, plain, algorithm="sha256").hexdigest()[:32]


def attribute_failures_to(request: HttpRequest, name: str) -> None:
    """Have the request's failures noted for whom it names."""
    vars(request)[_REQUEST_ATTRIBUTE] = name_digest(name)


def update_names(request: HttpRequest, identity: CiamIdentity, person: Person) -> None:
    """Note how the person is found again: by what they have typed, here or at CIAM."""
    claimed = [person.claims.get(name) for name in _NAME_CLAIMS]
    digests = [name_digest(name) for name in claimed if isinstance(name, str) and name]
    typed_digest = vars(request).get(_REQUEST_ATTRIBUTE)
    digests += [typed_digest] if typed_digest else []
    if not set(digests) <= set(identity.names):
        identity.names = [*dict.fromkeys([*digests, *identity.names])][:_MAX_NAMES]
        CiamIdentity.objects.filter(pk=identity.pk).update(names=identity.names)


def record_login_failure(
    sender: object, *, request: HttpRequest | None, error: CiamError, answer: Answer, **more: object
) -> None:
    """A receiver of ``login_failed``: whose it was, if they have named themselves."""
    if request:
        record_failure(request, error.code, answer.request_id)


def record_failure(request: HttpRequest, code: str, request_id: str) -> None:
    """Note the failure for whom the request was ``attribute_failures_to``, if that is known."""
    digest = vars(request).get(_REQUEST_ATTRIBUTE)
    if digest:
        record = [time.time(), loggable_code(code), request_id]
        set_cached(_cache_key(digest), record, seconds=_LIFETIME)


def last_failure_of(identity: CiamIdentity) -> LastFailure | None:
    """The newest failure that is known of the person; None where all went well, or is forgotten."""
    found = list(_recorded_failures([name_digest(identity.key), *identity.names]))
    return max(found, key=lambda failure: failure.at, default=None)


def _recorded_failures(digests: Iterable[str]) -> Iterable[LastFailure]:
    for digest in digests:
        record = get_cached(_cache_key(digest))
        if record:
            at, code, request_id = record
            yield LastFailure(datetime.fromtimestamp(at, UTC), code, request_id)


def _cache_key(digest: str) -> str:
    return f"ciam_django.last_failure.{digest}"
