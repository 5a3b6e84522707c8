"""``CiamError`` in, ``Answer`` out: localized, made safe to show, and logged."""

from __future__ import annotations

import dataclasses
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import get_language

from ciam_django.conf import conf
from ciam_django.errors import CiamError, code_in, detach_causes, error_from_authlib
from ciam_django.kinds import ACTION_LABELS, KINDS, Action, Kind
from ciam_django.lookup import (
    FIELD,
    GENERIC_SIGN_IN,
    MatchedRow,
    generic_row,
    is_known,
    known_keys,
    matched_row,
)
from ciam_django.privacy import loggable_code
from ciam_django.signals import login_failed, unknown_code

# As CIAM writes them.
_EXAMPLE_REQUEST_ID: Final = "1656572265429$49b433a9-219a-910a-0323-2af4f1f1a9ce"

logger = logging.getLogger("ciam_django")

# Where the person typed an identifier to us and has proved nothing yet.
GENERIC_ERROR_STAGES: Final = frozenset(
    {"password", "send_code", "verify_code", "register", "recover"}
)
# Where a failure is one of signing in, and not of what a signed-in person does.
_WAY_IN: Final = GENERIC_ERROR_STAGES | {
    "authorize", "callback", "token", "id_token", "userinfo", "social",
}  # fmt: skip

_ACTION_URL_NAMES: Final = {
    Action.LOGIN: "ciam:login",
    Action.RESTART: "ciam:login",
    Action.USE_ANOTHER_METHOD: "ciam:login",
}
_VARY: Final = "Accept, Accept-Language, Cookie"
# Seconds between two ERROR lines of one code.
_ALARM_INTERVAL: Final = 600
_MOST_REMEMBERED_CODES: Final = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """All that a client may learn of a failure; ``as_dict`` is the JSON body (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    kind: str
    field: str | None
    action: str
    action_url: str | None
    retry_after: int | None
    request_id: str
    headers: dict[str, str]
    action_label: str
    # What the page tells a developer: empty unless DEBUG is on, and never in JSON.
    developer_details: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The body's members, all of them, always."""
        return {name: getattr(self, name) for name in BODY_MEMBERS}


BODY_MEMBERS: Final = tuple(
    field.name
    for field in dataclasses.fields(Answer)
    if field.name not in ("headers", "action_label", "developer_details")
)


def handled_error(exception: BaseException) -> CiamError | None:
    """The exception as what a door answers; None if it is none of ours.

    Ours are ``CiamError`` and, unless ``CIAM_HANDLE_AUTHLIB_ERRORS`` is off, those errors of
    Authlib's client whose code has a row.
    """
    if isinstance(exception, CiamError):
        return exception
    if conf.CIAM_HANDLE_AUTHLIB_ERRORS:
        error = error_from_authlib(exception)
        if error and is_known(error.code):
            return error
    return None


