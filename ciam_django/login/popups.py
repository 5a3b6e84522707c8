"""``ciam:done``, the ``next`` of a sign-in in a pop-up window, which informs the opener."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ciam_django.login.redirects import OPENER_POLICY, url_after_sign_in
from ciam_django.responses import page_response


@login_not_required
@require_safe
@never_cache
def popup_done(request: HttpRequest) -> HttpResponse:
    """Show the page that informs the opener of the sign-in and closes the window.

    The page informs only pages at this site's origin. If no page waits, the browser goes on to
    ``next``.
    """
    context = {
        "next_url": url_after_sign_in(request, request.GET.get("next", "")),
        "is_signed_in": request.user.is_authenticated,
    }
    response = page_response(request, "ciam_django/done.html", context)
    response[OPENER_POLICY] = "same-origin"
    response["Referrer-Policy"] = "same-origin"
    return response
