"""CIAM's metadata and keys: fetched rarely, by one, and kept while CIAM is down."""

from __future__ import annotations

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
from ciam_django.client.cache import acquire_once
from ciam_django.client.cached_documents import CachedDocument, FetchedDocument, cache_key
from ciam_django.client.oauth import _FRESH_SECONDS as FRESH
from ciam_django.client.oauth import _keys_of, _metadata_of, ciam_app
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from ciam_django.testing.fixtures import cache_keys_of


@pytest.fixture
def mode() -> str:
    return "oidc"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass, for the cache too."""
    passed, now, ticks = [0.0], time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: now() + passed[0])
    monkeypatch.setattr(time, "monotonic", lambda: ticks() + passed[0])

    def pass_by(seconds: float) -> None:
        passed[0] += seconds

    return pass_by


def at_once() -> None:
    """Nothing is waited for."""


def a_moment() -> None:
    """Long enough for the others to come; a thread that comes later finds what is kept."""
    time.sleep(0.3)


def process(ciam: FakeCiam, *, wait: Callable[[], object] = at_once) -> CachedDocument[Any]:
    """The metadata as one more process has it, which begins with nothing but the shared cache."""
    url = ciam.metadata_and_jwks_urls[0]
    return CachedDocument(url, fetched(url, wait), _metadata_of)


def keys(ciam: FakeCiam, *, wait: Callable[[], object] = at_once) -> CachedDocument[Any]:
    url = ciam.metadata_and_jwks_urls[1]
    return CachedDocument(url, fetched(url, wait), _keys_of)


def fetched(url: str, wait: Callable[[], object]) -> Callable[[], FetchedDocument]:
    """Asks the fake, and waits before it gives the answer."""

    def fetched_late() -> FetchedDocument:
        document = ciam_app()._fetch_document(url)
        wait()
        return document

    return fetched_late


def fetches(ciam: FakeCiam) -> int:
    return sum(request.stage in ("discovery", "jwks") for request in ciam.requests)


def test_all_processes_fetch_it_once(ciam: FakeCiam) -> None:
    first, second = process(ciam), process(ciam)
    copies = [first.get_copy(), first.get_copy(), second.get_copy(), process(ciam).get_copy()]

    assert {copy.content["issuer"] for copy in copies} == {ciam.issuer}
    assert fetches(ciam) == 1


def test_in_an_hour_it_is_fetched_anew(ciam: FakeCiam, later: Callable[[float], None]) -> None:
    first, second = process(ciam), process(ciam)
    old = first.get_copy()
    later(FRESH - 1)
    assert first.get_copy() is old
    assert fetches(ciam) == 1

    later(2)
    assert first.get_copy().fetched_at > old.fetched_at
    assert second.get_copy().fetched_at > old.fetched_at
    assert fetches(ciam) == 2


def test_what_is_parsed_stays_parsed(ciam: FakeCiam) -> None:
    document = keys(ciam)

    assert document.get_copy().content is document.get_copy().content


@pytest.mark.parametrize("has_memory", [True, False])
def test_while_ciam_is_down_the_old_copy_serves(
    has_memory: bool,
    ciam: FakeCiam,
    later: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = process(ciam)
    old = first.get_copy()
    ciam.misbehave("discovery", "reset", times=None)
    later(FRESH + 1)
    asked = first if has_memory else process(ciam)

    for _ in range(3):
        assert asked.get_copy().fetched_at == old.fetched_at
    # One attempt a minute for all, and a line for each.
    assert fetches(ciam) == 2
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "code=no_connection" in record.getMessage()

    later(61)
    assert process(ciam).get_copy().fetched_at == old.fetched_at
    assert fetches(ciam) == 3


def test_the_old_copy_serves_no_longer_than_the_setting_says(
    ciam: FakeCiam, settings: Settings, later: Callable[[float], None]
) -> None:
    settings.CIAM_STALE_LIMIT = 7200
    document = process(ciam)
    document.get_copy()
    ciam.misbehave("discovery", "reset", times=None)
    later(7100)
    assert document.get_copy().is_good

    later(200)
    for asked in (document, process(ciam)):
        with pytest.raises(CiamError) as raised:
            asked.get_copy()
        assert raised.value.code == "no_connection"


def test_a_copy_that_can_not_be_used_replaces_none(
    ciam: FakeCiam, later: Callable[[float], None]
) -> None:
    document = process(ciam)
    old = document.get_copy()
    later(FRESH + 1)
    ciam.metadata = {"token_endpoint": 7}

    assert document.get_copy() == old
    assert process(ciam).get_copy() == old


def test_one_fetches_while_the_others_wait(ciam: FakeCiam) -> None:
    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(lambda _: process(ciam, wait=a_moment).get_copy(), range(8)))

    assert len({copy.fetched_at for copy in copies}) == 1
    assert fetches(ciam) == 1


def test_one_renews_while_the_others_use_the_old_copy(
    ciam: FakeCiam, later: Callable[[float], None]
) -> None:
    old = process(ciam).get_copy()
    later(FRESH + 1)
    has_begun, may_end = threading.Event(), threading.Event()

    def wait() -> None:
        has_begun.set()
        assert may_end.wait(60)

    with ThreadPoolExecutor(1) as pool:
        renewed = pool.submit(process(ciam, wait=wait).get_copy)
        try:
            assert has_begun.wait(60)
            assert process(ciam).get_copy().fetched_at == old.fetched_at
            assert not renewed.done()
        finally:
            may_end.set()

        assert renewed.result().fetched_at > old.fetched_at
    assert fetches(ciam) == 2


def test_those_who_wait_fail_as_the_one_who_fetches(ciam: FakeCiam) -> None:
    def code_of(_: int) -> str:
        with pytest.raises(CiamError) as raised:
            process(ciam).get_copy()
        return raised.value.code

    ciam.fail("discovery", code="Service.Internal.Error", status=500, times=None)
    with ThreadPoolExecutor(8) as pool:
        codes = set(pool.map(code_of, range(8)))

    assert codes == {"Service.Internal.Error"}


def test_nobody_waits_longer_than_the_timeout(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_TIMEOUT = 0.3
    # Another process, which has died while it was at it.
    cache.set(f"{cache_key(ciam.metadata_and_jwks_urls[0])}.fetching", 1)
    began = time.monotonic()
    with pytest.raises(CiamError) as raised:
        process(ciam).get_copy()

    assert raised.value.code == "timeout"
    assert 0.3 <= time.monotonic() - began < 10
    assert fetches(ciam) == 0


class TestNewer:
    """A token names a key that the copy lacks."""

    def test_is_fetched_at_once(self, ciam: FakeCiam) -> None:
        document = keys(ciam)
        old = document.get_copy()
        ciam.rotate_keys()

        assert document.get_newer_copy(old).content.keys[0].kid == ciam.key.kid
        assert document.get_copy().content.keys[0].kid == ciam.key.kid
        assert fetches(ciam) == 2

    def test_is_fetched_by_one(self, ciam: FakeCiam) -> None:
        others = [keys(ciam, wait=a_moment) for _ in range(8)]
        old, *_ = [document.get_copy() for document in others]
        ciam.rotate_keys()
        with ThreadPoolExecutor(8) as pool:
            newer = list(pool.map(lambda document: document.get_newer_copy(old), others))

        assert {copy.content.keys[0].kid for copy in newer} == {ciam.key.kid}
        assert fetches(ciam) == 2

    def test_is_found_where_another_process_has_fetched_it(self, ciam: FakeCiam) -> None:
        first, second = keys(ciam), keys(ciam)
        old, same = first.get_copy(), second.get_copy()
        ciam.rotate_keys()
        newer = first.get_newer_copy(old)

        assert second.get_newer_copy(same) == newer
        assert fetches(ciam) == 2

    def test_is_found_where_another_process_is_just_done(
        self, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = keys(ciam), keys(ciam)
        old = first.get_copy()
        same = second.get_copy()
        ciam.rotate_keys()

        def is_first_at_last(key: str, *, seconds: int) -> bool:
            # The other one is done between our look at the cache and our turn.
            monkeypatch.undo()
            first.get_newer_copy(old)
            return acquire_once(key, seconds=seconds)

        monkeypatch.setattr(cached_documents, "acquire_once", is_first_at_last)
        assert second.get_newer_copy(same).content.keys[0].kid == ciam.key.kid
        assert fetches(ciam) == 2

    @pytest.mark.parametrize("is_cached", [True, False])
    def test_is_asked_for_once_a_minute(
        self,
        is_cached: bool,
        ciam: FakeCiam,
        settings: Settings,
        later: Callable[[float], None],
    ) -> None:
        if not is_cached:
            settings.CACHES = {
                "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
            }
        document = keys(ciam)
        for _ in range(5):
            document.get_newer_copy(document.get_copy())
        assert fetches(ciam) == 2

        later(61)
        document.get_newer_copy(document.get_copy())
        assert fetches(ciam) == 3

    def test_is_the_old_one_while_ciam_is_down(self, ciam: FakeCiam) -> None:
        document = keys(ciam)
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
def test_a_key_set_without_a_key_that_proves_anything_is_unreadable(listed: object) -> None:
    with pytest.raises(CiamError) as raised:
        _keys_of({"keys": listed})

    assert raised.value.code == "unreadable_answer"


def test_one_key_that_can_not_be_read_does_not_take_the_others_away(ciam: FakeCiam) -> None:
    good = ciam.key.as_dict(private=False)
    bad = [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "AKP"}, {"kty": "RSA"}, {**good, "use": "enc"}]

    assert [key.kid for key in _keys_of({"keys": [*bad, good]}).keys] == [ciam.key.kid]


def test_the_fixture_forgets_what_is_kept(ciam: FakeCiam) -> None:
    CiamClient().captcha()
    CiamClient().create_user(username="li")
    process(ciam).get_copy()
    keys(ciam).get_copy()
    found = {key for key in cache_keys_of(ciam) if cache.get(key)}

    assert len([key for key in found if "." not in key.removeprefix("ciam_django.kept.")]) == 4
