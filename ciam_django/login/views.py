"""``ciam:login``, ``ciam:authorize``, ``ciam:callback`` and ``ciam:logout``."""

from __future__ import annotations

from django.contrib.auth import logout as end_session
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST

from ciam_django.accounts.login import is_signed_in_by_ciam
from ciam_django.accounts.session_store import held_tokens
from ciam_django.accounts.tokens import Tokens
from ciam_django.answers import answer_to
from ciam_django.client.api import CiamClient
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import person_of
from ciam_django.errors import CiamError, code_in, raising_ciam_errors
from ciam_django.login import laps, state
from ciam_django.login.destinations import (
    after_sign_in,
    after_sign_out,
    asked_next,
    callback_url,
    redirect_to,
    safe_next,
    sent_away,
)
from ciam_django.login.failed import answering, csrf_answered, failed
from ciam_django.login.hints import Hint
from ciam_django.login.issuer import refuse_other_issuer
from ciam_django.login.links import asked_link, let_in, refused
from ciam_django.login.popups import keep_opener
from ciam_django.login.returns import came_back, remember


@login_not_required
@require_POST
@csrf_answered
@answering
def authorize(request: HttpRequest) -> HttpResponse:
    """Leave for CIAM. A POST with CSRF, so that no other site can begin a sign-in."""
    if laps.is_circling(request):
        error = CiamError("too_many_requests", stage="authorize", retry_after=laps.LIFETIME)
        return failed(request, error, Hint.COOKIES_BLOCKED)
    begun = state.begun(next_url=asked_next(request), link_to=asked_link(request))
    url = ciam_app().authorization_url(
        redirect_uri=callback_url(request),
        state=begun.state,
        nonce=begun.nonce,
        code_verifier=begun.code_verifier,
    )
    response = sent_away(request, url)
    state.keep(request, response, begun)
    keep_opener(response, begun.next)
    return response


@login_not_required
@csrf_exempt
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Come back from CIAM."""

    def take(begun: state.SignIn) -> HttpResponse:
        try:
            return _signed_in(request, begun)
        except CiamError as error:
            if begun.link_to:
                return refused(request, error, begun.next)
            return failed(request, error, next_url=safe_next(request, begun.next))

    return came_back(request, "ciam", take)


def _signed_in(request: HttpRequest, begun: state.SignIn) -> HttpResponse:
    app = ciam_app()
    with raising_ciam_errors("callback"):
        metadata = app.load_server_metadata()
    refuse_other_issuer(metadata, request.GET.getlist("iss"))
    if error := request.GET.get("error"):
        raise CiamError(
            code_in(error) or "oauth_error",
            upstream_text=request.GET.get("error_description", ""),
            stage="callback",
        )
    code = request.GET.get("code")
    if not code:
        raise CiamError("missing_code", stage="callback")
    token = app.token_of(
        code=code, redirect_uri=callback_url(request), code_verifier=begun.code_verifier
    )
    laps_before = laps.count_of(request)
    let_in(request, person_of(app, token, begun.nonce), token, begun.link_to)
    remember(request, begun)
    response = redirect_to(after_sign_in(request, begun.next))
    laps.count(request, response, laps_before)
    return response


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
    laps.forget(response)
    return response


def _left_ciam(tokens: Tokens | None, back_to: str) -> str | None:
    """Where CIAM ends its own session; in its own mode it is asked to, and nobody is sent there."""
    app = ciam_app()
    if app.is_oidc:
        return app.logout_url(back_to=back_to, id_token=tokens.id_token if tokens else "")
    if tokens and tokens.is_good:
        CiamClient(app).user_logout(tokens.access_token)
    return None
