"""``Flow``, a sign-in with further steps, encrypted for the browser or the app that stores it."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from django.http import HttpRequest, HttpResponseBase

from ciam_django.client.crypto import from_stored
from ciam_django.client.results import NextStep, SignedIn
from ciam_django.events import new_sign_in_id
from ciam_django.login.cookies import EncryptedCookies

# Seconds for which a flow is valid. CIAM deletes a flow after the same time.
FLOW_SECONDS: Final = 600
# Seconds that the countdown shows between two codes to the same recipient.
_RESEND_SECONDS: Final = 60
_COOKIES: Final = EncryptedCookies(
    "ciam_django.login.steps.flow", "flow_", FLOW_SECONDS, max_count=3
)
_LONGEST: Final = 4096
# The JSON of a flow is padded to a multiple of this length. The id of CIAM's flow counts as at
# least _FLOW_ID_LENGTH characters.
_PADDED_LENGTH: Final = 512
_FLOW_ID_LENGTH: Final = 64


new_flow_id: Final = functools.partial(secrets.token_urlsafe, 12)


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """The next step of a sign-in, with the data that the step sends to CIAM.

    ``ciam_flow_id`` is the id of CIAM's flow; it is empty if no code was sent and the user must not
    learn that. ``recipient`` holds the recipient of the code as parameters of CIAM's API,
    ``counted_name`` is the name that the rate limits count, and ``masked_recipient`` is the text on
    the page. ``sent_at`` is in seconds since the epoch, or 0 if no code was sent. ``step_data`` is
    the data of the step itself. ``provider`` is the name of the social provider, or empty.
    ``link_to_user`` is the primary key of the user to link the identity to, or empty.
    ``has_new_password`` is True if a step of the sign-in has set a new password. ``method`` is the
    name of the login method or provider with which the sign-in has begun, or empty. ``told_name``
    has the claims of ``login/names.py``, for a new user. ``sign_in`` is the fact of the events of
    the sign-in.
    """

    step: str
    ciam_flow_id: str = dataclasses.field(repr=False)
    next: str = dataclasses.field(default="", repr=False)
    recipient: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    counted_name: str = dataclasses.field(default="", repr=False)
    masked_recipient: str = dataclasses.field(default="", repr=False)
    sent_at: float = 0
    step_data: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    id: str = dataclasses.field(default_factory=new_flow_id)
    provider: str = ""
    link_to_user: str = ""
    has_new_password: bool = False
    method: str = ""
    told_name: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    sign_in: str = dataclasses.field(default_factory=new_sign_in_id)

    @property
    def resend_wait(self) -> int:
        """The seconds until a new code can be sent."""
        return max(0, round(self.sent_at + _RESEND_SECONDS - time.time())) if self.sent_at else 0

    @property
    def channel(self) -> str:
        """``SMS`` or ``EMAIL``; empty if the flow has no recipient."""
        return self.recipient.get("type", "")


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """A submitted form of a step; at the first step, ``flow`` is a new flow.

    ``extra_parameters`` are further parameters for CIAM's API: a solved CAPTCHA and the consents.
    ``earlier_flow`` is the encrypted flow that an app has sent with the first step, or empty.
    """

    request: HttpRequest
    flow: Flow
    cleaned_data: Mapping[str, Any] = dataclasses.field(repr=False)
    extra_parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    earlier_flow: str = dataclasses.field(default="", repr=False)


class FlowFinished(NamedTuple):
    """The end of a flow without a sign-in; ``notice`` is a key of ``notices.SUCCESS_TEXTS``.

    The next page is the login page with the notice, or ``next`` if ``is_at_next`` is True.
    """

    notice: str
    is_at_next: bool = False


StepResult = SignedIn | Flow | FlowFinished
# A submit function in the table of steps can also return the step that CIAM asks for.
SubmitResult = StepResult | NextStep
SubmitFunction = Callable[[Submission], SubmitResult]


# --- Encrypted flows in cookies and in JSON ---------------------------------------------------


def set_flow_cookie(request: HttpRequest, response: HttpResponseBase, flow: Flow) -> None:
    """Store the flow in an encrypted cookie."""
    _COOKIES.set(request, response, flow.id, _padded_content(flow))


def flow_from_cookie(request: HttpRequest, flow_id: str) -> Flow | None:
    """Return the flow with this id from its cookie, or None if it is missing or too old."""
    return from_stored(Flow, _COOKIES.content(request, flow_id, FLOW_SECONDS))


def delete_flow_cookie(request: HttpRequest, response: HttpResponseBase, flow: Flow) -> None:
    """Delete the cookie of a flow that has ended."""
    _COOKIES.delete(request, response, flow.id)


def encrypted_flow(flow: Flow) -> str:
    """Return the flow as an encrypted text, for an app, which sends it back with the next step."""
    return _COOKIES.encrypted(_padded_content(flow))


def decrypted_flow(text: str) -> Flow | None:
    """Return the flow of an encrypted text, or None if the text is invalid or too old."""
    return (
        from_stored(Flow, _COOKIES.decrypted(text, FLOW_SECONDS)) if len(text) <= _LONGEST else None
    )


def earlier_flow(submission: Submission, flow: Flow) -> Flow | None:
    """Return the flow of an earlier submission that waits for the code of the same recipient.

    The browser has the flow in a cookie, or the app has sent the flow. Return None if there is no
    such flow, or if the flow is too old.
    """
    contents = _COOKIES.contents(submission.request, FLOW_SECONDS)
    earlier_flows = [from_stored(Flow, content) for content in contents]
    earlier_flows.append(decrypted_flow(submission.earlier_flow))
    for earlier in filter(None, earlier_flows):
        if _purpose_of(earlier) == _purpose_of(flow):
            return earlier
    return None


def flow_of_code(request: HttpRequest, step: str, channel: str = "") -> Flow | None:
    """Return the newest flow of this browser that waits for a code at the step, or None.

    ``channel`` is the channel of the code; an empty text accepts each channel. A flow that links an
    identity to the signed-in user is left out, and so is a flow whose code has expired: a new
    cookie with another ``next`` does not make the code last longer.
    """
    contents = _COOKIES.contents(request, FLOW_SECONDS)
    for flow in filter(None, (from_stored(Flow, content) for content in contents)):
        is_wanted = flow.step == step and channel in ("", flow.channel) and not flow.link_to_user
        if is_wanted and time.time() < flow.sent_at + FLOW_SECONDS:
            return flow
    return None


def _purpose_of(flow: Flow) -> tuple[object, ...]:
    linked = flow.step_data.get("linked")
    return flow.step, dict(flow.recipient), flow.link_to_user, flow.provider, linked


def _padded_content(flow: Flow) -> dict[str, Any]:
    """Return the fields of the flow, and a padding that hides if CIAM has sent a code.

    Without an account there is no id of CIAM's flow. The encrypted texts then have the same length.
    """
    content = {name: value for name, value in dataclasses.asdict(flow).items() if value}
    content |= {"ciam_flow_id": flow.ciam_flow_id, "padding": ""}
    length = len(json.dumps(content))
    counted_length = length + max(0, _FLOW_ID_LENGTH - len(flow.ciam_flow_id))
    padded_length = math.ceil(counted_length / _PADDED_LENGTH) * _PADDED_LENGTH
    return content | {"padding": " " * (padded_length - length)}
