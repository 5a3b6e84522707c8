"""The identities in Django's admin: to look at; CIAM decides who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from ciam_django.accounts.models import CiamIdentity

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[CiamIdentity]
else:
    # Only the stubs' class takes a parameter.
    _ModelAdmin = admin.ModelAdmin


@admin.register(CiamIdentity)
class CiamIdentityAdmin(_ModelAdmin):
    """Search by the names that CIAM knows the person by."""

    list_display = ("subject", "user", "issuer", "last_sign_in_at")
    search_fields = ("subject", "key")
    readonly_fields = ("user", "issuer", "subject", "key", "created_at", "last_sign_in_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """No: an identity is made by signing in."""
        return False
