"""One request refreshes the tokens; a parallel request waits or uses the old tokens."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone
from pytest_django.fixtures import Settings

from ciam_django import events
from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.session_store import Tokens, decrypted_tokens, encrypted_tokens
from ciam_django.accounts.token_refresh import (
    backoff_reason,
    is_access_refused,
    refresh_if_due,
    refresh_session_tokens,
    start_backoff,
)
from ciam_django.client.oauth import CiamApp
from ciam_django.errors import CiamError
from ciam_django.events import Fact
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.rows import for_each_row


@pytest.fixture
def ciam_session(browser: Browser) -> CiamSession:
    """The row of a session as the current request has read it."""
    cache.clear()
    browser.sign_in()
    ciam_session: CiamSession = CiamSession.objects.get()
    return ciam_session


def tokens_of(ciam_session: CiamSession, **changes: Any) -> Tokens:
    return dataclasses.replace(decrypted_tokens(ciam_session.sealed), **changes)


def due_tokens(ciam_session: CiamSession) -> Tokens:
    return tokens_of(ciam_session, refresh_from=1.0)


def expired_tokens(ciam_session: CiamSession) -> Tokens:
    return tokens_of(ciam_session, refresh_from=1.0, expires_at=2.0)


def start_other_refresh(ciam_session: CiamSession) -> None:
    soon = timezone.now() + datetime.timedelta(seconds=5)
    CiamSession.objects.filter(pk=ciam_session.pk).update(renewing_until=soon)


def finish_other_refresh(ciam_session: CiamSession) -> Tokens:
    new_tokens = tokens_of(ciam_session, access_token="newer")
    CiamSession.objects.filter(pk=ciam_session.pk).update(
        sealed=encrypted_tokens(new_tokens), renewals=ciam_session.renewals + 1, renewing_until=None
    )
    return new_tokens


def refresh_count(ciam: FakeCiam) -> int:
    return [request.stage for request in ciam.requests].count("refresh")


@pytest.fixture
def set_action_while_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[], object]], None]:
    """A function that sets what happens while the current request waits."""

    def set_action(action: Callable[[], object]) -> None:
        monkeypatch.setattr(time, "sleep", lambda seconds: action())

    return set_action


def test_usable_tokens_are_used_while_another_request_refreshes_them(
    ciam_session: CiamSession, ciam: FakeCiam
) -> None:
    start_other_refresh(ciam_session)
    tokens = due_tokens(ciam_session)

    assert refresh_session_tokens(ciam_session, tokens) == tokens
    assert refresh_count(ciam) == 0


def test_a_request_with_expired_tokens_waits_for_the_new_tokens(
    ciam_session: CiamSession,
    ciam: FakeCiam,
    set_action_while_waiting: Callable[[Callable[[], object]], None],
) -> None:
    start_other_refresh(ciam_session)
    set_action_while_waiting(lambda: finish_other_refresh(ciam_session))

    assert (
        refresh_session_tokens(ciam_session, expired_tokens(ciam_session)).access_token == "newer"
    )
    assert refresh_count(ciam) == 0


def test_a_late_request_takes_the_new_tokens(ciam_session: CiamSession, ciam: FakeCiam) -> None:
    new_tokens = finish_other_refresh(ciam_session)

    assert refresh_session_tokens(ciam_session, expired_tokens(ciam_session)) == new_tokens
    assert refresh_count(ciam) == 0


def test_waiting_stops_when_the_other_refresh_has_failed(
    ciam_session: CiamSession,
    settings: Settings,
    set_action_while_waiting: Callable[[Callable[[], object]], None],
) -> None:
    settings.CIAM_TIMEOUT = 30.0
    start_other_refresh(ciam_session)
    set_action_while_waiting(lambda: CiamSession.objects.update(renewing_until=None))
    began = time.monotonic()
    with pytest.raises(CiamError) as raised:
        refresh_session_tokens(ciam_session, expired_tokens(ciam_session))

    assert (raised.value.code, raised.value.stage) == ("no_connection", "refresh")
    assert time.monotonic() - began < 20


def test_waiting_stops_after_the_timeout(ciam_session: CiamSession, settings: Settings) -> None:
    settings.CIAM_TIMEOUT = 0.2
    start_other_refresh(ciam_session)
    began = time.monotonic()
    with pytest.raises(CiamError) as raised:
        refresh_session_tokens(ciam_session, expired_tokens(ciam_session))

    assert (raised.value.code, raised.value.stage) == ("no_connection", "refresh")
    assert 0.2 <= time.monotonic() - began < 10


def test_an_abandoned_refresh_blocks_no_request(ciam_session: CiamSession, ciam: FakeCiam) -> None:
    past = timezone.now() - datetime.timedelta(seconds=1)
    CiamSession.objects.update(renewing_until=past)

    assert refresh_session_tokens(ciam_session, expired_tokens(ciam_session)).is_usable
    assert refresh_count(ciam) == 1


def test_waiting_stops_when_the_session_has_ended(
    ciam_session: CiamSession, set_action_while_waiting: Callable[[Callable[[], object]], None]
) -> None:
    start_other_refresh(ciam_session)
    set_action_while_waiting(CiamSession.objects.all().mark_ended)
    with pytest.raises(CiamError) as raised:
        refresh_session_tokens(ciam_session, expired_tokens(ciam_session))

    assert (raised.value.code, raised.value.stage) == ("session_ended", "refresh")


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_refresh_does_not_overwrite_a_parallel_change(
    ciam_session: CiamSession, monkeypatch: pytest.MonkeyPatch, is_ended: bool
) -> None:
    fetch_tokens = CiamApp.refresh_tokens

    def refresh_late(app: CiamApp, refresh_token: str) -> dict[str, Any]:
        answer = fetch_tokens(app, refresh_token)
        if is_ended:
            CiamSession.objects.all().mark_ended()
        else:
            finish_other_refresh(ciam_session)
        return answer

    monkeypatch.setattr(CiamApp, "refresh_tokens", refresh_late)
    if is_ended:
        with pytest.raises(CiamError) as raised:
            refresh_session_tokens(ciam_session, expired_tokens(ciam_session))
        assert raised.value.code == "session_ended"
        assert CiamSession.objects.get().sealed == ""
    else:
        assert (
            refresh_session_tokens(ciam_session, expired_tokens(ciam_session)).access_token
            == "newer"
        )
        assert decrypted_tokens(CiamSession.objects.get().sealed).access_token == "newer"


def test_ciam_is_asked_only_once_while_ciam_is_down(
    ciam_session: CiamSession, ciam: FakeCiam
) -> None:
    ciam.misbehave("refresh", "reset", times=None)
    usable, expired = due_tokens(ciam_session), expired_tokens(ciam_session)
    assert refresh_session_tokens(ciam_session, usable) == usable
    assert refresh_session_tokens(ciam_session, usable) == usable
    with pytest.raises(CiamError) as raised:
        refresh_session_tokens(ciam_session, expired)

    assert (raised.value.code, raised.value.stage) == ("no_connection", "refresh")
    assert refresh_count(ciam) == 1
    ciam.reset()


def test_a_failed_refresh_of_expired_tokens_raises_no_connection_and_releases_the_lock(
    ciam_session: CiamSession, ciam: FakeCiam
) -> None:
    ciam.misbehave("refresh", "reset")
    with pytest.raises(CiamError) as raised:
        refresh_session_tokens(ciam_session, expired_tokens(ciam_session))

    assert (raised.value.code, raised.value.stage) == ("no_connection", "refresh")
    assert refresh_count(ciam) == 1
    assert CiamSession.objects.get().renewing_until is None


def test_a_failed_refresh_of_usable_tokens_is_logged_and_the_tokens_are_returned(
    ciam_session: CiamSession, ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    ciam.misbehave("refresh", "reset")
    usable = due_tokens(ciam_session)
    assert refresh_session_tokens(ciam_session, usable) == usable

    refresh_line, failure_line = caplog.messages
    user = ciam_session.identity.user_id
    facts = "code=no_connection row=no_connection kind=upstream"
    assert refresh_line == f"Refresh failure: user={user} {facts}"
    assert failure_line.startswith("Sign-in failure: code=no_connection ")


def test_a_refusal_and_a_refresh_are_events_with_the_user(
    ciam_session: CiamSession, ciam: FakeCiam
) -> None:
    heard = []

    def observer(name: str, facts: Mapping[str, Fact], request: object) -> None:
        heard.append((name, facts["user"], facts.get("kind")))

    events.add_observer(observer, events.TOKENS_REFRESHED, events.REFRESH_FAILED)
    try:
        refresh_session_tokens(ciam_session, due_tokens(ciam_session))
        ciam_session.refresh_from_db()
        ciam.fail("refresh", code="invalid_grant")
        with pytest.raises(CiamError, match="invalid_grant"):
            refresh_session_tokens(ciam_session, due_tokens(ciam_session))
    finally:
        events.remove_observer(observer)

    user = str(ciam_session.identity.user_id)
    assert heard == [("tokens_refreshed", user, None), ("refresh_failed", user, "token")]


@pytest.mark.slow("a sign-in for each failure of a refresh")
@for_each_row(
    "code, is_failure_of_ciam",
    [
        ("Service.Internal.Error", True),
        ("server_error", True),
        *(
            (code, False)
            for code in (
                "access_denied",
                "consent_required",
                "invalid_scope",
                "Params.Illegal",
                "Params.Blank.User.Phone.Number",
                "too_many_requests",
                "Operation.Denied",
                "Operation.Failure.MFA.Brand.New",
                "brand_new",
            )
        ),
    ],
)
def test_only_a_failure_of_ciam_pauses_the_refreshes_of_other_sessions(
    code: str, is_failure_of_ciam: bool, browser: Browser, ciam: FakeCiam
) -> None:
    cache.clear()
    CiamSession.objects.all().delete()
    Browser(ciam).sign_in("li")
    Browser(ciam).sign_in("wang")
    first, other = CiamSession.objects.order_by("pk")
    ciam.fail("refresh", code=code)
    usable = due_tokens(first)
    before = refresh_count(ciam)
    assert refresh_session_tokens(first, usable) == usable
    # The person's own failure stays with the person's session.
    assert refresh_session_tokens(first, usable) == usable
    with pytest.raises(CiamError) as raised:
        refresh_session_tokens(first, expired_tokens(first))
    assert (raised.value.code, raised.value.stage) == (code, "refresh")
    assert refresh_count(ciam) == before + 1

    new = refresh_session_tokens(other, due_tokens(other))
    assert (new.access_token in ciam.access_tokens) is True
    assert refresh_count(ciam) == before + 1 + (not is_failure_of_ciam)


@pytest.mark.parametrize(("seconds", "request_count"), [(0, 1), (25, 1), (35, 2)])
def test_a_failed_refresh_is_tried_again_only_after_half_a_minute(
    ciam_session: CiamSession,
    ciam: FakeCiam,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    request_count: int,
) -> None:
    ciam.misbehave("refresh", "reset", times=None)
    usable = due_tokens(ciam_session)
    refresh_session_tokens(ciam_session, usable)
    later = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: later)
    refresh_session_tokens(ciam_session, usable)

    assert refresh_count(ciam) == request_count
    ciam.reset()


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 30), (1, 1), (3600, 30)])
def test_a_short_time_to_wait_shortens_the_back_off(
    ciam_session: CiamSession,
    monkeypatch: pytest.MonkeyPatch,
    retry_after: int | None,
    seconds: int,
) -> None:
    # Such as the error of a process that makes CIAM_MAX_CALLS calls already.
    start_backoff(ciam_session, CiamError("no_connection", retry_after=retry_after))
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began + seconds - 0.5)
    assert backoff_reason(ciam_session) == "no_connection"
    monkeypatch.setattr(time, "time", lambda: began + seconds + 0.5)
    assert backoff_reason(ciam_session) == ""


def test_each_refresh_is_counted_and_releases_the_lock(
    ciam_session: CiamSession, ciam: FakeCiam
) -> None:
    for count in (1, 2):
        new = refresh_session_tokens(
            CiamSession.objects.get(), expired_tokens(CiamSession.objects.get())
        )

        row = CiamSession.objects.get()
        assert decrypted_tokens(row.sealed) == new
        assert (row.renewals, row.renewing_until) == (ciam_session.renewals + count, None)
    assert refresh_count(ciam) == 2


def test_the_lock_of_a_refresh_lasts_longer_than_the_call_and_the_attempts_to_store_the_tokens(
    ciam_session: CiamSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_tokens = CiamApp.refresh_tokens
    lock_ends: list[datetime.datetime | None] = []

    def record_lock(app: CiamApp, refresh_token: str) -> dict[str, Any]:
        lock_ends.append(CiamSession.objects.get().renewing_until)
        return fetch_tokens(app, refresh_token)

    monkeypatch.setattr(CiamApp, "refresh_tokens", record_lock)
    began = timezone.now()
    refresh_session_tokens(ciam_session, due_tokens(ciam_session))

    (locked_until,) = lock_ends
    assert locked_until is not None
    timeout = datetime.timedelta(seconds=settings.CIAM_TIMEOUT)
    attempts = datetime.timedelta(seconds=5)
    assert began + timeout + attempts < locked_until < timezone.now() + 1.1 * timeout + attempts


def test_only_due_tokens_with_a_refresh_token_are_refreshed(
    ciam_session: CiamSession, ciam: FakeCiam
) -> None:
    for tokens in (
        tokens_of(ciam_session, refresh_from=time.time() + 60),
        tokens_of(ciam_session, refresh_from=0),
        tokens_of(ciam_session, refresh_from=1.0, refresh_token=""),
    ):
        assert refresh_if_due(ciam_session, tokens) == tokens
    assert refresh_count(ciam) == 0
    assert refresh_if_due(ciam_session, due_tokens(ciam_session)).access_token in ciam.access_tokens
    assert refresh_count(ciam) == 1


@for_each_row(
    "code, is_refused",
    [
        ("invalid_grant", True),
        ("invalid_token", True),
        ("Operation.Failure.User.Disabled", True),
        ("Operation.Failure.User.Locked", True),
        ("Operation.Failure.User.Not.Exist", True),
        ("OPERATION.FAILURE.USER.NOTFOUND", True),
        # The code has the kind of a missing user, but is about a URL.
        ("Resource.NotFound", False),
        ("invalid_client", False),
        ("no_connection", False),
        ("timeout", False),
        ("too_many_requests", False),
        ("brand.new", False),
    ],
)
def test_only_errors_about_the_user_or_the_token_count_as_a_refusal_of_access(
    code: str, is_refused: bool
) -> None:
    assert is_access_refused(CiamError(code)) is is_refused


def test_a_refresh_stores_and_takes_only_the_tokens_of_its_own_session(
    ciam_session: CiamSession, ciam: FakeCiam
) -> None:
    other = Browser(ciam)
    other.sign_in("wang")
    newest = CiamSession.objects.latest("pk")
    assert newest.pk != ciam_session.pk
    refresh_session_tokens(newest, due_tokens(newest))
    assert CiamSession.objects.values().get(pk=ciam_session.pk) == {
        name: getattr(ciam_session, name) for name in CiamSession.objects.values()[0]
    }

    newest.refresh_from_db()
    newer = finish_other_refresh(newest)
    assert refresh_session_tokens(newest, expired_tokens(newest)) == newer
