"""Refresh the tokens of a session before the tokens expire.

Only one request refreshes the tokens of a session at a time.
"""

from __future__ import annotations

import datetime
import time
from typing import Final

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.session_store import (
    Tokens,
    decrypted_tokens,
    encrypted_tokens,
    updated_tokens,
)
from ciam_django.accounts.transactions import (
    PATIENCE_SECONDS,
    change_for_good,
    outside_transaction,
)
from ciam_django.answers import is_failure_of_ciam, kind_of, row_of
from ciam_django.client.app import ciam_app
from ciam_django.client.cache import get_cached, set_cached
from ciam_django.client.circuit_breaker import call_deadline, sharing_one_deadline
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.events import REFRESH_FAILED, TOKENS_REFRESHED, record
from ciam_django.privacy import clear_frames_on_error
from ciam_django.reporting import report

# Seconds between two reads of the row while another request refreshes the tokens.
_POLL_INTERVAL: Final = 0.05
# Seconds without token refreshes after CIAM has failed.
_BACKOFF_SECONDS: Final = 30
_BACKOFF_KEY: Final = "ciam_django.renewal.paused"
# CIAM's codes for an account that does not exist. Their kind can't be tested instead, because the
# codes for a wrong URL have the same kind.
_NO_SUCH_USER_CODES: Final = frozenset(
    {"operation.failure.user.not.exist", "operation.failure.user.notfound"}
)


def is_access_refused(error: CiamError) -> bool:
    """Return True if the error means that CIAM rejected the tokens or the account.

    CIAM rejects an account that is not available or does not exist.
    """
    return (
        kind_of(error) in ("token", "account_state") or error.code.casefold() in _NO_SUCH_USER_CODES
    )


def start_backoff(ciam_session: CiamSession, error: CiamError) -> None:
    """Skip token refreshes and session checks for ``_BACKOFF_SECONDS``, after a failed call.

    A failure of CIAM applies to all sessions, any other failure only to this session, in all
    processes that share the cache. A shorter ``retry_after`` of the error ends the back-off
    earlier: a process that makes too many calls for a second must not stop all refreshes for
    longer.
    """
    key = _BACKOFF_KEY if is_failure_of_ciam(error) else _session_backoff_key(ciam_session)
    seconds = min(error.retry_after or _BACKOFF_SECONDS, _BACKOFF_SECONDS)
    set_cached(key, str(error), seconds=seconds)


def backoff_reason(ciam_session: CiamSession) -> str:
    """Return the code of the last failure, until ``_BACKOFF_SECONDS`` after ``start_backoff``.

    Return an empty text afterwards, or if the cache fails.
    """
    return str(get_cached(_BACKOFF_KEY) or get_cached(_session_backoff_key(ciam_session)) or "")


def _session_backoff_key(ciam_session: CiamSession) -> str:
    return f"{_BACKOFF_KEY}.{ciam_session.pk}"


@clear_frames_on_error
def refresh_if_due(ciam_session: CiamSession, tokens: Tokens) -> Tokens:
    """Refresh the tokens with ``refresh_session_tokens`` if they are about to expire.

    Return the given tokens unchanged if a refresh is not due yet. Return the given tokens unchanged
    if there is no refresh token, even if the tokens have expired. Raises the ``CiamError`` of
    ``refresh_session_tokens``, such as ``session_ended``.
    """
    return (
        refresh_session_tokens(ciam_session, tokens)
        if tokens.is_refresh_due and tokens.refresh_token
        else tokens
    )


@clear_frames_on_error
@outside_transaction
@sharing_one_deadline
def refresh_session_tokens(ciam_session: CiamSession, tokens: Tokens) -> Tokens:
    """Refresh the tokens at CIAM (RFC 6749, section 6), store the new tokens and return them.

    The last request has failed recently (``backoff_reason``): return the given tokens if they are
    usable, otherwise raise the same error again.

    The request fails now: start the back-off, then return the given tokens if they are usable,
    otherwise raise the ``CiamError`` of the failed request.

    CIAM rejects the tokens: raise the ``CiamError`` of the failed request.

    Another request is refreshing the tokens, or has refreshed them: return the given tokens if they
    are usable and due for a refresh. Otherwise wait for the new tokens and return them; raise
    ``no_connection`` if the other request fails or takes longer than ``CIAM_TIMEOUT``.

    The session has ended, or its stored tokens can't be decrypted: raise ``session_ended``, unless
    one of the cases above returns the given tokens.

    A rollback of the caller does not restore the old tokens, because CIAM no longer accepts them.
    """
    if reason := backoff_reason(ciam_session):
        if tokens.is_usable:
            return tokens
        raise CiamError(reason, stage=Stage.REFRESH)
    if _claim_refresh(ciam_session):
        return _fetch_and_store_tokens(ciam_session, tokens)
    return tokens if tokens.is_usable and tokens.is_refresh_due else _wait_for_tokens(ciam_session)


