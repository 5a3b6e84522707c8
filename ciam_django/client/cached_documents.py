"""Cache documents of CIAM for all processes: metadata, keys and the application's tokens."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Generic, TypeVar

from django.utils.asyncio import async_unsafe

from ciam_django.client.cache import (
    acquire_once,
    delete_cached,
    get_cached,
    is_acquired,
    set_cached,
)
from ciam_django.client.circuit_breaker import ASYNC_MESSAGE, call_deadline, refuse_while_open
from ciam_django.client.crypto import from_stored
from ciam_django.client.endpoints import EndpointGroup
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.events import OLD_COPY_USED, record

# Seconds between two attempts to replace a copy.
_ATTEMPT_INTERVAL: Final = 60
# Seconds after which a second process fetches, because the first may have been killed.
_LOCK_SECONDS: Final = 2
# Seconds between two look-ups of the copy that another process is fetching.
_POLL_INTERVAL: Final = 0.02
# Seconds for which the waiting processes can read the code of a failed fetch.
_FAILURE_LIFETIME: Final = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FetchedDocument:
    """A document of CIAM, and the seconds for which it is fresh and for which it is good."""

    document: Any = field(repr=False)
    fresh_for: int
    good_for: int


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document in Django's cache, with times in seconds since the epoch."""

    fetched_at: float
    fresh_until: float
    good_until: float
    document: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class CachedCopy(Generic[T]):
    """The parsed content of a document, with times in seconds since the epoch."""

    fetched_at: float
    fresh_until: float
    good_until: float
    content: T = field(repr=False)

    @property
    def is_good(self) -> bool:
        """True while the copy may be used."""
        return time.time() < self.good_until


