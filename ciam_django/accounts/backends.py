"""``CiamBackend``: a person of CIAM in, a user out, made at the first sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from ciam_django.accounts.models import CiamIdentity, identity_key
from ciam_django.client.person import Person

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class CiamBackend(ModelBackend):
    """For ``AUTHENTICATION_BACKENDS``; permissions are those of Django's own backend."""

    def authenticate(  # type: ignore[override]  # Django passes what it was called with by name
        self, request: HttpRequest | None, ciam_person: Person | None = None, **kwargs: Any
    ) -> AbstractBaseUser | None:
        """The user of the person; None if the project has switched that user off."""
        if ciam_person is None:
            return None
        user = user_of(ciam_person)
        # The stubs know only the one user model of the tests.
        return user if self.user_can_authenticate(cast("User", user)) else None


def user_of(person: Person) -> AbstractBaseUser:
    """The user whom a person has signed in as before, or a new one."""
    key = identity_key(person.issuer, person.subject)
    try:
        identity = CiamIdentity.objects.select_related("user").get(key=key)
    except CiamIdentity.DoesNotExist:
        try:
            with transaction.atomic():
                identity = _created(person, key)
        except IntegrityError:
            # The same person's first sign-in in another tab was faster.
            identity = CiamIdentity.objects.select_related("user").get(key=key)
    CiamIdentity.objects.filter(pk=identity.pk).update(last_sign_in_at=timezone.now())
    return identity.user


def _created(person: Person, key: str) -> CiamIdentity:
    model = get_user_model()
    user = model(**{model.USERNAME_FIELD: f"ciam-{key[:24]}"})
    user.set_unusable_password()
    user.save()
    return CiamIdentity.objects.create(user=user, issuer=person.issuer, subject=person.subject)
