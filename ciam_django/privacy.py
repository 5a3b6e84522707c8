"""Keep secrets and personal data out of logs and error reports."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final, ParamSpec, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.views.decorators.debug import sensitive_post_parameters

from ciam_django.events import RequestScope, request_scope

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=HttpResponseBase)

# --- Texts --------------------------------------------------------------------------------------

_NOT_LOGGABLE: Final = re.compile(r"[^A-Za-z0-9$._:*-]+")
_MAX_INPUT_LENGTH: Final = 1024
_MAX_TEXT_LENGTH: Final = 500
# Long enough for two issuers and a command.
_MAX_OWN_LENGTH: Final = 2000
# A longer text is no name of a file.
_LONGEST_FILE_NAME: Final = 300

# The first text compiles the patterns, and not each start of a process.


@functools.cache
def control_characters() -> re.Pattern[str]:
    """Return the pattern of the characters that no log line and no terminal gets.

    They are also the characters that change the direction of the text after them in a terminal, and
    the surrogates, which no encoding has.
    """
    return re.compile(
        r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
    )


@functools.cache
def _plain_url() -> re.Pattern[str]:
    return re.compile(
        r"(?P<scheme>https?://)([^/?#\s@]*@)?(?P<rest>[A-Za-z0-9._~:/\[\]-]++)(?=\Z|[?#])"
    )


@functools.cache
def _redactions() -> Sequence[tuple[re.Pattern[str], str]]:
    """Return the patterns and their replacements, in the order of their use."""
    return (
        # JSON Web Tokens; URLs with their queries; email addresses; values with the name of a
        # secret; then long words, and four digits or more: codes, tokens, keys, phone numbers.
        (re.compile(r"\beyJ[\w-]*(?:\.[\w-]*)*"), "[token]"),
        (re.compile(r"\bhttps?://\S+", re.IGNORECASE), "[url]"),
        # The look-behind and the possessive quantifiers keep the time linear.
        (re.compile(r"(?<![^\s@<>\"'])[^\s@<>\"']++(?:@[^\s@<>\"']++)++"), "[email]"),
        (re.compile(r"(?i)((?:passw|pwd|secret|token|code|cookie|密码|密碼|口令|验证码|驗證碼)\w{0,64}[\"']?\s*"
                    r"[=:：]\s*)(?:\"[^\"]*\"?|'[^']*'?|[^\s,;&，；。\"'])+"), r"\1[redacted]"),
        (re.compile(r"(?=[\w+/=~-]*\d)[\w+/=~-]{8,}|[\w+/=~-]{25,}"), "[redacted]"),
        (re.compile(r"\+?\d[\d\s().-]{2,}\d"), "[number]"),
        (control_characters(), " "),
    )  # fmt: skip


class OwnText(str):
    """A text of this package, which ``redacted_text`` returns unchanged.

    The redaction is made for texts of other systems. In our own texts, it would remove addresses,
    names of settings and commands, which the operators need. Use ``own_text`` to make a text.
    """

    __slots__ = ()


def shown_file_name(file: object) -> str:
    """Return the ``repr`` of a file's name for a log line; only the length of any other text.

    A developer can have pasted a private key in place of the name.
    """
    text = str(file)
    is_name = len(text) <= _LONGEST_FILE_NAME and "-----" not in text and "\n" not in text
    return repr(file) if is_name else f"<{len(text)} characters>"


def own_text(text: str) -> OwnText:
    """Return a text of this package that needs no redaction, on one line.

    A part that comes from CIAM or from a user must be redacted before.
    """
    return OwnText(one_line(text)[:_MAX_OWN_LENGTH])


def one_line(text: str) -> str:
    """Return the text on one line, without the characters that control a terminal."""
    return control_characters().sub(" ", text)


def redacted_text(text: str) -> str:
    """Return the text without secrets and personal data, on one line, at most 500 characters.

    A text of this package is returned unchanged.
    """
    if not text or isinstance(text, OwnText):
        return text or ""
    if len(text) > _MAX_INPUT_LENGTH:
        # Cut between two words: the patterns do not match a part of a secret that is too short.
        text = " ".join(text[:_MAX_INPUT_LENGTH].rsplit(maxsplit=1)[:1])
    for pattern, replacement in _redactions():
        text = pattern.sub(replacement, text)
    return text[:_MAX_TEXT_LENGTH]


_CONTACT_NUMBER: Final = re.compile(r"\+?[0-9][0-9 ()-]{5,30}")


def masked_number(digits: str) -> str:
    """Return a phone number with its middle hidden: ``138****1234``."""
    visible_count = max(len(digits) - 4, 0)
    tail_length = min(4, (visible_count + 1) // 2)
    return f"{digits[: visible_count - tail_length]}****{digits[len(digits) - tail_length :]}"


def masked_email(email: str) -> str:
    """Return an email address with only the first character before its ``@``: ``l***@a.com``."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}***@{domain}"


def masked_contact(text: str) -> str:
    """Return a masked email address or phone number; empty for any other text."""
    if "@" in text:
        return masked_email(text)
    if not _CONTACT_NUMBER.fullmatch(text):
        return ""
    sign = "+" if text.startswith("+") else ""
    return sign + masked_number("".join(filter(str.isdigit, text)))


def masked_name(name: str) -> str:
    """Return the name of a person with only the first character of each word: ``A** L**``."""
    return " ".join(f"{word[:1]}**" for word in name.split())


