"""Test the messages about a value: its place, the value and a hint."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Error, Warning  # noqa: A004
from django.utils.translation import gettext_lazy

from ciam_django.checks.messages import (
    CHECK_IDS,
    _content_messages,
    _value_messages,
    check_message,
    hint_for,
    import_problem,
)
from ciam_django.conf import (
    AbsoluteUrl,
    Allowed,
    Choice,
    DictOf,
    DottedPath,
    Fields,
    Flag,
    Integer,
    ListOf,
    Number,
    PhoneRegion,
    Rate,
    Target,
    Template,
    Text,
    UserText,
)
from tests.checks.test_settings import only_message
from tests.rows import for_each_row


def facts_of_messages(
    allowed: Allowed[Any], value: object
) -> list[tuple[str | None, str, str | None]]:
    messages = _value_messages(allowed, "X", value, type_check="type")
    return [(message.id, message.msg, message.hint) for message in messages]


def class_and_subclasses(cls: type[Allowed[Any]]) -> set[type[Allowed[Any]]]:
    classes = {cls}
    for subclass in cls.__subclasses__():
        classes |= class_and_subclasses(subclass)
    return classes


def test_an_id_decides_if_a_message_is_a_warning_or_an_error() -> None:
    assert type(check_message("name", "M.")) is Warning
    assert type(check_message("type", "M.")) is Error
    assert check_message("type", "M.", "H.").hint == "H."


def test_a_hint_is_the_similar_name_or_a_short_list_of_the_allowed_names() -> None:
    assert hint_for("pasword", ["password", "sms"]) == "Did you mean 'password'?"
    assert hint_for(5, ["password", "sms"]) == "Allowed: password, sms."
    assert hint_for("x", map(str, range(20))) == ""
    assert hint_for("x", map(str, range(20)), long_list="Allowed: 0 to 19.") == "Allowed: 0 to 19."


def test_every_class_of_allowed_values_has_its_own_function() -> None:
    classes = class_and_subclasses(Allowed) - {Allowed}

    assert len(classes) == 15
    for cls in classes:
        assert _content_messages.dispatch(cls) is not _content_messages.dispatch(object)
        assert cls in _content_messages.registry
    with pytest.raises(NotImplementedError, match="Allowed"):
        _content_messages(Allowed(), "X", 1)


@for_each_row(
    "allowed, value",
    [
        (Flag(), False),
        (Integer(1, 3), 1),
        (Number(0.1, 1), 1),
        (Number(0.1, 1), 0.1),
        (Text(), ""),
        (Choice(("a", "b"), check="step"), "b"),
        (Target(), "/help/"),
        (AbsoluteUrl(), "https://example.com/"),
        (AbsoluteUrl(), ""),
        (DottedPath(), "tests.checks.test_messages.facts_of_messages"),
        (DottedPath(), ""),
        (DottedPath(app="no.such.app"), "no.such.function"),
        (Template(), "admin/base.html"),
        (Template(), ""),
        (PhoneRegion(), "CN"),
        (UserText(), ""),
        (UserText(), {"en": "A rule.", "zh-hans": gettext_lazy("A rule.")}),
        (Rate(), "5/hour"),
        (ListOf(Rate()), ("5/hour", "1/s")),
        (DictOf(ListOf(Rate())), {"a": [], "b": ["1/min"]}),
        (Fields("a table"), {1: 2}),
    ],
)
def test_an_allowed_value_has_no_message(allowed: Allowed[Any], value: object) -> None:
    assert facts_of_messages(allowed, value) == []


@for_each_row(
    "allowed, value, check, text, hint",
    [
        (Flag(), 1, "type", "X is 1, an int.", "It must be a bool."),
        (Integer(1, 3), True, "type", "X is True, a bool.", "It must be an int."),
        (Integer(1, 3), 4, "range", "X is 4.", "Allowed: 1 to 3."),
        (Number(0.5, 3), "1", "type", "X is '1', a str.", "It must be a float."),
        (ListOf(Text()), "a", "type", "X is 'a', a str.", "It must be a list: ['a']."),
        (ListOf(Text()), {"a"}, "type", "X is {'a'}, a set.", "It must be a list."),
        (ListOf(Text()), [5], "type", "X[0] is 5, an int.", "It must be a str."),
        (DictOf(Text()), {5: "a"}, "type", "X has the key 5.", "It must be a str."),
        (
            DictOf(Rate(), Choice(("day",), check="limit")),
            {"dy": "1/s"},
            "limit",
            "X has the key 'dy'.",
            "Did you mean 'day'?",
        ),
        (DictOf(Target()), {"a": 5}, "address", "X['a'] is 5, an int.", "It must be a str."),
        (PhoneRegion(), "cn", "phone region", "X is 'cn'.", None),
        (UserText(), 8, "type", "X is 8, an int.", "It must be a str | dict."),
        (UserText(), {"en": ""}, "type", "X is {'en': ''}.", None),
        (Rate(), "5 a day", "limit", "X is '5 a day'.", None),
        (AbsoluteUrl(), "/ciam/", "address", "X is '/ciam/'.", None),
        (DottedPath(), "no.such", "dotted path", "X is 'no.such'.", "No module named 'no'."),
    ],
)
def test_a_message_has_the_place_and_the_value_and_its_hint_has_the_allowed_values(
    allowed: Allowed[Any], value: object, check: str, text: str, hint: str | None
) -> None:
    hint = hint or f"It must be {allowed.words}."

    assert facts_of_messages(allowed, value) == [(CHECK_IDS[check], text, hint)]


@pytest.mark.parametrize("path", ["x", ".x", "..x.y", "tests.nobody", "no.such"])
def test_a_path_that_cannot_be_imported_has_a_reason(path: str) -> None:
    assert import_problem(path).endswith(".")
    only_message("dotted path", CIAM_NEW_USER=path)