def answer_to(error: CiamError, request: HttpRequest | None = None) -> Answer:
    """The answer in the language that is active now; logged, and signalled, once for each error.

    ``request`` tells who asks: an anonymous person (no request counts as one) gets generic
    errors, and a rejected bearer token gets RFC 6750's challenge.
    """
    # What fails from here on is reported with this error before it, its causes and its frames.
    detach_causes(error)
    error.__traceback__ = None
    row = _row_of_error(error)
    shown_row = _shown_row(row, error, request)
    meaning = shown_row.meaning
    # A time that belongs to another row would tell it.
    retry_after = error.retry_after if shown_row is row else None
    if retry_after is None and meaning.status == 429 and meaning.retry:
        retry_after = conf.CIAM_RETRY_AFTER or None
    error.request_id = error.request_id or f"local-{secrets.token_hex(8)}"

    answer = Answer(
        type=_problem_type(meaning.kind),
        title=str(KINDS[meaning.kind].title),
        status=meaning.status,
        detail=str(meaning.message),
        code=shown_row.key,
        kind=str(meaning.kind),
        field=meaning.field if meaning.field and FIELD.fullmatch(meaning.field) else None,
        action=str(meaning.action),
        action_url=_action_url(meaning.action),
        retry_after=retry_after,
        request_id=error.request_id,
        headers={
            "Cache-Control": "no-store",
            "Content-Language": get_language() or settings.LANGUAGE_CODE,
            "Vary": _VARY,
            "Ciam-Error-Code": shown_row.key,
            "Ciam-Request-Id": error.request_id,
        },
        action_label=str(ACTION_LABELS[meaning.action]),
        developer_details=_developer_details(error, row, shown_row) if settings.DEBUG else {},
    )
    if answer.status == 401 or error.required_scopes:
        answer.headers["WWW-Authenticate"] = _bearer_challenge(
            meaning.kind, request, error.required_scopes
        )
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    if not error.is_reported:
        error.is_reported = True
        _log(error, row, answer, request)
        if error.stage in _WAY_IN:
            login_failed.send_robust(CiamError, request=request, error=error, answer=answer)
    return answer


def possible_answers() -> dict[str, Answer]:
    """Code -> an answer with it, of all that there are, in the language active now.

    For documents: nothing has failed, so that nothing is logged or told.
    """
    found = {}
    for code in known_keys():
        error = CiamError(code, request_id=_EXAMPLE_REQUEST_ID)
        error.is_reported = True
        answer = answer_to(error)
        found[answer.code] = answer
    return found


def kind_of(error: CiamError) -> Kind:
    """The kind of what it means: a look that is neither logged nor told."""
    return _row_of_error(error).meaning.kind


def is_generic_sign_in(answer: Answer) -> bool:
    """Whether a code that could not be sent must look as if it had been.

    To who has proved nothing, at the stages where a code is sent to an account.
    """
    return answer.code == GENERIC_SIGN_IN


def _row_of_error(error: CiamError) -> MatchedRow:
    finding = matched_row(error.code, error.type_code, error.upstream_status)
    # No failure can be a success: whoever raised it misread an answer.
    return matched_row("") if finding.meaning.kind is Kind.SUCCESS else finding


def _shown_row(finding: MatchedRow, error: CiamError, request: HttpRequest | None) -> MatchedRow:
    """The finding, or in its place the general one that tells a stranger nothing."""
    collapse = finding.meaning.collapse
    if (
        collapse is None
        or finding.has_project_message
        or error.stage not in GENERIC_ERROR_STAGES
        or not conf.CIAM_GENERIC_ERRORS
        or getattr(getattr(request, "user", None), "is_authenticated", False)
    ):
        return finding
    return generic_row(collapse)


def _problem_type(kind: Kind) -> str:
    return conf.CIAM_PROBLEM_TYPE_URL.replace("{kind}", str(kind)) or "about:blank"


def _action_url(action: Action) -> str | None:
    """Where an action leads in this project, or None where the project has no such place."""
    target = conf.CIAM_ACTION_URLS.get(str(action)) or _ACTION_URL_NAMES.get(action, "")
    if action is Action.CONTACT_SUPPORT:
        target = target or conf.CIAM_SUPPORT_URL
    if action is Action.RESET_PASSWORD and "recover" in conf.CIAM_LOGIN_METHODS:
        target = target or "ciam:recover"
    if not target or target.startswith(("/", "mailto:", "tel:")) or ":/" in target:
        return target or None
    if not hasattr(settings, "ROOT_URLCONF"):
        # No web project: a script, or a worker.
        return None
    try:
        return reverse(target)
    except NoReverseMatch:
        return None


