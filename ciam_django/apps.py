"""Configure the app ``ciam_django``, which has no models, and register its checks."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.core.checks import Tags, register

from ciam_django.checks import client, languages, project, settings


class CiamDjangoConfig(AppConfig):
    """The app ``ciam_django``."""

    name = "ciam_django"
    verbose_name = "CIAM"

    def ready(self) -> None:
        """Register the checks, and remember failures.

        The checks of sign-in and accounts need the accounts app.
        """
        checks = [*settings.CHECKS, *languages.CHECKS, *client.CHECKS, *project.CHECKS]
        deploy_checks = [*client.DEPLOY_CHECKS, *project.DEPLOY_CHECKS]
        if apps.is_installed("ciam_django.accounts"):
            # These modules import models and Authlib. A project without accounts may have neither.
            from ciam_django.checks import accounts, login  # noqa: PLC0415

            checks += [*login.CHECKS, *accounts.CHECKS]
            # Django runs database checks only for the databases that a command names.
            for database_check in accounts.DATABASE_CHECKS:
                register(database_check, Tags.database)
            deploy_checks += login.DEPLOY_CHECKS
        if apps.is_installed("ciam_django.accounts") or not settings.cache_fault("default"):
            # The module imports Authlib, which a project needs neither for answers nor for a cache
            # of one process.
            from ciam_django.failure_memory import observe_failures  # noqa: PLC0415

            observe_failures()
        for check in checks:
            register(check, "ciam_django")
        for deploy_check in deploy_checks:
            register(deploy_check, "ciam_django", deploy=True)
