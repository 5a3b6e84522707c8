"""An error becomes an answer that says all that it may, once in the log, and no more than that."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from authlib.integrations.base_client.errors import MismatchingStateError, OAuthError
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import translation
from joserfc.errors import BadSignatureError
from pytest_django.fixtures import Settings

from ciam_django.answers import (
    BODY_MEMBERS,
    GENERIC_ERROR_STAGES,
    Answer,
    _action_url,
    answer_to,
    handled_error,
)
from ciam_django.codes import ALIASES, CODES, COLLAPSE_TARGETS, UNKNOWN
from ciam_django.errors import CiamError
from ciam_django.kinds import ACTION_LABELS, KINDS, Action, Kind
from ciam_django.reporting import report
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
REQUEST_ID = "1700000000000$0f0e0d0c-1111-2222-3333-444455556666"
# Where CIAM or the provider has authenticated someone, or nobody has typed who they are.
OPEN_STAGES = [
    "",
    "authorize",
    "callback",
    "token",
    "id_token",
    "userinfo",
    "refresh",
    "logout",
    "social",
    "profile",
    "api",
]
COLLAPSING = {code: row.collapse for code, row in CODES.items() if row.collapse}

pytestmark = pytest.mark.usefixtures("no_alarm_has_sounded")


def asked_by(user: User | AnonymousUser) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user
    return request


def bytes_of(answer: Answer) -> bytes:
    """Everything that reaches the client, but for the request id."""
    sent = {"body": answer.as_dict(), "headers": answer.headers, "label": answer.action_label}
    return json.dumps(sent, sort_keys=True).replace(answer.request_id, "").encode()


# --- Members and headers ----------------------------------------------------------------------


@for_each_row("code", [code for code in CODES if code != "Operation.Success"])
def test_an_answer_is_its_row(code: str) -> None:
    row = CODES[code]

    answer = answer_to(CiamError(code, request_id=REQUEST_ID))

    waits = 60 if row.status == 429 and row.retry else None
    assert answer.as_dict() == {
        "type": "about:blank",
        "title": str(KINDS[row.kind].title),
        "status": row.status,
        "detail": str(row.message),
        "code": code,
        "kind": row.kind,
        "field": row.field,
        "action": row.action,
        "action_url": _action_url(row.action),
        "retry_after": waits,
        "request_id": REQUEST_ID,
    }
    assert answer.headers == {
        "Cache-Control": "no-store",
        "Content-Language": "en",
        "Vary": "Accept, Accept-Language, Cookie",
        "Ciam-Error-Code": code,
        "Ciam-Request-Id": REQUEST_ID,
        **({"WWW-Authenticate": "Bearer"} if row.status == 401 else {}),
        **({"Retry-After": "60"} if waits else {}),
    }


def test_a_body_has_eleven_members_in_their_order_and_is_json() -> None:
    answer = answer_to(CiamError("timeout"))

    assert list(answer.as_dict()) == list(BODY_MEMBERS)
    assert " ".join(BODY_MEMBERS) == (
        "type title status detail code kind field action action_url retry_after request_id"
    )
    assert json.loads(json.dumps(answer.as_dict())) == answer.as_dict()
    assert {type(value) for value in answer.as_dict().values()} <= {str, int, type(None)}


def test_what_upstream_wrote_is_not_answered() -> None:
    error = CiamError(
        "invalid_grant", type_code="Unmistakable.Type", upstream_text="Unmistakable", stage="token"
    )

    assert b"nmistakable" not in bytes_of(answer_to(error))


def test_an_answer_speaks_the_active_language() -> None:
    with translation.override("zh-hans"):
        answer = answer_to(CiamError(LOCKED))

    assert answer.headers["Content-Language"] == "zh-hans"


def test_without_an_active_language_it_is_the_projects(settings: Settings) -> None:
    settings.LANGUAGE_CODE = "zh-hant"
    with translation.override(None):
        answer = answer_to(CiamError(LOCKED))

    assert answer.headers["Content-Language"] == "zh-hant"


def test_a_problem_type_is_the_projects_page_of_the_kind(settings: Settings) -> None:
    settings.CIAM_PROBLEM_TYPE_URL = "https://example.com/problems/{kind}/#{kind}"

    answer = answer_to(CiamError("invalid_grant"))

    assert answer.type == "https://example.com/problems/token/#token"


# --- What of upstream's passes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "type_code", "shown"),
    [
        ("invalid_grant", "", "invalid_grant"),
        ("INVALID_GRANT", "", "invalid_grant"),
        ("Operation.Failure.User.NotFound", "", "Operation.Failure.User.Not.Exist"),
        ("Params.Blank.Secret.Name", "", "Params.Blank.*"),
        ("Secret.Thing", "Params.Blank", "Params.Blank"),
        ("Secret.Thing", "Secret.Type", UNKNOWN),
        ("x\r\nSet-Cookie: a=b", "", UNKNOWN),
        ("<script>alert(1)</script>", "", UNKNOWN),
        ("my.own", "", "My.Own"),
        ("my.family.secret", "", "My.Family.*"),
    ],
)
def test_a_code_is_shown_only_if_it_is_a_row_or_the_projects(
    code: str, type_code: str, shown: str, settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"My.Own": "Mine.", "My.Family.*": "Mine."}

    answer = answer_to(CiamError(code, type_code=type_code))

    assert answer.code == answer.headers["Ciam-Error-Code"] == shown


@pytest.mark.parametrize("request_id", ["", "a\r\nSet-Cookie: x=y", "<b>", "a" * 129])
def test_a_request_id_is_made_where_there_is_none(
    request_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = CiamError("no_connection", request_id=request_id)

    answer = answer_to(error)
    report(error)

    assert re.fullmatch(r"local-[0-9a-f]{16}", answer.request_id)
    assert answer.headers["Ciam-Request-Id"] == answer.request_id == error.reference
    assert f"request_id={answer.request_id}" in caplog.text


def test_a_request_id_that_was_made_stays_and_no_two_are_alike() -> None:
    error = CiamError("no_connection")

    assert answer_to(error).request_id == answer_to(error).request_id
    assert answer_to(CiamError("no_connection")).request_id != answer_to(error).request_id


@pytest.mark.parametrize(
    ("code", "field"),
    [
        ("Params.Blank.User.Nick.Name", "nick_name"),
        ("Params.Blank.User.2fa", None),
        ("Params.Blank." + "x" * 41, None),
    ],
)
def test_a_derived_field_is_shown_in_its_alphabet_only(code: str, field: str | None) -> None:
    assert answer_to(CiamError(code)).field == field


@pytest.mark.parametrize("field", ["<b>", "Nick", "a" * 41, ""])
def test_a_field_of_the_settings_is_in_that_alphabet_too(field: str, settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"field": field}}

    assert answer_to(CiamError(LOCKED)).field is None


# --- WWW-Authenticate and Retry-After ---------------------------------------------------------


@for_each_row("code", [code for code, row in CODES.items() if row.status == 401])
@for_each_row(
    "presented, is_token",
    [
        (None, False),
        ("", False),
        ("Bearer", False),
        ("Bearer abc", True),
        ("bearer abc", True),
        ("BEARER abc", True),
        ("Basic YTpi", False),
        ("Bearerabc", False),
    ],
)
def test_a_401_challenges_and_tells_of_a_token_only_to_who_presented_one(
    code: str, presented: str | None, is_token: bool
) -> None:
    headers = {} if presented is None else {"authorization": presented}
    request = RequestFactory().get("/", headers=headers)

    challenge = answer_to(CiamError(code), request).headers["WWW-Authenticate"]

    tells = is_token and CODES[code].kind is Kind.TOKEN
    assert challenge == ('Bearer error="invalid_token"' if tells else "Bearer")


def test_nothing_but_a_401_challenges() -> None:
    for code, row in CODES.items():
        if row.status != 401:
            assert "WWW-Authenticate" not in answer_to(CiamError(code)).headers


@pytest.mark.parametrize(
    ("code", "upstream", "expected"),
    [
        ("Operation.Failure.Send.SMS.Too.Frequency", None, 60),
        ("Operation.Failure.Send.SMS.Too.Frequency", 9, 9),
        ("Operation.Failure.Send.SMS.Too.Frequency", 3600, 3600),
        ("Operation.Failure.Send.SMS.Too.Frequency", 3601, 60),
        # The code is spent: waiting does not help.
        ("Operation.Failure.SMS.Code.Too.Frequency", None, None),
        ("too_many_requests", None, 60),
        ("server_error", None, None),
        ("server_error", 30, 30),
        (LOCKED, None, None),
    ],
)
def test_retry_after_is_upstreams_or_the_settings(
    code: str, upstream: int | None, expected: int | None
) -> None:
    answer = answer_to(CiamError(code, retry_after=upstream))

    assert answer.retry_after == expected
    assert answer.headers.get("Retry-After") == (None if expected is None else str(expected))


@pytest.mark.parametrize(("setting", "expected"), [(5, 5), (0, None)])
def test_the_wait_is_a_setting(setting: int, expected: int | None, settings: Settings) -> None:
    settings.CIAM_RETRY_AFTER = setting

    assert answer_to(CiamError("too_many_requests")).retry_after == expected


# --- Where an action leads --------------------------------------------------------------------


@for_each_row("action", Action)
def test_an_action_leads_where_the_sign_in_views_are_or_nowhere(action: Action) -> None:
    leads = action in (Action.LOGIN, Action.RESTART, Action.USE_ANOTHER_METHOD)

    assert _action_url(action) == ("/ciam/login/" if leads else None)


@pytest.mark.parametrize(
    ("to", "url"),
    [
        ("/help/", "/help/"),
        ("https://example.com/help", "https://example.com/help"),
        ("mailto:help@example.com", "mailto:help@example.com"),
        ("tel:95187", "tel:95187"),
        ("admin:index", "/admin/"),
        ("no:such-name", None),
        ("nosuchname", None),
        ("", None),
    ],
)
def test_a_project_says_where_an_action_leads(to: str, url: str | None, settings: Settings) -> None:
    settings.CIAM_ACTION_URLS = {"reset_password": to}

    assert _action_url(Action.RESET_PASSWORD) == url


def test_a_project_says_where_to_sign_in(settings: Settings) -> None:
    settings.CIAM_ACTION_URLS = {"login": "/enter/"}

    assert answer_to(CiamError("invalid_grant")).action_url == "/enter/"
    assert answer_to(CiamError("mismatching_state")).action_url == "/ciam/login/"


def test_support_is_a_setting_of_its_own_below_the_action_urls(settings: Settings) -> None:
    settings.CIAM_SUPPORT_URL = "mailto:help@example.com"
    from_support = _action_url(Action.CONTACT_SUPPORT)
    settings.CIAM_ACTION_URLS = {"contact_support": "/help/"}

    assert from_support == "mailto:help@example.com"
    assert _action_url(Action.CONTACT_SUPPORT) == "/help/"
    assert _action_url(Action.NONE) is None


def test_without_the_sign_in_views_there_is_nowhere_to_sign_in(settings: Settings) -> None:
    settings.ROOT_URLCONF = "django.contrib.auth.urls"

    assert answer_to(CiamError("invalid_grant")).action_url is None


def test_without_urls_there_is_nowhere_at_all(settings: Settings) -> None:
    del settings.ROOT_URLCONF

    assert answer_to(CiamError("invalid_grant")).action_url is None


@for_each_row("action", Action)
def test_every_action_has_a_label(action: Action, settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"action": str(action)}}

    assert set(ACTION_LABELS) == {str(each) for each in Action}
    assert answer_to(CiamError(LOCKED)).action_label == str(ACTION_LABELS[action])


# --- Generic errors ---------------------------------------------------------------------------


def test_what_collapses_is_what_would_tell_who_has_an_account() -> None:
    assert len(COLLAPSING) == 15 + 2  # the catalogue's, and two families


@for_each_row("stage", sorted(GENERIC_ERROR_STAGES))
@for_each_row("code", COLLAPSING)
def test_a_stranger_reads_the_same_whatever_is_wrong_with_the_account(
    code: str, stage: str
) -> None:
    target = COLLAPSE_TARGETS[COLLAPSING[code]]

    collapsed = answer_to(
        CiamError(code, stage=stage, request_id=REQUEST_ID, upstream_status=500, retry_after=1740)
    )
    generic = answer_to(CiamError(target, stage=stage))

    assert bytes_of(collapsed) == bytes_of(generic)
    assert collapsed.code == target
    assert collapsed.request_id == REQUEST_ID


@pytest.mark.parametrize("code", ["Operation.Failure.User.Weird", "Params.Exist.User.Weird"])
def test_codes_of_families_that_collapse_do_so(code: str) -> None:
    answer = answer_to(CiamError(code, stage="password"))

    assert answer.code in COLLAPSE_TARGETS.values()
    assert "eird" not in bytes_of(answer).decode()


def test_a_type_code_that_collapses_does_so() -> None:
    answer = answer_to(CiamError("New", type_code=LOCKED, stage="password"))

    assert answer.code == "Operation.Failure.Username.Or.Password.Error"


@for_each_row("stage", OPEN_STAGES)
@for_each_row("code", COLLAPSING)
def test_it_is_told_where_ciam_has_authenticated_someone(code: str, stage: str) -> None:
    assert answer_to(CiamError(code, stage=stage)).code == code


@for_each_row("code", COLLAPSING)
def test_it_is_told_to_who_has_signed_in(code: str) -> None:
    error = CiamError(code, stage="password")

    assert answer_to(error, asked_by(User())).code == code
    assert answer_to(error, asked_by(AnonymousUser())).code != code
    assert answer_to(error, RequestFactory().get("/")).code != code
    assert answer_to(error, None).code != code


def test_it_is_told_where_generic_errors_are_off(settings: Settings) -> None:
    settings.CIAM_GENERIC_ERRORS = False

    assert answer_to(CiamError(LOCKED, stage="password")).code == LOCKED


def test_it_is_told_in_the_projects_own_words(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED.upper(): "Call us."}

    answer = answer_to(CiamError(LOCKED, stage="password"))

    assert (answer.code, answer.detail) == (LOCKED, "Call us.")


@pytest.mark.parametrize(
    "overrides",
    [{LOCKED: {"status": 423}}, {"Operation.Failure.User.*": "Call us."}, {"*.Locked": "Call us."}],
    ids=str,
)
def test_it_is_not_told_unless_the_exact_code_is_reworded(
    overrides: dict[str, Any], settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = overrides

    answer = answer_to(CiamError(LOCKED, stage="password"))

    assert answer.code == "Operation.Failure.Username.Or.Password.Error"
    assert answer.detail != "Call us."


def test_it_is_told_where_the_alias_that_ciam_sent_is_reworded(settings: Settings) -> None:
    alias = "Operation.Failure.User.NotFound"
    settings.CIAM_ERROR_OVERRIDES = {alias: "M."}

    assert answer_to(CiamError(alias, stage="password")).detail == "M."
    # The row that the alias stands for has no words of the project's.
    own = answer_to(CiamError(ALIASES[alias], stage="password"))
    assert own.code == "Operation.Failure.Username.Or.Password.Error"


def test_the_generic_row_itself_can_be_reworded(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Operation.Failure.Username.Or.Password.Error": "No."}

    assert answer_to(CiamError(LOCKED, stage="password")).detail == "No."


@for_each_row("code", [code for code in CODES if code not in COLLAPSING])
def test_nothing_else_collapses(code: str) -> None:
    # An error is never a success.
    expected = UNKNOWN if code == "Operation.Success" else code

    assert answer_to(CiamError(code, stage="password")).code == expected


# --- What a door answers ----------------------------------------------------------------------


def test_an_error_of_ours_is_answered() -> None:
    error = CiamError("whatever")

    assert handled_error(error) is error


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (OAuthError("access_denied", "words"), "access_denied"),
        (OAuthError(), "oauth_error"),
        (MismatchingStateError(), "mismatching_state"),
        (OAuthError("nobody_knows"), None),
        (BadSignatureError(), None),
        (ValueError(), None),
        (KeyboardInterrupt(), None),
    ],
    ids=repr,
)
def test_of_others_only_authlibs_client_with_a_row_is_answered(
    raised: BaseException, code: str | None, settings: Settings
) -> None:
    error = handled_error(raised)

    assert (error and error.code) == code
    settings.CIAM_HANDLE_AUTHLIB_ERRORS = False
    assert handled_error(raised) is None


def test_an_authlib_error_that_the_settings_name_is_answered(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"nobody_knows": "We do."}
    error = handled_error(OAuthError("nobody_knows"))

    assert error is not None
    assert answer_to(error).detail == "We do."
