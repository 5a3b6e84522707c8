"""Test the name of a new user that a provider tells only once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ciam_django.client.person import Person
from ciam_django.login.names import decrypted_name, encrypted_name, name_in_form, with_told_name
from tests.rows import for_each_row

STATE = "s" * 48

# Apple's name -> the claims.
NAMES: list[tuple[Any, dict[str, str]]] = [
    (
        {"firstName": "Ada", "lastName": "Lovelace"},
        {"given_name": "Ada", "family_name": "Lovelace"},
    ),
    ({"firstName": "Ada", "lastName": ""}, {"given_name": "Ada"}),
    ({"firstName": None, "lastName": "王"}, {"family_name": "王"}),
    ({"firstName": " A\u202eda\n\x00 B. ", "middleName": "x"}, {"given_name": "Ada B."}),
    ({"firstName": "e\u0301", "lastName": "\ud800\u200b"}, {"given_name": "\u00e9"}),
    ({"firstName": "x" * 70}, {"given_name": "x" * 64}),
    ({"firstName": {"a": 1}}, {}),
    ({}, {}),
    (7, {}),
]


@for_each_row("told, claims", NAMES)
def test_the_name_is_taken_from_apples_form_and_cleaned(told: Any, claims: dict[str, str]) -> None:
    assert name_in_form(json.dumps({"name": told, "email": "li@example.com"})) == claims


@pytest.mark.parametrize(
    "text", ["", "{", "7", "null", "[]", "[" * 2000, '{"name": {"firstName": "' + "x" * 2048]
)
def test_a_form_without_a_name_gives_no_name(text: str) -> None:
    assert name_in_form(text) == {}


@pytest.mark.parametrize(("length", "claims"), [(2048, {"given_name": "Ada"}), (2049, {})])
def test_a_text_of_more_than_2048_characters_has_no_name(
    length: int, claims: dict[str, str]
) -> None:
    text = '{"name": {"firstName": "Ada"}, "padding": "'

    assert name_in_form(text.ljust(length - 2, "x") + '"}') == claims


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"userId": "u"}, "Ada Lovelace"),
        ({"name": "", "displayName": None}, "Ada Lovelace"),
        ({"name": "Li"}, "Li"),
        ({"given_name": "Li"}, None),
        ({"displayName": "Li"}, None),
        ({"nickname": "Li"}, None),
        ({"family_name": "Li"}, None),
    ],
)
def test_a_told_name_never_replaces_a_name_of_ciam(
    claims: dict[str, Any], expected: str | None
) -> None:
    person = Person("https://issuer.example", "u", claims)
    told = with_told_name(person, {"given_name": "Ada", "family_name": "Lovelace"})

    assert told.claims.get("name") == expected
    assert (told == person) is (expected != "Ada Lovelace")


@pytest.mark.parametrize(
    ("name", "full_name"),
    [
        ({"given_name": "小明", "family_name": "王"}, "王小明"),
        ({"given_name": "Ming", "family_name": "王"}, "Ming 王"),
        ({"family_name": "王"}, "王"),
    ],
)
def test_a_full_name_is_in_the_order_of_its_script(name: dict[str, str], full_name: str) -> None:
    assert with_told_name(Person("i", "s"), name).claims["name"] == full_name


def test_a_name_in_a_url_is_encrypted_for_one_sign_in() -> None:
    longest = {"given_name": "\U0001f9e1" * 64, "family_name": "\U0001f9e1" * 64}
    text = encrypted_name(longest, STATE)

    assert decrypted_name(text, STATE) == longest
    assert len(text) <= 1200
    for other_text, state in ((text, "t" * 48), ("", STATE), ("x" * 2000, STATE), ("é", STATE)):
        assert decrypted_name(other_text, state) == {}
