"""What to type at the fake CIAM, and what comes of it: the panel beside the sign-in pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ciam_django.testing.accounts import CAPTCHA_TEXT, CODE, PASSWORD
from example import tenant


@dataclass(frozen=True, slots=True)
class Try:
    """What to type, and what comes of it."""

    typed: str
    text: str | Promise


@dataclass(frozen=True, slots=True)
class Group:
    """Where to type it."""

    heading: str | Promise
    tries: tuple[Try, ...]


GROUPS: Final = (
    Group(
        _("What always works"),
        (
            Try(PASSWORD, _("Every account's password")),
            Try(CODE, _("Every code that is sent")),
            Try(CAPTCHA_TEXT, _("For any picture")),
        ),
    ),
    Group(
        _("As the account; or a mobile number that ends so"),
        (
            Try("li", _("Signs in")),
            Try("careful · 0004", _("A second step follows")),
            Try("stale · 0005", _("A new password is wanted")),
            Try("hesitant · 0006", _("Terms are to be agreed to")),
            Try("unfinished · 0007", _("Details are missing")),
            Try("thorough", _("Three steps follow, one after the other")),
            Try("odd · 0008", _("A step that nobody knows")),
            Try("nobody · 0001", _("There is no such account, and nobody learns it")),
            Try("locked · 0002", _("The account is locked")),
            Try("disabled · 0003", _("The account is disabled")),
        ),
    ),
    Group(
        _("As the person at WeChat, QQ and the others"),
        (
            Try("stranger", _("An account is to be linked")),
            Try("unlinked", _("No account is linked, and that is all")),
        ),
    ),
    Group(
        _("As any name"),
        (
            Try("fail:Operation.Failure.IP.Access.Invalid", _("Fails with that code")),
            Try("slow:password", _("CIAM takes too long")),
        ),
    ),
)


def panel(request: HttpRequest) -> dict[str, Any]:
    """For the templates: the panel, on the sign-in pages, where CIAM is the fake."""
    match = request.resolver_match
    is_shown = tenant.USES_FAKE and match is not None and match.app_name == "ciam"
    return {"tries": GROUPS if is_shown else ()}
