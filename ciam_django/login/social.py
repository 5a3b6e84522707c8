"""``ciam:provider`` redirects to a social provider; ``ciam:provider_callback`` is the callback."""

from __future__ import annotations

import dataclasses
import re
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from ciam_django.accounts.rate_limits import counting_attempt
from ciam_django.client.api import CiamClient
from ciam_django.client.results import NextStep, SignedIn
from ciam_django.errors import CiamError, Stage, code_in
from ciam_django.events import SIGN_IN_STARTED, record
from ciam_django.login.callback import cancel_response, commit_in_view, handle_callback
from ciam_django.login.consent import check_consent
from ciam_django.login.cookies import known_browser_id
from ciam_django.login.error_responses import (
    URL_ENCODED,
    answer_error,
    answer_errors,
    login_page_url,
    protect_form,
)
from ciam_django.login.link_views import answer_link_error, requested_link_user
from ciam_django.login.names import decrypted_name, encrypted_name, name_in_form
from ciam_django.login.notices import set_error_notice
from ciam_django.login.pages import result_response
from ciam_django.login.providers import Registration, registrations
from ciam_django.login.redirects import (
    absolute_url,
    end_fragment,
    redirect_or_json_response,
    redirect_response,
    requested_next,
    safe_next,
    set_opener_policy,
)
from ciam_django.login.state import SignInState, new_sign_in_state, remember_next, set_state_cookie
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.results import next_flow
from ciam_django.login.steps.submit import finish_sign_in
from ciam_django.responses import HTML, media_type_for

# The state and the code of a callback that a browser has posted.
_POSTED_STATE: Final = re.compile(r"[0-9a-f]{1,64}")
_POSTED_CODE: Final = re.compile(r"[!-~]{1,2048}")
# The errors of RFC 6749, section 4.1.2.1, and of OpenID Connect Core 1.0, section 3.1.2.6.
_POSTED_ERRORS: Final = frozenset(
    {
        "access_denied",
        "invalid_request",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
        "account_selection_required",
        "consent_required",
        "interaction_required",
        "login_required",
    }
)


@login_not_required
@require_POST
@protect_form
def redirect_to_provider(request: HttpRequest, name: str) -> HttpResponse:
    """Store a new state in a cookie, and redirect to a provider's authorize page.

    A client that prefers JSON gets the URL as JSON. The view takes only a POST with a CSRF token,
    so that no other site can start a sign-in. Without the user's consent to the required terms, the
    response asks for it. Raises ``Http404`` for an unknown provider.
    """
    registration = _registration_or_404(name)
    link_to_user = requested_link_user(request)
    # From here on, the events have the id of the sign-in, also those of a missing consent.
    sign_in_state = new_sign_in_state(
        next_url=requested_next(request), provider=name, link_to_user=link_to_user
    )
    consents = check_consent(request, provider=registration.provider, link_to_user=link_to_user)
    if isinstance(consents, HttpResponse):
        return consents
    sign_in_state = dataclasses.replace(sign_in_state, consents=list(consents))
    url = registration.authorize_url(
        _provider_callback_url(request, name),
        sign_in_state.state,
        nonce=sign_in_state.nonce,
        code_challenge=sign_in_state.code_challenge,
    )
    record(SIGN_IN_STARTED, request)
    response = redirect_or_json_response(request, url)
    set_state_cookie(request, response, sign_in_state)
    set_opener_policy(request, response, sign_in_state.next)
    return response


@commit_in_view
@login_not_required
@csrf_exempt
@require_http_methods(["GET", "POST"])
def provider_callback(request: HttpRequest, name: str) -> HttpResponse:
    """Sign the user in, or ask before the identity is linked, and redirect to the next page.

    A provider with ``answers_by_post`` lets the browser send a POST, which is redirected to a GET.

    CIAM exchanges the provider's code. The next page is ``next`` or the page of a further step.
    After a failure, a browser that signs in gets the login page with a notice; a browser that links
    an identity and a JSON client get the error's response. After a cancel at the provider, the
    notice is neutral, and a browser that links an identity is redirected to ``next``.
    ``handle_callback`` answers a callback without a valid state.
    """
    registration = _registration_or_404(name)
    if request.method == "POST":
        return _redirect_posted_callback(request, registration)

    def complete(sign_in_state: SignInState) -> HttpResponse:
        return _complete_provider_callback(request, registration, sign_in_state)

    def answer_failure(sign_in_state: SignInState, error: CiamError) -> HttpResponse:
        if response := cancel_response(request, sign_in_state, error):
            return response
        if sign_in_state.link_to_user:
            return answer_link_error(request, error, sign_in_state.next)
        if media_type_for(request) != HTML:
            return answer_error(request, error)
        # The login page offers other login methods.
        response = redirect_response(login_page_url(safe_next(request, sign_in_state.next)))
        set_error_notice(request, response, error, is_cancelled=False)
        return response

    response = handle_callback(request, name, complete, answer_failure)
    if registration.provider.fragment:
        end_fragment(response)
    return response


