"""``ciam:login``, ``ciam:authorize``, ``ciam:callback`` and ``ciam:logout``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

from django.contrib.auth import logout as end_session
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect, ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST, require_safe

from ciam_django.accounts.sessions import is_signed_in_by_ciam, sign_in
from ciam_django.answers import answer_to
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import person_of
from ciam_django.errors import CiamError, code_in, raising_ciam_errors
from ciam_django.login import state
from ciam_django.login.destinations import (
    after_sign_in,
    after_sign_out,
    asked_next,
    callback_url,
)
from ciam_django.login.issuer import refuse_other_issuer
from ciam_django.responses import page, response_for

# In the session: the digest of the state that signed it in, and where that led.
_SIGNED_IN_BY: Final = "ciam_signed_in_by"

View = Callable[[HttpRequest], HttpResponse]


def _answering(view: View) -> View:
    """Answer the view's own failures in place: that is cheaper than through the middleware."""

    @functools.wraps(view)
    def answering(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except CiamError as error:
            return _failed(request, error)

    return answering


def _failed(request: HttpRequest, error: CiamError) -> HttpResponse:
    return response_for(request, answer_to(error, request), otherwise=reverse("ciam:login"))


@login_not_required
@require_safe
@never_cache
@ensure_csrf_cookie
def login(request: HttpRequest) -> HttpResponse:
    """The page that leads to CIAM; works as ``LOGIN_URL``, with ``?next=``."""
    context = {"next": asked_next(request), "authorize_url": reverse("ciam:authorize")}
    return HttpResponse(page(request, "ciam_django/login.html", context))


@login_not_required
@require_POST
@csrf_protect
@_answering
def authorize(request: HttpRequest) -> HttpResponse:
    """Leave for CIAM. A POST with CSRF, so that no other site can begin a sign-in."""
    begun = state.begun(next_url=asked_next(request))
    url = ciam_app().authorization_url(
        redirect_uri=callback_url(request),
        state=begun.state,
        nonce=begun.nonce,
        code_verifier=begun.code_verifier,
    )
    response = _redirect(url)
    state.keep(request, response, begun)
    return response


@login_not_required
@csrf_exempt
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Come back from CIAM. The state is looked at before anything else, and spent at once."""
    came_with = request.GET.get("state", "")
    begun = state.kept(request, came_with)
    if begun is None or not state.spend(begun):
        return _repeated(request, came_with)
    try:
        response = _signed_in(request, begun)
    except CiamError as error:
        response = _failed(request, error)
    state.forget(response, begun)
    return response


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
    sign_in(request, person_of(app, token, begun.nonce))
    request.session[_SIGNED_IN_BY] = [begun.digest, begun.next]
    return _redirect(after_sign_in(request, begun.next))


def _repeated(request: HttpRequest, came_with: str) -> HttpResponse:
    """A state that is spent, foreign or none: only the browser that it signed in goes on."""
    digest, next_url = request.session.get(_SIGNED_IN_BY) or ("", "")
    if request.user.is_authenticated and digest and digest == state.digest_of(came_with):
        return _redirect(after_sign_in(request, next_url))
    return _failed(request, CiamError("mismatching_state", stage="callback"))


def _redirect(url: str) -> HttpResponse:
    response = HttpResponseRedirect(url)
    response["Cache-Control"] = "no-store"
    # The address that is left may hold a code.
    response["Referrer-Policy"] = "no-referrer"
    return response


@login_not_required
@require_POST
@csrf_protect
def logout(request: HttpRequest) -> HttpResponse:
    """Sign out here, and at CIAM where its metadata says how."""
    leave_ciam = is_signed_in_by_ciam(request)
    to = after_sign_out(request)
    end_session(request)
    if leave_ciam:
        try:
            to = ciam_app().logout_url(back_to=request.build_absolute_uri(to)) or to
        except CiamError as error:
            # The person has signed out of this site, which is what they can see and asked for.
            answer_to(error, request)
    return _redirect(to)
