"""Create a user from the claims of a person of CIAM."""

from __future__ import annotations

import contextlib
import secrets
import string
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeGuard, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, router
from django.db.models import (
    NOT_PROVIDED,
    AutoField,
    BigIntegerField,
    CharField,
    EmailField,
    Field,
    IntegerField,
    Model,
    PositiveBigIntegerField,
    TextField,
    UUIDField,
)
from django.db.models.signals import pre_save
from django.utils.module_loading import import_string

from ciam_django.client.person import Person
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.phone_numbers import phonenumbers
from ciam_django.privacy import own_text

# Addresses and phone numbers, in the spelling of OpenID Connect and of CIAM. Sites trust them, so
# that only the owner of an address may have the address here.
CONTACT_CLAIMS: Final = frozenset({"email", "phone_number", "phoneNumber"})
_PHONE_CLAIMS: Final = CONTACT_CLAIMS - {"email"}
# Claim -> the scope that asks for it (OpenID Connect Core, section 5.4).
_CLAIM_SCOPES: Final[Mapping[str, str]] = {
    "email": "email",
    "phone_number": "phone",
    **dict.fromkeys(
        ("name", "given_name", "family_name", "nickname", "preferred_username"), "profile"
    ),
}
# A random user name has a prefix if 10 random characters are left, and at least 8 characters.
_MIN_PREFIXED_LENGTH: Final = 15
_MIN_LENGTH: Final = 8
# From this length on, a random user name has 60 random bits or more, so that no user has it.
_LONG_LENGTH: Final = 20
_NAME_CHARACTERS: Final = string.ascii_lowercase + string.digits
_ATTEMPTS: Final = 3


def create_user(person: Person) -> AbstractBaseUser:
    """Create, save and return a user for a person without a user.

    If ``CIAM_NEW_USER`` names a function of the project, this function creates the user. Otherwise
    ``user_from_claims`` does. Raises ``CiamError``, ``bad_configuration``, with the reason why
    there is no saved user.
    """
    if conf.CIAM_NEW_USER:
        project_user: AbstractBaseUser | None = import_string(conf.CIAM_NEW_USER)(person)
        if project_user is None or project_user._state.adding:
            raise _bad_model(f"{conf.CIAM_NEW_USER} returned no saved user")
        return project_user
    return user_from_claims(person)


def user_from_claims(person: Person) -> AbstractBaseUser:
    """Create, save and return a user whose fields have the values of the person's claims.

    A function of ``CIAM_NEW_USER`` can call this function. The claims fill the fields of
    ``CIAM_USER_FIELDS`` that the user model has and that accept the values. Raises ``CiamError``:
    ``bad_configuration`` with the name of a required field that has no value, or with the reason
    why the user can't be saved. An existing user is never found by email address or phone number: a
    person who types an address at CIAM is not necessarily the user with this address here.
    """
    model = get_user_model()
    values = dict(_field_values(model, person.claims))
    username = _username_field(model)
    if username.name not in values and (new_username := _unused_username(model)) is not None:
        values[username.name] = new_username
    if not has_own_save(model):
        # Before the user is saved, because receivers of ``post_save`` may send an email.
        _check_complete(model, values)
    user: AbstractBaseUser = model(**values)
    user.set_unusable_password()
    try:
        # Never an existing user, also if a claim is the primary key.
        user.save(force_insert=True)
    except (ValidationError, ValueError, DataError) as error:
        # The texts of these exceptions can have personal data.
        fields = sorted(getattr(error, "error_dict", ()))
        raise _bad_model(
            f"{model.__name__} can't be saved: {type(error).__name__} {fields}"
        ) from error
    except IntegrityError:
        _check_complete(model, vars(user), _unfilled_fields(user))
        raise
    _check_complete(model, vars(user))
    return user


