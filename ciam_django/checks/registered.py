"""Run the checks of ``manage.py check``; the app registers the functions of this module.

The modules of the checks are imported when the checks run, because a process that serves requests
runs no checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.checks import CheckMessage

from ciam_django.lazy_modules import LazyModule

if TYPE_CHECKING:
    from ciam_django.checks import accounts, client, languages, login, project, settings
else:
    accounts = LazyModule("ciam_django.checks.accounts")
    client = LazyModule("ciam_django.checks.client")
    languages = LazyModule("ciam_django.checks.languages")
    login = LazyModule("ciam_django.checks.login")
    project = LazyModule("ciam_django.checks.project")
    settings = LazyModule("ciam_django.checks.settings")


def run_checks(**kwargs: Any) -> Iterator[CheckMessage]:
    """Run the checks of the settings, and with accounts those of sign-in and accounts."""
    checks = [*settings.CHECKS, *languages.CHECKS, *client.CHECKS, *project.CHECKS]
    if apps.is_installed("ciam_django.accounts"):
        # These modules import models and Authlib. A project without accounts may have neither.
        checks += [*login.CHECKS, *accounts.CHECKS]
    for check in checks:
        yield from check(**kwargs)


def run_deploy_checks(**kwargs: Any) -> Iterator[CheckMessage]:
    """Run the checks of ``manage.py check --deploy``."""
    checks = [*client.DEPLOY_CHECKS, *project.DEPLOY_CHECKS]
    if apps.is_installed("ciam_django.accounts"):
        checks += login.DEPLOY_CHECKS
    for check in checks:
        yield from check(**kwargs)


def run_database_checks(**kwargs: Any) -> Iterator[CheckMessage]:
    """Run the checks that Django runs only for the databases that a command names."""
    if apps.is_installed("ciam_django.accounts"):
        for check in accounts.DATABASE_CHECKS:
            yield from check(**kwargs)
