"""The pages of the example, and the views that raise a code."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import translation
from django.views.decorators.http import require_safe
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from ciam_django.errors import CiamError
from example import tenant
from example.gallery import ROWS_PER_PAGE, groups_of_rows, number_of_failures, rows_with

# Value of `?as=` -> the Accept header that a browser or a front end would send.
ACCEPT: Final = {
    "page": "text/html",
    "json": "application/json",
    "problem": "application/problem+json",
}


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the user's identities and links to try."""
    user = request.user
    context = {
        "identities": user.ciam_identities.all() if user.is_authenticated else (),
        "number_of_failures": number_of_failures(),
        "uses_fake": tenant.USES_FAKE,
    }
    return render(request, "example/home.html", context)


@require_safe
def gallery(request: HttpRequest) -> HttpResponse:
    """Show the codes of a group with their answers; ``?q=`` searches in all groups.

    A page has at most ``ROWS_PER_PAGE`` codes. Without ``?group=``, the page has the first group.
    """
    query = request.GET.get("q", "").strip()
    groups = groups_of_rows()
    by_name = {group.name: group for group in groups}
    group = None if query else by_name.get(request.GET.get("group", ""), groups[0])
    pages = Paginator(group.rows if group else rows_with(query, groups), ROWS_PER_PAGE)
    context = {
        "query": query,
        "groups": groups,
        "group": group,
        "page": pages.get_page(request.GET.get("page")),
        "number_found": pages.count if query else number_of_failures(),
    }
    return render(request, "example/gallery.html", context)


def with_language_and_format(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Take the language and the format from a gallery link, in place of the browser's headers."""

    @functools.wraps(view)
    def wrapper(request: HttpRequest, code: str) -> HttpResponseBase:
        language = request.GET.get("language", "")
        if language in dict(settings.LANGUAGES):
            translation.activate(language)
            request.LANGUAGE_CODE = language
        if accept := ACCEPT.get(request.GET.get("as", "")):
            request.META["HTTP_ACCEPT"] = accept
            # Django caches the headers, and a middleware has read them already.
            vars(request).pop("headers", None)
        return view(request, code=code)

    return wrapper


@with_language_and_format
@require_safe
def raise_in_django(request: HttpRequest, code: str) -> HttpResponse:
    """Raise the code; the middleware answers."""
    raise CiamError(code)


@with_language_and_format
@api_view(["GET"])
def raise_in_drf(request: Request, code: str) -> Response:
    """Raise the code; the exception handler answers."""
    raise CiamError(code)


@api_view(["GET"])
def me(request: Request) -> Response:
    """Return the user and the identities as JSON; raise ``login_required`` without a user."""
    user = request.user
    if not user.is_authenticated:
        raise CiamError("login_required")
    identities = user.ciam_identities.values("issuer", "subject")
    return Response({"name": user.get_username(), "identities": list(identities)})
