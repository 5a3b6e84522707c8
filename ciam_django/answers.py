"""Make the answer to a ``CiamError``: localized, safe to show, and without side effects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import get_language, npgettext

from ciam_django.codes import CODES, MESSAGES_WITH_RULE, Meaning
from ciam_django.conf import conf, is_set_by_project
from ciam_django.errors import CiamError, Stage, cause_names_of, error_from_authlib
from ciam_django.kinds import ACTIONS, KINDS, Action, Audience, Kind
from ciam_django.languages import (
    in_language,
    language_for,
    language_of_texts,
    similar_languages,
)
from ciam_django.lookup import (
    FIELD,
    GENERIC_CODES,
    MatchedRow,
    MatchedText,
    TextByLanguage,
    generic_row,
    is_known,
    known_keys,
    matched_row,
    matched_text,
)
from ciam_django.privacy import loggable_code

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# The form of CIAM's request ids.
_EXAMPLE_REQUEST_ID: Final = "1656572265429$49b433a9-219a-910a-0323-2af4f1f1a9ce"

# At these stages the user has typed an identifier, perhaps the identifier of somebody else.
GENERIC_ERROR_STAGES: Final = frozenset(
    {Stage.PASSWORD, Stage.SEND_CODE, Stage.VERIFY_CODE, Stage.REGISTER, Stage.RECOVER}
)
LOGIN_ACTIONS: Final = frozenset({Action.LOGIN, Action.RESTART, Action.USE_ANOTHER_METHOD})
# A longer waiting time is told in minutes.
_LONGEST_WAIT_IN_SECONDS: Final = 120
_VARY: Final = "Accept, Accept-Language, Cookie, HX-Request"


class Answer(NamedTuple):
    """All that a client may learn about a failure; ``as_dict`` is the JSON body (RFC 9457)."""

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
    # JSON bodies do not have the fields below.
    headers: dict[str, str]
    # The text of the page: the detail, or the row's text with the waiting time.
    text: str
    # True if the user has stopped the sign-in.
    is_cancel: bool
    # True if the page shows the request id, which the support can look up.
    has_reference: bool
    # Shown on the page under DEBUG, else empty.
    developer_details: dict[str, str]
    # The row of the true code. The log has it; users never see it.
    true_row: MatchedRow
    # The language of the page. A message of the project can be in another language, which
    # ``Content-Language`` then names.
    language: str

    @property
    def action_label(self) -> str:
        """The label of the action's link, in the language of the page; only pages have it."""
        with in_language(self.language, get_language()):
            return str(ACTIONS[Action(self.action)].label)

    def as_dict(self) -> dict[str, Any]:
        """Return all members of the JSON body; each body has all of them."""
        # The first members are those of the body.
        return dict(zip(BODY_MEMBERS, self, strict=False))


BODY_MEMBERS: Final = Answer._fields[: Answer._fields.index("headers")]


def ciam_error_for(exception: BaseException) -> CiamError | None:
    """Return the error that an entry point answers; None if the entry point must not answer.

    Entry points answer each ``CiamError``. With ``CIAM_HANDLE_AUTHLIB_ERRORS`` they also answer the
    errors of Authlib's client whose code has a row.
    """
    if isinstance(exception, CiamError):
        return exception
    error = error_from_authlib(exception)
    if error and conf.CIAM_HANDLE_AUTHLIB_ERRORS and is_known(error.code):
        return error
    return None


def answer_to(error: CiamError, request: HttpRequest | None = None) -> Answer:
    """Return the answer to an error in the language of ``language_of_texts``.

    A message in ``CIAM_ERROR_OVERRIDES`` that has texts by language can decide the language: if it
    has a text in ``LANGUAGE_CODE`` only, the whole answer is in this language. If this package has
    no texts in the language of the message, only the message is in this language.

    The same error, language and settings give the same answer; only the challenge of
    ``WWW-Authenticate`` depends on the request's bearer token (RFC 6750, section 3). The answer may
    be generic, whoever asks. Its request id is then the local id: CIAM's request id has another
    form, and CIAM does not send a request id with each failure. This function logs nothing;
    ``reporting.report`` writes the log line.
    """
    true_row = row_of(error)
    shown_row = _shown_row(true_row, error)
    active_language = get_language()
    message, language = shown_row.message_for_users, language_for(request, active_language)
    match = None
    while match is None and isinstance(message, TextByLanguage):
        match, message = message.match(language), message.default
    texts_language = language_of_texts(match.wanted_language if match else language)
    with in_language(texts_language, active_language):
        detail = match.text if match else _text_of(message, shown_row, texts_language)
        answer = _localized_answer(
            error,
            request,
            true_row=true_row,
            shown_row=shown_row,
            detail=detail,
            language=texts_language,
        )
    if match and texts_language not in similar_languages(match.wanted_language):
        # This package has no texts in the language of the message.
        answer.headers["Content-Language"] = match.language
    return answer


