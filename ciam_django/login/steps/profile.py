"""The steps that set a new password, accept terms, complete a profile or create an account."""

from __future__ import annotations

from ciam_django.client.api import CiamClient
from ciam_django.errors import Stage
from ciam_django.login.recipients import email_recipient, phone_recipient
from ciam_django.login.steps.credentials import counting_attempt
from ciam_django.login.steps.flow import Submission, SubmitResult
from ciam_django.login.steps.forms import snake_case_name


def submit_new_password(submission: Submission) -> SubmitResult:
    password = submission.cleaned_data["password"]
    return CiamClient().set_new_password(submission.flow.ciam_flow_id, password)


def submit_consent(submission: Submission) -> SubmitResult:
    consent_ids = submission.cleaned_data.get("consent", ())
    return CiamClient().give_consent(submission.flow.ciam_flow_id, consent_ids)


def submit_profile(submission: Submission) -> SubmitResult:
    """Send the profile members that CIAM asked for.

    Raises a ``CiamError`` for an invalid email address or mobile number, before the call to CIAM.
    """
    data = submission.cleaned_data
    # The form may not ask for the city: the province is the city, too.
    profile = {
        name: data.get(snake_case_name(name)) or data["province"]
        for name in submission.flow.step_data["asked"]
    }
    if "email" in profile:
        profile["email"] = email_recipient(profile["email"]).email
    if "phoneNumber" in profile:
        region = data["phone_region"]
        parameters = phone_recipient(profile["phoneNumber"], region).api_parameters
        profile |= {name: parameters[name] for name in ("phoneRegion", "phoneNumber")}
    return CiamClient().complete_profile(submission.flow.ciam_flow_id, **profile)


def skip_profile(submission: Submission) -> SubmitResult:
    return CiamClient().complete_profile(submission.flow.ciam_flow_id, ignore=True)


def create_linked_account(submission: Submission) -> SubmitResult:
    with counting_attempt(submission, "", Stage.SOCIAL):
        return CiamClient().create_linked(submission.flow.ciam_flow_id)
