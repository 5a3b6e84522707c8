"""``CiamBackend``: a person of CIAM in, a user out, made at the first sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from ciam_django.accounts.models import CiamIdentity, identity_key
from ciam_django.accounts.users import new_user
from ciam_django.client.person import Person
from ciam_django.errors import CiamError

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class CiamBackend(ModelBackend):
    """For ``AUTHENTICATION_BACKENDS``; permissions are those of Django's own backend."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        *,
        ciam_person: Person | None = None,
        **kwargs: Any,
    ) -> User | None:
        """The user of the person; None if the project has switched that user off.

        Who comes with a password is for Django's own backend.
        """
        if ciam_person is None:
            return None
        # The stubs know only the one user model of the tests.
        user = cast("User", user_of(ciam_person))
        return user if self.user_can_authenticate(user) else None


def user_of(person: Person) -> AbstractBaseUser:
    """The user whom a person has signed in as before, or a new one."""
    key = identity_key(person.issuer, person.subject)
    try:
        identity = CiamIdentity.objects.select_related("user").get(key=key)
    except CiamIdentity.DoesNotExist:
        try:
            with transaction.atomic():
                identity = _created(person, key)
        except IntegrityError as error:
            # The same person's first sign-in in another tab was faster, or else another user has
            # what has to be unique: an email address, say.
            found = CiamIdentity.objects.select_related("user").filter(key=key).first()
            if found is None:
                raise CiamError("account_exists", stage="callback") from error
            identity = found
    CiamIdentity.objects.filter(pk=identity.pk).update(last_sign_in_at=timezone.now())
    return identity.user


def _created(person: Person, key: str) -> CiamIdentity:
    # The stubs know only the one user model of the tests.
    user = cast("User", new_user(person, key))
    return CiamIdentity.objects.create(user=user, issuer=person.issuer, subject=person.subject)
