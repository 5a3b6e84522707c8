"""When a session is looked at, and what is kept for it."""

from __future__ import annotations

import dataclasses
import time
import traceback
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import (
    Tokens,
    ciam_session_of,
    create_ciam_session,
    decrypted_tokens,
    discard_ciam_session,
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
    """A request of somebody who has just signed in, to a project whose sessions last for a day."""
    cache.clear()
    settings.SESSION_COOKIE_AGE = DAY
    assert browser.sign_in().status_code == 302
    return request_of(browser)


def request_of(browser: Browser) -> HttpRequest:
    request = RequestFactory().get("/")
    request.session = SessionStore(str(browser.client.session.session_key))
    return request


def row_of(request: HttpRequest) -> CiamSession:
    found = ciam_session_of(request)
    assert found is not None
    return found


def next_look(request: HttpRequest, **tokens: Any) -> float:
    """In how many seconds the session is looked at, whose tokens are these."""
    schedule_next_check(request, row_of(request), Tokens("key", **tokens))
    stored = SessionStore(str(request.session.session_key))
    assert stored["ciam_session"] == request.session["ciam_session"]
    return float(stored["ciam_session"]["look_at"]) - time.time()


@for_each_row(
    "check, refresh_token, refresh_in, seconds",
    [
        # Half of what Django's session lasts.
        (0, "", 0, DAY / 2),
        # When the project wants CIAM to be asked.
        (600, "", 0, 600),
        (2 * DAY, "", 0, DAY / 2),
        # When the tokens have to be renewed, where they can be.
        (0, "r-1", 300, 300),
        (600, "r-1", 300, 300),
        (600, "r-1", 900, 600),
        (600, "", 300, 600),
        (0, "r-1", None, DAY / 2),
        # They should have been by now: in a minute again.
        (600, "r-1", -300, 60),
        (0, "r-1", -1, 60),
    ],
)
def test_the_next_look_is_the_first_that_is_needed(  # noqa: PLR0917  (a row)
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

    found = next_look(signed_in, refresh_token=refresh_token, refresh_from=refresh_from)
    assert abs(found - seconds) < 5


def test_a_look_is_due_at_its_time_or_under_a_new_key(
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


def test_nothing_is_due_for_a_session_that_was_not_begun_at_ciam(db: None) -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()

    assert not is_check_due(request)
    assert ciam_session_of(request) is None
    assert stored_tokens(request) is None


def test_to_note_the_next_look_is_no_change_that_django_has_to_store(
    signed_in: HttpRequest,
) -> None:
    for is_modified in (False, True):
        signed_in.session.modified = is_modified
        next_look(signed_in)
        assert signed_in.session.modified is is_modified


def test_a_session_that_has_ended_meanwhile_is_deleted_and_not_noted(
    signed_in: HttpRequest,
) -> None:
    row, key = row_of(signed_in), str(signed_in.session.session_key)
    CiamSession.objects.all().mark_ended()
    with pytest.raises(CiamError) as raised:
        schedule_next_check(signed_in, row, Tokens("key"))

    assert (raised.value.code, raised.value.stage) == ("session_ended", "refresh")
    assert not SessionStore().exists(key)


def test_what_is_discarded_is_over_and_no_longer_named(
    signed_in: HttpRequest, ciam: FakeCiam
) -> None:
    Browser(ciam).sign_in()
    row = row_of(signed_in)
    discard_ciam_session(signed_in)

    assert "ciam_session" not in signed_in.session
    assert ciam_session_of(signed_in) is None
    row.refresh_from_db()
    assert (row.sealed, row.sid_key) == ("", "")
    # A second time, it is nothing.
    discard_ciam_session(signed_in)
    assert CiamSession.objects.active().count() == 1


def test_a_look_does_not_store_old_tokens_over_newer_ones(signed_in: HttpRequest) -> None:
    read_before = row_of(signed_in)
    CiamSession.objects.update(sealed="newer", renewals=read_before.renewals + 1)
    signed_in.session.cycle_key()
    sync_ciam_session(signed_in, read_before)

    assert CiamSession.objects.get().sealed == "newer"


def test_a_look_changes_no_other_session(signed_in: HttpRequest, ciam: FakeCiam) -> None:
    other = Browser(ciam)
    other.sign_in("wang")
    before = CiamSession.objects.values().get(identity__user_id=int(other.user_id or 0))
    signed_in.session.cycle_key()
    tokens = sync_ciam_session(signed_in, row_of(signed_in))

    assert tokens.session_key == signed_in.session.session_key
    assert decrypted_tokens(row_of(signed_in).sealed) == tokens
    assert CiamSession.objects.values().get(pk=before["id"]) == before


def test_a_look_sweeps_what_has_ended_of_the_persons_own_older_sessions(
    signed_in: HttpRequest, ciam: FakeCiam
) -> None:
    others, newer, newest = Browser(ciam), Browser(ciam), Browser(ciam)
    others.sign_in("wang")
    newer.sign_in("li")
    newest.sign_in("li")
    own, of_others, looked_at, later = CiamSession.objects.order_by("pk")
    CiamSession.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    request = request_of(newer)
    assert row_of(request).pk == looked_at.pk
    sync_ciam_session(request, row_of(request))

    kept = set(CiamSession.objects.values_list("pk", flat=True))
    assert own.pk not in kept
    assert kept == {of_others.pk, looked_at.pk, later.pk}
    looked_at.refresh_from_db()
    assert looked_at.ends_at > timezone.now()


def test_a_row_that_cannot_be_read_shows_nothing_of_the_session_in_reports(
    signed_in: HttpRequest,
) -> None:
    CiamSession.objects.update(sealed="nothing that anybody sealed")
    with pytest.raises(CiamError) as raised:
        sync_ciam_session(signed_in, row_of(signed_in))

    assert (raised.value.code, raised.value.stage) == ("session_ended", "refresh")
    frames = traceback.walk_tb(raised.value.__traceback__)
    found = {frame.f_code.co_name: dict(frame.f_locals) for frame, _line in frames}
    assert found["sync_ciam_session"] == {}


def test_only_sessions_that_are_not_over_are_ended(signed_in: HttpRequest, ciam: FakeCiam) -> None:
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
    ("asked", "told", "has_api", "may_check"),
    [
        ("openid USER_API", "openid USER_API", True, True),
        ("openid USER_API", None, True, True),
        ("openid USER_API", "openid", True, False),
        ("openid", "openid USER_API", True, True),
        ("openid", None, True, False),
        ("openid USER_API", "openid USER_API", False, False),
    ],
)
def test_ciam_is_asked_of_a_token_that_its_api_takes(  # noqa: PLR0917  (a row)
    ciam: FakeCiam,
    db: None,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    told: str | None,
    has_api: bool,
    may_check: bool,
) -> None:
    client = {**ciam.client("oidc"), "client_kwargs": {"scope": asked}}
    if not has_api:
        client.pop("api_base_url", None)
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    request = RequestFactory().get("/")
    request.session = SessionStore()
    user = get_user_model().objects.create_user("li")
    identity = CiamIdentity.objects.create(user=user, issuer="https://ciam.example", subject="u-1")
    person = Person(identity.issuer, identity.subject)
    answer = {"access_token": "a-1", **({"scope": told} if told else {})}
    create_ciam_session(request, identity, person, answer)

    tokens = stored_tokens(request)
    assert tokens is not None
    assert CiamSession.objects.get().sid_key == ""
    assert tokens == dataclasses.replace(
        Tokens(str(request.session.session_key), access_token="a-1"), may_check=may_check
    )
