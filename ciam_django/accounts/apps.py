"""The app ``ciam_django.accounts``."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CiamAccountsConfig(AppConfig):
    """The models of who signed in."""

    name = "ciam_django.accounts"
    label = "ciam_accounts"
    verbose_name = _("CIAM accounts")
    default_auto_field = "django.db.models.BigAutoField"
