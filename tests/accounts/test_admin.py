"""The identities in the admin."""

from __future__ import annotations

import pytest
from django.test import Client

from ciam_django.accounts.backends import user_of
from ciam_django.client.person import Person

pytestmark = pytest.mark.django_db


def test_staff_can_look_at_identities_and_add_none(admin_client: Client) -> None:
    user_of(Person("https://ciam.example", "u-1"))

    assert b"u-1" in admin_client.get("/admin/ciam_accounts/ciamidentity/?q=u-1").content
    assert admin_client.get("/admin/ciam_accounts/ciamidentity/add/").status_code == 403
