"""A request in, and whether CIAM still stands by its session; with the token that it holds."""

from __future__ import annotations

from django.contrib.auth import logout
from django.http import HttpRequest

from ciam_django.accounts.last_failure import tried_by
from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.session_store import end_kept, is_due, kept_for, look_again, tokens_for
from ciam_django.accounts.token_refresh import current, ends_session, is_paused, pause, renewed
from ciam_django.accounts.tokens import Tokens
from ciam_django.answers import answer_to
from ciam_django.client.api import REFUSED_TOKEN, CiamClient
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.privacy import leaving_no_values


@leaving_no_values
def access_token_of(request: HttpRequest) -> str:
    """CIAM's access token of the person who is signed in, for ``CiamClient``; renewed if need be.

    A ``CiamError``: ``missing_token`` where this session has none, ``session_ended`` where CIAM
    no longer takes it, or why CIAM can't be asked.
    """
    kept = kept_for(request)
    if kept is None:
        raise CiamError("missing_token", stage="refresh")
    tokens = tokens_for(request, kept)
    if not tokens.access_token:
        raise CiamError("missing_token", stage="refresh")
    if tokens.is_good and not tokens.is_due:
        return tokens.access_token
    tokens = current(kept, tokens)
    if not tokens.is_good:
        raise CiamError("session_ended", stage="refresh")
    look_again(request, kept, tokens)
    return tokens.access_token


def ended(request: HttpRequest) -> CiamError | None:
    """Why the session has been ended now; None if it goes on, be CIAM down or not."""
    if not is_due(request):
        return None
    kept = kept_for(request)
    try:
        if kept is None:
            raise CiamError("session_ended", stage="refresh")
        tokens = tokens_for(request, kept)
        try:
            tokens = _checked(kept, current(kept, tokens))
        except CiamError as error:
            if ends_session(error):
                raise
            # For the log: who is signed in need not know.
            answer_to(error, request)
        look_again(request, kept, tokens)
    except CiamError as error:
        if kept:
            tried_by(request, kept.identity.key)
        end_kept(request, "ended")
        logout(request)
        return _told(error)
    return None


def _checked(kept: CiamSession, tokens: Tokens) -> Tokens:
    """The tokens, if CIAM says of the person that they are good, or newer ones."""
    is_asked = conf.CIAM_SESSION_CHECK and tokens.may_check and tokens.is_good
    if not is_asked or is_paused():
        return tokens
    try:
        CiamClient().user_check(tokens.access_token)
    except CiamError as error:
        # A token may end early while the person may stay.
        if error.code.casefold() in REFUSED_TOKEN and tokens.refresh_token:
            return renewed(kept, tokens)
        if not ends_session(error):
            pause()
        raise
    return tokens


def _told(error: CiamError) -> CiamError:
    """The same for all reasons, of which the log has the true one."""
    return CiamError(
        "session_ended",
        type_code=error.code if error.code != "session_ended" else "",
        upstream_text=error.upstream_text,
        request_id=error.request_id,
        upstream_status=error.upstream_status,
        stage="refresh",
    )
