"""CIAM's access token and the sessions of a signed-in person, for a project's own views.

The functions whose names begin with ``a`` are for coroutines.
"""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest

from ciam_django.accounts.bearer import user_and_bearer
from ciam_django.accounts.session_store import (
    ciam_session_of,
    decrypted_tokens,
    end_other_sessions,
    schedule_next_check,
    sync_ciam_session,
)
from ciam_django.accounts.token_refresh import refresh_if_due
from ciam_django.coroutines import async_twin
from ciam_django.errors import CiamError, Stage
from ciam_django.events import scope_of
from ciam_django.privacy import clear_frames_on_error

__all__ = [
    "aaccess_token_of",
    "access_token_of",
    "aend_other_sessions",
    "auser_and_bearer",
    "end_other_sessions",
    "user_and_bearer",
]


@clear_frames_on_error
def access_token_of(request: HttpRequest) -> str:
    """Return CIAM's access token of the signed-in person, for calls of ``CiamClient``.

    A token that is about to expire is refreshed and stored first. The new token stays stored if the
    view fails and its transaction is rolled back (``ATOMIC_REQUESTS``). Raises ``CiamError``:
    ``missing_token`` if the session has no token, ``session_ended`` if CIAM no longer accepts the
    token, or the error of the call to CIAM.
    """
    ciam_session = ciam_session_of(request)
    if ciam_session is None:
        raise CiamError("missing_token", stage=Stage.REFRESH)
    tokens = decrypted_tokens(ciam_session.sealed)
    if not tokens.access_token:
        raise CiamError("missing_token", stage=Stage.REFRESH)
    if tokens.is_usable and not tokens.is_refresh_due:
        return tokens.access_token
    with scope_of(request):
        tokens = refresh_if_due(ciam_session, sync_ciam_session(request, ciam_session))
    if not tokens.is_usable:
        raise CiamError("session_ended", stage=Stage.REFRESH)
    schedule_next_check(request, ciam_session, tokens)
    return tokens.access_token


aaccess_token_of: Final = async_twin(access_token_of)
aend_other_sessions: Final = async_twin(end_other_sessions)
auser_and_bearer: Final = async_twin(user_and_bearer)
