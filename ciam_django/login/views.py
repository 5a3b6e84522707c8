"""``ciam:login``, ``ciam:authorize``, ``ciam:callback`` and ``ciam:logout``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

from django.contrib.auth import logout as end_session
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import reverse
from django.utils.decorators import decorator_from_middleware
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect, ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST, require_safe

from ciam_django.accounts.sessions import is_signed_in_by_ciam, sign_in
from ciam_django.answers import answer_to
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
)
from ciam_django.login.hints import (
    Hint,
    cookie_question,
    hint_at_callback,
    hint_at_form,
    text_of,
)
from ciam_django.login.issuer import refuse_other_issuer
from ciam_django.responses import page, response_for

# In the session: the digests of the states that signed it in, and where each led, the newest last.
_SIGNED_IN_BY: Final = "ciam_signed_in_by"
_MOST_REMEMBERED: Final = 5
# Seconds that the first of two equal callbacks gets before the second asks again.
_PATIENCE: Final = 2

View = Callable[[HttpRequest], HttpResponse]


def _answering(view: View) -> View:
    """Answer the view's own failures in place: that is cheaper than through the middleware."""

    @functools.wraps(view)
    def answering(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except CiamError as error:
            return _failed(request, error, next_url=asked_next(request))

    return answering


def _failed(
    request: HttpRequest, error: CiamError, hint: Hint | None = None, next_url: str = ""
) -> HttpResponse:
    answer, login_url = answer_to(error, request), reverse("ciam:login")
    context = {"hint": text_of(hint)}
    if next_url and answer.action_url in (None, login_url):
        # Whoever tries again still wants to go there.
        context["way_out"] = f"{login_url}?{urlencode({'next': next_url})}"
    return response_for(request, answer, otherwise=login_url, context=context)


class _AnsweringCsrf(CsrfViewMiddleware):
    """Django's check, unchanged, but for the page that tells of its failure."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        error = CiamError("csrf_failed", stage="authorize", upstream_text=reason)
        return _failed(request, error, hint_at_form(request))


def _csrf_answered(view: View) -> Callable[[HttpRequest], HttpResponseBase]:
    """Exempt from the middleware of ``MIDDLEWARE``, whose page is Django's, to be checked here."""
    return csrf_exempt(decorator_from_middleware(_AnsweringCsrf)(view))


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
@_csrf_answered
@_answering
def authorize(request: HttpRequest) -> HttpResponse:
    """Leave for CIAM. A POST with CSRF, so that no other site can begin a sign-in."""
    if laps.is_circling(request):
        error = CiamError("too_many_requests", stage="authorize", retry_after=laps.LIFETIME)
        return _failed(request, error, Hint.COOKIES_BLOCKED)
    begun = state.begun(next_url=asked_next(request))
    url = ciam_app().authorization_url(
        redirect_uri=callback_url(request),
        state=begun.state,
        nonce=begun.nonce,
        code_verifier=begun.code_verifier,
    )
    response = redirect_to(url)
    state.keep(request, response, begun)
    return response


@login_not_required
@csrf_exempt
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Come back from CIAM. The state is looked at before anything else, and spent at once."""
    came_with = request.GET.get("state", "")
    begun = state.kept(request, came_with)
    if begun is None:
        return _repeated(request, came_with) or _refused(request, came_with)
    if not state.spend(begun):
        response = _repeated(request, came_with) or _overtaken(request)
    else:
        try:
            response = _signed_in(request, begun)
        except CiamError as error:
            response = _failed(request, error, next_url=safe_next(request, begun.next))
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
    laps_before = laps.count_of(request)
    sign_in(request, person_of(app, token, begun.nonce))
    remembered = request.session.get(_SIGNED_IN_BY, [])
    request.session[_SIGNED_IN_BY] = [*remembered, [begun.digest, begun.next]][-_MOST_REMEMBERED:]
    response = redirect_to(after_sign_in(request, begun.next))
    laps.count(request, response, laps_before)
    return response


def _repeated(request: HttpRequest, came_with: str) -> HttpResponse | None:
    """On to where the state led, for the browser that it has signed in already."""
    led_to = dict(request.session.get(_SIGNED_IN_BY, [])).get(state.digest_of(came_with))
    if led_to is None or not request.user.is_authenticated:
        return None
    return redirect_to(after_sign_in(request, led_to))


def _overtaken(request: HttpRequest) -> HttpResponse:
    """The browser asks twice at once, as WeChat's does, and this is not the first.

    It asks again by itself when the first is through. Once, for its cookie is gone then.
    """
    response = _failed(request, CiamError("mismatching_state", stage="callback"))
    response["Refresh"] = str(_PATIENCE)
    return response


def _refused(request: HttpRequest, came_with: str) -> HttpResponse:
    """A state that is too old, spent, foreign or none: whoever it was may start again."""
    hint = hint_at_callback(request, came_with)
    return cookie_question(request, hint) or _failed(
        request, CiamError("mismatching_state", stage="callback"), hint
    )


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
    response = redirect_to(to)
    laps.forget(response)
    return response