def loggable_code(code: str) -> str:
    """Return the code without the characters that codes do not have, at most 128 characters."""
    return _NOT_LOGGABLE.sub("", code)[:128]


def loggable_url(url: str) -> str:
    """Return the URL without user name, password, query and fragment; empty if it is no plain URL.

    A URL of metadata or of a setting identifies a server. Its other parts can have secrets.
    """
    match = _plain_url().match(url)
    return f"{match['scheme']}{match['rest']}"[:_MAX_TEXT_LENGTH] if match else ""


# --- Frames -------------------------------------------------------------------------------------


# The packages whose variables hold codes, tokens and passwords. Under DEBUG the frames of other
# packages, the project's own among them, keep their variables.
_SECRET_PACKAGES: Final = sys.stdlib_module_names | {
    "asgiref", "authlib", "ciam_django", "django", "joserfc", "requests", "rest_framework",
    "urllib3",
}  # fmt: skip


def clear_frames(error: BaseException) -> None:
    """Delete the local variables of the functions that the exception and its causes have left.

    Error reports (Django's page and mail, Sentry's events) show these variables. Under DEBUG the
    functions of the project keep their variables, so that its developers can find the mistake.
    """
    # Without a Django project there are no settings.
    keeps_project_frames = settings.configured and settings.DEBUG
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        for frame, _line in traceback.walk_tb(following.__traceback__):
            if not (keeps_project_frames and _is_project_frame(frame)):
                # A running frame can't be cleared. A caller of its function clears it later.
                with contextlib.suppress(RuntimeError):
                    frame.clear()
        following = following.__cause__ or following.__context__


def _is_project_frame(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    return package not in _SECRET_PACKAGES


def clear_frames_on_error(
    function: Callable[P, T],
    convert: Callable[[BaseException], BaseException | None] | None = None,
) -> Callable[P, T]:
    """Decorate a function: clear the frames of each exception that the function raises.

    ``convert`` takes the exception and returns an exception to raise instead, or None.
    """

    @functools.wraps(function)
    def clearing_function(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            # The frame of this function still runs, so it can't be cleared.
            del args, kwargs
            converted = convert(error) if convert else None
            clear_frames(error)
            if converted is None:
                raise
        try:
            raise converted
        finally:
            # An error report of the chain of exceptions would show upstream text.
            converted.__context__ = None

    return clearing_function


# --- Requests -----------------------------------------------------------------------------------


def hide_request_data(
    view: Callable[..., R],
    answer_exception: Callable[[HttpRequest, Exception], R | None] | None = None,
) -> Callable[..., R]:
    """Decorate a view: hide its request's data and its variables from error reports.

    ``answer_exception`` takes the request and an exception of the view, and returns a response, or
    None to raise the exception.

    The data are the query, the form and the cookies. The URL of a callback has a code, and an
    attacker can sign in with the code. Django writes ``META`` into its mail to ADMINS. Sentry
    writes the URL into each event.

    The view also has a scope of its own for its events.
    """
    cleared_view = clear_frames_on_error(sensitive_post_parameters()(view))

    @functools.wraps(view)
    def private_view(request: HttpRequest, *args: Any, **kwargs: Any) -> R:
        # Parse the query now: the view can't parse it after the next line.
        request.GET  # noqa: B018
        _remove_queries(request.META)
        _hide_data_from_sentry()
        scope = RequestScope()
        scope.request = request
        token = request_scope.set(scope)
        try:
            return cleared_view(request, *args, **kwargs)
        except Exception as error:
            response = answer_exception(request, error) if answer_exception else None
            if response is None:
                request.COOKIES = {}
                raise
            return response
        finally:
            request_scope.reset(token)
            request.GET = QueryDict()

    return private_view


def _remove_queries(meta: dict[str, Any]) -> None:
    """Remove the query from each URL in ``META``.

    Servers and proxies repeat the URL of the request under names of their own, such as RAW_URI
    (gunicorn), REQUEST_URI (uWSGI, mod_wsgi) and HTTP_X_ORIGINAL_URI. The Referer is the URL of the
    page before, which can be a callback.
    """
    for name, value in meta.items():
        if name.endswith("QUERY_STRING"):
            meta[name] = ""
        elif isinstance(value, str) and value.startswith(("/", "http://", "https://")):
            meta[name] = value.partition("?")[0]


def _hide_data_from_sentry() -> None:
    """Strip Sentry's events, which have the request's data as they were before the view."""
    sentry: Any = sys.modules.get("sentry_sdk")
    if sentry and sentry.get_client().get_integration("django"):
        # The current scope ends with the request, and its processors run last.
        sentry.get_current_scope().add_event_processor(_stripped_event)


def _stripped_event(event: dict[str, Any], hint: object) -> dict[str, Any]:
    """Remove the variables, the request's query, form and headers, and the user's data.

    The user's id stays. Return the changed event.
    """
    request = event.get("request", {})
    event["request"] = {name: request[name] for name in ("method", "url") if name in request}
    if "user" in event:
        event["user"] = {name: value for name, value in event["user"].items() if name == "id"}
    # Without `threads`, the option `attach_stacktrace` would add a stack after this processor.
    event.setdefault("threads", {"values": []})
    for part in ("exception", "threads"):
        for value in event.get(part, {}).get("values", ()):
            for frame in (value.get("stacktrace") or {}).get("frames", ()):
                frame.pop("vars", None)
    return event
