"""The claims of a person fill the fields of a new user."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.test import override_settings
from pytest_django.fixtures import Settings

from ciam_django.accounts import users
from ciam_django.accounts.users import (
    _check_complete,
    _field_values,
    _unfilled_fields,
    random_username,
    required_fields,
    unrequested_claims,
    user_from_claims,
)
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from tests.accounts.shop import models as shop
from tests.rows import for_each_row
from tests.users import get_or_create_user

pytestmark = pytest.mark.django_db


def person(subject: str = "u-1", **claims: Any) -> Person:
    return Person("https://ciam.example", subject, claims)


def create_user(subject: str = "u-1", **claims: Any) -> User:
    return User.objects.get(pk=get_or_create_user(person(subject, **claims)).pk)


# Members that mark the email address -> True if the address counts as verified.
MARKS: list[tuple[dict[str, Any], bool]] = [
    ({}, False),
    ({"email_verified": False}, False),
    ({"email_verified": "false"}, False),
    ({"email_verified": 0}, False),
    ({"email_verified": 1}, False),
    ({"email_verified": []}, False),
    ({"emailVerified": False}, False),
    ({"email_verified": False, "emailVerified": True}, False),
    ({"email_verified": True}, True),
    ({"email_verified": "true"}, True),
    ({"email_verified": None, "emailVerified": True}, True),
]


@pytest.mark.parametrize(
    ("claims", "fields"),
    [
        (
            {"given_name": "Li", "family_name": "Wei", "name": "Li Wei"},
            ("Li", "Wei", ""),
        ),
        ({"name": "李伟"}, ("李伟", "", "")),
        # CIAM's own name of the claim.
        ({"displayName": "李伟", "email": ""}, ("李伟", "", "")),
        *(
            ({"email": "li@example.com", **marks}, ("", "", "li@example.com" * is_verified))
            for marks, is_verified in MARKS
        ),
        ({"name": "Li", "name_verified": False}, ("", "", "")),
        ({"email": f"{'x' * 243}@example.com", "email_verified": True}, ("", "", "")),
        ({"name": ["Li"], "family_name": {"x": 1}, "email": 7}, ("", "", "")),
        ({"name": "x" * 1000}, ("x" * 150, "", "")),
        ({"name": "Li\0", "family_name": "\ud800", "email": "li@\ud800"}, ("", "", "")),
        ({}, ("", "", "")),
    ],
)
def test_claims_fill_the_fields_of_the_user(
    claims: dict[str, Any], fields: tuple[str, ...]
) -> None:
    user = create_user(**claims)

    assert (user.first_name, user.last_name, user.email) == fields
    assert user.username.startswith("ciam-")
    assert not user.has_usable_password()
    assert not user.is_staff


def test_a_tenant_that_verifies_each_address_need_not_say_so(settings: Settings) -> None:
    settings.CIAM_VERIFIED_CLAIMS = ["email"]

    assert create_user("u-1", email="li@example.com").email == "li@example.com"
    assert create_user("u-2", email="wang@example.com", email_verified=False).email == ""


def test_a_phone_number_needs_a_mark_and_an_identifier_is_never_cut(settings: Settings) -> None:
    settings.CIAM_USER_FIELDS = {
        "first_name": ["phone_number", "phoneNumber", "nickname"],
        "username": ["preferred_username"],
    }
    verified = {"phone_number": "+86138", "phone_number_verified": True}
    long_name = "x" * 151

    assert create_user("u-1", nickname="Li", phoneNumber="+86138").first_name == "Li"
    assert create_user("u-2", nickname="Li", **verified).first_name == "+86138"
    assert create_user("u-3", preferred_username=long_name).username.startswith("ciam-")
    verified["phone_number"] = "1" * 151
    assert create_user("u-4", nickname="Li", **verified).first_name == "Li"


def test_the_project_chooses_the_claims(settings: Settings) -> None:
    settings.CIAM_USER_FIELDS = {"username": ["preferred_username"], "shoe_size": ["size"]}
    user = create_user(preferred_username="li", size="42", email="li@example.com")

    assert (user.username, user.email) == ("li", "")


@pytest.mark.parametrize("claims", [{"is_superuser": True}, {"is_staff": "true", "password": "x"}])
def test_claims_give_no_permissions(claims: dict[str, Any]) -> None:
    user = create_user(**claims)

    assert not user.is_superuser
    assert not user.is_staff


def create_shop_user(person: Person) -> AbstractBaseUser:
    return User.objects.create_user(f"shop-{person.subject}")


def test_a_function_of_the_project_can_create_the_user(settings: Settings) -> None:
    settings.CIAM_NEW_USER = f"{__name__}.create_shop_user"

    assert create_user(name="Li").username == "shop-u-1"
    assert create_user(name="Li").username == "shop-u-1"
    assert User.objects.count() == 1


def test_claims_of_later_sign_ins_do_not_change_the_user() -> None:
    create_user(name="Li")

    assert create_user(name="Wang").first_name == "Li"


def test_a_person_does_not_sign_in_as_another_user_with_the_same_name(settings: Settings) -> None:
    settings.CIAM_USER_FIELDS = {"username": ["preferred_username"]}
    User.objects.create_user("li")
    with pytest.raises(CiamError) as raised:
        create_user(preferred_username="li")

    assert (raised.value.code, raised.value.stage) == ("account_exists", "callback")
    assert "ciam_link" in raised.value.upstream_text
    assert "CIAM_NEW_USER" in raised.value.upstream_text
    assert User.objects.count() == 1


def test_a_required_field_without_a_claim_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # No user name is generated if the email address is the user name.
    monkeypatch.setattr(User, "USERNAME_FIELD", "email")
    with pytest.raises(CiamError) as raised:
        create_user(email="li@example.com")

    assert (raised.value.code, raised.value.stage) == ("bad_configuration", "callback")
    assert "User needs a value for 'username'" in raised.value.upstream_text


# --- Other user models ------------------------------------------------------------------------

SHOP = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x", USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "ciam_django",
                    "ciam_django.accounts", "shop"],
    AUTH_USER_MODEL="shop.Customer", MIGRATION_MODULES={"shop": None},
)
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from shop.models import Customer
from ciam_django.accounts.backends import get_or_create_identity
from ciam_django.client.person import Person
from ciam_django.errors import CiamError

def result_of(subject, **claims):
    try:
        return get_or_create_identity(Person("https://ciam.example", subject, claims)).user.email
    except CiamError as error:
        return f"{error.code}: {error.upstream_text}"

print(result_of("u-1", email="li@example.com", email_verified=True))
print(result_of("u-1"))
print(result_of("u-2", email="li@example.com", email_verified=True))
print(result_of("u-3", email="wang@example.com"))
print(Customer.objects.count())
"""
MODELS = """
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models

class Customer(AbstractBaseUser):
    email = models.EmailField(unique=True)
    newsletter = models.BooleanField(default=False)
    USERNAME_FIELD = "email"
"""


