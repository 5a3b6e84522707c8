"""A session's tokens, renewed before they end: by one request, while others wait or use the old."""

from __future__ import annotations

import datetime
import time
from typing import Final

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.tokens import Tokens, sealed, unsealed, with_answer
from ciam_django.answers import answer_to, kind_of
from ciam_django.client.cache import share, shared
from ciam_django.client.oauth import ciam_app
from ciam_django.conf import conf
from ciam_django.errors import CiamError

# Seconds: between two looks at what another request is fetching; and for which nobody asks CIAM
# again that could not be reached, so that no page waits for it.
_BETWEEN_LOOKS: Final = 0.05
_PAUSE: Final = 30
_PAUSED: Final = "ciam_django.renewal.paused"
# What CIAM says of somebody who has no account; their kind is also that of an address of no use.
_GONE: Final = frozenset({"operation.failure.user.not.exist", "operation.failure.user.notfound"})


def ends_session(error: CiamError) -> bool:
    """Whether it says that the tokens or the person are no longer good, and not that CIAM is."""
    return kind_of(error) in ("token", "account_state") or error.code.casefold() in _GONE


def pause() -> None:
    """Have no session ask CIAM for a while, in any process."""
    share(_PAUSED, 1, seconds=_PAUSE)


def is_paused() -> bool:
    """Whether CIAM has just failed somebody."""
    return bool(shared(_PAUSED))


def current(kept: CiamSession, tokens: Tokens) -> Tokens:
    """The tokens of the session, or newer ones where these are about to end.

    A ``CiamError`` where CIAM refuses them, or can't be reached and the old ones have ended.
    """
    return renewed(kept, tokens) if tokens.is_due and tokens.refresh_token else tokens


def renewed(kept: CiamSession, tokens: Tokens) -> Tokens:
    """Newer tokens than these (RFC 6749, 6), or these while another request fetches newer ones."""
    if is_paused():
        return _still_good(tokens)
    if _is_ours_to_renew(kept):
        return _fetched(kept, tokens)
    return tokens if tokens.is_good and tokens.is_due else _awaited(kept)


def _is_ours_to_renew(kept: CiamSession) -> bool:
    """Whether no request has renewed them since they were read, nor is about to."""
    now = timezone.now()
    is_free = Q(renewing_until=None) | Q(renewing_until__lt=now)
    until = now + datetime.timedelta(seconds=conf.CIAM_TIMEOUT + 1)
    # One statement, of which the database lets one request succeed.
    return bool(_as_read(kept).filter(is_free).update(renewing_until=until))


def _fetched(kept: CiamSession, tokens: Tokens) -> Tokens:
    try:
        newer = with_answer(tokens, ciam_app().refreshed_token(tokens.refresh_token))
    except CiamError as error:
        _as_read(kept).update(renewing_until=None)
        if ends_session(error):
            raise
        pause()
        if not tokens.is_good:
            raise
        # For the log: nobody is to be disturbed.
        answer_to(error)
        return tokens
    replaced = _as_read(kept).update(
        sealed=sealed(newer), renewals=F("renewals") + 1, renewing_until=None
    )
    # Otherwise the session has been ended meanwhile, or somebody was faster after all.
    return newer if replaced else _newest(kept)


def _awaited(kept: CiamSession) -> Tokens:
    until = time.monotonic() + conf.CIAM_TIMEOUT
    while time.monotonic() < until:
        found = _row(kept)
        if found.renewals > kept.renewals:
            return unsealed(found.sealed)
        if found.renewing_until is None:
            break
        time.sleep(_BETWEEN_LOOKS)
    raise CiamError("no_connection", stage="refresh")


def _still_good(tokens: Tokens) -> Tokens:
    if tokens.is_good:
        return tokens
    raise CiamError("no_connection", stage="refresh")


def _newest(kept: CiamSession) -> Tokens:
    return unsealed(_row(kept).sealed)


def _row(kept: CiamSession) -> CiamSession:
    found = CiamSession.objects.living().filter(pk=kept.pk).first()
    if found is None:
        raise CiamError("session_ended", stage="refresh")
    return found


def _as_read(kept: CiamSession) -> QuerySet[CiamSession]:
    return CiamSession.objects.living().filter(pk=kept.pk, renewals=kept.renewals)
