"""Report a ``CiamError``: write one log line, and send the signals of ``ciam_django.signals``."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Final

from django.http import HttpRequest

from ciam_django.answers import GENERIC_ERROR_STAGES, Answer, answer_to
from ciam_django.errors import CiamError, Stage, code_in, detach_causes
from ciam_django.events import FAILED, record
from ciam_django.kinds import KINDS
from ciam_django.lookup import MatchedRow, is_known
from ciam_django.privacy import loggable_code
from ciam_django.signals import login_failed, unknown_code

# The stages of a sign-in. At the other stages the user has signed in before.
_SIGN_IN_STAGES: Final = GENERIC_ERROR_STAGES | {
    Stage.AUTHORIZE, Stage.CALLBACK, Stage.TOKEN, Stage.ID_TOKEN, Stage.USERINFO, Stage.SOCIAL,
}  # fmt: skip
# Seconds between two ERROR lines of the same row.
_ERROR_INTERVAL: Final = 600
_MAX_LAST_LOGGED: Final = 1000


def answer_and_report(error: CiamError, request: HttpRequest | None = None) -> Answer:
    """Report the error, and return its answer. Entry points call this function."""
    _detach(error)
    answer = answer_to(error, request)
    _report_once(error, request, answer)
    return answer


def report(
    error: CiamError, request: HttpRequest | None = None, answer: Answer | None = None
) -> None:
    """Write the error's log line and send its signals; an error is reported once.

    ``answer`` is the error's answer. Without ``answer``, the function makes the answer.
    """
    if not error.is_reported:
        _detach(error)
        _report_once(error, request, answer or answer_to(error, request))


def _report_once(error: CiamError, request: HttpRequest | None, answer: Answer) -> None:
    if error.is_reported:
        return
    error.is_reported = True
    _log_failure(error, answer, request)
    if error.stage in _SIGN_IN_STAGES:
        login_failed.send_robust(CiamError, request=request, error=error, answer=answer)


def _detach(error: CiamError) -> None:
    # A later exception would show this error, its causes and its frames as its context.
    detach_causes(error)
    error.__traceback__ = None


# --- The log line -----------------------------------------------------------------------------

# Key -> the time of the key's last line.
_last_logged: dict[str, float] = {}
_last_logged_lock = threading.Lock()


def _renew_lock() -> None:
    # A lock that another thread of the parent has held would stay locked for ever.
    global _last_logged_lock  # noqa: PLW0603  (a lock has no method for this)
    _last_logged_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def _log_failure(error: CiamError, answer: Answer, request: HttpRequest | None) -> None:
    row = answer.true_row
    level, is_first_unknown = (
        (logging.INFO, False)
        if _is_from_query_string(request, error)
        else _claim_log_level(error.code, row)
    )
    record(
        FAILED,
        request,
        level=level,
        code=error.code if is_known(error.code) else row.key,
        type_code=error.type_code if error.type_code and is_known(error.type_code) else None,
        sent_code=loggable_code(error.code),
        sent_type_code=loggable_code(error.type_code) or None,
        row=row.key,
        step=row.matched_by.replace(" ", "_"),
        kind=row.meaning.kind,
        stage=error.stage or None,
        status=answer.status,
        shown=answer.code,
        upstream_status=error.upstream_status or None,
        request_id=answer.request_id,
        # A generic answer has a local id instead of CIAM's request id.
        upstream_request_id=(
            error.request_id if error.request_id not in ("", answer.request_id) else None
        ),
        upstream_text=error.upstream_text,
        reason=row.reason or None,
    )
    if is_first_unknown:
        code = loggable_code(error.code)
        unknown_code.send_robust(CiamError, request=request, error=error, code=code)


def _is_from_query_string(request: HttpRequest | None, error: CiamError) -> bool:
    """Return True if the error's code is in the request's ``?error=``, which an attacker can write.

    Authlib raises an error with the code of ``?error=`` before it checks the state. The callback of
    this package checks the state first, and its errors have a stage.
    """
    query_error = request.GET.get("error", "") if request and not error.stage else ""
    return bool(query_error) and code_in(query_error) == error.code


def _claim_log_level(code: str, row: MatchedRow) -> tuple[int, bool]:
    """Return the level of the next log line, and True for the first report of an unknown code.

    The call counts as a report, so the next call may return another result.
    A code without a row of its own is logged as a WARNING once, then as INFO. Within ten minutes
    after an ERROR line, the same row is logged as a WARNING.
    """
    level, is_first_unknown = KINDS[row.meaning.kind].log_level, False
    if row.matched_by not in ("exact", "status"):
        is_first_unknown = _claim_interval(f"unknown {loggable_code(code).casefold()}", None)
        if row.matched_by == "unknown" or level < logging.WARNING:
            return (logging.WARNING if is_first_unknown else logging.INFO), is_first_unknown
    if level == logging.ERROR and not _claim_interval(row.key, _ERROR_INTERVAL):
        level = logging.WARNING
    return level, is_first_unknown


def _claim_interval(key: str, interval: float | None) -> bool:
    """Claim the key, and return True if its last claim is at least ``interval`` seconds ago.

    A claim that fails changes nothing. If ``interval`` is None, only the first claim of the key in
    this process succeeds.
    """
    now = time.monotonic()
    with _last_logged_lock:
        last = _last_logged.get(key)
        if last is not None and (interval is None or now - last < interval):
            return False
        if len(_last_logged) >= _MAX_LAST_LOGGED:
            _last_logged.pop(next(iter(_last_logged)))
        _last_logged[key] = now
    return True