def _field_values(
    model: type[AbstractBaseUser], claims: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each field of ``CIAM_USER_FIELDS`` that accepts a claim."""
    for name, claim_names in conf.CIAM_USER_FIELDS.items():
        field = fillable_fields(model).get(name)
        if field is None:
            continue
        for claim_name in claim_names:
            value = _accepted_value(field, claim_name, _usable_claim(claims, claim_name))
            if value is not None:
                yield name, value
                break


def _accepted_value(field: Field[Any, Any], claim_name: str, claim: str) -> Any:
    """Return the claim as a value that the field accepts; None if the field refuses the claim.

    The date "0000-05-01", which OpenID Connect allows for a birthday without a year, is refused by
    a ``DateField``. A phone number of the own country is shortened to its national form, and a name
    to the length of the field. Other values are never shortened: a shortened address or number is
    the address or number of another person.
    """
    candidates = [claim] if claim else []
    is_exact = (
        claim_name in CONTACT_CLAIMS
        or field.unique
        or field.choices
        or isinstance(field, EmailField)
    )
    if claim and claim_name in _PHONE_CLAIMS:
        candidates.append(_national_number(claim))
    elif claim and not is_exact:
        candidates.append(claim[: field.max_length])
    for candidate in candidates:
        with contextlib.suppress(ValidationError):
            return field.clean(candidate, None)
    return None


def _national_number(text: str) -> str:
    """Return the national form of a phone number of ``CIAM_PHONE_REGION``; otherwise the text."""
    with contextlib.suppress(phonenumbers.NumberParseException):
        number = phonenumbers.parse(text)
        if phonenumbers.region_code_for_number(number) == conf.CIAM_PHONE_REGION:
            return phonenumbers.national_significant_number(number)
    return text


def _usable_claim(claims: Mapping[str, Any], name: str) -> str:
    """Return a claim that is a text and that is verified if it must be; else an empty text."""
    value = claims.get(name)
    return value if _is_storable_text(value) and _is_verified(claims, name) else ""


def _is_verified(claims: Mapping[str, Any], name: str) -> bool:
    """Return True for a claim that the person has proven, or that needs no proof.

    OpenID Connect Core 1.0, section 5.1: ``email_verified`` and ``phone_number_verified`` are true.
    CIAM does not document a name of its own; ``emailVerified`` is a guess (unverified).
    """
    marks = [claims.get(f"{name}_verified"), claims.get(f"{name}Verified")]
    mark = next((mark for mark in marks if mark is not None), None)
    if mark is None:
        return name not in CONTACT_CLAIMS or name in conf.CIAM_VERIFIED_CLAIMS
    # Serializers also write the text "true".
    return mark is True or mark == "true"


def _is_storable_text(value: object) -> TypeGuard[str]:
    """Return True for a text that databases accept: no NUL, and no unpaired surrogate."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return value.encode(errors="replace").decode() == value != ""


def fillable_fields(model: type[AbstractBaseUser]) -> dict[str, Field[Any, Any]]:
    """Return the fields, by name, that a claim can fill with a text."""
    return {
        field.name: field
        for field in model._meta.concrete_fields
        if not field.is_relation
        and field.name != "password"
        and (not field.primary_key or field.name == _username_field(model).name)
    }


# --- What a user model needs ------------------------------------------------------------------


def _unused_username(model: type[AbstractBaseUser]) -> Any:
    """Return a random user name that no user has; None if no random user name fits."""
    users, field = model._base_manager.using(router.db_for_write(model)), _username_field(model)
    names = (random_username(model) for _ in range(_ATTEMPTS))
    # In a small range, the first name may belong to a user. A long random name is new.
    return next(
        (
            name
            for name in names
            if len(str(name)) >= _LONG_LENGTH or not users.filter(**{field.name: name}).exists()
        ),
        None,
    )


def random_username(model: type[AbstractBaseUser]) -> Any:
    """Return a random user name that the model accepts; None if no random user name fits.

    Random, because another user may already have a name that is made from the claims. None for an
    email address, and for a field that the model fills.
    """
    field = _username_field(model)
    has_own_default = (field.has_default() and callable(field.default)) or _has_db_default(field)
    if field.editable and not has_own_default:
        with contextlib.suppress(ValidationError):
            return field.clean(_random_value(field), None)
    return None


def _random_value(field: Field[Any, Any]) -> Any:
    """Return a random value for a field of user names; None for a type without random values."""
    if isinstance(field, UUIDField):
        return uuid.uuid4()
    if isinstance(field, IntegerField):
        is_big = isinstance(field, BigIntegerField | PositiveBigIntegerField)
        # JavaScript reads integers up to 2**53.
        low, high = (2**52, 2**53) if is_big else (2**30, 2**31)
        return secrets.randbelow(high - low) + low
    if isinstance(field, CharField | TextField) and not isinstance(field, EmailField):
        name = f"ciam-{secrets.token_hex(12)}"
        length = field.max_length or len(name)
        if length >= _MIN_PREFIXED_LENGTH:
            return name[:length]
        if length >= _MIN_LENGTH:
            return "".join(secrets.choice(_NAME_CHARACTERS) for _ in range(length))
    return None


def has_own_save(model: type[AbstractBaseUser]) -> bool:
    """Return True if the model may fill its fields when it is saved."""
    return model.save not in (Model.save, AbstractBaseUser.save) or pre_save.has_listeners(model)


def required_fields(model: type[AbstractBaseUser]) -> Iterator[Field[Any, Any]]:
    """Yield the fields that need a value, and that no default and no ``pre_save`` fills."""
    for field in model._meta.concrete_fields:
        is_optional = field.blank or field.null or not field.editable or field.name == "password"
        is_parent_link = bool(field.remote_field and field.remote_field.parent_link)
        has_own_default = field.has_default() or _has_db_default(field)
        has_own_pre_save = not type(field).pre_save.__module__.startswith("django.db.models.")
        if not (is_optional or is_parent_link or has_own_default or has_own_pre_save):
            yield field


def unrequested_claims(
    model: type[AbstractBaseUser], scopes: Iterable[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield the required fields whose claims are in none of the scopes of the client.

    Each item has the name of the field, a claim, and the scope that asks for the claim.
    """
    claim_names: Any = conf.CIAM_USER_FIELDS
    if conf.CIAM_NEW_USER or has_own_save(model) or not isinstance(claim_names, Mapping):
        return
    unrequested = {claim: scope for claim, scope in _CLAIM_SCOPES.items() if scope not in scopes}
    for field in required_fields(model):
        names = set(claim_names.get(field.name) or ())
        is_random = field == _username_field(model) and random_username(model) is not None
        if names and names <= unrequested.keys() and not is_random:
            claim = min(names)
            yield field.name, claim, unrequested[claim]


def _unfilled_fields(user: AbstractBaseUser) -> Iterator[Field[Any, Any]]:
    """Yield the fields without a value for which a database refuses a user.

    Another user may also have the empty text of a unique field.
    """
    for field in user._meta.concrete_fields:
        value = getattr(user, field.attname)
        is_missing = value is None and not field.null and not isinstance(field, AutoField)
        if is_missing or (value == "" and field.unique):
            yield field


def _username_field(model: type[AbstractBaseUser]) -> Field[Any, Any]:
    # The stubs of the base class lack USERNAME_FIELD.
    user_model: Any = model
    return cast("Field[Any, Any]", model._meta.get_field(user_model.USERNAME_FIELD))


def _has_db_default(field: Field[Any, Any]) -> bool:
    return field.db_default is not NOT_PROVIDED


def _is_empty(value: object) -> bool:
    return value is None or value == ""


def _check_complete(
    model: type[AbstractBaseUser],
    values: Mapping[str, Any],
    fields: Iterable[Field[Any, Any]] | None = None,
) -> None:
    """Raise ``bad_configuration`` with the name of the first required field without a value."""
    for field in required_fields(model) if fields is None else fields:
        if _is_empty(values.get(field.attname)):
            claim_names = conf.CIAM_USER_FIELDS.get(field.name, ())
            raise _bad_model(
                f"{model.__name__} needs a value for {field.name!r}: CIAM_USER_FIELDS "
                f"takes it from {list(claim_names)}, and CIAM sends none of these claims, or "
                "does not send that the claim is verified (CIAM_VERIFIED_CLAIMS)"
            )


def _bad_model(reason: str) -> CiamError:
    return CiamError("bad_configuration", stage=Stage.CALLBACK, upstream_text=own_text(reason))
