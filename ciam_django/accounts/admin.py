"""Show identities in Django's admin, with actions that CIAM performs for the person."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import admin, messages
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ciam_django.accounts.failure_pages import code_url
from ciam_django.accounts.last_failure import last_failures_of
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import end_sessions
from ciam_django.client.api import CiamClient
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.lookup import is_known
from ciam_django.privacy import masked_contact, masked_name
from ciam_django.provider_names import provider_name
from ciam_django.reporting import answer_and_report

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django_stubs_ext import StrPromise

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
    "last_failures",
)


_LINE_BREAK: Final = mark_safe("<br>")
# The people that the confirmation page names.
_MAX_PEOPLE_SHOWN: Final = 20
# Characters of a user name in the list, which fits a screen of 1280 pixels.
_LONGEST_USER_NAME: Final = 17
_PHONE_CLAIMS: Final = frozenset({"phone_number", "phoneNumber"})


@dataclasses.dataclass(frozen=True, slots=True)
class _Action:
    """An action at CIAM, with the texts of its confirmation and of its success."""

    label: str | StrPromise
    question: str | StrPromise
    result: str | StrPromise
    success: str | StrPromise
    ends_sessions: bool = False


_ACTIONS: Final[Mapping[str, _Action]] = {
    "unlock": _Action(
        pgettext_lazy("ciam", "Unlock in CIAM"),
        pgettext_lazy("ciam", "Unlock these people in CIAM?"),
        _("They don't have to wait until the lock ends."),
        pgettext_lazy("ciam", "Unlocked in CIAM."),
    ),
    "disable": _Action(
        pgettext_lazy("ciam", "Disable in CIAM"),
        pgettext_lazy("ciam", "Disable these people in CIAM?"),
        _("They are signed out here, and can't sign in until somebody enables them again."),
        pgettext_lazy("ciam", "Disabled in CIAM."),
        ends_sessions=True,
    ),
    "enable": _Action(
        pgettext_lazy("ciam", "Enable in CIAM"),
        pgettext_lazy("ciam", "Enable these people in CIAM?"),
        pgettext_lazy("ciam", "They can sign in again."),
        pgettext_lazy("ciam", "Enabled in CIAM."),
    ),
}


def _stored_values(field: str) -> Iterator[str]:
    """Yield the different values of a field with an index, in order.

    Each value takes a query of one row. ``SELECT DISTINCT`` would read all rows.
    """
    rows = CiamIdentity.objects.order_by(field).values_list(field, flat=True)
    value = rows.first()
    while value is not None:
        yield value
        value = rows.filter(**{f"{field}__gt": value}).first()


class _ValueFilter(admin.SimpleListFilter):
    """A filter of a field with an index; the name of the field is ``parameter_name``.

    Django shows no filter without choices.
    """

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[CiamIdentity]
    ) -> QuerySet[CiamIdentity]:
        value = self.value()
        return queryset.filter(**{str(self.parameter_name): value}) if value else queryset


class _IssuerFilter(_ValueFilter):
    """A filter of the issuers, shown only if there are several issuers."""

    title = pgettext_lazy("ciam", "issuer")
    parameter_name = "issuer"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        issuers = [(issuer, issuer) for issuer in _stored_values("issuer")]
        return issuers if len(issuers) > 1 else []


class _ProviderFilter(_ValueFilter):
    """A filter with the names of the providers, shown only if there are providers."""

    title = pgettext_lazy("ciam", "provider")
    parameter_name = "provider"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        return sorted((slug, provider_name(slug)) for slug in _stored_values("provider") if slug)


def _contact_fields(user_model: type[AbstractBaseUser]) -> list[str]:
    """Return the fields of the user model with a mobile number or an email address."""
    names = [name for name, claims in conf.CIAM_USER_FIELDS.items() if _PHONE_CLAIMS & set(claims)]
    name_field = getattr(user_model, "USERNAME_FIELD", "")
    return [*names, user_model.get_email_field_name(), name_field]


@admin.register(CiamIdentity)
class CiamIdentityAdmin(_ModelAdmin):
    """Pages of identities, with a search by the names at CIAM and at this site.

    An identity can be deleted, but not added or edited.

    The actions need the permission ``ciam_accounts.manage_ciamidentity``. Each action adds an entry
    to the admin's history, also where CIAM refuses the action.
    """

    list_display = ("person", "contact", "user_name", "provider_name", "last_sign_in")
    list_filter = (_IssuerFilter, _ProviderFilter)
    list_select_related = ("user",)
    # Otherwise, the list counts all identities a second time.
    show_full_result_count = False
    readonly_fields = _FIELDS
    fields = _FIELDS
    actions = ("unlock", "disable", "enable")

    class Media:
        """The styles of the list."""

        css: ClassVar[dict[str, list[str]]] = {"all": ["ciam_django/admin.css"]}

    @admin.display(description=pgettext_lazy("ciam", "person"), ordering="subject")
    def person(self, identity: CiamIdentity) -> str:
        """Return the masked name of the user, or the end of the person's id at CIAM."""
        full_name = getattr(identity.user, "get_full_name", str)()
        # U+2060 keeps the ellipsis on the line of the id.
        return masked_name(full_name) or f"…\u2060{identity.subject[-8:]}"

    @admin.display(description=pgettext_lazy("ciam", "contact"))
    def contact(self, identity: CiamIdentity) -> str:
        """Return the masked mobile number or email address of the user."""
        user = identity.user
        values = [str(getattr(user, each, None) or "") for each in _contact_fields(type(user))]
        return next(filter(None, map(masked_contact, values)), "")

    @admin.display(description=pgettext_lazy("ciam", "user"), ordering="user")
    def user_name(self, identity: CiamIdentity) -> str:
        """Return the user's name, masked if it is a number or an address, shortened if it is long.

        The name of a user that this package has created has 29 characters.
        """
        name = str(identity.user)
        return masked_contact(name) or _shortened(name)

    @admin.display(description=pgettext_lazy("ciam", "provider"), ordering="provider")
    def provider_name(self, identity: CiamIdentity) -> str:
        """Return the name of the social provider; empty without a provider."""
        return provider_name(identity.provider)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the search fields, with the ``USERNAME_FIELD`` of the project's user model."""
        user = CiamIdentity._meta.get_field("user").related_model
        name = getattr(user, "USERNAME_FIELD", "pk")
        return ("=subject", "=union_id", "=key", f"user__{name}")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CiamIdentity]:
        """Return the identities, each with the time of the newest sign-in."""
        # A subquery is run only for the rows of the page. A join would group all sessions.
        sessions = CiamSession.objects.filter(identity=OuterRef("pk")).order_by("-created_at")
        newest, cleared = Subquery(sessions.values("created_at")[:1]), F("last_sign_in_at")
        # The result of Greatest depends on the database if one of the values is null.
        last_sign_in = Greatest(Coalesce(newest, cleared), Coalesce(cleared, newest))
        return super().get_queryset(request).annotate(last_sign_in=last_sign_in)

    @admin.display(description=pgettext_lazy("ciam", "last sign-in"), ordering="last_sign_in")
    def last_sign_in(self, identity: CiamIdentity) -> str:
        """Return the time of the newest sign-in, or a dash if no sign-in is stored."""
        at = vars(identity).get("last_sign_in")
        return _local_time(at) if at else self.get_empty_value_display()

    @admin.display(description=pgettext_lazy("ciam", "last failures"))
    def last_failures(self, identity: CiamIdentity) -> str:
        """Return the time, code and request id of the last failures, or a dash.

        The log line has the same request id, and CIAM's support asks for this id. The code is a
        link for staff who may see the page of the code.
        """
        lines = [
            (_local_time(failure.at), self._code_of(identity, failure.code), failure.request_id)
            for failure in last_failures_of(identity)
        ]
        return (
            format_html_join(_LINE_BREAK, "{} · {} · {}", lines) or self.get_empty_value_display()
        )

    def _code_of(self, identity: CiamIdentity, code: str) -> str:
        if not vars(identity).get("may_view_failures") or not is_known(code):
            return code
        return format_html('<a href="{}">{}</a>', code_url(code, self.admin_site), code)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> CiamIdentity | None:
        """Return the identity, which knows if the user may see the pages of failures."""
        identity = super().get_object(request, object_id, from_field)
        if identity:
            permission = "ciam_accounts.view_ciamfailure"
            vars(identity)["may_view_failures"] = request.user.has_perm(permission)
        return identity

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False, because only a sign-in creates an identity."""
        return False

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Return True if the user has the permission for the three actions at CIAM."""
        return request.user.has_perm("ciam_accounts.manage_ciamidentity")

    @admin.action(description=_ACTIONS["unlock"].label, permissions=["manage"])
    def unlock(
        self, request: HttpRequest, identities: QuerySet[CiamIdentity]
    ) -> HttpResponse | None:
        """Unlock people at CIAM who failed to sign in too often, after a confirmation."""
        return self._confirm_or_call(request, identities, "unlock", CiamClient().unlock_user)

    @admin.action(description=_ACTIONS["disable"].label, permissions=["manage"])
    def disable(
        self, request: HttpRequest, identities: QuerySet[CiamIdentity]
    ) -> HttpResponse | None:
        """Disable people at CIAM, and end their sessions here, after a confirmation."""
        return self._confirm_or_call(request, identities, "disable", CiamClient().disable_user)

    @admin.action(description=_ACTIONS["enable"].label, permissions=["manage"])
    def enable(
        self, request: HttpRequest, identities: QuerySet[CiamIdentity]
    ) -> HttpResponse | None:
        """Enable disabled people at CIAM, so that they can sign in again, after a confirmation."""
        return self._confirm_or_call(request, identities, "enable", CiamClient().enable_user)

    def _confirm_or_call(
        self,
        request: HttpRequest,
        identities: QuerySet[CiamIdentity],
        name: str,
        call: Callable[[str], None],
    ) -> HttpResponse | None:
        """Return the page that asks for a confirmation, or call CIAM after the confirmation."""
        row = _ACTIONS[name]
        if not request.POST.get("post"):
            return self._confirmation_page(request, identities, name)
        succeeded = self._call_ciam(request, identities, call, str(row.success))
        if row.ends_sessions:
            for identity in succeeded:
                end_sessions(identity.sessions.all(), "ended")
        return None

    def _confirmation_page(
        self, request: HttpRequest, identities: QuerySet[CiamIdentity], name: str
    ) -> HttpResponse:
        people = [
            [self.person(each), self.contact(each), self.provider_name(each)]
            for each in identities[:_MAX_PEOPLE_SHOWN]
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": _ACTIONS[name].label,
            "opts": self.model._meta,
            "media": self.media,
            "action": name,
            "row": _ACTIONS[name],
            "people": [" · ".join(filter(None, person)) for person in people],
            "more_people": max(0, identities.count() - _MAX_PEOPLE_SHOWN),
            "selected": identities.values_list("pk", flat=True),
        }
        template = "ciam_django/admin/confirm_action.html"
        return TemplateResponse(request, template, context)

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


def _shortened(name: str) -> str:
    """Return the start and the end of a long name, which no line break separates."""
    if len(name) <= _LONGEST_USER_NAME:
        return name
    length = _LONGEST_USER_NAME // 2
    return f"{name[:length]}\u2060…\u2060{name[-length:]}"


def _local_time(at: datetime) -> str:
    """Format the time in the current time zone, or unchanged in a project without time zones."""
    return localize(localtime(at) if is_aware(at) else at)
