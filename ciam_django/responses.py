"""Turn an ``Answer`` into an ``HttpResponse``: HTML or JSON, by the Accept header.

HTML is a page, or a fragment for htmx, which puts the fragment into a page of the project.
"""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.backends.base import BaseEngine
from django.template.backends.django import DjangoTemplates
from django.template.loader import get_template
from django.templatetags.static import static
from django.utils.cache import patch_vary_headers
from django.utils.html import conditional_escape
from django.utils.translation import override

from ciam_django.answers import Answer
from ciam_django.conf import cached_until_settings_change, conf
from ciam_django.events import PAGE_FAILED, record
from ciam_django.languages import language_for, language_of_texts
from ciam_django.ways_out import way_home, way_of_action, way_out_of

JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
HTML: Final = "text/html"

# Django parses an Accept header in time proportional to its length, and 64 KB take 0.1 seconds.
# Browsers send less than 250 characters.
_LONGEST_ACCEPT: Final = 1024


def response_for(
    request: HttpRequest,
    answer: Answer,
    *,
    next_url: str = "",
    onward_url: str = "",
    context: Mapping[str, Any] | None = None,
) -> HttpResponse:
    """Return the answer as HTML, JSON or problem+json, by the request's Accept header.

    ``next_url`` and ``onward_url`` are those of ``way_out_of``. ``context`` is added to the context
    of the template.
    """
    media_type = media_type_for(request)
    if media_type != HTML:
        return _json_response(answer, media_type)
    if is_fragment_request(request) and request.headers.get("HX-Target") != CARD_ID:
        link = _link_of_part(request, answer, next_url, onward_url)
        return _part_response(request, answer, {**link, **(context or {})})
    way_out = way_out_of(request, answer, next_url=next_url, onward_url=onward_url)
    page_context = {
        "way_out": way_out.url,
        "way_out_label": way_out.label,
        "way_out_wait": answer.retry_after if way_out.is_retry else None,
        **(context or {}),
    }
    home = way_home(request)
    if home and home.url != page_context["way_out"]:
        page_context |= {"home_url": home.url, "home_label": home.label}
    response = page_response(request, "ciam_django/answer.html", page_context, answer)
    # The URL of a callback has a code.
    response["Referrer-Policy"] = "no-referrer"
    return response


def json_response_for(request: HttpRequest, answer: Answer) -> HttpResponse:
    """Return the answer as JSON or problem+json, even if the client prefers HTML."""
    media_type = media_type_for(request)
    return _json_response(answer, JSON if media_type == HTML else media_type)


def _json_response(answer: Answer, media_type: str) -> HttpResponse:
    response = JsonResponse(
        answer.as_dict(),
        status=answer.status,
        content_type=media_type,
        json_dumps_params={"ensure_ascii": False},
        headers=answer.headers,
    )
    return mark_as_logged(response)


def set_answer_headers(response: HttpResponse, answer: Answer) -> HttpResponse:
    """Set the answer's headers, and mark the response as logged; return the response."""
    for name, value in answer.headers.items():
        response[name] = value
    return mark_as_logged(response)


def mark_as_logged(response: HttpResponse) -> HttpResponse:
    """Keep Django from logging the response and mailing its URL to ADMINS; return the response."""
    # Django reads this attribute; the stubs don't have it.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def media_type_for(request: HttpRequest) -> str:
    """Return the media type of HTML, JSON or problem+json for the Accept header.

    HTML is returned if the header prefers HTML. Otherwise problem+json is returned if the header
    names problem+json, even with a low ``q``. A browser that opens a page, and htmx, get HTML if
    the header names none of these types. An unreadable header gets JSON.
    """
    accepted = _accepted(request)
    if accepted is None:
        return JSON
    takes_html = not accepted.is_named and (
        _is_document_request(request) or is_htmx_request(request)
    )
    return HTML if takes_html else accepted.media_type


def prefers_json_to_html(request: HttpRequest) -> bool:
    """Return True if the Accept header prefers JSON to HTML.

    Return False if Django can't parse the header, or if the header is too long.
    """
    accepted = _accepted(request)
    return accepted is not None and accepted.prefers_json_to_html


class _Accepted(NamedTuple):
    """The media type for an Accept header; ``is_named`` is True if the header names one of ours."""

    media_type: str
    is_named: bool
    prefers_json_to_html: bool


def _accepted(request: HttpRequest) -> _Accepted | None:
    # ``request.headers`` would first read all headers of the request.
    accept = request.META.get("HTTP_ACCEPT", "*/*")
    return _parsed_accept(accept) if len(accept) <= _LONGEST_ACCEPT else None


