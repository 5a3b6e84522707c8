"""The callbacks from CIAM and from social providers check the state before they sign a user in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

from ciam_django.accounts.login import sign_in_or_link
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import identify_person
from ciam_django.errors import CiamError, Stage, code_in
from ciam_django.login.error_responses import answer_error
from ciam_django.login.hints import cookie_test_response, hint_at_callback
from ciam_django.login.link_views import answer_link_error
from ciam_django.login.loop_guard import count_sign_in, recent_sign_ins
from ciam_django.login.redirects import (
    callback_url,
    redirect_response,
    safe_next,
    set_opener_policy,
    url_after_sign_in,
)
from ciam_django.login.state import (
    SignInState,
    claim_state,
    delete_state_cookie,
    state_digest,
    state_from_cookie,
)

# The session stores [digest, next] of each state that signed the browser in, the newest last.
_USED_STATES_KEY: Final = "ciam_signed_in_by"
_MAX_USED_STATES: Final = 5
# Seconds until the browser repeats the second of two simultaneous callbacks, so that the first
# callback can end.
_RETRY_SECONDS: Final = 2


@login_not_required
@csrf_exempt
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Answer the callback from CIAM (``ciam:callback``)."""

    def complete(sign_in_state: SignInState) -> HttpResponse:
        try:
            return _sign_in_with_code(request, sign_in_state)
        except CiamError as error:
            error.stage = error.stage or Stage.CALLBACK
            if sign_in_state.link_to_user:
                return answer_link_error(request, error, sign_in_state.next)
            return answer_error(request, error, next_url=safe_next(request, sign_in_state.next))

    return handle_callback(request, "ciam", complete)


def _sign_in_with_code(request: HttpRequest, sign_in_state: SignInState) -> HttpResponse:
    app = ciam_app()
    refuse_other_issuer(app.load_server_metadata(), request.GET.getlist("iss"))
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
    earlier_sign_ins = recent_sign_ins(request)
    sign_in_or_link(
        request,
        identify_person(app, token_response, sign_in_state.nonce),
        token_response,
        sign_in_state.link_to_user,
    )
    remember_state(request, sign_in_state)
    response = redirect_response(url_after_sign_in(request, sign_in_state.next))
    count_sign_in(request, response, earlier_sign_ins)
    return response


def refuse_other_issuer(metadata: Mapping[str, Any], returned_issuers: Sequence[str]) -> None:
    """Raise a ``CiamError`` if the callback is from another issuer than the metadata.

    ``returned_issuers`` holds each ``iss`` parameter of the callback. A wrong ``iss`` is refused
    even if the metadata do not promise the parameter: it shows that another provider has sent the
    response, so the code must not be exchanged (RFC 9207, 2.4). CIAM's own mode has no metadata, so
    there is no issuer to compare with.
    """
    issuer = metadata.get("issuer")
    if not issuer:
        return
    is_promised = metadata.get("authorization_response_iss_parameter_supported") is True
    if any(iss != issuer for iss in returned_issuers) or (is_promised and not returned_issuers):
        raise CiamError("mismatching_issuer", stage=Stage.CALLBACK)


# --- The state --------------------------------------------------------------------------------


def handle_callback(
    request: HttpRequest, provider: str, complete: Callable[[SignInState], HttpResponse]
) -> HttpResponse:
    """Answer a callback with ``complete(sign_in_state)`` if its state is valid and unused.

    The state is spent before ``complete`` runs. Without a valid state, the answer is the code
    ``mismatching_state``, or a redirect if the same state has already signed this browser in.
    """
    returned_state = request.GET.get("state", "")
    sign_in_state = state_from_cookie(request, returned_state, provider)
    if sign_in_state is None:
        return _repeated_callback_response(request, returned_state) or _refuse_callback(
            request, returned_state, provider
        )
    if claim_state(sign_in_state):
        response = complete(sign_in_state)
    else:
        response = _repeated_callback_response(request, returned_state) or _retry_response(request)
    delete_state_cookie(response, sign_in_state)
    set_opener_policy(response, sign_in_state.next)
    return response


def remember_state(request: HttpRequest, sign_in_state: SignInState) -> None:
    """Store in the session that the state signed this browser in, for a repeated callback."""
    used_states = request.session.get(_USED_STATES_KEY, [])
    request.session[_USED_STATES_KEY] = [*used_states, [sign_in_state.digest, sign_in_state.next]][
        -_MAX_USED_STATES:
    ]


def _repeated_callback_response(request: HttpRequest, returned_state: str) -> HttpResponse | None:
    """Redirect to the state's ``next`` if the state has already signed this browser in."""
    next_url = dict(request.session.get(_USED_STATES_KEY, [])).get(state_digest(returned_state))
    if next_url is None or not request.user.is_authenticated:
        return None
    return redirect_response(url_after_sign_in(request, next_url))


def _retry_response(request: HttpRequest) -> HttpResponse:
    """Answer the second of two simultaneous callbacks, which WeChat's browser sends.

    The browser repeats the callback by itself after the first callback has ended. The browser does
    so only once, because this answer deletes the cookie of the state.
    """
    response = answer_error(request, CiamError("mismatching_state", stage=Stage.CALLBACK))
    response["Refresh"] = str(_RETRY_SECONDS)
    return response


def _refuse_callback(request: HttpRequest, returned_state: str, provider: str) -> HttpResponse:
    """Answer a callback whose state is missing, unknown, expired or used."""
    hint = hint_at_callback(request, returned_state, provider)
    return cookie_test_response(request, hint) or answer_error(
        request, CiamError("mismatching_state", stage=Stage.CALLBACK), hint
    )
