"""The identities in Django's admin: to look at; CIAM decides who they are."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import Max, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ciam_django.accounts.models import CiamIdentity

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[CiamIdentity]
else:
    # Only the stubs' class takes a parameter.
    _ModelAdmin = admin.ModelAdmin


@admin.register(CiamIdentity)
class CiamIdentityAdmin(_ModelAdmin):
    """Search by the names that CIAM knows the person by."""

    list_display = ("subject", "user", "issuer", "provider", "last_sign_in")
    list_filter = ("issuer", "provider")
    search_fields = ("=subject", "=union_id", "=key")
    readonly_fields = (
        "user",
        "issuer",
        "subject",
        "key",
        "union_id",
        "provider",
        "created_at",
        "last_sign_in",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[CiamIdentity]:
        """The identities, with the time of the newest sign-in."""
        return super().get_queryset(request).annotate(last_sign_in=Max("sessions__created_at"))

    @admin.display(description=_("last sign-in"), ordering="last_sign_in")
    def last_sign_in(self, identity: CiamIdentity) -> datetime | None:
        """When they last signed in, as far as is known."""
        found: datetime | None = vars(identity)["last_sign_in"]
        return found

    def has_add_permission(self, request: HttpRequest) -> bool:
        """No: an identity is made by signing in."""
        return False
