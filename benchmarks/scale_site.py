"""The site of ``benchmarks.scale``: its URLs, its rows, its tasks, and the plans of its queries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from benchmarks import logins
from ciam_django.accounts.login import find_active_user
from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.session_store import decrypted_tokens
from ciam_django.accounts.token_refresh import refresh_session_tokens
from ciam_django.client.person import Person
from ciam_django.testing import FakeCiam

# The rows that a query may sort or read without an index: a page of the admin, or a batch of
# ``ciam_clear``.
_PAGE: Final = 500
# The largest number of plans of the same statement in a task.
_MAX_PLANS: Final = 3
_EXPLAINED: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_LARGE_TABLES: Final = frozenset(
    {"auth_user", "ciam_accounts_ciamidentity", "ciam_accounts_ciamsession", "django_session"}
)
_ADMIN_LIST: Final = "/admin/ciam_accounts/ciamidentity/"


def page(request: HttpRequest) -> HttpResponse:
    """A page of a signed-in person."""
    return HttpResponse(request.user.get_username())


urlpatterns = [*logins.urlpatterns, path("admin/", admin.site.urls), path("page/", page)]

# --- The rows -----------------------------------------------------------------------------------

# Each user has one identity. A quarter of the sessions have not ended, and a tenth of them are past
# their end. The other sessions ended in the last 40 days, and ``ciam_clear`` has deleted their
# tokens.
_FILL: Final = """
INSERT INTO auth_user (id, password, last_login, is_superuser, username, first_name, last_name,
    email, is_staff, is_active, date_joined)
SELECT n, '!' || left(md5(n::text), 32) || left(md5('a' || n), 8), now() - random() * interval
    '40 days', false, 'ciam-' || left(md5('user' || n), 24), 'Li', 'Wang', n || '@example.com',
    false, true, now() - random() * interval '1000 days'
FROM generate_series(1, %(rows)s) AS n;

INSERT INTO ciam_accounts_ciamidentity (id, user_id, issuer, subject, key, union_id, provider,
    names, created_at, last_sign_in_at)
SELECT n, n, %(issuer)s, left(md5('subject' || n), 24),
    encode(sha256(convert_to(%(issuer)s, 'UTF8') || '\\x00'::bytea ||
        convert_to(left(md5('subject' || n), 24), 'UTF8')), 'hex'),
    CASE WHEN n %% 3 = 0 THEN 'o6_' || left(md5('union' || n), 25) ELSE '' END,
    CASE n %% 6 WHEN 0 THEN 'wechat' WHEN 3 THEN 'alipay' ELSE '' END,
    jsonb_build_array(md5('email' || n), md5('name' || n)),
    now() - random() * interval '1000 days',
    CASE WHEN n %% 2 = 0 THEN now() - random() * interval '400 days' END
FROM generate_series(1, %(rows)s) AS n;

INSERT INTO ciam_accounts_ciamsession (id, identity_id, sid_key, sealed, renewals, renewing_until,
    created_at, ends_at)
SELECT n, 1 + floor(random() * %(rows)s)::int,
    CASE WHEN n %% 4 = 0 THEN encode(sha256(('sid' || n)::bytea), 'hex') ELSE '' END,
    CASE WHEN n %% 4 = 0 THEN 'gAAAAA' || repeat(md5('token' || n), 40) ELSE '' END,
    floor(random() * 20)::int, NULL,
    now() - interval '60 days' + random() * interval '20 days',
    CASE
        WHEN n %% 40 = 0 THEN now() - random() * interval '1 day'
        WHEN n %% 4 = 0 THEN now() + random() * interval '14 days'
        ELSE now() - random() * interval '40 days'
    END
FROM generate_series(1, %(rows)s) AS n;

INSERT INTO django_session (session_key, session_data, expire_date)
SELECT md5('session' || n), repeat(md5('data' || n), 12), now() + random() * interval '14 days'
FROM generate_series(1, %(rows)s) AS n WHERE n %% 4 = 0;
"""
_SEQUENCES: Final = ("auth_user", "ciam_accounts_ciamidentity", "ciam_accounts_ciamsession")


def fill_database(rows: int, issuer: str) -> None:
    """Create the tables, and fill them with this number of people, identities and sessions."""
    create_tables()
    with connection.cursor() as cursor:
        for statement in _FILL.split(";\n"):
            if statement.strip():
                cursor.execute(statement, {"rows": rows, "issuer": issuer})
        for table in _SEQUENCES:
            cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [table, rows])
        cursor.execute("VACUUM ANALYZE")


def create_tables() -> None:
    """Create the tables of the site."""
    call_command("migrate", verbosity=0)


def use_client(client: Mapping[str, Any]) -> None:
    """Let the site sign in at another CIAM."""
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": dict(client)}
    logins.hand_metadata.cache_clear()
    logins.hand_session.cache_clear()
    cache.clear()


def use_database(name: str) -> None:
    """Let Django's connection use another database."""
    connection.close()
    connection.settings_dict["NAME"] = name


# --- The plans ----------------------------------------------------------------------------------


