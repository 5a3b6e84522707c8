"""Projects with several databases, with ``ATOMIC_REQUESTS``, or with a replica that lags."""

from __future__ import annotations

import dataclasses
import io
import json
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections, router, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from django.utils import timezone

from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import Tokens, decrypted_tokens, encrypted_tokens
from ciam_django.client.person import Person
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from ciam_django.tokens import access_token_of, end_other_sessions
from tests.browser import HTML
from tests.deployed import set_up_django
from tests.processes import forking_context
from tests.test_deployment import sign_in_across_processes
from tests.users import get_or_create_user

pytestmark = pytest.mark.slow("several databases")

APPS_OF_PEOPLE = {"admin", "auth", "axes", "ciam_accounts", "contenttypes", "sessions"}


class PeopleRouter:
    """Put the users, the sessions and the identities into the database ``people``."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self.db_for_write(model)

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "people" if model._meta.app_label in APPS_OF_PEOPLE else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "people") == (app_label in APPS_OF_PEOPLE)


class ReplicaRouter:
    """Read from a replica that never gets a row."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        # A project with such a replica keeps its sessions elsewhere.
        return "default" if model._meta.app_label == "sessions" else "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, first: Any, second: Any, **hints: Any) -> bool:
        return True


def show_username(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username())


def fail_after_refresh(request: HttpRequest) -> HttpResponse:
    access_token_of(request)
    # The second call in one transaction finds the new token.
    access_token_of(request)
    if "wait" in request.GET:
        # A request in parallel must not wait for this transaction.
        until = time.monotonic() + 60
        while not cache.get("parallel_request_has_ended") and time.monotonic() < until:
            time.sleep(0.01)
    raise RuntimeError("the view fails after the refresh")


def end_other_sessions_and_refresh(request: HttpRequest) -> HttpResponse:
    ended = end_other_sessions(request)
    access_token_of(request)
    return HttpResponse(str(ended))


urlpatterns = [
    path("", show_username),
    path("fail/", fail_after_refresh),
    path("end-others/", end_other_sessions_and_refresh),
    path("ciam/", include("ciam_django.urls")),
]


@pytest.fixture
def start_site(fake_ciam: FakeCiam, redis: Path) -> Iterator[Callable[..., ProcessPoolExecutor]]:
    """A function that starts the processes of a site with the given settings."""
    pools: list[ProcessPoolExecutor] = []

    def start(databases: Mapping[str, Any], processes: int = 1, **settings: Any) -> Any:
        overrides = {
            "DATABASES": databases,
            "CACHES": {
                "default": {
                    "BACKEND": "django.core.cache.backends.redis.RedisCache",
                    "LOCATION": f"unix://{redis}",
                }
            },
            "AUTHLIB_OAUTH_CLIENTS": {"ciam": fake_ciam.client("oidc")},
            "ROOT_URLCONF": __name__,
            "ALLOWED_HOSTS": ["testserver"],
            **settings,
        }
        pool = ProcessPoolExecutor(processes, forking_context, set_up_django, (overrides,))
        pools.append(pool)
        pool.submit(_migrate).result()
        return pool

    yield start
    for pool in pools:
        pool.shutdown()


def _migrate() -> None:
    for database in connections:
        call_command("migrate", database=database, verbosity=0)


# --- Two databases ----------------------------------------------------------------------------


@pytest.fixture
def site(
    create_database: Callable[[], dict[str, Any]], start_site: Callable[..., ProcessPoolExecutor]
) -> ProcessPoolExecutor:
    """A site whose users, sessions and identities are not in the database ``default``."""
    databases = {"default": create_database(), "people": create_database()}
    return start_site(databases, DATABASE_ROUTERS=[f"{__name__}.PeopleRouter"])


def _request(
    method: str, url: str, cookies: Mapping[str, str], data: Any = None
) -> tuple[int, str, str]:
    """Send a request; return the status, the content and the code of an error."""
    client = Client(headers={"Accept": HTML}, raise_request_exception=False)
    client.cookies.load(dict(cookies))
    response = getattr(client, method)(url, data)
    return response.status_code, response.content.decode(), response.get("Ciam-Error-Code", "")


