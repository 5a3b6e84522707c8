"""What one process fetches of CIAM's for all: its metadata, its keys, the application's token."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ciam_django.client.cache import is_first, share, shared, unshare
from ciam_django.conf import conf
from ciam_django.errors import CiamError

logger = logging.getLogger("ciam_django")

# Seconds: between two attempts to replace a copy; between two looks at whether another process
# has succeeded; and for which those who look can read why it has not.
_BETWEEN_ATTEMPTS: Final = 60
_BETWEEN_LOOKS: Final = 0.02
_FAILURE_KEPT: Final = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What CIAM gave; seconds for which it is as good as new, and for which it can be used."""

    document: Any
    fresh_for: int
    good_for: int


@dataclass(frozen=True, slots=True)
class Copy(Generic[T]):
    """What CIAM gave at a time (seconds since the epoch), and what that means."""

    fetched_at: float
    fresh_until: float
    good_until: float
    content: T

    @property
    def is_fresh(self) -> bool:
        """Whether it is as good as new."""
        return time.time() < self.fresh_until

    @property
    def is_good(self) -> bool:
        """Whether it can be used."""
        return time.time() < self.good_until


class Kept(Generic[T]):
    """Something of CIAM's that changes rarely.

    ``fetched`` asks CIAM for it, ``parsed`` makes of the document what is used; either may raise
    a ``CiamError``. The document is kept in Django's cache under ``name``, what it means in this
    process. One process fetches while the others use the old copy, or wait where there is none.
    """

    def __init__(
        self, name: str, fetched: Callable[[], Fetched], parsed: Callable[[Any], T]
    ) -> None:
        self._fetched = fetched
        self._parsed = parsed
        self._key = cache_key(name)
        self._copy: Copy[T] | None = None
        self._asked_at = -float(_BETWEEN_ATTEMPTS)

    def current(self) -> Copy[T]:
        """A fresh copy, or a good one while CIAM can't be reached."""
        copy = self._copy
        if copy is None or not copy.is_fresh:
            copy = self._newest()
        if copy is None:
            return self._asked() or self._awaited(None)
        return copy if copy.is_fresh else self._renewed(copy) or copy

    def newer(self, copy: Copy[T]) -> Copy[T]:
        """A newer one than a copy that has proved wrong; asked for at most once a minute."""
        newest = self._newest()
        if newest and newest.fetched_at > copy.fetched_at:
            return newest
        return self._renewed(copy) or self._awaited(copy)

    def _renewed(self, copy: Copy[T]) -> Copy[T] | None:
        """A new copy; the old one where that fails; None where it is not ours to ask now."""
        try:
            return self._asked(copy)
        except CiamError as error:
            logger.warning(
                "CIAM gives nothing new: code=%s. The copy of %d seconds ago serves.",
                error,
                time.time() - copy.fetched_at,
            )
            return copy

    def _asked(self, old: Copy[T] | None = None) -> Copy[T] | None:
        """A newer copy; None where it is another process's to ask, or too soon to ask again."""
        if not is_first(f"{self._key}.fetching", seconds=math.ceil(conf.CIAM_TIMEOUT) + 1):
            return None
        try:
            newest = self._newest()
            if newest and (old is None or newest.fetched_at > old.fetched_at):
                # Of a process that was done before we began.
                return newest
            if old and not self._may_ask():
                return None
            fetched, now = self._fetched(), time.time()
            times = now, now + fetched.fresh_for, now + fetched.good_for
            copy = Copy(*times, self._parsed(fetched.document))
        except CiamError as error:
            share(f"{self._key}.failed", error.code, seconds=_FAILURE_KEPT)
            raise
        else:
            share(self._key, (*times, fetched.document), seconds=fetched.good_for)
            self._copy = copy
            return copy
        finally:
            unshare(f"{self._key}.fetching")

    def _may_ask(self) -> bool:
        """Whether no process has asked in this minute, nor this one, should there be no cache."""
        if time.monotonic() - self._asked_at < _BETWEEN_ATTEMPTS:
            return False
        self._asked_at = time.monotonic()
        return is_first(f"{self._key}.asked", seconds=_BETWEEN_ATTEMPTS)

    def _awaited(self, copy: Copy[T] | None) -> Copy[T]:
        """What another process is fetching, or else the old copy."""
        until = time.monotonic() + conf.CIAM_TIMEOUT
        while shared(f"{self._key}.fetching") and time.monotonic() < until:
            time.sleep(_BETWEEN_LOOKS)
        if found := self._newest() or copy:
            return found
        raise CiamError(shared(f"{self._key}.failed") or "timeout")

    def _newest(self) -> Copy[T] | None:
        """The newest copy of this process and of the cache, if it is good."""
        kept = shared(self._key)
        if kept and (self._copy is None or kept[0] > self._copy.fetched_at):
            fetched_at, fresh_until, good_until, document = kept
            # One that can't be read, for its key has gone, is none.
            with contextlib.suppress(CiamError):
                self._copy = Copy(fetched_at, fresh_until, good_until, self._parsed(document))
        if self._copy and not self._copy.is_good:
            self._copy = None
        return self._copy


def cache_key(name: str) -> str:
    """Under which a document is kept."""
    return f"ciam_django.kept.{hashlib.sha256(name.encode()).hexdigest()}"
