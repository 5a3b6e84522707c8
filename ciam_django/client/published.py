"""What CIAM publishes of itself, its metadata and its keys: fetched rarely, shared by all."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ciam_django.client.shared import is_first, share, shared, unshare
from ciam_django.conf import conf
from ciam_django.errors import CiamError

logger = logging.getLogger("ciam_django")

# Seconds: for which a copy is as good as new; between two attempts to replace one; and between
# two looks at whether another process has succeeded.
FRESH: Final = 3600
_BETWEEN_ATTEMPTS: Final = 60
_BETWEEN_LOOKS: Final = 0.02
# Seconds for which those who wait can read why there is nothing.
_FAILURE_KEPT: Final = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copy(Generic[T]):
    """A document as it was at a time (seconds since the epoch), and what it says."""

    fetched_at: float
    content: T

    @property
    def age(self) -> float:
        """Seconds; another machine's clock may be ahead of ours."""
        return max(0.0, time.time() - self.fetched_at)


class Published(Generic[T]):
    """A JSON document at an address of CIAM's.

    ``fetched`` asks CIAM for it, ``parsed`` makes of it what is used; either may raise a
    ``CiamError``. The document is kept in Django's cache, what it says in this process. One
    process fetches while the others use the old copy, or wait where there is none.
    """

    def __init__(
        self, url: str, fetched: Callable[[str], dict[str, Any]], parsed: Callable[[Any], T]
    ) -> None:
        self._url = url
        self._fetched = fetched
        self._parsed = parsed
        self._key = cache_key(url)
        self._copy: Copy[T] | None = None
        self._asked_at = -float(_BETWEEN_ATTEMPTS)

    def current(self) -> Copy[T]:
        """The document, an hour old at most, or older while CIAM can't be reached."""
        copy = self._copy
        if copy is None or copy.age > FRESH:
            copy = self._newest()
        if copy is None:
            return self._asked() or self._awaited(None)
        return copy if copy.age <= FRESH else self._renewed(copy) or copy

    def newer(self, copy: Copy[T]) -> Copy[T]:
        """The document anew, where a copy lacks what it should have; at most once a minute."""
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
                "What CIAM publishes can't be fetched: code=%s. The copy of %d seconds ago serves.",
                error,
                copy.age,
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
            document = self._fetched(self._url)
            copy = Copy(time.time(), self._parsed(document))
        except CiamError as error:
            share(f"{self._key}.failed", error.code, seconds=_FAILURE_KEPT)
            raise
        else:
            share(self._key, (copy.fetched_at, document), seconds=conf.CIAM_STALE_LIMIT)
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
        """The newest copy of this process and of the cache that is not too old."""
        kept = shared(self._key)
        if kept and (self._copy is None or kept[0] > self._copy.fetched_at):
            self._copy = Copy(kept[0], self._parsed(kept[1]))
        if self._copy and self._copy.age > conf.CIAM_STALE_LIMIT:
            self._copy = None
        return self._copy


def cache_key(url: str) -> str:
    """Under which a document is kept."""
    return f"ciam_django.published.{hashlib.sha256(url.encode()).hexdigest()}"
