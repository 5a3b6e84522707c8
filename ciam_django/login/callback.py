"""A browser that comes back, from CIAM or a provider: its state is looked at before all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

from ciam_django.errors import CiamError, Stage
from ciam_django.login import state
from ciam_django.login.error_responses import answer_error
from ciam_django.login.hints import cookie_test_response, hint_at_callback
from ciam_django.login.popups import set_opener_policy
from ciam_django.login.redirects import redirect_response, url_after_sign_in

# In the session: the digests of the states that signed it in, and where each led, the newest last.
_USED_STATES_KEY: Final = "ciam_signed_in_by"
_MAX_USED_STATES: Final = 5
# Seconds that the first of two equal callbacks gets before the second asks again.
_RETRY_SECONDS: Final = 2


def handle_callback(
    request: HttpRequest, provider: str, complete: Callable[[state.SignInState], HttpResponse]
) -> HttpResponse:
    """What ``take`` makes of a state that is good, and is spent at once; else why it is not."""
    returned_state = request.GET.get("state", "")
    sign_in_state = state.state_from_cookie(request, returned_state, provider)
    if sign_in_state is None:
        return _repeated_callback_response(request, returned_state) or _refuse_callback(
            request, returned_state, provider
        )
    if state.claim_state(sign_in_state):
        response = complete(sign_in_state)
    else:
        response = _repeated_callback_response(request, returned_state) or _retry_response(request)
    state.delete_state_cookie(response, sign_in_state)
    set_opener_policy(response, sign_in_state.next)
    return response


def remember_state(request: HttpRequest, sign_in_state: state.SignInState) -> None:
    """That this browser was signed in by the state, should the callback come once more."""
    used_states = request.session.get(_USED_STATES_KEY, [])
    request.session[_USED_STATES_KEY] = [*used_states, [sign_in_state.digest, sign_in_state.next]][
        -_MAX_USED_STATES:
    ]


def _repeated_callback_response(request: HttpRequest, returned_state: str) -> HttpResponse | None:
    """On to where the state led, for the browser that it has signed in already."""
    next_url = dict(request.session.get(_USED_STATES_KEY, [])).get(
        state.state_digest(returned_state)
    )
    if next_url is None or not request.user.is_authenticated:
        return None
    return redirect_response(url_after_sign_in(request, next_url))


def _retry_response(request: HttpRequest) -> HttpResponse:
    """The browser asks twice at once, as WeChat's does, and this is not the first.

    It asks again by itself when the first is through. Once, for its cookie is gone then.
    """
    response = answer_error(request, CiamError("mismatching_state", stage=Stage.CALLBACK))
    response["Refresh"] = str(_RETRY_SECONDS)
    return response


def _refuse_callback(request: HttpRequest, returned_state: str, provider: str) -> HttpResponse:
    """A state that is too old, spent, foreign or none: whoever it was may start again."""
    hint = hint_at_callback(request, returned_state, provider)
    return cookie_test_response(request, hint) or answer_error(
        request, CiamError("mismatching_state", stage=Stage.CALLBACK), hint
    )
