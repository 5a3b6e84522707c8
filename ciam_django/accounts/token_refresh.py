"""A session's tokens, renewed before they end: by one request, while others wait or use the old."""

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

# Seconds: between two looks at what another request is fetching; and for which nobody asks CIAM
# again that could not be reached, so that no page waits for it.
_POLL_INTERVAL: Final = 0.05
_BACKOFF_SECONDS: Final = 30
_BACKOFF_KEY: Final = "ciam_django.renewal.paused"
# What CIAM says of somebody who has no account; their kind is also that of an address of no use.
_NO_SUCH_USER_CODES: Final = frozenset(
    {"operation.failure.user.not.exist", "operation.failure.user.notfound"}
)


def is_access_refused(error: CiamError) -> bool:
    """Whether it says that the tokens or the person are no longer good, and not that CIAM is."""
    return (
        kind_of(error) in ("token", "account_state") or error.code.casefold() in _NO_SUCH_USER_CODES
    )


def start_backoff() -> None:
    """Have no session ask CIAM for a while, in any process."""
    set_cached(_BACKOFF_KEY, 1, seconds=_BACKOFF_SECONDS)


def is_backing_off() -> bool:
    """Whether CIAM has just failed somebody."""
    return bool(get_cached(_BACKOFF_KEY))


@clear_frames_on_error
def refresh_if_due(ciam_session: CiamSession, tokens: Tokens) -> Tokens:
    """The tokens of the session, or newer ones where these are about to end.

    A ``CiamError`` where CIAM refuses them, or can't be reached and the old ones have ended.
    """
    return (
        refresh_tokens(ciam_session, tokens)
        if tokens.is_refresh_due and tokens.refresh_token
        else tokens
    )


@clear_frames_on_error
def refresh_tokens(ciam_session: CiamSession, tokens: Tokens) -> Tokens:
    """Newer tokens than these (RFC 6749, 6), or these while another request fetches newer ones."""
    if is_backing_off():
        return _require_usable(tokens)
    if _claim_refresh(ciam_session):
        return _fetch_and_store_tokens(ciam_session, tokens)
    return tokens if tokens.is_usable and tokens.is_refresh_due else _wait_for_tokens(ciam_session)


def _claim_refresh(ciam_session: CiamSession) -> bool:
    """Whether no request has renewed them since they were read, nor is about to."""
    now = timezone.now()
    is_free = Q(renewing_until=None) | Q(renewing_until__lt=now)
    until = now + datetime.timedelta(seconds=conf.CIAM_TIMEOUT + 1)
    # One statement, of which the database lets one request succeed.
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
        # For the log: nobody is to be disturbed.
        report(error)
        return tokens
    replaced = _unchanged_row(ciam_session).update(
        sealed=encrypted_tokens(new_tokens), renewals=F("renewals") + 1, renewing_until=None
    )
    # Otherwise the session has been ended meanwhile, or somebody was faster after all.
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
    found = CiamSession.objects.active().filter(pk=ciam_session.pk).first()
    if found is None:
        raise CiamError("session_ended", stage=Stage.REFRESH)
    return found


def _unchanged_row(ciam_session: CiamSession) -> QuerySet[CiamSession]:
    return CiamSession.objects.active().filter(pk=ciam_session.pk, renewals=ciam_session.renewals)
