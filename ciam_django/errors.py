"""Failure in, ``CiamError`` out: the one exception, and the border where failures become one."""

from __future__ import annotations

import contextlib
import email.utils
import enum
import functools
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Literal, TypeVar, cast

from ciam_django.privacy import clear_frames, clear_frames_on_error, loggable_code, redacted_text

F = TypeVar("F", bound=Callable[..., Any])

# What upstream may say of itself in an answer; anything else is dropped.
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9$._:-]{1,128}")
# Not the beginning of an email, an address or a token.
_LEADING_CODE: Final = re.compile(r"\s*+([A-Za-z][A-Za-z0-9_]*+(?:\.[A-Za-z0-9_]++)*+)(?![@/+=~-])")
# Tokens, phone numbers, and words in which letters and digits take turns, where a code should be.
_SECRET_LIKE: Final = re.compile(
    r"\beyJ|\d{7}|\b(?=[A-Za-z_]*\d+[A-Za-z_]+\d)\w{8,}|(?=\w*\d)\w{32,}|\w{48,}"
)
_SUCCESS_CODE: Final = "operation.success"
# Seconds. What says more than an hour helps nobody who waits for a text message.
_RETRY_AFTER_RANGE: Final = range(1, 3601)


@enum.unique
class Stage(enum.StrEnum):
    """The part of a sign-in, or of a call to CIAM, that failed.

    Some stages decide what an anonymous user may learn (``answers.GENERIC_ERROR_STAGES``), so that
    an unknown stage is an error.
    """

    AUTHORIZE = "authorize"
    CALLBACK = "callback"
    TOKEN = "token"  # noqa: S105  (the name of a stage, not a secret)
    ID_TOKEN = "id_token"  # noqa: S105
    USERINFO = "userinfo"
    REFRESH = "refresh"
    LOGOUT = "logout"
    PASSWORD = "password"  # noqa: S105
    SEND_CODE = "send_code"
    VERIFY_CODE = "verify_code"
    SOCIAL = "social"
    REGISTER = "register"
    RECOVER = "recover"
    PROFILE = "profile"
    API = "api"


NoStage = Literal[""]


def stage_named(stage: str) -> Stage | NoStage:
    """The stage of that name; empty for the empty text; a ``ValueError`` for an unknown name."""
    if not stage:
        return ""
    try:
        return Stage(stage)
    except ValueError:
        allowed = ", ".join(Stage)
        raise ValueError(f"{stage!r} is not a stage of ciam_django. Allowed: {allowed}") from None


