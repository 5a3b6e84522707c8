"""Tests of ``add_error`` in a project's form."""

from __future__ import annotations

import pytest
from django import forms
from django.test import RequestFactory

from ciam_django.errors import CiamError
from ciam_django.forms import add_error


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