@pytest.mark.slow("user models")
def test_a_custom_user_model_gets_its_fields_or_the_missing_field_is_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "models.py").write_text(MODELS)
    (tmp_path / "run.py").write_text(SHOP)
    command = [sys.executable, "-W", "error", str(tmp_path / "run.py")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert process.stderr == ""
    assert process.stdout.splitlines() == [
        "li@example.com",
        "li@example.com",
        # A second person with the same address does not sign in as the first person.
        (
            "account_exists: another user has the value of a unique field, such as the email "
            "address, and a sign-in never finds a user by such a value. Link the users that exist "
            "already with ciam_link, or set CIAM_NEW_USER."
        ),
        (
            "bad_configuration: Customer needs a value for 'email': CIAM_USER_FIELDS takes it from "
            "['email'], and CIAM sends none of these claims, or does not send that the claim is "
            "verified (CIAM_VERIFIED_CLAIMS)"
        ),
        "1",
    ]


# --- What a user model needs ------------------------------------------------------------------


@for_each_row(
    "model, pattern, required",
    [
        (shop.EmailUser, None, ["email"]),
        (shop.MobileUser, "[a-z0-9]{11}", ["mobile"]),
        (shop.DefaultsUser, "[a-z0-9]{10}", ["username"]),
        (shop.NumberedUser, "ciam-[0-9a-f]{24}", ["username"]),
        (shop.IntegerUser, "[0-9]{10}", ["number"]),
        (shop.UuidUser, "[0-9a-f-]{36}", ["name"]),
        (shop.BirthdayUser, "[0-9]{16}", ["username"]),
        (shop.StrictUser, None, ["mobile"]),
        (shop.TenantUser, "ciam-[0-9a-f]{24}", ["username", "tenant"]),
    ],
)
def test_a_random_user_name_fits_its_field(
    model: type[AbstractBaseUser], pattern: str | None, required: list[str]
) -> None:
    name = random_username(model)

    assert [field.name for field in required_fields(model)] == required
    assert name is None if pattern is None else re.fullmatch(pattern, str(name))


def test_a_field_that_the_model_fills_or_that_is_short_gets_no_random_user_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    field: Any = User._meta.get_field("username")
    for length, pattern in (
        (7, None),
        (8, "[a-z0-9]{8}"),
        (14, "[a-z0-9]{14}"),
        (15, "ciam-.{10}"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(field, "max_length", length)
            name = random_username(User)
            assert name is None if pattern is None else re.fullmatch(pattern, name)
    monkeypatch.setattr(field, "default", lambda: "of-the-model")
    assert random_username(User) is None


@for_each_row(
    "claim, value",
    [
        ("13800000000", "13800000000"),
        ("+86 138 0000 0000", "13800000000"),
        ("+44 7911 123456", None),
        ("not a phone number", None),
        ("", None),
    ],
)
def test_only_a_phone_number_of_the_own_country_is_shortened(claim: str, value: str | None) -> None:
    claims = {"phone_number": claim, "phone_number_verified": True}
    with override_settings(CIAM_USER_FIELDS={"mobile": ["phone_number"]}):
        values = dict(_field_values(shop.MobileUser, claims))

    assert values == ({} if value is None else {"mobile": value})


def test_the_log_names_the_fields_of_a_user_that_cannot_be_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def save(user: User, **kwargs: Any) -> None:
        raise ValidationError({"email": "li@example.com is not allowed"})

    monkeypatch.setattr(User, "save", save)
    with pytest.raises(CiamError) as raised:
        create_user()

    assert raised.value.code == "bad_configuration"
    assert raised.value.upstream_text == "User can't be saved: ValidationError ['email']"


@pytest.mark.parametrize("value", [None, ""])
def test_a_required_field_with_an_empty_value_is_named(value: str | None) -> None:
    with pytest.raises(CiamError) as raised:
        _check_complete(shop.StrictUser, {"mobile": value})

    assert "StrictUser needs a value for 'mobile'" in raised.value.upstream_text


def test_the_log_names_a_unique_field_that_the_model_has_not_filled() -> None:
    user = shop.ForgetfulUser(username="li")

    assert [field.name for field in _unfilled_fields(user)] == ["number"]


def forget_to_save(person: Person) -> AbstractBaseUser:
    return User(username="li")


def test_a_function_of_the_project_must_return_a_saved_user(settings: Settings) -> None:
    settings.CIAM_NEW_USER = f"{__name__}.forget_to_save"
    with pytest.raises(CiamError) as raised:
        create_user()

    assert raised.value.code == "bad_configuration"
    assert "returned no saved user" in raised.value.upstream_text


def test_only_a_user_name_can_be_random_if_no_scope_asks_for_its_claim(settings: Settings) -> None:
    settings.CIAM_USER_FIELDS = {"username": ["nickname"], "tenant": ["email", "name"]}

    assert list(unrequested_claims(shop.TenantUser, ["openid"])) == [("tenant", "email", "email")]
    assert list(unrequested_claims(shop.TenantUser, ["openid", "profile"])) == []
    settings.CIAM_USER_FIELDS = {"tenant": ["email"]}
    all_but_email = ["openid", "profile", "phone"]
    assert list(unrequested_claims(shop.TenantUser, all_but_email)) == [
        ("tenant", "email", "email")
    ]


@pytest.mark.parametrize(("number", "reason"), [(None, "needs a value for 'number'"), (7, "")])
def test_a_user_that_the_database_refuses_is_a_misconfiguration_only_without_a_value(
    monkeypatch: pytest.MonkeyPatch, number: int | None, reason: str
) -> None:
    def refuse(user: shop.ForgetfulUser, **options: object) -> None:
        vars(user)["number"] = number
        raise IntegrityError("a value of a person")

    monkeypatch.setattr(shop.ForgetfulUser, "save", refuse)
    monkeypatch.setattr(users, "get_user_model", lambda: shop.ForgetfulUser)
    with pytest.raises(CiamError if reason else IntegrityError) as raised:
        user_from_claims(person())

    if isinstance(raised.value, CiamError):
        assert raised.value.code == "bad_configuration"
        assert f"ForgetfulUser {reason}" in raised.value.upstream_text
