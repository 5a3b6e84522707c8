"""``ciam_clear`` deletes tokens and rows of sessions past their end, and no session that continues.

``tests/test_databases.py`` runs the command on PostgreSQL, and on several databases.
"""

from __future__ import annotations

import dataclasses
import io
import json
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from ciam_django.accounts import session_clearing
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import Tokens, decrypted_tokens, encrypted_tokens
from ciam_django.testing import FakeCiam
from tests.browser import Browser

pytestmark = pytest.mark.django_db


def clear(*arguments: str) -> dict[str, Any]:
    """Run the command, and return its numbers that are not 0."""
    out = io.StringIO()
    call_command("ciam_clear", "--json", *arguments, stdout=out)
    document = json.loads(out.getvalue())
    assert document["dry_run"] is ("--dry-run" in arguments)
    names = ("tokens_deleted", "rows_deleted", "continuing", "in_use")
    return {name: document[name] for name in names if document[name]}


@pytest.fixture
def identity() -> CiamIdentity:
    user = User.objects.create_user("li")
    return CiamIdentity.objects.create(user=user, issuer="https://ciam.example", subject="u-1")


def django_session(seconds: int) -> str:
    """Create a Django session that expires in some seconds; return its key."""
    session = import_module(site_settings.SESSION_ENGINE).SessionStore()
    session["a"] = 1
    session.set_expiry(seconds)
    session.create()
    return str(session.session_key)


def create_row(identity: CiamIdentity, days: float, key: str = "gone", **values: Any) -> int:
    """Create a row whose session has ended some days ago; return its primary key."""
    ends_at = timezone.now() - timedelta(days=days)
    sealed = encrypted_tokens(Tokens(key, "access", "refresh"))
    row = CiamSession(identity=identity, sid_key="sid", sealed=sealed, ends_at=ends_at)
    row.save()
    CiamSession.objects.filter(pk=row.pk).update(**values)
    return row.pk


def sealed_of(pk: int) -> str:
    return str(CiamSession.objects.get(pk=pk).sealed)


def test_a_session_past_its_end_loses_its_tokens_at_once_and_its_row_after_the_days(
    identity: CiamIdentity,
) -> None:
    young, old = create_row(identity, 0.01), create_row(identity, 31)
    later = create_row(identity, -1)
    before = CiamSession.objects.get(pk=young)

    assert clear() == {"tokens_deleted": 2, "rows_deleted": 1}
    row = CiamSession.objects.get(pk=young)
    assert (row.sealed, row.sid_key, row.ends_at) == ("", "", before.ends_at)
    assert not CiamSession.objects.filter(pk=old).exists()
    assert sealed_of(later)
    assert clear() == {}
    assert clear("--days", "0") == {"rows_deleted": 1}
    assert CiamSession.objects.get().pk == later