def _localized_answer(
    error: CiamError,
    request: HttpRequest | None,
    *,
    true_row: MatchedRow,
    shown_row: MatchedRow,
    detail: str,
    language: str,
) -> Answer:
    meaning = shown_row.meaning
    # The waiting time of another row would reveal that row.
    retry_after = error.retry_after if shown_row is true_row else None
    if retry_after is None and meaning.status == 429 and meaning.retry:
        retry_after = conf.CIAM_RETRY_AFTER or None
    request_id = error.local_reference if may_be_generic(error) else error.reference

    answer = Answer(
        type=_problem_type(meaning.kind, shown_row.key),
        title=str(meaning.title or KINDS[meaning.kind].title),
        status=meaning.status,
        detail=detail,
        code=shown_row.key,
        kind=str(meaning.kind),
        field=meaning.field if meaning.field and FIELD.fullmatch(meaning.field) else None,
        action=str(meaning.action),
        action_url=_action_url(meaning.action),
        retry_after=retry_after,
        request_id=request_id,
        headers={
            "Cache-Control": "no-store",
            "Content-Language": language,
            "Vary": _VARY,
            "Ciam-Error-Code": shown_row.key,
            "Ciam-Request-Id": request_id,
        },
        text=_text_of_page(shown_row, detail, retry_after),
        is_cancel=meaning.is_cancel,
        has_reference=_has_reference(meaning),
        developer_details=_developer_details(error, true_row, shown_row) if settings.DEBUG else {},
        true_row=true_row,
        language=language,
    )
    if answer.status == 401 or error.required_scopes:
        answer.headers["WWW-Authenticate"] = _bearer_challenge(
            meaning.kind, request, error.required_scopes
        )
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


def _text_of_page(row: MatchedRow, detail: str, retry_after: int | None) -> str:
    """Return the detail, or the row's text with the waiting time, which is then said only once."""
    if not retry_after or not row.meaning.waiting or row.has_hidden_message:
        return detail
    if retry_after > _LONGEST_WAIT_IN_SECONDS:
        count = math.ceil(retry_after / 60)
        wait = npgettext("ciam", "{count} minute", "{count} minutes", count)
    else:
        count = retry_after
        wait = npgettext("ciam", "{count} second", "{count} seconds", count)
    return str(row.meaning.waiting).format(wait=wait.format(count=count))


def _has_reference(meaning: Meaning) -> bool:
    """Return True if the support can look the failure up, and the user can't correct it."""
    is_for_users = meaning.audience is Audience.USER
    return not meaning.is_cancel and not (is_for_users and not KINDS[meaning.kind].has_reference)


def possible_answers() -> dict[str, Answer]:
    """Return code -> an answer with this code, for each possible code; used for API schemas."""
    return {answer.code: answer for answer in map(example_answer, known_keys())}


def example_answer(code: str) -> Answer:
    """Return an answer to the code in the active language, with a request id of CIAM."""
    return answer_to(CiamError(code, request_id=_EXAMPLE_REQUEST_ID))


def kind_of(error: CiamError) -> Kind:
    """Return the kind of the error's row."""
    return row_of(error).meaning.kind


def is_failure_of_ciam(error: CiamError) -> bool:
    """Return True if the error is a failure of CIAM or of the network, which concerns all users.

    A code without a row of its own can be about one user.
    """
    row = row_of(error)
    return row.meaning.kind is Kind.UPSTREAM and row.matched_by == "exact"


def password_hint(language: str) -> MatchedText | None:
    """Return ``CIAM_PASSWORD_HINT`` for users of a language, or None."""
    return matched_text(conf.CIAM_PASSWORD_HINT, language)


def _text_of(message: str | StrPromise, row: MatchedRow, language: str) -> str:
    """Return the message of a row in the active language, with the rule of passwords if it fits.

    The rule of ``CIAM_PASSWORD_HINT`` does not fit into a message of the project, and not beside a
    text in another language.
    """
    if row.key in MESSAGES_WITH_RULE and message is CODES[row.key].message:
        hint = password_hint(language)
        if hint and hint.wanted_language == language:
            return str(MESSAGES_WITH_RULE[row.key]).format(rule=hint.text)
    return str(message)


def is_refused_password(error: CiamError) -> bool:
    """Return True if CIAM has refused a new password that was sent with a code."""
    meaning = row_of(error).meaning
    return (
        error.stage in (Stage.RECOVER, Stage.REGISTER)
        and meaning.kind is Kind.VALIDATION
        and meaning.field == "password"
    )


def may_be_generic(error: CiamError) -> bool:
    """Return True if the answer to an error of this stage must not tell if an account exists."""
    return error.stage in GENERIC_ERROR_STAGES and conf.CIAM_GENERIC_ERRORS


def is_generic(answer: Answer) -> bool:
    """Return True if the answer has the code of a generic row."""
    return answer.code in GENERIC_CODES


def row_of(error: CiamError) -> MatchedRow:
    """Return the row that explains the error, before ``CIAM_GENERIC_ERRORS`` replaces it."""
    row = matched_row(error.code, error.type_code, error.upstream_status)
    if row.meaning.is_cancel and error.upstream_status is not None:
        return _row_of_refusal(row)
    # An error with the code of a success was raised because CIAM's response was misread.
    return matched_row("") if row.meaning.kind is Kind.SUCCESS else row


