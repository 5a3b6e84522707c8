"""The functions that link an identity to the signed-in user, and ``ciam:unlink``."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.translation import pgettext_lazy
from django.views.decorators.http import require_POST

from ciam_django.accounts.linking import unlink_identity
from ciam_django.answers import LOGIN_ACTIONS
from ciam_django.errors import CiamError, Stage
from ciam_django.login.error_responses import protect_from_csrf
from ciam_django.login.redirects import (
    redirect_or_json_response,
    requested_next,
    url_after_sign_in,
)
from ciam_django.reporting import answer_and_report
from ciam_django.responses import response_for


def requested_link_user(request: HttpRequest) -> str:
    """Return the primary key of the signed-in user if the form has the field ``link``.

    Return an empty text without ``link``. Raises ``missing_token`` if the form has ``link``, but no
    user is signed in.
    """
    if not request.POST.get("link"):
        return ""
    if not request.user.is_authenticated:
        raise CiamError("missing_token", stage=Stage.AUTHORIZE)
    return str(request.user.pk)


@login_not_required
@require_POST
@protect_from_csrf
def unlink(request: HttpRequest) -> HttpResponse:
    """Remove the identity with the primary key ``identity``, and redirect to ``next``.

    A client that prefers JSON gets the URL as JSON.

    The response to a ``CiamError`` of ``unlink_identity`` is an error page or JSON.
    """
    key = request.POST.get("identity", "")
    # int() would refuse other texts, and a 64-bit column longer numbers. No identity has the key 0.
    identity_id = int(key) if key.isascii() and key.isdigit() and len(key) < 19 else 0
    try:
        unlink_identity(request, identity_id)
    except CiamError as error:
        return answer_link_error(request, error, requested_next(request))
    next_url = url_after_sign_in(request, requested_next(request))
    return redirect_or_json_response(request, next_url)


def answer_link_error(request: HttpRequest, error: CiamError, next_url: str) -> HttpResponse:
    """Report an error of linking or unlinking, and return its page or JSON.

    The page has a link back to ``next_url`` if the project has no URL for the answer's action, or
    if the URL is a login page, because the user is signed in already.
    """
    answer, context = answer_and_report(error, request), {}
    if answer.action_url is None or (
        answer.action in LOGIN_ACTIONS and request.user.is_authenticated
    ):
        context = {
            "way_out": url_after_sign_in(request, next_url),
            "way_out_label": pgettext_lazy("ciam", "Back"),
        }
    return response_for(request, answer, context=context)
