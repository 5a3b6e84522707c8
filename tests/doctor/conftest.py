"""Fixtures of the tests of ``ciam_doctor``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from pytest_django.fixtures import Settings

from ciam_django.doctor.findings import Finding
from ciam_django.doctor.table import QUESTIONS, findings
from ciam_django.testing import FakeCiam

# The settings of a site that is ready for its customers.
SITE: Final[dict[str, Any]] = {
    "ALLOWED_HOSTS": ["shop.test"],
    "CIAM_CALLBACK_URL": "https://shop.test/ciam/callback/",
    "CIAM_CLIENT_IP": "ciam_django.network.forwarded_for",
    "CIAM_SUPPORT_URL": "/help/",
    "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
    "SESSION_COOKIE_SECURE": True,
    "CSRF_COOKIE_SECURE": True,
    "SILENCED_SYSTEM_CHECKS": ["ciam_django.W086"],
}

Ask = Callable[..., list[Finding]]


@pytest.fixture
def site(ciam: FakeCiam, settings: Settings) -> Settings:
    """The settings of a site that is ready for its customers, apart from the fake CIAM."""
    for name, value in SITE.items():
        setattr(settings, name, value)
    ciam.redirect_uris.add("https://shop.test/ciam/callback/")
    return settings


@pytest.fixture
def ask() -> Ask:
    """A function that asks the questions with these names, and returns the findings."""

    def ask_questions(*names: str) -> list[Finding]:
        chosen = [question for question in QUESTIONS if question.name in names]
        assert len(chosen) == len(names)
        return [finding for _, finding in findings(chosen)]

    return ask_questions
