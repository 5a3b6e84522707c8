"""The callback view of CIAM, and the check of the state for all callback views."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

from ciam_django.accounts.login import resume_session, sign_in_or_link
from ciam_django.accounts.rate_limits import counting_attempt
from ciam_django.answers import row_of
from ciam_django.client.app import ciam_app
from ciam_django.client.person import identify_person
from ciam_django.errors import CiamError, Stage, code_in
from ciam_django.login.cookies import known_browser_id, remember_browser
from ciam_django.login.error_responses import answer_error, login_page_url
from ciam_django.login.hints import (
    Hint,
    changed_hosts,
    cookie_test_response,
    hint_at_callback,
)
from ciam_django.login.link_views import answer_link_error
from ciam_django.login.loop_guard import count_sign_in
from ciam_django.login.notices import set_error_notice
from ciam_django.login.pages import result_response
from ciam_django.login.redirects import (
    callback_url,
    end_fragment,
    redirect_response,
    safe_next,
    set_opener_policy,
    url_after_sign_in,
)
from ciam_django.login.state import (
    CallbackOutcome,
    SignInState,
    claim_state,
    delete_state_cookie,
    keep_state_cookie,
    may_repeat,
    record_success,
    remember_next,
    remembered_next,
    share_sign_in,
    state_digest,
    state_from_cookie,
    store_outcome,
    stored_outcome,
    try_to_wait,
)
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.linking import confirmation_flow
from ciam_django.login.tenant_config import HOSTED
from ciam_django.privacy import own_text
from ciam_django.reporting import report
from ciam_django.responses import HTML, media_type_for, page_response

# Seconds for which a second callback waits for the first callback, and the pause between two looks.
_WAIT_SECONDS: Final = 1
_POLL_INTERVAL: Final = 0.05
# Seconds until the browser repeats a second callback that has waited in vain.
_RETRY_SECONDS: Final = 1

V = TypeVar("V", bound=Callable[..., Any])


def commit_in_view(view: V) -> V:
    """Decorate a callback view: ``ATOMIC_REQUESTS`` does not apply to it.

    A second callback in another process needs the session of the first callback. With
    ``ATOMIC_REQUESTS``, Django would commit the session only after the view.
    """
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


Complete = Callable[[SignInState], HttpResponse]
AnswerFailure = Callable[[SignInState, CiamError], HttpResponse]


@commit_in_view
@login_not_required
@csrf_exempt
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Sign the user in, or link the identity, and redirect to ``next`` (``ciam:callback``)."""

    def complete(sign_in_state: SignInState) -> HttpResponse:
        return _complete_callback(request, sign_in_state)

    def answer_failure(sign_in_state: SignInState, error: CiamError) -> HttpResponse:
        if response := cancel_response(request, sign_in_state, error):
            return response
        if sign_in_state.link_to_user:
            return answer_link_error(request, error, sign_in_state.next)
        return answer_error(request, error, next_url=safe_next(request, sign_in_state.next))

    response = handle_callback(request, "ciam", complete, answer_failure)
    if "MicroMessenger/" in request.headers.get("User-Agent", ""):
        # In WeChat's browser, CIAM's page may have redirected to WeChat's page.
        end_fragment(response)
    return response


