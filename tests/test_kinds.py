"""Test the values of the kinds and actions."""

from __future__ import annotations

import logging

from ciam_django.kinds import DEFAULT_UPSTREAM_STATUS, KINDS, Action, Audience, Kind
from tests.rows import for_each_row

FAILURES = [kind for kind in Kind if kind is not Kind.SUCCESS]


def test_every_kind_has_a_row_in_the_order_of_the_kinds() -> None:
    assert list(KINDS) == list(Kind)


@for_each_row("kind", FAILURES)
def test_a_kind_of_failure_has_a_status_of_an_error(kind: Kind) -> None:
    assert 400 <= KINDS[kind].status <= 599
    assert KINDS[kind].status not in (502, 504), "proxies replace their bodies"


@for_each_row("kind", Kind)
def test_a_title_is_short_and_has_no_full_stop(kind: Kind) -> None:
    title = str(KINDS[kind].title)

    assert 0 < len(title) <= 40
    assert title[0].isupper()
    assert not title.endswith(".")


def test_each_kind_has_a_different_title() -> None:
    titles = [str(row.title) for row in KINDS.values()]

    assert len(set(titles)) == len(titles)


def test_a_misconfiguration_is_a_500_and_an_error_in_the_log() -> None:
    row = KINDS[Kind.CONFIGURATION]

    assert row.status == 500
    assert row.log_level == logging.ERROR
    assert row.audience is Audience.DEVELOPER


def test_an_upstream_failure_is_a_503_and_a_warning_in_the_log() -> None:
    row = KINDS[Kind.UPSTREAM]

    assert row.status == DEFAULT_UPSTREAM_STATUS == 503
    assert row.log_level == logging.WARNING


@for_each_row("kind", [k for k in FAILURES if k not in (Kind.CONFIGURATION, Kind.UPSTREAM)])
def test_a_failure_that_the_user_can_correct_is_info_in_the_log(kind: Kind) -> None:
    assert KINDS[kind].log_level == logging.INFO
    assert KINDS[kind].audience is Audience.USER


def test_there_are_fourteen_actions() -> None:
    assert {str(action) for action in Action} == {
        "none",
        "retry",
        "wait",
        "login",
        "restart",
        "resend_code",
        "change_input",
        "reset_password",
        "use_another_method",
        "complete_profile",
        "bind_account",
        "give_consent",
        "solve_captcha",
        "contact_support",
    }