@answer_errors
def _redirect_posted_callback(request: HttpRequest, registration: Registration) -> HttpResponse:
    """Redirect a callback by POST to the same callback by GET, which checks the state.

    The POST comes from the provider's site, and a browser sends no cookie with SameSite=Lax with
    such a POST. It sends the cookie with the GET after the redirect. Any site can send the POST. So
    the POST sets no cookie and calls nobody, and the redirect has only the state, the code, an
    error and the name of a new user, each in its own form. The name is encrypted for the sign-in
    with this state, because URLs are stored in histories and logs.
    """
    if not registration.answers_by_post:
        return HttpResponseNotAllowed(["GET"])
    # No provider sends multipart/form-data, which is expensive to parse.
    form = request.POST if request.content_type == URL_ENCODED else {}
    state, code = form.get("state", ""), form.get(registration.provider.code, "")
    parameters = {}
    if _POSTED_STATE.fullmatch(state):
        parameters["state"] = state
        if _POSTED_CODE.fullmatch(code):
            parameters[registration.provider.code] = code
        if error := form.get("error"):
            is_known = error in {*_POSTED_ERRORS, registration.provider.cancel_error}
            parameters["error"] = error if is_known else "oauth_error"
        if name := name_in_form(form.get("user", "")):
            parameters["user"] = encrypted_name(name, state)
    url = reverse("ciam:provider_callback", args=[registration.name])
    response = redirect_response(f"{url}?{urlencode(parameters)}")
    # The browser follows with a GET (RFC 9110, section 15.4.4).
    response.status_code = HTTPStatus.SEE_OTHER
    return response


def _complete_provider_callback(
    request: HttpRequest, registration: Registration, sign_in_state: SignInState
) -> HttpResponse:
    """Let CIAM exchange the code, sign the user in, and redirect.

    If CIAM asks for a further step, or if the user has to confirm that the identity is linked,
    redirect to the page of the step. Raises ``CiamError``:
    ``access_denied`` if the user refused, or the error of the provider, of CIAM or of the sign-in.
    """
    error, code = request.GET.get("error"), request.GET.get(registration.provider.code)
    # If the user refuses, WeChat (for example) returns only the state.
    if error == registration.provider.cancel_error or not (error or code):
        raise CiamError("access_denied", stage=Stage.SOCIAL)
    if error or not code:
        raise CiamError(code_in(error or "") or "oauth_error", stage=Stage.SOCIAL)
    proofs = registration.proof_parameters(
        nonce=sign_in_state.nonce, code_verifier=sign_in_state.code_verifier
    )
    with counting_attempt(request, "", Stage.SOCIAL, known_browser_id(request)):
        outcome = CiamClient().social_login(
            registration.source, code, consents=sign_in_state.consents, **proofs
        )
    flow = Flow(
        "",
        "",
        next=sign_in_state.next,
        provider=sign_in_state.provider,
        link_to_user=sign_in_state.link_to_user,
        method=sign_in_state.provider,
        sign_in=sign_in_state.sign_in,
        told_name=decrypted_name(request.GET.get("user", ""), sign_in_state.state),
    )
    result = next_flow(outcome, flow) if isinstance(outcome, NextStep) else outcome
    if isinstance(result, SignedIn):
        result = finish_sign_in(request, result, flow, with_session=True)
    if isinstance(result, SignedIn):
        remember_next(request, sign_in_state.digest, sign_in_state.next)
    return result_response(request, result, flow)


def _registration_or_404(name: str) -> Registration:
    """Return the registration; raise ``Http404`` if it is missing or has no authorize page."""
    registration = registrations().get(name)
    if registration is None or not registration.provider.has_page:
        raise Http404
    return registration


def _provider_callback_url(request: HttpRequest, name: str) -> str:
    return absolute_url(request, reverse("ciam:provider_callback", args=[name]))
