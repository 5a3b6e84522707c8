"""The table of the steps: what each step shows, starts and sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ciam_django.login.steps.table import STEPS, Step

NAMES_OF_FIRST_STEPS = {
    "password", "sms", "email", "recover", "sign_up",
    "mini_program", "mini_program_phone", "mini_program_user_info", "native",
}  # fmt: skip


def steps_with(is_wanted: Callable[[Step], object]) -> set[str]:
    return {name for name, step in STEPS.items() if is_wanted(step)}


def names_with(part: str, names: Iterable[str] = STEPS) -> set[str]:
    return {name for name in names if part in name}


def test_each_other_step_continues_the_flow_of_a_first_step() -> None:
    assert steps_with(lambda step: step.starts_flow) == NAMES_OF_FIRST_STEPS


def test_the_steps_that_send_a_code_can_ask_for_a_captcha() -> None:
    assert steps_with(lambda step: step.sends_code) == {
        "sms", "email", "recover", "sign_up", "link",
    }  # fmt: skip


def test_the_terms_are_shown_where_a_sign_in_begins_and_where_ciam_asks_for_them() -> None:
    assert steps_with(lambda step: step.has_consents) == {
        "password", "sms", "email", "sign_up", "consent",
    }  # fmt: skip


def test_the_setting_of_a_way_decides_if_it_needs_the_terms() -> None:
    ways = {name: step.way for name, step in STEPS.items() if step.way}

    # The mini program signs in silently, before the user has seen any terms.
    assert ways == {
        **dict.fromkeys(["mini_program_phone", "mini_program_user_info"], "mini_program"),
        "native": "social",
    }


def test_only_the_steps_of_a_mini_program_are_of_its_provider() -> None:
    providers = {name: step.provider for name, step in STEPS.items() if step.provider}

    assert set(providers) == names_with("mini_program")
    assert set(providers.values()) == {"wechat-mini_program"}


def test_the_steps_of_an_app_have_no_texts_of_a_page() -> None:
    for name in ["native", *names_with("mini_program")]:
        assert (str(STEPS[name].lead), str(STEPS[name].button)) == ("", "")


def test_two_steps_have_a_page_of_their_own() -> None:
    templates = {name: step.template for name, step in STEPS.items()}

    assert {name: each for name, each in templates.items() if not each.endswith("/step.html")} == {
        "second_factor": "ciam_django/channels.html",
        "confirm_link": "ciam_django/confirm_link.html",
    }
