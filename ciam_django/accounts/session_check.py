"""Check that CIAM still accepts the session of a request."""

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
    backoff_reason,
    is_access_refused,
    refresh_if_due,
    refresh_session_tokens,
    start_backoff,
)
from ciam_django.client.access_tokens import check_token_data
from ciam_django.client.api import REFUSED_TOKEN_CODES, CiamClient
from ciam_django.client.circuit_breaker import sharing_one_deadline
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.events import scope_of
from ciam_django.reporting import report


@sharing_one_deadline
def refresh_or_end_session(request: HttpRequest) -> CiamError | None:
    """Check the session if a check is due; refresh its tokens, or end the session.

    If CIAM rejects the tokens or the account, or has ended the session, sign the user out and
    return the error ``session_ended``. Otherwise return None; a failure of CIAM is reported, and
    the session continues.
    """
    if not is_check_due(request):
        return None
    with scope_of(request):
        return _check_session(request)


def _check_session(request: HttpRequest) -> CiamError | None:
    """Check the session as ``refresh_or_end_session`` describes; a check is due."""
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
            # Only the log has the error: the session goes on.
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
    """Check the access token at CIAM, and refresh the tokens if CIAM rejects the access token.

    Return the valid tokens. Return the given tokens unchecked if ``CIAM_SESSION_CHECK`` is 0, if
    the access token can't be checked, or during the back-off. Raises the ``CiamError`` of the check
    or of the refresh; a failure of CIAM also starts the back-off.
    """
    is_check_wanted = conf.CIAM_SESSION_CHECK and tokens.may_check and tokens.is_usable
    if not is_check_wanted or backoff_reason(ciam_session):
        return tokens
    try:
        ciam_data = CiamClient().user_check(tokens.access_token)
    except CiamError as error:
        # CIAM can revoke an access token early, although the person may stay signed in.
        if error.code.casefold() in REFUSED_TOKEN_CODES and tokens.refresh_token:
            return refresh_session_tokens(ciam_session, tokens)
        if not is_access_refused(error):
            start_backoff(ciam_session, error)
        raise
    check_token_data(ciam_data, ciam_session.identity.subject)
    return tokens


def _session_ended_error(error: CiamError) -> CiamError:
    """Return the error that is the same for all reasons; the log has the true reason."""
    return CiamError(
        "session_ended",
        type_code=error.code if error.code != "session_ended" else "",
        upstream_text=error.upstream_text,
        request_id=error.request_id,
        upstream_status=error.upstream_status,
        stage=Stage.REFRESH,
    )
