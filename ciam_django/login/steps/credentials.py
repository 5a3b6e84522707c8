"""How a person proves it: passwords, and codes that are sent to a number or an address."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from ciam_django.accounts.last_failure import tried_by
from ciam_django.accounts.rate_limits import (
    forget_tries,
    refuse_excess_sends,
    refuse_excess_tries,
    refuse_worn_code,
)
from ciam_django.answers import answer_to, hides_account
from ciam_django.client.api import CiamClient
from ciam_django.client.results import SignedIn, Step
from ciam_django.errors import CiamError
from ciam_django.login.recipients import (
    Receiver,
    any_receiver,
    email_receiver,
    phone_receiver,
    username_of,
)
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.results import Finished, Outcome, Turn, gone_on

T = TypeVar("T")


@contextlib.contextmanager
def trying(turn: Turn, who: str, stage: str) -> Iterator[None]:
    """An attempt, which counts unless it succeeds; ``who`` is empty where nobody is named."""
    if who:
        tried_by(turn.request, name_of(who))
    refuse_excess_tries(turn.request, who, stage)
    yield
    forget_tries(turn.request, who)


# --- To sign in -------------------------------------------------------------------------------


def by_password(turn: Turn) -> Outcome:
    username = username_of(turn.given["username"])
    with trying(turn, username, "password"):
        outcome = CiamClient().password_login(username, turn.given["password"], **turn.more)
    return gone_on(outcome, dataclasses.replace(turn.flow, who=username))


def by_sms(turn: Turn) -> Outcome:
    return code_sent(turn, phone_receiver(turn.given["phone_number"]), "code")


def by_email(turn: Turn) -> Outcome:
    return code_sent(turn, email_receiver(turn.given["email"]), "code")


def by_code(turn: Turn) -> Outcome:
    code = turn.given["code"]
    return proven(turn, lambda flow: CiamClient().verify_code(flow.flow_id, code, **flow.receiver))


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


def code_sent(turn: Turn, receiver: Receiver, then: str, **more: Any) -> Flow:
    """The flow of a code that is on its way, or that nobody may know is not."""
    flow = dataclasses.replace(
        turn.flow,
        step=then,
        receiver=receiver.parameters,
        who=receiver.key,
        shown=receiver.masked,
        # A new code is sent on the same terms.
        more={**more, "consents": turn.more.get("consents")},
    )
    return sent(dataclasses.replace(turn, flow=flow))


def sent(turn: Turn) -> Flow:
    """The flow, whose code is sent, or sent anew."""
    flow = turn.flow
    tried_by(turn.request, name_of(flow.who))
    refuse_excess_sends(turn.request, flow.who, flow.channel)
    asked = {name: value for name, value in flow.receiver.items() if name != "type"}
    if consents := flow.more.get("consents"):
        asked["consents"] = consents
    try:
        flow_id = _SENDERS[flow.step](flow, flow.channel, **{**asked, **turn.more})
    except CiamError as error:
        # To a stranger an account that isn't there looks like one that is: no code comes. Who
        # takes the second step is none.
        is_stranger = flow.step != "second_factor_code"
        if not (is_stranger and hides_account(answer_to(error, turn.request))):
            raise
        flow_id = ""
    return dataclasses.replace(flow, flow_id=flow_id, sent_at=time.time())


def proven(turn: Turn, verified: Callable[[Flow], SignedIn | Step]) -> Outcome:
    """What comes of a code that ``verified`` gives to CIAM."""
    return gone_on(outcome_of_code(turn, verified), turn.flow)


def outcome_of_code(turn: Turn, verified: Callable[[Flow], T]) -> T:
    """What CIAM makes of the code, which wears out, be it one that was never sent."""
    flow = turn.flow
    name = _NAMES_OF_CHANNELS.get(flow.channel, "SMS")
    refuse_worn_code(f"{flow.id} {flow.sent_at}", name)
    with trying(turn, flow.who, "verify_code"):
        if flow.flow_id:
            return verified(flow)
        # CIAM is asked all the same, or the time that it takes would tell.
        with contextlib.suppress(CiamError):
            verified(dataclasses.replace(flow, flow_id=secrets.token_hex(16)))
        raise CiamError(f"Operation.Failure.{name}.Code.Error", stage="verify_code")


# --- The second step --------------------------------------------------------------------------


def by_channel(turn: Turn) -> Outcome:
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
    return sent(dataclasses.replace(turn, flow=flow))


_SECOND: Final = "second factor "


def _second_who(flow: Flow) -> str:
    """Whom the second step's codes are counted for: the account, however often it begins."""
    return _SECOND + name_of(flow.who or flow.flow_id)


def name_of(who: str) -> str:
    """The name that was typed, of whom the limits count."""
    return who.removeprefix(_SECOND)


def by_second_code(turn: Turn) -> Outcome:
    code = turn.given["code"]
    return proven(
        turn,
        lambda flow: CiamClient().verify_second_factor(flow.flow_id, flow.channel, code=code),
    )


def by_second_password(turn: Turn) -> Outcome:
    flow, password = turn.flow, turn.given["password"]
    with trying(turn, _second_who(flow), "verify_code"):
        outcome = CiamClient().verify_second_factor(flow.flow_id, "PWD", password=password)
    return gone_on(outcome, flow)


def other_channel(turn: Turn) -> Outcome:
    return dataclasses.replace(turn.flow, step="second_factor", sent_at=0)


# --- A social account without an account ------------------------------------------------------


def linked_to(turn: Turn) -> Outcome:
    receiver = any_receiver(turn.given["receiver"])
    return code_sent(turn, receiver, "link_code", linked=turn.flow.flow_id)


def linked(turn: Turn) -> Outcome:
    code = turn.given["code"]
    return proven(turn, lambda flow: CiamClient().link_account(flow.flow_id, code, **flow.receiver))


# --- Recovery and sign-up ---------------------------------------------------------------------


def recovery(turn: Turn) -> Outcome:
    return code_sent(turn, any_receiver(turn.given["receiver"]), "recover_code")


def recovered(turn: Turn) -> Outcome:
    code, password = turn.given["code"], turn.given["password"]
    outcome_of_code(
        turn,
        lambda flow: CiamClient().recover_submit(flow.flow_id, code, password, **flow.receiver),
    )
    return Finished("password_changed")


def sign_up(turn: Turn) -> Outcome:
    return code_sent(turn, any_receiver(turn.given["receiver"]), "sign_up_code")


def signed_up(turn: Turn) -> Outcome:
    code, password = turn.given["code"], turn.given["password"]
    return proven(
        turn,
        lambda flow: CiamClient().register_submit(
            flow.flow_id, code=code, password=password, **flow.receiver
        ),
    )
