"""Refresh the tokens of a session before they expire, in one request at a time."""

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
from ciam_django.answers import kind_of
from ciam_django.client.cache import get_cached, set_cached
from ciam_django.client.oauth import ciam_app
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.privacy import clear_frames_on_error
from ciam_django.reporting import report

# Seconds between two reads of the row while another request refreshes the tokens.
_POLL_INTERVAL: Final = 0.05
# Seconds without a request to CIAM after CIAM could not be reached, so that no page waits for CIAM.
_BACKOFF_SECONDS: Final = 30
_BACKOFF_KEY: Final = "ciam_django.renewal.paused"
# CIAM's codes for a person without an account. The codes of a wrong URL have the same kind.
_NO_SUCH_USER_CODES: Final = frozenset(
    {"operation.failure.user.not.exist", "operation.failure.user.notfound"}
)


def is_access_refused(error: CiamError) -> bool:
    """Return True if CIAM refuses the tokens or the person; False if CIAM itself fails."""
    return (
        kind_of(error) in ("token", "account_state") or error.code.casefold() in _NO_SUCH_USER_CODES
    )


def start_backoff() -> None:
    """Stop the refreshes and checks of all sessions in all processes for some seconds."""
    set_cached(_BACKOFF_KEY, 1, seconds=_BACKOFF_SECONDS)


def is_backing_off() -> bool:
    """Return True if CIAM has failed in the last seconds."""
    return bool(get_cached(_BACKOFF_KEY))


@clear_frames_on_error
def refresh_if_due(ciam_session: CiamSession, tokens: Tokens) -> Tokens:
    """Return the tokens of the session, or newer tokens if the tokens are about to expire.

    Raises ``CiamError`` if CIAM refuses the tokens, or if CIAM can't be reached and the tokens have
    expired.
    """
    return (
        refresh_tokens(ciam_session, tokens)
        if tokens.is_refresh_due and tokens.refresh_token
        else tokens
    )


@clear_frames_on_error
def refresh_tokens(ciam_session: CiamSession, tokens: Tokens) -> Tokens:
    """Return newer tokens (RFC 6749, 6).

    If another request is refreshing the tokens, this function returns the given tokens while they
    are usable, and waits for the newer tokens otherwise. If CIAM can't be reached, it returns the
    given tokens while they are usable. Raises ``CiamError`` like ``refresh_if_due``.
    """
    if is_backing_off():
        return _require_usable(tokens)
    if _claim_refresh(ciam_session):
        return _fetch_and_store_tokens(ciam_session, tokens)
    return tokens if tokens.is_usable and tokens.is_refresh_due else _wait_for_tokens(ciam_session)


def _claim_refresh(ciam_session: CiamSession) -> bool:
    """Return True if this request may refresh the tokens, and no request has done so meanwhile."""
    now = timezone.now()
    is_free = Q(renewing_until=None) | Q(renewing_until__lt=now)
    until = now + datetime.timedelta(seconds=conf.CIAM_TIMEOUT + 1)
    # One UPDATE statement, so that only one request succeeds.
    return bool(_unchanged_row(ciam_session).filter(is_free).update(renewing_until=until))


def _fetch_and_store_tokens(ciam_session: CiamSession, tokens: Tokens) -> Tokens:
    try:
        new_tokens = updated_tokens(tokens, ciam_app().refresh_tokens(tokens.refresh_token))
    except CiamError as error:
        _unchanged_row(ciam_session).update(renewing_until=None)
        if is_access_refused(error):
            raise
        start_backoff()
        if not tokens.is_usable:
            raise
        # Only the log has the error: the user does not see the failure.
        report(error)
        return tokens
    replaced = _unchanged_row(ciam_session).update(
        sealed=encrypted_tokens(new_tokens), renewals=F("renewals") + 1, renewing_until=None
    )
    # If no row was updated, the session has ended, or another request has stored newer tokens.
    return new_tokens if replaced else _stored_tokens(ciam_session)


def _wait_for_tokens(ciam_session: CiamSession) -> Tokens:
    until = time.monotonic() + conf.CIAM_TIMEOUT
    while time.monotonic() < until:
        reloaded = _reload_ciam_session(ciam_session)
        if reloaded.renewals > ciam_session.renewals:
            return decrypted_tokens(reloaded.sealed)
        if reloaded.renewing_until is None:
            break
        time.sleep(_POLL_INTERVAL)
    raise CiamError("no_connection", stage=Stage.REFRESH)


def _require_usable(tokens: Tokens) -> Tokens:
    if tokens.is_usable:
        return tokens
    raise CiamError("no_connection", stage=Stage.REFRESH)


def _stored_tokens(ciam_session: CiamSession) -> Tokens:
    return decrypted_tokens(_reload_ciam_session(ciam_session).sealed)


def _reload_ciam_session(ciam_session: CiamSession) -> CiamSession:
    reloaded = CiamSession.objects.active().filter(pk=ciam_session.pk).first()
    if reloaded is None:
        raise CiamError("session_ended", stage=Stage.REFRESH)
    return reloaded


def _unchanged_row(ciam_session: CiamSession) -> QuerySet[CiamSession]:
    return CiamSession.objects.active().filter(pk=ciam_session.pk, renewals=ciam_session.renewals)
