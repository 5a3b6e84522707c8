"""``ciam:authorize``: leave for the login page that CIAM hosts."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from ciam_django.client.oauth import ciam_app
from ciam_django.errors import CiamError, Stage
from ciam_django.login import loop_guard, state
from ciam_django.login.error_responses import answer_error, protect_form
from ciam_django.login.hints import Hint
from ciam_django.login.link_views import requested_link_user
from ciam_django.login.redirects import (
    callback_url,
    departure_response,
    requested_next,
    set_opener_policy,
)


@login_not_required
@require_POST
@protect_form
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
