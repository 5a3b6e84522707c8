"""A browser that comes back, from CIAM or a provider: its state is looked at before all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

from ciam_django.errors import CiamError
from ciam_django.login import state
from ciam_django.login.error_responses import failed
from ciam_django.login.hints import cookie_question, hint_at_callback
from ciam_django.login.popups import keep_opener
from ciam_django.login.redirects import after_sign_in, redirect_to

# In the session: the digests of the states that signed it in, and where each led, the newest last.
_SIGNED_IN_BY: Final = "ciam_signed_in_by"
_MOST_REMEMBERED: Final = 5
# Seconds that the first of two equal callbacks gets before the second asks again.
_PATIENCE: Final = 2


def came_back(
    request: HttpRequest, provider: str, take: Callable[[state.SignIn], HttpResponse]
) -> HttpResponse:
    """What ``take`` makes of a state that is good, and is spent at once; else why it is not."""
    came_with = request.GET.get("state", "")
    begun = state.kept(request, came_with, provider)
    if begun is None:
        return _repeated(request, came_with) or _refused(request, came_with, provider)
    if state.spend(begun):
        response = take(begun)
    else:
        response = _repeated(request, came_with) or _overtaken(request)
    state.forget(response, begun)
    keep_opener(response, begun.next)
    return response


def remember(request: HttpRequest, begun: state.SignIn) -> None:
    """That this browser was signed in by the state, should the callback come once more."""
    remembered = request.session.get(_SIGNED_IN_BY, [])
    request.session[_SIGNED_IN_BY] = [*remembered, [begun.digest, begun.next]][-_MOST_REMEMBERED:]


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
    response = failed(request, CiamError("mismatching_state", stage="callback"))
    response["Refresh"] = str(_PATIENCE)
    return response


def _refused(request: HttpRequest, came_with: str, provider: str) -> HttpResponse:
    """A state that is too old, spent, foreign or none: whoever it was may start again."""
    hint = hint_at_callback(request, came_with, provider)
    return cookie_question(request, hint) or failed(
        request, CiamError("mismatching_state", stage="callback"), hint
    )
