"""Ask for the user's consent before the browser leaves for a social provider or for CIAM's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.utils.translation import override, pgettext

from ciam_django.conf import conf
from ciam_django.errors import Stage
from ciam_django.login.error_responses import login_page_url
from ciam_django.login.providers import Provider, registrations
from ciam_django.login.redirects import requested_next, set_opener_policy
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import ConsentForm
from ciam_django.login.steps.table import STEPS
from ciam_django.login.tenant_config import HOSTED, load_consents
from ciam_django.responses import (
    HTML,
    language_of_page,
    media_type_for,
    page_response,
    response_for,
)

SOCIAL: Final = "social"
_STAGES: Final = {SOCIAL: Stage.SOCIAL, HOSTED: Stage.AUTHORIZE}
# Characters of the ids that travel in a cookie.
_LONGEST_IDS: Final = 512


def load_consent_form(way: str, data: Any = None) -> ConsentForm | None:
    """Return the form with the terms for a way to sign in, or None if the way needs no consent.

    May call CIAM. ``data`` is the submitted data, or None for an empty form.
    """
    if way not in conf.CIAM_CONSENT_BEFORE or (way == HOSTED and not _is_beside_others()):
        return None
    consents = load_consents()
    return ConsentForm(data, flow=Flow("consent", ""), consents=consents) if consents else None


def _is_beside_others() -> bool:
    """Return True if the login page offers CIAM's page beside another way to sign in.

    Otherwise this site asks for nothing: CIAM's page shows the terms before the user types. A
    project with no other way than CIAM's page also needs no API.
    """
    has_provider = any(each.provider.has_page for each in registrations().values())
    methods = conf.CIAM_LOGIN_METHODS
    return HOSTED in methods and (len(methods) > 1 or has_provider)


def check_consent(
    request: HttpRequest, *, provider: Provider | None = None, link_to_user: str = ""
) -> Sequence[str] | HttpResponse:
    """Return the ids of the terms that the user agrees to, or the response if an id is missing.

    The response is a page with the box of the terms, whose button sends the request again, or JSON.
    The page shows an error only if the user has not ticked the box of this page. Without a
    provider, the browser leaves for CIAM's page. A signed-in user who links an identity is not
    asked.
    """
    way = SOCIAL if provider else HOSTED
    form = None if link_to_user else load_consent_form(way, request.POST)
    if form is None:
        return ()
    error = next(form.validation_errors(), None)
    if error is None:
        ids: Sequence[str] = form.cleaned_data["consent"]
        return ids if len("".join(ids)) <= _LONGEST_IDS else ()
    error.stage = _STAGES[way]
    answer = form.add_ciam_error(error, request)
    if media_type_for(request) != HTML:
        return response_for(request, answer)
    form.set_autofocus()
    was_asked = urlsplit(request.headers.get("Referer", "")).path == request.path
    next_url = requested_next(request)
    with override(language_of_page(request, answer)):
        button = (
            pgettext("ciam", "Continue with {name}").format(name=provider.label)
            if provider
            else pgettext("ciam", "Continue to sign in")
        )
    context = {
        "form": form if was_asked else ConsentForm(flow=form.flow, consents=form.consents),
        "form_url": request.path,
        "step": {"title": answer.title, "button": button},
        "lead": "" if was_asked else STEPS["consent"].lead,
        "at_field": True,
        "next": next_url,
        "back_url": login_page_url(next_url),
    }
    response = page_response(request, "ciam_django/step.html", context, answer)
    # With no-referrer, browsers hide the origin of a form, which Django's CSRF check needs.
    response["Referrer-Policy"] = "same-origin"
    set_opener_policy(request, response, next_url)
    return response
