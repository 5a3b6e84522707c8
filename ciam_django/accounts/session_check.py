"""Whether CIAM still accepts the session of a request."""

from __future__ import annotations

from django.contrib.auth import logout
from django.http import HttpRequest

from ciam_django.accounts.backends import attribute_failures_to
from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.session_store import (
    Tokens,
    ciam_session_of,
    end_ciam_session,
    is_check_due,
    schedule_next_check,
    sync_ciam_session,
)
from ciam_django.accounts.token_refresh import (
    is_access_refused,
    is_backing_off,
    refresh_if_due,
    refresh_tokens,
    start_backoff,
)
from ciam_django.client.api import REFUSED_TOKEN_CODES, CiamClient
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.reporting import report


def refresh_or_end_session(request: HttpRequest) -> CiamError | None:
    """Why the session has been ended now; None if it goes on, be CIAM down or not."""
    if not is_check_due(request):
        return None
    ciam_session = ciam_session_of(request)
    try:
        if ciam_session is None:
            raise CiamError("session_ended", stage=Stage.REFRESH)
        tokens = sync_ciam_session(request, ciam_session)
        try:
            tokens = _check_tokens(ciam_session, refresh_if_due(ciam_session, tokens))
        except CiamError as error:
            if is_access_refused(error):
                raise
            # For the log: who is signed in need not know.
            report(error, request)
        schedule_next_check(request, ciam_session, tokens)
    except CiamError as error:
        if ciam_session:
            attribute_failures_to(request, ciam_session.identity.key)
        end_ciam_session(request, "ended")
        logout(request)
        return _session_ended_error(error)
    return None


def _check_tokens(ciam_session: CiamSession, tokens: Tokens) -> Tokens:
    """The tokens, if CIAM says of the person that they are good, or newer ones."""
    is_check_wanted = conf.CIAM_SESSION_CHECK and tokens.may_check and tokens.is_usable
    if not is_check_wanted or is_backing_off():
        return tokens
    try:
        CiamClient().user_check(tokens.access_token)
    except CiamError as error:
        # A token may end early while the person may stay.
        if error.code.casefold() in REFUSED_TOKEN_CODES and tokens.refresh_token:
            return refresh_tokens(ciam_session, tokens)
        if not is_access_refused(error):
            start_backoff()
        raise
    return tokens


def _session_ended_error(error: CiamError) -> CiamError:
    """The same for all reasons, of which the log has the true one."""
    return CiamError(
        "session_ended",
        type_code=error.code if error.code != "session_ended" else "",
        upstream_text=error.upstream_text,
        request_id=error.request_id,
        upstream_status=error.upstream_status,
        stage=Stage.REFRESH,
    )
