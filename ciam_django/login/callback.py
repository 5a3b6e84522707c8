"""The callback view of CIAM, and the check of the state for all callback views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

from ciam_django.accounts.login import sign_in_or_link
from ciam_django.accounts.rate_limits import counting_attempt
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import identify_person
from ciam_django.errors import CiamError, Stage, code_in
from ciam_django.login.error_responses import answer_error
from ciam_django.login.hints import cookie_test_response, hint_at_callback
from ciam_django.login.known_browsers import known_browser_id, remember_browser
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

# Session key of a list of [digest, next] pairs of the last five sign-ins, newest last.
_USED_STATES_KEY: Final = "ciam_signed_in_by"
_MAX_USED_STATES: Final = 5
# Seconds until the browser repeats the second of two simultaneous callbacks, so that the first
# callback can end.
_RETRY_SECONDS: Final = 2


@login_not_required
@csrf_exempt
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Sign the user in, or link the identity, and redirect to ``next`` (``ciam:callback``)."""

    def complete(sign_in_state: SignInState) -> HttpResponse:
        try:
            return _complete_callback(request, sign_in_state)
        except CiamError as error:
            error.stage = error.stage or Stage.CALLBACK
            if sign_in_state.link_to_user:
                return answer_link_error(request, error, sign_in_state.next)
            return answer_error(request, error, next_url=safe_next(request, sign_in_state.next))

    return handle_callback(request, "ciam", complete)


def _complete_callback(request: HttpRequest, sign_in_state: SignInState) -> HttpResponse:
    """Exchange the code, sign the user in or link the identity, and redirect to ``next``.

    The redirect also counts the sign-in for the loop guard. Raises ``CiamError``:
    ``mismatching_issuer``, the code of the ``error`` parameter, ``missing_code``, or the error of
    the exchange, of the id_token or of the sign-in. A failed exchange is counted as an attempt;
    above a rate limit, raises ``too_many_requests``.
    """
    app = ciam_app()
    validate_issuer(app.load_server_metadata(), request.GET.getlist("iss"))
    if error := request.GET.get("error"):
        raise CiamError(
            code_in(error) or "oauth_error",
            upstream_text=request.GET.get("error_description", ""),
            stage=Stage.CALLBACK,
        )
    code = request.GET.get("code")
    if not code:
        raise CiamError("missing_code", stage=Stage.CALLBACK)
    # A client with a valid state could let CIAM check any number of guessed codes.
    with counting_attempt(request, "", Stage.CALLBACK, known_browser_id(request)):
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
    remember_browser(request, response)
    return response


def validate_issuer(metadata: Mapping[str, Any], returned_issuers: Sequence[str]) -> None:
    """Raise ``mismatching_issuer`` if an ``iss`` is wrong, or is missing although it is announced.

    ``returned_issuers`` holds each ``iss`` parameter of the callback. A wrong ``iss`` is refused
    even if the metadata does not announce the parameter: a wrong ``iss`` shows that another
    provider has sent the response, so the code must not be exchanged (RFC 9207, section 2.4). A
    missing ``iss`` is refused only if the metadata announces the parameter
    (``authorization_response_iss_parameter_supported``). If the metadata has no issuer, nothing is
    checked; in CIAM's own mode, the metadata is empty.
    """
    issuer = metadata.get("issuer")
    if not issuer:
        return
    is_announced = metadata.get("authorization_response_iss_parameter_supported") is True
    if any(iss != issuer for iss in returned_issuers) or (is_announced and not returned_issuers):
        raise CiamError("mismatching_issuer", stage=Stage.CALLBACK)


# --- The state --------------------------------------------------------------------------------


def handle_callback(
    request: HttpRequest, provider: str, complete: Callable[[SignInState], HttpResponse]
) -> HttpResponse:
    """Check the state of a callback, and return the response of ``complete`` if the state is valid.

    - The state is valid and unused: mark the state as used, then return
      ``complete(sign_in_state)``.
    - The state has already signed this browser in: return a redirect to the ``next`` of the state.
    - The state is valid, but another callback has used it: return an error page, which the browser
      reloads.
    - The state is missing, unknown or expired: return an error page, or a redirect that tests if
      the browser stores cookies.

    The cookie of a valid state is deleted. The code of the error pages is ``mismatching_state``.
    """
    returned_state = request.GET.get("state", "")
    sign_in_state = state_from_cookie(request, returned_state, provider)
    if sign_in_state is None:
        return _repeated_callback_response(request, returned_state) or _invalid_state_response(
            request, returned_state, provider
        )
    if claim_state(sign_in_state):
        response = complete(sign_in_state)
    else:
        response = _repeated_callback_response(request, returned_state) or _retry_response(request)
    delete_state_cookie(request, response, sign_in_state)
    set_opener_policy(response, sign_in_state.next)
    return response


def remember_state(request: HttpRequest, sign_in_state: SignInState) -> None:
    """Store the state's digest and ``next`` in the session, to redirect a repeated callback."""
    used_states = request.session.get(_USED_STATES_KEY, [])
    request.session[_USED_STATES_KEY] = [*used_states, [sign_in_state.digest, sign_in_state.next]][
        -_MAX_USED_STATES:
    ]


def _repeated_callback_response(request: HttpRequest, returned_state: str) -> HttpResponse | None:
    """Return a redirect to the state's ``next`` if the state has already signed this browser in.

    Return None if the session has no such state, or if the user is no longer signed in.
    """
    next_url = dict(request.session.get(_USED_STATES_KEY, [])).get(state_digest(returned_state))
    if next_url is None or not request.user.is_authenticated:
        return None
    return redirect_response(url_after_sign_in(request, next_url))


def _retry_response(request: HttpRequest) -> HttpResponse:
    """Return an error page for the second of two simultaneous callbacks, with a Refresh header.

    WeChat's browser sends two callbacks. After ``_RETRY_SECONDS``, the browser repeats the callback
    by itself. The browser repeats the callback only once, because the caller deletes the cookie of
    the state.
    """
    response = answer_error(request, CiamError("mismatching_state", stage=Stage.CALLBACK))
    response["Refresh"] = str(_RETRY_SECONDS)
    return response


def _invalid_state_response(
    request: HttpRequest, returned_state: str, provider: str
) -> HttpResponse:
    """Return the response to a callback whose state is missing, unknown, expired or used.

    The response is an error page with a hint, or the redirect of ``cookie_test_response``.
    """
    hint = hint_at_callback(request, returned_state, provider)
    return cookie_test_response(request, hint) or answer_error(
        request, CiamError("mismatching_state", stage=Stage.CALLBACK), hint
    )