def _bearer_challenge(kind: Kind, request: HttpRequest | None, scopes: Sequence[str]) -> str:
    """RFC 6750, 3 and 3.1: no error is told to who presented no token."""
    if scopes:
        return f'Bearer error="insufficient_scope", scope="{" ".join(scopes)}"'
    presented = request.META.get("HTTP_AUTHORIZATION", "") if request else ""
    if kind is Kind.TOKEN and presented[:7].lower() == "bearer ":
        return 'Bearer error="invalid_token"'
    return "Bearer"


# --- What developers read -------------------------------------------------------------------

_MATCH_TEXTS: Final = {
    "exact": "its exact code",
    "family": "its family",
    "type code": "its type code",
    "status": "its status",
    "unknown": "no step: the code is unknown",
}


def _developer_details(error: CiamError, finding: MatchedRow, shown: MatchedRow) -> dict[str, str]:
    """What the log line says, and the exceptions behind it, in English as the log is."""
    return {
        "Code": loggable_code(error.code),
        "Type code": loggable_code(error.type_code),
        "Stage": loggable_code(error.stage),
        "Row": f"{finding.key} (found by {_MATCH_TEXTS[finding.matched_by]})",
        "Shown as": shown.key if shown is not finding else "",
        "Exceptions": "\n←\xa0".join(("CiamError", *error.cause_names)),
        "Upstream status": str(error.upstream_status or ""),
        "Request id": error.request_id,
        "Upstream text": error.upstream_text,
    }


# --- The log line -----------------------------------------------------------------------------

_alarms: dict[str, float] = {}
_alarms_lock = threading.Lock()


def _log(
    error: CiamError, finding: MatchedRow, answer: Answer, request: HttpRequest | None
) -> None:
    level, is_first_unknown = (
        (logging.INFO, False) if _came_with(request, error) else _level_of(error.code, finding)
    )
    logger.log(
        level,
        "Sign-in failure: code=%s type_code=%s row=%s step=%s kind=%s stage=%s status=%s "
        "shown=%s upstream_status=%s request_id=%s upstream_text=%r",
        loggable_code(error.code),
        loggable_code(error.type_code) or "-",
        finding.key,
        finding.matched_by.replace(" ", "_"),
        finding.meaning.kind,
        loggable_code(error.stage) or "-",
        answer.status,
        answer.code,
        error.upstream_status or "-",
        answer.request_id,
        error.upstream_text,
    )
    if is_first_unknown:
        code = loggable_code(error.code)
        unknown_code.send_robust(CiamError, request=request, error=error, code=code)


def _came_with(request: HttpRequest | None, error: CiamError) -> bool:
    """Whether anyone can have made this failure, by writing its code into an address.

    Authlib raises what ``?error=`` says before it has looked at the state. Our own callback looks
    first, and names its stage.
    """
    asked = request.GET.get("error", "") if request and not error.stage else ""
    return bool(asked) and code_in(asked) == error.code


def _level_of(code: str, finding: MatchedRow) -> tuple[int, bool]:
    """The kind's level, WARNING for a repeated alarm; and whether an unknown code is seen first.

    The first sight of one is a WARNING, too.
    """
    level, is_first_unknown = KINDS[finding.meaning.kind].log_level, False
    if finding.matched_by not in ("exact", "status"):
        is_first_unknown = _is_due(f"unknown {loggable_code(code).casefold()}", None)
        if finding.matched_by == "unknown" or level < logging.WARNING:
            return (logging.WARNING if is_first_unknown else logging.INFO), is_first_unknown
    if level == logging.ERROR and not _is_due(finding.key, _ALARM_INTERVAL):
        level = logging.WARNING
    return level, is_first_unknown


def _is_due(name: str, interval: float | None) -> bool:
    """Whether this is the first time in this process, or the first after so many seconds."""
    now = time.monotonic()
    with _alarms_lock:
        last = _alarms.get(name)
        if last is not None and (interval is None or now - last < interval):
            return False
        if len(_alarms) >= _MOST_REMEMBERED_CODES:
            _alarms.pop(next(iter(_alarms)))
        _alarms[name] = now
    return True
