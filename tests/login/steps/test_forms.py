"""Tests of ``add_error`` in a project's form, and of the forms of the steps."""

from __future__ import annotations

import pytest
from django import forms
from django.test import RequestFactory

from ciam_django.client.results import Consent
from ciam_django.errors import CiamError
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import (
    CODES_OF_FIELDS,
    PROFILE_FIELDS,
    CiamForm,
    ProfileForm,
    add_error,
    snake_case_name,
)
from ciam_django.login.steps.results import FLOW_TYPES
from ciam_django.login.steps.table import STEPS
from ciam_django.lookup import matched_row
from tests.rows import for_each_row


class ProjectForm(forms.Form):
    """A form of a project."""

    mobile = forms.CharField()
    password = forms.CharField()


SUBMITTED_DATA = {"mobile": "13800000000", "password": "x"}


def test_an_error_is_added_to_the_field_that_the_project_maps() -> None:
    form = ProjectForm(SUBMITTED_DATA)
    error = CiamError("Params.Exist.User.Phone.Number")
    answer = add_error(form, error, fields={"phone_number": "mobile"})

    assert answer.status == 409
    assert form.errors == {"mobile": [answer.detail]}


def test_an_error_is_added_to_the_field_with_the_name_in_the_table() -> None:
    form = ProjectForm(SUBMITTED_DATA)
    answer = add_error(form, CiamError("Params.Illegal.User.Password.Policy"))

    assert form.errors == {"password": [answer.detail]}


@pytest.mark.parametrize(
    "code", ["Operation.Failure.Username.Or.Password.Error", "Params.Exist.User.Email", "timeout"]
)
def test_an_error_without_a_field_of_the_form_is_shown_above_the_form(code: str) -> None:
    form = ProjectForm(SUBMITTED_DATA)
    answer = add_error(form, CiamError(code))

    assert form.non_field_errors() == [answer.detail]


def test_a_second_error_replaces_the_first_error() -> None:
    form = ProjectForm({})
    add_error(form, CiamError("Params.Blank.User.Password"))
    answer = add_error(form, CiamError("Params.Illegal.User.Password"))

    assert form.errors["password"] == [answer.detail]


def test_add_error_does_not_tell_an_anonymous_user_that_an_account_is_locked() -> None:
    form = ProjectForm(SUBMITTED_DATA)
    error = CiamError("Operation.Failure.User.Locked", stage="password")
    answer = add_error(form, error, RequestFactory().post("/"))

    assert answer.code == "Operation.Failure.Username.Or.Password.Error"


# --- The forms of the steps -------------------------------------------------------------------


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
