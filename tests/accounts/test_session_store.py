"""Tests of the check times and the stored tokens of the sessions that began at CIAM."""

from __future__ import annotations

import dataclasses
import time
import traceback
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.db import connection, transaction
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone
from pytest_django.fixtures import Settings

from ciam_django.accounts.login import resume_session
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import (
    Tokens,
    _continuing_keys,
    ciam_session_of,
    create_ciam_session,
    decrypted_tokens,
    discard_ciam_session,
    encrypted_tokens,
    end_other_sessions,
    end_sessions,
    is_check_due,
    schedule_next_check,
    stored_tokens,
    sync_ciam_session,
)
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.rows import for_each_row

DAY = 24 * 3600


@pytest.fixture
def signed_in(browser: Browser, settings: Settings) -> HttpRequest:
    """A request of a user who has just signed in; the project's sessions last for a day."""
    cache.clear()
    settings.SESSION_COOKIE_AGE = DAY
    assert browser.sign_in().status_code == 302
    return request_of(browser)


def request_of(browser: Browser) -> HttpRequest:
    request = RequestFactory().get("/")
    request.session = SessionStore(str(browser.client.session.session_key))
    return request


def row_of(request: HttpRequest) -> CiamSession:
    row = ciam_session_of(request)
    assert row is not None
    return row


def seconds_until_check(request: HttpRequest, **tokens: Any) -> float:
    """Schedule the check of a session with ``tokens``; return the seconds until the check."""
    schedule_next_check(request, row_of(request), Tokens("key", **tokens))
    stored = SessionStore(str(request.session.session_key))
    assert stored["ciam_session"] == request.session["ciam_session"]
    return float(stored["ciam_session"]["look_at"]) - time.time()


