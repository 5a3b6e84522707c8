"""The cache of CIAM's metadata and keys, for all processes and while CIAM is down."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from ciam_django.client import CiamClient, cached_documents
from ciam_django.client.app import ciam_app
from ciam_django.client.cache import FORMAT, acquire_once, delete_cached, set_cached
from ciam_django.client.cached_documents import (
    _LOCK_SECONDS,
    CachedDocument,
    FetchedDocument,
    cache_key,
)
from ciam_django.client.crypto import fernet_for
from ciam_django.client.endpoints import EndpointGroup
from ciam_django.client.oauth import _keys_of, _metadata_of
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from ciam_django.testing.fixtures import cache_keys_of
from ciam_django.testing.keys import other_key

# Seconds for which a document is fresh, and without calls after CIAM has been silent.
FRESH, PAUSE_SECONDS = 3600, 10


@pytest.fixture
def mode() -> str:
    return "oidc"


def return_at_once() -> None:
    """Do nothing."""


def wait_a_moment() -> None:
    """Wait until the other threads have called; a later thread finds the cached copy."""
    time.sleep(0.3)


def new_metadata(
    ciam: FakeCiam, *, wait: Callable[[], object] = return_at_once
) -> CachedDocument[Any]:
    """The metadata in a new process, which shares only the cache with other processes."""
    url = ciam.metadata_and_jwks_urls[0]
    return CachedDocument(url, EndpointGroup.METADATA, waiting_fetch(url, wait), _metadata_of)


def new_keys(ciam: FakeCiam, *, wait: Callable[[], object] = return_at_once) -> CachedDocument[Any]:
    url = ciam.metadata_and_jwks_urls[1]
    return CachedDocument(url, EndpointGroup.METADATA, waiting_fetch(url, wait), _keys_of)


def waiting_fetch(url: str, wait: Callable[[], object]) -> Callable[[], FetchedDocument]:
    """A function that fetches the document from the fake and waits before it returns."""

    def fetch_and_wait() -> FetchedDocument:
        document = ciam_app()._fetch_document("metadata", url)
        wait()
        return document

    return fetch_and_wait


def fetch_count(ciam: FakeCiam) -> int:
    return sum(request.stage in ("discovery", "jwks") for request in ciam.requests)


def test_a_document_is_fetched_once_for_all_processes(ciam: FakeCiam) -> None:
    first, second = new_metadata(ciam), new_metadata(ciam)
    copies = [first.get_copy(), first.get_copy(), second.get_copy(), new_metadata(ciam).get_copy()]

    assert {copy.content["issuer"] for copy in copies} == {ciam.issuer}
    assert fetch_count(ciam) == 1


def test_a_document_is_fetched_again_after_an_hour(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    first, second = new_metadata(ciam), new_metadata(ciam)
    old = first.get_copy()
    advance_clock(FRESH - 1)
    assert first.get_copy() is old
    assert fetch_count(ciam) == 1

    advance_clock(2)
    assert first.get_copy().fetched_at > old.fetched_at
    assert second.get_copy().fetched_at > old.fetched_at
    assert fetch_count(ciam) == 2


def test_a_fresh_copy_of_the_process_needs_no_cache(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    document = new_metadata(ciam)
    copies = [document.fresh_copy]
    copy = document.get_copy()
    cache.clear()
    for seconds in (FRESH - 1, 2):
        advance_clock(seconds)
        copies.append(document.fresh_copy)

    assert copies == [None, copy, None]


def test_a_process_parses_a_document_once(ciam: FakeCiam) -> None:
    document = new_keys(ciam)

    assert document.get_copy().content is document.get_copy().content


@pytest.mark.parametrize("has_copy", [True, False])
def test_the_old_copy_is_used_while_ciam_is_down(
    has_copy: bool,
    ciam: FakeCiam,
    advance_clock: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = new_metadata(ciam)
    old = first.get_copy()
    ciam.misbehave("discovery", "reset", times=None)
    advance_clock(FRESH + 1)
    document = first if has_copy else new_metadata(ciam)

    for _ in range(3):
        assert document.get_copy().fetched_at == old.fetched_at
    # All processes together make one attempt a minute, and each attempt logs one line.
    assert fetch_count(ciam) == 2
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "code=no_connection" in record.getMessage()

    advance_clock(61)
    assert new_metadata(ciam).get_copy().fetched_at == old.fetched_at
    assert fetch_count(ciam) == 3


def test_the_old_copy_is_used_no_longer_than_the_stale_limit(
    ciam: FakeCiam, settings: Settings, advance_clock: Callable[[float], None]
) -> None:
    settings.CIAM_STALE_LIMIT = 7200
    document = new_metadata(ciam)
    document.get_copy()
    ciam.misbehave("discovery", "reset", times=None)
    advance_clock(7100)
    assert document.get_copy().is_good

    advance_clock(200)
    for stale in (document, new_metadata(ciam)):
        with pytest.raises(CiamError) as raised:
            stale.get_copy()
        assert raised.value.code == "no_connection"


def test_an_unusable_document_does_not_replace_the_old_copy(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    document = new_metadata(ciam)
    old = document.get_copy()
    advance_clock(FRESH + 1)
    ciam.metadata = {"token_endpoint": 7}

    assert document.get_copy() == old
    assert new_metadata(ciam).get_copy() == old


@pytest.mark.slow("waits for deadlines")
def test_a_single_process_fetches_while_other_processes_wait(ciam: FakeCiam) -> None:
    with ThreadPoolExecutor(8) as pool:
        copies = list(
            pool.map(lambda _: new_metadata(ciam, wait=wait_a_moment).get_copy(), range(8))
        )

    assert len({copy.fetched_at for copy in copies}) == 1
    assert fetch_count(ciam) == 1


def test_a_single_process_refreshes_while_other_processes_use_the_old_copy(
    ciam: FakeCiam, advance_clock: Callable[[float], None]
) -> None:
    old = new_metadata(ciam).get_copy()
    advance_clock(FRESH + 1)
    has_begun, may_end = threading.Event(), threading.Event()

    def wait() -> None:
        has_begun.set()
        assert may_end.wait(60)

    with ThreadPoolExecutor(1) as pool:
        renewed = pool.submit(new_metadata(ciam, wait=wait).get_copy)
        try:
            assert has_begun.wait(60)
            assert new_metadata(ciam).get_copy().fetched_at == old.fetched_at
            assert not renewed.done()
        finally:
            may_end.set()

        assert renewed.result().fetched_at > old.fetched_at
    assert fetch_count(ciam) == 2


def test_waiting_processes_fail_with_the_code_of_the_fetching_process(ciam: FakeCiam) -> None:
    def code_of(_: int) -> str:
        with pytest.raises(CiamError) as raised:
            new_metadata(ciam).get_copy()
        return raised.value.code

    ciam.fail("discovery", code="Service.Internal.Error", status=500, times=None)
    with ThreadPoolExecutor(8) as pool:
        codes = set(pool.map(code_of, range(8)))

    assert codes == {"Service.Internal.Error"}


def test_a_waiting_process_does_not_repeat_a_failed_fetch(ciam: FakeCiam) -> None:
    key = cache_key(ciam.metadata_and_jwks_urls[0])
    acquire_once(f"{key}.fetching", seconds=60)
    set_cached(f"{key}.failed", "Service.Internal.Error", seconds=60)
    timer = threading.Timer(0.05, delete_cached, [f"{key}.fetching"])
    timer.start()
    with pytest.raises(CiamError, match=r"Service\.Internal\.Error"):
        new_metadata(ciam).get_copy()
    timer.join()

    assert fetch_count(ciam) == 0


@pytest.mark.slow("waits for deadlines")
def test_no_process_waits_longer_than_the_timeout(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_TIMEOUT = 0.3
    # Another process has died during its fetch.
    acquire_once(f"{cache_key(ciam.metadata_and_jwks_urls[0])}.fetching", seconds=60)
    began = time.monotonic()
    with pytest.raises(CiamError) as raised:
        new_metadata(ciam).get_copy()

    assert raised.value.code == "timeout"
    assert 0.3 <= time.monotonic() - began < 10
    assert fetch_count(ciam) == 0


class TestNewer:
    """A token names a key that the cached copy lacks."""

    def test_a_newer_copy_is_fetched_at_once(self, ciam: FakeCiam) -> None:
        document = new_keys(ciam)
        old = document.get_copy()
        ciam.rotate_keys()

        assert document.get_newer_copy(old).content.keys[0].kid == ciam.key.kid
        assert document.get_copy().content.keys[0].kid == ciam.key.kid
        assert fetch_count(ciam) == 2

    @pytest.mark.slow("waits for deadlines")
    def test_a_newer_copy_is_fetched_by_a_single_process(self, ciam: FakeCiam) -> None:
        others = [new_keys(ciam, wait=wait_a_moment) for _ in range(8)]
        old, *_ = [document.get_copy() for document in others]
        ciam.rotate_keys()
        with ThreadPoolExecutor(8) as pool:
            newer = list(pool.map(lambda document: document.get_newer_copy(old), others))

        assert {copy.content.keys[0].kid for copy in newer} == {ciam.key.kid}
        assert fetch_count(ciam) == 2

    def test_a_newer_copy_of_another_process_is_used(self, ciam: FakeCiam) -> None:
        first, second = new_keys(ciam), new_keys(ciam)
        old, same = first.get_copy(), second.get_copy()
        ciam.rotate_keys()
        newer = first.get_newer_copy(old)

        assert second.get_newer_copy(same) == newer
        assert fetch_count(ciam) == 2

    def test_a_newer_copy_that_another_process_stores_at_the_last_moment_is_used(
        self, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = new_keys(ciam), new_keys(ciam)
        old = first.get_copy()
        same = second.get_copy()
        ciam.rotate_keys()

        def acquire_late(key: str, *, seconds: int) -> bool:
            # The other process stores its copy between our look-up in the cache and our lock.
            monkeypatch.undo()
            first.get_newer_copy(old)
            return acquire_once(key, seconds=seconds)

        monkeypatch.setattr(cached_documents, "acquire_once", acquire_late)
        assert second.get_newer_copy(same).content.keys[0].kid == ciam.key.kid
        assert fetch_count(ciam) == 2

    @pytest.mark.parametrize("is_cached", [True, False])
    def test_a_newer_copy_is_requested_once_a_minute(
        self,
        is_cached: bool,
        ciam: FakeCiam,
        settings: Settings,
        advance_clock: Callable[[float], None],
    ) -> None:
        if not is_cached:
            settings.CACHES = {
                "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
            }
        document = new_keys(ciam)
        for _ in range(5):
            document.get_newer_copy(document.get_copy())
        assert fetch_count(ciam) == 2

        advance_clock(61)
        document.get_newer_copy(document.get_copy())
        assert fetch_count(ciam) == 3

    def test_the_old_copy_is_returned_while_ciam_is_down(self, ciam: FakeCiam) -> None:
        document = new_keys(ciam)
        old = document.get_copy()
        ciam.misbehave("jwks", "reset", times=None)

        assert document.get_newer_copy(old) == old


@pytest.mark.parametrize(
    "listed",
    [
        None, {}, "keys", [], [None], [{}], [{"kty": "oct", "k": "c2VjcmV0"}], [{"kty": "RSA"}],
        [{"kty": "AKP", "kid": "a"}], [{"kty": "RSA", "n": "%", "e": "AQAB"}],
    ],
)  # fmt: skip
def test_a_key_set_without_a_usable_key_is_unreadable(listed: object) -> None:
    with pytest.raises(CiamError) as raised:
        _keys_of({"keys": listed})

    assert raised.value.code == "unreadable_answer"


def test_an_unusable_key_does_not_hide_the_other_keys(ciam: FakeCiam) -> None:
    good = ciam.key.as_dict(private=False)
    bad = [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "AKP"}, {"kty": "RSA"}, {**good, "use": "enc"}]

    assert [key.kid for key in _keys_of({"keys": [*bad, good]}).keys] == [ciam.key.kid]


def test_the_fixture_knows_the_cache_keys_of_all_documents(ciam: FakeCiam) -> None:
    CiamClient().captcha()
    CiamClient().create_user(username="li")
    new_metadata(ciam).get_copy()
    new_keys(ciam).get_copy()
    cached = {key for key in cache_keys_of(ciam) if cache.get(key)}
    documents = {f"{cache_key(name)}.{FORMAT}" for name in ciam.cached_document_names}

    assert len(cached & documents) == 4


def test_a_document_that_another_program_has_stored_in_the_cache_is_not_used(
    ciam: FakeCiam,
) -> None:
    metadata_url, keys_url = ciam.metadata_and_jwks_urls
    new_metadata(ciam).get_copy()
    now, forged_keys = time.time(), {"keys": [other_key().as_dict(private=False)]}
    stored_key = f"{cache_key(keys_url)}.{FORMAT}"
    copied = cache.get(f"{cache_key(metadata_url)}.{FORMAT}")
    assert copied
    times = {"fetched_at": now + 60, "fresh_until": now + 3600, "good_until": now + 3600}
    stored = {**times, "document": forged_keys}
    signed = fernet_for("forged").encrypt(json.dumps([stored_key, now + 60, stored]).encode())
    for forged in ((*times.values(), forged_keys), stored, json.dumps(stored), signed, copied):
        cache.set(stored_key, forged)
        keys = new_keys(ciam)

        assert [key.kid for key in keys.get_copy().content.keys] == [ciam.key.kid]
        cache.set(stored_key, forged)
        newer = keys.get_newer_copy(keys.get_copy())
        assert [key.kid for key in newer.content.keys] == [ciam.key.kid]


def test_a_process_fetches_the_document_if_the_cache_loses_the_copy_of_another_process(
    ciam: FakeCiam,
) -> None:
    url = ciam.metadata_and_jwks_urls[0]
    lock = f"{cache_key(url)}.fetching"
    assert acquire_once(lock, seconds=60)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(new_metadata(ciam).get_copy)
        time.sleep(0.05)
        assert not waiting.done()
        # The other process has ended its fetch, and the cache has deleted the copy to make room.
        delete_cached(lock)

        assert waiting.result(timeout=60).content["issuer"] == ciam.issuer
    assert fetch_count(ciam) == 1


def test_a_killed_process_delays_the_others_for_seconds_only(ciam: FakeCiam) -> None:
    lock = f"{cache_key(ciam.metadata_and_jwks_urls[0])}.fetching.{FORMAT}"
    # The process has stored its lock and has been killed. The real lock lasts for two seconds.
    cache.set(lock, 1, timeout=0.2)

    assert _LOCK_SECONDS == 2
    assert new_metadata(ciam).get_copy().content["issuer"] == ciam.issuer
    assert fetch_count(ciam) == 1


def test_a_process_waits_again_if_another_process_takes_the_free_lock(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = iter([False, False])
    monkeypatch.setattr(
        cached_documents,
        "acquire_once",
        lambda key, seconds: next(refusals, None) is None and acquire_once(key, seconds=seconds),
    )

    assert new_metadata(ciam).get_copy().content["issuer"] == ciam.issuer


def test_the_old_copy_is_returned_if_the_newer_copy_of_another_process_is_late(
    ciam: FakeCiam, settings: Settings
) -> None:
    document = new_keys(ciam)
    old = document.get_copy()
    settings.CIAM_TIMEOUT = 0.1
    assert acquire_once(f"{cache_key(ciam.metadata_and_jwks_urls[1])}.fetching", seconds=60)

    assert document.get_newer_copy(old) == old


def test_no_process_waits_for_a_copy_while_ciam_is_silent(
    ciam: FakeCiam, settings: Settings, advance_clock: Callable[[float], None]
) -> None:
    settings.CIAM_TIMEOUT = 0.2
    ciam.misbehave("discovery", "silent")
    with pytest.raises(CiamError, match="timeout"):
        new_metadata(ciam).get_copy()
    settings.CIAM_TIMEOUT = 30.0
    advance_clock(PAUSE_SECONDS + 1)
    # Another process tries again.
    assert acquire_once(f"{cache_key(ciam.metadata_and_jwks_urls[0])}.fetching", seconds=60)
    began = time.monotonic()
    with pytest.raises(CiamError) as raised:
        new_metadata(ciam).get_copy()

    assert time.monotonic() - began < 10
    assert raised.value.retry_after == PAUSE_SECONDS
