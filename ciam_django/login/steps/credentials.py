"""The steps that check a password, or send and check a code."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

from ciam_django.accounts import rate_limits
from ciam_django.accounts.backends import record_typed_name
from ciam_django.accounts.login import refuse_locked_out
from ciam_django.accounts.rate_limits import (
    Counted,
    count_password_without_captcha,
    count_send,
    counting_code_entry,
    subtract_password_without_captcha,
)
from ciam_django.accounts.session_store import end_sessions_of_user
from ciam_django.answers import answer_to, is_generic, kind_of
from ciam_django.client.api import CiamClient
from ciam_django.client.results import NextStep, SignedIn
from ciam_django.errors import CiamError, Stage
from ciam_django.kinds import Kind
from ciam_django.login.captcha import load_captcha_availability
from ciam_django.login.cookies import known_browser_id
from ciam_django.login.recipients import (
    Recipient,
    account_name,
    email_recipient,
    normalized_username,
    phone_or_email_recipient,
    phone_recipient,
)
from ciam_django.login.steps.flow import (
    Flow,
    FlowFinished,
    Submission,
    SubmitResult,
    earlier_flow,
    new_flow_id,
)
from ciam_django.login.steps.results import next_flow
from ciam_django.login.tenant_config import load_login_page
from ciam_django.reporting import report

T = TypeVar("T")


def counting_attempt(
    submission: Submission, typed_name: str, stage: Stage, counted_name: str = ""
) -> AbstractContextManager[Counted]:
    """Return a context manager that counts an attempt, and subtracts an attempt that succeeds.

    Raises ``too_many_requests`` above a rate limit, and if django-axes has locked the name out. The
    failures of the request are attributed to the name.

    ``typed_name`` is the name of the account; it is empty if the form names no account.
    ``counted_name`` is the name that the rate limits count, if it differs.
    """
    request = submission.request
    if typed_name:
        record_typed_name(request, typed_name)
    refuse_locked_out(request, stage)
    # The owner of another account must not get a count of its own for a name of this account.
    is_of_browser = not counted_name or typed_name
    known_browser = known_browser_id(request, typed_name) if is_of_browser else ""
    return rate_limits.counting_attempt(request, counted_name or typed_name, stage, known_browser)


# --- Sign-in ----------------------------------------------------------------------------------


def submit_password(submission: Submission) -> SubmitResult:
    """Count an attempt, and sign in with the password.

    Return the tokens, or the flow of the next step. Raises ``CiamError``: ``too_many_requests``
    above a rate limit, ``Params.Blank.CaptchaCode`` if the name needs a CAPTCHA, or the error of
    the sign-in.
    """
    username = normalized_username(submission.cleaned_data["username"])
    name = account_name(submission.cleaned_data["username"])
    with (
        counting_attempt(submission, name, Stage.PASSWORD) as counted,
        _asking_all_names_for_captcha(submission, name, counted),
    ):
        outcome = CiamClient().password_login(
            username, submission.cleaned_data["password"], **submission.extra_parameters
        )
    if isinstance(outcome, NextStep):
        return next_flow(outcome, dataclasses.replace(submission.flow, counted_name=name))
    return outcome


@contextlib.contextmanager
def _asking_all_names_for_captcha(
    submission: Submission, name: str, counted: Counted
) -> Iterator[None]:
    """Require a CAPTCHA after some failed passwords of a name, whether the account exists or not.

    CIAM asks for a CAPTCHA only if the account exists, and may check the CAPTCHA only then. So the
    generic answer does not tell if the CAPTCHA or the password was wrong. Other failures, such as a
    timeout, do not count. While CIAM gives no CAPTCHA, no name needs a CAPTCHA.

    ``counted`` has the counters of the attempt, from which a success is subtracted.
    """
    has_captcha = "captchaText" in submission.extra_parameters
    needs_captcha = not has_captcha and count_password_without_captcha(name, counted)
    # Strangers can enter wrong passwords for the name. If the tenant has no CAPTCHA, the owner of
    # the account could not sign in until the next day.
    if needs_captcha and load_captcha_availability():
        raise CiamError("Params.Blank.CaptchaCode", stage=Stage.PASSWORD)
    try:
        yield
    except BaseException as error:
        if isinstance(error, CiamError) and _is_password_or_captcha_refused(error):
            error.generic_code = (
                "password_or_captcha_refused"
                if has_captcha
                else "Operation.Failure.Username.Or.Password.Error"
            )
        elif not has_captcha:
            subtract_password_without_captcha(name)
        raise


def _is_password_or_captcha_refused(error: CiamError) -> bool:
    return kind_of(error) is Kind.CAPTCHA or is_generic(answer_to(error))


def send_sms_code(submission: Submission) -> SubmitResult:
    data = submission.cleaned_data
    return start_code_flow(
        submission, phone_recipient(data["phone_number"], data["phone_region"]), "code"
    )


def send_email_code(submission: Submission) -> SubmitResult:
    return start_code_flow(submission, email_recipient(submission.cleaned_data["email"]), "code")


def submit_code(submission: Submission) -> SubmitResult:
    code = submission.cleaned_data["code"]
    return submit_code_with(
        submission, lambda flow: CiamClient().verify_code(flow.ciam_flow_id, code, **flow.recipient)
    )


def _receiver_of(submission: Submission) -> Recipient:
    data = submission.cleaned_data
    return phone_or_email_recipient(data["receiver"], data["phone_region"])


# --- Codes ------------------------------------------------------------------------------------

# Step that takes the code -> the function that sends the code and returns the id of CIAM's flow.
# The arguments are the flow, the channel and the parameters of the API.
_SENDERS: Final[Mapping[str, Callable[..., str]]] = {
    "code": lambda flow, *args, **kwargs: CiamClient().obtain_code(*args, **kwargs),
    "recover_code": lambda flow, *args, **kwargs: CiamClient().recover_obtain_code(*args, **kwargs),
    "sign_up_code": lambda flow, *args, **kwargs: CiamClient().register_obtain_code(
        *args, **kwargs
    ),
    "link_code": lambda flow, *args, **kwargs: CiamClient().link_obtain_code(
        flow.step_data["linked"], *args, **kwargs
    ),
    "second_factor_code": lambda flow, *args, **kwargs: CiamClient().prepare_second_factor(
        flow.ciam_flow_id, *args
    ),
}
_CHANNEL_NAMES_IN_CODES: Final = {"SMS": "SMS", "EMAIL": "Email"}


def start_code_flow(
    submission: Submission, recipient: Recipient, next_step: str, **step_data: Any
) -> Flow:
    """Send a code and return the flow of ``next_step``, which takes the code.

    After the Back button, the earlier flow of the same recipient goes on, see ``_send_or_go_on``.
    ``step_data`` is stored in the flow. Raises ``CiamError`` like ``send_code``; see ``send_code``
    also for an account that does not exist.
    """
    flow = dataclasses.replace(
        submission.flow,
        step=next_step,
        recipient=recipient.api_parameters,
        counted_name=recipient.key,
        masked_recipient=recipient.masked,
        # The user agrees to the terms once; a resent code needs the same consents.
        step_data={**step_data, "consents": submission.extra_parameters.get("consents")},
    )
    earlier = earlier_flow(submission, flow)
    if earlier:
        earlier = dataclasses.replace(earlier, next=flow.next)
    return _send_or_go_on(dataclasses.replace(submission, flow=flow), earlier)


def _send_or_go_on(submission: Submission, earlier: Flow | None) -> Flow:
    """Send the flow's code and return the flow; return ``earlier`` if its code is still new.

    ``earlier`` is a flow that waits for a code of the same recipient. It is also returned, and the
    error is reported, if a rate limit refuses another code. Raises ``CiamError`` like
    ``send_code``.
    """
    if earlier and earlier.resend_wait:
        return earlier
    try:
        return send_code(submission)
    except CiamError as error:
        if not earlier or kind_of(error) is not Kind.RATE_LIMIT:
            raise
        report(error, submission.request)
        return earlier


def send_code(submission: Submission) -> Flow:
    """Count the code in the rate limits, send or resend the flow's code, and return the flow.

    If CIAM refuses because of the account, the error is reported and not raised, and the flow has
    no ``ciam_flow_id``. Raises the ``CiamError`` of a rate limit or of another failure.
    """
    flow = submission.flow
    record_typed_name(submission.request, flow.counted_name)
    refuse_locked_out(submission.request, Stage.SEND_CODE)
    # CIAM may check the account before the CAPTCHA, and ask for a CAPTCHA only if it exists.
    has_captcha = "captchaText" in submission.extra_parameters
    is_asked_of_all = not has_captcha and not _is_account_known(flow)
    if is_asked_of_all and load_login_page().wants_captcha_for_codes:
        raise CiamError("Params.Blank.CaptchaCode", stage=Stage.SEND_CODE)
    counted = count_send(
        submission.request,
        _limited_name(flow),
        flow.channel,
        known_browser_id(submission.request, flow.counted_name) if flow.counted_name else "",
    )
    parameters = {name: value for name, value in flow.recipient.items() if name != "type"}
    if consents := flow.step_data.get("consents"):
        parameters["consents"] = consents
    try:
        flow_id = _SENDERS[flow.step](
            flow, flow.channel, **{**parameters, **submission.extra_parameters}
        )
    except CiamError as error:
        # The user must not learn if an account exists, so the page shows no error and no code
        # arrives. At sign-up, the same is true if the account exists.
        answer = answer_to(error, submission.request)
        if _is_account_known(flow) or not is_generic(answer):
            # A hidden failure stays counted, because a code that was sent stays counted, too.
            if not _may_have_sent(error):
                counted.subtract_recipient()
            raise
        report(error, submission.request, answer)
        flow_id = ""
    # Whole seconds, because the length of the encrypted flow is compared.
    return dataclasses.replace(flow, ciam_flow_id=flow_id, sent_at=int(time.time()))


def _is_account_known(flow: Flow) -> bool:
    """Return True at the second step: the user has already proved that the account exists."""
    return flow.step == "second_factor_code"


def _may_have_sent(error: CiamError) -> bool:
    """Return True if CIAM may have sent the code: the response is late, or has no flow."""
    is_without_flow = error.code == "unreadable_answer" and error.upstream_status is None
    return error.code == "timeout" or is_without_flow


def submit_code_with(
    submission: Submission, verify: Callable[[Flow], SignedIn | NextStep]
) -> SubmitResult:
    """Check the code with ``check_code``; ``verify`` signs the user in or returns the next step."""
    return check_code(submission, verify)


def check_code(submission: Submission, verify: Callable[[Flow], T]) -> T:
    """Count the entry of the code, and return the result of ``verify``, which sends it to CIAM.

    Raises ``CiamError``: ``...Code.Too.Frequency`` after too many entries, ``too_many_requests``
    above a rate limit, or the error of ``verify``. The entries of each code are limited, also if
    CIAM has not sent the code. CIAM then gets a flow id that does not exist, because the answer
    would be faster without the call. The generic answer is the same for a wrong code, for an
    expired code, for a flow that does not exist, and for an account that cannot sign in.
    """
    flow = submission.flow
    name = _CHANNEL_NAMES_IN_CODES.get(flow.channel, "SMS")
    with (
        counting_code_entry(f"{flow.id} {flow.sent_at}", name),
        counting_attempt(submission, flow.counted_name, Stage.VERIFY_CODE, _limited_name(flow)),
    ):
        try:
            return verify(
                dataclasses.replace(flow, ciam_flow_id=flow.ciam_flow_id or secrets.token_hex(16))
            )
        except CiamError as error:
            if not _is_account_known(flow) and _depends_on_account(error):
                error.generic_code = (
                    "sign_up_refused"
                    if flow.step == "sign_up_code"
                    else f"Operation.Failure.{name}.Code.Error"
                )
            raise


def _depends_on_account(error: CiamError) -> bool:
    """Return True if CIAM may raise the error only if it has sent a code, or only if it has not."""
    answer = answer_to(error)
    is_of_code = answer.kind in (Kind.VERIFICATION, Kind.FLOW) or answer.field == "code"
    return is_of_code or is_generic(answer)


# --- The second step --------------------------------------------------------------------------


def choose_channel(submission: Submission) -> SubmitResult:
    """Return the password step for the channel ``PWD``; otherwise send a code by the channel.

    If this flow has a code of the channel already, see ``_send_or_go_on``. Raises
    ``Params.Illegal.Type`` for a channel that the step does not offer.
    """
    channel, flow = submission.cleaned_data["channel"], submission.flow
    if channel not in flow.step_data["channels"]:
        raise CiamError("Params.Illegal.Type", stage=Stage.SEND_CODE)
    if channel == "PWD":
        return dataclasses.replace(flow, step="second_factor_password")
    flow = dataclasses.replace(
        flow,
        step="second_factor_code",
        recipient={"type": channel},
        masked_recipient=flow.step_data["channels"][channel],
    )
    earlier_channel, sent_at = flow.step_data.get("sent", ("", 0))
    earlier = dataclasses.replace(flow, sent_at=sent_at) if earlier_channel == channel else None
    return _send_or_go_on(dataclasses.replace(submission, flow=flow), earlier)


def _limited_name(flow: Flow) -> str:
    """Return the name that the rate limits count.

    At the second step it is the same each time that the account signs in: the typed name, or after
    a social sign-in the account's masked recipients. Otherwise a client could start over and get
    more codes, and enter more codes.
    """
    if not flow.step.startswith("second_factor"):
        return flow.counted_name
    account = flow.counted_name or flow.step_data.get("account") or flow.ciam_flow_id
    return f"second factor {account}"


def submit_second_factor_code(submission: Submission) -> SubmitResult:
    code = submission.cleaned_data["code"]
    return submit_code_with(
        submission,
        lambda flow: CiamClient().verify_second_factor(flow.ciam_flow_id, flow.channel, code=code),
    )


def submit_second_factor_password(submission: Submission) -> SubmitResult:
    """Count an attempt, and verify the password as the second factor."""
    flow, password = submission.flow, submission.cleaned_data["password"]
    with counting_attempt(submission, flow.counted_name, Stage.VERIFY_CODE, _limited_name(flow)):
        return CiamClient().verify_second_factor(flow.ciam_flow_id, "PWD", password=password)


def choose_another_channel(submission: Submission) -> SubmitResult:
    """Return the flow with the step that offers the channels, without a call to CIAM."""
    flow = submission.flow
    step_data = dict(flow.step_data)
    if flow.sent_at:
        step_data["sent"] = (flow.channel, flow.sent_at)
    return dataclasses.replace(flow, step="second_factor", sent_at=0, step_data=step_data)


# --- A social account that is not linked to an account ----------------------------------------


def send_link_code(submission: Submission) -> SubmitResult:
    """Send a code in a flow of its own, so that the user can come back and change the recipient."""
    recipient, flow = _receiver_of(submission), submission.flow
    submission = dataclasses.replace(submission, flow=dataclasses.replace(flow, id=new_flow_id()))
    return start_code_flow(
        submission, recipient, "link_code", linked=flow.ciam_flow_id, link_step=flow.id
    )


def link_account(submission: Submission) -> SubmitResult:
    code = submission.cleaned_data["code"]
    return submit_code_with(
        submission,
        lambda flow: CiamClient().link_account(flow.ciam_flow_id, code, **flow.recipient),
    )


# --- Recovery and sign-up ---------------------------------------------------------------------


def send_recovery_code(submission: Submission) -> SubmitResult:
    return start_code_flow(submission, _receiver_of(submission), "recover_code")


def reset_password(submission: Submission) -> SubmitResult:
    """Set the new password if the code is right; the user is not signed in.

    If CIAM names the user, the sessions of the user end.
    """
    code, password = submission.cleaned_data["code"], submission.cleaned_data["password"]
    user_id = check_code(
        submission,
        lambda flow: CiamClient().recover_submit(
            flow.ciam_flow_id, code, password, **flow.recipient
        ),
    )
    if user_id:
        end_sessions_of_user(user_id)
    return FlowFinished("password_changed")


def send_sign_up_code(submission: Submission) -> SubmitResult:
    return start_code_flow(submission, _receiver_of(submission), "sign_up_code")


def create_account(submission: Submission) -> SubmitResult:
    code, password = submission.cleaned_data["code"], submission.cleaned_data["password"]
    return submit_code_with(
        submission,
        lambda flow: CiamClient().register_submit(
            flow.ciam_flow_id, code=code, password=password, **flow.recipient
        ),
    )
