"""What else CIAM asks for before somebody is in: a new password, terms, details, an account."""

from __future__ import annotations

from ciam_django.client.api import CiamClient
from ciam_django.login.recipients import email_receiver, phone_receiver
from ciam_django.login.steps.credentials import trying
from ciam_django.login.steps.forms import table_name
from ciam_django.login.steps.results import Outcome, Turn, gone_on


def with_new_password(turn: Turn) -> Outcome:
    password = turn.given["password"]
    return gone_on(CiamClient().set_new_password(turn.flow.flow_id, password), turn.flow)


def with_consent(turn: Turn) -> Outcome:
    given = turn.given.get("consent", ())
    return gone_on(CiamClient().give_consent(turn.flow.flow_id, given), turn.flow)


def with_profile(turn: Turn) -> Outcome:
    asked = {name: turn.given[table_name(name)] for name in turn.flow.more["asked"]}
    if "email" in asked:
        asked["email"] = email_receiver(asked["email"]).email
    if "phoneNumber" in asked:
        receiver = phone_receiver(asked["phoneNumber"]).parameters
        asked |= {name: receiver[name] for name in ("phoneRegion", "phoneNumber")}
    return gone_on(CiamClient().complete_profile(turn.flow.flow_id, **asked), turn.flow)


def without_profile(turn: Turn) -> Outcome:
    return gone_on(CiamClient().complete_profile(turn.flow.flow_id, ignore=True), turn.flow)


def with_new_account(turn: Turn) -> Outcome:
    with trying(turn, "", "social"):
        outcome = CiamClient().create_linked(turn.flow.flow_id)
    return gone_on(outcome, turn.flow)
