"""Choose the way out of the page of an answer: where its button leads, and what the button says."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, QueryDict
from django.urls import Resolver404, get_script_prefix, resolve
from django.utils import translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import pgettext, pgettext_lazy

from ciam_django.answers import (
    LOGIN_ACTIONS,
    Answer,
    ciam_login_url,
    login_url,
    project_login_url,
    url_of_target,
)
from ciam_django.conf import conf
from ciam_django.kinds import ACTIONS, HOME_LABEL, Action, Kind, Place

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# The URL of the request without its query, which may have a code.
_SAME_PAGE_URL: Final = "?"
_TRY_AGAIN: Final = pgettext_lazy("ciam", "Try again")
_CONTINUE: Final = pgettext_lazy("ciam", "Continue")
# After these failures the same request can succeed.
_TEMPORARY_KINDS: Final = frozenset({str(Kind.UPSTREAM), str(Kind.RATE_LIMIT)})
_TEMPORARY_ACTIONS: Final = frozenset({str(Action.RETRY), str(Action.WAIT)})
# Methods that a link repeats.
_LINK_METHODS: Final = ("GET", "HEAD")
# The views of ``ciam_django.urls`` whose pages a user can open again at any time.
_LASTING_PAGES: Final = frozenset({"", "login", "recover", "sign_up"})
_LONGEST_REFERER: Final = 1024
# Browsers read this escape as a dot in "." and ".." (https://url.spec.whatwg.org/#path-state).
_ESCAPED_DOT: Final = re.compile("%2e", re.IGNORECASE)


class WayOut(NamedTuple):
    """A link out of a page: its URL, and its lazy label.

    ``is_retry`` is true if the link leads to another attempt, which can be too early.
    """

    url: str
    label: str | StrPromise
    is_retry: bool = False


def way_out_of(
    request: HttpRequest, answer: Answer, *, next_url: str = "", onward_url: str = ""
) -> WayOut:
    """Return the link of the answer's page: the first place that can help the user.

    The first place is the project's URL for the answer's action. The table ``kinds.ACTIONS`` has
    the others. A link never repeats a request that fails again.

    ``next_url`` is the ``next`` of a link to the login page. ``onward_url`` is the page for a user
    who is signed in already, and who would otherwise be sent to the login page.
    """
    for way_out in _ways_out(request, answer, next_url, onward_url):
        if _is_temporary(answer) or not _is_failing_address(request, way_out.url):
            return way_out
    return WayOut(_SAME_PAGE_URL, _TRY_AGAIN)


def way_home(request: HttpRequest) -> WayOut | None:
    """Return the link to the home page; None if the request for the home page has failed."""
    url = home_url()
    return None if _is_failing_address(request, url) else WayOut(url, HOME_LABEL)


def home_url() -> str:
    """Return the URL of ``CIAM_HOME_URL``; the path of the project if the setting has no URL."""
    target = conf.CIAM_HOME_URL
    return (url_of_target(target) if target not in ("", "/") else None) or get_script_prefix()


def _ways_out(
    request: HttpRequest, answer: Answer, next_url: str, onward_url: str
) -> Iterator[WayOut]:
    if way_out := way_of_action(request, answer, next_url=next_url, onward_url=onward_url):
        yield way_out
    for place, label in ACTIONS[Action(answer.action)].fallbacks:
        if place is Place.SAME_PAGE and _is_repeatable(request, answer):
            yield WayOut(_SAME_PAGE_URL, label, is_retry=True)
        elif place is Place.REFERRING_PAGE and (url := referring_page(request)):
            yield WayOut(url, label, is_retry=_is_temporary(answer))
        elif place is Place.LOGIN_PAGE:
            yield from _ways_to_sign_in(request, label, next_url, onward_url)
        elif place is Place.HOME:
            yield WayOut(home_url(), label)


def way_of_action(
    request: HttpRequest, answer: Answer, *, next_url: str = "", onward_url: str = ""
) -> WayOut | None:
    """Return the link to the project's URL for the answer's action; None if there is no URL.

    The arguments are those of ``way_out_of``. A ``mailto:`` URL carries the reference.
    """
    url, label = answer.action_url, answer.action_label
    if not url:
        return None
    if url.startswith("mailto:") and answer.has_reference:
        return WayOut(_with_reference(url, answer), label)
    if answer.action in LOGIN_ACTIONS and is_signed_in(request):
        if onward_url and url in (login_url(), project_login_url()):
            return WayOut(onward_url, _CONTINUE)
        if url == ciam_login_url():
            # Without the parameter, the login page sends a signed-in user on.
            url = f"{url}?prompt=login"
    takes_next = answer.action in LOGIN_ACTIONS or ciam_view_name(url) in _LASTING_PAGES - {""}
    is_retry = answer.action in _TEMPORARY_ACTIONS
    return WayOut(url_with_next(url, next_url) if takes_next else url, label, is_retry)


def _with_reference(url: str, answer: Answer) -> str:
    """Return a ``mailto:`` URL with a subject and a body (RFC 6068).

    A part that the project has written stays. The body has the reference.
    """
    address, _, query = url.partition("?")
    fields = dict(field.partition("=")[::2] for field in query.split("&") if field)
    names = {name.lower() for name in fields}
    with translation.override(answer.language):
        texts = {
            "subject": pgettext("ciam", "Help with signing in"),
            "body": pgettext("ciam", "Reference: {reference}").format(reference=answer.request_id),
        }
    fields |= {name: quote(text, safe="") for name, text in texts.items() if name not in names}
    return f"{address}?{'&'.join(f'{name}={value}' for name, value in fields.items())}"


def _ways_to_sign_in(
    request: HttpRequest, label: str | StrPromise, next_url: str, onward_url: str
) -> Iterator[WayOut]:
    """Yield the link to the login page, or for a signed-in user the link to ``onward_url``."""
    url = login_url()
    if url and not is_signed_in(request):
        yield WayOut(url_with_next(url, next_url), label)
    elif onward_url:
        yield WayOut(onward_url, _CONTINUE)


def url_with_next(url: str, next_url: str) -> str:
    """Return the URL of a login page, with ``next`` unless ``next_url`` is empty."""
    if not next_url:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'next': next_url})}"


def is_signed_in(request: HttpRequest) -> bool:
    """Return True if the user is signed in; False also if the session can't be read."""
    try:
        # A project without django.contrib.auth has no users.
        return bool(getattr(request, "user", None) and request.user.is_authenticated)
    except Exception:  # noqa: BLE001  (the session store may be away; the page must not fail)
        return False


