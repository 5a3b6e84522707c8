"""Users of people who have signed in at CIAM."""

from __future__ import annotations

from django.contrib.auth.models import User

from ciam_django.accounts.backends import get_or_create_identity
from ciam_django.client.person import Person


def get_or_create_user(person: Person) -> User:
    """The user whom the person has signed in as before, or a new user."""
    return get_or_create_identity(person).user
