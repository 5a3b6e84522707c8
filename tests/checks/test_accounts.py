"""``manage.py check`` of sessions and identities."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django.fixtures import Settings

from ciam_django.accounts.middleware import CiamSessionMiddleware
from ciam_django.accounts.models import CiamIdentity
from ciam_django.checks.accounts import check_identities
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.client.person import Person
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.users import get_or_create_user

COOKIES = "django.contrib.sessions.backends.signed_cookies"


def found() -> list[CheckMessage]:
    return run_checks(tags=["ciam_django"])


def found_in(*databases: str) -> list[CheckMessage]:
    messages = run_checks(tags=["database"], databases=databases or ["default"])
    return [message for message in messages if str(message.id).startswith("ciam_django")]


class ShopMiddleware(CiamSessionMiddleware):
    """A project's own."""


@pytest.mark.parametrize(("mode", "keeps"), [("oidc", True), ("oidc", False), ("ciam", True)])
def test_sessions_in_cookies_are_refused(
    ciam: FakeCiam, settings: Settings, mode: str, keeps: bool
) -> None:
    settings.SESSION_ENGINE, settings.CIAM_KEEP_TOKENS = COOKIES, keeps

    assert [message.id for message in found()] == [CHECK_IDS["session store"]]


@pytest.mark.parametrize("mode", ["ciam"])
def test_where_nothing_is_kept_and_nobody_is_signed_out_they_may_be(
    ciam: FakeCiam, settings: Settings, mode: str
) -> None:
    settings.SESSION_ENGINE, settings.CIAM_KEEP_TOKENS = COOKIES, False

    assert found() == []


def test_without_a_client_another_check_tells(settings: Settings) -> None:
    settings.SESSION_ENGINE, settings.CIAM_KEEP_TOKENS = COOKIES, False
    settings.AUTHLIB_OAUTH_CLIENTS = {}

    assert [message.id for message in found()] == [CHECK_IDS["client"]]


@pytest.mark.parametrize("is_first", [True, False])
def test_the_middleware_has_its_place(settings: Settings, is_first: bool) -> None:
    name = "ciam_django.accounts.middleware.CiamSessionMiddleware"
    others = [other for other in django_settings.MIDDLEWARE if other != name]
    settings.MIDDLEWARE = [name, *others] if is_first else [*others, f"{__name__}.ShopMiddleware"]

    assert [message.id for message in found()] == (
        [CHECK_IDS["session middleware"]] if is_first else []
    )


def test_without_a_client_nobody_is_a_stranger(db: None, settings: Settings) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {}

    assert found_in() == []


# --- Identities of another mode, issuer or client -----------------------------------------------


@pytest.mark.django_db
def test_all_is_well_while_the_people_are_those_of_the_settings(ciam: FakeCiam) -> None:
    assert found_in() == []
    Browser(ciam).sign_in()
    assert found_in() == []


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["oidc"])
@pytest.mark.parametrize("change", ["mode", "client", "issuer"])
def test_a_change_is_refused_while_there_are_people_of_before(
    ciam: FakeCiam, settings: Settings, change: str
) -> None:
    Browser(ciam).sign_in()
    before = CiamIdentity.objects.get()
    client: dict[str, Any] = ciam.client("ciam" if change == "mode" else "oidc")
    if change == "issuer":
        CiamIdentity.objects.update(issuer="https://old.example")
        before.refresh_from_db()
    if change == "client":
        url = client["server_metadata_url"]
        client |= {"client_id": "b", "server_metadata_url": url.replace("fake_app_0001", "b")}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    messages = found_in()

    assert [message.id for message in messages] == [CHECK_IDS["identities"]]
    assert before.issuer in messages[0].msg
    assert f"ciam_rekey --from {before.issuer}" in str(messages[0].hint)
    with pytest.raises(CommandError):
        call_command("check", databases=["default"])


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["oidc"])
def test_an_issuer_that_is_not_where_its_metadata_is_is_the_same(
    ciam: FakeCiam, settings: Settings
) -> None:
    ciam.metadata = {"issuer": "https://login.example"}
    get_or_create_user(Person("https://login.example", "u-1"))

    assert found_in() == []


@pytest.mark.django_db
@pytest.mark.parametrize("is_new", [True, False])
def test_nobody_becomes_a_stranger_meanwhile(
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
def test_other_databases_and_missing_tables_are_none_of_our_business(settings: Settings) -> None:
    get_or_create_user(Person("https://old.example", "u-1"))
    assert list(check_identities(None, databases=["other"])) == []
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ciam_accounts_ciamidentity RENAME TO elsewhere")
        assert found_in() == []
        cursor.execute("ALTER TABLE elsewhere RENAME TO ciam_accounts_ciamidentity")
