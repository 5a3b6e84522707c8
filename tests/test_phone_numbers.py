"""phonenumbers is not imported when a project starts."""

from __future__ import annotations

import subprocess
import sys

import phonenumbers
import pytest

from ciam_django.phone_numbers import phonenumbers as lazy_phonenumbers

PROGRAM = """
import sys
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "ciam_django",
        "ciam_django.accounts",
    ],
    ROOT_URLCONF="ciam_django.urls",
    SECRET_KEY="for this test",
)
django.setup()

import ciam_django.urls

assert "phonenumbers" not in sys.modules
assert "babel" not in sys.modules
"""


@pytest.mark.slow("processes of bare projects")
def test_a_start_of_a_project_imports_neither_phonenumbers_nor_babel() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)


def test_the_names_are_those_of_phonenumbers() -> None:
    assert lazy_phonenumbers.parse is phonenumbers.parse
    with pytest.raises(AttributeError):
        getattr(lazy_phonenumbers, "no_name")  # noqa: B009  (mypy knows that the name is missing)
