"""How a person proves it: passwords, and codes that are sent to a number or an address."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from ciam_django.accounts.backends import attribute_failures_to
from ciam_django.accounts.rate_limits import (
    count_attempt,
    count_code_entry,
    count_send,
    uncount_attempt,
)
from ciam_django.answers import answer_to, is_generic_sign_in
from ciam_django.client.api import CiamClient
from ciam_django.client.results import NextStep, SignedIn
from ciam_django.errors import CiamError, Stage
from ciam_django.login.recipients import (
    Recipient,
    email_recipient,
    normalized_username,
    phone_or_email_recipient,
    phone_recipient,
)
from ciam_django.login.steps.flow import Flow, FlowFinished, Submission, SubmitResult
from ciam_django.login.steps.results import next_flow
from ciam_django.reporting import report

T = TypeVar("T")


@contextlib.contextmanager
def counting_attempt(submission: Submission, counted_name: str, stage: Stage) -> Iterator[None]:
    """An attempt, which counts unless it succeeds; ``who`` is empty where nobody is named."""
    if counted_name:
        attribute_failures_to(submission.request, typed_name(counted_name))
    count_attempt(submission.request, counted_name, stage)
    yield
    uncount_attempt(submission.request, counted_name)


# --- To sign in -------------------------------------------------------------------------------


def submit_password(submission: Submission) -> SubmitResult:
    username = normalized_username(submission.cleaned_data["username"])
    with counting_attempt(submission, username, Stage.PASSWORD):
        outcome = CiamClient().password_login(
            username, submission.cleaned_data["password"], **submission.extra_parameters
        )
    if isinstance(outcome, NextStep):
        return next_flow(outcome, dataclasses.replace(submission.flow, counted_name=username))
    return outcome


def send_sms_code(submission: Submission) -> SubmitResult:
    return start_code_flow(
        submission, phone_recipient(submission.cleaned_data["phone_number"]), "code"
    )


def send_email_code(submission: Submission) -> SubmitResult:
    return start_code_flow(submission, email_recipient(submission.cleaned_data["email"]), "code")


def submit_code(submission: Submission) -> SubmitResult:
    code = submission.cleaned_data["code"]
    return submit_code_with(
        submission, lambda flow: CiamClient().verify_code(flow.ciam_flow_id, code, **flow.recipient)
    )


# --- Codes ------------------------------------------------------------------------------------

# Step that takes the code -> who sends it, called with the flow, the channel and the rest.
_SENDERS: Final[Mapping[str, Callable[..., str]]] = {
    "code": lambda flow, *args, **more: CiamClient().obtain_code(*args, **more),
    "recover_code": lambda flow, *args, **more: CiamClient().recover_obtain_code(*args, **more),
    "sign_up_code": lambda flow, *args, **more: CiamClient().register_obtain_code(*args, **more),
    "link_code": lambda flow, *args, **more: CiamClient().link_obtain_code(
        flow.step_data["linked"], *args, **more
    ),
    "second_factor_code": lambda flow, *args, **more: CiamClient().prepare_second_factor(
        flow.ciam_flow_id, *args
    ),
}
_CHANNEL_NAMES_IN_CODES: Final = {"SMS": "SMS", "EMAIL": "Email"}


def start_code_flow(
    submission: Submission, recipient: Recipient, next_step: str, **step_data: Any
) -> Flow:
    """The flow of a code that is on its way, or that nobody may know is not."""
    flow = dataclasses.replace(
        submission.flow,
        step=next_step,
        recipient=recipient.api_parameters,
        counted_name=recipient.key,
        masked_recipient=recipient.masked,
        # A new code is sent on the same terms.
        step_data={**step_data, "consents": submission.extra_parameters.get("consents")},
    )
    return send_code(dataclasses.replace(submission, flow=flow))


def send_code(submission: Submission) -> Flow:
    """The flow, whose code is sent, or sent anew."""
    flow = submission.flow
    attribute_failures_to(submission.request, typed_name(flow.counted_name))
    count_send(submission.request, flow.counted_name, flow.channel)
    parameters = {name: value for name, value in flow.recipient.items() if name != "type"}
    if consents := flow.step_data.get("consents"):
        parameters["consents"] = consents
    try:
        flow_id = _SENDERS[flow.step](
            flow, flow.channel, **{**parameters, **submission.extra_parameters}
        )
    except CiamError as error:
        # To a stranger an account that isn't there looks like one that is: no code comes. Who
        # takes the second step is none.
        is_anonymous_step = flow.step != "second_factor_code"
        answer = answer_to(error, submission.request)
        if not (is_anonymous_step and is_generic_sign_in(answer)):
            raise
        report(error, submission.request, answer)
        flow_id = ""
    return dataclasses.replace(flow, ciam_flow_id=flow_id, sent_at=time.time())


def submit_code_with(
    submission: Submission, verify: Callable[[Flow], SignedIn | NextStep]
) -> SubmitResult:
    """What comes of a code that ``verified`` gives to CIAM."""
    return check_code(submission, verify)


def check_code(submission: Submission, verify: Callable[[Flow], T]) -> T:
    """What CIAM makes of the code, which wears out, be it one that was never sent."""
    flow = submission.flow
    name = _CHANNEL_NAMES_IN_CODES.get(flow.channel, "SMS")
    count_code_entry(f"{flow.id} {flow.sent_at}", name)
    with counting_attempt(submission, flow.counted_name, Stage.VERIFY_CODE):
        if flow.ciam_flow_id:
            return verify(flow)
        # CIAM is asked all the same, or the time that it takes would tell.
        with contextlib.suppress(CiamError):
            verify(dataclasses.replace(flow, ciam_flow_id=secrets.token_hex(16)))
        raise CiamError(f"Operation.Failure.{name}.Code.Error", stage=Stage.VERIFY_CODE)


# --- The second step --------------------------------------------------------------------------


def choose_channel(submission: Submission) -> SubmitResult:
    channel, flow = submission.cleaned_data["channel"], submission.flow
    if channel not in flow.step_data["channels"]:
        raise CiamError("Params.Illegal.Type", stage=Stage.SEND_CODE)
    if channel == "PWD":
        return dataclasses.replace(flow, step="second_factor_password")
    flow = dataclasses.replace(
        flow,
        step="second_factor_code",
        recipient={"type": channel},
        counted_name=_second_factor_counted_name(flow),
        masked_recipient=flow.step_data["channels"][channel],
    )
    return send_code(dataclasses.replace(submission, flow=flow))


_SECOND_FACTOR_PREFIX: Final = "second factor "


def _second_factor_counted_name(flow: Flow) -> str:
    """Whom the second step's codes are counted for: the account, however often it begins."""
    return _SECOND_FACTOR_PREFIX + typed_name(flow.counted_name or flow.ciam_flow_id)


