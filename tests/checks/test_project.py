"""Test the checks of Django's settings; ``mistakes.py`` has the mistakes and correct settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from django.test import override_settings
from django.utils.module_loading import import_string

from ciam_django.checks.messages import CHECK_IDS
from ciam_django.checks.project import OUR_PATHS
from tests.checks.test_settings import SHARED_CACHES, found_with, only_message
from tests.rows import for_each_row


def test_the_missing_accounts_app_is_reported_once() -> None:
    installed = [name for name in django_settings.INSTALLED_APPS if "accounts" not in name]
    # Without the app, no URL pattern of this package exists.
    messages = found_with(INSTALLED_APPS=installed, LOGIN_URL="ciam:missing")

    ids = [message.id for message in messages]
    assert CHECK_IDS["accounts"] in ids
    assert CHECK_IDS["link"] not in ids


@for_each_row("path", OUR_PATHS)
def test_each_path_of_the_list_can_be_imported(path: str) -> None:
    if "standardized" in path:
        pytest.importorskip("drf_standardized_errors")
    assert callable(import_string(path))


def test_a_misspelt_path_in_a_setting_of_axes_is_reported() -> None:
    message = only_message("dotted path", AXES_LOCKOUT_CALLABLE="ciam_django.axes.lockout_respons")

    assert "AXES_LOCKOUT_CALLABLE has" in message.msg
    assert "Did you mean 'ciam_django.axes.lockout_response'?" in str(message.hint)


@for_each_row(
    "settings, is_reported",
    [
        ({"CIAM_CALLBACK_URL": "https://shop.cn/ciam/callback/", "ALLOWED_HOSTS": [".cn"]}, False),
        ({"CIAM_CALLBACK_URL": "https://shop.cn/ciam/callback/", "ALLOWED_HOSTS": ["a"]}, True),
        # Django itself reports an empty list.
        ({"CIAM_CALLBACK_URL": "https://shop.cn/ciam/callback/", "ALLOWED_HOSTS": []}, False),
        ({"CIAM_CALLBACK_URL": "", "ALLOWED_HOSTS": ["a"]}, False),
    ],
)
def test_the_host_of_the_callback_is_checked_for_a_deployment(
    settings: Mapping[str, Any], is_reported: bool
) -> None:
    with override_settings(**{"CACHES": SHARED_CACHES, **settings}):
        messages = run_checks(tags=["ciam_django"], include_deployment_checks=True)

    assert (CHECK_IDS["callback path"] in [message.id for message in messages]) is is_reported


def test_a_value_of_another_type_has_only_the_message_about_its_type() -> None:
    only_message("type", CIAM_CALLBACK_URL=5)
    only_message("type", CIAM_PROBLEM_TYPE_URL=5)
    with override_settings(CACHES=SHARED_CACHES, CIAM_CALLBACK_URL=5, CIAM_ACTION_URLS=5):
        messages = run_checks(tags=["ciam_django"], include_deployment_checks=True)
    assert CHECK_IDS["callback path"] not in [message.id for message in messages]


@pytest.mark.parametrize("header", ["X-Forwarded-Proto", ()])
def test_a_proxy_header_that_is_no_pair_does_not_stop_the_checks(header: object) -> None:
    assert isinstance(found_with(SECURE_PROXY_SSL_HEADER=header), list)
