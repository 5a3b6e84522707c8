"""Find the identities that a fake CIAM has left, and remove them with the users of their sign-ins.

``issuers.py`` tells the issuer of a fake CIAM from the issuer of a tenant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router
from django.db.models import DateTimeField

from ciam_django.accounts.backends import accounts_transaction
from ciam_django.accounts.models import CiamIdentity

# A sign-in creates the identity directly after the user. ``CIAM_NEW_USER`` may take some seconds.
_MAX_AGE_DIFFERENCE: Final = timedelta(minutes=1)
_CREATED_AT: Final = "date_joined"


@dataclass(frozen=True, slots=True)
class UserOfFake:
    """A user with identities of a fake CIAM; an empty ``reason_to_keep`` allows the deletion."""

    user: AbstractBaseUser
    identities: Sequence[CiamIdentity]
    reason_to_keep: str


def find_users_of(issuers: Collection[str]) -> list[UserOfFake]:
    """Return the users with identities of these issuers, and the reasons to keep users."""
    identities = CiamIdentity.objects.filter(issuer__in=issuers).order_by("created_at", "pk")
    by_user: dict[Any, list[CiamIdentity]] = {}
    for identity in identities:
        by_user.setdefault(identity.user_id, []).append(identity)
    # The base manager also finds the users that the default manager of the model hides.
    users = get_user_model()._base_manager.using(router.db_for_write(CiamIdentity))
    return [
        UserOfFake(user, by_user[user.pk], _reason_to_keep(user, by_user[user.pk]))
        for user in users.filter(pk__in=by_user).order_by("pk")
    ]


def forget_users(users_of_fake: Sequence[UserOfFake]) -> None:
    """Delete the identities, end their sessions, and delete the users without a reason to keep."""
    with accounts_transaction():
        for user_of_fake in users_of_fake:
            # One by one: the receivers of ``pre_delete`` end the sessions.
            for identity in user_of_fake.identities:
                identity.delete()
            if not user_of_fake.reason_to_keep:
                user_of_fake.user.delete()


def _reason_to_keep(user: AbstractBaseUser, identities: Sequence[CiamIdentity]) -> str:
    """The reason why the user must stay; empty if only the sign-ins at the fake made the user."""
    of_user = CiamIdentity.objects.filter(user_id=user.pk)
    other = of_user.exclude(pk__in=[identity.pk for identity in identities]).first()
    if other:
        return f"has an identity of {other.issuer}"
    if getattr(user, "is_staff", False) or getattr(user, "is_superuser", False):
        return "is a member of the staff"
    if user.has_usable_password():
        return "has a password"
    created_at = _created_at(user)
    if created_at is None:
        return f"has no {_CREATED_AT}, which shows if the sign-in has created the user"
    if abs(identities[0].created_at - created_at) > _MAX_AGE_DIFFERENCE:
        return "is older than the first sign-in"
    referring = next(_referring_models(user), "")
    return f"is used by {referring}" if referring else ""


def _created_at(user: AbstractBaseUser) -> datetime | None:
    """The time at which the user was created; None if the model does not store it."""
    fields = [field for field in user._meta.concrete_fields if isinstance(field, DateTimeField)]
    names = [field.name for field in fields if field.auto_now_add or field.name == _CREATED_AT]
    values = (getattr(user, name) for name in names)
    return next((value for value in values if isinstance(value, datetime)), None)


def _referring_models(user: AbstractBaseUser) -> Iterator[str]:
    """Yield the names of the models with a row that refers to the user."""
    fields: Sequence[Any] = user._meta.private_fields
    # Django deletes the rows of a GenericRelation with the user.
    for field in (field for field in fields if hasattr(field, "bulk_related_objects")):
        database = router.db_for_write(field.related_model)
        if field.bulk_related_objects([user], database).exists():
            yield field.related_model._meta.label
    for relation in user._meta.get_fields(include_hidden=True):
        is_reverse = relation.auto_created and not relation.concrete
        if not is_reverse or not relation.is_relation or relation.many_to_many:
            continue
        model: Any = relation.related_model
        reference: Any = relation
        if model is CiamIdentity:
            continue
        # A row of a replica may be missing.
        rows = model._base_manager.using(router.db_for_write(model))
        if rows.filter(**{reference.field.name: user}).exists():
            yield model._meta.label
