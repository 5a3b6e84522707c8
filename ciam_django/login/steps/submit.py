"""What was submitted in, what comes of it out: the same for the pages and for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from ciam_django.accounts.last_failure import tried_by
from ciam_django.accounts.login import sign_in_without_session
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import person_of
from ciam_django.client.results import SignedIn
from ciam_django.login.captcha import solved
from ciam_django.login.link_views import let_in
from ciam_django.login.steps.credentials import name_of
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import CiamForm
from ciam_django.login.steps.results import Outcome, Turn
from ciam_django.login.steps.table import STEPS
from ciam_django.login.tenant_config import consents, login_page


def form_of(flow: Flow, data: Mapping[str, Any] | None) -> CiamForm:
    """The form of the flow's step, with the terms and the picture that it may need."""
    row = STEPS[flow.step]
    return row.form(
        data,
        flow=flow,
        has_captcha="captcha" in (data or {})
        or (row.sends and login_page().wants_captcha_for_codes),
        consents=consents() if row.has_consents else (),
    )


def outcome_of(
    request: HttpRequest, flow: Flow, form: CiamForm, data: Mapping[str, Any]
) -> Outcome:
    """What comes of the form, or of another button of its page, which ``do`` names.

    Where the form itself is wrong, that is raised, with all its fields marked.
    """
    if flow.who:
        tried_by(request, name_of(flow.who))
    row = STEPS[flow.step]
    other = row.others.get(str(data.get("do", "")))
    if other:
        # It needs nothing of the form, but perhaps what a picture says.
        form.errors.clear()
    elif refused := list(form.refused()):
        for error in refused[1:]:
            form.put(error, request)
        raise refused[0]
    submit = other[1] if other else row.submit
    return submit(Turn(request, flow, form.cleaned_data, _more(request, form, data)))


def admitted(request: HttpRequest, outcome: SignedIn, flow: Flow, *, with_session: bool) -> None:
    """Let in whom CIAM has signed in, in a session or without; a ``CiamError`` if that can't be."""
    person = person_of(ciam_app(), outcome.data, None)
    person = dataclasses.replace(person, provider=flow.provider)
    if with_session:
        let_in(request, person, outcome.data, flow.link_to)
    else:
        sign_in_without_session(request, person)


def _more(request: HttpRequest, form: CiamForm, data: Mapping[str, Any]) -> dict[str, Any]:
    """What goes along to CIAM."""
    given = form.cleaned_data
    more: dict[str, Any] = {}
    if text := given.get("captcha"):
        more |= solved(request, text, str(data.get("captcha_id", "")))
    if agreed := given.get("consent"):
        more["consents"] = agreed
    return more
