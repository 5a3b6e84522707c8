"""Logout: of the user here and at CIAM, and by CIAM through the back channel or a frame."""

from __future__ import annotations

import datetime
import hashlib
import time
from typing import Any, Final
from urllib.parse import urlsplit

from django.contrib.auth import logout as end_session
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST

from ciam_django.accounts.login import is_signed_in_by_ciam
from ciam_django.accounts.models import CiamSession, CiamSessions, identity_key
from ciam_django.accounts.session_store import end_sessions, held_tokens
from ciam_django.accounts.tokens import Tokens
from ciam_django.answers import answer_to, kind_of
from ciam_django.client.api import CiamClient
from ciam_django.client.cache import is_first, unshare
from ciam_django.client.logout_tokens import LIFETIME, logout_claims_of
from ciam_django.client.oauth import LEEWAY, CiamApp, ciam_app
from ciam_django.errors import CiamError
from ciam_django.kinds import Kind
from ciam_django.login import loop_guard
from ciam_django.login.error_responses import answering
from ciam_django.login.redirects import after_sign_out, redirect_to

# Failures that say nothing of the token: CIAM may send it again.
_NOT_OF_THE_TOKEN: Final = frozenset({Kind.UPSTREAM, Kind.CONFIGURATION})


@login_not_required
@require_POST
@csrf_protect
def logout(request: HttpRequest) -> HttpResponse:
    """Sign out here, and at CIAM where its metadata says how."""
    leave_ciam = is_signed_in_by_ciam(request)
    tokens = held_tokens(request) if leave_ciam else None
    to = after_sign_out(request)
    end_session(request)
    if leave_ciam:
        try:
            to = _left_ciam(tokens, request.build_absolute_uri(to)) or to
        except CiamError as error:
            # The person has signed out of this site, which is what they can see and asked for.
            answer_to(error, request)
    response = redirect_to(to)
    loop_guard.forget(response)
    return response


def _left_ciam(tokens: Tokens | None, back_to: str) -> str | None:
    """Where CIAM ends its own session; in its own mode it is asked to, and nobody is sent there."""
    app = ciam_app()
    if app.is_oidc:
        return app.logout_url(back_to=back_to, id_token=tokens.id_token if tokens else "")
    if tokens and tokens.is_good:
        CiamClient(app).user_logout(tokens.access_token)
    return None


# --- By CIAM ----------------------------------------------------------------------------------


@login_not_required
@csrf_exempt
@require_POST
@answering
def back_channel(request: HttpRequest) -> HttpResponse:
    """CIAM's server says whom it has signed out (OpenID Connect Back-Channel Logout 1.0, 2.5).

    200 when those sessions are over, and when there were none; 400 for a token that is wrong in
    any part (2.8), which ends nothing.
    """
    app = _oidc_app()
    given = request.POST.getlist("logout_token")
    if len(given) != 1:
        raise CiamError("invalid_logout_token", stage="logout")
    claims = _claims_of(app, given[0])
    mark = f"ciam_django.logout.{_digest(claims['iss'], claims['jti'])}"
    if not is_first(mark, seconds=LIFETIME + 2 * LEEWAY):
        raise CiamError("invalid_logout_token", stage="logout", upstream_text="wrong: jti, again")
    try:
        end_sessions(_meant(claims), "back_channel")
    except BaseException:
        # CIAM has to send it once more.
        unshare(mark)
        raise
    return _done()


@login_not_required
@xframe_options_exempt
@require_GET
@answering
def front_channel(request: HttpRequest) -> HttpResponse:
    """CIAM's page has the browser say which session is over (Front-Channel Logout 1.0, 2).

    In a frame of CIAM's, where browsers withhold our cookies: ``sid`` alone tells which it is, and
    is known to nobody else.
    """
    app = _oidc_app()
    issuer = app.load_server_metadata()["issuer"]
    told, sids = request.GET.getlist("iss"), request.GET.getlist("sid")
    if len(told) != 1 or len(sids) != 1 or not sids[0] or told[0] != issuer:
        raise CiamError("invalid_logout_token", stage="logout")
    ended = CiamSession.objects.filter(sid_key=identity_key(issuer, sids[0]))
    end_sessions(ended, "front_channel")
    response = _done()
    address = urlsplit(issuer)
    policy = f"default-src 'none'; frame-ancestors {address.scheme}://{address.netloc}"
    response["Content-Security-Policy"] = policy
    return response


def _oidc_app() -> CiamApp:
    """The app; CIAM's own mode has no such requests."""
    app = ciam_app()
    if not app.is_oidc:
        raise Http404
    return app


def _claims_of(app: CiamApp, logout_token: str) -> dict[str, Any]:
    try:
        return logout_claims_of(app, logout_token)
    except CiamError as error:
        if error.code == "invalid_logout_token" or kind_of(error) in _NOT_OF_THE_TOKEN:
            raise
        raise CiamError(
            "invalid_logout_token",
            type_code=error.code,
            upstream_text=error.upstream_text,
            stage="logout",
        ) from error


def _meant(claims: dict[str, Any]) -> CiamSessions:
    """The session of ``sid``, of that person if one is named; without it, all of theirs.

    Not those that were begun since: CIAM knew nothing of them.
    """
    # From now on backwards, for the database's times have a zone or none, as the project has it.
    ago = datetime.timedelta(seconds=time.time() - claims["iat"] - LEEWAY)
    sessions = CiamSession.objects.filter(created_at__lte=timezone.now() - ago)
    if "sid" in claims:
        sessions = sessions.filter(sid_key=identity_key(claims["iss"], claims["sid"]))
    if "sub" in claims:
        sessions = sessions.filter(identity__key=identity_key(claims["iss"], claims["sub"]))
    return sessions


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def _done() -> HttpResponse:
    response = HttpResponse()
    response["Cache-Control"] = "no-store"
    return response
