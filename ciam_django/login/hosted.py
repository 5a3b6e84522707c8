"""``ciam:authorize`` and ``ciam:callback``: a login at the page that CIAM hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import person_of
from ciam_django.errors import CiamError, code_in, raising_ciam_errors
from ciam_django.login import loop_guard, state
from ciam_django.login.callback import came_back, remember
from ciam_django.login.error_responses import answering, csrf_answered, failed
from ciam_django.login.hints import Hint
from ciam_django.login.link_views import asked_link, let_in, refused
from ciam_django.login.popups import keep_opener
from ciam_django.login.redirects import (
    after_sign_in,
    asked_next,
    callback_url,
    redirect_to,
    safe_next,
    sent_away,
)


@login_not_required
@require_POST
@csrf_answered
@answering
def authorize(request: HttpRequest) -> HttpResponse:
    """Leave for CIAM. A POST with CSRF, so that no other site can begin a sign-in."""
    if loop_guard.is_circling(request):
        error = CiamError("too_many_requests", stage="authorize", retry_after=loop_guard.LIFETIME)
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
    laps_before = loop_guard.count_of(request)
    let_in(request, person_of(app, token, begun.nonce), token, begun.link_to)
    remember(request, begun)
    response = redirect_to(after_sign_in(request, begun.next))
    loop_guard.count(request, response, laps_before)
    return response


def refuse_other_issuer(metadata: Mapping[str, Any], came: Sequence[str]) -> None:
    """A ``CiamError`` unless the callback is from the provider that the metadata are of.

    ``came`` holds each ``iss`` of the callback. One that differs is refused even where none is
    promised: it is of a provider that our code would be sent to by mistake (RFC 9207, 2.4).
    Without metadata (CIAM's own mode) there is no issuer to compare with.
    """
    issuer = metadata.get("issuer")
    if not issuer:
        return
    is_promised = metadata.get("authorization_response_iss_parameter_supported") is True
    if any(iss != issuer for iss in came) or (is_promised and not came):
        raise CiamError("mismatching_issuer", stage="callback")
