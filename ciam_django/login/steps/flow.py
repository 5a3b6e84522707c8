"""``Flow``: a sign-in that goes on, sealed for the browser or the app that carries it."""

from __future__ import annotations

import dataclasses
import functools
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase

from ciam_django.client.results import NextStep, SignedIn
from ciam_django.login.cookies import EncryptedCookies

# Seconds: CIAM forgets a flow after as long.
FLOW_SECONDS: Final = 600
# Seconds between two codes to the same place, for the countdown.
_RESEND_SECONDS: Final = 60
_COOKIES: Final = EncryptedCookies(
    "ciam_django.login.steps.flow", "flow_", FLOW_SECONDS, max_count=3
)
_LONGEST: Final = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """Which step comes next, and what CIAM is told with it.

    ``flow_id`` is CIAM's, and empty where no code was sent and nobody may learn that.
    ``receiver`` is where the code went, as CIAM's API wants it; ``who`` names it in the limits, and
    ``shown`` to the person. ``sent_at`` is in seconds since the epoch, 0 where nothing was sent.
    ``more`` is what the step itself needs. ``provider`` is whom the person came from, if anybody;
    ``link_to`` is the user who adds this sign-in to theirs, if somebody does.
    """

    step: str
    ciam_flow_id: str = dataclasses.field(repr=False)
    next: str = dataclasses.field(default="", repr=False)
    recipient: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    counted_name: str = dataclasses.field(default="", repr=False)
    masked_recipient: str = dataclasses.field(default="", repr=False)
    sent_at: float = 0
    step_data: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    id: str = dataclasses.field(default_factory=functools.partial(secrets.token_urlsafe, 12))
    provider: str = ""
    link_to_user: str = ""

    @property
    def resend_wait(self) -> int:
        """Seconds until a new code can be sent."""
        return max(0, round(self.sent_at + _RESEND_SECONDS - time.time())) if self.sent_at else 0

    @property
    def channel(self) -> str:
        """``SMS`` or ``EMAIL``."""
        return self.recipient.get("type", "")


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """A form that was submitted at a step of a flow, which is a new flow at the first step.

    ``extra_parameters`` are sent to CIAM as well: a solved CAPTCHA, and the terms agreed to.
    """

    request: HttpRequest
    flow: Flow
    cleaned_data: Mapping[str, Any]
    extra_parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class FlowFinished:
    """The end of a flow that signs nobody in; ``notice`` is a key of ``notices.SUCCESS_TEXTS``."""

    notice: str


StepResult = SignedIn | Flow | FlowFinished
# A function of the table of steps may return the step that CIAM asks for, too.
SubmitResult = StepResult | NextStep
SubmitFunction = Callable[[Submission], SubmitResult]


# --- Cookies, and texts for apps --------------------------------------------------------------


def set_flow_cookie(request: HttpRequest, response: HttpResponseBase, flow: Flow) -> None:
    """Have the browser carry the flow."""
    _COOKIES.set(request, response, flow.id, dataclasses.asdict(flow))


def flow_from_cookie(request: HttpRequest, flow_id: str) -> Flow | None:
    """The flow of that id which this browser carries, if it is not too old."""
    return _flow_from_content(_COOKIES.content(request, flow_id, FLOW_SECONDS))


def delete_flow_cookie(response: HttpResponseBase, flow: Flow) -> None:
    """Have the browser drop a flow that is over."""
    _COOKIES.delete(response, flow.id)


def encrypted_flow(flow: Flow) -> str:
    """The flow for who has no cookies: an app hands it back with its next step."""
    return _COOKIES.encrypted(dataclasses.asdict(flow))


def decrypted_flow(text: str) -> Flow | None:
    """The flow that an app hands back, if it is not too old."""
    return (
        _flow_from_content(_COOKIES.decrypted(text, FLOW_SECONDS))
        if len(text) <= _LONGEST
        else None
    )


def _flow_from_content(content: dict[str, Any] | None) -> Flow | None:
    try:
        return Flow(**content) if content else None
    except TypeError:
        # Sealed by another version of us.
        return None