@dataclass
class Plans:
    """The plans of the queries of one task."""

    task: str
    queries: int = 0
    milliseconds: float = 0.0
    slowest: float = 0.0
    buffers: int = 0
    faults: list[str] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    def explain(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Wrap the execution of a query: ask for its plan first, and roll the execution back."""
        if sql.startswith(_EXPLAINED):
            self.queries += 1
            self._seen[sql] = self._seen.get(sql, 0) + 1
            if self._seen[sql] <= _MAX_PLANS:
                self._read_plan(sql, params, context["connection"])
        return execute(sql, params, many, context)

    def _read_plan(self, sql: str, params: Any, connection: Any) -> None:
        raw = connection.connection
        in_transaction = connection.in_atomic_block
        raw.execute("SAVEPOINT explained" if in_transaction else "BEGIN")
        try:
            with raw.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
                [[[answer]]] = cursor.fetchall()
        finally:
            raw.execute("ROLLBACK TO SAVEPOINT explained" if in_transaction else "ROLLBACK")
        plan = answer["Plan"]
        self.milliseconds += answer["Execution Time"]
        self.slowest = max(self.slowest, answer["Execution Time"])
        self.buffers += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        for fault in _faults_of(plan):
            self.faults.append(f"{fault} ({answer['Execution Time']:.0f} ms): {sql}")


def _faults_of(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the nodes of a plan that read a whole large table, or that sort more than a page."""
    kind, parts = plan["Node Type"], plan.get("Plans", ())
    removed = plan.get("Rows Removed by Filter", 0)
    if kind == "Seq Scan" and plan["Relation Name"] in _LARGE_TABLES:
        read = (plan["Actual Rows"] + removed) * plan["Actual Loops"]
        if read > _PAGE:
            yield f"reads {read:.0f} rows of {plan['Relation Name']} without an index"
    if "Sort" in kind and sum(each["Actual Rows"] for each in parts) > _PAGE:
        yield f"sorts {sum(each['Actual Rows'] for each in parts):.0f} rows"
    for part in parts:
        yield from _faults_of(part)


# --- The tasks ----------------------------------------------------------------------------------


def sign_in(username: str = "li", *, url_prefix: str = "ciam") -> Client:
    """Sign in with a new browser, and return the browser."""
    client = logins.new_browser()
    response = logins.sign_in(url_prefix, username, lambda request: request(), client)
    assert response.status_code == 302, response.content
    return client


def plans_of_tasks(fake: FakeCiam) -> list[Plans]:
    """Run each task, and return the plans of its queries."""
    all_plans = []
    for name, task in tasks(fake):
        plans = Plans(name)
        with connection.execute_wrapper(plans.explain):
            task()
        all_plans.append(plans)
    return all_plans


def tasks(fake: FakeCiam) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the name and the function of each task. The caller calls the function at once."""
    yield "first login of a person", sign_in
    yield "login of a known person", sign_in
    browser = sign_in()
    yield "page of a signed-in person", lambda: _get(browser, "/page/")
    session = browser.session
    session["ciam_session"] |= {"look_at": 0}
    session.save()
    yield "page with a check of the session", lambda: _get(browser, "/page/")
    row = CiamSession.objects.select_related("identity").latest("pk")
    tokens = decrypted_tokens(row.sealed)
    yield "refresh of the tokens", lambda: refresh_session_tokens(row, tokens)
    yield "logout", lambda: browser.post("/ciam/logout/", secure=True)
    identity = row.identity
    sign_in()
    by_person = fake.sign_logout_token(sub=identity.subject)
    yield "back-channel logout of a person", lambda: _log_out(by_person)
    sign_in()
    newest_sid = [each.sid for each in fake.access_tokens.values()][-1]
    by_session = fake.sign_logout_token(sid=newest_sid)
    yield "back-channel logout of a session", lambda: _log_out(by_session)
    person = Person(identity.issuer, identity.subject)
    yield "user of a bearer token", lambda: find_active_user(person)
    staff = Client()
    staff.force_login(get_user_model().objects.create_superuser("admin"))
    yield "admin: list", lambda: _get(staff, _ADMIN_LIST)
    yield "admin: list of a provider", lambda: _get(staff, f"{_ADMIN_LIST}?provider=wechat")
    yield "admin: page 20 of the list", lambda: _get(staff, f"{_ADMIN_LIST}?p=20")
    yield "admin: one person", lambda: _get(staff, f"{_ADMIN_LIST}{identity.pk}/change/")
    # With fewer days, ``clear_sessions`` has more rows to delete.
    yield "`ciam_clear`", lambda: call_command("ciam_clear", days=39, stdout=StringIO())


def _get(browser: Client, url: str) -> None:
    response = browser.get(url, secure=True)
    assert response.status_code == 200, response.content


def _log_out(token: str) -> None:
    response = Client().post("/ciam/logout/back/", {"logout_token": token}, secure=True)
    assert response.status_code == 200, response.content


# --- The times ----------------------------------------------------------------------------------


def login_times(logins_count: int) -> tuple[float, float]:
    """Return the milliseconds of a login of a known person: in the database, and in all."""
    in_database = in_all = 0.0

    def time_query(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal in_database
        began = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            in_database += time.perf_counter() - began

    sign_in()
    with connection.execute_wrapper(time_query):
        for _ in range(logins_count):
            began = time.perf_counter()
            sign_in()
            in_all += time.perf_counter() - began
    return in_database / logins_count * 1000, in_all / logins_count * 1000


def clear_sessions() -> tuple[int, float]:
    """Run ``ciam_clear``; return the number of deleted rows, and the seconds."""
    before = CiamSession.objects.count()
    began = time.perf_counter()
    call_command("ciam_clear", stdout=StringIO())
    seconds = time.perf_counter() - began
    return before - CiamSession.objects.count(), seconds


def logins_per_second(url_prefix: str, threads: int, count: int) -> float:
    """Return the logins in a second, of this number of threads that sign in ``count`` times.

    Each thread signs in another person, because the logins of one person wait for each other.
    """

    def work(username: str) -> None:
        for _ in range(count // threads):
            sign_in(username, url_prefix=url_prefix)
        connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as executor:
        for each in [executor.submit(work, username) for username in people(threads)]:
            each.result()
    return count / (time.perf_counter() - began)


def people(count: int) -> list[str]:
    """Return the user names of some people at the fake CIAM."""
    return [f"person-{number}" for number in range(count)]
