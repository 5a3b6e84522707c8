"""The changes that CIAM has made stay stored after a rollback of the request's transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from pytest_django.fixtures import Settings

from ciam_django.accounts import transactions
from ciam_django.accounts.backends import accounts_transaction
from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.session_store import decrypted_tokens
from ciam_django.accounts.token_refresh import refresh_session_tokens
from ciam_django.accounts.transactions import change_for_good, outside_transaction
from ciam_django.testing import FakeCiam
from ciam_django.tokens import access_token_of
from tests.accounts.test_session_check import expire_tokens
from tests.accounts.test_token_refresh import expired_tokens
from tests.browser import Browser


def fail_after_refresh(request: HttpRequest) -> HttpResponse:
    access_token_of(request)
    raise RuntimeError("the view fails after the refresh")


urlpatterns = [path("fail/", fail_after_refresh), path("ciam/", include("ciam_django.urls"))]


@contextmanager
def failing_updates(count: int) -> Iterator[list[str]]:
    """Let the next ``count`` updates of the tokens fail; the block gets the failed statements."""
    failed: list[str] = []

    def fail(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if '"renewals" = (' in sql and len(failed) < count:
            failed.append(sql)
            raise OperationalError("server closed the connection unexpectedly")
        return execute(sql, *args)

    with connection.execute_wrapper(fail):
        yield failed


@pytest.mark.parametrize("is_in_test_case", [True, False])
def test_a_refreshed_token_stays_stored_after_a_rollback(
    request: pytest.FixtureRequest,
    ciam: FakeCiam,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    is_in_test_case: bool,
) -> None:
    request.getfixturevalue("db" if is_in_test_case else "transactional_db")
    settings.ROOT_URLCONF = __name__
    browser = Browser(ciam)
    browser.sign_in()
    expire_tokens(browser)
    # Without the middleware, the view is the first that needs the new token.
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "CiamSession" not in name]
    browser.client.handler.load_middleware()
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    with pytest.raises(RuntimeError, match="after the refresh"):
        browser.client.get("/fail/")

    tokens = decrypted_tokens(CiamSession.objects.get().sealed)
    assert tokens.access_token in ciam.access_tokens
    assert tokens.refresh_token in ciam.refresh_tokens
    assert [seen.stage for seen in ciam.requests].count("refresh") == 1


def test_a_refresh_survives_one_failure_of_the_database(browser: Browser, ciam: FakeCiam) -> None:
    browser.sign_in()
    ciam_session = CiamSession.objects.get()
    with failing_updates(1) as failed:
        tokens = refresh_session_tokens(ciam_session, expired_tokens(ciam_session))

    assert len(failed) == 1
    assert decrypted_tokens(CiamSession.objects.get().sealed) == tokens
    assert tokens.refresh_token in ciam.refresh_tokens


def test_a_refresh_raises_the_second_failure_of_the_database(browser: Browser) -> None:
    browser.sign_in()
    ciam_session = CiamSession.objects.get()
    with failing_updates(2) as failed, pytest.raises(OperationalError):
        refresh_session_tokens(ciam_session, expired_tokens(ciam_session))

    assert len(failed) == 2


@pytest.mark.parametrize("failure", [OperationalError, InterfaceError])
def test_a_change_outside_of_a_transaction_waits_for_the_database(
    failure: type[Exception], transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "_RETRY_INTERVAL", 0.001)
    failures = iter([failure] * 4)

    def change() -> int:
        for each in failures:
            raise each
        return 7

    assert change_for_good(change) == 7


def test_a_change_raises_the_failure_of_the_database_after_some_seconds(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "_RETRY_INTERVAL", 0.001)
    monkeypatch.setattr(transactions, "PATIENCE_SECONDS", 0.2)
    made: list[str] = []

    def change() -> int:
        made.append("change")
        raise OperationalError("away")

    with pytest.raises(OperationalError, match="away"):
        change_for_good(change)
    assert len(made) > 2


@pytest.mark.django_db
def test_a_change_in_a_transaction_is_made_again_only_at_the_end_of_its_own_request() -> None:
    made: list[str] = []

    def change() -> int:
        made.append("change")
        if len(made) > 1:
            raise DatabaseError
        return 1

    assert change_for_good(change) == 1
    request_finished.send(None)
    assert len(made) == 2
    request_finished.send(None)
    assert len(made) == 2

    made.clear()
    change_for_good(change)
    request_started.send(None)
    request_finished.send(None)
    assert len(made) == 1


def test_a_change_outside_of_a_transaction_is_made_once(transactional_db: None) -> None:
    made: list[str] = []

    def change() -> int:
        made.append("change")
        return 1

    assert change_for_good(change) == 1
    request_finished.send(None)
    assert len(made) == 1


@outside_transaction
def place() -> tuple[int, bool]:
    """Return the thread, and True in a transaction."""
    return threading.get_ident(), connection.in_atomic_block


@pytest.mark.usefixtures("closed_thread_connections")
def test_a_function_outside_of_the_transaction_has_a_connection_of_its_own(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = threading.get_ident()
    assert place() == (here, False)
    with transaction.atomic():
        # SQLite has only one writer.
        assert place() == (here, True)
        monkeypatch.setattr(connection, "vendor", "postgresql")
        thread, is_in_transaction = place()

    assert thread != here
    assert not is_in_transaction


@pytest.mark.django_db
def test_a_function_in_the_transaction_of_a_test_case_sees_the_rows_of_the_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "vendor", "postgresql")

    assert place() == (threading.get_ident(), True)


def test_a_transaction_on_sqlite_waits_for_other_writers_before_it_reads(
    transactional_db: None,
) -> None:
    statements: list[str] = []

    def record(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        statements.append(sql)
        return execute(sql, *args)

    connection.close()
    with connection.execute_wrapper(record):
        with accounts_transaction(), accounts_transaction():
            pass
        with transaction.atomic():
            pass

    if connection.vendor == "sqlite":
        begins = [sql for sql in statements if sql.startswith("BEGIN")]
        assert begins == ["BEGIN IMMEDIATE", "BEGIN"]