class CachedDocument(Generic[T]):
    """A document of CIAM that changes rarely.

    ``name`` is unique and begins with a URL of the server, which a space ends. ``group`` is the
    group of the endpoint. ``fetch`` gets the document from CIAM, and ``parse`` turns the document
    into its content. Both may raise a ``CiamError``. ``copy`` is the copy of this process, which
    may be old, or None. Django's cache stores the document under ``name``, and each process
    stores the content. While one process fetches, the other processes use the old copy, or wait
    if they have no copy.
    """

    def __init__(
        self,
        name: str,
        group: EndpointGroup,
        fetch: Callable[[], FetchedDocument],
        parse: Callable[[Any], T],
    ) -> None:
        self.name = name
        self.copy: CachedCopy[T] | None = None
        self._group = group
        self._fetch = fetch
        self._parse = parse
        self._key = cache_key(name)
        self._url = name.partition(" ")[0]
        self._attempted_at = -float(_ATTEMPT_INTERVAL)

    @property
    def fresh_copy(self) -> CachedCopy[T] | None:
        """The copy of this process if it is fresh; neither the cache nor CIAM is asked."""
        copy = self.copy
        return copy if copy and time.time() < copy.fresh_until else None

    @async_unsafe(ASYNC_MESSAGE)
    def get_copy(self) -> CachedCopy[T]:
        """Return a fresh copy, or a copy that is still good while CIAM can't be reached.

        Fetches the document if the copy is not fresh. Raises a ``CiamError`` if there is no good
        copy and the fetch fails.
        """
        if fresh_copy := self.fresh_copy:
            return fresh_copy
        copy = self._load_newest()
        if copy is None:
            return self._try_fetch() or self._wait_for_copy(None)
        return copy if time.time() < copy.fresh_until else self._try_refresh(copy) or copy

    @async_unsafe(ASYNC_MESSAGE)
    def get_newer_copy(self, old: CachedCopy[T]) -> CachedCopy[T]:
        """Return a newer copy than ``old``, which has proved wrong; return ``old`` if this fails.

        Fetches the document, but at most once in ``_ATTEMPT_INTERVAL``.
        """
        newest = self._load_newest()
        if newest and newest.fetched_at > old.fetched_at:
            return newest
        return self._try_refresh(old) or self._wait_for_copy(old)

    def _try_refresh(self, copy: CachedCopy[T]) -> CachedCopy[T] | None:
        """Fetch a new copy and return it; return None if this process must not fetch now.

        If the fetch fails, log the failure and return the given copy.
        """
        try:
            return self._try_fetch(copy)
        except CiamError as error:
            record(OLD_COPY_USED, sent_code=error, seconds=time.time() - copy.fetched_at)
            return copy

    def _try_fetch(self, old: CachedCopy[T] | None = None) -> CachedCopy[T] | None:
        """Fetch the document, store the new copy in the cache and in this process, and return it.

        Return the copy of another process if the copy is newer than ``old``. Return None if another
        process is fetching, or if ``old`` is given and the last attempt is too recent. If the fetch
        fails, store its code for the waiting processes and raise the ``CiamError``.
        """
        if not acquire_once(f"{self._key}.fetching", seconds=_LOCK_SECONDS):
            return None
        try:
            newest = self._load_newest()
            if newest and (old is None or newest.fetched_at > old.fetched_at):
                # Another process has stored this copy in the meantime.
                return newest
            if old and not self._claim_attempt():
                return None
            fetched, now = self._fetch(), time.time()
            times = now, now + fetched.fresh_for, now + fetched.good_for
            copy = CachedCopy(*times, self._parse(fetched.document))
        except CiamError as error:
            set_cached(f"{self._key}.failed", error.code, seconds=_FAILURE_LIFETIME)
            raise
        else:
            stored = StoredDocument(*times, fetched.document)
            set_cached(self._key, asdict(stored), seconds=fetched.good_for)
            self.copy = copy
            return copy
        finally:
            delete_cached(f"{self._key}.fetching")

    def _claim_attempt(self) -> bool:
        """Reserve an attempt; return False if the last attempt is less than a minute ago.

        The attempts of all processes count, or only the attempts of this process if the cache
        fails.
        """
        if time.monotonic() - self._attempted_at < _ATTEMPT_INTERVAL:
            return False
        self._attempted_at = time.monotonic()
        return acquire_once(f"{self._key}.asked", seconds=_ATTEMPT_INTERVAL)

    def _wait_for_copy(self, copy: CachedCopy[T] | None) -> CachedCopy[T]:
        """Wait for the copy that another process is fetching, for ``CIAM_TIMEOUT`` at most.

        Return the newest good copy, otherwise the given copy. Without any copy, fetch the document
        if the other process has ended without a result. Raises a ``CiamError``: the code of the
        failure in the other process, the error of the own fetch, ``timeout``, or ``no_connection``
        while CIAM is silent.
        """
        until = call_deadline(conf.CIAM_TIMEOUT)
        while time.monotonic() < until:
            if copy is None:
                refuse_while_open(self._url, self._group)
            if is_acquired(f"{self._key}.fetching"):
                time.sleep(_POLL_INTERVAL)
            elif newest := self._load_newest() or copy:
                return newest
            elif failed := get_cached(f"{self._key}.failed"):
                raise CiamError(failed)
            elif fetched := self._try_fetch():
                return fetched
        if newest := self._load_newest() or copy:
            return newest
        raise CiamError("timeout")

    def _load_newest(self) -> CachedCopy[T] | None:
        """Load the newest copy of this process and of the cache; return None if it is not good."""
        stored = from_stored(StoredDocument, get_cached(self._key))
        if stored and (self.copy is None or stored.fetched_at > self.copy.fetched_at):
            times = stored.fetched_at, stored.fresh_until, stored.good_until
            # Another version of this package may have stored a document that this version refuses.
            with contextlib.suppress(CiamError):
                self.copy = CachedCopy(*times, self._parse(stored.document))
        if self.copy and not self.copy.is_good:
            self.copy = None
        return self.copy


def cache_key(name: str) -> str:
    """Return the key of a document in Django's cache."""
    return f"ciam_django.kept.{hashlib.sha256(name.encode()).hexdigest()}"
