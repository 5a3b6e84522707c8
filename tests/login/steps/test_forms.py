"""Tests of the forms of the steps, their fields and the codes of their fields."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from ciam_django.client.results import Consent
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import (
    CODES_OF_FIELDS,
    PROFILE_FIELDS,
    CiamForm,
    ProfileForm,
    snake_case_name,
)
from ciam_django.login.steps.results import FLOW_TYPES
from ciam_django.login.steps.table import STEPS
from ciam_django.lookup import matched_row
from tests.rows import for_each_row


def form_of(name: str) -> CiamForm:
    step_data = {"asked": list(PROFILE_FIELDS), "channels": {"SMS": ""}}
    return STEPS[name].form({}, flow=Flow(name, "", step_data=step_data))


@for_each_row("name", STEPS)
def test_the_code_of_each_blank_field_is_added_to_the_field(name: str) -> None:
    form = form_of(name)
    form.add_captcha()
    errors = list(form.validation_errors())

    required = [name for name, field in form.fields.items() if field.required]
    assert len(errors) == len(required) >= 1
    for error in errors:
        form.add_ciam_error(error, RequestFactory().post("/"))
    # The user does not type into the fields of these forms, so their errors have no field.
    if not name.startswith("mini_program") and name != "second_factor":
        assert not form.non_field_errors()


@for_each_row("field", CODES_OF_FIELDS)
def test_the_codes_of_each_field_are_in_the_table(field: str) -> None:
    for code in CODES_OF_FIELDS[field]:
        assert matched_row(code).matched_by in ("exact", "family")


@for_each_row("name", PROFILE_FIELDS)
def test_each_member_of_a_profile_has_a_field_with_codes(name: str) -> None:
    assert snake_case_name(name) in CODES_OF_FIELDS
    form = ProfileForm({}, flow=Flow("profile", "", step_data={"asked": [name]}))

    assert list(form.fields) == [snake_case_name(name)]


def test_each_step_that_ciam_asks_for_is_in_the_table_of_steps() -> None:
    assert set(FLOW_TYPES.values()) <= set(STEPS)


def test_a_text_that_is_too_long_has_the_code_of_an_invalid_value() -> None:
    form = STEPS["password"].form(
        {"username": "x" * 300, "password": "x"}, flow=Flow("password", "")
    )

    assert [error.code for error in form.validation_errors()] == ["Params.Illegal.User.Username"]


@pytest.mark.parametrize(
    ("required", "agreed_ids", "is_refused"),
    [
        ((True, True), ["a"], True),
        ((True, True), ["a", "b"], False),
        ((True, False), ["a"], False),
        ((True, False), ["b"], True),
        ((False, False), [], False),
        ((True, False), [], True),
        ((False, False), ["c"], True),
    ],
)
def test_a_user_must_agree_only_to_required_terms(
    required: tuple[bool, bool],
    agreed_ids: list[str],
    is_refused: bool,
) -> None:
    consents = [
        Consent(name, name, "", is_required, {})
        for name, is_required in zip("ab", required, strict=True)
    ]
    data = {"username": "li", "password": "x", "consent": agreed_ids}
    form = STEPS["password"].form(data, flow=Flow("password", ""), consents=consents)

    assert [e.code for e in form.validation_errors()] == (
        ["Params.Illegal.Consent"] if is_refused else []
    )
