"""``Flow``: a sign-in that goes on, sealed for the browser or the app that carries it."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase

from ciam_django.login.cookies import SealedCookies

# Seconds: CIAM forgets a flow after as long.
LIFETIME: Final = 600
# Seconds between two codes to the same place, for the countdown.
_BETWEEN_CODES: Final = 60
_COOKIES: Final = SealedCookies(__name__, "flow_", LIFETIME, most=3)
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
    flow_id: str = dataclasses.field(repr=False)
    next: str = dataclasses.field(default="", repr=False)
    receiver: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    who: str = dataclasses.field(default="", repr=False)
    shown: str = dataclasses.field(default="", repr=False)
    sent_at: float = 0
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    id: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(12))
    provider: str = ""
    link_to: str = ""

    @property
    def wait(self) -> int:
        """Seconds until a new code can be sent."""
        return max(0, round(self.sent_at + _BETWEEN_CODES - time.time())) if self.sent_at else 0

    @property
    def channel(self) -> str:
        """``SMS`` or ``EMAIL``."""
        return self.receiver.get("type", "")


def keep(request: HttpRequest, response: HttpResponseBase, flow: Flow) -> None:
    """Have the browser carry the flow."""
    _COOKIES.keep(request, response, flow.id, dataclasses.asdict(flow))


def kept(request: HttpRequest, flow_id: str) -> Flow | None:
    """The flow of that id which this browser carries, if it is not too old."""
    return _flow_of(_COOKIES.kept(request, flow_id, LIFETIME))


def forget(response: HttpResponseBase, flow: Flow) -> None:
    """Have the browser drop a flow that is over."""
    _COOKIES.forget(response, flow.id)


def sealed(flow: Flow) -> str:
    """The flow for who has no cookies: an app hands it back with its next step."""
    return _COOKIES.sealed(dataclasses.asdict(flow))


def opened(text: str) -> Flow | None:
    """The flow that an app hands back, if it is not too old."""
    return _flow_of(_COOKIES.opened(text, LIFETIME)) if len(text) <= _LONGEST else None


def _flow_of(content: dict[str, Any] | None) -> Flow | None:
    try:
        return Flow(**content) if content else None
    except TypeError:
        # Sealed by another version of us.
        return None