def test_a_session_that_was_signed_out_goes_after_the_days(ciam: FakeCiam) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    browser.client.post("/ciam/logout/")

    assert clear() == {}
    assert clear("--days", "0") == {"rows_deleted": 1}


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_session_goes_in_each_mode_with_and_without_stored_tokens(
    is_kept: bool, ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_KEEP_TOKENS = is_kept
    browser = Browser(ciam)
    browser.sign_in()
    assert clear() == {}
    CiamSession.objects.update(ends_at=timezone.now() - timedelta(days=60))
    # Django has extended the session.
    assert clear() == {"continuing": 1}
    assert sealed_of(CiamSession.objects.get().pk)
    browser.client.session.delete()

    assert clear() == {"tokens_deleted": 1, "rows_deleted": 1}


@pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "file"])
def test_only_the_store_of_the_sessions_decides_if_a_session_continues(
    engine: str, identity: CiamIdentity, settings: Settings, tmp_path: Any
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    living = create_row(identity, 60, django_session(600))
    expired = create_row(identity, 60, django_session(-600))
    missing = create_row(identity, 60, "missing")

    assert clear("--days", "90") == {"tokens_deleted": 2, "continuing": 1}
    assert [bool(sealed_of(pk)) for pk in (living, expired, missing)] == [True, False, False]


class _SilentlyDown(CacheStore):
    """The store of a cache that swallows its errors, and is down."""

    def create(self) -> None:
        self._session_key = "probe"

    def exists(self, session_key: str) -> bool:
        return False

    def delete(self, session_key: str | None = None) -> None:
        """Delete nothing."""


SessionStore = _SilentlyDown


def test_no_session_ends_while_the_cache_of_the_sessions_forgets_everything(
    identity: CiamIdentity, settings: Settings
) -> None:
    settings.SESSION_ENGINE = __name__
    pk = create_row(identity, 60)

    with pytest.raises(CommandError, match=r"SESSION_ENGINE .* Is the cache down\?"):
        clear()
    assert sealed_of(pk)


def test_tokens_that_no_key_decrypts_go_at_the_end_of_the_session(identity: CiamIdentity) -> None:
    past = create_row(identity, 1, sealed="unreadable")
    create_row(identity, -1, sealed="unreadable")

    assert clear() == {"tokens_deleted": 1}
    assert sealed_of(past) == ""


def test_a_row_that_a_refresh_is_renewing_waits_for_the_next_run(identity: CiamIdentity) -> None:
    now = timezone.now()
    busy = create_row(identity, 1, renewing_until=now + timedelta(minutes=1))
    abandoned = create_row(identity, 1, renewing_until=now - timedelta(minutes=1))

    assert clear() == {"tokens_deleted": 1, "in_use": 1}
    assert sealed_of(busy)
    assert not sealed_of(abandoned)


@pytest.mark.parametrize(
    "change",
    [
        {"ends_at": timezone.now() + timedelta(days=1)},
        {"sealed": encrypted_tokens(Tokens("gone", "newer"))},
    ],
)
def test_a_row_that_changes_after_it_was_read_stays(
    change: dict[str, Any], identity: CiamIdentity
) -> None:
    pk = create_row(identity, 1)
    read = list(CiamSession.objects.all())
    CiamSession.objects.update(**change)

    assert session_clearing._delete_tokens(read) == 0
    assert sealed_of(pk)


def test_a_dry_run_changes_nothing_and_prints_the_numbers_of_the_run(
    identity: CiamIdentity,
) -> None:
    for days in (1, 40, 50):
        create_row(identity, days)
    create_row(identity, 60, sealed="")
    before = list(CiamSession.objects.order_by("pk").values())

    planned = clear("--dry-run")
    assert list(CiamSession.objects.order_by("pk").values()) == before
    assert planned == clear() == {"tokens_deleted": 3, "rows_deleted": 3}


def test_the_last_sign_in_stays_after_all_rows_have_gone(
    identity: CiamIdentity, admin_client: Client
) -> None:
    times = [timezone.now() - timedelta(days=days) for days in (300, 100, 200)]
    for at in times:
        create_row(identity, 90, created_at=at)
    clear()
    assert not CiamSession.objects.exists()
    identity.refresh_from_db()
    assert identity.last_sign_in_at == times[1]
    # An older sign-in whose session has ended later does not change the time.
    create_row(identity, 60, created_at=times[0])
    clear()
    identity.refresh_from_db()

    assert identity.last_sign_in_at == times[1]
    url = f"/admin/ciam_accounts/ciamidentity/{identity.pk}/change/"
    page = admin_client.get(url).content.decode().partition("Last sign-in")[2]
    assert timezone.localtime(times[1]).strftime("%Y") in page.partition("</div>\n")[0]


def test_many_rows_go_in_batches_and_a_row_that_stays_is_read_once(
    identity: CiamIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_clearing, "_BATCH_SIZE", 3)
    key = django_session(600)
    at = timezone.now() - timedelta(days=40)
    # The order of equal times is the order of the keys.
    pks = [create_row(identity, 40, key if n % 2 else "gone", ends_at=at) for n in range(10)]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        counts = clear()

    assert counts == {"tokens_deleted": 5, "rows_deleted": 5, "continuing": 5}
    assert sorted(CiamSession.objects.values_list("pk", flat=True)) == pks[1::2]
    begins = [query for query in queries if query["sql"].startswith("SAVEPOINT")]
    assert len(begins) == 4 + 2


def test_the_command_prints_whole_statements(identity: CiamIdentity) -> None:
    create_row(identity, 60)
    outputs = []
    for arguments in (["--dry-run"], []):
        out = io.StringIO()
        call_command("ciam_clear", *arguments, stdout=out)
        outputs.append(out.getvalue().strip())

    rest = "Sessions that continue after their end: 0. Rows left for the next run: 0."
    assert outputs == [
        f"Sessions whose tokens are to delete: 1. Rows to delete: 1. {rest}",
        f"Sessions whose tokens are deleted: 1. Rows deleted: 1. {rest}",
    ]


@pytest.mark.parametrize("days", ["-1", "1.5", "x", "999999999"])
def test_a_number_of_days_that_is_none_is_refused(days: str) -> None:
    with pytest.raises(CommandError, match="is not a number of days from 0 to 365000"):
        call_command("ciam_clear", f"--days={days}")


def test_a_person_whose_row_has_gone_signs_in_again(ciam: FakeCiam) -> None:
    browser = Browser(ciam)
    browser.sign_in()
    user_id = browser.user_id
    browser.client.session.delete()
    CiamSession.objects.update(ends_at=timezone.now() - timedelta(days=60))
    assert clear() == {"tokens_deleted": 1, "rows_deleted": 1}
    again = Browser(ciam)
    again.sign_in()

    assert again.user_id == user_id
    tokens = decrypted_tokens(CiamSession.objects.get().sealed)
    assert dataclasses.asdict(tokens)["session_key"] == again.client.session.session_key
