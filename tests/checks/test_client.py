"""Test the checks of the client against Authlib; ``test_mistakes.py`` tests the messages."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from authlib.integrations.base_client.sync_app import OAuth2Mixin
from authlib.integrations.requests_client.utils import REQUESTS_SESSION_KWARGS
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client
from django.conf import settings

from ciam_django.checks.client import (
    ADDRESS_KEYS,
    AUTH_METHODS,
    CLIENT_KEYS,
    SESSION_KEYS,
    is_placeholder,
    is_placeholder_url,
)
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.client.private_key_jwt import PRIVATE_KEY_JWT
from tests.checks.mistakes import oidc, own
from tests.checks.test_settings import CLIENT, NoUrls, found_with
from tests.rows import for_each_row


def parameters_of(function: object) -> set[str]:
    assert callable(function)
    return {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }


def test_the_keys_of_the_client_are_the_arguments_of_authlib() -> None:
    arguments = parameters_of(OAuth2Mixin.__init__) - {"self", "framework", "name"}

    assert set(CLIENT_KEYS) == {*arguments, "issuer"}
    assert set(ADDRESS_KEYS) < set(CLIENT_KEYS)


def test_the_keys_of_client_kwargs_are_the_arguments_of_authlib() -> None:
    arguments = parameters_of(OAuth2Client.__init__)
    # The app itself gives the session these arguments.
    of_the_app = {"self", "session", "client_id", "client_secret", "state", "update_token"}

    assert set(SESSION_KEYS) == {
        *(arguments - of_the_app),
        *REQUESTS_SESSION_KWARGS,
        "default_timeout",
    }


def test_the_methods_are_those_of_authlib_and_of_this_package() -> None:
    own_methods = {"client_secret_json", "client_secret_jwt", PRIVATE_KEY_JWT}

    assert set(AUTH_METHODS) == {*ClientAuth.DEFAULT_AUTH_METHODS, *own_methods}


@for_each_row(
    "text, expected",
    [
        ("…", True),
        ("...", True),
        ("xxxx", True),
        ("XXXXXXXX", True),
        ("your_client_id", True),
        ("my-app-id", False),
        ("a<b>c{d}...", False),
        ('{"kty": "RSA", "n": "abc"}', False),
        ("your client id", True),
        ("<id>", True),
        ("{id}", True),
        ("TODO", True),
        ("change me", True),
        ("placeholder", True),
        ("insert-secret-here", True),
        ("idaas_ciam_public_cn_x1", False),
        ("xy", False),
        ("fake_app_0001", False),
        ("tests", False),
        ("mystery", False),
        ("yourself", False),
        ("", False),
        (None, False),
        (5, False),
    ],
)
def test_a_placeholder_is_told_from_a_value(text: object, expected: bool) -> None:
    assert is_placeholder(text) is expected


@for_each_row(
    "url, expected",
    [
        ("https://example.com/a", True),
        ("https://login.example.org:8443", True),
        ("https://user@login.example", True),
        ("https://xxx.login.aliyunidaas.com", True),
        ("https://yourcompany.api.aliyunidaas.com", True),
        ("https://tenant.shop.cn", False),
        ("https://yourmarket.api.aliyunidaas.com", False),
        ("https://your-tenant.login.aliyunidaas.com", True),
        ("https://{tenant}.login.aliyunidaas.com", True),
        ("https://login.shop.cn/.../openid-configuration", True),
        ("https://shop.login.aliyunidaas.com", False),
        ("https://notexample.com", False),
        ("https://example.shop.invalid.", True),
        ("http://127.0.0.1:9000/", False),
        ("https://ciam.invalid", False),
        ("http://[", False),
        ("", False),
        (None, False),
    ],
)
def test_a_host_of_documentation_is_told_from_a_host(url: object, expected: bool) -> None:
    assert is_placeholder_url(url) is expected


WRONG_VALUES: tuple[Any, ...] = (
    None,
    0,
    5,
    True,
    "",
    "x",
    "http://[",
    [],
    [5],
    {},
    {1: 2},
    b"x",
    object(),
    print,
)


@for_each_row("key", CLIENT_KEYS)
@pytest.mark.slow("all values of settings")
def test_no_value_of_a_key_makes_the_checks_raise(key: str) -> None:
    for value in WRONG_VALUES:
        clients: dict[str, object] = {"ciam": {**CLIENT, key: value}}
        assert isinstance(found_with(AUTHLIB_OAUTH_CLIENTS=clients), list)


@for_each_row("key", SESSION_KEYS)
@pytest.mark.slow("all values of settings")
def test_no_value_of_a_key_of_client_kwargs_makes_the_checks_raise(key: str) -> None:
    for value in WRONG_VALUES:
        for setting in (own, oidc):
            assert isinstance(found_with(**setting(client_kwargs={key: value, 5: 1})), list)


def test_no_value_of_a_setting_of_django_makes_the_checks_raise() -> None:
    names = ["LOGIN_URL", "LOGIN_REDIRECT_URL", "LOGOUT_REDIRECT_URL", "SECURE_PROXY_SSL_HEADER"]
    names += ["SESSION_COOKIE_SAMESITE", "SESSION_COOKIE_DOMAIN", "CONTENT_SECURITY_POLICY"]
    for name in [*names, "REST_FRAMEWORK", "DRF_STANDARDIZED_ERRORS", "AXES_LOCKOUT_CALLABLE"]:
        for value in (None, 0, "", "x", [], [5], ("a",), print):
            if name != "REST_FRAMEWORK" or not value:
                assert isinstance(found_with(**{name: value}), list)


@pytest.mark.parametrize("apps_setting", ["tests", "answers only"])
def test_a_client_that_this_package_does_not_use_is_not_checked(apps_setting: str) -> None:
    apps = [
        name
        for name in settings.INSTALLED_APPS
        if apps_setting == "tests" or name != "ciam_django.accounts"
    ]
    ids = [
        message.id
        for message in found_with(
            INSTALLED_APPS=apps, ROOT_URLCONF=NoUrls, **own(client_id="…", client_secret=None)
        )
    ]

    assert bool(ids) is (apps_setting == "tests")


@pytest.mark.parametrize("value", ["…", "your-app"])
def test_two_equal_placeholders_have_no_message_about_equal_values(value: str) -> None:
    messages = found_with(**own(client_id=value, client_secret=value))

    assert {message.id for message in messages} == {CHECK_IDS["placeholder"]}


def test_a_client_with_only_the_fake_is_good_in_development() -> None:
    fake = "http://127.0.0.1:8400"
    url = f"{fake}/.well-known/openid-configuration"

    assert found_with(DEBUG=True, **oidc(server_metadata_url=url, api_base_url=fake)) == []
