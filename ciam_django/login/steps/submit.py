"""Functions of the pages and the JSON endpoints that build and submit the form of a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from django.http import HttpRequest

from ciam_django.accounts.backends import record_typed_name
from ciam_django.accounts.login import sign_in_or_link, sign_in_without_session
from ciam_django.accounts.session_store import end_sessions_of_person
from ciam_django.client.app import ciam_app
from ciam_django.client.person import identify_person
from ciam_django.client.results import NextStep, SignedIn
from ciam_django.conf import conf
from ciam_django.events import request_scope
from ciam_django.login.captcha import captcha_parameters
from ciam_django.login.names import with_told_name
from ciam_django.login.steps.flow import Flow, StepResult, Submission
from ciam_django.login.steps.forms import CiamForm
from ciam_django.login.steps.linking import confirmation_flow
from ciam_django.login.steps.results import next_flow
from ciam_django.login.steps.table import STEPS
from ciam_django.login.tenant_config import ACCOUNT_METHODS, load_consents, load_login_page

# Step -> login method. A flow without a ``method`` gets the login method of its step.
_ACCOUNT_METHODS: Final[Mapping[str, str]] = {
    step: name for name in ACCOUNT_METHODS for step in (name, f"{name}_code")
}


def build_form(flow: Flow, data: Mapping[str, Any] | None) -> CiamForm:
    """Return the form of the flow's step, with the terms and the CAPTCHA field if needed.

    Loads the terms and the tenant's login page if the step needs them, which may call CIAM.
    ``data`` is the submitted data, or None for an empty form. With data, all further events of the
    request have the id and the login method of the flow's sign-in.
    """
    if data is not None and (scope := request_scope.get()):
        scope.sign_in = flow.sign_in
        scope.method = flow.method or flow.provider or _ACCOUNT_METHODS.get(flow.step)
    row = STEPS[flow.step]
    has_consents = row.has_consents
    if row.way:
        has_consents = row.way in conf.CIAM_CONSENT_BEFORE or bool((data or {}).get("consent"))
    return row.form(
        data,
        flow=flow,
        has_captcha="captcha" in (data or {})
        or (row.sends_code and load_login_page().wants_captcha_for_codes),
        consents=load_consents() if has_consents else (),
    )


def submit_form(
    request: HttpRequest, flow: Flow, form: CiamForm, data: Mapping[str, Any]
) -> StepResult:
    """Submit the form, or the other button that ``do`` in ``data`` names, and return the result.

    Raise the first error of an invalid form as a ``CiamError``; the form shows the other errors.
    """
    if flow.counted_name:
        record_typed_name(request, flow.counted_name)
    row = STEPS[flow.step]
    other_button = row.others.get(str(data.get("do", "")))
    if other_button:
        # Another button needs no field of the form, except perhaps the CAPTCHA.
        form.errors.clear()
    elif validation_errors := list(form.validation_errors()):
        for error in validation_errors[1:]:
            form.add_ciam_error(error, request)
        raise validation_errors[0]
    submit = other_button[1] if other_button else row.submit
    result = submit(
        Submission(
            request,
            flow,
            form.cleaned_data,
            _extra_parameters(request, form, data),
            earlier_flow=str(data.get("flow", "")),
        )
    )
    return next_flow(result, flow) if isinstance(result, NextStep) else result


def finish_sign_in(
    request: HttpRequest, tokens: SignedIn, flow: Flow, *, with_session: bool
) -> SignedIn | Flow:
    """Sign in the user that the tokens belong to, with or without a session; return the tokens.

    With a session and ``flow.link_to_user``, nobody signs in: return the flow of the step that asks
    the user before the identity is linked. If the user has set a new password, the person's other
    sessions end. Raise a ``CiamError`` if the user cannot sign in.
    """
    result: SignedIn | Flow = tokens
    person = identify_person(ciam_app(), tokens.data, None)
    if flow.provider:
        person = dataclasses.replace(person, provider=flow.provider)
    if flow.told_name:
        person = with_told_name(person, flow.told_name)
    if with_session and flow.link_to_user:
        result = confirmation_flow(request, person, tokens.data["access_token"], flow)
    elif with_session:
        sign_in_or_link(request, person, tokens.data, "")
    else:
        sign_in_without_session(request, person)
    if flow.has_new_password or flow.step == "new_password":
        end_sessions_of_person(person.key, "password", except_for=request)
    return result


def _extra_parameters(
    request: HttpRequest, form: CiamForm, data: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the API parameters of a solved CAPTCHA and of the consents."""
    cleaned_data = form.cleaned_data
    parameters: dict[str, Any] = {}
    if text := cleaned_data.get("captcha"):
        captcha_id, form_id = str(data.get("captcha_id", "")), str(data.get("captcha_form", ""))
        parameters |= captcha_parameters(request, text, captcha_id, form_id)
    if consent_ids := cleaned_data.get("consent"):
        parameters["consents"] = consent_ids
    return parameters
