"""The facts of a form's fields as JSON, for front ends that draw the form themselves.

The facts come from the same fields and widgets as the HTML of the pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

from django import forms
from django.forms.widgets import ChoiceWidget

from ciam_django.login.steps.forms import PhoneRegionSelect

# A choice widget whose value is a list is drawn as one checkbox for each choice.
_SEVERAL_VALUES = "checkbox"


def field_facts(form: forms.Form) -> list[dict[str, Any]]:
    """Return the facts of each field, in the order of the form.

    ``type`` is the type of the HTML input, ``select`` for one of the ``choices``, or ``checkbox``
    for a list of values of the ``choices``. A fact that the field does not have is None. A field of
    the type ``phone_region`` has no ``choices``: the choices are the ``phone_regions`` that
    ``ciam:api`` lists once for all forms.
    """
    return [_facts(name, field) for name, field in form.fields.items()]


def _facts(name: str, field: forms.Field) -> dict[str, Any]:
    widget = field.widget
    return {
        "name": name,
        "label": field.label or "",
        "type": _type_of(widget),
        "required": field.required,
        "autocomplete": widget.attrs.get("autocomplete"),
        "inputmode": widget.attrs.get("inputmode"),
        "maxlength": getattr(field, "max_length", None),
        "choices": list(_choices(widget.choices)) if _lists_choices(widget) else None,
    }


def _lists_choices(widget: forms.Widget) -> TypeGuard[ChoiceWidget]:
    return isinstance(widget, ChoiceWidget) and not isinstance(widget, PhoneRegionSelect)


def _type_of(widget: forms.Widget) -> str:
    if isinstance(widget, PhoneRegionSelect):
        return "phone_region"
    if isinstance(widget, ChoiceWidget):
        return _SEVERAL_VALUES if widget.allow_multiple_selected else "select"
    return str(widget.attrs.get("type") or getattr(widget, "input_type", "text"))


def _choices(choices: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield the value and the label of each choice, also of the choices in named groups."""
    for value, label in choices:
        if isinstance(label, list | tuple):
            yield from _choices(label)
        else:
            yield {"value": value, "label": label}