@functools.lru_cache(maxsize=256)
def _parsed_accept(accept: str) -> _Accepted | None:
    """Return the content of an Accept header; None if Django can't parse the header.

    Few browsers and libraries send most requests, and to parse a header takes as long as all other
    steps of an answer.
    """
    request = HttpRequest()
    request.META["HTTP_ACCEPT"] = accept
    try:
        named = {str(accepted).partition(";")[0].strip() for accepted in request.accepted_types}
    except (ValueError, LookupError):
        # Django raises these exceptions for parameters in an unknown encoding.
        return None
    media_type = PROBLEM_JSON if PROBLEM_JSON in named else JSON
    if request.get_preferred_type([JSON, PROBLEM_JSON, HTML]) == HTML:
        media_type = HTML
    return _Accepted(
        media_type,
        is_named=not named.isdisjoint({JSON, PROBLEM_JSON, HTML}),
        prefers_json_to_html=request.get_preferred_type([HTML, JSON]) == JSON,
    )


def _is_document_request(request: HttpRequest) -> bool:
    return request.headers.get("Sec-Fetch-Dest") == "document"


# --- Fragments for htmx -----------------------------------------------------------------------

# The id of the card of a sign-in in a page of the project. htmx names the id of its target.
CARD_ID: Final = "ciam-card"
_FRAGMENT_TEMPLATE: Final = "ciam_django/fragment.html"
_PART_TEMPLATE: Final = "ciam_django/error.html"


def is_htmx_request(request: HttpRequest) -> bool:
    """Return True if htmx has sent the request. Another site cannot send the header unasked."""
    return request.headers.get("HX-Request") == "true"


def is_fragment_request(request: HttpRequest | None) -> bool:
    """Return True if htmx puts the response into a part of a page.

    The request of a boosted link or form replaces the whole page, and so does the request for a
    page that htmx does not find in its history.
    """
    if request is None or not is_htmx_request(request):
        return False
    return "true" not in (
        request.headers.get("HX-Boosted"),
        request.headers.get("HX-History-Restore-Request"),
    )


def _part_response(
    request: HttpRequest, answer: Answer, context: Mapping[str, Any]
) -> HttpResponse:
    """Return the answer as a part of a page of the project, as ``{% ciam_error %}`` shows it.

    htmx puts the part into the element of ``CIAM_HTMX_ERROR_TARGET``, or into the target of the
    request. The part replaces only the content, because the next request needs the target again.
    """
    response = page_response(request, _PART_TEMPLATE, context, answer)
    response["HX-Reswap"] = "innerHTML"
    if conf.CIAM_HTMX_ERROR_TARGET:
        response["HX-Retarget"] = conf.CIAM_HTMX_ERROR_TARGET
    return response


def _link_of_part(
    request: HttpRequest, answer: Answer, next_url: str = "", onward_url: str = ""
) -> dict[str, Any]:
    """Return the context of the link below the sentence of a part."""
    way_out = way_of_action(request, answer, next_url=next_url, onward_url=onward_url)
    if way_out is None:
        return {"leads": False}
    return {"leads": True, "action_url": way_out.url, "action_label": way_out.label}


# --- Pages ------------------------------------------------------------------------------------


_DEFAULT_BASE_TEMPLATE: Final = "ciam_django/page.html"
# The attribute of the link in ciam_django/stylesheet.html.
_OUR_LINK: Final = " data-ciam-stylesheet"


@functools.cache
def _link_tag() -> re.Pattern[str]:
    """Return the pattern of a link tag, a comment or a script. The last two have no link tags.

    The first page compiles the pattern, and not each start of a process.
    """
    return re.compile(
        r"<(?:(?P<link>link\s[^<>]*>)|!--.*?(?:-->|\Z)|script\b.*?(?:</script|\Z))",
        re.IGNORECASE | re.DOTALL,
    )


def language_of_page(request: HttpRequest | None, answer: Answer | None = None) -> str:
    """Return the language of this package's texts on a page: the language of the page's answer."""
    return answer.language if answer else language_of_texts(language_for(request))


def page_response(
    request: HttpRequest, template: str, context: Mapping[str, Any], answer: Answer | None = None
) -> HttpResponse:
    """Return a page of this package, with the status and the headers of ``answer`` if it is given.

    The language of the answer is the language of all texts of this package on the page. A base
    template of the project stays in the language of ``language_for``.
    """
    html = render_page(request, template, {**context, **_answer_context(request, answer)})
    response = HttpResponse(html)
    response["Content-Language"] = language_of_page(request, answer)
    if answer:
        response.status_code = answer.status
        set_answer_headers(response, answer)
    patch_vary_headers(response, ["HX-Request"])
    return response