@for_each_row(
    "check, refresh_token, refresh_in, seconds",
    [
        # Half of the age of Django's session.
        (0, "", 0, DAY / 2),
        # CIAM_SESSION_CHECK.
        (600, "", 0, 600),
        (2 * DAY, "", 0, DAY / 2),
        # The time of the refresh, if there is a refresh token.
        (0, "r-1", 300, 300),
        (600, "r-1", 300, 300),
        (600, "r-1", 900, 600),
        (600, "", 300, 600),
        (0, "r-1", None, DAY / 2),
        # The refresh is overdue, so the next check is in a minute.
        (600, "r-1", -300, 60),
        (0, "r-1", -1, 60),
    ],
)
def test_the_next_check_is_at_the_earliest_of_its_three_times(  # noqa: PLR0917  (a row)
    check: int,
    refresh_token: str,
    refresh_in: int | None,
    seconds: float,
    signed_in: HttpRequest,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    settings.CIAM_SESSION_CHECK = check
    refresh_from = 0 if refresh_in is None else now + refresh_in

    until_check = seconds_until_check(
        signed_in, refresh_token=refresh_token, refresh_from=refresh_from
    )
    assert abs(until_check - seconds) < 5


def test_a_check_is_due_at_its_time_and_after_a_change_of_the_session_key(
    signed_in: HttpRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at = float(signed_in.session["ciam_session"]["look_at"])
    assert not is_check_due(signed_in)
    for moment, is_due in ((look_at - 1, False), (look_at, True), (look_at + 1, True)):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        assert is_check_due(signed_in) is is_due
    monkeypatch.undo()
    signed_in.session.cycle_key()

    assert is_check_due(signed_in)


def test_a_session_without_a_ciam_sign_in_has_no_due_check_no_row_and_no_tokens(db: None) -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()

    assert not is_check_due(request)
    assert ciam_session_of(request) is None
    assert stored_tokens(request) is None


def test_scheduling_the_next_check_does_not_change_the_sessions_modified_flag(
    signed_in: HttpRequest,
) -> None:
    for is_modified in (False, True):
        signed_in.session.modified = is_modified
        seconds_until_check(signed_in)
        assert signed_in.session.modified is is_modified


class RecordingStore(SessionStore):
    """A store like the stores of django-qsessions: the middleware gives it the browser, too."""

    key_salt = SessionStore().key_salt
    saved: ClassVar[list[tuple[str | None, str]]] = []

    def __init__(self, session_key: str | None = None, user_agent: str = "", ip: str = "") -> None:
        super().__init__(session_key)
        self.user_agent, self.ip = user_agent, ip

    def save(self, must_create: bool = False) -> None:
        self.saved.append((self.user_agent, self.ip))
        super().save(must_create)


def test_scheduling_a_check_keeps_the_browser_that_a_session_store_records(
    signed_in: HttpRequest,
) -> None:
    RecordingStore.saved.clear()
    key = str(signed_in.session.session_key)
    signed_in.session = RecordingStore(key, user_agent="Firefox", ip="192.0.2.7")
    seconds_until_check(signed_in)

    assert RecordingStore.saved == [("Firefox", "192.0.2.7")]


def test_a_resumed_session_keeps_the_browser_that_a_session_store_records(
    signed_in: HttpRequest,
) -> None:
    RecordingStore.saved.clear()
    request = RequestFactory().get("/")
    request.session = RecordingStore(user_agent="Firefox", ip="192.0.2.7")
    assert resume_session(request, str(signed_in.session.session_key))
    request.session.save()

    assert RecordingStore.saved == [("Firefox", "192.0.2.7")]
    assert request.session["_auth_user_id"] == signed_in.session["_auth_user_id"]


def test_scheduling_a_check_of_an_ended_session_deletes_the_session_and_raises_session_ended(
    signed_in: HttpRequest, ciam: FakeCiam
) -> None:
    row, key = row_of(signed_in), str(signed_in.session.session_key)
    CiamSession.objects.all().mark_ended()
    # Another session is active.
    Browser(ciam).sign_in("wang")
    with pytest.raises(CiamError) as raised:
        schedule_next_check(signed_in, row, Tokens("key"))

    assert (raised.value.code, raised.value.stage) == ("session_ended", "refresh")
    assert not SessionStore().exists(key)


def test_discarding_ends_the_ciam_session_and_removes_it_from_the_django_session(
    signed_in: HttpRequest, ciam: FakeCiam
) -> None:
    Browser(ciam).sign_in()
    row = row_of(signed_in)
    discard_ciam_session(signed_in)

    assert "ciam_session" not in signed_in.session
    assert ciam_session_of(signed_in) is None
    row.refresh_from_db()
    assert (row.sealed, row.sid_key) == ("", "")
    # A second call changes nothing.
    discard_ciam_session(signed_in)
    assert CiamSession.objects.active().count() == 1


def test_a_sync_does_not_overwrite_newer_tokens(signed_in: HttpRequest) -> None:
    read_before = row_of(signed_in)
    CiamSession.objects.update(sealed="newer", renewals=read_before.renewals + 1)
    signed_in.session.cycle_key()
    sync_ciam_session(signed_in, read_before)

    assert CiamSession.objects.get().sealed == "newer"


def test_a_sync_stores_the_new_session_key_and_changes_no_other_row(
    signed_in: HttpRequest, ciam: FakeCiam
) -> None:
    other = Browser(ciam)
    other.sign_in("wang")
    before = CiamSession.objects.values().get(identity__user_id=int(other.user_id or 0))
    signed_in.session.cycle_key()
    tokens = sync_ciam_session(signed_in, row_of(signed_in))

    assert tokens.session_key == signed_in.session.session_key
    assert decrypted_tokens(row_of(signed_in).sealed) == tokens
    assert CiamSession.objects.values().get(pk=before["id"]) == before


def test_a_sync_deletes_only_the_ended_older_rows_of_its_own_user(
    signed_in: HttpRequest, ciam: FakeCiam
) -> None:
    of_wang, newer, newest = Browser(ciam), Browser(ciam), Browser(ciam)
    of_wang.sign_in("wang")
    newer.sign_in("li")
    newest.sign_in("li")
    own_older, other_user, synced, own_newer = CiamSession.objects.order_by("pk")
    CiamSession.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    for ended in (signed_in, request_of(of_wang), request_of(newest)):
        ended.session.delete()
    request = request_of(newer)
    assert row_of(request).pk == synced.pk
    sync_ciam_session(request, row_of(request))

    remaining = set(CiamSession.objects.values_list("pk", flat=True))
    assert own_older.pk not in remaining
    assert remaining == {other_user.pk, synced.pk, own_newer.pk}
    synced.refresh_from_db()
    assert synced.ends_at > timezone.now()


def test_only_the_given_sessions_are_read_from_the_database(signed_in: HttpRequest) -> None:
    key = str(signed_in.session.session_key)

    assert _continuing_keys([key, "unknown"]) == {key}
    # A site can have millions of sessions.
    assert _continuing_keys(["unknown"]) == set()


def test_a_sync_deletes_at_most_fifty_rows(signed_in: HttpRequest, ciam: FakeCiam) -> None:
    ended = {
        "identity": row_of(signed_in).identity,
        "sealed": encrypted_tokens(Tokens("gone")),
        "ends_at": timezone.now() - timedelta(seconds=1),
    }
    CiamSession.objects.bulk_create([CiamSession(**ended) for _ in range(55)])
    newer = Browser(ciam)
    newer.sign_in()
    request = request_of(newer)
    sync_ciam_session(request, row_of(request))

    assert CiamSession.objects.filter(ends_at=ended["ends_at"]).count() == 5


def test_a_malformed_entry_of_a_session_is_the_session_of_nobody(signed_in: HttpRequest) -> None:
    CiamSession.objects.update(id=1)
    signed_in.session["ciam_session"] = {"id": 1, "key": "", "look_at": 0}
    assert row_of(signed_in).pk == 1
    signed_in.session["ciam_session"] = {"id": "1"}

    assert ciam_session_of(signed_in) is None
    assert is_check_due(signed_in)


def test_a_sync_deletes_no_row_while_the_store_of_the_sessions_forgets_everything(
    signed_in: HttpRequest, ciam: FakeCiam, settings: Settings
) -> None:
    newer = Browser(ciam)
    newer.sign_in()
    CiamSession.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    signed_in.session.delete()
    request = request_of(newer)
    row = row_of(request)
    # The store of a cache that swallows its errors, and is down.
    settings.SESSION_ENGINE = "tests.accounts.test_session_clearing"
    sync_ciam_session(request, row)

    assert CiamSession.objects.count() == 2


@pytest.mark.usefixtures("closed_thread_connections")
def test_a_sync_in_a_transaction_deletes_no_row_that_the_transaction_may_have_locked(
    transactional_db: None, browser: Browser, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.sign_in()
    newer = Browser(ciam)
    newer.sign_in()
    CiamSession.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    browser.client.session.delete()
    request = request_of(newer)
    row, key = row_of(request), request.session.session_key
    # SQLite has only one writer, but the test's transaction makes no query before its end.
    with transaction.atomic(), monkeypatch.context() as postgresql:
        postgresql.setattr(connection, "vendor", "postgresql")
        assert sync_ciam_session(request, row).session_key == key
    assert CiamSession.objects.count() == 2

    sync_ciam_session(request, row)
    assert CiamSession.objects.get().pk == row.pk


def test_an_unreadable_row_raises_session_ended_and_shows_no_local_variables(
    signed_in: HttpRequest,
) -> None:
    CiamSession.objects.update(sealed="not encrypted tokens")
    with pytest.raises(CiamError) as raised:
        sync_ciam_session(signed_in, row_of(signed_in))

    assert (raised.value.code, raised.value.stage) == ("session_ended", "refresh")
    frames = traceback.walk_tb(raised.value.__traceback__)
    variables = {frame.f_code.co_name: dict(frame.f_locals) for frame, _line in frames}
    assert variables["sync_ciam_session"] == {}


def test_end_sessions_counts_and_ends_only_the_active_sessions_of_the_query(
    signed_in: HttpRequest, ciam: FakeCiam
) -> None:
    key = str(signed_in.session.session_key)
    other = Browser(ciam)
    other.sign_in("wang")

    mine = CiamSession.objects.filter(pk=row_of(signed_in).pk)
    assert [end_sessions(mine, "ended"), end_sessions(mine, "ended")] == [1, 0]
    assert not SessionStore().exists(key)
    assert other.client.session.exists(str(other.client.session.session_key))
    assert end_sessions(CiamSession.objects.all(), "ended") == 1


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize(
    ("requested_scope", "granted_scope", "has_api", "may_check"),
    [
        ("openid USER_API", "openid USER_API", True, True),
        ("openid USER_API", None, True, True),
        ("openid USER_API", "openid", True, False),
        ("openid", "openid USER_API", True, True),
        ("openid", None, True, False),
        ("openid USER_API", "openid USER_API", False, False),
    ],
)
def test_a_token_may_be_checked_only_with_the_api_scope_and_an_api_url(  # noqa: PLR0917  (a row)
    ciam: FakeCiam,
    db: None,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    requested_scope: str,
    granted_scope: str | None,
    has_api: bool,
    may_check: bool,
) -> None:
    client = {**ciam.client("oidc"), "client_kwargs": {"scope": requested_scope}}
    if not has_api:
        client.pop("api_base_url", None)
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    request = RequestFactory().get("/")
    request.session = SessionStore()
    user = get_user_model().objects.create_user("li")
    identity = CiamIdentity.objects.create(user=user, issuer="https://ciam.example", subject="u-1")
    person = Person(identity.issuer, identity.subject)
    answer = {"access_token": "a-1", **({"scope": granted_scope} if granted_scope else {})}
    create_ciam_session(request, identity, person, answer)

    tokens = stored_tokens(request)
    assert tokens is not None
    assert CiamSession.objects.get().sid_key == ""
    assert tokens == dataclasses.replace(
        Tokens(str(request.session.session_key), access_token="a-1"), may_check=may_check
    )


# --- The end of sessions ----------------------------------------------------------------------


@pytest.mark.parametrize("deleted", ["identity", "identities", "user"])
def test_the_deletion_of_an_identity_ends_its_sessions_at_once(
    signed_in: HttpRequest, ciam: FakeCiam, deleted: str
) -> None:
    key, other = str(signed_in.session.session_key), Browser(ciam)
    other.sign_in("wang")
    identity = CiamIdentity.objects.exclude(user_id=int(other.user_id or 0)).get()
    if deleted == "identity":
        identity.delete()
    elif deleted == "identities":
        CiamIdentity.objects.filter(pk=identity.pk).delete()
    else:
        identity.user.delete()

    assert not SessionStore().exists(key)
    assert SessionStore().exists(str(other.client.session.session_key))


def test_a_user_can_end_all_other_sessions(signed_in: HttpRequest, ciam: FakeCiam) -> None:
    second, of_wang = Browser(ciam), Browser(ciam)
    second.sign_in()
    of_wang.sign_in("wang")

    assert end_other_sessions(signed_in) == 1
    assert second.user_id is None
    assert row_of(signed_in).sealed
    assert of_wang.user_id
    assert end_other_sessions(signed_in) == 0


def test_without_a_session_of_ciam_no_other_session_ends(db: None) -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()

    assert end_other_sessions(request) == 0
