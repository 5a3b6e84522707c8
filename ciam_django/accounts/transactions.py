"""The database of the identities and sessions, and changes that survive a rollback."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

from django.apps import apps
from django.core.signals import request_finished, request_started
from django.db import DatabaseError, connections, router, transaction
from django.db import Error as DatabaseFailure
from django.db.models import Manager, QuerySet

P = ParamSpec("P")
T = TypeVar("T")


class PrimaryManager(Manager[Any]):
    """A manager whose queries read from the database that writes.

    The rows decide who signs in, and which session goes on. A replica may lack the newest rows.
    """

    def get_queryset(self) -> QuerySet[Any]:
        """Return a queryset of the database that writes, unless the caller has chosen another."""
        queryset = super().get_queryset()
        return queryset if self._db else queryset.using(router.db_for_write(self.model))


# --- Changes that survive a rollback ----------------------------------------------------------

# CIAM accepts a refresh token once. If a view refreshes the tokens and fails afterwards, the
# rollback of its transaction (ATOMIC_REQUESTS) must not restore the spent refresh token.


# The seconds of the attempts to store what CIAM has changed, and the seconds between two attempts.
PATIENCE_SECONDS: Final = 5.0
_RETRY_INTERVAL: Final = 0.1


def _database() -> str:
    return router.db_for_write(apps.get_model("ciam_accounts", "CiamSession"))


class _Pending(threading.local):
    """The changes of the current request to make again, because a rollback may have undone them."""

    def __init__(self) -> None:
        self.changes: collections.deque[Callable[[], int]] = collections.deque(maxlen=16)


_pending: Final = _Pending()


def outside_transaction(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that changes rows: a rollback of the caller does not undo the changes.

    If the caller is in a transaction, the function runs in a thread, which has a connection of its
    own. The function must not wait for a row that the caller's transaction has locked.

    SQLite allows one writer, and only the transaction of a ``TestCase`` sees the rows of its test.
    In these cases, the function runs in the transaction of the caller.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        if not can_leave_transaction():
            return function(*args, **kwargs)
        call = functools.partial(function, *args, **kwargs)
        context = contextvars.copy_context()
        with ThreadPoolExecutor(max_workers=1) as executor:
            return executor.submit(context.run, _run_and_close, call).result()

    return wrapper


def can_leave_transaction() -> bool:
    """Return True in a transaction that a second connection can leave."""
    connection = connections[_database()]
    blocks = connection.atomic_blocks
    is_in_test_case = any(vars(block)["_from_testcase"] for block in blocks)
    return bool(blocks) and not is_in_test_case and connection.vendor != "sqlite"


def _run_and_close(function: Callable[[], T]) -> T:
    try:
        return function()
    finally:
        connections.close_all()


def change_for_good(change: Callable[[], int]) -> int:
    """Make a change that can't be repeated later, and return its number of rows.

    If the database fails, the change is made again, until ``PATIENCE_SECONDS`` have passed: a
    restart of the database takes a second. In a transaction, the change is made only twice, because
    the transaction is lost, and again at the end of the request, after a possible rollback. So the
    change must have no effect if it has been made before. Raises the last ``django.db.Error``.
    """
    database = _database()
    connection = connections[database]
    until = time.monotonic() + PATIENCE_SECONDS
    if connection.in_atomic_block:
        until = 0.0
        _pending.changes.append(change)
        # Most projects never come here, so that their requests call no receiver.
        request_started.connect(forget_changes, dispatch_uid=__name__)
        request_finished.connect(repeat_changes, dispatch_uid=__name__)
    while True:
        with contextlib.suppress(DatabaseFailure), transaction.atomic(using=database):
            return change()
        # The next attempt opens a new connection if this connection is broken.
        connection.close_if_unusable_or_obsolete()
        if time.monotonic() >= until:
            break
        time.sleep(_RETRY_INTERVAL)
    with transaction.atomic(using=database):
        return change()


def forget_changes(sender: object, **kwargs: Any) -> None:
    """Receive Django's ``request_started``: the changes belong to an earlier request."""
    _pending.changes.clear()


def repeat_changes(sender: object, **kwargs: Any) -> None:
    """Receive Django's ``request_finished``, and make the changes again."""
    while _pending.changes:
        # The response has been sent, so that no user can be told about a failure.
        with contextlib.suppress(DatabaseError):
            _pending.changes.popleft()()
