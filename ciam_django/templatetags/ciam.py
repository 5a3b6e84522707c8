"""Template tags for the pages of a project: ``{% load ciam %}``.

Django imports this module in each project, so that it must not import models without the app
``ciam_django.accounts``.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from django import template
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.forms.utils import flatatt
from django.http import HttpRequest
from django.template import Context
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, override, pgettext

from ciam_django.answers import Answer
from ciam_django.errors import CiamError
from ciam_django.languages import language_of_texts
from ciam_django.login.redirects import safe_next
from ciam_django.reporting import answer_and_report
from ciam_django.responses import (
    is_fragment_request,
    language_of_page,
    render_answer,
    render_page,
    static_url,
)

if apps.is_installed("ciam_django.accounts"):
    from ciam_django.login.cookies import last_method
    from ciam_django.login.pages import provider_context

register = template.Library()

_LINK_ATTRIBUTES: Final = ("class", "id", "title")
# The variables of the context in which ``{% ciam_error %}`` without an argument looks for an error.
_ERROR_VARIABLES: Final = ("ciam_error", "answer")


@register.simple_tag(takes_context=True)
def ciam_login_url(
    context: Context,
    next: str | None = None,  # noqa: A002  (the name in the template)
    method: str = "",
) -> str:
    """Return the URL of the login page, which leads back to ``next``.

    ``next`` is the URL of the page itself if it is not given. A ``next`` that does not lead to this
    site is left out. ``method`` is the login method that the page shows first.
    """
    query = {"method": method, "next": _checked_next(context, next)}
    return _with_query(_url_of("login", "ciam_login_url"), query)


@register.simple_tag(takes_context=True)
def ciam_popup_link(
    context: Context,
    text: str = "",
    next: str | None = None,  # noqa: A002  (the name in the template)
    **attributes: str,
) -> SafeString:
    """Return a link that opens the login page in a popup, and the script that opens it.

    Without the script, the link leads to the login page. ``attributes`` are those of the link.
    """
    if wrong := [name for name in attributes if name not in _LINK_ATTRIBUTES]:
        raise template.TemplateSyntaxError(
            f"{{% ciam_popup_link %}} got {wrong[0]!r}. It takes a text, next, "
            f"{', '.join(_LINK_ATTRIBUTES)}."
        )
    login_url, next_url = _url_of("login", "ciam_popup_link"), _checked_next(context, next)
    done_url = _with_query(reverse("ciam:done"), {"next": next_url})
    if not text:
        with override(language_of_texts(get_language() or "")):
            text = pgettext("ciam", "Sign in")
    link = {
        "href": _with_query(login_url, {"next": next_url}),
        "data-ciam-popup": _with_query(login_url, {"next": done_url}),
        **attributes,
    }
    script_url = static_url("ciam_django/ciam.js")
    script = format_html('<script type="module" src="{}"></script>', script_url)
    return format_html("<a{}>{}</a>{}", flatatt(link), text, script if script_url else "")


@register.simple_tag(takes_context=True)
def ciam_providers(
    context: Context,
    next: str | None = None,  # noqa: A002  (the name in the template)
) -> SafeString:
    """Return the buttons of the social providers that work in the browser, as the login page does.

    The buttons depend on the browser and need a CSRF token, so the context must have a request.
    """
    _url_of("login", "ciam_providers")
    request = context.get("request")
    if request is None:
        raise ImproperlyConfigured(
            "{% ciam_providers %} needs the request in the context. Render the template with "
            "render(request, …), and add django.template.context_processors.request to TEMPLATES."
        )
    part = provider_context(
        request, _checked_next(context, next), last_method(request), language_of_page(request)
    )
    html = render_page(request, "ciam_django/provider_part.html", part)
    return mark_safe(html)  # noqa: S308  (a template has escaped it)


@register.simple_tag(takes_context=True)
def ciam_error(context: Context, error: object = None) -> str:
    """Return the sentence of an error and the link of its action, or nothing without an error.

    ``error`` is a ``CiamError`` or its ``Answer``. If it is not given, it is the variable
    ``ciam_error`` or ``answer`` of the context; other values of these variables are ignored.
    A ``CiamError`` that no other code has reported is reported.
    """
    request = context.get("request")
    if not error:
        variables = map(context.get, _ERROR_VARIABLES)
        error = next((each for each in variables if isinstance(each, CiamError | Answer)), None)
    if not error:
        return ""
    if isinstance(error, CiamError):
        error = answer_and_report(error, request)
    if not isinstance(error, Answer):
        raise template.TemplateSyntaxError(
            f"{{% ciam_error %}} got a value of the type {type(error).__name__}. It takes a "
            "CiamError, or the Answer that answer_to() or add_error() returns."
        )
    return mark_safe(render_answer(request, error))  # noqa: S308  (a template has escaped it)


# --- URLs -------------------------------------------------------------------------------------


def _url_of(name: str, tag: str) -> str:
    """Return a URL of this package, or raise an error that names the missing line of the URLs."""
    try:
        return reverse(f"ciam:{name}")
    except NoReverseMatch:
        raise ImproperlyConfigured(
            f"{{% {tag} %}} needs the URLs of ciam_django, and ROOT_URLCONF does not include them. "
            'Add path("ciam/", include("ciam_django.urls")) to the URLs of the project, and '
            '"ciam_django.accounts" to INSTALLED_APPS.'
        ) from None


def _checked_next(context: Context, url: str | None) -> str:
    """Return the URL if it leads to this site, otherwise an empty text.

    If the URL is None, it is the URL of the page with the tag. Without a request, only a path is
    known to lead to this site.
    """
    request = context.get("request")
    return safe_next(request, _page_url(request) if url is None and request else url)


def _page_url(request: HttpRequest) -> str:
    """Return the path and the query of the page; for a fragment, of the page around it."""
    if not is_fragment_request(request):
        return request.get_full_path()
    page_url = safe_next(request, request.headers.get("HX-Current-URL", ""))
    return urlsplit(page_url)._replace(scheme="", netloc="", fragment="").geturl()


def _with_query(url: str, query: dict[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"{url}?{urlencode(given)}" if given else url
