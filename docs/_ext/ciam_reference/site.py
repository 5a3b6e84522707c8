"""Configure Django as a project that uses all features of the package."""

from __future__ import annotations

from typing import Any, Final

import django
from django.conf import settings
from django.test import override_settings

# The settings that the examples of the reference depend on.
EXAMPLE_SETTINGS: Final[dict[str, Any]] = {
    "ROOT_URLCONF": "ciam_reference.urls",
    "LANGUAGE_CODE": "en",
    "LANGUAGES": [("en", "English"), ("zh-hans", "简体中文"), ("zh-hant", "繁體中文")],
    "CIAM_LOGIN_METHODS": ["hosted", "password", "sms", "email", "recover", "sign_up"],
    "CIAM_SOCIAL_PROVIDERS": {
        "wechat": {
            "website": {"app_id": "wx0000000000000000", "source": "wechat"},
            "mini_program": {"app_id": "wx0000000000000001", "source": "mini"},
            "app": {"app_id": "wx0000000000000002", "source": "app"},
        }
    },
    "CIAM_SUPPORT_URL": "https://example.com/help",
}


def set_up_django() -> None:
    """Configure and start Django, unless this process has done so."""
    if not settings.configured:
        settings.configure(
            INSTALLED_APPS=[
                "django.contrib.auth",
                "django.contrib.contenttypes",
                "django.contrib.sessions",
                "rest_framework",
                "ciam_django",
                "ciam_django.accounts",
            ],
            SECRET_KEY="for the documentation only",  # noqa: S106  (no site uses the key)
            USE_TZ=True,
            **EXAMPLE_SETTINGS,
        )
        django.setup()


def example_settings(**settings: Any) -> override_settings:
    """Return a context in which the settings are those of the examples, and the given settings."""
    return override_settings(**{**EXAMPLE_SETTINGS, **settings})
