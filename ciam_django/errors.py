"""Define ``CiamError``, and turn failed calls to CIAM into a ``CiamError``."""

from __future__ import annotations

import contextlib
import email.utils
import enum
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Literal, TypeVar, cast

from ciam_django.privacy import (
    clear_frames,
    clear_frames_on_error,
    loggable_code,
    own_text,
    redacted_text,
)

F = TypeVar("F", bound=Callable[..., Any])

# The form of CIAM's request ids. A text of another form is dropped and never shown.
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9$._:-]{1,128}")
# The beginning of an email address, a URL or a token is not a code.
# "wechat.-1" is the only code with a minus sign.
_LEADING_CODE: Final = re.compile(
    r"\s*+([A-Za-z][A-Za-z0-9_]*+(?:\.(?:-1\b|[A-Za-z0-9_]++))*+)(?![@/+=~-])"
)
# Tokens, phone numbers, and words that mix letters and digits can stand in the place of a code.
_SECRET_LIKE: Final = re.compile(
    r"\beyJ|\d{7}|\b(?=[A-Za-z_]*\d+[A-Za-z_]+\d)\w{8,}|(?=\w*\d)\w{32,}|\w{48,}"
)
_SUCCESS_CODE: Final = "operation.success"
# The allowed seconds of ``retry_after``. A user does not wait for more than an hour.
_RETRY_AFTER_RANGE: Final = range(1, 3601)


@enum.unique
class Stage(enum.StrEnum):
    """The part of a sign-in, or of a call to CIAM, that failed.

    At some stages users get generic errors (``answers.GENERIC_ERROR_STAGES``), so an unknown stage
    is an error.
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
# Name -> stage. A stage is a name, too.
_STAGES: Final[Mapping[str, Stage]] = {stage.value: stage for stage in Stage}


def stage_named(stage: str) -> Stage | NoStage:
    """Return the stage with this name, or an empty text for an empty name.

    Raises ``ValueError`` for an unknown name.
    """
    if not stage:
        return ""
    if stage not in _STAGES:
        allowed = ", ".join(Stage)
        raise ValueError(f"{stage!r} is not a stage of ciam_django. Allowed: {allowed}")
    return _STAGES[stage]


class CiamError(Exception):
    """A failure that has a code. Each entry point turns the error into one answer.

    Projects may raise this error with a code of ``ciam_django.codes.CODES``, with a key of
    ``CIAM_ERROR_OVERRIDES``, or with a code that is in neither.

    ``type_code`` is the ``code`` of CIAM's envelope if its ``message`` has a more exact code.
    ``upstream_text`` is CIAM's text for developers. The text is redacted when the error is made. It
    is for logs only: ``str``, ``repr`` and the pickle do not contain the text.
    ``request_id`` is CIAM's request id; a text that does not have the form of a request id is
    dropped. ``upstream_status`` is the HTTP status of CIAM's response. ``stage`` is a ``Stage`` or
    its name; any other text is a ``ValueError``. ``retry_after`` is the waiting time that CIAM asks
    for, from 1 to 3600 seconds; any other number is dropped.

    ``cause_names`` has the class names of the exceptions behind the error, the last exception
    first. The exceptions themselves contain upstream text, so the error does not refer to
    them. ``required_scopes`` are the scopes that the access token of the request lacks.
    ``generic_code`` is the code that users get instead where errors are generic, or empty.
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
        # ``None in range(...)`` would compare None with each number of the range.
        self.retry_after = (
            retry_after if retry_after and retry_after in _RETRY_AFTER_RANGE else None
        )
        self.cause_names: tuple[str, ...] = ()
        self.required_scopes: tuple[str, ...] = ()
        self.generic_code = ""
        # ``reporting.report`` reports an error once, even if the error passes several entry points.
        self.is_reported = False

    @property
    def reference(self) -> str:
        """CIAM's request id, or the local id if CIAM has sent no request id."""
        return self.request_id or self.local_reference

    @property
    def local_reference(self) -> str:
        """The local id: ``local-`` and 16 hexadecimal digits, always the same for this error."""
        if "local_id" not in self.__dict__:
            self.local_id = f"local-{secrets.token_hex(8)}"
        return self.local_id

    def __str__(self) -> str:
        return loggable_code(self.code)

    def __repr__(self) -> str:
        return f"CiamError({loggable_code(self.code)!r}, stage={self.stage!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (CiamError, (self.code,), {**self.__dict__, "upstream_text": ""})