def _link_second_identity() -> list[int]:
    identity = CiamIdentity.objects.get()
    second = CiamIdentity.objects.create(
        user=identity.user, issuer=identity.issuer, subject="second"
    )
    return [identity.pk, second.pk]


def _counts() -> tuple[int, int, int]:
    active = CiamSession.objects.active()
    users = User.objects.using(router.db_for_write(User))
    return users.count(), CiamIdentity.objects.count(), active.count()


def test_a_person_signs_in_and_unlinks_an_identity_in_another_database_than_default(
    site: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    cookies = sign_in_across_processes(site, fake_ciam)
    assert site.submit(_request, "get", "/", cookies).result()[1].startswith("ciam-")
    first, second = site.submit(_link_second_identity).result()
    unlink = ("post", "/ciam/unlink/", cookies)
    assert site.submit(_request, *unlink, {"identity": first}).result()[0] == 302
    assert site.submit(_request, *unlink, {"identity": second}).result()[2] == "last_way_in"

    assert site.submit(_counts).result() == (1, 1, 0)


def _create_identity_of_other_issuer() -> None:
    get_or_create_user(Person("https://old.example", "u-1"))


def test_a_refused_first_sign_in_stores_nothing_in_any_database(
    site: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    site.submit(_create_identity_of_other_issuer).result()
    for _ in range(2):
        with pytest.raises(AssertionError, match="Something went wrong"):
            sign_in_across_processes(site, fake_ciam)

    assert site.submit(_counts).result() == (1, 1, 0)


def test_a_logout_token_ends_a_session_in_another_database_than_default(
    site: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    cookies = sign_in_across_processes(site, fake_ciam)
    token = fake_ciam.sign_logout_token(sub=user_id_of("li"))
    data = {"logout_token": token}
    assert site.submit(_request, "post", "/ciam/logout/back/", {}, data).result()[0] == 200

    assert site.submit(_request, "get", "/", cookies).result()[:2] == (200, "")
    assert site.submit(_counts).result() == (1, 1, 0)


def _link_and_rename(path: str) -> tuple[list[str], list[str]]:
    User.objects.create_user("shop-li")
    Path(path).write_text("user,subject\nshop-li,u-1\n")
    call_command("ciam_link", path, issuer="https://old.example", apply=True)
    before = run_checks(tags=["database"], databases=["default", "people"])
    call_command("ciam_rekey", "--from", "https://old.example", apply=True)
    after = run_checks(tags=["database"], databases=["default", "people"])
    return [str(message.id) for message in before], [str(message.id) for message in after]


def test_the_commands_and_the_check_use_the_database_of_the_identities(
    site: ProcessPoolExecutor, tmp_path: Path
) -> None:
    before, after = site.submit(_link_and_rename, str(tmp_path / "table.csv")).result()

    assert before == ["ciam_django.E032"]
    assert after == []


# --- ciam_clear -------------------------------------------------------------------------------


def _clear(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("ciam_clear", "--json", *arguments, stdout=out)
    document = json.loads(out.getvalue())
    return {name: number for name, number in document.items() if number}


def _end_all_sessions(days: int) -> None:
    ends_at = timezone.now() - timedelta(days=days)
    for ciam_session in CiamSession.objects.active():
        SessionStore(decrypted_tokens(ciam_session.sealed).session_key).delete()
    CiamSession.objects.update(ends_at=ends_at)


def test_ciam_clear_works_on_another_database_than_default(
    site: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    sign_in_across_processes(site, fake_ciam)
    site.submit(_age_rows, 60).result()
    assert site.submit(_clear).result() == {"days": 30, "continuing": 1}
    site.submit(_end_all_sessions, 60).result()

    assert site.submit(_clear).result() == {"days": 30, "tokens_deleted": 1, "rows_deleted": 1}
    assert site.submit(_counts).result() == (1, 1, 0)
    sign_in_across_processes(site, fake_ciam)
    assert site.submit(_counts).result() == (1, 1, 1)


def _age_rows(days: int) -> None:
    CiamSession.objects.update(ends_at=timezone.now() - timedelta(days=days))


def _is_locked() -> bool:
    return bool(cache.get("locked"))


def _lock_first_row() -> None:
    """Lock a row and another identity, until ``_end_parallel_request``."""
    with transaction.atomic():
        first = CiamSession.objects.order_by("pk").select_for_update()[0]
        CiamIdentity.objects.select_for_update().get(subject="u-1")
        cache.set("locked", first.pk)
        until = time.monotonic() + 60
        while not cache.get("parallel_request_has_ended") and time.monotonic() < until:
            time.sleep(0.01)


# Both databases read this table of the numbers from 0.
_NUMBERS = (
    "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)"
)


def _create_rows(identities: int, rows: int, ended: int) -> None:
    """Create rows of equal numbers for each identity; the last rows of all have not ended."""
    user = User.objects.create_user("li")
    CiamIdentity.objects.bulk_create(
        CiamIdentity(user=user, issuer="i", subject=f"u-{n}", key=str(n)) for n in range(identities)
    )
    now, first = timezone.now(), CiamIdentity.objects.earliest("pk").pk
    ends = [now - timedelta(days=60), now + timedelta(days=7)]
    sealed = encrypted_tokens(Tokens("gone"))
    with connections[router.db_for_write(CiamSession)].cursor() as cursor:
        cursor.execute(
            "INSERT INTO ciam_accounts_ciamsession"  # noqa: S608  (the two parts are constants)
            " (identity_id, sid_key, sealed, renewals, created_at, ends_at) "
            f"{_NUMBERS} SELECT %s + n %% %s, '', %s, 0, %s,"
            f" CASE WHEN n < %s THEN %s ELSE %s END FROM numbers",
            [rows - 1, first, identities, sealed, now, ended, *ends],
        )


def test_ciam_clear_waits_for_no_row_that_another_transaction_has_locked(
    create_database: Callable[[], dict[str, Any]], start_site: Callable[..., ProcessPoolExecutor]
) -> None:
    # Without the time limit, the command would wait for ever.
    options = {"OPTIONS": {"options": "-c lock_timeout=5s"}}
    site = start_site({"default": {**create_database(), **options}}, processes=2)
    site.submit(_create_rows, 2, 5, 5).result()
    lock = site.submit(_lock_first_row)
    until = time.monotonic() + 60
    while not site.submit(_is_locked).result():
        assert time.monotonic() < until
    # The locked row, and the newest row of the locked identity, are left for the next run.
    cleared = site.submit(_clear).result()
    site.submit(_end_parallel_request).result()
    lock.result()

    assert cleared == {"days": 30, "tokens_deleted": 4, "rows_deleted": 3, "in_use": 2}
    assert site.submit(_clear).result() == {"days": 30, "tokens_deleted": 1, "rows_deleted": 2}


def _clearing_plans() -> list[str]:
    """Return the plans of the queries that choose the rows, after ANALYZE."""
    rows = CiamSession.objects
    now = timezone.now()
    with connections["default"].cursor() as cursor:
        cursor.execute("ANALYZE")
    return [
        batch.order_by("ends_at", "pk").only("sealed", "ends_at")[:500].explain()
        for batch in (
            rows.active().filter(ends_at__lt=now),
            rows.filter(sealed="", ends_at__lt=now - timedelta(days=30)),
        )
    ]


def test_the_queries_of_ciam_clear_use_the_index(
    create_database: Callable[[], dict[str, Any]], start_site: Callable[..., ProcessPoolExecutor]
) -> None:
    site = start_site({"default": create_database()})
    site.submit(_create_rows, 100, 20_000, 200).result()

    for plan in site.submit(_clearing_plans).result():
        assert "Index Scan using ciam_session_end" in plan


def _grown_memory_of_clearing() -> tuple[dict[str, Any], int]:
    """Run the command; return its numbers, and the growth of the peak memory in KiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _clear(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_ciam_clear_of_20_000_rows_needs_little_memory(
    engine: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    start_site: Callable[..., ProcessPoolExecutor],
) -> None:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db.sqlite3")}
    if engine == "postgresql":
        database = request.getfixturevalue("create_database")()
    site = start_site({"default": database})
    site.submit(_create_rows, 1000, 20_000, 20_000).result()
    cleared, grown = site.submit(_grown_memory_of_clearing).result()

    assert cleared == {"days": 30, "tokens_deleted": 20_000, "rows_deleted": 20_000}
    # The rows together take 17,000 KiB in memory.
    assert grown < 10_000


# --- ATOMIC_REQUESTS --------------------------------------------------------------------------


def _expire_tokens() -> str:
    """Make the newest stored tokens due for a refresh, and return the refresh token."""
    ciam_session = CiamSession.objects.active().latest("pk")
    tokens = decrypted_tokens(ciam_session.sealed)
    expired = dataclasses.replace(tokens, refresh_from=1.0, expires_at=2.0)
    ciam_session.sealed = encrypted_tokens(expired)
    ciam_session.save()
    return tokens.refresh_token


def _stored_tokens() -> tuple[str, str, int]:
    ciam_session = CiamSession.objects.active().get()
    tokens = decrypted_tokens(ciam_session.sealed)
    return tokens.access_token, tokens.refresh_token, ciam_session.renewals


def _end_parallel_request() -> None:
    cache.set("parallel_request_has_ended", True)


def test_a_refreshed_token_stays_stored_if_the_transaction_of_the_view_is_rolled_back(
    create_database: Callable[[], dict[str, Any]],
    start_site: Callable[..., ProcessPoolExecutor],
    fake_ciam: FakeCiam,
) -> None:
    site = start_site({"default": {**create_database(), "ATOMIC_REQUESTS": True}}, processes=2)
    cookies = sign_in_across_processes(site, fake_ciam)
    spent = site.submit(_expire_tokens).result()
    slow = site.submit(_request, "get", "/fail/?wait=1", cookies)
    until = time.monotonic() + 60
    while site.submit(_stored_tokens).result()[2] == 0:
        assert time.monotonic() < until
        time.sleep(0.02)
    # The transaction of the first request is still open, and the second request has the new token.
    assert site.submit(_request, "get", "/fail/", cookies).result()[0] == 500
    assert not slow.done()
    site.submit(_end_parallel_request).result()
    assert slow.result()[0] == 500

    access_token, refresh_token, renewals = site.submit(_stored_tokens).result()
    assert access_token in fake_ciam.access_tokens
    assert refresh_token in fake_ciam.refresh_tokens
    assert refresh_token != spent
    assert renewals == 1
    assert [request.stage for request in fake_ciam.requests].count("refresh") == 1
    assert site.submit(_request, "get", "/", cookies).result()[1].startswith("ciam-")


def _expire_sessions() -> None:
    ciam_session = CiamSession.objects.active().get()
    ciam_session.ends_at = ciam_session.created_at
    ciam_session.save()


def test_a_refresh_waits_for_no_row_that_its_own_view_has_locked(
    create_database: Callable[[], dict[str, Any]],
    start_site: Callable[..., ProcessPoolExecutor],
    fake_ciam: FakeCiam,
) -> None:
    # Without the time limit, the request would wait for ever.
    options = {"ATOMIC_REQUESTS": True, "OPTIONS": {"options": "-c lock_timeout=2s"}}
    site = start_site({"default": {**create_database(), **options}})
    sign_in_across_processes(site, fake_ciam)
    site.submit(_expire_sessions).result()
    cookies = sign_in_across_processes(site, fake_ciam)
    site.submit(_expire_tokens).result()

    assert site.submit(_request, "get", "/end-others/", cookies).result()[:2] == (200, "1")


# --- A replica that lags ----------------------------------------------------------------------


def _make_check_due(session_key: str) -> None:
    session = SessionStore(session_key)
    session["ciam_session"] = {**session["ciam_session"], "look_at": 1}
    session.save()


def test_a_new_person_signs_in_again_and_stays_signed_in_although_the_replica_lags(
    create_database: Callable[[], dict[str, Any]],
    start_site: Callable[..., ProcessPoolExecutor],
    fake_ciam: FakeCiam,
) -> None:
    databases = {"default": create_database(), "replica": create_database()}
    site = start_site(databases, DATABASE_ROUTERS=[f"{__name__}.ReplicaRouter"])
    sign_in_across_processes(site, fake_ciam)
    cookies = sign_in_across_processes(site, fake_ciam)
    assert site.submit(_request, "get", "/", cookies).result()[1].startswith("ciam-")
    site.submit(_make_check_due, cookies["sessionid"]).result()
    status, content, _ = site.submit(_request, "get", "/", cookies).result()

    assert (status, content[:5]) == (200, "ciam-")
    assert site.submit(_counts).result() == (1, 1, 2)
