"""What comes of a submission: the end of the sign-in, or the ``Flow`` with the next step."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.http import HttpRequest

from ciam_django.client.results import NextStep, SignedIn
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import PROFILE_FIELDS
from ciam_django.login.tenant_config import load_login_page


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """One submission: what was given, and the flow that it belongs to (an empty one at first).

    ``more`` is what goes along to CIAM: an answered captcha, the terms agreed to.
    """

    request: HttpRequest
    flow: Flow
    cleaned_data: Mapping[str, Any]
    extra_parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class FlowFinished:
    """The end of what is no sign-in, and what of ``notices.GOOD_NEWS`` to tell."""

    notice: str


StepResult = SignedIn | Flow | FlowFinished
SubmitFunction = Callable[[Submission], StepResult]


# CIAM's name of a step that a sign-in goes on with -> ours. The first two are in its
# documentation, the others unverified: CIAM_FLOW_TYPES has the last word.
FLOW_TYPES: Final[Mapping[str, str]] = {
    "NEED_TWO_FACTOR": "second_factor",
    "USER_UPDATE_PWD": "new_password",
    "NEED_CONSENT": "consent",
    "NEED_COMPLETE": "profile",
    "NEED_BIND": "link",
}


def continue_flow(outcome: SignedIn | NextStep, flow: Flow) -> SignedIn | Flow:
    """The end of the sign-in, or the flow with the step that CIAM asks for.

    A step that has no page here is a ``CiamError``: ``success: true`` is no sign-in.
    """
    if isinstance(outcome, SignedIn):
        return outcome
    name = {**FLOW_TYPES, **conf.CIAM_FLOW_TYPES}.get(outcome.flow_type, "")
    if name not in _DATA_OF_STEPS:
        raise CiamError("unsupported_step", upstream_text=f"the flowType is {outcome.flow_type}")
    return Flow(
        name,
        outcome.flow_id,
        next=flow.next,
        counted_name=flow.counted_name,
        id=flow.id,
        provider=flow.provider,
        link_to_user=flow.link_to_user,
        step_data=_DATA_OF_STEPS[name](outcome),
    )


# --- What a step of CIAM's brings along -------------------------------------------------------

# What CIAM's login page configuration calls them -> what its API does.
_CHANNELS_OF_FACTORS: Final = {"sms": "SMS", "email": "EMAIL", "pwd": "PWD"}
# Upstream's words: only what can be nothing but a number or an address with its middle hidden.
_MASKED_RECIPIENT: Final = re.compile(r"[0-9+* -]{4,24}|[\w.+*-]{1,64}@[\w.*-]{3,64}")


def _second_factor_data(ciam_step: NextStep) -> dict[str, Any]:
    masks = {"SMS": "phoneNumber", "EMAIL": "email"}
    factors = load_login_page().second_factors or tuple(_CHANNELS_OF_FACTORS)
    channels = [_CHANNELS_OF_FACTORS[name] for name in factors if name in _CHANNELS_OF_FACTORS]
    return {
        "channels": {c: _safe_mask(ciam_step.additional.get(masks.get(c, ""))) for c in channels}
    }


def _safe_mask(value: object) -> str:
    return value if isinstance(value, str) and _MASKED_RECIPIENT.fullmatch(value) else ""


def _profile_data(ciam_step: NextStep) -> dict[str, Any]:
    listed = ciam_step.additional.get("fields")
    names = [name for name in listed if name in PROFILE_FIELDS] if isinstance(listed, list) else []
    return {"asked": names or ["displayName"]}


def _no_data(ciam_step: NextStep) -> dict[str, Any]:
    return {}


_DATA_OF_STEPS: Final[Mapping[str, Callable[[NextStep], dict[str, Any]]]] = {
    "second_factor": _second_factor_data,
    "new_password": _no_data,
    "consent": _no_data,
    "profile": _profile_data,
    "link": _no_data,
}
