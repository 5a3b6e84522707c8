"""Create a user from the claims of a person of CIAM."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeGuard

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import EmailField, Field
from django.utils.module_loading import import_string

from ciam_django.client.person import Person
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage

# Addresses and phone numbers, in the spelling of OpenID Connect and of CIAM. Sites trust them, so
# that only the owner of an address may have the address here.
_CONTACT_CLAIMS: Final = frozenset({"email", "phone_number", "phoneNumber"})


def create_user(person: Person) -> AbstractBaseUser:
    """Create, save and return a user for a person without a user.

    If ``CIAM_NEW_USER`` names a function of the project, this function creates the user. Otherwise
    the claims fill the fields of ``CIAM_USER_FIELDS`` that the user model has. Raises
    ``CiamError``: ``bad_configuration`` with the name of a required field that has no value. An
    existing user is never found by email address or phone number: a person who types an address at
    CIAM is not necessarily the user with this address here.
    """
    if conf.CIAM_NEW_USER:
        project_user: AbstractBaseUser = import_string(conf.CIAM_NEW_USER)(person)
        return project_user
    model = get_user_model()
    values = dict(_field_values(person.claims))
    if not isinstance(model._meta.get_field(model.USERNAME_FIELD), EmailField):
        # Random, because another user may already have a name that is made from the claims.
        values.setdefault(model.USERNAME_FIELD, f"ciam-{secrets.token_hex(12)}")
    _check_complete(model, values)
    user: AbstractBaseUser = model(**values)
    user.set_unusable_password()
    user.save()
    return user


def _field_values(claims: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, claim_names in conf.CIAM_USER_FIELDS.items():
        field = fillable_fields(get_user_model()).get(name)
        if field is not None and (value := _first_usable_claim(claims, claim_names, field)):
            yield name, value[: field.max_length]


def _first_usable_claim(
    claims: Mapping[str, Any], claim_names: Sequence[str], field: Field[Any, Any]
) -> str:
    """Return the first claim that is a text and that the field can take; else an empty text.

    A long name is cut, but a long address would become the address of another person.
    """
    for name in claim_names:
        value = claims.get(name)
        if not _is_storable_text(value) or not _is_verified(claims, name):
            continue
        is_identifier = name in _CONTACT_CLAIMS or field.unique or isinstance(field, EmailField)
        if not is_identifier or len(value) <= (field.max_length or len(value)):
            return str(value)
    return ""


def _is_verified(claims: Mapping[str, Any], name: str) -> bool:
    """Return True for a claim that the person has proven, or that needs no proof.

    OpenID Connect Core 1.0, section 5.1: ``email_verified`` and ``phone_number_verified`` are true.
    CIAM does not document a name of its own; ``emailVerified`` is a guess (unverified).
    """
    marks = [claims.get(f"{name}_verified"), claims.get(f"{name}Verified")]
    mark = next((mark for mark in marks if mark is not None), None)
    if mark is None:
        return name not in _CONTACT_CLAIMS or name in conf.CIAM_VERIFIED_CLAIMS
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
        if not field.is_relation and not field.primary_key and field.name != "password"
    }


def _check_complete(model: type[AbstractBaseUser], values: Mapping[str, str]) -> None:
    """Raise ``bad_configuration`` with the name of the first required field without a value."""
    for name, field in fillable_fields(model).items():
        is_needed = not (field.blank or field.null or field.has_default())
        if is_needed and name not in values:
            claim_names = conf.CIAM_USER_FIELDS.get(name, ())
            raise CiamError(
                "bad_configuration",
                stage=Stage.CALLBACK,
                upstream_text=f"{model.__name__} needs a value for {name!r}: CIAM_USER_FIELDS "
                f"takes it from {list(claim_names)}, and CIAM sends none of these claims, or does "
                "not send that the claim is verified (CIAM_VERIFIED_CLAIMS)",
            )
