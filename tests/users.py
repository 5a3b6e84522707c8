"""Create Django users for people of CIAM in tests."""

from __future__ import annotations

from django.contrib.auth.models import User

from ciam_django.accounts.backends import get_or_create_identity
from ciam_django.client.person import Person


def get_or_create_user(person: Person) -> User:
    """Return the Django user of the person; create the user if the user does not exist."""
    return get_or_create_identity(person).user
