"""List inputs for the fake CIAM and their results; a panel beside the sign-in pages shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ciam_django.testing.accounts import CAPTCHA_TEXT, CODE, PASSWORD
from example import tenant


@dataclass(frozen=True, slots=True)
class SampleInput:
    """A text to type and a description of its result."""

    typed: str
    text: str | Promise


@dataclass(frozen=True, slots=True)
class SampleInputGroup:
    """Inputs for one kind of form field, which the heading names."""

    heading: str | Promise
    inputs: tuple[SampleInput, ...]


SAMPLE_INPUTS: Final = (
    SampleInputGroup(
        _("Always works"),
        (
            SampleInput(PASSWORD, _("Every account's password")),
            SampleInput(CODE, _("Every code that is sent")),
            SampleInput(CAPTCHA_TEXT, _("For any image")),
        ),
    ),
    SampleInputGroup(
        _("As the account, or as the last digits of a mobile number"),
        (
            SampleInput("li", _("Signs in")),
            SampleInput("careful · 0004", _("A second step follows")),
            SampleInput("stale · 0005", _("A new password is needed")),
            SampleInput("hesitant · 0006", _("Terms must be accepted")),
            SampleInput("unfinished · 0007", _("Details are missing")),
            SampleInput("thorough", _("Three steps follow, one after the other")),
            SampleInput("odd · 0008", _("An unknown step")),
            SampleInput("nobody · 0001", _("No such account, and the answer doesn't reveal it")),
            SampleInput("locked · 0002", _("The account is locked")),
            SampleInput("disabled · 0003", _("The account is disabled")),
        ),
    ),
    SampleInputGroup(
        _("As the username at WeChat, QQ and the others"),
        (
            SampleInput("stranger", _("An account must be linked")),
            SampleInput("unlinked", _("No account is linked, and sign-in ends here")),
        ),
    ),
    SampleInputGroup(
        _("As any name"),
        (
            SampleInput("fail:Operation.Failure.IP.Access.Invalid", _("Fails with that code")),
            SampleInput("slow:password", _("CIAM takes too long")),
        ),
    ),
)


def sample_inputs(request: HttpRequest) -> dict[str, Any]:
    """Give the panel to the templates of the sign-in pages if CIAM is the fake."""
    match = request.resolver_match
    is_shown = tenant.USES_FAKE and match is not None and match.app_name == "ciam"
    return {"tries": SAMPLE_INPUTS if is_shown else ()}
