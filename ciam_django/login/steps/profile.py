"""What else CIAM asks for before somebody is in: a new password, terms, details, an account."""

from __future__ import annotations

from ciam_django.client.api import CiamClient
from ciam_django.errors import Stage
from ciam_django.login.recipients import email_recipient, phone_recipient
from ciam_django.login.steps.credentials import counting_attempt
from ciam_django.login.steps.forms import snake_case_name
from ciam_django.login.steps.results import StepResult, Submission, continue_flow


def submit_new_password(submission: Submission) -> StepResult:
    password = submission.cleaned_data["password"]
    return continue_flow(
        CiamClient().set_new_password(submission.flow.ciam_flow_id, password), submission.flow
    )


def submit_consent(submission: Submission) -> StepResult:
    consent_ids = submission.cleaned_data.get("consent", ())
    return continue_flow(
        CiamClient().give_consent(submission.flow.ciam_flow_id, consent_ids), submission.flow
    )


def submit_profile(submission: Submission) -> StepResult:
    profile = {
        name: submission.cleaned_data[snake_case_name(name)]
        for name in submission.flow.step_data["asked"]
    }
    if "email" in profile:
        profile["email"] = email_recipient(profile["email"]).email
    if "phoneNumber" in profile:
        receiver = phone_recipient(profile["phoneNumber"]).api_parameters
        profile |= {name: receiver[name] for name in ("phoneRegion", "phoneNumber")}
    return continue_flow(
        CiamClient().complete_profile(submission.flow.ciam_flow_id, **profile), submission.flow
    )


def skip_profile(submission: Submission) -> StepResult:
    return continue_flow(
        CiamClient().complete_profile(submission.flow.ciam_flow_id, ignore=True), submission.flow
    )


def create_linked_account(submission: Submission) -> StepResult:
    with counting_attempt(submission, "", Stage.SOCIAL):
        outcome = CiamClient().create_linked(submission.flow.ciam_flow_id)
    return continue_flow(outcome, submission.flow)
