"""The app ``ciam_django``: no models, only the checks of its settings."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.core.checks import Tags, register

from ciam_django.checks import settings


class CiamDjangoConfig(AppConfig):
    """Let ``manage.py check`` look at our settings."""

    name = "ciam_django"
    verbose_name = "CIAM"

    def ready(self) -> None:
        """Register the checks, with those of accounts and signing in where these are installed."""
        checks = [*settings.CHECKS]
        if apps.is_installed("ciam_django.accounts"):
            # Models and Authlib, which a project without accounts can do without.
            from ciam_django.checks import accounts, login  # noqa: PLC0415

            checks += [*login.CHECKS, *accounts.CHECKS]
            # Django runs these only for the databases that a command names.
            for database_check in accounts.DATABASE_CHECKS:
                register(database_check, Tags.database)
        for check in checks:
            register(check, "ciam_django")