def _complete_callback(request: HttpRequest, sign_in_state: SignInState) -> HttpResponse:
    """Exchange the code, sign the user in or link the identity, and redirect to ``next``.

    In CIAM's own mode, redirect to the page that asks the user before an identity is linked.

    The redirect also counts the sign-in for the loop guard. Raises ``CiamError``:
    ``mismatching_issuer``, the code of the ``error`` parameter, ``missing_code``, or the error of
    the exchange, of the id_token or of the sign-in. A failed exchange is counted as an attempt;
    above a rate limit, raises ``too_many_requests``.
    """
    app = ciam_app()
    app.validate_issuer(request.GET.getlist("iss"))
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
            code=code,
            # A state of a version before this member has no URI.
            redirect_uri=sign_in_state.redirect_uri or callback_url(request),
            code_verifier=sign_in_state.code_verifier,
        )
    was_anonymous = request.user.is_anonymous
    person = identify_person(app, token_response, sign_in_state.nonce)
    if sign_in_state.link_to_user and not app.is_oidc:
        # CIAM's own mode has no ``prompt=login``: the person may have signed in long ago.
        flow = Flow(
            "",
            "",
            next=sign_in_state.next,
            link_to_user=sign_in_state.link_to_user,
            sign_in=sign_in_state.sign_in,
        )
        access_token = token_response["access_token"]
        result = confirmation_flow(request, person, access_token, flow)
        return result_response(request, result, flow)
    sign_in_or_link(request, person, token_response, sign_in_state.link_to_user)
    remember_next(request, sign_in_state.digest, sign_in_state.next)
    response = redirect_response(url_after_sign_in(request, sign_in_state.next))
    count_sign_in(request, response, was_anonymous=was_anonymous)
    remember_browser(request, response, method="" if sign_in_state.link_to_user else HOSTED)
    return response


def cancel_response(
    request: HttpRequest, sign_in_state: SignInState, error: CiamError
) -> HttpResponse | None:
    """Return the redirect of a browser whose user has cancelled the sign-in; None after a failure.

    A browser that signs in gets the login page, which has a neutral notice and the other login
    methods. A browser that links an identity gets ``next``. Return None also for a JSON client.
    """
    if not row_of(error).meaning.is_cancel or media_type_for(request) != HTML:
        return None
    next_url = safe_next(request, sign_in_state.next)
    if sign_in_state.link_to_user:
        report(error, request)
        return redirect_response(url_after_sign_in(request, next_url))
    response = redirect_response(login_page_url(next_url))
    set_error_notice(request, response, error, is_cancelled=True)
    return response


# --- The state --------------------------------------------------------------------------------


def handle_callback(
    request: HttpRequest, provider: str, complete: Complete, answer_failure: AnswerFailure
) -> HttpResponse:
    """Check the state of a callback, and return the response of ``complete`` if the state is valid.

    - The state is valid and unused: mark the state as used, then return
      ``complete(sign_in_state)``, or ``answer_failure(sign_in_state, error)`` if ``complete``
      raises a ``CiamError``.
    - The state has already signed this browser in: return a redirect to the ``next`` of the state.
    - Another callback of this browser has used the state in the last 30 seconds: return the
      response of ``_second_response``.
    - The state is missing, unknown, expired or used: return an error page, or a redirect that tests
      if the browser stores cookies.

    The code of the error pages is ``mismatching_state``.
    """
    returned_state = request.GET.get("state", "")
    sign_in_state = state_from_cookie(request, returned_state, provider)
    if sign_in_state is None:
        return _repeated_callback_response(request, returned_state) or _invalid_state_response(
            request, returned_state, provider
        )
    share_sign_in(sign_in_state)
    # If the session store is away, this fails before the state and the code are used, so that the
    # user can reload the page.
    remembered_next(request, sign_in_state.digest)
    if claim_state(sign_in_state):
        response = _first_response(request, sign_in_state, complete, answer_failure)
    else:
        response = _repeated_callback_response(request, returned_state) or _second_response(
            request, sign_in_state, answer_failure
        )
    set_opener_policy(request, response, sign_in_state.next)
    return response


def _first_response(
    request: HttpRequest,
    sign_in_state: SignInState,
    complete: Complete,
    answer_failure: AnswerFailure,
) -> HttpResponse:
    """Return the response of the first callback, and store its outcome for a second callback."""
    outcome: CallbackOutcome | None = None
    response: HttpResponse | None = None
    try:
        response = complete(sign_in_state)
        outcome = record_success(request, response, sign_in_state)
    except CiamError as error:
        error.stage = error.stage or Stage.CALLBACK
        outcome = CallbackOutcome(
            error={
                "code": error.code,
                "type_code": error.type_code,
                "request_id": error.reference,
                "upstream_status": error.upstream_status,
                "stage": error.stage,
                "retry_after": error.retry_after,
            }
        )
        response = answer_failure(sign_in_state, error)
    finally:
        if outcome is None:
            # ``complete`` has raised another exception.
            outcome = CallbackOutcome(error={"code": "mismatching_state", "stage": Stage.CALLBACK})
        store_outcome(request, response, sign_in_state, outcome)
    return response


