"""The app ``ciam_django``: no models, only the checks of its settings."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Tags, register

from ciam_django.checks.settings import CHECKS, check_identities


class CiamDjangoConfig(AppConfig):
    """Let ``manage.py check`` look at our settings."""

    name = "ciam_django"
    verbose_name = "CIAM"

    def ready(self) -> None:
        """Register the checks."""
        for check in CHECKS:
            register(check, "ciam_django")
        # Django runs those alone that are told of a database.
        register(check_identities, Tags.database)
