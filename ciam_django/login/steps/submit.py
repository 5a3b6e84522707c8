"""What was submitted in, what comes of it out: the same for the pages and for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from ciam_django.accounts.backends import attribute_failures_to
from ciam_django.accounts.login import sign_in_or_link, sign_in_without_session
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import identify_person
from ciam_django.client.results import NextStep, SignedIn
from ciam_django.login.captcha import captcha_parameters
from ciam_django.login.steps.credentials import typed_name
from ciam_django.login.steps.flow import Flow, StepResult, Submission
from ciam_django.login.steps.forms import CiamForm
from ciam_django.login.steps.results import next_flow
from ciam_django.login.steps.table import STEPS
from ciam_django.login.tenant_config import load_consents, load_login_page


def build_form(flow: Flow, data: Mapping[str, Any] | None) -> CiamForm:
    """The form of the flow's step, with the terms and the picture that it may need."""
    row = STEPS[flow.step]
    return row.form(
        data,
        flow=flow,
        has_captcha="captcha" in (data or {})
        or (row.sends_code and load_login_page().wants_captcha_for_codes),
        consents=load_consents() if row.has_consents else (),
    )


def submit_form(
    request: HttpRequest, flow: Flow, form: CiamForm, data: Mapping[str, Any]
) -> StepResult:
    """What comes of the form, or of another button of its page, which ``do`` names.

    Where the form itself is wrong, that is raised, with all its fields marked.
    """
    if flow.counted_name:
        attribute_failures_to(request, typed_name(flow.counted_name))
    row = STEPS[flow.step]
    other_button = row.others.get(str(data.get("do", "")))
    if other_button:
        # It needs nothing of the form, but perhaps what a picture says.
        form.errors.clear()
    elif validation_errors := list(form.validation_errors()):
        for error in validation_errors[1:]:
            form.add_ciam_error(error, request)
        raise validation_errors[0]
    submit = other_button[1] if other_button else row.submit
    result = submit(
        Submission(request, flow, form.cleaned_data, _extra_parameters(request, form, data))
    )
    return next_flow(result, flow) if isinstance(result, NextStep) else result


def finish_sign_in(
    request: HttpRequest, tokens: SignedIn, flow: Flow, *, with_session: bool
) -> None:
    """Let in whom CIAM has signed in, in a session or without; a ``CiamError`` if that can't be."""
    person = identify_person(ciam_app(), tokens.data, None)
    person = dataclasses.replace(person, provider=flow.provider)
    if with_session:
        sign_in_or_link(request, person, tokens.data, flow.link_to_user)
    else:
        sign_in_without_session(request, person)


def _extra_parameters(
    request: HttpRequest, form: CiamForm, data: Mapping[str, Any]
) -> dict[str, Any]:
    """What goes along to CIAM."""
    cleaned_data = form.cleaned_data
    parameters: dict[str, Any] = {}
    if text := cleaned_data.get("captcha"):
        parameters |= captcha_parameters(request, text, str(data.get("captcha_id", "")))
    if consent_ids := cleaned_data.get("consent"):
        parameters["consents"] = consent_ids
    return parameters
