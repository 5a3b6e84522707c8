"""The table of all that a person submits on the way in: name -> its form, and what comes of it.

A page and the JSON endpoints are two doors to it. Each ``submit`` asks CIAM, and returns the end of
the sign-in, or the ``Flow`` that says which step is next; what fails is a ``CiamError``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ciam_django.answers import answer_to, hides_account
from ciam_django.client.api import CiamClient
from ciam_django.client.values import SignedIn
from ciam_django.client.values import Step as Next
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.login import forms
from ciam_django.login.configured import login_page
from ciam_django.login.flows import Flow
from ciam_django.login.limits import (
    forget_tries,
    refuse_excess_sends,
    refuse_excess_tries,
    refuse_worn_code,
)
from ciam_django.login.providers import MINI_PROGRAM, registrations
from ciam_django.login.receivers import (
    Receiver,
    any_receiver,
    email_receiver,
    phone_receiver,
    username_of,
)

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """One submission: what was given, and the flow that it belongs to (an empty one at first).

    ``more`` is what goes along to CIAM: an answered captcha, the terms agreed to.
    """

    request: HttpRequest
    flow: Flow
    given: Mapping[str, Any]
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """The end of what is no sign-in, and what of ``notices.GOOD_NEWS`` to tell."""

    good_news: str


Outcome = SignedIn | Flow | Finished
Submit = Callable[[Turn], Outcome]


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A row: the form, the page's words, and what comes of it.

    ``lead`` may have ``{shown}`` in it, where a code went. ``others`` are the further buttons of
    the page: what they are called, and what they do. ``begins`` where no flow is needed.
    """

    form: type[forms.CiamForm]
    title: str | StrPromise
    lead: str | StrPromise
    button: str | StrPromise
    submit: Submit
    others: Mapping[str, tuple[str | StrPromise, Submit]] = dataclasses.field(default_factory=dict)
    template: str = "ciam_django/step.html"
    begins: bool = False
    has_consents: bool = False
    sends: bool = False


@contextlib.contextmanager
def _trying(turn: Turn, who: str, stage: str) -> Iterator[None]:
    """An attempt, which counts unless it succeeds; ``who`` is empty where nobody is named."""
    refuse_excess_tries(turn.request, who, stage)
    yield
    forget_tries(turn.request, who)


# --- To sign in -------------------------------------------------------------------------------


def _by_password(turn: Turn) -> Outcome:
    username = username_of(turn.given["username"])
    with _trying(turn, username, "password"):
        outcome = CiamClient().password_login(username, turn.given["password"], **turn.more)
    return gone_on(outcome, dataclasses.replace(turn.flow, who=username))


def _by_sms(turn: Turn) -> Outcome:
    return _code_sent(turn, phone_receiver(turn.given["phone_number"]), "code")


def _by_email(turn: Turn) -> Outcome:
    return _code_sent(turn, email_receiver(turn.given["email"]), "code")


def _by_code(turn: Turn) -> Outcome:
    code = turn.given["code"]
    return _proven(turn, lambda flow: CiamClient().verify_code(flow.flow_id, code, **flow.receiver))


# --- Codes ------------------------------------------------------------------------------------

# Step that takes the code -> who sends it, called with the flow, the channel and the rest.
_SENDERS: Final[Mapping[str, Callable[..., str]]] = {
    "code": lambda flow, *args, **more: CiamClient().obtain_code(*args, **more),
    "recover_code": lambda flow, *args, **more: CiamClient().recover_obtain_code(*args, **more),
    "sign_up_code": lambda flow, *args, **more: CiamClient().register_obtain_code(*args, **more),
    "link_code": lambda flow, *args, **more: CiamClient().link_obtain_code(
        flow.more["linked"], *args, **more
    ),
    "second_factor_code": lambda flow, *args, **more: CiamClient().prepare_second_factor(
        flow.flow_id, *args
    ),
}
_NAMES_OF_CHANNELS: Final = {"SMS": "SMS", "EMAIL": "Email"}


def _code_sent(turn: Turn, receiver: Receiver, then: str, **more: Any) -> Flow:
    """The flow of a code that is on its way, or that nobody may know is not."""
    flow = dataclasses.replace(
        turn.flow,
        step=then,
        receiver=receiver.parameters,
        who=receiver.key,
        shown=receiver.masked,
        more=more,
    )
    return _sent(dataclasses.replace(turn, flow=flow))


