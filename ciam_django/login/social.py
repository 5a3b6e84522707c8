"""``ciam:provider`` and ``ciam:provider_callback``: off to a social provider, and back."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from ciam_django.client.api import CiamClient
from ciam_django.client.results import SignedIn
from ciam_django.errors import CiamError, code_in
from ciam_django.login import notices, state
from ciam_django.login.callback import came_back, remember
from ciam_django.login.error_responses import answering, csrf_answered, failed, login_address
from ciam_django.login.link_views import asked_link, refused
from ciam_django.login.pages import went_on
from ciam_django.login.popups import keep_opener
from ciam_django.login.providers import Registration, registrations
from ciam_django.login.redirects import asked_next, redirect_to, safe_next, sent_away
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.results import gone_on
from ciam_django.login.steps.submit import admitted
from ciam_django.responses import HTML, media_type_for


@login_not_required
@require_POST
@csrf_answered
@answering
def leave(request: HttpRequest, name: str) -> HttpResponse:
    """Leave for a provider. A POST with CSRF, so that no other site can begin a sign-in."""
    registration = _registration(name)
    begun = state.begun(next_url=asked_next(request), provider=name, link_to=asked_link(request))
    url = registration.authorize_url(_callback_url(request, name), begun.state)
    response = sent_away(request, url)
    state.keep(request, response, begun)
    keep_opener(response, begun.next)
    return response


@login_not_required
@csrf_exempt
@require_GET
def callback(request: HttpRequest, name: str) -> HttpResponse:
    """Come back from a provider, with a code for CIAM or without."""
    registration = _registration(name)

    def take(begun: state.SignIn) -> HttpResponse:
        try:
            return _signed_in(request, registration, begun)
        except CiamError as error:
            if begun.link_to:
                return refused(request, error, begun.next)
            if media_type_for(request) != HTML:
                return failed(request, error)
            # There are other ways to sign in, and they are on that page.
            response = redirect_to(login_address(safe_next(request, begun.next)))
            notices.keep_error(request, response, error)
            return response

    return came_back(request, name, take)


def _signed_in(
    request: HttpRequest, registration: Registration, begun: state.SignIn
) -> HttpResponse:
    error, code = request.GET.get("error"), request.GET.get(registration.provider.code)
    # WeChat, for one, sends who has refused back with nothing but the state.
    if error == registration.provider.cancelled or not (error or code):
        raise CiamError("access_denied", stage="social")
    if error or not code:
        raise CiamError(code_in(error or "") or "oauth_error", stage="social")
    outcome = CiamClient().social_login(registration.source, code)
    flow = Flow("", "", next=begun.next, provider=begun.provider, link_to=begun.link_to)
    went = gone_on(outcome, flow)
    if isinstance(went, SignedIn):
        admitted(request, went, flow, with_session=True)
        remember(request, begun)
    return went_on(request, went, flow)


def _registration(name: str) -> Registration:
    registration = registrations().get(name)
    if registration is None or not registration.provider.has_page:
        raise Http404
    return registration


def _callback_url(request: HttpRequest, name: str) -> str:
    return request.build_absolute_uri(reverse("ciam:provider_callback", args=[name]))
