"""Test the checks of the settings of sign-in, and compare their rows with the tables."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core.cache.backends.db import DatabaseCache
from django.core.checks import run_checks
from django.test import override_settings
from django.utils.functional import lazystr

from ciam_django.accounts.rate_limits import _SECONDS as SECONDS_OF_UNITS
from ciam_django.accounts.rate_limits import LIMIT_KEYS
from ciam_django.checks import login
from ciam_django.checks import settings as settings_checks
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.conf import SETTINGS, Allowed, Choice, Conf, DictOf, Fields, ListOf, rate_format
from ciam_django.kinds import Action
from ciam_django.login.steps.results import FLOW_TYPES
from ciam_django.login.tenant_config import HOSTED, OWN_METHODS
from tests.checks.test_settings import (
    CLIENT,
    SHARED_CACHES,
    NoUrls,
    client,
    found_with,
    only_message,
)
from tests.rows import for_each_row


def has_fields(allowed: Allowed[Any]) -> bool:
    """Tell if a table of another module judges a part of the value."""
    match allowed:
        case Fields():
            return True
        case DictOf():
            return has_fields(allowed.values)
        case ListOf():
            return has_fields(allowed.items)
    return False


# --- Rows and tables --------------------------------------------------------------------------


def names_of(allowed: Allowed[Any]) -> set[str]:
    assert isinstance(allowed, Choice)
    return set(allowed.names)


def keys_of(allowed: Allowed[Any]) -> set[str]:
    assert isinstance(allowed, DictOf)
    return names_of(allowed.keys)


def test_the_rows_name_exactly_what_the_tables_have() -> None:
    methods, steps = Conf.CIAM_LOGIN_METHODS.allowed, Conf.CIAM_FLOW_TYPES.allowed
    assert isinstance(methods, ListOf)
    assert isinstance(steps, DictOf)

    assert names_of(methods.items) == {HOSTED, *OWN_METHODS}
    assert names_of(steps.values) == set(FLOW_TYPES.values())
    assert keys_of(Conf.CIAM_ACTION_URLS.allowed) == set(Action)
    assert keys_of(Conf.CIAM_SEND_LIMITS.allowed) == set(LIMIT_KEYS)
    assert keys_of(Conf.CIAM_TRY_LIMITS.allowed) == set(LIMIT_KEYS)
    assert all(rate_format().fullmatch(f"1/{unit}") for unit in SECONDS_OF_UNITS)
    assert rate_format().pattern.endswith(f"({'|'.join(SECONDS_OF_UNITS)})")


def test_each_setting_with_fields_has_a_check_of_the_fields() -> None:
    with_fields = {name for name, row in SETTINGS.items() if has_fields(row.allowed)}
    checks = {**settings_checks.TABLE_CHECKS, **login.TABLE_CHECKS}

    assert set(checks) == with_fields
    assert set(checks.values()) <= {*settings_checks.CHECKS, *login.CHECKS}


# --- Values -----------------------------------------------------------------------------------


WITH_QR: dict[str, Any] = {
    "CIAM_WECHAT_QR": True,
    "CIAM_SOCIAL_PROVIDERS": {
        "qq": {"app_id": "1", "source": "s"},
        "wechat": {"website": {"app_id": "1", "source": "s"}},
    },
}


@pytest.mark.parametrize(
    ("check", "settings", "text"),
    [
        ("login method", {"CIAM_API_SIGN_IN": "cookie"}, "CIAM_API_SIGN_IN is 'cookie'."),
        (
            "provider",
            {"CIAM_SOCIAL_PROVIDERS": {"qq": {"app_id": "1"}}},
            "CIAM_SOCIAL_PROVIDERS: 'qq' has no source, and is not offered.",
        ),
        (
            "provider",
            {
                "CIAM_SOCIAL_PROVIDERS": {
                    "qq": {"app_id": "1", "source": "s", "browser_types": ["phone", "tablet"]}
                }
            },
            "CIAM_SOCIAL_PROVIDERS: 'qq': the browser_types are ['phone', 'tablet'].",
        ),
        (
            "provider",
            {
                "CIAM_SOCIAL_PROVIDERS": {
                    "qq": {"app_id": "1", "source": "s", "browser_types": "phone"}
                }
            },
            "CIAM_SOCIAL_PROVIDERS: 'qq': the browser_types are 'phone'.",
        ),
        (
            "provider",
            {"CIAM_SOCIAL_PROVIDERS": {"qq": {"app_id": "1", "source": "s", "scopes": "x"}}},
            "CIAM_SOCIAL_PROVIDERS: 'qq' has no field 'scopes'.",
        ),
        (
            "provider",
            {
                "CIAM_SOCIAL_PROVIDERS": {
                    "company": {"provider": "generic", "app_id": "1", "source": "s"}
                }
            },
            "CIAM_SOCIAL_PROVIDERS: 'company' has no authorize_url, and is not offered.",
        ),
        ("type", {"CIAM_SOCIAL_PROVIDERS": {"qq": 7}}, "CIAM_SOCIAL_PROVIDERS['qq'] is 7, an int."),
        (
            "provider",
            {"CIAM_SOCIAL_PROVIDERS": {"wechat": {"app_id": "1", "source": "s"}}},
            "CIAM_SOCIAL_PROVIDERS: 'wechat' is no dict of its registrations.",
        ),
        (
            "limit",
            {"CIAM_SEND_LIMITS": {"reciever": []}},
            "CIAM_SEND_LIMITS has the key 'reciever'.",
        ),
        ("type", {"CIAM_SEND_LIMITS": {"receiver": "1/min"}}, "CIAM_SEND_LIMITS['receiver'] is"),
        ("dotted path", {"CIAM_CLIENT_IP": "tests.nobody"}, "CIAM_CLIENT_IP is 'tests.nobody'."),
        ("range", {"CIAM_TRUSTED_PROXIES": 0}, "CIAM_TRUSTED_PROXIES is 0."),
        ("phone region", {"CIAM_PHONE_REGIONS": ["China"]}, "CIAM_PHONE_REGIONS[0] is 'China'."),
        ("phone region", {"CIAM_PHONE_REGIONS": ["CN", "ZZ"]}, "CIAM_PHONE_REGIONS[1] is 'ZZ'."),
        ("type", {"CIAM_PHONE_REGIONS": "CN"}, "CIAM_PHONE_REGIONS is 'CN', a str."),
        (
            "endpoint",
            {"CIAM_ENDPOINTS": {"captcha": {"pth": "x"}}},
            "CIAM_ENDPOINTS['captcha'] has no field 'pth'.",
        ),
        (
            "endpoint",
            {"CIAM_ENDPOINTS": {"captcha": {"credential": "nobody"}}},
            "CIAM_ENDPOINTS['captcha']: the credential is 'nobody'.",
        ),
        (
            "endpoint",
            {"CIAM_ENDPOINTS": {"password_login": {"stage": "pasword"}}},
            "CIAM_ENDPOINTS['password_login']: the stage is 'pasword'.",
        ),
        (
            "open stage",
            {"CIAM_ENDPOINTS": {"recover_submit": {"stage": "profile"}}},
            "CIAM_ENDPOINTS['recover_submit']: at the stage 'profile', users learn which accounts",
        ),
        (
            "client",
            {
                "CIAM_LOGIN_METHODS": ["password"],
                "AUTHLIB_OAUTH_CLIENTS": client(api_base_url=None),
            },
            'AUTHLIB_OAUTH_CLIENTS["ciam"] has no api_base_url.',
        ),
        (
            "form action",
            {
                "CIAM_SOCIAL_PROVIDERS": {"qq": {"app_id": "1", "source": "s"}},
                "SECURE_CSP": {"form-action": ["'self'", "https://ciam.invalid"]},
            },
            "The form-action of SECURE_CSP lacks https://graph.qq.com.",
        ),
        (
            "form action",
            {**WITH_QR, "SECURE_CSP": {"default-src": ["'self'", "https://res.wx.qq.com"]}},
            "The frame-src of SECURE_CSP lacks https://open.weixin.qq.com.",
        ),
        (
            "form action",
            {**WITH_QR, "CSP_SCRIPT_SRC": ["'self'"]},
            "The script-src of CSP_SCRIPT_SRC lacks https://res.wx.qq.com.",
        ),
    ],
)
def test_a_wrong_setting_of_the_sign_in_is_reported(
    check: str, settings: dict[str, Any], text: str
) -> None:
    assert text in only_message(check, **settings).msg


def test_valid_settings_of_the_sign_in_have_no_messages() -> None:
    assert not found_with(
        DEBUG=True,
        CIAM_LOGIN_METHODS=["sms", "password", "hosted"],
        CIAM_SOCIAL_PROVIDERS={
            "wechat": {"mini_program": {"app_id": "1", "source": "s"}},
            "qq": {"app_id": "1", "source": "s", "browser_types": ["phone", "desktop"]},
        },
        CIAM_CLIENT_IP="tests.checks.test_settings.client",
        CIAM_ENDPOINTS={"captcha": {"credential": "user", "path": "x", "stage": "api"}},
        CIAM_FLOW_TYPES={"NEED_MAGIC": "consent"},
        CIAM_SEND_LIMITS={"receiver": ["1/min"]},
    )


# --- Caches -----------------------------------------------------------------------------------

REDIS = SHARED_CACHES["default"]["BACKEND"]
BACKENDS = "django.core.cache.backends"
SESSIONS = "django.contrib.sessions.backends"


class ShopCache(DatabaseCache):
    """A subclass in a project."""


def caches(**backends: str) -> dict[str, dict[str, str]]:
    """Return ``CACHES`` with the backend of each alias; the default is Redis."""
    return {
        alias: {"BACKEND": backend} for alias, backend in {"default": REDIS, **backends}.items()
    }


@pytest.mark.parametrize("methods", [[], ["hosted"], ["password"], ["sms"]])
@for_each_row(
    "backend, reason",
    [
        (f"{BACKENDS}.locmem.LocMemCache", "which each process has for itself"),
        (f"{BACKENDS}.dummy.DummyCache", "which stores nothing"),
        (f"{BACKENDS}.db.DatabaseCache", "which deletes entries"),
        (f"{BACKENDS}.filebased.FileBasedCache", "which deletes entries"),
        (f"{__name__}.ShopCache", "which deletes entries"),
    ],
)
def test_a_cache_that_loses_limits_and_used_states_is_reported_for_each_login_method(
    methods: list[str], backend: str, reason: str
) -> None:
    changed: dict[str, Any] = {"CACHES": caches(default=backend), "CIAM_LOGIN_METHODS": methods}

    assert f"{backend!r}, {reason}" in only_message("cache", **changed).msg
    assert found_with(DEBUG=True, **changed) == []
    with override_settings(ROOT_URLCONF=NoUrls):
        assert found_with(**changed) == []


@for_each_row(
    "engine, backend, is_reported",
    [
        ("cache", f"{BACKENDS}.locmem.LocMemCache", True),
        ("cache", f"{BACKENDS}.dummy.DummyCache", True),
        ("cache", f"{BACKENDS}.db.DatabaseCache", True),
        ("cache", REDIS, False),
        ("cached_db", f"{BACKENDS}.locmem.LocMemCache", True),
        ("cached_db", f"{BACKENDS}.dummy.DummyCache", False),
        ("cached_db", f"{BACKENDS}.db.DatabaseCache", False),
        ("cached_db", REDIS, False),
        ("db", f"{BACKENDS}.locmem.LocMemCache", False),
    ],
)
def test_a_cache_that_loses_sessions_is_reported(
    engine: str, backend: str, is_reported: bool
) -> None:
    changed: dict[str, Any] = {
        "SESSION_ENGINE": f"{SESSIONS}.{engine}",
        "SESSION_CACHE_ALIAS": "sessions",
        "CACHES": caches(sessions=backend),
    }
    if is_reported:
        text = f"The cache of the sessions, 'sessions', is {backend!r}"
        assert text in only_message("cache", **changed).msg
    else:
        assert found_with(**changed) == []


@for_each_row(
    "trusted, is_reported",
    [
        ([], True),
        (["https://app.example.com"], False),
        (["https://*.example.com"], False),
        (["https://www.example.com", "http://app.example.com"], True),
    ],
)
def test_an_origin_that_only_django_cors_headers_knows_is_reported(
    trusted: list[str], is_reported: bool
) -> None:
    changed: dict[str, Any] = {
        "INSTALLED_APPS": [*settings.INSTALLED_APPS, "corsheaders"],
        "CORS_ALLOWED_ORIGINS": ["https://app.example.com"],
        "CSRF_TRUSTED_ORIGINS": trusted,
    }
    if is_reported:
        assert "'https://app.example.com'" in only_message("front end", **changed).msg
    else:
        assert found_with(**changed) == []
    assert found_with(**{**changed, "CIAM_API_SIGN_IN": "token"}) == []
    assert found_with(CORS_ALLOWED_ORIGINS=["https://app.example.com"]) == []
    with override_settings(ROOT_URLCONF=NoUrls):
        assert found_with(**changed) == []


def test_an_unknown_cache_backend_is_not_reported_here() -> None:
    engine = f"{SESSIONS}.cache"
    unknown = caches(default="shop.cache.Cache")

    assert found_with(CACHES=unknown, SESSION_ENGINE=engine, SESSION_CACHE_ALIAS="none") == []


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"provider": ["qq"]}, "'shop' is no provider."),
        ({"provider": "qq", "app_id": 5, "source": "s"}, "'shop': the app_id is 5."),
        (
            {"provider": "qq", "app_id": "1", "source": "s", "authorize_url": b"x"},
            "'shop': the authorize_url is b'x'.",
        ),
        (
            {"provider": "qq", "app_id": "1", "source": "s", "more": "x=y"},
            "'shop': the more is 'x=y'.",
        ),
    ],
)
def test_a_field_of_a_provider_with_a_wrong_type_is_reported(
    entry: dict[str, object], text: str
) -> None:
    assert text in only_message("provider", CIAM_SOCIAL_PROVIDERS={"shop": entry}).msg


@for_each_row(
    "provider, proofs, hint",
    [
        ("weibo", ["pkce"], "The provider takes no proof."),
        ("weibo", "pkce", "The provider takes no proof."),
        ("google", "pkce", "It must be a list of: 'nonce', 'pkce'."),
        ("google", ["pkce", 7], "It must be a list of: 'nonce', 'pkce'."),
        ("apple", ["pkce"], "It must be a list of: 'nonce'."),
        ("google", ["nonce", "pkce"], ""),
        ("weibo", [], ""),
    ],
)
def test_a_proof_that_the_provider_does_not_take_is_reported(
    provider: str, proofs: object, hint: str
) -> None:
    entry = {"app_id": "1", "source": "s", "proofs": proofs}
    if hint:
        message = only_message("provider", CIAM_SOCIAL_PROVIDERS={provider: entry})
        assert f"'{provider}': the proofs are {proofs!r}." in message.msg
        assert message.hint == hint
    else:
        assert not found_with(CIAM_SOCIAL_PROVIDERS={provider: entry})


@for_each_row(
    "provider, native, text",
    [
        ("apple", True, ""),
        ("qq", False, ""),
        ("qq", True, "'qq': the provider gives no code to a native app."),
        ("apple", "yes", "'apple': the native is 'yes'."),
    ],
)
def test_a_provider_without_codes_for_native_apps_is_reported(
    provider: str, native: object, text: str
) -> None:
    providers = {provider: {"app_id": "1", "source": "s", "native": native}}
    if text:
        assert text in only_message("provider", CIAM_SOCIAL_PROVIDERS=providers).msg
    else:
        assert not found_with(CIAM_SOCIAL_PROVIDERS=providers)


def test_a_label_of_a_provider_may_be_a_lazy_text() -> None:
    entry = {"app_id": "1", "source": "s", "label": lazystr("QQ"), "more": {"a": "b"}}

    assert found_with(CIAM_SOCIAL_PROVIDERS={"qq": entry}) == []


def test_a_country_without_phone_numbers_is_reported() -> None:
    assert "'ZZ'" in only_message("phone region", CIAM_PHONE_REGION="ZZ").msg


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CIAM_ENDPOINTS", {"captcha": 5}),
        ("CIAM_ENDPOINTS", {5: {}}),
        ("CIAM_USER_FIELDS", {"emial": "email"}),
        ("CIAM_USER_FIELDS", {"emial": [5]}),
        ("CIAM_SOCIAL_PROVIDERS", {"wechat": []}),
        ("CIAM_LOGIN_METHODS", "sms"),
    ],
)
def test_a_value_that_the_row_refuses_has_one_message(name: str, value: object) -> None:
    only_message("type", **{name: value})


@pytest.mark.parametrize(
    "settings",
    [
        {"CIAM_LOGIN_METHODS": ["password"], "AUTHLIB_OAUTH_CLIENTS": client(api_base_url=None)},
        {
            "CIAM_SOCIAL_PROVIDERS": {"qq": {"app_id": "1", "source": "s"}},
            "SECURE_CSP": {"form-action": ["'self'"]},
        },
        {"AUTHLIB_OAUTH_CLIENTS": {"ciam": {**CLIENT, "client_id": ""}}},
    ],
)
def test_a_project_without_the_urls_needs_no_api_base_url_and_no_form_action(
    settings: dict[str, Any],
) -> None:
    assert found_with(**settings, ROOT_URLCONF=NoUrls) == []


@pytest.mark.parametrize(
    "settings",
    [
        {**WITH_QR, "SECURE_CSP": {"script-src": ["https:"], "frame-src": ["*.weixin.qq.com"]}},
        {**WITH_QR, "CIAM_WECHAT_QR": False, "SECURE_CSP": {"default-src": ["'self'"]}},
        {**WITH_QR, "ROOT_URLCONF": NoUrls, "SECURE_CSP": {"default-src": ["'self'"]}},
    ],
)
def test_a_policy_with_the_sources_of_the_qr_code_or_without_need_is_not_reported(
    settings: dict[str, Any],
) -> None:
    assert found_with(**settings) == []


# --- The checks of ``manage.py check --deploy`` -----------------------------------------------


SAFE_LIMITS: dict[str, Any] = {
    "DEBUG": True,
    "CIAM_LOGIN_METHODS": ["sms"],
    "CIAM_CLIENT_IP": "ciam_django.network.forwarded_for",
    "CIAM_SEND_LIMITS": {"receiver": ["1/min"], "address": ["60/hour"], "site": ["1000/day"]},
    "CIAM_PHONE_REGIONS": ["CN"],
    "CIAM_SUPPORT_URL": "/help/",
}
NO_ADDRESS = {"receiver": ["1/min"], "site": ["1000/day"]}


@for_each_row(
    "changed, expected",
    [
        ({}, []),
        ({"CIAM_CLIENT_IP": ""}, ["client address"]),
        ({"CIAM_CLIENT_IP": "", "CIAM_LOGIN_METHODS": ["hosted"]}, ["client address"]),
        ({"CIAM_CLIENT_IP": "ciam_django.network.remote_addr"}, []),
        # Without a limit of an address, the address does not matter.
        ({"CIAM_CLIENT_IP": "", "CIAM_SEND_LIMITS": NO_ADDRESS, "CIAM_TRY_LIMITS": {}}, []),
        # Bearer tokens have a limit of their address, too.
        ({"CIAM_CLIENT_IP": "", "ROOT_URLCONF": NoUrls}, ["client address"]),
        ({"CIAM_SEND_LIMITS": {}}, ["site budget"]),
        ({"CIAM_SEND_LIMITS": {}, "CIAM_LOGIN_METHODS": ["sign_up"]}, ["site budget"]),
        ({"CIAM_SEND_LIMITS": {}, "CIAM_LOGIN_METHODS": ["password", "hosted"]}, []),
        ({"CIAM_SEND_LIMITS": {}, "ROOT_URLCONF": NoUrls}, []),
        ({"CIAM_PHONE_REGIONS": []}, ["phone regions"]),
        # CIAM may offer each login method.
        ({"CIAM_PHONE_REGIONS": [], "CIAM_LOGIN_METHODS": []}, ["phone regions"]),
        ({"CIAM_PHONE_REGIONS": [], "CIAM_LOGIN_METHODS": ["recover"]}, ["phone regions"]),
        ({"CIAM_PHONE_REGIONS": [], "CIAM_LOGIN_METHODS": ["email"]}, []),
        # Other checks report settings of a wrong type.
        ({"CIAM_SEND_LIMITS": None}, ["type"]),
        ({"CIAM_SEND_LIMITS": None, "CIAM_TRY_LIMITS": None, "CIAM_CLIENT_IP": ""}, ["type"] * 2),
        ({"CIAM_LOGIN_METHODS": None}, ["type"]),
    ],
)
def test_the_limits_are_checked_for_a_deployment(
    changed: dict[str, Any], expected: list[str]
) -> None:
    with override_settings(**{"CACHES": SHARED_CACHES, **SAFE_LIMITS, **changed}):
        messages = run_checks(tags=["ciam_django"], include_deployment_checks=True)

    assert [message.id for message in messages] == [CHECK_IDS[check] for check in expected]
    assert all(message.hint for message in messages)


def test_the_limits_are_only_checked_for_a_deployment() -> None:
    assert not found_with(CIAM_SEND_LIMITS={}, CIAM_LOGIN_METHODS=["sms"], DEBUG=True)
