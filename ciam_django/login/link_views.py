"""``ciam:unlink``, and what makes a sign-in one that is added to the user who is signed in."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from ciam_django.accounts.linking import unlink_identity
from ciam_django.errors import CiamError, Stage
from ciam_django.login.error_responses import protect_from_csrf
from ciam_django.login.redirects import redirect_response, requested_next, url_after_sign_in
from ciam_django.reporting import answer_and_report
from ciam_django.responses import response_for


def requested_link_user(request: HttpRequest) -> str:
    """The user to whom the form with ``link`` adds the sign-in that it begins; empty without."""
    if not request.POST.get("link"):
        return ""
    if not request.user.is_authenticated:
        raise CiamError("missing_token", stage=Stage.AUTHORIZE)
    return str(request.user.pk)


@login_not_required
@require_POST
@protect_from_csrf
def unlink(request: HttpRequest) -> HttpResponse:
    """``ciam:unlink``: the form's ``identity`` is no longer a way in for who is signed in."""
    given = request.POST.get("identity", "")
    # Of other digits than these, none is the key of a row.
    identity_id = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0
    try:
        unlink_identity(request, identity_id)
    except CiamError as error:
        return answer_link_error(request, error, requested_next(request))
    return redirect_response(url_after_sign_in(request, requested_next(request)))


def answer_link_error(request: HttpRequest, error: CiamError, next_url: str) -> HttpResponse:
    """The answer to who is signed in and could not change their ways in: the way out is back."""
    answer, context = answer_and_report(error, request), {}
    if answer.action_url is None:
        context = {
            "way_out": url_after_sign_in(request, next_url),
            "way_out_label": gettext("Back"),
        }
    return response_for(request, answer, context=context)
