"""A value of a setting in, messages with a place, the value and a hint out."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Error, Warning  # noqa: A004

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
)
from tests.checks.test_settings import the_one_of


def messages(allowed: Allowed[Any], value: object) -> list[tuple[str | None, str, str | None]]:
    found = _value_messages(allowed, "X", value, type_check="type")
    return [(message.id, message.msg, message.hint) for message in found]


def kinds_below(kind: type[Allowed[Any]]) -> set[type[Allowed[Any]]]:
    found = {kind}
    for below in kind.__subclasses__():
        found |= kinds_below(below)
    return found


def test_an_id_says_how_bad_a_message_is() -> None:
    assert type(check_message("name", "M.")) is Warning
    assert type(check_message("type", "M.")) is Error
    assert check_message("type", "M.", "H.").hint == "H."


def test_a_hint_is_the_name_that_was_meant_or_all_names_if_they_are_few() -> None:
    assert hint_for("pasword", ["password", "sms"]) == "Did you mean 'password'?"
    assert hint_for(5, ["password", "sms"]) == "Allowed: password, sms."
    assert hint_for("x", map(str, range(20))) == ""


def test_there_is_a_judge_for_every_kind_of_value() -> None:
    kinds = kinds_below(Allowed) - {Allowed}

    assert len(kinds) == 14
    for kind in kinds:
        assert _content_messages.dispatch(kind) is not _content_messages.dispatch(object)
        assert kind in _content_messages.registry
    with pytest.raises(NotImplementedError, match="Allowed"):
        _content_messages(Allowed(), "X", 1)


@pytest.mark.parametrize(
    ("allowed", "value"),
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
        (DottedPath(), "tests.checks.test_messages.messages"),
        (DottedPath(), ""),
        (DottedPath(app="no.such.app"), "no.such.function"),
        (Template(), "admin/base.html"),
        (Template(), ""),
        (PhoneRegion(), "CN"),
        (Rate(), "5/hour"),
        (ListOf(Rate()), ("5/hour", "1/s")),
        (DictOf(ListOf(Rate())), {"a": [], "b": ["1/min"]}),
        (Fields("a table"), {1: 2}),
    ],
    ids=repr,
)
def test_an_allowed_value_has_no_message(allowed: Allowed[Any], value: object) -> None:
    assert messages(allowed, value) == []


@pytest.mark.parametrize(
    ("allowed", "value", "check", "text", "hint"),
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
        (Rate(), "5 a day", "limit", "X is '5 a day'.", None),
        (AbsoluteUrl(), "/ciam/", "address", "X is '/ciam/'.", None),
        (DottedPath(), "no.such", "dotted path", "X is 'no.such'.", "No module named 'no'."),
    ],
)
def test_a_message_has_the_place_the_value_and_what_is_allowed(
    allowed: Allowed[Any], value: object, check: str, text: str, hint: str | None
) -> None:
    hint = hint or f"It must be {allowed.words}."

    assert messages(allowed, value) == [(CHECK_IDS[check], text, hint)]


@pytest.mark.parametrize("path", ["x", ".x", "..x.y", "tests.nobody", "no.such"])
def test_a_path_that_leads_nowhere_has_a_reason(path: str) -> None:
    assert import_problem(path).endswith(".")
    the_one_of("dotted path", CIAM_NEW_USER=path)
