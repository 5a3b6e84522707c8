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
from ciam_django.client.cache import share, shared
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from ciam_django.privacy import loggable_code

# Seconds: who asks for help does so soon, and strangers can fill what is kept for long.
_REMEMBERED: Final = 24 * 3600
# Who is known by more is found by the newest.
_MOST_NAMES: Final = 8
# Where a request carries whom its failure is of.
_TRIED_BY: Final = "_ciam_tried_by"
# What people are known by to CIAM, and may type to sign in.
_NAMES: Final = ("email", "preferred_username", "username")


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """What the log line has, too, under the same request id."""

    at: datetime
    code: str
    request_id: str


def digest_of(name: str) -> str:
    """What stands for a name of somebody; phone numbers are few, hence with Django's key."""
    plain = name.strip().casefold().encode(errors="replace")
    return salted_hmac(__name__, plain, algorithm="sha256").hexdigest()[:32]


def tried_by(request: HttpRequest, name: str) -> None:
    """Have the request's failures noted for whom it names."""
    vars(request)[_TRIED_BY] = digest_of(name)


def note_names(request: HttpRequest, identity: CiamIdentity, person: Person) -> None:
    """Note how the person is found again: by what they have typed, here or at CIAM."""
    told = [person.claims.get(name) for name in _NAMES]
    digests = [digest_of(name) for name in told if isinstance(name, str) and name]
    typed = vars(request).get(_TRIED_BY)
    digests += [typed] if typed else []
    if not set(digests) <= set(identity.names):
        identity.names = [*dict.fromkeys([*digests, *identity.names])][:_MOST_NAMES]
        CiamIdentity.objects.filter(pk=identity.pk).update(names=identity.names)


def note_failure(
    sender: object, *, request: HttpRequest | None, error: CiamError, answer: Answer, **more: object
) -> None:
    """A receiver of ``login_failed``: whose it was, if they have named themselves."""
    if request:
        note(request, error.code, answer.request_id)


def note(request: HttpRequest, code: str, request_id: str) -> None:
    """Note the failure for whom the request was ``tried_by``, if that is known."""
    digest = vars(request).get(_TRIED_BY)
    if digest:
        noted = [time.time(), loggable_code(code), request_id]
        share(_place_of(digest), noted, seconds=_REMEMBERED)


def last_failure(identity: CiamIdentity) -> Failure | None:
    """The newest failure that is known of the person; None where all went well, or is forgotten."""
    found = list(_found([digest_of(identity.key), *identity.names]))
    return max(found, key=lambda failure: failure.at, default=None)


def _found(digests: Iterable[str]) -> Iterable[Failure]:
    for digest in digests:
        noted = shared(_place_of(digest))
        if noted:
            at, code, request_id = noted
            yield Failure(datetime.fromtimestamp(at, UTC), code, request_id)


def _place_of(digest: str) -> str:
    return f"ciam_django.last_failure.{digest}"
