"""``add_error`` puts a ``CiamError`` at its field of a project's form."""

from __future__ import annotations

import pytest
from django import forms
from django.test import RequestFactory

from ciam_django.errors import CiamError
from ciam_django.forms import add_error


class ProjectForm(forms.Form):
    """As a project has it."""

    mobile = forms.CharField()
    password = forms.CharField()


SENT = {"mobile": "13800000000", "password": "x"}


def test_the_error_stands_at_the_field_that_the_project_names() -> None:
    form = ProjectForm(SENT)
    error = CiamError("Params.Exist.User.Phone.Number")
    answer = add_error(form, error, fields={"phone_number": "mobile"})

    assert answer.status == 409
    assert form.errors == {"mobile": [answer.detail]}


def test_it_stands_at_a_field_of_the_tables_name() -> None:
    form = ProjectForm(SENT)
    answer = add_error(form, CiamError("Params.Illegal.User.Password.Policy"))

    assert form.errors == {"password": [answer.detail]}


@pytest.mark.parametrize(
    "code", ["Operation.Failure.Username.Or.Password.Error", "Params.Exist.User.Email", "timeout"]
)
def test_any_other_stands_above_the_form(code: str) -> None:
    form = ProjectForm(SENT)
    answer = add_error(form, CiamError(code))

    assert form.non_field_errors() == [answer.detail]


def test_a_second_error_takes_the_place_of_the_first() -> None:
    form = ProjectForm({})
    add_error(form, CiamError("Params.Blank.User.Password"))
    answer = add_error(form, CiamError("Params.Illegal.User.Password"))

    assert form.errors["password"] == [answer.detail]


def test_a_stranger_learns_no_more_than_from_the_doors() -> None:
    form = ProjectForm(SENT)
    error = CiamError("Operation.Failure.User.Locked", stage="password")
    answer = add_error(form, error, RequestFactory().post("/"))

    assert answer.code == "Operation.Failure.Username.Or.Password.Error"
