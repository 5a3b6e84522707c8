"""User models as projects have them."""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now


class ShopUser(AbstractBaseUser):
    """The members that all models share."""

    objects: ClassVar[BaseUserManager[Any]] = BaseUserManager()
    USERNAME_FIELD: ClassVar[str]
    shown: ClassVar[tuple[str, ...]] = ()

    class Meta:
        abstract = True
        app_label = "shop"

    def values(self) -> dict[str, str]:
        """Return the shown fields as texts."""
        return {name: str(getattr(self, name)) for name in (self.USERNAME_FIELD, *self.shown)}


class EmailUser(ShopUser):
    """The email address is the user name, and the primary key is a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    USERNAME_FIELD = "email"


class MobileUser(ShopUser):
    """The mobile number of 11 digits is the user name."""

    mobile = models.CharField(max_length=11, unique=True)
    USERNAME_FIELD = "mobile"


class DefaultsUser(ShopUser):
    """The database fills the required fields."""

    username = models.CharField(max_length=10, unique=True)
    plan = models.CharField(max_length=10, db_default="free")
    points = models.IntegerField(db_default=7)
    joined_at = models.DateTimeField(db_default=Now())
    USERNAME_FIELD = "username"
    shown: ClassVar[tuple[str, ...]] = ("plan", "points")


if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:
    # Only the stubs' class takes parameters.
    _CharField = models.CharField


class SerialField(_CharField):
    """A field that fills itself."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = f"serial-{secrets.token_hex(4)}"
        setattr(model_instance, self.attname, value)
        return value


class NumberedUser(ShopUser):
    """``save`` and ``pre_save`` fill unique fields that no form edits."""

    username = models.CharField(max_length=150, unique=True)
    number = models.CharField(max_length=20, unique=True, editable=False)
    serial = SerialField(max_length=20, unique=True)
    USERNAME_FIELD = "username"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.number = self.number or f"number-{secrets.token_hex(4)}"
        super().save(*args, **kwargs)


class SavedUser(ShopUser):
    """``save`` fills a required field that a form can edit."""

    username = models.CharField(max_length=150, unique=True)
    slug = models.SlugField(unique=True)
    USERNAME_FIELD = "username"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.slug = self.slug or f"slug-{secrets.token_hex(4)}"
        super().save(*args, **kwargs)


class IntegerUser(ShopUser):
    """The user name is a number."""

    number = models.PositiveIntegerField(unique=True)
    USERNAME_FIELD = "number"


class UuidUser(ShopUser):
    """The user name is a UUID without a default."""

    name = models.UUIDField(primary_key=True)
    USERNAME_FIELD = "name"


class BirthdayUser(ShopUser):
    """The claims do not fit the fields."""

    username = models.BigIntegerField(unique=True)
    birthdate = models.DateField(null=True, blank=True)
    gender = models.CharField(max_length=1, blank=True, choices=[("m", "male"), ("f", "female")])
    USERNAME_FIELD = "username"
    shown: ClassVar[tuple[str, ...]] = ("birthdate", "gender")


class StrictUser(ShopUser):
    """The user name must be a mobile number, and the project names no claim for it."""

    mobile = models.CharField(max_length=11, unique=True, validators=[RegexValidator(r"^1\d{10}$")])
    USERNAME_FIELD = "mobile"


class Tenant(models.Model):
    """A customer of the project."""

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"tenant {self.pk}"


class TenantUser(ShopUser):
    """A user needs a tenant."""

    username = models.CharField(max_length=150, unique=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    USERNAME_FIELD = "username"


class CleanUser(ShopUser):
    """``save`` validates the user, and the email address is missing."""

    username = models.CharField(max_length=150, unique=True)
    email = models.EmailField()
    USERNAME_FIELD = "username"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.full_clean()
        super().save(*args, **kwargs)


class ForgetfulUser(ShopUser):
    """``save`` should fill the unique number, and does not."""

    username = models.CharField(max_length=150, unique=True)
    number = models.IntegerField(unique=True, editable=False)
    USERNAME_FIELD = "username"

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
