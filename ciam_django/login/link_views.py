"""``ciam:unlink``, and what makes a sign-in one that is added to the user who is signed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from ciam_django.accounts.linking import link, unlink
from ciam_django.accounts.login import sign_in
from ciam_django.answers import answer_to
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from ciam_django.login.error_responses import csrf_answered
from ciam_django.login.redirects import after_sign_in, asked_next, redirect_to
from ciam_django.responses import response_for


def asked_link(request: HttpRequest) -> str:
    """The user to whom the form with ``link`` adds the sign-in that it begins; empty without."""
    if not request.POST.get("link"):
        return ""
    if not request.user.is_authenticated:
        raise CiamError("missing_token", stage="authorize")
    return str(request.user.pk)


def let_in(request: HttpRequest, person: Person, token: Mapping[str, Any], link_to: str) -> None:
    """Sign the person in, or add them to the user who began this, and is still signed in."""
    if not link_to:
        sign_in(request, person, token)
    elif str(request.user.pk) == link_to:
        link(request, person)
    else:
        # Somebody has signed out, or in as somebody else, in another tab.
        raise CiamError("mismatching_state", stage="callback")


@login_not_required
@require_POST
@csrf_answered
def take_away(request: HttpRequest) -> HttpResponse:
    """``ciam:unlink``: the form's ``identity`` is no longer a way in for who is signed in."""
    given = request.POST.get("identity", "")
    # Of other digits than these, none is the key of a row.
    identity_id = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0
    try:
        unlink(request, identity_id)
    except CiamError as error:
        return refused(request, error, asked_next(request))
    return redirect_to(after_sign_in(request, asked_next(request)))


def refused(request: HttpRequest, error: CiamError, next_url: str) -> HttpResponse:
    """The answer to who is signed in and could not change their ways in: the way out is back."""
    answer, context = answer_to(error, request), {}
    if answer.action_url is None:
        context = {"way_out": after_sign_in(request, next_url), "way_out_label": gettext("Back")}
    return response_for(request, answer, context=context)
