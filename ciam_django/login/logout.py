"""The views for logout by the user, and for back-channel and front-channel logout by CIAM."""

from __future__ import annotations

import datetime
import hashlib
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from django.contrib.auth import logout as end_session
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from ciam_django.accounts.login import is_signed_in_by_ciam
from ciam_django.accounts.models import CiamSession, CiamSessionQuerySet
from ciam_django.accounts.session_store import Tokens, end_sessions, stored_tokens
from ciam_django.answers import kind_of
from ciam_django.client.api import CiamClient
from ciam_django.client.app import ciam_app
from ciam_django.client.cache import acquire_once, delete_cached
from ciam_django.client.envelope import LEEWAY
from ciam_django.client.logout_tokens import MAX_AGE, verify_logout_token
from ciam_django.client.person import identity_key
from ciam_django.errors import CiamError, Stage
from ciam_django.events import BACK_CHANNEL_LOGOUT, record
from ciam_django.kinds import Kind
from ciam_django.login.error_responses import answer_errors, protect_from_csrf
from ciam_django.login.loop_guard import delete_count
from ciam_django.login.notices import set_success_notice
from ciam_django.login.redirects import (
    absolute_url,
    redirect_or_json_response,
    url_after_sign_out,
)
from ciam_django.privacy import own_text
from ciam_django.reporting import report

if TYPE_CHECKING:
    from ciam_django.client.oauth import CiamApp

# Kinds of errors that do not depend on the logout token, so CIAM may send the token again.
_RETRYABLE_KINDS: Final = frozenset({Kind.UPSTREAM, Kind.CONFIGURATION})


@login_not_required
@require_POST
@protect_from_csrf
def logout(request: HttpRequest) -> HttpResponse:
    """End the user's session here, and at CIAM if the user signed in at CIAM; then redirect.

    A client that prefers JSON gets the URL as JSON. If the login page follows within a minute, it
    says that the user is signed out.

    With OpenID Connect, CIAM's session ends only if the metadata has an ``end_session_endpoint``. A
    failure of CIAM is reported, and does not change the response.
    """
    is_ciam_session = is_signed_in_by_ciam(request)
    tokens = stored_tokens(request) if is_ciam_session else None
    next_url = url_after_sign_out(request)
    end_session(request)
    if is_ciam_session:
        try:
            next_url = _sign_out_at_ciam(tokens, absolute_url(request, next_url)) or next_url
        except CiamError as error:
            # The session on this site has ended, so the user sees no error page.
            report(error, request)
    response = redirect_or_json_response(request, next_url)
    # The next page may be the login page, or may redirect to the login page.
    set_success_notice(request, response, "signed_out")
    delete_count(request, response)
    return response


def _sign_out_at_ciam(tokens: Tokens | None, back_to: str) -> str | None:
    """End CIAM's session by an API call, or return the URL at which CIAM ends its session.

    OIDC mode has the URL if the metadata has it. CIAM's own mode has no such URL: the call ends the
    session if the tokens are usable. Without a URL, return None.
    """
    app = ciam_app()
    if app.is_oidc:
        return app.logout_url(back_to=back_to, id_token=tokens.id_token if tokens else "")
    if tokens and tokens.is_usable:
        CiamClient(app).user_logout(tokens.access_token)
    return None


# --- Logout by CIAM ---------------------------------------------------------------------------


