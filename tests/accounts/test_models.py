"""The models ``CiamIdentity`` and ``CiamSession``."""

from __future__ import annotations

import hashlib
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import IntegrityError, transaction
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.client.person import identity_key
from ciam_django.testing import FakeCiam
from tests.browser import Browser

pytestmark = pytest.mark.django_db


def test_the_key_is_the_digest_of_issuer_nul_and_subject() -> None:
    assert identity_key("i", "s") == hashlib.sha256(b"i\0s").hexdigest()
    assert identity_key("i", "s") != identity_key("is", "")


def test_an_identity_belongs_to_one_user_only() -> None:
    model = get_user_model()
    CiamIdentity.objects.create(user=model.objects.create_user("a"), issuer="i", subject="s")

    with pytest.raises(IntegrityError), transaction.atomic():
        CiamIdentity.objects.create(user=model.objects.create_user("b"), issuer="i", subject="s")


def test_the_text_of_an_identity_has_subject_and_issuer() -> None:
    assert str(CiamIdentity(issuer="https://ciam.example", subject="u1")) == (
        "u1 @ https://ciam.example"
    )


def test_the_migrations_are_complete(settings: Settings) -> None:
    # With the option --no-migrations of pytest, Django would compare nothing.
    settings.MIGRATION_MODULES = {}
    call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())


def test_the_text_of_a_session_has_identity_and_start(ciam: FakeCiam, db: None) -> None:
    Browser(ciam).sign_in()
    session = CiamSession.objects.get()

    assert str(session) == f"{session.identity}, {session.created_at:%Y-%m-%d %H:%M}"