class CiamError(Exception):
    """A failure that has a code. Each entry point turns it into one answer.

    Projects may raise it with a code of ``ciam_django.codes.CODES``, with a key of
    ``CIAM_ERROR_OVERRIDES``, or with a code that neither has.

    ``type_code`` is the ``code`` of CIAM's envelope where its ``message`` named a more exact code.
    ``upstream_text`` is what CIAM wrote for developers. It is redacted here and meant for logs;
    ``str``, ``repr`` and the pickle do not have it. ``request_id`` is CIAM's; a text that does not
    have the form of a request id is dropped.
    ``upstream_status`` is the HTTP status that CIAM answered with. ``stage`` is a ``Stage`` or its
    name; any other text is a ``ValueError``. ``retry_after`` is the number of seconds that CIAM
    asked to wait, from 1 to 3600.

    ``cause_names`` holds the class names of the exceptions behind the error, the last first. The
    exceptions themselves hold what upstream wrote and are not kept. ``required_scopes`` are the
    scopes that the access token of the request lacks.
    """

    def __init__(
        self,
        code: str,
        *,
        type_code: str = "",
        upstream_text: str = "",
        request_id: str = "",
        upstream_status: int | None = None,
        stage: Stage | str = "",
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.type_code = type_code
        self.upstream_text = redacted_text(upstream_text)
        self.request_id = request_id if REQUEST_ID.fullmatch(request_id) else ""
        self.upstream_status = upstream_status
        self.stage: Stage | NoStage = stage_named(stage)
        # ``None in range(...)`` compares None with each number of the range.
        self.retry_after = (
            retry_after if retry_after and retry_after in _RETRY_AFTER_RANGE else None
        )
        self.cause_names: tuple[str, ...] = ()
        self.required_scopes: tuple[str, ...] = ()
        # ``reporting.report`` reports an error once, however many entry points it passes.
        self.is_reported = False

    @functools.cached_property
    def reference(self) -> str:
        """The id that the log and the answer have: CIAM's request id, or a local id of our own."""
        return self.request_id or f"local-{secrets.token_hex(8)}"

    def __str__(self) -> str:
        return loggable_code(self.code)

    def __repr__(self) -> str:
        return f"CiamError({loggable_code(self.code)!r}, stage={self.stage!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (CiamError, (self.code,), {**self.__dict__, "upstream_text": ""})


def code_in(text: object) -> str:
    """The code that a text begins with, or the empty text: CIAM appends words to some.

    A code goes to the log and is not redacted there, so what may be a secret is none.
    """
    match = _LEADING_CODE.match(text[:256]) if isinstance(text, str) else None
    return match[1] if match and not _SECRET_LIKE.search(match[1]) else ""


def error_from_body(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> CiamError | None:
    """The failure that a parsed body tells of, in OAuth's format or in CIAM's; None if it is none.

    Both formats come from the same endpoints with any HTTP status, so only the body decides:
    https://www.alibabacloud.com/help/en/idaas/ciam/developer-reference/exception-code
    """
    error_arguments: dict[str, Any] = {
        "upstream_status": status,
        "retry_after": _retry_after_in(headers),
    }
    if not isinstance(body, dict):
        return CiamError(_code_of_status(status), **error_arguments)
    members = _folded_members(body)
    nested_error = members.pop("error", None)
    if isinstance(nested_error, dict):
        # An error that holds the members is one, unless it is empty.
        members |= {"success": False, **_folded_members(nested_error)} if nested_error else {}
    elif nested_error:
        members["error"] = nested_error
    request_id = members.get("requestid")
    error_arguments["request_id"] = request_id if isinstance(request_id, str) else ""

    if error := members.get("error"):
        code = code_in(error) or _code_of_status(status)
        return CiamError(
            code, upstream_text=_text_or_empty(members.get("error_description")), **error_arguments
        )
    # WeChat's: https://developers.weixin.qq.com/doc/oplatform/en/Website_App/WeChat_Login/
    if isinstance(errcode := members.get("errcode"), int) and errcode:
        text = _text_or_empty(members.get("errmsg"))
        return CiamError(f"wechat.{abs(errcode)}", upstream_text=text, **error_arguments)
    if _is_success(members, status):
        return None

    type_code = code_in(members.get("code"))
    message = members.get("message")
    code = code_in(message)
    if "." not in code:
        # Words for people, not a code.
        code = type_code
    if code.casefold() in ("", _SUCCESS_CODE):
        code = _code_of_status(status)
    if type_code.casefold() in (code.casefold(), _SUCCESS_CODE):
        type_code = ""
    return CiamError(
        code, type_code=type_code, upstream_text=_text_or_empty(message), **error_arguments
    )


def _folded_members(body: Mapping[Any, Any]) -> dict[str, Any]:
    # A sister product of CIAM capitalizes the same members.
    return {str(key).casefold(): value for key, value in body.items()}


def _is_success(members: Mapping[str, Any], status: int) -> bool:
    success, code = members.get("success"), members.get("code")
    if success is not None:
        return str(success).casefold() == "true"
    # One table of the vendor's has the number 200 where its samples have the words.
    is_good = code in (None, 200, "200") or code_in(code).casefold() == _SUCCESS_CODE
    return is_good and status < 400


def _code_of_status(status: int) -> str:
    return "too_many_requests" if status == 429 else "unreadable_answer"


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _retry_after_in(headers: Mapping[str, str] | None) -> int | None:
    """Retry-After in seconds (RFC 9110, 10.2.3)."""
    value = (headers or {}).get("Retry-After", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    try:
        date = email.utils.parsedate_tz(value)
        return int(email.utils.mktime_tz(date) - time.time()) if date else None
    except (ValueError, OverflowError):
        # A date that no calendar has.
        return None


# --- The border: other people's exceptions ----------------------------------------------------
# An exception of theirs can only pass when its module is loaded, so a look into sys.modules tells
# its class, and neither Authlib nor requests need be imported or installed.

_AUTHLIB_EXCEPTIONS: Final = (
    ("authlib.integrations.base_client.errors", "OAuthError"),
    ("authlib.oauth2.base", "OAuth2Error"),
)
# Name of the class -> code. The first that fits answers, the more exact before the others.
_REQUESTS_EXCEPTIONS: Final = (
    ("Timeout", "timeout"),
    ("InvalidURL", "bad_configuration"),
    ("InvalidSchema", "bad_configuration"),
    ("MissingSchema", "bad_configuration"),
    ("InvalidJSONError", "unreadable_answer"),
    ("TooManyRedirects", "unreadable_answer"),
    ("ContentDecodingError", "unreadable_answer"),
    ("RequestException", "no_connection"),
)
# What Authlib and joserfc raise of Python's own when an answer or the metadata lacks something.
_BUILTIN_EXCEPTIONS: Final = (
    # A RuntimeError, too: JSON that is nested too deeply.
    (RecursionError, "unreadable_answer"),
    (RuntimeError, "bad_configuration"),
    (ValueError, "unreadable_answer"),
    (LookupError, "unreadable_answer"),
    (TypeError, "unreadable_answer"),
)
_CLIENT_PACKAGES: Final = ("authlib", "joserfc", "requests", "urllib3")


def _is_instance_of(error: BaseException, module: str, name: str) -> bool:
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and isinstance(error, found)


def error_from_authlib(error: BaseException) -> CiamError | None:
    """An exception of Authlib's OAuth client as a ``CiamError``; None for any other."""
    if any(_is_instance_of(error, module, name) for module, name in _AUTHLIB_EXCEPTIONS):
        found = _error_from_attributes(error)
        found.cause_names = tuple(_class_names_in_chain(error))
        return found
    return None


def _error_from_attributes(error: BaseException) -> CiamError:
    text = _text_or_empty(getattr(error, "description", ""))
    return CiamError(code_in(getattr(error, "error", "")) or "oauth_error", upstream_text=text)


def error_from_exception(error: Exception) -> CiamError | None:
    """An exception of Authlib, joserfc or requests as a ``CiamError``; None for any other."""
    if found := error_from_authlib(error):
        return found
    if _is_instance_of(error, "joserfc.errors", "JoseError"):
        found = _error_from_attributes(error)
        # Its further codes (of keys, say) mean no more to us than that the token is not proven.
        found.type_code = "invalid_token"
        return found
    if _is_instance_of(error, "requests.exceptions", "HTTPError"):
        return _error_from_response(getattr(error, "response", None)) or CiamError(
            "unreadable_answer"
        )
    for name, code in _REQUESTS_EXCEPTIONS:
        if _is_instance_of(error, "requests.exceptions", name):
            return CiamError(code, upstream_text=type(error).__name__)
    if _is_from_client_package(error.__traceback__):
        for builtin, code in _BUILTIN_EXCEPTIONS:
            if isinstance(error, builtin):
                return CiamError(code, upstream_text=str(error))
    return None


def _error_from_response(response: Any) -> CiamError | None:
    if response is None:
        return None
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    return error_from_body(body, status=response.status_code, headers=response.headers)


def _is_from_client_package(traceback: TracebackType | None) -> bool:
    """Whether the innermost frame outside of Python's own library is one of theirs."""
    innermost = ""
    while traceback:
        package = str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if package not in sys.stdlib_module_names:
            innermost = package
        traceback = traceback.tb_next
    return innermost in _CLIENT_PACKAGES


class raising_ciam_errors(contextlib.ContextDecorator):  # noqa: N801  (used like a function)
    """Turn the failures of a call to CIAM or Authlib into a ``CiamError``.

    A context manager, and a decorator. ``stage`` is a ``Stage`` or its name; an unknown name is a
    ``ValueError``. Exceptions of Authlib, joserfc and requests become a ``CiamError`` of the stage.
    A ``CiamError`` without a stage gets the stage. Other exceptions pass unchanged.
    """

    def __init__(self, stage: Stage | str) -> None:
        self.stage = stage_named(stage)

    def __call__(self, func: F) -> F:
        # One frame for both decorators; a wrapper is called as what it wraps.
        return cast("F", clear_frames_on_error(func, self._converted))

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        converted = self._converted(error)
        if error:
            clear_frames(error)
        if converted is None:
            return
        # Error reports show the variables of each frame, of this frame too.
        del error, trace
        try:
            raise converted
        finally:
            # ``from None`` would only hide the context, which has the URL, the body and the token.
            converted.__context__ = None
            del converted

    def _converted(self, error: BaseException | None) -> CiamError | None:
        """The error to raise in place of another; None where that passes, perhaps with a stage."""
        if isinstance(error, CiamError):
            error.stage = error.stage or self.stage
            detach_causes(error)
            return None
        converted = error_from_exception(error) if isinstance(error, Exception) else None
        if converted is not None:
            converted.stage = self.stage
            converted.cause_names = tuple(_class_names_in_chain(error))
        return converted


def cause_names_of(error: CiamError) -> tuple[str, ...]:
    """The class names of the exceptions that an error came from, the last first."""
    return error.cause_names or tuple(_class_names_in_chain(error.__cause__ or error.__context__))


def detach_causes(error: CiamError) -> None:
    """Replace the exceptions that an error came from by their class names."""
    error.cause_names = cause_names_of(error)
    error.__cause__ = error.__context__ = None


def _class_names_in_chain(error: BaseException | None) -> Iterator[str]:
    """The classes of an exception and of those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = type(error)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        yield f"{module}{kind.__qualname__}"
        error = error.__cause__ or error.__context__