def _second_response(
    request: HttpRequest, sign_in_state: SignInState, answer_failure: AnswerFailure
) -> HttpResponse:
    """Return the response to a second callback with the same state and the same cookie.

    WeChat's browser sends two callbacks, and the second one cancels the first one, so that the
    browser may never get the first response. The second response has the same outcome: the same
    session, the same redirect with its cookies, or the same failure, which is not reported again.
    CIAM is not called, since a code can be exchanged only once.

    If the first callback is still under way, one second callback waits for it. If the outcome is
    not known then, a page repeats the callback by itself. A used state is refused after 30 seconds,
    or if the session has ended in the meantime.
    """
    if not may_repeat(sign_in_state):
        return _refuse_used_state(request, sign_in_state)
    outcome = _wait_for_outcome(sign_in_state)
    if outcome is None:
        return _pending_response(request)
    if outcome.error:
        error = CiamError(**outcome.error)
        error.is_reported = True
        response = answer_failure(sign_in_state, error)
    elif outcome.session_key and not resume_session(request, outcome.session_key):
        return _refuse_used_state(request, sign_in_state)
    else:
        response = redirect_response(outcome.url)
        for cookie in outcome.cookies:
            response.cookies.load(cookie)
    keep_state_cookie(request, response, sign_in_state)
    return response


def _wait_for_outcome(sign_in_state: SignInState) -> CallbackOutcome | None:
    """Return the outcome of the first callback; wait for it if no other callback waits."""
    outcome = stored_outcome(sign_in_state)
    if outcome is None and try_to_wait(sign_in_state, _WAIT_SECONDS):
        until = time.monotonic() + _WAIT_SECONDS
        while outcome is None and time.monotonic() < until:
            time.sleep(_POLL_INTERVAL)
            outcome = stored_outcome(sign_in_state)
    return outcome


def _pending_response(request: HttpRequest) -> HttpResponse:
    """Return a page that repeats the callback after ``_RETRY_SECONDS``; JSON for other clients."""
    if media_type_for(request) == HTML:
        response = page_response(request, "ciam_django/pending.html", {})
        response["Referrer-Policy"] = "no-referrer"
    else:
        response = JsonResponse({"status": "pending"}, status=202)
    response["Refresh"] = response["Retry-After"] = str(_RETRY_SECONDS)
    response["Cache-Control"] = "no-store"
    return response


def _refuse_used_state(request: HttpRequest, sign_in_state: SignInState) -> HttpResponse:
    response = _invalid_state_response(request, sign_in_state.state, sign_in_state.provider)
    delete_state_cookie(request, response, sign_in_state)
    return response


def _repeated_callback_response(request: HttpRequest, returned_state: str) -> HttpResponse | None:
    """Return a redirect to the state's ``next`` if the state has already signed this browser in.

    Return None if the session has no such state, or if the user is no longer signed in.
    """
    next_url = remembered_next(request, state_digest(returned_state))
    if next_url is None or not request.user.is_authenticated:
        return None
    return redirect_response(url_after_sign_in(request, next_url))


def _invalid_state_response(
    request: HttpRequest, returned_state: str, provider: str
) -> HttpResponse:
    """Return the response to a callback whose state is missing, unknown, expired or used.

    The response is an error page with a hint, or the redirect of ``cookie_test_response``.
    """
    hint = hint_at_callback(request, returned_state, provider)
    error = CiamError("mismatching_state", stage=Stage.CALLBACK)
    if hint is Hint.OTHER_HOST:
        error.upstream_text = own_text(changed_hosts(request, returned_state))
    return cookie_test_response(request, hint) or answer_error(request, error, hint)
