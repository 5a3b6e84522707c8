"""The functions that the app registers run all checks of the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import CodeType, FrameType

import pytest
from django.core.checks.registry import registry
from pytest_django.fixtures import Settings

from ciam_django.checks import accounts, client, languages, login, project, settings
from ciam_django.checks.registered import run_checks, run_database_checks, run_deploy_checks

MODULES = accounts, client, languages, login, project, settings


def check_functions() -> Iterator[CodeType]:
    for module in MODULES:
        for name, value in vars(module).items():
            if name.startswith("check_") and getattr(value, "__module__", "") == module.__name__:
                yield value.__code__


@pytest.mark.django_db
def test_the_registered_functions_call_each_check() -> None:
    called = set()

    def notice_call(frame: FrameType, event: str, argument: object) -> None:
        called.add(frame.f_code)

    sys.setprofile(notice_call)
    try:
        for run in (run_checks, run_deploy_checks, run_database_checks):
            list(run(app_configs=None, databases=["default"]))
    finally:
        sys.setprofile(None)

    functions = set(check_functions())
    assert len(functions) > 30
    assert functions <= called


def test_the_functions_are_registered() -> None:
    functions: set[object] = {run_checks, run_database_checks}

    assert functions <= set(registry.registered_checks)
    functions = {run_deploy_checks}
    assert functions <= set(registry.deployment_checks)


def test_a_project_without_accounts_has_no_checks_of_accounts(settings: Settings) -> None:
    settings.INSTALLED_APPS = [a for a in settings.INSTALLED_APPS if a != "ciam_django.accounts"]
    settings.CIAM_UPSTREAM_STATUS = "no number"
    found = [*run_checks(app_configs=None), *run_deploy_checks(app_configs=None)]

    assert any("CIAM_UPSTREAM_STATUS is 'no number'" in message.msg for message in found)
    assert list(run_database_checks(app_configs=None, databases=["default"])) == []