def _sent(turn: Turn) -> Flow:
    flow = turn.flow
    refuse_excess_sends(turn.request, flow.who, flow.channel)
    asked = {name: value for name, value in flow.receiver.items() if name != "type"}
    try:
        flow_id = _SENDERS[flow.step](flow, flow.channel, **asked, **turn.more)
    except CiamError as error:
        # To a stranger an account that isn't there looks like one that is: no code comes.
        if not hides_account(answer_to(error, turn.request)):
            raise
        flow_id = ""
    return dataclasses.replace(flow, flow_id=flow_id, sent_at=time.time())


def _proven(turn: Turn, verified: Callable[[Flow], SignedIn | Next]) -> Outcome:
    return gone_on(_verified(turn, verified), turn.flow)


def _verified(turn: Turn, verified: Callable[[Flow], T]) -> T:
    """What CIAM makes of the code, which wears out, be it one that was never sent."""
    flow = turn.flow
    name = _NAMES_OF_CHANNELS.get(flow.channel, "SMS")
    refuse_worn_code(f"{flow.id} {flow.sent_at}", name)
    with _trying(turn, flow.who, "verify_code"):
        if flow.flow_id:
            return verified(flow)
        # CIAM is asked all the same, or the time that it takes would tell.
        with contextlib.suppress(CiamError):
            verified(dataclasses.replace(flow, flow_id=secrets.token_hex(16)))
        raise CiamError(f"Operation.Failure.{name}.Code.Error", stage="verify_code")


# --- The second step --------------------------------------------------------------------------

# What CIAM's login page configuration calls them -> what its API does.
_FACTORS: Final = {"sms": "SMS", "email": "EMAIL", "pwd": "PWD"}


def _by_channel(turn: Turn) -> Outcome:
    channel, flow = turn.given["channel"], turn.flow
    if channel not in flow.more["channels"]:
        raise CiamError("Params.Illegal.Type", stage="send_code")
    if channel == "PWD":
        return dataclasses.replace(flow, step="second_factor_password")
    flow = dataclasses.replace(
        flow,
        step="second_factor_code",
        receiver={"type": channel},
        who=_second_who(flow),
        shown=flow.more["channels"][channel],
    )
    return _sent(dataclasses.replace(turn, flow=flow))


def _second_who(flow: Flow) -> str:
    """Whom the second step's codes are counted for: the account, however often it begins."""
    return f"second factor {flow.who or flow.flow_id}"


def _by_second_code(turn: Turn) -> Outcome:
    code = turn.given["code"]
    return _proven(
        turn,
        lambda flow: CiamClient().verify_second_factor(flow.flow_id, flow.channel, code=code),
    )


def _by_second_password(turn: Turn) -> Outcome:
    flow, password = turn.flow, turn.given["password"]
    with _trying(turn, _second_who(flow), "verify_code"):
        outcome = CiamClient().verify_second_factor(flow.flow_id, "PWD", password=password)
    return gone_on(outcome, flow)


def _other_channel(turn: Turn) -> Outcome:
    return dataclasses.replace(turn.flow, step="second_factor", sent_at=0)


# --- What else CIAM may ask for ---------------------------------------------------------------


def _with_password(turn: Turn) -> Outcome:
    password = turn.given["password"]
    return gone_on(CiamClient().set_new_password(turn.flow.flow_id, password), turn.flow)


def _with_consent(turn: Turn) -> Outcome:
    given = turn.given.get("consent", ())
    return gone_on(CiamClient().give_consent(turn.flow.flow_id, given), turn.flow)


def _with_profile(turn: Turn) -> Outcome:
    asked = {name: turn.given[forms.table_name(name)] for name in turn.flow.more["asked"]}
    if "email" in asked:
        asked["email"] = email_receiver(asked["email"]).email
    if "phoneNumber" in asked:
        receiver = phone_receiver(asked["phoneNumber"]).parameters
        asked |= {name: receiver[name] for name in ("phoneRegion", "phoneNumber")}
    return gone_on(CiamClient().complete_profile(turn.flow.flow_id, **asked), turn.flow)


def _without_profile(turn: Turn) -> Outcome:
    return gone_on(CiamClient().complete_profile(turn.flow.flow_id, ignore=True), turn.flow)


# --- A social account without an account ------------------------------------------------------


def _linked_to(turn: Turn) -> Outcome:
    receiver = any_receiver(turn.given["receiver"])
    return _code_sent(turn, receiver, "link_code", linked=turn.flow.flow_id)


