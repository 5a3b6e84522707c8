"""``ciam:authorize`` redirects the browser to the login page that CIAM hosts."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from ciam_django.client.app import ciam_app
from ciam_django.errors import CiamError, Stage
from ciam_django.events import SIGN_IN_STARTED, record
from ciam_django.languages import language_for, language_tags
from ciam_django.login.consent import check_consent
from ciam_django.login.error_responses import answer_error, protect_form
from ciam_django.login.hints import Hint
from ciam_django.login.link_views import requested_link_user
from ciam_django.login.loop_guard import LOOP_SECONDS, is_looping
from ciam_django.login.redirects import (
    callback_url,
    redirect_or_json_response,
    requested_next,
    set_opener_policy,
)
from ciam_django.login.state import new_sign_in_state, set_state_cookie


@login_not_required
@require_POST
@protect_form
def authorize(request: HttpRequest) -> HttpResponse:
    """Store a new state in a cookie, and redirect to CIAM's login page.

    A client that prefers JSON gets the URL as JSON. The view takes only a POST with a CSRF token,
    so that no other site can start a sign-in. Without the user's consent to the required terms, the
    response asks for it. A browser in a loop of sign-ins gets an error page
    (``too_many_requests``). Raises a ``CiamError``, which ``protect_form`` answers, if the metadata
    can't be loaded.
    """
    if is_looping(request):
        error = CiamError("too_many_requests", stage=Stage.AUTHORIZE, retry_after=LOOP_SECONDS)
        return answer_error(request, error, Hint.COOKIES_BLOCKED)
    link_to_user = requested_link_user(request)
    # From here on, the events have the id of the sign-in, also those of a missing consent.
    sign_in_state = new_sign_in_state(
        next_url=requested_next(request),
        link_to_user=link_to_user,
        redirect_uri=callback_url(request),
    )
    consents = check_consent(request, link_to_user=link_to_user)
    if isinstance(consents, HttpResponse):
        return consents
    url = ciam_app().authorization_url(
        redirect_uri=sign_in_state.redirect_uri,
        state=sign_in_state.state,
        nonce=sign_in_state.nonce,
        code_verifier=sign_in_state.code_verifier,
        # Otherwise the person who has a session at CIAM is linked, without a word.
        must_log_in=bool(sign_in_state.link_to_user),
        languages=language_tags(language_for(request)),
    )
    record(SIGN_IN_STARTED, request)
    response = redirect_or_json_response(request, url)
    set_state_cookie(request, response, sign_in_state)
    set_opener_policy(request, response, sign_in_state.next)
    return response
