"""Configure the app ``ciam_django``, which has no models: register its checks and the metrics."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from django.apps import AppConfig, apps
from django.core.checks import Tags, register
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ciam_django.checks.caches import cache_fault
from ciam_django.checks.registered import run_checks, run_database_checks, run_deploy_checks
from ciam_django.conf import conf
from ciam_django.lazy_modules import LazyModule

if TYPE_CHECKING:
    from ciam_django import failure_memory
else:
    failure_memory = LazyModule("ciam_django.failure_memory")

_METRICS: Final = "ciam_django.metrics.recording"


class CiamDjangoConfig(AppConfig):
    """The app ``ciam_django``."""

    name = "ciam_django"
    verbose_name = "CIAM"

    def ready(self) -> None:
        """Register the checks, remember failures, and follow the setting of the metrics."""
        register(run_checks, "ciam_django")
        register(run_deploy_checks, "ciam_django", deploy=True)
        register(run_database_checks, Tags.database)
        # With a cache of one process, failures can't be remembered. A project that only answers
        # errors then needs no module for the cache.
        if apps.is_installed("ciam_django.accounts") or not cache_fault("default"):
            failure_memory.observe_failures()
        _follow_metrics_setting()
        # Tests change settings.
        setting_changed.connect(_follow_metrics_setting, dispatch_uid=__name__)


def _follow_metrics_setting(setting: str = "CIAM_METRICS", **kwargs: object) -> None:
    """Import the metrics if ``CIAM_METRICS`` is not empty, and let them follow the setting."""
    if setting == "CIAM_METRICS" and (conf.CIAM_METRICS or _METRICS in sys.modules):
        import_string(f"{_METRICS}.follow_setting")()
