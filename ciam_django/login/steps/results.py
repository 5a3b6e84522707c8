"""What comes of a submission: the end of the sign-in, or the ``Flow`` with the next step."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.http import HttpRequest

from ciam_django.client.results import SignedIn, Step
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import PROFILE
from ciam_django.login.tenant_config import login_page


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


# CIAM's name of a step that a sign-in goes on with -> ours. The first two are in its
# documentation, the others unverified: CIAM_FLOW_TYPES has the last word.
FLOW_TYPES: Final[Mapping[str, str]] = {
    "NEED_TWO_FACTOR": "second_factor",
    "USER_UPDATE_PWD": "new_password",
    "NEED_CONSENT": "consent",
    "NEED_COMPLETE": "profile",
    "NEED_BIND": "link",
}


def gone_on(outcome: SignedIn | Step, flow: Flow) -> SignedIn | Flow:
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
        provider=flow.provider,
        link_to=flow.link_to,
        more=_DETAILS[name](outcome),
    )


# --- What a step of CIAM's brings along -------------------------------------------------------

# What CIAM's login page configuration calls them -> what its API does.
_FACTORS: Final = {"sms": "SMS", "email": "EMAIL", "pwd": "PWD"}
# Upstream's words: only what can be nothing but a number or an address with its middle hidden.
_MASKED: Final = re.compile(r"[0-9+* -]{4,24}|[\w.+*-]{1,64}@[\w.*-]{3,64}")


def _channels(outcome: Step) -> dict[str, Any]:
    masks = {"SMS": "phoneNumber", "EMAIL": "email"}
    factors = login_page().second_factors or tuple(_FACTORS)
    channels = [_FACTORS[name] for name in factors if name in _FACTORS]
    return {"channels": {c: _mask(outcome.additional.get(masks.get(c, ""))) for c in channels}}


def _mask(value: object) -> str:
    return value if isinstance(value, str) and _MASKED.fullmatch(value) else ""


def _asked(outcome: Step) -> dict[str, Any]:
    listed = outcome.additional.get("fields")
    names = [name for name in listed if name in PROFILE] if isinstance(listed, list) else []
    return {"asked": names or ["displayName"]}


def _nothing(outcome: Step) -> dict[str, Any]:
    return {}


_DETAILS: Final[Mapping[str, Callable[[Step], dict[str, Any]]]] = {
    "second_factor": _channels,
    "new_password": _nothing,
    "consent": _nothing,
    "profile": _asked,
    "link": _nothing,
}
