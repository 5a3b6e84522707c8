"""The configuration of the app ``ciam_django.accounts``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth.signals import user_logged_out
from django.core import checks
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
        checks.register(check_main_app, "ciam_django")


def check_main_app(app_configs: object, **kwargs: Any) -> Iterator[checks.CheckMessage]:
    """Check that the app ``ciam_django``, which registers all other checks, is installed."""
    if not apps.is_installed("ciam_django"):
        # The id is the id of "app" in checks/messages.py, which this app must not import.
        yield checks.Warning(
            "INSTALLED_APPS has 'ciam_django.accounts', and lacks 'ciam_django'.",
            hint="Without it, there are no translations, styles and checks. Allowed: the lines "
            "'ciam_django' and 'ciam_django.accounts' in INSTALLED_APPS.",
            id="ciam_django.W097",
        )
