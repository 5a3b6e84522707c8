"""Two requests of one session want new tokens: one fetches them, the other waits or goes on."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.token_refresh import (
    is_access_refused,
    refresh_if_due,
    refresh_tokens,
)
from ciam_django.accounts.tokens import Tokens, decrypted_tokens, encrypted_tokens
from ciam_django.client.oauth import CiamApp
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.rows import for_each_row


@pytest.fixture
def kept(browser: Browser) -> CiamSession:
    """A session as this request has read it."""
    cache.clear()
    browser.sign_in()
    return CiamSession.objects.get()


def tokens_of(kept: CiamSession, **changed: Any) -> Tokens:
    return dataclasses.replace(decrypted_tokens(kept.sealed), **changed)


def about_to_end(kept: CiamSession) -> Tokens:
    return tokens_of(kept, refresh_from=1.0)


def at_their_end(kept: CiamSession) -> Tokens:
    return tokens_of(kept, refresh_from=1.0, expires_at=2.0)


def is_begun_by_another(kept: CiamSession) -> None:
    soon = timezone.now() + datetime.timedelta(seconds=5)
    CiamSession.objects.filter(pk=kept.pk).update(renewing_until=soon)


def is_done_by_another(kept: CiamSession) -> Tokens:
    newer = tokens_of(kept, access_token="newer")
    CiamSession.objects.filter(pk=kept.pk).update(
        sealed=encrypted_tokens(newer), renewals=kept.renewals + 1, renewing_until=None
    )
    return newer


def refreshes(ciam: FakeCiam) -> int:
    return [request.stage for request in ciam.requests].count("refresh")


@pytest.fixture
def while_waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something happen while this request waits for the other."""

    def happens(what: Callable[[], object]) -> None:
        monkeypatch.setattr(time, "sleep", lambda seconds: what())

    return happens


def test_the_old_ones_serve_while_they_are_good(kept: CiamSession, ciam: FakeCiam) -> None:
    is_begun_by_another(kept)
    tokens = about_to_end(kept)

    assert refresh_tokens(kept, tokens) == tokens
    assert refreshes(ciam) == 0


def test_the_new_ones_are_awaited_where_the_old_have_ended(
    kept: CiamSession,
    ciam: FakeCiam,
    while_waiting: Callable[[Callable[[], object]], None],
) -> None:
    is_begun_by_another(kept)
    while_waiting(lambda: is_done_by_another(kept))

    assert refresh_tokens(kept, at_their_end(kept)).access_token == "newer"
    assert refreshes(ciam) == 0


def test_who_comes_after_all_takes_the_new_ones(kept: CiamSession, ciam: FakeCiam) -> None:
    newer = is_done_by_another(kept)

    assert refresh_tokens(kept, at_their_end(kept)) == newer
    assert refreshes(ciam) == 0


def test_nobody_waits_for_one_who_has_given_up(
    kept: CiamSession,
    settings: Settings,
    while_waiting: Callable[[Callable[[], object]], None],
) -> None:
    settings.CIAM_TIMEOUT = 30.0
    is_begun_by_another(kept)
    while_waiting(lambda: CiamSession.objects.update(renewing_until=None))
    began = time.monotonic()
    with pytest.raises(CiamError) as raised:
        refresh_tokens(kept, at_their_end(kept))

    assert (raised.value.code, raised.value.stage) == ("no_connection", "refresh")
    assert time.monotonic() - began < 20


def test_nobody_waits_for_ever(kept: CiamSession, settings: Settings) -> None:
    settings.CIAM_TIMEOUT = 0.2
    is_begun_by_another(kept)
    began = time.monotonic()
    with pytest.raises(CiamError) as raised:
        refresh_tokens(kept, at_their_end(kept))

    assert (raised.value.code, raised.value.stage) == ("no_connection", "refresh")
    assert 0.2 <= time.monotonic() - began < 10


def test_one_that_died_on_the_way_holds_up_nobody(kept: CiamSession, ciam: FakeCiam) -> None:
    past = timezone.now() - datetime.timedelta(seconds=1)
    CiamSession.objects.update(renewing_until=past)

    assert refresh_tokens(kept, at_their_end(kept)).is_usable
    assert refreshes(ciam) == 1


def test_a_session_that_is_ended_meanwhile_is_not_awaited(
    kept: CiamSession, while_waiting: Callable[[Callable[[], object]], None]
) -> None:
    is_begun_by_another(kept)
    while_waiting(CiamSession.objects.all().mark_ended)
    with pytest.raises(CiamError) as raised:
        refresh_tokens(kept, at_their_end(kept))

    assert (raised.value.code, raised.value.stage) == ("session_ended", "refresh")


@pytest.mark.parametrize("is_ended", [True, False])
def test_what_another_has_done_meanwhile_is_not_undone(
    kept: CiamSession, monkeypatch: pytest.MonkeyPatch, is_ended: bool
) -> None:
    fetched = CiamApp.refresh_tokens

    def overtaken(app: CiamApp, refresh_token: str) -> dict[str, Any]:
        answer = fetched(app, refresh_token)
        if is_ended:
            CiamSession.objects.all().mark_ended()
        else:
            is_done_by_another(kept)
        return answer

    monkeypatch.setattr(CiamApp, "refresh_tokens", overtaken)
    if is_ended:
        with pytest.raises(CiamError) as raised:
            refresh_tokens(kept, at_their_end(kept))
        assert raised.value.code == "session_ended"
        assert CiamSession.objects.get().sealed == ""
    else:
        assert refresh_tokens(kept, at_their_end(kept)).access_token == "newer"
        assert decrypted_tokens(CiamSession.objects.get().sealed).access_token == "newer"


