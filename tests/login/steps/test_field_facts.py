"""The facts of the fields in JSON are those of the inputs in the HTML of the pages."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Final

from django import forms

from ciam_django.client.results import Consent
from ciam_django.login.steps.field_facts import field_facts
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import PROFILE_FIELDS, CiamForm
from ciam_django.login.steps.table import STEPS
from tests.rows import for_each_row

CONSENT: Final = Consent("terms", "Terms", "https://example.com/terms", is_required=True, data={})
# The attributes of an input that are facts.
ATTRIBUTES: Final = ("type", "autocomplete", "inputmode", "maxlength")


class OwnForm(forms.Form):
    """A form with the choices and the widgets that the forms of the package may have."""

    size = forms.ChoiceField(choices=[("", "—"), ("Small", [("s", "S")]), ("l", "L")])
    about = forms.CharField(required=False, widget=forms.Textarea)


def form_of(name: str) -> CiamForm:
    step_data = {"asked": list(PROFILE_FIELDS), "channels": {"SMS": "138****0000", "PWD": ""}}
    flow = Flow(name, "", step_data=step_data)
    return STEPS[name].form(None, flow=flow, has_captcha=True, consents=[CONSENT])


def inputs_in(html: str) -> dict[str, Any]:
    """Name of an input -> its attributes."""
    inputs: dict[str, Any] = {}

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            attributes = dict(attrs)
            if name := attributes.get("name"):
                inputs[name] = attributes

    Parser().feed(html)
    return inputs


@for_each_row("name", STEPS)
def test_the_facts_of_a_text_field_are_the_attributes_of_its_input(name: str) -> None:
    form = form_of(name)
    facts = field_facts(form)
    inputs = inputs_in(str(form))

    assert [each["name"] for each in facts] == list(form.fields)
    for each in facts:
        assert each["required"] is form.fields[each["name"]].required
        if each["choices"] is None and each["type"] != "phone_region":
            attributes = inputs[each["name"]]
            expected = {key: attributes.get(key) for key in ATTRIBUTES}
            maxlength = str(each["maxlength"]) if each["maxlength"] else None
            assert {key: each[key] for key in ATTRIBUTES} | {"maxlength": maxlength} == expected


def test_choices_have_a_value_and_a_label() -> None:
    facts = {
        fact["name"]: (fact["type"], fact["choices"])
        for form in (OwnForm(), form_of("second_factor"), form_of("sms"))
        for fact in field_facts(form)
        if fact["name"] in ("size", "about", "channel", "consent")
    }

    assert facts == {
        "size": (
            "select",
            [
                {"value": "", "label": "—"},
                {"value": "s", "label": "S"},
                {"value": "l", "label": "L"},
            ],
        ),
        "about": ("text", None),
        "channel": (
            "select",
            [
                {"value": "SMS", "label": "Text me a code"},
                {"value": "PWD", "label": "Enter my password"},
            ],
        ),
        # The value is a list of ids.
        "consent": ("checkbox", [{"value": "terms", "label": "Terms"}]),
    }


def test_a_phone_region_has_no_choices_because_the_list_of_regions_is_sent_once() -> None:
    facts = {fact["name"]: fact for fact in field_facts(form_of("sms"))}

    assert facts["phone_region"]["type"] == "phone_region"
    assert facts["phone_region"]["choices"] is None