def code_in(text: object) -> str:
    """Return the code at the start of a text; CIAM appends words to some codes.

    Return an empty text if the value is not a text, or if no code is at its start. Codes are logged
    without redaction, so a text that may be a secret is not a code.
    """
    match = _LEADING_CODE.match(text[:256]) if isinstance(text, str) else None
    return match[1] if match and not _SECRET_LIKE.search(match[1]) else ""


def error_from_body(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> CiamError | None:
    """Return the failure in a parsed body, in the format of OAuth or CIAM; None for a success.

    ``status`` and ``headers`` are those of the response. The same endpoints respond in both formats
    and with any HTTP status, so the body decides if a call has failed:
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
        # An object in ``error`` has the members of a failure. An empty object is not a failure.
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
    # WeChat's format: https://developers.weixin.qq.com/doc/oplatform/en/Website_App/WeChat_Login/
    if code := _wechat_code_in(members.get("errcode"), any_number=True):
        text = _text_or_empty(members.get("errmsg"))
        return CiamError(code, upstream_text=text, **error_arguments)
    if _is_success(members, status):
        return None

    type_code = _wechat_code_in(members.get("code")) or code_in(members.get("code"))
    message = members.get("message")
    code = _wechat_code_in(message) or code_in(message)
    if "." not in code:
        # The message is a sentence, not a code.
        code = type_code
    if code.casefold() in ("", _SUCCESS_CODE):
        code = _code_of_status(status)
    if type_code.casefold() in (code.casefold(), _SUCCESS_CODE):
        type_code = ""
    return CiamError(
        code, type_code=type_code, upstream_text=_text_or_empty(message), **error_arguments
    )


def _wechat_code_in(value: object, *, any_number: bool = False) -> str:
    """Return ``wechat.40029`` for WeChat's return code 40029, as a number or a text; else "".

    With ``any_number``, each number but 0 is a return code. Otherwise the number must look like a
    return code of WeChat: five digits that begin with 4 or 5, or -1.
    """
    number = str(value) if isinstance(value, str | int) else ""
    pattern = r"-?([1-9]\d{0,8})" if any_number else r"-?([45]\d{4}|(?<=-)1)"
    match = re.fullmatch(pattern, number, re.ASCII)
    return f"wechat.{match[1]}" if match else ""


def _folded_members(body: Mapping[Any, Any]) -> dict[str, Any]:
    # A sister product of CIAM capitalizes the same members.
    return {str(key).casefold(): value for key, value in body.items()}


def _is_success(members: Mapping[str, Any], status: int) -> bool:
    success, code = members.get("success"), members.get("code")
    if success is not None:
        return str(success).casefold() == "true"
    # One table of the vendor has the number 200. The vendor's samples have "Operation.Success".
    is_good = code in (None, 200, "200") or code_in(code).casefold() == _SUCCESS_CODE
    return is_good and status < 400


def _code_of_status(status: int) -> str:
    return "too_many_requests" if status == 429 else "unreadable_answer"


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _retry_after_in(headers: Mapping[str, str] | None) -> int | None:
    """Return the seconds of Retry-After, a number or a date (RFC 9110, section 10.2.3).

    Return None if the header is missing or can't be read.
    """
    value = (headers or {}).get("Retry-After", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    try:
        date = email.utils.parsedate_tz(value)
        return int(email.utils.mktime_tz(date) - time.time()) if date else None
    except (ValueError, OverflowError):
        # The date does not exist.
        return None


# --- Exceptions of other packages -------------------------------------------------------------
# An exception can only be raised if its module is loaded, so sys.modules has its class. This
# module works without an import of Authlib and requests, even if they are not installed.

_AUTHLIB_EXCEPTIONS: Final = (
    ("authlib.integrations.base_client.errors", "OAuthError"),
    ("authlib.oauth2.base", "OAuth2Error"),
)
# Class name -> code. The first matching class decides, so subclasses come first.
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
# Authlib and joserfc raise these exceptions if a response or the metadata lacks a member.
_BUILTIN_EXCEPTIONS: Final = (
    # Raised for JSON with too many levels. RecursionError is a subclass of RuntimeError.
    (RecursionError, "unreadable_answer"),
    (RuntimeError, "bad_configuration"),
    (ValueError, "unreadable_answer"),
    (LookupError, "unreadable_answer"),
    (TypeError, "unreadable_answer"),
)
_CLIENT_PACKAGES: Final = ("authlib", "joserfc", "requests", "urllib3")


def _is_instance_of(error: BaseException, module: str, name: str) -> bool:
    cls = getattr(sys.modules.get(module), name, None)
    return isinstance(cls, type) and isinstance(error, cls)


def error_from_authlib(error: BaseException) -> CiamError | None:
    """Return a ``CiamError`` for an exception of Authlib's OAuth client; None for any other."""
    # The class of all exceptions of Authlib. Entry points ask mostly about other exceptions.
    authlib_class = getattr(sys.modules.get("authlib.common.errors"), "AuthlibBaseError", None)
    if authlib_class is None or not isinstance(error, authlib_class):
        return None
    for module, name in _AUTHLIB_EXCEPTIONS:
        if _is_instance_of(error, module, name):
            converted = _error_from_attributes(error)
            converted.cause_names = tuple(_class_names_in_chain(error))
            return converted
    return None


def _error_from_attributes(error: Any) -> CiamError:
    """Return a ``CiamError`` for an exception of Authlib or joserfc, which has two attributes."""
    text = _text_or_empty(error.description)
    return CiamError(code_in(error.error) or "oauth_error", upstream_text=text)


def error_from_exception(error: Exception) -> CiamError | None:
    """Return a ``CiamError`` for an exception of Authlib, joserfc or requests.

    Also for an exception of Python that these packages or urllib3 raise. Return None for any other
    exception.
    """
    if converted := error_from_authlib(error):
        return converted
    if _is_instance_of(error, "joserfc.errors", "JoseError"):
        converted = _error_from_attributes(error)
        # Codes without a row, such as the codes of key errors, get the meaning of invalid_token.
        converted.type_code = "invalid_token"
        return converted
    if _is_instance_of(error, "requests.exceptions", "HTTPError"):
        return _error_from_response(getattr(error, "response", None)) or CiamError(
            "unreadable_answer"
        )
    for name, code in _REQUESTS_EXCEPTIONS:
        if _is_instance_of(error, "requests.exceptions", name):
            return CiamError(code, upstream_text=own_text(type(error).__name__))
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
    """Return True if the innermost frame outside of the standard library is in a client package."""
    innermost = ""
    while traceback:
        package = str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if package not in sys.stdlib_module_names:
            innermost = package
        traceback = traceback.tb_next
    return innermost in _CLIENT_PACKAGES


class raising_ciam_errors(contextlib.ContextDecorator):  # noqa: N801  (used like a function)
    """Turn the failures of a call to CIAM or Authlib into a ``CiamError``.

    Use it as a context manager or as a decorator. ``stage`` is a ``Stage`` or its name; an unknown
    name is a ``ValueError``. Exceptions of Authlib, joserfc and requests become a ``CiamError``
    with the stage. A ``CiamError`` without a stage gets the stage. Other exceptions pass unchanged.
    """

    def __init__(self, stage: Stage | str) -> None:
        self.stage = stage_named(stage)

    def __call__(self, func: F) -> F:
        # clear_frames_on_error() also converts errors, so one wrapper is enough.
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
        # Error reports show the variables of each frame, including this frame.
        del error, trace
        try:
            raise converted
        finally:
            # ``from None`` only hides the context, which has the URL, the body and the token.
            converted.__context__ = None
            del converted

    def _converted(self, error: BaseException | None) -> CiamError | None:
        """Return the error to raise instead of ``error``; None if ``error`` passes.

        A passing ``CiamError`` gets the stage, and loses the exceptions behind it.
        """
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
    """Return the class names of the exceptions behind an error, the last exception first."""
    cause = error.__cause__ or error.__context__
    if error.cause_names or cause is None:
        return error.cause_names
    return tuple(_class_names_in_chain(cause))


def detach_causes(error: CiamError) -> None:
    """Replace the exceptions behind an error by their class names."""
    error.cause_names = cause_names_of(error)
    error.__cause__ = error.__context__ = None


def _class_names_in_chain(error: BaseException | None) -> Iterator[str]:
    """Yield the class names of an exception and of the exceptions behind it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = type(error)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        yield f"{module}{kind.__qualname__}"
        if isinstance(error, CiamError):
            # The exceptions behind this error have been replaced by their names.
            yield from error.cause_names
        error = error.__cause__ or error.__context__
