"""Show identities in Django's admin, with actions that CIAM performs for the person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import Max, QuerySet
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.timezone import is_aware, localtime
from django.utils.translation import pgettext, pgettext_lazy

from ciam_django.accounts.last_failure import last_failure_of
from ciam_django.accounts.models import CiamIdentity
from ciam_django.accounts.session_store import end_sessions
from ciam_django.client.api import CiamClient
from ciam_django.errors import CiamError
from ciam_django.reporting import answer_and_report

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[CiamIdentity]
else:
    # Only the stubs' class takes a parameter.
    _ModelAdmin = admin.ModelAdmin

_FIELDS = (
    "user",
    "issuer",
    "subject",
    "union_id",
    "provider",
    "key",
    "created_at",
    "last_sign_in",
    "last_failure",
)


@admin.register(CiamIdentity)
class CiamIdentityAdmin(_ModelAdmin):
    """Pages of identities, with a search by the names at CIAM and at this site.

    An identity can be deleted, but not added or edited.

    The actions need the permission ``ciam_accounts.manage_ciamidentity``. Each action adds an entry
    to the admin's history, also where CIAM refuses the action.
    """

    list_display = ("subject", "user", "issuer", "provider", "last_sign_in")
    list_filter = ("issuer", "provider")
    list_select_related = ("user",)
    readonly_fields = _FIELDS
    fields = _FIELDS
    actions = ("unlock", "disable", "enable")

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the search fields, with the ``USERNAME_FIELD`` of the project's user model."""
        user = CiamIdentity._meta.get_field("user").related_model
        name = getattr(user, "USERNAME_FIELD", "pk")
        return ("=subject", "=union_id", "=key", f"user__{name}")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CiamIdentity]:
        """Return the identities, each with the time of the newest sign-in."""
        return super().get_queryset(request).annotate(last_sign_in=Max("sessions__created_at"))

    @admin.display(description=pgettext_lazy("ciam", "last sign-in"), ordering="last_sign_in")
    def last_sign_in(self, identity: CiamIdentity) -> str | None:
        """Return the time of the newest sign-in; None if no sign-in is stored."""
        at = vars(identity).get("last_sign_in")
        return _local_time(at) if at else None

    @admin.display(description=pgettext_lazy("ciam", "last failure"))
    def last_failure(self, identity: CiamIdentity) -> str | None:
        """Return the time, the code and the request id of the last failure; None without a failure.

        The log line has the same request id, and CIAM's support asks for this id.
        """
        failure = last_failure_of(identity)
        if failure is None:
            return None
        return f"{_local_time(failure.at)} · {failure.code} · {failure.request_id}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False, because only a sign-in creates an identity."""
        return False

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Return True if the user has the permission for the three actions at CIAM."""
        return request.user.has_perm("ciam_accounts.manage_ciamidentity")

    @admin.action(description=pgettext_lazy("ciam", "Unlock in CIAM"), permissions=["manage"])
    def unlock(self, request: HttpRequest, identities: QuerySet[CiamIdentity]) -> None:
        """Unlock people at CIAM who failed to sign in too often."""
        self._call_ciam(
            request, identities, CiamClient().unlock_user, pgettext("ciam", "Unlocked in CIAM.")
        )

    @admin.action(description=pgettext_lazy("ciam", "Disable in CIAM"), permissions=["manage"])
    def disable(self, request: HttpRequest, identities: QuerySet[CiamIdentity]) -> None:
        """Disable people at CIAM, and end their sessions here."""
        disabled = self._call_ciam(
            request, identities, CiamClient().disable_user, pgettext("ciam", "Disabled in CIAM.")
        )
        for identity in disabled:
            end_sessions(identity.sessions.all(), "ended")

    @admin.action(description=pgettext_lazy("ciam", "Enable in CIAM"), permissions=["manage"])
    def enable(self, request: HttpRequest, identities: QuerySet[CiamIdentity]) -> None:
        """Enable disabled people at CIAM, so that they can sign in again."""
        self._call_ciam(
            request, identities, CiamClient().enable_user, pgettext("ciam", "Enabled in CIAM.")
        )

    def _call_ciam(
        self,
        request: HttpRequest,
        identities: QuerySet[CiamIdentity],
        call: Callable[[str], None],
        success_text: str,
    ) -> list[CiamIdentity]:
        """Call CIAM for each identity; return the identities whose call succeeded.

        Also show a message for each identity, and add an entry to the admin's history.
        """
        succeeded = []
        for identity in identities:
            try:
                call(identity.subject)
            except CiamError as error:
                answer = answer_and_report(error, request)
                text = f"{answer.detail} ({answer.code}, {answer.request_id})"
                self.message_user(request, f"{text} · {identity.subject}", messages.ERROR)
            else:
                text = success_text
                succeeded.append(identity)
                self.message_user(request, f"{text} · {identity.subject}", messages.SUCCESS)
            self.log_change(request, identity, text)
        return succeeded


def _local_time(at: datetime) -> str:
    """Format the time in the current time zone, or unchanged in a project without time zones."""
    return localize(localtime(at) if is_aware(at) else at)