def _is_temporary(answer: Answer) -> bool:
    return answer.kind in _TEMPORARY_KINDS or answer.action in _TEMPORARY_ACTIONS


def _is_repeatable(request: HttpRequest, answer: Answer) -> bool:
    """Return True if a link can repeat the request. The code of a callback is used up."""
    return _is_temporary(answer) and request.method in _LINK_METHODS and "state" not in request.GET


def _is_failing_address(request: HttpRequest, url: str) -> bool:
    parts = urlsplit(url)
    return request.method in _LINK_METHODS and not parts.netloc and parts.path == request.path


# --- The referring page -----------------------------------------------------------------------


def referring_page(request: HttpRequest) -> str:
    """Return the path and the query of the page that has led to the request, or an empty text.

    The Referer is used only if it is a page of this site that a user can open again. So a callback
    or a step of a sign-in does not count, and neither does the failing address itself, except after
    a POST: a page then has submitted its form to its own address.
    """
    referer = request.META.get("HTTP_REFERER", "")
    try:
        is_of_site = bool(referer) and url_has_allowed_host_and_scheme(
            referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        )
    except DisallowedHost:
        return ""
    if not is_of_site or len(referer) > _LONGEST_REFERER:
        return ""
    parts = urlsplit(referer)
    url = parts.path + (f"?{parts.query}" if parts.query else "")
    if not url.startswith("/") or not is_read_alike(url) or "state" in QueryDict(parts.query):
        return ""
    is_failing = request.method in _LINK_METHODS and url == request.get_full_path()
    return "" if is_failing or ciam_view_name(url) not in _LASTING_PAGES else url


# --- URLs of this site ------------------------------------------------------------------------


def is_read_alike(url: str) -> bool:
    """Return True if browsers read a URL of this site as Python does.

    Browsers remove or replace some characters before they parse the URL, and read the start of
    "//path" as a host (https://url.spec.whatwg.org/#concept-basic-url-parser).
    """
    return url[0] > " " and url[-1] > " " and not set(url) & set("\t\r\n\\") and url[:2] != "//"


def ciam_view_name(url: str, base_path: str = "/") -> str:
    """Return the name in ``ciam_django.urls`` of a URL of this site, or an empty text.

    ``base_path`` is the path of the page with the URL, for a relative URL. The path may have the
    prefix of a language or of the WSGI script, or lack the slash that Django appends.
    """
    parts = urlsplit(url)
    path = _ESCAPED_DOT.sub(".", parts.path) or ("/" if parts.netloc else "")
    path = unquote(urljoin(base_path, re.sub("/{2,}", "/", path)))
    path = "/" + path.removeprefix(get_script_prefix()).removeprefix("/")
    languages: list[str | None] = [translation.get_language(), settings.LANGUAGE_CODE]
    # Django refuses a language code of more than 500 characters with a ``ValueError``.
    with contextlib.suppress(ValueError):
        languages.insert(0, translation.get_language_from_path(path))
    for language in filter(None, dict.fromkeys(languages)):
        with translation.override(language):
            for candidate in (path, f"{path}/"):
                with contextlib.suppress(Resolver404):
                    match = resolve(candidate)
                    return (match.url_name or "") if "ciam" in match.app_names else ""
    return ""
