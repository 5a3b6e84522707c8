"""Test the answers to errors: members, headers, action URLs and generic errors."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from authlib.integrations.base_client.errors import MismatchingStateError, OAuthError
from django.conf import UserSettingsHolder, global_settings
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.test import RequestFactory
from django.urls import reverse_lazy
from django.utils import translation
from joserfc.errors import BadSignatureError
from pytest_django.fixtures import Settings

from ciam_django.answers import (
    BODY_MEMBERS,
    GENERIC_ERROR_STAGES,
    Answer,
    _action_url,
    answer_to,
    ciam_error_for,
    example_answer,
    is_failure_of_ciam,
    is_refused_password,
    project_login_url,
)
from ciam_django.codes import ALIASES, CODES, COLLAPSE_TARGETS, UNKNOWN
from ciam_django.errors import CiamError
from ciam_django.kinds import ACTIONS, KINDS, Action, Kind
from ciam_django.reporting import report
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
REQUEST_ID = "1700000000000$0f0e0d0c-1111-2222-3333-444455556666"
# At these stages the user is authenticated, or has typed no identifier.
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

pytestmark = pytest.mark.usefixtures("clear_logged_codes")


def request_of(user: User | AnonymousUser) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user
    return request


def comparable_bytes(answer: Answer) -> bytes:
    """Everything that the client gets, without the request id."""
    parts = {"body": answer.as_dict(), "headers": answer.headers, "label": answer.action_label}
    return json.dumps(parts, sort_keys=True).replace(answer.request_id, "").encode()


# --- Members and headers ----------------------------------------------------------------------


@for_each_row("code", [code for code in CODES if code != "Operation.Success"])
def test_an_answer_has_the_values_of_its_row(code: str) -> None:
    row = CODES[code]

    answer = answer_to(CiamError(code, request_id=REQUEST_ID))

    retry_after = 60 if row.status == 429 and row.retry else None
    assert answer.as_dict() == {
        "type": "about:blank",
        "title": str(row.title or KINDS[row.kind].title),
        "status": row.status,
        "detail": str(row.message),
        "code": code,
        "kind": row.kind,
        "field": row.field,
        "action": row.action,
        "action_url": _action_url(row.action),
        "retry_after": retry_after,
        "request_id": REQUEST_ID,
    }
    assert answer.headers == {
        "Cache-Control": "no-store",
        "Content-Language": "en",
        "Vary": "Accept, Accept-Language, Cookie, HX-Request",
        "Ciam-Error-Code": code,
        "Ciam-Request-Id": REQUEST_ID,
        **({"WWW-Authenticate": "Bearer"} if row.status == 401 else {}),
        **({"Retry-After": "60"} if retry_after else {}),
    }


def test_a_json_body_has_all_eleven_members_in_order() -> None:
    answer = answer_to(CiamError("timeout"))

    assert list(answer.as_dict()) == list(BODY_MEMBERS)
    assert " ".join(BODY_MEMBERS) == (
        "type title status detail code kind field action action_url retry_after request_id"
    )
    assert json.loads(json.dumps(answer.as_dict())) == answer.as_dict()
    assert {type(value) for value in answer.as_dict().values()} <= {str, int, type(None)}


def test_an_answer_contains_no_upstream_text() -> None:
    error = CiamError(
        "invalid_grant", type_code="Unmistakable.Type", upstream_text="Unmistakable", stage="token"
    )

    assert b"nmistakable" not in comparable_bytes(answer_to(error))


def test_an_answer_is_in_the_active_language() -> None:
    with translation.override("zh-hans"):
        answer = answer_to(CiamError(LOCKED))

    assert answer.headers["Content-Language"] == "zh-hans"


def test_an_answer_without_an_active_language_is_in_the_language_of_the_project(
    settings: Settings,
) -> None:
    settings.LANGUAGE_CODE = "zh-hant"
    with translation.override(None):
        answer = answer_to(CiamError(LOCKED))

    assert answer.headers["Content-Language"] == "zh-hant"


@pytest.mark.parametrize(
    ("language_code", "active", "language"),
    [
        ("en", "fr", "en"),
        ("en-us", "de", "en"),
        ("zh-hans", "fr", "zh-hans"),
        ("zh-hans", "ar", "zh-hans"),
        ("fr", "de", "en"),
        ("fr", None, "en"),
        ("zh-hant", None, "zh-hant"),
        # Without negotiation, Django finds no catalogue for these languages.
        ("fr", "zh-tw", "zh-hant"),
        ("zh-hant", "zh-cn", "zh-hans"),
        ("en", "zh-hk", "zh-hant"),
        ("en", "zh-mo", "zh-hant"),
        ("en", "zh-sg", "zh-hans"),
        ("en", "zh", "zh-hans"),
        ("en", "zh-hant-hk", "zh-hant"),
        ("zh-hans", "en-gb", "en-gb"),
    ],
)
def test_an_answer_in_a_language_without_a_catalogue_is_wholly_in_the_fallback_language(
    language_code: str, active: str | None, language: str, settings: Settings
) -> None:
    settings.LANGUAGE_CODE = language_code
    # Django then forgets the catalogues with the previous fallback.
    settings.LOCALE_PATHS = []
    # The code's texts have short words, which other catalogues have, too.
    error = CiamError("Operation.Failure.Captcha.Error")
    with translation.override(language):
        expected = answer_to(error)
    with translation.override(active):
        answer = answer_to(error)

    assert answer.as_dict() == expected.as_dict()
    assert answer.action_label == expected.action_label
    assert answer.headers["Content-Language"] == language


@pytest.mark.parametrize(
    ("texts", "active", "detail", "language"),
    [
        ({"fr": "Appelez.", "en": "Call."}, "fr", "Appelez.", "fr"),
        ({"zh-hans": "致电我们。"}, "zh-hant", "致电我们。", "zh-hans"),
        ({"zh-hans": "致电我们。"}, "fr", "致电我们。", "zh-hans"),
        ({"de": "Anrufen."}, "zh-hant", "此帳號已鎖定，請聯絡客服解除鎖定。", "zh-hant"),
    ],
)
def test_an_answer_is_in_the_language_of_the_text_that_the_project_has(
    texts: dict[str, str], active: str, detail: str, language: str, settings: Settings
) -> None:
    settings.LANGUAGE_CODE = "zh-hans"
    settings.LOCALE_PATHS = []
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"message": texts}}
    with translation.override(active):
        answer = answer_to(CiamError(LOCKED))
    with translation.override(language):
        title = str(KINDS[Kind.ACCOUNT_STATE].title)

    assert (answer.detail, answer.headers["Content-Language"]) == (detail, language)
    assert answer.title == title


@pytest.mark.parametrize(
    ("header", "cookie", "active", "language"),
    [
        ("zh_CN", "", "en", "zh-hans"),
        ("zh_TW", "", "en", "zh-hant"),
        ("zh_HK,en;q=0.5", "", "en", "zh-hant"),
        ("en", "", "en", "en"),
        ("zh_CN", "zh-hant", "zh-hant", "zh-hant"),
        ("_" * 100_000, "", "en", "en"),
        # Middleware of the project has activated another language than LocaleMiddleware.
        ("zh_CN", "", "zh-hant", "zh-hant"),
    ],
)
def test_an_answer_is_in_the_language_that_wechat_names_with_an_underscore(
    rf: RequestFactory, header: str, cookie: str, active: str, language: str
) -> None:
    request = rf.get("/", headers={"accept-language": header})
    if cookie:
        request.COOKIES["django_language"] = cookie
    LocaleMiddleware(lambda request: HttpResponse()).process_request(request)
    with translation.override(active):
        answer = answer_to(CiamError(LOCKED), request)

    assert answer.headers["Content-Language"] == language


def test_an_underscore_changes_nothing_in_a_project_with_one_language(rf: RequestFactory) -> None:
    request = rf.get("/", headers={"accept-language": "zh_CN"})

    assert answer_to(CiamError(LOCKED), request).headers["Content-Language"] == "en"


def test_the_type_of_a_problem_is_the_url_of_the_settings_with_the_kind(settings: Settings) -> None:
    settings.CIAM_PROBLEM_TYPE_URL = "https://example.com/problems/{kind}/#{kind}"

    answer = answer_to(CiamError("invalid_grant"))

    assert answer.type == "https://example.com/problems/token/#token"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (CiamError("operation.failure.user.locked"), LOCKED),
        (CiamError("Params.Blank.Nickname"), "Params.Blank.any"),
        (CiamError("shop.a/b"), "shop.a%2Fb"),
        # Users must not learn the true code of a generic answer from the URL.
        (CiamError(LOCKED, stage="password"), "Operation.Failure.Username.Or.Password.Error"),
    ],
)
def test_the_type_of_a_problem_can_have_the_code_of_the_answer(
    settings: Settings, error: CiamError, name: str
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"shop.a/b": "The shop is closed."}
    settings.CIAM_PROBLEM_TYPE_URL = "https://docs.example/codes/{code}.html"

    assert answer_to(error).type == f"https://docs.example/codes/{name}.html"


# --- Values from upstream ---------------------------------------------------------------------


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
def test_a_code_is_shown_only_if_the_table_or_the_settings_have_it(
    code: str, type_code: str, shown: str, settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"My.Own": "Mine.", "My.Family.*": "Mine."}

    answer = answer_to(CiamError(code, type_code=type_code))

    assert answer.code == answer.headers["Ciam-Error-Code"] == shown


@pytest.mark.parametrize("request_id", ["", "a\r\nSet-Cookie: x=y", "<b>", "a" * 129])
def test_an_error_without_a_request_id_gets_a_local_id(
    request_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = CiamError("no_connection", request_id=request_id)

    answer = answer_to(error)
    report(error)

    assert re.fullmatch(r"local-[0-9a-f]{16}", answer.request_id)
    assert answer.headers["Ciam-Request-Id"] == answer.request_id == error.reference
    assert f"request_id={answer.request_id}" in caplog.text


def test_a_local_id_stays_the_same_for_one_error_and_differs_between_errors() -> None:
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
def test_a_derived_field_is_shown_only_if_it_is_a_field_name(code: str, field: str | None) -> None:
    assert answer_to(CiamError(code)).field == field


@pytest.mark.parametrize("field", ["<b>", "Nick", "a" * 41, ""])
def test_a_field_of_the_settings_is_shown_only_if_it_is_a_field_name(
    field: str, settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"field": field}}

    assert answer_to(CiamError(LOCKED)).field is None


# --- WWW-Authenticate and Retry-After ---------------------------------------------------------


@for_each_row("code", [code for code, row in CODES.items() if row.status == 401])
@for_each_row(
    "authorization, is_token",
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
def test_a_401_has_a_challenge_that_names_invalid_token_only_if_the_request_has_a_token(
    code: str, authorization: str | None, is_token: bool
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    request = RequestFactory().get("/", headers=headers)

    challenge = answer_to(CiamError(code), request).headers["WWW-Authenticate"]

    has_error = is_token and CODES[code].kind is Kind.TOKEN
    assert challenge == ('Bearer error="invalid_token"' if has_error else "Bearer")


def test_only_a_401_has_a_challenge() -> None:
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
        # The verification code can't be used again, so waiting does not help.
        ("Operation.Failure.SMS.Code.Too.Frequency", None, None),
        ("too_many_requests", None, 60),
        ("server_error", None, None),
        ("server_error", 30, 30),
        (LOCKED, None, None),
    ],
)
def test_retry_after_is_ciams_value_or_the_value_of_the_settings(
    code: str, upstream: int | None, expected: int | None
) -> None:
    answer = answer_to(CiamError(code, retry_after=upstream))

    assert answer.retry_after == expected
    assert answer.headers.get("Retry-After") == (None if expected is None else str(expected))


@pytest.mark.parametrize(("setting", "expected"), [(5, 5), (0, None)])
def test_a_setting_has_the_default_of_retry_after(
    setting: int, expected: int | None, settings: Settings
) -> None:
    settings.CIAM_RETRY_AFTER = setting

    assert answer_to(CiamError("too_many_requests")).retry_after == expected


# --- Action URLs ------------------------------------------------------------------------------


@for_each_row("action", Action)
def test_only_sign_in_actions_have_a_url_by_default(action: Action) -> None:
    is_sign_in = action in (Action.LOGIN, Action.RESTART, Action.USE_ANOTHER_METHOD)

    assert _action_url(action) == ("/ciam/login/" if is_sign_in else None)


@pytest.mark.parametrize(
    ("target", "url"),
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
def test_a_setting_has_the_url_of_an_action(
    target: str, url: str | None, settings: Settings
) -> None:
    settings.CIAM_ACTION_URLS = {"reset_password": target}

    assert _action_url(Action.RESET_PASSWORD) == url


def test_a_setting_replaces_the_login_url_of_one_action(settings: Settings) -> None:
    settings.CIAM_ACTION_URLS = {"login": "/enter/"}

    assert answer_to(CiamError("invalid_grant")).action_url == "/enter/"
    assert answer_to(CiamError("mismatching_state")).action_url == "/ciam/login/"


def test_an_action_url_takes_precedence_over_the_support_url(settings: Settings) -> None:
    settings.CIAM_SUPPORT_URL = "mailto:help@example.com"
    from_support = _action_url(Action.CONTACT_SUPPORT)
    settings.CIAM_ACTION_URLS = {"contact_support": "/help/"}

    assert from_support == "mailto:help@example.com"
    assert _action_url(Action.CONTACT_SUPPORT) == "/help/"
    assert _action_url(Action.NONE) is None


def test_an_answer_has_no_login_url_without_the_sign_in_views(settings: Settings) -> None:
    settings.ROOT_URLCONF = "django.contrib.auth.urls"

    assert answer_to(CiamError("invalid_grant")).action_url is None


@pytest.mark.parametrize("code", ["invalid_grant", "mismatching_state", "account_exists"])
@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("login", "/login/"),
        ("/enter/", "/enter/"),
        (reverse_lazy("login"), "/login/"),
        (reverse_lazy("no-such-name"), None),
    ],
    ids=["name", "path", "lazy", "lazy and wrong"],
)
def test_a_project_without_the_sign_in_views_has_a_login_page_of_its_own(
    code: str, target: Any, url: str | None, settings: Settings
) -> None:
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    settings.LOGIN_URL = target

    assert answer_to(CiamError(code)).action_url == url


def test_the_default_of_django_is_no_login_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_settings, "_wrapped", UserSettingsHolder(global_settings))

    assert project_login_url() is None


def test_the_login_page_of_the_project_has_the_other_login_methods(settings: Settings) -> None:
    settings.LOGIN_URL = "/enter/"

    assert answer_to(CiamError("account_exists")).action_url == "/enter/"
    assert answer_to(CiamError("invalid_grant")).action_url == "/ciam/login/"


def test_an_answer_has_no_login_url_without_a_root_urlconf(settings: Settings) -> None:
    del settings.ROOT_URLCONF

    assert answer_to(CiamError("invalid_grant")).action_url is None


@for_each_row("action", Action)
def test_every_action_has_a_label(action: Action, settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"action": str(action)}}

    assert set(ACTIONS) == {str(item) for item in Action}
    assert answer_to(CiamError(LOCKED)).action_label == str(ACTIONS[action].label)


# --- Generic errors ---------------------------------------------------------------------------


def test_seventeen_rows_collapse() -> None:
    assert len(COLLAPSING) == 15 + 2  # rows of the catalogue, and two families


@for_each_row("stage", sorted(GENERIC_ERROR_STAGES))
@for_each_row("code", COLLAPSING)
def test_each_failure_of_an_account_has_the_same_answer(code: str, stage: str) -> None:
    target = COLLAPSE_TARGETS[COLLAPSING[code]]

    collapsed = answer_to(
        CiamError(code, stage=stage, request_id=REQUEST_ID, upstream_status=500, retry_after=1740)
    )
    generic = answer_to(CiamError(target, stage=stage))

    assert comparable_bytes(collapsed) == comparable_bytes(generic)
    assert collapsed.code == target
    # CIAM's request ids have another form than the ids of failures that this site finds itself.
    assert re.fullmatch(r"local-[0-9a-f]{16}", collapsed.request_id)


@pytest.mark.parametrize("code", ["Operation.Failure.User.Weird", "Params.Exist.User.Weird"])
def test_a_code_of_a_collapsing_family_collapses(code: str) -> None:
    answer = answer_to(CiamError(code, stage="password"))

    assert answer.code in COLLAPSE_TARGETS.values()
    assert "eird" not in comparable_bytes(answer).decode()


def test_a_code_with_a_collapsing_type_code_collapses() -> None:
    answer = answer_to(CiamError("New", type_code=LOCKED, stage="password"))

    assert answer.code == "Operation.Failure.Username.Or.Password.Error"


@for_each_row("stage", OPEN_STAGES)
@for_each_row("code", COLLAPSING)
def test_a_collapsing_code_is_shown_outside_of_the_generic_error_stages(
    code: str, stage: str
) -> None:
    assert answer_to(CiamError(code, stage=stage)).code == code


@for_each_row("code", COLLAPSING)
def test_the_answer_is_generic_for_anonymous_users_and_for_users_who_are_signed_in(
    code: str,
) -> None:
    error = CiamError(code, stage="password")
    requests = [request_of(User()), request_of(AnonymousUser()), RequestFactory().get("/"), None]

    answers = [answer_to(error, request) for request in requests]
    assert answers[0].code == COLLAPSE_TARGETS[COLLAPSING[code]]
    assert len(set(map(comparable_bytes, answers))) == 1


def test_a_collapsing_code_is_shown_if_generic_errors_are_off(settings: Settings) -> None:
    settings.CIAM_GENERIC_ERRORS = False

    assert answer_to(CiamError(LOCKED, stage="password")).code == LOCKED


def test_a_collapsing_code_is_shown_with_a_message_of_the_project(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED.upper(): "Call us."}

    answer = answer_to(CiamError(LOCKED, stage="password"))

    assert (answer.code, answer.detail) == (LOCKED, "Call us.")


@pytest.mark.parametrize(
    "overrides",
    [
        {LOCKED: {"status": 423}},
        {LOCKED: {"message": "Call us.", "collapse": "sign_in"}},
        {LOCKED: "Call us.", "Operation.Failure.User.*": {"collapse": "sign_in"}},
        {"Operation.Failure.User.*": "Call us."},
        {"*.Locked": "Call us."},
    ],
    ids=str,
)
def test_a_collapsing_code_is_hidden_unless_its_exact_code_has_a_message_of_the_project(
    overrides: dict[str, Any], settings: Settings
) -> None:
    settings.CIAM_ERROR_OVERRIDES = overrides

    answer = answer_to(CiamError(LOCKED, stage="password"))

    assert answer.code == "Operation.Failure.Username.Or.Password.Error"
    assert answer.detail != "Call us."


def test_a_message_for_an_alias_is_shown_only_if_ciam_sent_the_alias(settings: Settings) -> None:
    alias = "Operation.Failure.User.NotFound"
    settings.CIAM_ERROR_OVERRIDES = {alias: "M."}

    assert answer_to(CiamError(alias, stage="password")).detail == "M."
    # The project has set no message for the row of the alias.
    answer = answer_to(CiamError(ALIASES[alias], stage="password"))
    assert answer.code == "Operation.Failure.Username.Or.Password.Error"


def test_the_answer_to_a_weak_password_has_the_rule_of_the_project(settings: Settings) -> None:
    error = CiamError("Params.Illegal.User.Password.Policy")
    settings.CIAM_PASSWORD_HINT = translation.gettext_lazy("Use {8} characters.")
    assert answer_to(error).detail == "Choose a stronger password: Use {8} characters."
    settings.CIAM_ERROR_OVERRIDES = {error.code: "Our own words."}
    assert answer_to(error).detail == "Our own words."


def test_a_setting_replaces_the_message_of_the_generic_row(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Operation.Failure.Username.Or.Password.Error": "No."}

    assert answer_to(CiamError(LOCKED, stage="password")).detail == "No."


@for_each_row("code", [code for code in CODES if code not in COLLAPSING])
def test_a_code_of_any_other_row_is_shown_at_the_password_stage(code: str) -> None:
    # An error is never a success.
    expected = UNKNOWN if code == "Operation.Success" else code

    assert answer_to(CiamError(code, stage="password")).code == expected


def test_the_code_of_a_cancel_in_a_response_of_ciam_is_a_refusal(settings: Settings) -> None:
    refusal = CiamError("access_denied", upstream_status=400)
    answer, kind = answer_to(refusal), KINDS[Kind.PERMISSION]
    assert (answer.title, answer.detail, answer.action) == (kind.title, kind.sentence, kind.action)
    assert answer.has_reference
    assert not answer.is_cancel

    settings.CIAM_ERROR_OVERRIDES = {"access_denied": {"message": "Call us.", "action": "retry"}}
    answer = answer_to(refusal)
    assert (answer.detail, answer.action) == ("Call us.", "retry")


# --- Handled errors ---------------------------------------------------------------------------


def test_a_ciam_error_is_handled() -> None:
    error = CiamError("whatever")

    assert ciam_error_for(error) is error


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
def test_only_errors_of_authlibs_client_with_a_row_are_handled(
    raised: BaseException, code: str | None, settings: Settings
) -> None:
    error = ciam_error_for(raised)

    assert (error and error.code) == code
    settings.CIAM_HANDLE_AUTHLIB_ERRORS = False
    assert ciam_error_for(raised) is None


def test_an_authlib_error_with_a_code_of_the_settings_is_handled(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"nobody_knows": "We do."}
    error = ciam_error_for(OAuthError("nobody_knows"))

    assert error is not None
    assert answer_to(error).detail == "We do."


def test_the_challenge_of_a_refused_scope_names_all_scopes() -> None:
    error = CiamError("insufficient_scope", stage="api")
    error.required_scopes = ("orders.read", "orders.write")

    expected = 'Bearer error="insufficient_scope", scope="orders.read orders.write"'
    assert answer_to(error).headers["WWW-Authenticate"] == expected


@for_each_row(
    "code, is_failure",
    [
        ("no_connection", True),
        ("timeout", True),
        ("server_error", True),
        ("unreadable_answer", True),
        # The code may be about one user.
        ("Brand.New.Code", False),
        ("too_many_requests", False),
        ("invalid_grant", False),
        ("bad_configuration", False),
    ],
)
def test_only_a_known_failure_of_ciam_concerns_all_users(code: str, is_failure: bool) -> None:
    assert is_failure_of_ciam(CiamError(code)) is is_failure


def test_the_example_of_an_answer_is_always_the_same() -> None:
    first, second = (example_answer("timeout") for _ in range(2))

    assert first == second
    # A random id would begin with "local-".
    assert "$" in first.request_id


@for_each_row(
    "code, stage, is_refused",
    [
        ("Params.Illegal.User.Password", "recover", True),
        ("Params.Illegal.User.Password", "register", True),
        # The password of an account, and not a new password.
        ("Params.Illegal.User.Password", "password", False),
        ("Params.Illegal.User.Username", "recover", False),
        ("Operation.Failure.Username.Or.Password.Error", "recover", False),
    ],
)
def test_only_a_new_password_can_be_refused(code: str, stage: str, is_refused: bool) -> None:
    assert is_refused_password(CiamError(code, stage=stage)) is is_refused
