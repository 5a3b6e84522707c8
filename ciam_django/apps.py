"""Configure the app ``ciam_django``, which has no models: register its checks and the metrics."""

from __future__ import annotations

import sys
from typing import Final

from django.apps import AppConfig, apps
from django.core.checks import Tags, register
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ciam_django.checks import client, languages, project, settings
from ciam_django.conf import conf

_METRICS: Final = "ciam_django.metrics.recording"


class CiamDjangoConfig(AppConfig):
    """The app ``ciam_django``."""

    name = "ciam_django"
    verbose_name = "CIAM"

    def ready(self) -> None:
        """Register the checks, remember failures, and follow the setting of the metrics.

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
            # The module imports Authlib. A project that only answers errors, with a cache of one
            # process, remembers no failures and must not import Authlib.
            from ciam_django.failure_memory import observe_failures  # noqa: PLC0415

            observe_failures()
        for check in checks:
            register(check, "ciam_django")
        for deploy_check in deploy_checks:
            register(deploy_check, "ciam_django", deploy=True)
        _follow_metrics_setting()
        # Tests change settings.
        setting_changed.connect(_follow_metrics_setting, dispatch_uid=__name__)


def _follow_metrics_setting(setting: str = "CIAM_METRICS", **kwargs: object) -> None:
    """Import the metrics if ``CIAM_METRICS`` is not empty, and let them follow the setting."""
    if setting == "CIAM_METRICS" and (conf.CIAM_METRICS or _METRICS in sys.modules):
        import_string(f"{_METRICS}.follow_setting")()
