"""The step that asks the signed-in user before an identity is linked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.http import HttpRequest
from django.utils.translation import pgettext

from ciam_django.accounts.linking import refuse_other_user
from ciam_django.accounts.login import sign_in_or_link
from ciam_django.client.app import ciam_app
from ciam_django.client.person import Person, identify_token_holder
from ciam_django.errors import CiamError
from ciam_django.login.providers import registrations
from ciam_django.login.recipients import Recipient, email_recipient, phone_recipient
from ciam_django.login.steps.flow import Flow, FlowFinished, Submission, SubmitResult

_STEP: Final = "confirm_link"
# The characters of all claims in the JSON of a flow: a browser refuses a cookie above 4096 bytes.
_LONGEST_CLAIMS: Final = 600
# The functions that parse and mask a claim. CIAM's own mode names the claims in camel case.
_PARSERS: Final[Mapping[str, Callable[[str], Recipient]]] = {
    "phone_number": phone_recipient,
    "phoneNumber": phone_recipient,
    "email": email_recipient,
}


def confirmation_flow(request: HttpRequest, person: Person, access_token: str, flow: Flow) -> Flow:
    """Return the flow of the step that asks the user before the person is linked; may call CIAM.

    ``flow`` is the flow that has identified the person by a token response with the access token.
    Raises ``mismatching_state`` if the user ``flow.link_to_user`` is no longer signed in.
    """
    refuse_other_user(request, flow.link_to_user)
    return Flow(
        _STEP,
        "",
        next=flow.next,
        id=flow.id,
        provider=flow.provider,
        link_to_user=flow.link_to_user,
        sign_in=flow.sign_in,
        step_data={
            "issuer": person.issuer,
            "subject": person.subject,
            "claims": _short_claims(person.claims),
            "masked": _load_masked_recipient(person, access_token),
        },
    )


def submit_link(submission: Submission) -> SubmitResult:
    """Link the person of the flow to the user who started the flow.

    Raises ``CiamError``: ``mismatching_state`` if this user is no longer signed in,
    ``linked_elsewhere`` if the person is linked to another user, or ``storage_unavailable``.
    """
    flow = submission.flow
    refuse_other_user(submission.request, flow.link_to_user)
    data = flow.step_data
    person = Person(data["issuer"], data["subject"], data["claims"], flow.provider)
    sign_in_or_link(submission.request, person, {}, flow.link_to_user)
    return FlowFinished("linked", is_at_next=True)


def cancel_link(submission: Submission) -> SubmitResult:
    return FlowFinished("not_linked", is_at_next=True)


def identity_text(flow: Flow) -> str:
    """Return the text that names the identity to link; empty for other steps.

    The text has the name of the social provider, and the masked mobile number or email address.
    Other claims are text of CIAM or of the provider, so that they are not shown.
    """
    if flow.step != _STEP:
        return ""
    account: str = flow.step_data["masked"] or pgettext(
        "ciam", "the account you're signed in to there"
    )
    registration = registrations().get(flow.provider)
    return f"{registration.provider.label} ({account})" if registration else account


def _short_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shortest claims, with at most ``_LONGEST_CLAIMS`` characters as JSON."""
    lengths = {name: len(json.dumps({name: value})) for name, value in claims.items()}
    kept: dict[str, Any] = {}
    for name in sorted(lengths, key=lengths.__getitem__):
        if sum(lengths[each] for each in kept) + lengths[name] <= _LONGEST_CLAIMS:
            kept[name] = claims[name]
    return kept


def _load_masked_recipient(person: Person, access_token: str) -> str:
    """Return the masked mobile number or email address of the person, or an empty text.

    In CIAM's own mode, the token response often has no other data than the id of the person. A
    failed call of ``user/info`` gives an empty text, because the person is known without it.
    """
    app, masked = ciam_app(), _masked_recipient(person.claims)
    if masked or app.is_oidc:
        return masked
    try:
        holder = identify_token_holder(app, access_token)
    except CiamError:
        return ""
    return _masked_recipient(holder.claims) if holder.key == person.key else ""


def _masked_recipient(claims: Mapping[str, Any]) -> str:
    """Return the masked mobile number or email address of the claims, or an empty text."""
    for name, parse in _PARSERS.items():
        value = claims.get(name)
        if isinstance(value, str):
            with contextlib.suppress(CiamError):
                return parse(value).masked
    return ""