def _claim_refresh(ciam_session: CiamSession) -> bool:
    """Reserve the refresh for this request.

    Return False if another request is refreshing, if the tokens were refreshed since
    ``ciam_session`` was loaded, or if the session has ended.
    """
    now = timezone.now()
    is_free = Q(renewing_until=None) | Q(renewing_until__lt=now)
    # The call to CIAM, and the attempts to store the new tokens.
    seconds = conf.CIAM_TIMEOUT + PATIENCE_SECONDS + 1
    until = now + datetime.timedelta(seconds=seconds)
    # One UPDATE statement, so that only one request succeeds.
    return bool(_unchanged_row(ciam_session).filter(is_free).update(renewing_until=until))


def _fetch_and_store_tokens(ciam_session: CiamSession, tokens: Tokens) -> Tokens:
    """Request new tokens from CIAM, store them in the session's row and return them.

    If the request fails, release the reservation. If CIAM rejected the tokens, raise the
    ``CiamError``. Otherwise start the back-off; then raise the ``CiamError`` if the given tokens
    are not usable, or report it and return the given tokens. Raises ``session_ended`` if the
    session has ended during the request.
    """
    try:
        new_tokens = updated_tokens(tokens, ciam_app().refresh_tokens(tokens.refresh_token))
    except CiamError as error:
        record_refresh_failure(error, user=ciam_session.identity.user_id)
        _unchanged_row(ciam_session).update(renewing_until=None)
        if is_access_refused(error):
            raise
        start_backoff(ciam_session, error)
        if not tokens.is_usable:
            raise
        # Only the log has the error: the user does not see the failure.
        report(error)
        return tokens
    record(TOKENS_REFRESHED, user=ciam_session.identity.user_id)
    sealed = encrypted_tokens(new_tokens)
    replaced = change_for_good(
        lambda: _unchanged_row(ciam_session).update(
            sealed=sealed, renewals=F("renewals") + 1, renewing_until=None
        )
    )
    # If no row was updated, the session has ended, or another request has stored newer tokens.
    return new_tokens if replaced else _load_stored_tokens(ciam_session)


def record_refresh_failure(error: CiamError, user: object = None) -> None:
    """Record that CIAM has given no new tokens; ``user`` is the primary key of the user."""
    row = row_of(error)
    record(
        REFRESH_FAILED,
        user=user,
        code=error.code if row.matched_by == "exact" else row.key,
        row=row.key,
        kind=row.meaning.kind,
    )


def _wait_for_tokens(ciam_session: CiamSession) -> Tokens:
    """Wait until another request has stored new tokens, and return the new tokens.

    Raises ``CiamError``: ``no_connection`` if the other request fails, or after ``CIAM_TIMEOUT``;
    ``session_ended`` if the session has ended.
    """
    until = call_deadline(conf.CIAM_TIMEOUT)
    while time.monotonic() < until:
        reloaded = _load_active_session(ciam_session)
        if reloaded.renewals > ciam_session.renewals:
            return decrypted_tokens(reloaded.sealed)
        if reloaded.renewing_until is None:
            break
        time.sleep(_POLL_INTERVAL)
    raise CiamError("no_connection", stage=Stage.REFRESH)


def _load_stored_tokens(ciam_session: CiamSession) -> Tokens:
    """Load the tokens from the session's row; raise ``session_ended`` if the session has ended."""
    return decrypted_tokens(_load_active_session(ciam_session).sealed)


def _load_active_session(ciam_session: CiamSession) -> CiamSession:
    """Load the session's row; raise ``session_ended`` if the session has ended."""
    reloaded = CiamSession.objects.active().filter(pk=ciam_session.pk).first()
    if reloaded is None:
        raise CiamError("session_ended", stage=Stage.REFRESH)
    return reloaded


def _unchanged_row(ciam_session: CiamSession) -> QuerySet[CiamSession]:
    """Return a queryset of the session's row.

    The queryset is empty if the session has ended, or if its tokens were refreshed since
    ``ciam_session`` was loaded.
    """
    return CiamSession.objects.active().filter(pk=ciam_session.pk, renewals=ciam_session.renewals)
