"""Projects with several databases, with ``ATOMIC_REQUESTS``, or with a replica that lags."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections, router
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import decrypted_tokens, encrypted_tokens
from ciam_django.client.person import Person
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from ciam_django.tokens import access_token_of, end_other_sessions
from tests.browser import HTML
from tests.deployed import set_up_django
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
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(processes, spawn, set_up_django, (overrides,))
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
