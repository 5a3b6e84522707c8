"""The app ``ciam_django.accounts``."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out
from django.utils.translation import gettext_lazy as _

from ciam_django.signals import checking, checking_databases, login_failed


class CiamAccountsConfig(AppConfig):
    """The models of who signed in."""

    name = "ciam_django.accounts"
    label = "ciam_accounts"
    verbose_name = _("CIAM accounts")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Pass on what Django has a signal for, and hear when somebody signs out."""
        from ciam_django.accounts.last_failure import note_failure  # noqa: PLC0415
        from ciam_django.accounts.login import (  # noqa: PLC0415
            let_go,
            tell_of_wrong_credentials,
        )
        from ciam_django.checks.accounts import slips, slips_of_identities  # noqa: PLC0415

        checking.connect(slips, dispatch_uid=self.label)
        checking_databases.connect(slips_of_identities, dispatch_uid=self.label)
        login_failed.connect(tell_of_wrong_credentials, dispatch_uid=self.label)
        login_failed.connect(note_failure, dispatch_uid=f"{self.label}.failures")
        user_logged_out.connect(let_go, dispatch_uid=self.label)