def render_answer(request: HttpRequest | None, answer: Answer) -> str:
    """Return the answer as a part of a page of the project."""
    link = _link_of_part(request or HttpRequest(), answer)
    context = {**link, **_answer_context(request, answer)}
    return render_page(request, _PART_TEMPLATE, context)


def _answer_context(request: HttpRequest | None, answer: Answer | None) -> dict[str, Any]:
    """Return the answer and its languages."""
    language = language_of_page(request, answer)
    detail_language = answer.headers["Content-Language"] if answer else language
    return {
        "answer": answer,
        "ciam_language": language,
        "detail_language": detail_language if detail_language != language else "",
    }


def render_page(request: HttpRequest | None, template: str, context: Mapping[str, Any]) -> str:
    """Return a page of this package as HTML, in the base template of the project if it has one.

    If the project's templates fail, the failure is logged, and the page is rendered with the
    templates of this package. The failure is not logged if the project has no base template and
    Django does not find the page's template.

    Each page links ``ciam.css`` once: if the base template does not link it, the page does. A
    fragment has no base template and no link: the page around the fragment has both.
    """
    language = context.get("ciam_language") or language_of_page(request)
    is_right_to_left = language.partition("-")[0] in settings.LANGUAGES_BIDI
    is_fragment = is_fragment_request(request)
    context = {
        **context,
        "ciam_is_fragment": is_fragment,
        "ciam_language": language,
        "ciam_direction": "rtl" if is_right_to_left else "ltr",
        "ciam_stylesheet": "" if is_fragment else static_url("ciam_django/ciam.css"),
        "ciam_script": static_url("ciam_django/ciam.js"),
    }
    default_base = _FRAGMENT_TEMPLATE if is_fragment else _DEFAULT_BASE_TEMPLATE
    base = default_base if is_fragment else conf.CIAM_BASE_TEMPLATE or default_base
    with override(language_for(request)):
        return _render_in_base(request, template, context, base, default_base)


def _render_in_base(
    request: HttpRequest | None,
    template: str,
    context: Mapping[str, Any],
    base: str,
    default_base: str,
) -> str:
    """Return the page in ``base``, or as the package has it in ``default_base``."""
    try:
        html = get_template(template).render({**context, "ciam_base": base}, request)
        return _with_one_stylesheet(html, context["ciam_stylesheet"])
    except Exception as error:  # noqa: BLE001
        # The project's templates or context processors may need data that a failed request lacks.
        # The page of a failure must not fail itself.
        is_not_found = isinstance(error, TemplateDoesNotExist) and str(error) == template
        # A project without APP_DIRS or without TEMPLATES is not misconfigured.
        if base != default_base or not is_not_found:
            _log_broken_page(template, error)
    package_template = _package_engine().get_template(template)
    html = package_template.render({**context, "ciam_base": default_base}, request)
    return _with_one_stylesheet(html, context["ciam_stylesheet"])


def _with_one_stylesheet(html: str, url: str) -> str:
    """Return the page without our second link to the style sheet, if the base template has a link.

    The second link would come after the project's own styles, and would win over them.
    """
    if not url:
        return html
    escaped_url = conditional_escape(url)
    links = [
        match[0]
        for match in _link_tag().finditer(html)
        if match["link"] and escaped_url in match[0] and "stylesheet" in match[0]
    ]
    added = [link for link in links if _OUR_LINK in link]
    return html.replace(added[0], "", 1) if added and len(links) > len(added) else html


def _log_broken_page(template: str, error: Exception) -> None:
    """Log the frames of the error, and its text only if it is an error of a template.

    The texts of other errors may have the URL of the request. ``exc_info`` would also log the
    failure that the page is about, with its upstream text.
    """
    is_of_template = isinstance(error, TemplateDoesNotExist | TemplateSyntaxError)
    record(
        PAGE_FAILED,
        template=template,
        base_template=conf.CIAM_BASE_TEMPLATE,
        error=type(error).__name__,
        error_text=error if is_of_template else None,
        frames="".join(traceback.format_tb(error.__traceback__)),
    )


# Django's engine takes its debug mode from DEBUG.
@cached_until_settings_change("DEBUG")
def _package_engine() -> BaseEngine:
    return DjangoTemplates(
        {
            "NAME": "ciam_django",
            "DIRS": [Path(__file__).parent / "templates"],
            "APP_DIRS": False,
            "OPTIONS": {"context_processors": ["django.template.context_processors.csrf"]},
        }
    )


def static_url(path: str) -> str:
    """Return the URL of a static file; empty if static files are not set up or not collected."""
    if not settings.STATIC_URL:
        return ""
    try:
        return static(path)
    except (ValueError, ImproperlyConfigured):
        # The manifest may lack the file. The page is readable without it.
        return ""
