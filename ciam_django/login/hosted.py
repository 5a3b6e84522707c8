"""``ciam:authorize`` and ``ciam:callback``: a login at the page that CIAM hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import identify_person
from ciam_django.errors import CiamError, Stage, code_in, raising_ciam_errors
from ciam_django.login import loop_guard, state
from ciam_django.login.callback import handle_callback, remember_state
from ciam_django.login.error_responses import answer_error, answer_errors, protect_from_csrf
from ciam_django.login.hints import Hint
from ciam_django.login.link_views import answer_link_error, requested_link_user, sign_in_or_link
from ciam_django.login.popups import set_opener_policy
from ciam_django.login.redirects import (
    callback_url,
    departure_response,
    redirect_response,
    requested_next,
    safe_next,
    url_after_sign_in,
)


@login_not_required
@require_POST
@protect_from_csrf
@answer_errors
def authorize(request: HttpRequest) -> HttpResponse:
    """Leave for CIAM. A POST with CSRF, so that no other site can begin a sign-in."""
    if loop_guard.is_looping(request):
        error = CiamError(
            "too_many_requests", stage=Stage.AUTHORIZE, retry_after=loop_guard.LOOP_SECONDS
        )
        return answer_error(request, error, Hint.COOKIES_BLOCKED)
    sign_in_state = state.new_sign_in_state(
        next_url=requested_next(request), link_to=requested_link_user(request)
    )
    url = ciam_app().authorization_url(
        redirect_uri=callback_url(request),
        state=sign_in_state.state,
        nonce=sign_in_state.nonce,
        code_verifier=sign_in_state.code_verifier,
    )
    response = departure_response(request, url)
    state.set_state_cookie(request, response, sign_in_state)
    set_opener_policy(response, sign_in_state.next)
    return response


@login_not_required
@csrf_exempt
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Come back from CIAM."""

    def complete(begun: state.SignInState) -> HttpResponse:
        try:
            return _sign_in_with_code(request, begun)
        except CiamError as error:
            if begun.link_to_user:
                return answer_link_error(request, error, begun.next)
            return answer_error(request, error, next_url=safe_next(request, begun.next))

    return handle_callback(request, "ciam", complete)


def _sign_in_with_code(request: HttpRequest, sign_in_state: state.SignInState) -> HttpResponse:
    app = ciam_app()
    with raising_ciam_errors(Stage.CALLBACK):
        metadata = app.load_server_metadata()
    refuse_other_issuer(metadata, request.GET.getlist("iss"))
    if error := request.GET.get("error"):
        raise CiamError(
            code_in(error) or "oauth_error",
            upstream_text=request.GET.get("error_description", ""),
            stage=Stage.CALLBACK,
        )
    code = request.GET.get("code")
    if not code:
        raise CiamError("missing_code", stage=Stage.CALLBACK)
    token_response = app.exchange_code(
        code=code, redirect_uri=callback_url(request), code_verifier=sign_in_state.code_verifier
    )
    earlier_sign_ins = loop_guard.recent_sign_ins(request)
    sign_in_or_link(
        request,
        identify_person(app, token_response, sign_in_state.nonce),
        token_response,
        sign_in_state.link_to_user,
    )
    remember_state(request, sign_in_state)
    response = redirect_response(url_after_sign_in(request, sign_in_state.next))
    loop_guard.count_sign_in(request, response, earlier_sign_ins)
    return response


def refuse_other_issuer(metadata: Mapping[str, Any], returned_issuers: Sequence[str]) -> None:
    """A ``CiamError`` unless the callback is from the provider that the metadata are of.

    ``came`` holds each ``iss`` of the callback. One that differs is refused even where none is
    promised: it is of a provider that our code would be sent to by mistake (RFC 9207, 2.4).
    Without metadata (CIAM's own mode) there is no issuer to compare with.
    """
    issuer = metadata.get("issuer")
    if not issuer:
        return
    is_promised = metadata.get("authorization_response_iss_parameter_supported") is True
    if any(iss != issuer for iss in returned_issuers) or (is_promised and not returned_issuers):
        raise CiamError("mismatching_issuer", stage=Stage.CALLBACK)
