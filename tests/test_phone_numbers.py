"""The lazy module of phonenumbers; ``test_imports.py`` has the test of a start without it."""

from __future__ import annotations

import phonenumbers
import pytest

from ciam_django.phone_numbers import phonenumbers as lazy_phonenumbers


def test_the_names_are_those_of_phonenumbers() -> None:
    assert lazy_phonenumbers.parse is phonenumbers.parse
    with pytest.raises(AttributeError):
        getattr(lazy_phonenumbers, "no_name")  # noqa: B009  (mypy knows that the name is missing)