def _linked(turn: Turn) -> Outcome:
    code = turn.given["code"]
    return _proven(
        turn, lambda flow: CiamClient().link_account(flow.flow_id, code, **flow.receiver)
    )


def _with_new_account(turn: Turn) -> Outcome:
    with _trying(turn, "", "social"):
        outcome = CiamClient().create_linked(turn.flow.flow_id)
    return gone_on(outcome, turn.flow)


# --- WeChat's mini program --------------------------------------------------------------------


def _source() -> str:
    """CIAM's source for it; who has none is not offered these steps."""
    return registrations()[MINI_PROGRAM].source


def _silently(turn: Turn) -> Outcome:
    with _trying(turn, "", "social"):
        outcome = CiamClient().mini_program_login(_source(), turn.given["login_code"])
    return gone_on(outcome, turn.flow)


def _by_phone_of_wechat(turn: Turn) -> Outcome:
    given = turn.given
    proof = {
        "phoneNumberCode": given["phone_code"],
        "phoneNumberEncryptedData": given["encrypted_data"],
        "phoneNumberIv": given["iv"],
    }
    proof = {name: value for name, value in proof.items() if value}
    with _trying(turn, "", "social"):
        outcome = CiamClient().mini_program_phone(_source(), given["login_code"], **proof)
    return gone_on(outcome, turn.flow)


def _by_user_info(turn: Turn) -> Outcome:
    given = turn.given
    with _trying(turn, "", "social"):
        outcome = CiamClient().mini_program_user_info(
            _source(), given["login_code"], given["encrypted_data"], given["iv"]
        )
    return gone_on(outcome, turn.flow)


# --- Recovery and sign-up ---------------------------------------------------------------------


def _recovery(turn: Turn) -> Outcome:
    return _code_sent(turn, any_receiver(turn.given["receiver"]), "recover_code")


def _recovered(turn: Turn) -> Outcome:
    code, password = turn.given["code"], turn.given["password"]
    _verified(
        turn,
        lambda flow: CiamClient().recover_submit(flow.flow_id, code, password, **flow.receiver),
    )
    return Finished("password_changed")


def _sign_up(turn: Turn) -> Outcome:
    return _code_sent(turn, any_receiver(turn.given["receiver"]), "sign_up_code")


def _signed_up(turn: Turn) -> Outcome:
    code, password = turn.given["code"], turn.given["password"]
    return _proven(
        turn,
        lambda flow: CiamClient().register_submit(
            flow.flow_id, code=code, password=password, **flow.receiver
        ),
    )


# --- The table --------------------------------------------------------------------------------

_RESEND: Final = {"resend": (_("Send a new code"), _sent)}

