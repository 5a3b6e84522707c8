"""Notices for the next login page, stored in a cookie for one minute and shown only once."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ciam_django.answers import Answer, answer_to
from ciam_django.client.crypto import from_stored
from ciam_django.errors import CiamError, Stage
from ciam_django.login.cookies import EncryptedCookies
from ciam_django.reporting import report

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# Seconds for which a notice is valid.
_LIFETIME: Final = 60
_COOKIES: Final = EncryptedCookies("ciam_django.login.notices", "notice_", _LIFETIME, max_count=1)
_NAME: Final = "last"

SUCCESS_TEXTS: Final[dict[str, str | StrPromise]] = {
    "password_changed": _("Your password has been changed. Sign in with the new one."),
    "signed_out": pgettext_lazy("ciam", "You are signed out."),
    "linked": pgettext_lazy("ciam", "The account has been linked."),
    "not_linked": pgettext_lazy("ciam", "No account has been linked."),
}


@dataclasses.dataclass(frozen=True, slots=True)
class _StoredError:
    code: str
    request_id: str = ""
    stage: str = ""
    is_cancelled: bool = False
    # 0 without a response of CIAM.
    upstream_status: int = 0


def set_error_notice(
    request: HttpRequest, response: HttpResponse, error: CiamError, *, is_cancelled: bool
) -> None:
    """Report an error, and store the error in a cookie for the next login page.

    ``is_cancelled`` is True if the user has cancelled the sign-in: the notice then has only the
    error's text, and is no alert.
    """
    report(error, request)
    content = _StoredError(
        error.code, error.reference, error.stage, is_cancelled, error.upstream_status or 0
    )
    _COOKIES.set(request, response, _NAME, {"error": dataclasses.asdict(content)})


def set_success_notice(request: HttpRequest, response: HttpResponse, name: str) -> None:
    """Store a success in a cookie for the next page; ``name`` is a key of ``SUCCESS_TEXTS``."""
    _COOKIES.set(request, response, _NAME, {"good_news": name})


def notice_from_cookie(request: HttpRequest) -> tuple[Answer | None, str]:
    """Return the answer to the stored error or None, and the text of another notice or ``""``."""
    content = _COOKIES.content(request, _NAME, _LIFETIME) or {}
    stored = from_stored(_StoredError, content.get("error"))
    if stored:
        # Another version of this package may have stages that this version does not have.
        stage = stored.stage if stored.stage in set(Stage) else ""
        error = CiamError(
            stored.code,
            request_id=stored.request_id,
            stage=stage,
            upstream_status=stored.upstream_status or None,
        )
        answer = answer_to(error, request)
        return (None, answer.detail) if stored.is_cancelled else (answer, "")
    return None, str(SUCCESS_TEXTS.get(content.get("good_news", ""), ""))


def delete_notice_cookie(request: HttpRequest, response: HttpResponse) -> None:
    """Delete the cookie of the notice, after a page has shown the notice."""
    _COOKIES.delete(request, response, _NAME)
