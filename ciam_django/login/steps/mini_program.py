"""Signing in from a WeChat mini program, by what WeChat gives it."""

from __future__ import annotations

from ciam_django.client.api import CiamClient
from ciam_django.login.providers import MINI_PROGRAM, registrations
from ciam_django.login.steps.credentials import trying
from ciam_django.login.steps.results import Outcome, Turn, gone_on


def _source() -> str:
    """CIAM's source for it; who has none is not offered these steps."""
    return registrations()[MINI_PROGRAM].source


def silently(turn: Turn) -> Outcome:
    with trying(turn, "", "social"):
        outcome = CiamClient().mini_program_login(_source(), turn.given["login_code"])
    return gone_on(outcome, turn.flow)


def by_phone_of_wechat(turn: Turn) -> Outcome:
    given = turn.given
    proof = {
        "phoneNumberCode": given["phone_code"],
        "phoneNumberEncryptedData": given["encrypted_data"],
        "phoneNumberIv": given["iv"],
    }
    proof = {name: value for name, value in proof.items() if value}
    with trying(turn, "", "social"):
        outcome = CiamClient().mini_program_phone(_source(), given["login_code"], **proof)
    return gone_on(outcome, turn.flow)


def by_user_info(turn: Turn) -> Outcome:
    given = turn.given
    with trying(turn, "", "social"):
        outcome = CiamClient().mini_program_user_info(
            _source(), given["login_code"], given["encrypted_data"], given["iv"]
        )
    return gone_on(outcome, turn.flow)