def typed_name(counted_name: str) -> str:
    """The name that was typed, of whom the limits count."""
    return counted_name.removeprefix(_SECOND_FACTOR_PREFIX)


def submit_second_factor_code(submission: Submission) -> SubmitResult:
    code = submission.cleaned_data["code"]
    return submit_code_with(
        submission,
        lambda flow: CiamClient().verify_second_factor(flow.ciam_flow_id, flow.channel, code=code),
    )


def submit_second_factor_password(submission: Submission) -> SubmitResult:
    flow, password = submission.flow, submission.cleaned_data["password"]
    with counting_attempt(submission, _second_factor_counted_name(flow), Stage.VERIFY_CODE):
        return CiamClient().verify_second_factor(flow.ciam_flow_id, "PWD", password=password)


def choose_another_channel(submission: Submission) -> SubmitResult:
    return dataclasses.replace(submission.flow, step="second_factor", sent_at=0)


# --- A social account without an account ------------------------------------------------------


def send_link_code(submission: Submission) -> SubmitResult:
    recipient = phone_or_email_recipient(submission.cleaned_data["receiver"])
    return start_code_flow(submission, recipient, "link_code", linked=submission.flow.ciam_flow_id)


def link_account(submission: Submission) -> SubmitResult:
    code = submission.cleaned_data["code"]
    return submit_code_with(
        submission,
        lambda flow: CiamClient().link_account(flow.ciam_flow_id, code, **flow.recipient),
    )


# --- Recovery and sign-up ---------------------------------------------------------------------


def send_recovery_code(submission: Submission) -> SubmitResult:
    return start_code_flow(
        submission, phone_or_email_recipient(submission.cleaned_data["receiver"]), "recover_code"
    )


def reset_password(submission: Submission) -> SubmitResult:
    code, password = submission.cleaned_data["code"], submission.cleaned_data["password"]
    check_code(
        submission,
        lambda flow: CiamClient().recover_submit(
            flow.ciam_flow_id, code, password, **flow.recipient
        ),
    )
    return FlowFinished("password_changed")


def send_sign_up_code(submission: Submission) -> SubmitResult:
    return start_code_flow(
        submission, phone_or_email_recipient(submission.cleaned_data["receiver"]), "sign_up_code"
    )


def create_account(submission: Submission) -> SubmitResult:
    code, password = submission.cleaned_data["code"], submission.cleaned_data["password"]
    return submit_code_with(
        submission,
        lambda flow: CiamClient().register_submit(
            flow.ciam_flow_id, code=code, password=password, **flow.recipient
        ),
    )
