"""Test the checks of sessions and identities."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from pytest_django.fixtures import Settings

from ciam_django.accounts.middleware import CiamSessionMiddleware
from ciam_django.accounts.models import CiamIdentity
from ciam_django.checks import accounts
from ciam_django.checks.accounts import check_identities
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.client.person import Person
from ciam_django.testing import FakeCiam
from tests.accounts.shop import models as shop
from tests.browser import Browser
from tests.checks.test_settings import CLIENT, found_with
from tests.rows import for_each_row
from tests.users import get_or_create_user

COOKIES = "django.contrib.sessions.backends.signed_cookies"


def package_messages() -> list[CheckMessage]:
    return found_with()


def database_messages(*databases: str) -> list[CheckMessage]:
    messages = run_checks(tags=["database"], databases=databases or ["default"])
    return [message for message in messages if str(message.id).startswith("ciam_django")]


class ShopMiddleware(CiamSessionMiddleware):
    """A subclass in a project."""


@pytest.mark.parametrize(("mode", "keeps"), [("oidc", True), ("oidc", False), ("ciam", True)])
def test_sessions_in_cookies_are_reported(
    ciam: FakeCiam, settings: Settings, mode: str, keeps: bool
) -> None:
    settings.SESSION_ENGINE, settings.CIAM_KEEP_TOKENS = COOKIES, keeps

    assert [message.id for message in package_messages()] == [CHECK_IDS["session store"]]


@pytest.mark.parametrize("mode", ["ciam"])
def test_sessions_in_cookies_are_allowed_without_tokens_and_logout(
    ciam: FakeCiam, settings: Settings, mode: str
) -> None:
    settings.SESSION_ENGINE, settings.CIAM_KEEP_TOKENS = COOKIES, False

    assert package_messages() == []


def test_a_missing_client_is_reported_only_by_its_own_check(settings: Settings) -> None:
    settings.SESSION_ENGINE, settings.CIAM_KEEP_TOKENS = COOKIES, False
    settings.AUTHLIB_OAUTH_CLIENTS = {}

    assert [message.id for message in package_messages()] == [CHECK_IDS["client"]]


@pytest.mark.parametrize("is_first", [True, False])
def test_the_session_middleware_must_follow_the_authentication_middleware(
    settings: Settings, is_first: bool
) -> None:
    name = "ciam_django.accounts.middleware.CiamSessionMiddleware"
    others = [other for other in django_settings.MIDDLEWARE if other != name]
    settings.MIDDLEWARE = [name, *others] if is_first else [*others, f"{__name__}.ShopMiddleware"]

    assert [message.id for message in package_messages()] == (
        [CHECK_IDS["session middleware"]] if is_first else []
    )


def test_identities_are_not_checked_without_a_client(db: None, settings: Settings) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {}

    assert database_messages() == []


# --- Identities of another mode, issuer or client -----------------------------------------------


@pytest.mark.django_db
def test_identities_of_the_issuer_of_the_settings_are_not_reported(ciam: FakeCiam) -> None:
    assert database_messages() == []
    Browser(ciam).sign_in()
    assert database_messages() == []


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("change", ["mode", "client", "issuer"])
def test_a_changed_issuer_with_identities_of_the_old_issuer_is_reported(
    ciam: FakeCiam, settings: Settings, change: str
) -> None:
    Browser(ciam).sign_in()
    identity = CiamIdentity.objects.get()
    client: dict[str, Any] = ciam.client("ciam" if change == "mode" else "oidc")
    if change == "issuer":
        CiamIdentity.objects.update(issuer="https://old.example")
        identity.refresh_from_db()
    if change == "client":
        url = client["server_metadata_url"]
        client |= {"client_id": "b", "server_metadata_url": url.replace("fake_app_0001", "b")}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    messages = database_messages()

    # The fake CIAM has no metadata of another client.
    ids = [CHECK_IDS["issuer"]] if change == "client" else []
    assert [message.id for message in messages] == [*ids, CHECK_IDS["identities"]]
    assert identity.issuer in messages[-1].msg
    assert f"ciam_rekey --from {identity.issuer}" in str(messages[-1].hint)
    with pytest.raises(CommandError):
        call_command("check", databases=["default"])


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["oidc"])
def test_identities_of_the_issuer_in_the_metadata_are_not_reported(
    ciam: FakeCiam, settings: Settings
) -> None:
    ciam.issuer_has_slash = True
    get_or_create_user(Person(ciam.issuer, "u-1"))

    assert database_messages() == []


@pytest.mark.django_db
def test_identities_of_the_issuer_of_the_client_are_not_reported(settings: Settings) -> None:
    url = "https://127.0.0.1:1/.well-known/openid-configuration"
    client = {"client_id": "x", "server_metadata_url": url, "issuer": "https://login.example"}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    get_or_create_user(Person("https://login.example", "u-1"))

    assert database_messages() == []


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("is_reachable", [True, False])
@pytest.mark.covering
def test_an_identity_that_lacks_the_slash_of_the_issuer_is_reported(
    ciam: FakeCiam, is_reachable: bool
) -> None:
    ciam.metadata = {"issuer": f"{ciam.issuer}/"}
    get_or_create_user(Person(ciam.issuer, "u-1"))
    if not is_reachable:
        ciam.fail("discovery", code="Service.Internal.Error", status=500, times=None)
    messages = database_messages()

    assert [message.id for message in messages] == [
        CHECK_IDS["identities" if is_reachable else "issuer"]
    ]
    # Another client than the right one must not lead to a change of the database.
    has_warning = "Before you change identities, run" in str(messages[0].hint)
    assert has_warning is not is_reachable
    ciam.reset()


@pytest.mark.django_db
@pytest.mark.parametrize("is_new", [True, False])
def test_a_sign_in_fails_if_all_identities_belong_to_another_issuer(
    ciam: FakeCiam, settings: Settings, is_new: bool
) -> None:
    get_or_create_user(Person("https://old.example", "u-1"))
    if not is_new:
        get_or_create_user(Person(ciam.issuer, "u-2"))
        get_or_create_user(Person(f"{ciam.url}/fake_app_0001", "u-2"))
    answer = Browser(ciam).sign_in()

    assert answer.status_code == (500 if is_new else 302)
    assert CiamIdentity.objects.count() == (1 if is_new else 4)


@pytest.mark.django_db
def test_other_databases_and_missing_tables_are_not_checked(settings: Settings) -> None:
    get_or_create_user(Person("https://old.example", "u-1"))
    assert list(check_identities(None, databases=["other"])) == []
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ciam_accounts_ciamidentity RENAME TO elsewhere")
        assert database_messages() == []
        cursor.execute("ALTER TABLE elsewhere RENAME TO ciam_accounts_ciamidentity")


@for_each_row(
    "mode, verified, is_reported",
    [("ciam", [], True), ("ciam", ["email"], False), ("oidc", [], False)],
)
def test_an_email_address_that_ciam_does_not_verify_is_reported_as_user_name(
    mode: str, verified: list[str], is_reported: bool
) -> None:
    metadata = "https://login.shop.cn/.well-known/openid-configuration"
    oidc_client = {"client_id": "x", "server_metadata_url": metadata}
    clients = {"ciam": CLIENT if mode == "ciam" else oidc_client}
    with (
        pytest.MonkeyPatch.context() as patch,
        override_settings(AUTHLIB_OAUTH_CLIENTS=clients, CIAM_VERIFIED_CLAIMS=verified),
    ):
        patch.setattr(accounts, "get_user_model", lambda: shop.EmailUser)
        messages = list(accounts.check_user_model(None))

    assert [message.id for message in messages] == [CHECK_IDS["user model"]] * is_reported
    for message in messages:
        assert "EmailUser needs a value for 'email'" in message.msg
        assert "CIAM_VERIFIED_CLAIMS = ['email']" in str(message.hint)


@for_each_row(
    "client_kwargs, user_fields, is_reported",
    [
        (None, {"email": ["email"]}, True),
        ({}, {"email": ["email"]}, True),
        ({"scope": "openid profile"}, {"email": ["email"]}, True),
        ({"scope": 5}, {"email": ["email"]}, True),
        ({"scope": ["openid", "email"]}, {"email": ["email"]}, False),
        ({}, {"email": ["email", "mail"]}, False),
    ],
)
def test_a_user_name_whose_claim_no_scope_asks_for_is_reported(
    client_kwargs: dict[str, Any] | None, user_fields: dict[str, list[str]], is_reported: bool
) -> None:
    client = {
        "client_id": "x",
        "server_metadata_url": "https://login.shop.cn/.well-known/openid-configuration",
        "client_kwargs": client_kwargs,
    }
    with (
        pytest.MonkeyPatch.context() as patch,
        override_settings(AUTHLIB_OAUTH_CLIENTS={"ciam": client}, CIAM_USER_FIELDS=user_fields),
    ):
        patch.setattr(accounts, "get_user_model", lambda: shop.EmailUser)
        messages = list(accounts.check_scopes(None))

    assert [message.id for message in messages] == [CHECK_IDS["user model"]] * is_reported
    for message in messages:
        assert "from 'email'. The scope of the client lacks 'email'." in message.msg
        assert '"client_kwargs": {"scope": "openid ' in str(message.hint)
        assert ' email"}.' in str(message.hint)


@pytest.mark.parametrize("model", [shop.StrictUser, shop.TenantUser, shop.MobileUser])
def test_a_field_of_the_user_model_without_a_value_is_reported(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, model: Any
) -> None:
    monkeypatch.setattr(accounts, "get_user_model", lambda: model)
    messages = list(accounts.check_user_model(None))

    ids = [CHECK_IDS["user model"]] if model is not shop.MobileUser else []
    assert [message.id for message in messages] == ids
    settings.CIAM_NEW_USER = "shop.create_user"
    assert list(accounts.check_user_model(None)) == []