def _row_of_refusal(row: MatchedRow) -> MatchedRow:
    """Return the row of a cancel without the cancel: the response of CIAM's API has the code.

    CIAM has refused the sign-in, so the user reads the sentence of the kind, and the support can
    look the refusal up. Values of ``CIAM_ERROR_OVERRIDES`` stay.
    """
    own_row, defaults = CODES[row.key], KINDS[row.meaning.kind]
    meaning = row.meaning._replace(title="", is_cancel=False)
    if meaning.message is own_row.message:
        meaning = meaning._replace(message=defaults.sentence)
    if meaning.action is own_row.action:
        meaning = meaning._replace(action=defaults.action)
    return row._replace(meaning=meaning)


def _shown_row(true_row: MatchedRow, error: CiamError) -> MatchedRow:
    """Return the row that the user may see: the true row, or a generic row."""
    collapse = true_row.meaning.collapse
    has_shown_message = collapse is not None and true_row.has_project_message
    if has_shown_message or not may_be_generic(error):
        return true_row
    if error.generic_code:
        return matched_row(error.generic_code)
    return true_row if collapse is None else generic_row(collapse)


def code_in_url(code: str) -> str:
    """Return the code as a part of a URL or of a file name, where ``any`` replaces ``*``."""
    return quote(code.replace("*", "any"), safe="")


def _problem_type(kind: Kind, code: str) -> str:
    url = conf.CIAM_PROBLEM_TYPE_URL
    if not url:
        return "about:blank"
    return url.replace("{kind}", str(kind)).replace("{code}", code_in_url(code))


def _action_url(action: Action) -> str | None:
    """Return the URL of an action in this project; None if the project has no such URL."""
    target = conf.CIAM_ACTION_URLS.get(str(action)) or ""
    if action is Action.CONTACT_SUPPORT:
        target = target or conf.CIAM_SUPPORT_URL
    if action is Action.RESET_PASSWORD and "recover" in conf.CIAM_LOGIN_METHODS:
        target = target or "ciam:recover"
    if not target and action in LOGIN_ACTIONS:
        # A login page of the project has the other methods, too.
        own_url = project_login_url() if action is Action.USE_ANOTHER_METHOD else None
        return own_url or login_url()
    return url_of_target(target) if target else None


def url_of_target(target: str) -> str | None:
    """Return the URL of a setting's target; None if no URL pattern has this name."""
    if target.startswith(("/", "mailto:", "tel:")) or ":/" in target:
        return target
    return _reversed_url(target)


def login_url() -> str | None:
    """Return the URL of ``ciam:login``, or of the project's login page if it is not included."""
    return ciam_login_url() or project_login_url()


def ciam_login_url() -> str | None:
    """Return the URL of ``ciam:login``; None if ``ciam_django.urls`` is not included."""
    return _reversed_url("ciam:login")


def project_login_url() -> str | None:
    """Return ``LOGIN_URL`` as a URL; None if the project does not set it, or if it has no URL.

    The default of Django is a page that most projects do not have.
    """
    if not is_set_by_project("LOGIN_URL"):
        return None
    try:
        # The value can be lazy.
        url = str(settings.LOGIN_URL)
    except NoReverseMatch:
        return None
    return url if "/" in url else _reversed_url(url)


def _reversed_url(name: str) -> str | None:
    if not hasattr(settings, "ROOT_URLCONF"):
        # The project has no URLs: it is a script or a worker.
        return None
    try:
        return reverse(name)
    except NoReverseMatch:
        return None


def _bearer_challenge(kind: Kind, request: HttpRequest | None, scopes: Sequence[str]) -> str:
    """Return the value of ``WWW-Authenticate`` (RFC 6750, sections 3 and 3.1).

    The value has no error code if the request has no token.
    """
    if scopes:
        return f'Bearer error="insufficient_scope", scope="{" ".join(scopes)}"'
    authorization = request.META.get("HTTP_AUTHORIZATION", "") if request else ""
    if kind is Kind.TOKEN and authorization[:7].lower() == "bearer ":
        return 'Bearer error="invalid_token"'
    return "Bearer"


# --- Details for developers -------------------------------------------------------------------

_MATCH_TEXTS: Final = {
    "exact": "its exact code",
    "family": "its family",
    "type code": "its type code",
    "status": "its status",
    "unknown": "no step: the code is unknown",
}


def _developer_details(
    error: CiamError, true_row: MatchedRow, shown_row: MatchedRow
) -> dict[str, str]:
    """Return the values of the log line and the exceptions behind the error, in English."""
    return {
        "Code": loggable_code(error.code),
        "Type code": loggable_code(error.type_code),
        "Stage": error.stage,
        "Reason": str(true_row.reason),
        "Row": f"{true_row.key} (found by {_MATCH_TEXTS[true_row.matched_by]})",
        "Shown as": shown_row.key if shown_row is not true_row else "",
        "Exceptions": "\n←\xa0".join(("CiamError", *cause_names_of(error))),
        "Upstream status": str(error.upstream_status or ""),
        "Request id": error.reference,
        "Upstream text": error.upstream_text,
    }
