"""Delete the tokens of sessions past their end, and later the rows of these sessions.

The row of a session can be past its end while the session continues: Django may extend a session
with each request, and a check updates the row later. So only Django's session decides.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.core.management.base import CommandError
from django.db import connections
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from ciam_django.accounts.backends import accounts_transaction
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import SessionStoreError, rows_without_django_session

# The number of rows of one transaction, and the number of parameters of one query.
_BATCH_SIZE: Final = 500


@dataclasses.dataclass
class ClearingCounts:
    """The numbers of rows; with ``dry_run``, the numbers that a run would have now.

    ``in_use`` counts the rows that another request has locked, is refreshing or has changed. The
    next run reads these rows again. ``continuing`` counts the rows past their end whose Django
    session continues.
    """

    tokens_deleted: int = 0
    rows_deleted: int = 0
    continuing: int = 0
    in_use: int = 0


def clear_sessions(*, days: int, dry_run: bool) -> ClearingCounts:
    """Delete the tokens of sessions past their end, and the rows that ended ``days`` days ago.

    Each batch of rows is a short transaction, so that a run can be stopped at any time. No query
    waits for a row that another request has locked, if the database can skip such rows.

    Raises ``CommandError`` if the store of Django's sessions loses a session, and the exception of
    the store if the store fails. The batches before stay done.
    """
    now = timezone.now()
    oldest_end = now - datetime.timedelta(days=days)
    counts = ClearingCounts()
    for batch in _batches(CiamSession.objects.active().filter(ends_at__lt=now)):
        try:
            ended = rows_without_django_session(batch)
        except SessionStoreError as error:
            raise CommandError(
                f"{error} No tokens of this batch have been deleted. Is the cache down?"
            ) from error
        deleted = len(ended) if dry_run else _delete_tokens(ended)
        counts.tokens_deleted += deleted
        counts.in_use += len(ended) - deleted
        counts.continuing += len(batch) - len(ended)
        if dry_run:
            counts.rows_deleted += sum(row.ends_at < oldest_end for row in ended)
    rows = CiamSession.objects.filter(sealed="", ends_at__lt=oldest_end)
    if dry_run:
        counts.rows_deleted += rows.count()
        return counts
    for batch in _batches(rows):
        deleted = _delete_rows(batch)
        counts.rows_deleted += deleted
        counts.in_use += len(batch) - deleted
    return counts


def _batches(rows: QuerySet[CiamSession]) -> Iterator[list[CiamSession]]:
    """Return the rows in the order of the index; a row that stays is read only once."""
    after = Q()
    ordered = rows.order_by("ends_at", "pk").only("sealed", "ends_at")
    while batch := list(ordered.filter(after)[:_BATCH_SIZE]):
        yield batch
        last = batch[-1]
        # The first condition alone lets the database begin in the index at the last row.
        after = Q(ends_at__gte=last.ends_at) & (Q(ends_at__gt=last.ends_at) | Q(pk__gt=last.pk))


def _delete_tokens(ended: Sequence[CiamSession]) -> int:
    """Delete the tokens of the rows that have not changed since; return the number of rows."""
    read = {row.pk: row.sealed for row in ended}
    now = timezone.now()
    # A check may have extended the session meanwhile, and a refresh has new tokens or will have.
    is_free = Q(renewing_until=None) | Q(renewing_until__lt=now)
    with accounts_transaction():
        rows = _locked(CiamSession.objects.filter(is_free, pk__in=read, ends_at__lt=now))
        found = rows.values_list("pk", "sealed")
        unchanged = [pk for pk, sealed in found if sealed == read[pk]]
        return CiamSession.objects.filter(pk__in=unchanged).update(sealed="", sid_key="")


def _delete_rows(batch: Sequence[CiamSession]) -> int:
    """Delete the rows, and keep the time of the last sign-in; return the number of rows."""
    same_identity = CiamSession.objects.filter(identity=OuterRef("identity"))
    newer = same_identity.filter(
        Q(created_at__gt=OuterRef("created_at"))
        | Q(created_at=OuterRef("created_at"), pk__gt=OuterRef("pk"))
    )
    with accounts_transaction():
        rows = _locked(CiamSession.objects.filter(pk__in=[row.pk for row in batch]))
        found = list(rows.only("identity_id", "created_at").annotate(has_newer=Exists(newer)))
        times = {row.identity_id: row.created_at for row in found if not row.has_newer}
        # Both locks skip rows, so that a transaction with locks in another order is no deadlock.
        identities = list(
            _locked(CiamIdentity.objects.filter(pk__in=times)).only("last_sign_in_at")
        )
        for identity in identities:
            last = identity.last_sign_in_at
            identity.last_sign_in_at = max(last or times[identity.pk], times[identity.pk])
        CiamIdentity.objects.bulk_update(identities, ["last_sign_in_at"])
        updated = {identity.pk for identity in identities}
        deletable = [row.pk for row in found if row.has_newer or row.identity_id in updated]
        CiamSession.objects.filter(pk__in=deletable).delete()
    return len(deletable)


def _locked(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the rows that no other transaction has locked, and lock them.

    Databases that can't skip locked rows wait for them. SQLite ignores the lock, because
    ``accounts_transaction`` has locked the whole database.
    """
    features = connections[rows.db].features
    return rows.select_for_update(
        skip_locked=features.has_select_for_update_skip_locked,
        no_key=features.has_select_for_no_key_update,
    )
