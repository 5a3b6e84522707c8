"""Show the failures of the last day in Django's admin: by code, by reference, and each code.

The failures are those that ``failure_memory`` has in the cache.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import localize
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localtime
from django.utils.translation import get_language, pgettext

from ciam_django.accounts.models import CiamFailure
from ciam_django.error_table.explanations import Explanation, explanation_of
from ciam_django.error_table.rows import sentence_in
from ciam_django.failure_memory import (
    RememberedFailure,
    RowFailures,
    memory_fault,
    remembered_rows,
)
from ciam_django.languages import language_tags
from ciam_django.lookup import is_known, matched_row

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[CiamFailure]
else:
    # Only the stubs' class takes a parameter.
    _ModelAdmin = admin.ModelAdmin

_LINE_BREAK_CHANCE: Final = mark_safe("<wbr>")
LIST_URL: Final = "admin:ciam_accounts_ciamfailure_changelist"
_CODE_URL: Final = "admin:ciam_accounts_ciamfailure_code"


@dataclasses.dataclass(frozen=True, slots=True)
class _ShownRow:
    """A row of the page of all failures."""

    code: SafeString
    url: str
    status: int
    kind: str
    sentence: str
    count: int
    newest_at: str


@dataclasses.dataclass(frozen=True, slots=True)
class _ShownFailure:
    """A failure with its place: ``url`` is the page of its code."""

    failure: RememberedFailure
    row: SafeString
    shown: SafeString
    at: str
    url: str


def code_url(code: str, site: admin.AdminSite) -> str:
    """Return the URL of the page of a code."""
    return reverse(_CODE_URL, args=[code], current_app=site.name)


@admin.register(CiamFailure)
class CiamFailureAdmin(_ModelAdmin):
    """The pages of the failures of the last day, for staff with the view permission.

    Nothing can be added, changed or deleted.
    """

    def get_urls(self) -> list[URLPattern]:
        """Return the URLs of the two pages."""
        view = self.admin_site.admin_view
        name = LIST_URL.removeprefix("admin:")
        return [
            path("", view(self.changelist_view), name=name),
            path("<path:code>/", view(self.code_view), name=_CODE_URL.removeprefix("admin:")),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the page of all failures, by code, with a search by reference."""
        self._require_permission(request)
        rows = remembered_rows()
        reference = request.GET.get("q", "").strip()[:128]
        found = [
            failure
            for row in rows
            for failure in row.failures
            if reference in (failure.request_id, failure.upstream_request_id)
        ]
        context = {
            "title": pgettext("ciam", "Sign-in failures of the last 24 hours"),
            "rows": [self._shown_row(row) for row in rows],
            "total": sum(row.count for row in rows),
            "fault": None if rows else memory_fault(),
            "reference": reference,
            "found": [self._shown_failure(failure) for failure in found] if reference else [],
        }
        return self._page(request, "ciam_django/admin/failures.html", context)

    def code_view(self, request: HttpRequest, code: str) -> HttpResponse:
        """Return the page of a code: its failures, its sentences, and what operators do."""
        self._require_permission(request)
        if not is_known(code):
            raise Http404
        explanation = explanation_of(code)
        row = next((each for each in remembered_rows() if each.row == explanation.row), None)
        context = {
            "title": explanation.row,
            "explanation": explanation,
            "facts": _facts_of(explanation),
            "sentences": _with_tags(explanation.sentences),
            "generic_sentences": _with_tags(
                explanation.generic.sentences if explanation.generic else {}
            ),
            "count": row.count if row else 0,
            "failures": [self._shown_failure(each) for each in row.failures] if row else [],
            "list_url": reverse(LIST_URL, current_app=self.admin_site.name),
        }
        return self._page(request, "ciam_django/admin/failure_code.html", context)

    def _require_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            template,
            {**self.admin_site.each_context(request), "opts": self.model._meta, **context},
        )

    def _shown_row(self, row: RowFailures) -> _ShownRow:
        matched = matched_row(row.row)
        return _ShownRow(
            code=_breakable(row.row),
            url=code_url(row.row, self.admin_site),
            status=matched.meaning.status,
            kind=str(matched.meaning.kind),
            sentence=sentence_in(get_language() or "en", matched.message_for_users),
            count=row.count,
            newest_at=_local_time(row.newest.time),
        )

    def _shown_failure(self, failure: RememberedFailure) -> _ShownFailure:
        url = code_url(failure.row, self.admin_site)
        row, shown = _breakable(failure.row), _breakable(failure.shown)
        return _ShownFailure(failure, row, shown, _local_time(failure.time), url)


def _facts_of(explanation: Explanation) -> list[tuple[str, str]]:
    """Return the name and the value of each fact about the answer, in the active language."""
    return [
        (pgettext("ciam", "Status"), str(explanation.status)),
        (pgettext("ciam", "Kind"), explanation.kind),
        (pgettext("ciam", "Action"), explanation.action),
        (pgettext("ciam", "Audience"), explanation.audience),
        (pgettext("ciam", "Log level"), explanation.log_level),
    ]


def _with_tags(sentences: Any) -> list[tuple[str, str, str]]:
    """Return language, tag of HTML and sentence, for each language."""
    return [(name, language_tags(name)[0], text) for name, text in sentences.items()]


def _breakable(code: str) -> SafeString:
    """Return the code as HTML in which a line can end after each dot and each underscore."""
    parts = code.replace(".", ".\n").replace("_", "_\n").split("\n")
    return format_html_join(_LINE_BREAK_CHANCE, "{}", ((part,) for part in parts))


def _local_time(at: datetime) -> str:
    return localize(localtime(at))