def test_ciam_is_left_alone_while_it_is_down(kept: CiamSession, ciam: FakeCiam) -> None:
    ciam.misbehave("refresh", "reset", times=None)
    good, gone = about_to_end(kept), at_their_end(kept)
    assert refresh_tokens(kept, good) == good
    assert refresh_tokens(kept, good) == good
    with pytest.raises(CiamError) as raised:
        refresh_tokens(kept, gone)

    assert (raised.value.code, raised.value.stage) == ("no_connection", "refresh")
    assert refreshes(ciam) == 1
    ciam.reset()


def test_who_has_no_good_token_left_is_told_at_once_that_ciam_is_down(
    kept: CiamSession, ciam: FakeCiam
) -> None:
    ciam.misbehave("refresh", "reset")
    with pytest.raises(CiamError) as raised:
        refresh_tokens(kept, at_their_end(kept))

    assert (raised.value.code, raised.value.stage) == ("no_connection", "refresh")
    assert refreshes(ciam) == 1
    # Nobody is kept from trying again.
    assert CiamSession.objects.get().renewing_until is None


def test_a_failure_that_disturbs_nobody_is_logged(
    kept: CiamSession, ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    ciam.misbehave("refresh", "reset")
    good = about_to_end(kept)
    assert refresh_tokens(kept, good) == good

    assert ["code=no_connection" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(("seconds", "asked"), [(0, 1), (25, 1), (35, 2)])
def test_ciam_is_asked_again_after_half_a_minute(
    kept: CiamSession,
    ciam: FakeCiam,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    asked: int,
) -> None:
    ciam.misbehave("refresh", "reset", times=None)
    good = about_to_end(kept)
    refresh_tokens(kept, good)
    later = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: later)
    refresh_tokens(kept, good)

    assert refreshes(ciam) == asked
    ciam.reset()


def test_new_tokens_are_counted_and_leave_the_way_free_for_the_next(
    kept: CiamSession, ciam: FakeCiam
) -> None:
    for count in (1, 2):
        new = refresh_tokens(CiamSession.objects.get(), at_their_end(CiamSession.objects.get()))

        row = CiamSession.objects.get()
        assert decrypted_tokens(row.sealed) == new
        assert (row.renewals, row.renewing_until) == (kept.renewals + count, None)
    assert refreshes(ciam) == 2


def test_others_are_held_off_for_as_long_as_an_answer_can_take(
    kept: CiamSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = CiamApp.refresh_tokens
    seen: list[datetime.datetime | None] = []

    def look(app: CiamApp, refresh_token: str) -> dict[str, Any]:
        seen.append(CiamSession.objects.get().renewing_until)
        return fetched(app, refresh_token)

    monkeypatch.setattr(CiamApp, "refresh_tokens", look)
    began = timezone.now()
    refresh_tokens(kept, about_to_end(kept))

    (until,) = seen
    assert until is not None
    seconds = datetime.timedelta(seconds=settings.CIAM_TIMEOUT)
    assert began + seconds < until < timezone.now() + 1.1 * seconds


def test_tokens_that_are_not_due_or_have_no_successor_stay(
    kept: CiamSession, ciam: FakeCiam
) -> None:
    for tokens in (
        tokens_of(kept, refresh_from=time.time() + 60),
        tokens_of(kept, refresh_from=0),
        tokens_of(kept, refresh_from=1.0, refresh_token=""),
    ):
        assert refresh_if_due(kept, tokens) == tokens
    assert refreshes(ciam) == 0
    assert refresh_if_due(kept, about_to_end(kept)).access_token in ciam.access_tokens
    assert refreshes(ciam) == 1


@for_each_row(
    "code, is_refused",
    [
        ("invalid_grant", True),
        ("invalid_token", True),
        ("Operation.Failure.User.Disabled", True),
        ("Operation.Failure.User.Locked", True),
        ("Operation.Failure.User.Not.Exist", True),
        ("OPERATION.FAILURE.USER.NOTFOUND", True),
        # The same kind, of an address.
        ("Resource.NotFound", False),
        ("invalid_client", False),
        ("no_connection", False),
        ("timeout", False),
        ("too_many_requests", False),
        ("brand.new", False),
    ],
)
def test_only_what_is_said_of_the_person_or_the_token_ends_a_session(
    code: str, is_refused: bool
) -> None:
    assert is_access_refused(CiamError(code)) is is_refused


def test_a_session_renews_and_awaits_its_own_tokens(kept: CiamSession, ciam: FakeCiam) -> None:
    other = Browser(ciam)
    other.sign_in("wang")
    newest = CiamSession.objects.latest("pk")
    assert newest.pk != kept.pk
    refresh_tokens(newest, about_to_end(newest))
    assert CiamSession.objects.values().get(pk=kept.pk) == {
        name: getattr(kept, name) for name in CiamSession.objects.values()[0]
    }

    newest.refresh_from_db()
    newer = is_done_by_another(newest)
    assert refresh_tokens(newest, at_their_end(newest)) == newer
