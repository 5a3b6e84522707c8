"""Test the questions about the settings, the cache, the proxy, the cookies and the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from django.test import override_settings
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.person import Person
from ciam_django.doctor.findings import Finding, Status
from tests.checks.mistakes import UrlsWithoutAccounts
from tests.checks.test_settings import SHARED_CACHES, NoUrls
from tests.doctor.conftest import SITE, Ask
from tests.rows import for_each_row
from tests.users import get_or_create_user

CALLBACK = "https://shop.test/ciam/callback/"


class BrokenCache(LocMemCache):
    """A cache whose server is away; the text of the exception has a password."""

    def add(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ConnectionError("redis://:hunter2@cache")


class HidingCache(LocMemCache):
    """A cache whose server is away, and whose backend hides the failures."""

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return False


class SilentCache(LocMemCache):
    """A cache that waits for its server."""

    def add(self, *args: Any, **kwargs: Any) -> Any:
        threading.Event().wait(2)
        return False

    get = add


def status_and_text(found: list[Finding]) -> tuple[Status, str]:
    assert len(found) == 1, found
    return found[0].status, f"{found[0].found} {found[0].advice}"


def change(site: Settings, settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        setattr(site, name, value)


# --- Settings and identities --------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("is_debug", [True, False])
def test_good_settings_are_ok(site: Settings, ask: Ask, is_debug: bool) -> None:
    site.DEBUG = is_debug
    found = ask("settings")

    assert status_and_text(found) == (Status.OK, "no mistake ")
    assert ("--deploy" in found[0].asked) is not is_debug


@pytest.mark.parametrize("mode", ["oidc"])
def test_each_mistake_of_the_settings_is_a_finding_with_its_id(site: Settings, ask: Ask) -> None:
    change(site, {"CIAM_TIMEUOT": 1, "CIAM_RETRY_AFTER": -1, "CIAM_SUPPORT_URL": ""})
    found = ask("settings")

    assert [each.status for each in found] == [Status.ERROR, Status.WARNING, Status.WARNING]
    assert "(ciam_django.E003)" in found[0].found
    assert found[0].advice == "Allowed: 0 to 3600."


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["oidc"])
def test_identities_of_another_issuer_are_an_error_with_the_command(
    site: Settings, ask: Ask
) -> None:
    assert status_and_text(ask("identities"))[0] is Status.OK
    get_or_create_user(Person("http://127.0.0.1:1/old", "u-1"))
    status, text = status_and_text(ask("identities"))

    assert status is Status.ERROR
    assert "manage.py ciam_rekey --forget-test-people`" in text
    CiamIdentity.objects.all().delete()


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["oidc"])
def test_a_missing_table_is_an_error_with_the_command(site: Settings, ask: Ask) -> None:
    # The test's transaction restores the name.
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ciam_accounts_ciamidentity RENAME TO away")
    status, text = status_and_text(ask("identities"))

    assert status is Status.ERROR
    assert "no table 'ciam_accounts_ciamidentity' in the database 'default'" in text
    assert text.endswith("Run manage.py migrate.")


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_project_with_the_urls_and_without_accounts_is_told_about_the_app(
    site: Settings, ask: Ask
) -> None:
    site.INSTALLED_APPS = [name for name in site.INSTALLED_APPS if "accounts" not in name]
    found = ask("callback", "login page", "client", "cookies")

    assert [each.status for each in found] == [Status.SKIPPED] * 4
    assert {each.found for each in found} == {"'ciam_django.accounts' is not in INSTALLED_APPS"}


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_project_without_the_urls_is_not_asked_about_its_callback(
    site: Settings, ask: Ask
) -> None:
    site.ROOT_URLCONF = NoUrls
    found = ask("callback", "login page", "client", "cookies")

    assert [each.status for each in found] == [Status.SKIPPED] * 4
    assert {each.found for each in found} == {"ciam_django.urls is not included"}


@pytest.mark.parametrize("mode", ["oidc"])
def test_the_urls_without_accounts_have_no_callback_to_ask_about(site: Settings, ask: Ask) -> None:
    site.INSTALLED_APPS = [name for name in site.INSTALLED_APPS if "accounts" not in name]
    site.ROOT_URLCONF = UrlsWithoutAccounts
    settings, *others = ask("settings", "callback", "login page", "client", "cookies")

    assert "(ciam_django.E014)" in settings.found
    assert [each.status for each in others] == [Status.SKIPPED] * 4


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_project_without_accounts_or_client_is_asked_what_it_has(
    site: Settings, ask: Ask
) -> None:
    site.AUTHLIB_OAUTH_CLIENTS = {}
    site.INSTALLED_APPS = [name for name in site.INSTALLED_APPS if "accounts" not in name]
    site.ROOT_URLCONF = NoUrls
    found = ask("metadata", "clock", "identities", "cache")

    statuses = [each.status for each in found]
    assert statuses == [Status.WARNING, Status.SKIPPED, Status.SKIPPED, Status.SKIPPED]
    assert "AUTHLIB_OAUTH_CLIENTS" in found[1].found
    assert "INSTALLED_APPS" in found[3].found


# --- The redirect URI -----------------------------------------------------------------------------


@for_each_row(
    "settings, status, text",
    [
        ({}, Status.OK, CALLBACK),
        ({"CIAM_CALLBACK_URL": ""}, Status.WARNING, f"Set CIAM_CALLBACK_URL = '{CALLBACK}'"),
        ({"CIAM_CALLBACK_URL": "", "DEBUG": True}, Status.OK, CALLBACK),
        ({"CIAM_CALLBACK_URL": "", "SECURE_PROXY_SSL_HEADER": None}, Status.ERROR, CALLBACK),
        ({"CIAM_CALLBACK_URL": "http://shop.test/ciam/callback/"}, Status.ERROR, CALLBACK),
        ({"CIAM_CALLBACK_URL": "ftp://shop"}, Status.ERROR, "https://shop.example.com"),
        (
            {"CIAM_CALLBACK_URL": "", "ALLOWED_HOSTS": ["*"]},
            Status.WARNING,
            "https://localhost/ciam/callback/",
        ),
        (
            {"CIAM_CALLBACK_URL": "", "ALLOWED_HOSTS": [], "DEBUG": False},
            Status.WARNING,
            "https://localhost/ciam/callback/",
        ),
        ({"CIAM_CALLBACK_URL": "", "ALLOWED_HOSTS": [".shop.test"]}, Status.WARNING, CALLBACK),
    ],
)
def test_the_redirect_uri_is_judged(
    ask: Ask, settings: Mapping[str, Any], status: Status, text: str
) -> None:
    with override_settings(**{**SITE, **settings}):
        found = status_and_text(ask("callback"))

    assert found[0] is status, found
    assert text in found[1]


# --- Cache ----------------------------------------------------------------------------------------


def cache_setting(backend: str, **more: Any) -> dict[str, Any]:
    return {"CACHES": {"default": {"BACKEND": backend, **more}}}


@for_each_row(
    "settings, status, text",
    [
        (
            cache_setting("django.core.cache.backends.locmem.LocMemCache"),
            Status.WARNING,
            "which each process has for itself",
        ),
        (
            cache_setting("django.core.cache.backends.dummy.DummyCache"),
            Status.ERROR,
            "which stores nothing",
        ),
        (
            {**cache_setting("django.core.cache.backends.dummy.DummyCache"), "DEBUG": True},
            Status.WARNING,
            "Use Redis or Memcached",
        ),
        (
            {**cache_setting("django.core.cache.backends.locmem.LocMemCache"), "DEBUG": True},
            Status.OK,
            "good enough with DEBUG",
        ),
        (cache_setting(f"{__name__}.BrokenCache"), Status.ERROR, "ConnectionError"),
        (cache_setting(f"{__name__}.HidingCache"), Status.ERROR, "add gives False"),
        (
            {**cache_setting(f"{__name__}.SilentCache"), "CIAM_TIMEOUT": 0.1},
            Status.ERROR,
            "no answer within 0.1 seconds",
        ),
        ({"CACHES": SHARED_CACHES}, Status.ERROR, "the exception ConnectionError"),
    ],
)
def test_the_cache_is_judged_by_its_answers(
    ask: Ask, settings: Mapping[str, Any], status: Status, text: str
) -> None:
    with override_settings(**settings):
        found = status_and_text(ask("cache"))

    assert found[0] is status, found
    assert text in found[1]
    assert "hunter2" not in found[1]


@pytest.mark.parametrize("mode", ["oidc"])
def test_no_question_waits_for_a_cache_that_does_not_answer(site: Settings, ask: Ask) -> None:
    site.CIAM_TIMEOUT = 0.5
    site.CACHES = cache_setting(f"{__name__}.SilentCache")["CACHES"]
    started_at = time.monotonic()
    found = ask("cache", "metadata", "application token", "clock")

    assert [each.status for each in found] == [Status.ERROR, Status.OK, Status.OK, Status.OK]
    assert time.monotonic() - started_at < 2


def test_a_shared_cache_is_ok(settings: Settings, ask: Ask, redis: Path) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"unix://{redis}",
        }
    }
    status, text = status_and_text(ask("cache"))

    assert status is Status.OK
    assert "add gives True, get gives 1, second add gives False, incr gives 2" in text


# --- Proxy and cookies ----------------------------------------------------------------------------


@for_each_row(
    "settings, status, text",
    [
        ({}, Status.OK, "https://shop.test/ from 198.51.100.7"),
        (
            {"SECURE_PROXY_SSL_HEADER": None},
            Status.WARNING,
            "SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')",
        ),
        (
            {"SECURE_PROXY_SSL_HEADER": ("HTTP_CLOUDFRONT_FORWARDED_PROTO", "https")},
            Status.OK,
            "https://shop.test/ from 198.51.100.7",
        ),
        (
            {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "on")},
            Status.WARNING,
            "http://shop.test/",
        ),
        (
            {"SECURE_PROXY_SSL_HEADER": ("X-Forwarded-Proto", "https")},
            Status.WARNING,
            "http://shop.test/",
        ),
        ({"CIAM_CLIENT_IP": ""}, Status.WARNING, "from 127.0.0.1"),
        ({"CIAM_CLIENT_IP": "", "DEBUG": True}, Status.OK, "from 127.0.0.1"),
        ({"CIAM_CLIENT_IP": "ciam_django.network.remote_addr"}, Status.OK, "from 127.0.0.1"),
        ({"ALLOWED_HOSTS": ["www.shop.test"]}, Status.ERROR, "Add 'shop.test' to ALLOWED_HOSTS"),
        ({"ALLOWED_HOSTS": []}, Status.ERROR, "Add the host of your site to ALLOWED_HOSTS"),
        ({"CIAM_CLIENT_IP": f"{__name__}.no_address"}, Status.OK, "an unknown address"),
        ({"CIAM_CLIENT_IP": "no.such"}, Status.ERROR, "ModuleNotFoundError"),
    ],
)
def test_a_forwarded_request_is_judged_as_django_sees_it(
    ask: Ask, settings: Mapping[str, Any], status: Status, text: str
) -> None:
    with override_settings(**{**SITE, **settings}):
        found = status_and_text(ask("proxy"))

    assert found[0] is status, found
    assert text in found[1]


def no_address(request: object) -> str:
    """A function of a project that finds no address."""
    return ""


@for_each_row(
    "settings, statuses, text",
    [
        ({}, [Status.OK], "host-bound (__Host-ciam_...)"),
        ({"SESSION_COOKIE_SECURE": False}, [Status.WARNING], "Set SESSION_COOKIE_SECURE = True"),
        (
            {"SESSION_COOKIE_SECURE": False, "CSRF_COOKIE_SECURE": False},
            [Status.WARNING],
            "SESSION_COOKIE_SECURE and CSRF_COOKIE_SECURE are False under https",
        ),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, [Status.WARNING], "'Lax'"),
        (
            {"SESSION_COOKIE_SAMESITE": "Strict", "CSRF_COOKIE_SECURE": False},
            [Status.WARNING] * 2,
            "CSRF_COOKIE_SECURE",
        ),
        (
            {"CIAM_CALLBACK_URL": "http://shop.test/ciam/callback/"},
            [Status.WARNING],
            "SESSION_COOKIE_SECURE = False for development",
        ),
        (
            {
                "CIAM_CALLBACK_URL": "http://shop.test/ciam/callback/",
                "SESSION_COOKIE_SECURE": False,
            },
            [Status.OK],
            "not host-bound",
        ),
    ],
)
def test_the_cookies_are_judged(
    ask: Ask, settings: Mapping[str, Any], statuses: list[Status], text: str
) -> None:
    with override_settings(**{**SITE, **settings}):
        found = ask("cookies")

    assert [each.status for each in found] == statuses, found
    assert text in str(found)
