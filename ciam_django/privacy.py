"""Redacted texts, cleared frames, and requests whose data no error report shows."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, ParamSpec, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.views.decorators.debug import sensitive_post_parameters

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=HttpResponseBase)

# --- Texts --------------------------------------------------------------------------------------

_NOT_LOGGABLE: Final = re.compile(r"[^A-Za-z0-9$._:*-]")
_MAX_INPUT_LENGTH: Final = 1024
_MAX_TEXT_LENGTH: Final = 500

_REDACTIONS: Final = (
    # JSON Web Tokens; addresses with their queries; emails; what is named a secret; then anything
    # long, and four digits or more: codes, tokens, keys, phone numbers.
    (re.compile(r"\beyJ[\w-]*(?:\.[\w-]*)*"), "[token]"),
    (re.compile(r"\bhttps?://\S+", re.IGNORECASE), "[url]"),
    (re.compile(r"[^\s@<>\"']+(?:@[^\s@<>\"']+)+"), "[email]"),
    (re.compile(r"(?i)((?:passw|pwd|secret|token|code|cookie|密码|密碼|口令|验证码|驗證碼)\w*[\"']?\s*"
                r"[=:：]\s*)(?:\"[^\"]*\"?|'[^']*'?|[^\s,;&，；。\"'])+"), r"\1[redacted]"),
    (re.compile(r"(?=[\w+/=~-]*\d)[\w+/=~-]{8,}|[\w+/=~-]{25,}"), "[redacted]"),
    (re.compile(r"\+?\d[\d\s().-]{2,}\d"), "[number]"),
    (re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+"), " "),
)  # fmt: skip


def redacted_text(text: str) -> str:
    """The text without what may be secret or personal, on one line, 500 characters at most."""
    if not text:
        return ""
    if len(text) > _MAX_INPUT_LENGTH:
        # Not in the middle of a word: half a secret is short enough to look harmless.
        text = " ".join(text[:_MAX_INPUT_LENGTH].rsplit(maxsplit=1)[:1])
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    return text[:_MAX_TEXT_LENGTH]


def loggable_code(code: str) -> str:
    """A code from anywhere, in the alphabet that a log line can take, 128 characters at most."""
    return _NOT_LOGGABLE.sub("", code)[:128]


# --- Frames -------------------------------------------------------------------------------------


# The packages whose variables hold codes, tokens and passwords. Under DEBUG the frames of other
# packages, the project's own among them, keep their variables.
_SECRET_PACKAGES: Final = sys.stdlib_module_names | {
    "asgiref", "authlib", "ciam_django", "django", "joserfc", "requests", "rest_framework",
    "urllib3",
}  # fmt: skip


def clear_frames(error: BaseException) -> None:
    """Empty the variables of the functions that the exception and its causes ended.

    Error reports (Django's page and mail, Sentry's events) show these variables. Under DEBUG the
    functions of the project keep theirs, so that its developers can mend them.
    """
    # Outside of a Django project there are no settings.
    keeps_project_frames = settings.configured and settings.DEBUG
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        for frame, _line in traceback.walk_tb(following.__traceback__):
            if not (keeps_project_frames and _is_project_frame(frame)):
                # A frame that still runs refuses, and is emptied by whatever it returns to.
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
    """A decorator that clears the frames of an exception which leaves the function.

    ``convert`` may give another exception to raise in its place.
    """

    @functools.wraps(function)
    def clearing_function(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            # The frame of this function still runs, so that it can't be cleared.
            del args, kwargs
            converted = convert(error) if convert else None
            clear_frames(error)
            if converted is None:
                raise
        try:
            raise converted
        finally:
            # Whatever walks the chain of exceptions would find what upstream wrote.
            converted.__context__ = None

    return clearing_function


# --- Requests -----------------------------------------------------------------------------------


def hide_request_data(view: Callable[..., R]) -> Callable[..., R]:
    """Keep the request's query, form and cookies, and the view's variables, out of reports.

    The address of a callback holds a code, which is good for a sign-in. Django puts the address
    into its mail to ADMINS and beside its own log lines, Sentry into each of its events.
    """
    discreet = clear_frames_on_error(sensitive_post_parameters()(view))

    @functools.wraps(view)
    def private_view(request: HttpRequest, *args: Any, **kwargs: Any) -> R:
        # For the view, which reads it from here on from what is parsed now.
        request.GET  # noqa: B018
        request.META["QUERY_STRING"] = ""
        _hide_data_from_sentry()
        try:
            return discreet(request, *args, **kwargs)
        except Exception:
            request.COOKIES = {}
            raise
        finally:
            request.GET = QueryDict()

    return private_view


def _hide_data_from_sentry() -> None:
    """Its events hold the request as it came in, whatever has been done to it since."""
    sentry: Any = sys.modules.get("sentry_sdk")
    if sentry and sentry.get_client().get_integration("django"):
        # Of the scope that ends with the request, and is asked last.
        sentry.get_current_scope().add_event_processor(_stripped_event)


def _stripped_event(event: dict[str, Any], hint: object) -> dict[str, Any]:
    """An event of Sentry's without the request's query, form and headers, and all variables.

    Of the user, whose address CIAM has just told, the id is enough.
    """
    request = event.get("request", {})
    event["request"] = {name: request[name] for name in ("method", "url") if name in request}
    if "user" in event:
        event["user"] = {name: it for name, it in event["user"].items() if name == "id"}
    # Where there is none, `attach_stacktrace` would add one after us.
    event.setdefault("threads", {"values": []})
    for part in ("exception", "threads"):
        for value in event.get(part, {}).get("values", ()):
            for frame in (value.get("stacktrace") or {}).get("frames", ()):
                frame.pop("vars", None)
    return event
