"""The configuration of the app ``ciam_django.accounts``."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import pre_delete
from django.utils.translation import pgettext_lazy

from ciam_django.signals import login_failed


class CiamAccountsConfig(AppConfig):
    """The app with the models of identities and CIAM sessions."""

    name = "ciam_django.accounts"
    label = "ciam_accounts"
    verbose_name = pgettext_lazy("ciam", "CIAM accounts")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the receivers of ``login_failed`` and of Django's signals."""
        # These modules import models, which Django loads before it calls ready().
        from ciam_django.accounts.last_failure import record_login_failure  # noqa: PLC0415  (imports models)
        from ciam_django.accounts.login import (  # noqa: PLC0415  (imports models)
            end_session_on_logout,
            send_user_login_failed,
        )
        from ciam_django.accounts.session_store import end_sessions_on_delete  # noqa: PLC0415  (imports models)

        login_failed.connect(send_user_login_failed, dispatch_uid=self.label)
        login_failed.connect(record_login_failure, dispatch_uid=f"{self.label}.failures")
        user_logged_out.connect(end_session_on_logout, dispatch_uid=self.label)
        identity = f"{self.label}.CiamIdentity"
        pre_delete.connect(end_sessions_on_delete, sender=identity, dispatch_uid=self.label)