@login_not_required
@csrf_exempt
@require_POST
@answer_errors
def back_channel_logout(request: HttpRequest) -> HttpResponse:
    """End the sessions that a logout token names.

    The rules are those of OpenID Connect Back-Channel Logout 1.0, section 2.5. The status is 200 if
    the sessions have ended or if the token names no existing session. An invalid or repeated token
    ends no session, and gives the status 400 (section 2.8). Raises ``Http404`` in CIAM's own mode.
    """
    app = _oidc_app()
    logout_tokens = request.POST.getlist("logout_token")
    if len(logout_tokens) != 1:
        raise CiamError("invalid_logout_token", stage=Stage.LOGOUT)
    claims = _verified_claims(app, logout_tokens[0])
    jti_key = f"ciam_django.logout.{_digest(claims['iss'], claims['jti'])}"
    if not acquire_once(jti_key, seconds=MAX_AGE + 2 * LEEWAY):
        raise CiamError(
            "invalid_logout_token",
            stage=Stage.LOGOUT,
            upstream_text=own_text("the jti has been used before"),
        )
    try:
        count = end_sessions(_sessions_of_claims(claims), "back_channel")
    except BaseException:
        # The sessions have not ended, so CIAM must be able to send the same token again.
        delete_cached(jti_key)
        raise
    record(BACK_CHANNEL_LOGOUT, request, sessions=count)
    return _empty_response()


@login_not_required
@xframe_options_exempt
@require_GET
@answer_errors
def front_channel_logout(request: HttpRequest) -> HttpResponse:
    """End the session that the query names (OpenID Connect Front-Channel Logout 1.0, section 2).

    CIAM's logout page opens this view in a frame, in which browsers do not send this site's
    cookies. So only ``sid`` identifies the session; no other site knows the ``sid``. A malformed
    query ends no session, and gives the status 400. Raises ``Http404`` in CIAM's own mode.
    """
    app = _oidc_app()
    issuer = app.load_server_metadata()["issuer"]
    issuers, sids = request.GET.getlist("iss"), request.GET.getlist("sid")
    if len(issuers) != 1 or len(sids) != 1 or not sids[0] or issuers[0] != issuer:
        raise CiamError("invalid_logout_token", stage=Stage.LOGOUT)
    sessions = CiamSession.objects.filter(sid_key=identity_key(issuer, sids[0]))
    end_sessions(sessions, "front_channel")
    response = _empty_response()
    address = urlsplit(issuer)
    policy = f"default-src 'none'; frame-ancestors {address.scheme}://{address.netloc}"
    response["Content-Security-Policy"] = policy
    return response


def _oidc_app() -> CiamApp:
    """Return the app; raise ``Http404`` in CIAM's own mode, which has no such logout."""
    app = ciam_app()
    if not app.is_oidc:
        raise Http404
    return app


def _verified_claims(app: CiamApp, logout_token: str) -> dict[str, Any]:
    """Return the verified claims of a logout token.

    Raises ``CiamError``: ``invalid_logout_token`` if a check fails, or the error of a failed call
    or of a misconfiguration, after which CIAM may send the same token again.
    """
    try:
        return verify_logout_token(app, logout_token)
    except CiamError as error:
        if error.code == "invalid_logout_token" or kind_of(error) in _RETRYABLE_KINDS:
            raise
        raise CiamError(
            "invalid_logout_token",
            type_code=error.code,
            upstream_text=error.upstream_text,
            stage=Stage.LOGOUT,
        ) from error


def _sessions_of_claims(claims: dict[str, Any]) -> CiamSessionQuerySet:
    """Return the sessions that match the ``sid``, the ``sub``, or both claims of a logout token.

    The sessions that began after the token was issued are left out, because CIAM has not ended
    these sessions.
    """
    # The database's times have a time zone or none, as USE_TZ says, and so has timezone.now(). So
    # the token's age is subtracted from timezone.now().
    age = datetime.timedelta(seconds=time.time() - claims["iat"] - LEEWAY)
    sessions = CiamSession.objects.filter(created_at__lte=timezone.now() - age)
    if "sid" in claims:
        sessions = sessions.filter(sid_key=identity_key(claims["iss"], claims["sid"]))
    if "sub" in claims:
        sessions = sessions.filter(identity__key=identity_key(claims["iss"], claims["sub"]))
    return sessions


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def _empty_response() -> HttpResponse:
    response = HttpResponse()
    response["Cache-Control"] = "no-store"
    return response