# fmt: off
STEPS: Final[Mapping[str, Step]] = {
    "password": Step(
        forms.PasswordForm, _("Password"), "", _("Sign in"), _by_password,
        begins=True, has_consents=True),
    "sms": Step(
        forms.SmsForm, _("SMS"), _("We'll text you a code to sign in with."),
        _("Send code"), _by_sms, begins=True,
        has_consents=True, sends=True),
    "email": Step(
        forms.EmailForm, _("Email"), _("We'll email you a code to sign in with."),
        _("Send code"), _by_email, begins=True,
        has_consents=True, sends=True),
    "recover": Step(
        forms.ReceiverForm, _("Reset your password"),
        _("Tell us the mobile number or email address of your account."),
        _("Send code"), _recovery, begins=True, sends=True),
    "sign_up": Step(
        forms.ReceiverForm, _("Create an account"),
        _("We'll send you a code to make sure that it's yours."),
        _("Send code"), _sign_up, begins=True,
        has_consents=True, sends=True),
    "code": Step(
        forms.CodeForm, _("Enter the code"),
        _("If there is an account for {shown}, a code has been sent there."),
        _("Sign in"), _by_code, _RESEND),
    "recover_code": Step(
        forms.CodeAndPasswordForm, _("Choose a new password"),
        _("If there is an account for {shown}, a code has been sent there."),
        _("Change password"), _recovered, _RESEND),
    "sign_up_code": Step(
        forms.CodeAndPasswordForm, _("Create an account"),
        _("A code has been sent to {shown}."), _("Create account"), _signed_up, _RESEND),
    "link_code": Step(
        forms.CodeForm, _("Enter the code"),
        _("If there is an account for {shown}, a code has been sent there."),
        _("Link account"), _linked, _RESEND),
    "second_factor": Step(
        forms.ChannelForm, _("Confirm that it's you"),
        _("One more step keeps your account safe."), "", _by_channel,
        template="ciam_django/channels.html"),
    "second_factor_code": Step(
        forms.CodeForm, _("Confirm that it's you"), _("A code has been sent to {shown}."),
        _("Confirm"), _by_second_code,
        {**_RESEND, "other": (_("Use another way"), _other_channel)}),
    "second_factor_password": Step(
        forms.ProvePasswordForm, _("Confirm that it's you"), _("Enter your password."),
        _("Confirm"), _by_second_password, {"other": (_("Use another way"), _other_channel)}),
    "new_password": Step(
        forms.NewPasswordForm, _("Choose a new password"),
        _("Your password has to be changed before you go on."), _("Continue"), _with_password),
    "consent": Step(
        forms.ConsentForm, _("Please agree to our terms"), _("They apply to your account."),
        _("Agree and continue"), _with_consent, has_consents=True),
    "profile": Step(
        forms.ProfileForm, _("Complete your information"), _("A few details are still missing."),
        _("Continue"), _with_profile, {"skip": (_("Skip for now"), _without_profile)}),
    "link": Step(
        forms.ReceiverForm, _("Link your account"),
        _("This sign-in isn't linked to an account yet. If you have one, tell us its mobile "
          "number or email address."),
        _("Send code"), _linked_to, {"create": (_("Create a new account"), _with_new_account)},
        sends=True),
    # As JSON alone.
    "mini_program": Step(
        forms.MiniProgramForm, _("Sign in"), "", "", _silently, begins=True),
    "mini_program_phone": Step(
        forms.MiniProgramPhoneForm, _("Sign in"), "", "", _by_phone_of_wechat, begins=True),
    "mini_program_user_info": Step(
        forms.MiniProgramUserInfoForm, _("Sign in"), "", "", _by_user_info, begins=True),
}

# CIAM's name of a step that a sign-in goes on with -> ours. The first two are in its
# documentation, the others unverified: CIAM_FLOW_TYPES has the last word.
FLOW_TYPES: Final[Mapping[str, str]] = {
    "NEED_TWO_FACTOR": "second_factor",
    "USER_UPDATE_PWD": "new_password",
    "NEED_CONSENT": "consent",
    "NEED_COMPLETE": "profile",
    "NEED_BIND": "link",
}
# fmt: on


def gone_on(outcome: SignedIn | Next, flow: Flow) -> SignedIn | Flow:
    """The end of the sign-in, or the flow with the step that CIAM asks for.

    A step that has no page here is a ``CiamError``: ``success: true`` is no sign-in.
    """
    if isinstance(outcome, SignedIn):
        return outcome
    name = {**FLOW_TYPES, **conf.CIAM_FLOW_TYPES}.get(outcome.flow_type, "")
    if name not in _DETAILS:
        raise CiamError("unsupported_step", upstream_text=f"the flowType is {outcome.flow_type}")
    return Flow(
        name,
        outcome.flow_id,
        next=flow.next,
        who=flow.who,
        id=flow.id,
        more=_DETAILS[name](outcome),
    )


# --- What a step of CIAM's brings along -------------------------------------------------------

# Upstream's words: only what can be nothing but a number or an address with its middle hidden.
_MASKED: Final = re.compile(r"[0-9+* -]{4,24}|[\w.+*-]{1,64}@[\w.*-]{3,64}")


def _channels(outcome: Next) -> dict[str, Any]:
    masks = {"SMS": "phoneNumber", "EMAIL": "email"}
    factors = login_page().second_factors or tuple(_FACTORS)
    channels = [_FACTORS[name] for name in factors if name in _FACTORS]
    return {"channels": {c: _mask(outcome.additional.get(masks.get(c, ""))) for c in channels}}


def _mask(value: object) -> str:
    return value if isinstance(value, str) and _MASKED.fullmatch(value) else ""


def _asked(outcome: Next) -> dict[str, Any]:
    listed = outcome.additional.get("fields")
    names = [name for name in listed if name in forms.PROFILE] if isinstance(listed, list) else []
    return {"asked": names or ["displayName"]}


def _nothing(outcome: Next) -> dict[str, Any]:
    return {}


_DETAILS: Final[Mapping[str, Callable[[Next], dict[str, Any]]]] = {
    "second_factor": _channels,
    "new_password": _nothing,
    "consent": _nothing,
    "profile": _asked,
    "link": _nothing,
}
