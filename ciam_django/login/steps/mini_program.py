"""The steps that sign a user in from a WeChat mini program."""

from __future__ import annotations

from ciam_django.client.api import CiamClient
from ciam_django.errors import Stage
from ciam_django.login.providers import MINI_PROGRAM, registrations
from ciam_django.login.steps.credentials import counting_attempt
from ciam_django.login.steps.flow import Submission, SubmitResult


def _auth_source() -> str:
    """Return CIAM's authentication source for the mini program.

    The steps of this module are available only if the mini program is registered.
    """
    return registrations()[MINI_PROGRAM].source


def submit_login_code(submission: Submission) -> SubmitResult:
    with counting_attempt(submission, "", Stage.SOCIAL):
        return CiamClient().mini_program_login(
            _auth_source(), submission.cleaned_data["login_code"]
        )


def submit_wechat_phone(submission: Submission) -> SubmitResult:
    cleaned_data = submission.cleaned_data
    phone_parameters = {
        "phoneNumberCode": cleaned_data["phone_code"],
        "phoneNumberEncryptedData": cleaned_data["encrypted_data"],
        "phoneNumberIv": cleaned_data["iv"],
    }
    phone_parameters = {name: value for name, value in phone_parameters.items() if value}
    with counting_attempt(submission, "", Stage.SOCIAL):
        return CiamClient().mini_program_phone(
            _auth_source(),
            cleaned_data["login_code"],
            consents=submission.extra_parameters.get("consents", ()),
            **phone_parameters,
        )


def submit_wechat_user_info(submission: Submission) -> SubmitResult:
    cleaned_data = submission.cleaned_data
    with counting_attempt(submission, "", Stage.SOCIAL):
        return CiamClient().mini_program_user_info(
            _auth_source(),
            cleaned_data["login_code"],
            cleaned_data["encrypted_data"],
            cleaned_data["iv"],
            consents=submission.extra_parameters.get("consents", ()),
        )
