"""Test the look-up of rows, derived fields, and the overrides of a project."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.utils import translation
from django.utils.functional import lazystr
from pytest_django.fixtures import Settings

from ciam_django.answers import answer_to
from ciam_django.codes import ALIASES, CODES, UNKNOWN, Collapse, Meaning
from ciam_django.drf import exception_handler
from ciam_django.errors import CiamError
from ciam_django.kinds import KINDS, Action, Audience, Kind
from ciam_django.lookup import (
    OVERRIDABLE_FIELDS,
    MatchedRow,
    generic_row,
    is_known,
    matched_row,
    meaning_of,
)
from ciam_django.middleware import CiamErrorMiddleware
from tests.conftest import forget_rows
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
LOCKED_FOLDED = LOCKED.casefold()


def row(code: str, **fields: Any) -> Meaning:
    """A row of the table with other fields."""
    return CODES[code]._replace(**fields)


# --- The steps --------------------------------------------------------------------------------


@for_each_row("code", CODES)
def test_every_code_matches_its_own_row_in_any_letter_case(code: str) -> None:
    generator = random.Random(code)
    mixed = "".join(generator.choice([c.lower(), c.upper()]) for c in code)

    for spelling in (code, code.lower(), code.upper(), mixed):
        assert matched_row(spelling) == MatchedRow(code, CODES[code], "exact")


@for_each_row("alias", ALIASES)
def test_an_alias_matches_the_row_of_its_code(alias: str) -> None:
    expected = MatchedRow(ALIASES[alias], CODES[ALIASES[alias]], "exact")

    assert matched_row(alias) == matched_row(alias.upper()) == expected


@for_each_row(
    "code, family",
    [
        ("Params.Blank.Something.New", "Params.Blank.*"),
        ("Params.Blank.OauthClient.New", "Params.Blank.OauthClient.*"),
        (
            "Params.Blank.AuthenticateInformation.New.Thing",
            "Params.Blank.AuthenticateInformation.*",
        ),
        ("Params.Illegal.OauthClient.Scope", "Params.Illegal.OauthClient.*"),
        ("Params.Illegal.AuthenticateInformation.X", "Params.Illegal.AuthenticateInformation.*"),
        ("Params.Illegal.New", "Params.Illegal.*"),
        ("Params.Exist.New", "Params.Exist.*"),
        ("Server.Access.Denied.New", "Server.Access.Denied.*"),
        ("Operation.Failure.Social.New", "Operation.Failure.Social.*"),
        ("Operation.Failure.Mini.Program.New", "Operation.Failure.Mini.Program.*"),
        ("Operation.Failure.User.New", "Operation.Failure.User.*"),
        ("Operation.Failure.Anything.Too.Frequency", "*.Too.Frequency"),
        ("X.Too.Frequency", "*.Too.Frequency"),
        ("wechat.40030999", "wechat.*"),
        # A prefix takes precedence over the suffix.
        ("Params.Blank.X.Too.Frequency", "Params.Blank.*"),
        ("PARAMS.BLANK.SOMETHING.NEW", "Params.Blank.*"),
    ],
)
def test_an_unpublished_code_has_the_meaning_of_its_family(code: str, family: str) -> None:
    matched = matched_row(code)

    assert matched.key == family
    assert matched.matched_by == "family"
    assert matched.meaning._replace(field=None) == CODES[family]


@for_each_row(
    "code",
    [
        "",
        "Operation.Failure.New",
        "Operation.Failure.Unsupported.New",
        "Params.Blanket",
        "Params.Blanket.New",
        "XParams.Blank.New",
        "Too.Frequency",
        "Operation.FailureUser.X",
        "wechat",
        "*",
        ".",
        "..*",
        "nonsense",
        "中文",
    ],
)
def test_a_code_without_a_row_or_family_is_unknown(code: str) -> None:
    assert matched_row(code) == MatchedRow(UNKNOWN, CODES[UNKNOWN], "unknown")


def test_an_exact_row_is_no_family_of_longer_codes() -> None:
    assert matched_row("Params.Blank.MobileExtendParamsJsonSig").key == "Params.Blank.*"
    assert matched_row("Operation.Failure.User.Locked.New").key == "Operation.Failure.User.*"


@pytest.mark.parametrize(
    ("type_code", "key"),
    [
        ("Params.Blank", "Params.Blank"),
        ("PARAMS.BLANK", "Params.Blank"),
        ("Operation.Denied", "Operation.Denied"),
        ("Params.Exist", UNKNOWN),
        ("Params.Exist.New", "Params.Exist.*"),
        ("Operation.Failure.User.NotFound", "Operation.Failure.User.Not.Exist"),
        ("New", UNKNOWN),
    ],
)
def test_the_type_code_decides_if_the_code_has_no_row(type_code: str, key: str) -> None:
    matched = matched_row("Something.New", type_code)

    assert matched.key == key
    assert matched.meaning._replace(field=CODES[key].field) == CODES[key]
    assert matched.matched_by == ("unknown" if key == UNKNOWN else "type code")


@pytest.mark.parametrize("code", ["Params.Blank.Code", "Params.Blank.New"])
def test_the_code_takes_precedence_over_the_type_code_and_the_status(code: str) -> None:
    matched = matched_row(code, "Operation.Denied", 429)

    assert matched.meaning.kind in ("verification", "validation")


def test_the_type_code_takes_precedence_over_the_status() -> None:
    assert matched_row("New", "Operation.Denied", 429).key == "Operation.Denied"


def test_only_the_status_429_has_a_meaning() -> None:
    assert matched_row("New", "New", 429).key == "too_many_requests"
    assert matched_row("New", "New", 429).matched_by == "status"
    for status in (None, 200, 400, 401, 403, 404, 500, 502, 503):
        assert matched_row("New", "New", status).key == UNKNOWN


def test_meaning_of_gives_the_meaning_of_the_matched_row() -> None:
    assert meaning_of(LOCKED) == CODES[LOCKED]
    assert meaning_of("New", "Params.Blank") == CODES["Params.Blank"]
    assert meaning_of("New") == CODES[UNKNOWN]


def test_a_code_without_its_row_takes_the_row_of_its_family(table: dict[str, Meaning]) -> None:
    assert matched_row(LOCKED).key == LOCKED
    del table[LOCKED]
    forget_rows()

    assert matched_row(LOCKED).key == "Operation.Failure.User.*"
    assert matched_row(LOCKED).meaning.collapse is Collapse.SIGN_IN


def test_a_new_row_is_matched(table: dict[str, Meaning]) -> None:
    table["Brand.New"] = CODES["access_denied"]
    forget_rows()

    assert matched_row("brand.new") == MatchedRow("Brand.New", CODES["access_denied"], "exact")


@pytest.mark.parametrize(
    ("code", "known"),
    [
        (LOCKED, True),
        (LOCKED.upper(), True),
        ("Operation.Failure.User.NotFound", True),
        ("my.code", True),
        ("Params.Blank.New", False),
        ("new", False),
        ("", False),
    ],
)
def test_a_code_is_known_only_with_a_row_or_an_override(code: str, known: bool) -> None:
    with override_settings(CIAM_ERROR_OVERRIDES={"My.Code": "Mine."}):
        assert is_known(code) is known


@pytest.mark.parametrize(
    ("collapse", "key"),
    [
        (Collapse.SIGN_IN, "Operation.Failure.Username.Or.Password.Error"),
        (Collapse.SIGN_UP, "sign_up_refused"),
    ],
)
def test_each_collapse_has_a_generic_row(collapse: Collapse, key: str) -> None:
    assert generic_row(collapse) == MatchedRow(key, CODES[key], "exact")


# --- Derived fields ---------------------------------------------------------------------------


@for_each_row(
    "code, field",
    [
        ("Params.Blank.User.Nick.Name", "nick_name"),
        ("Params.Blank.User.NickName", "nick_name"),
        ("params.blank.user.nick.name", "nick_name"),
        ("PARAMS.BLANK.USER.Nick.Name", "nick_name"),
        ("Params.Illegal.User.IDCard", "id_card"),
        ("Params.Exist.User.Nick.Name", "nick_name"),
        ("Params.Blank.Device.Model", "model"),
        ("Params.Blank.User", "user"),
        ("Params.Blank.Client_Id", "client_id"),
        ("Params.Blank.UserType.New", "user_type_new"),
        # These texts are no names of fields.
        ("Params.Blank.2fa", None),
        ("Params.Blank." + "a" * 41, None),
        ("Params.Blank." + "a" * 40, "a" * 40),
        # These parameters are no input of the user.
        ("Params.Blank.OauthClient.New", None),
        ("Operation.Failure.User.New", None),
    ],
)
def test_an_unpublished_parameter_gives_the_field(code: str, field: str | None) -> None:
    assert matched_row(code).meaning.field == field


def test_an_unpublished_parameter_gives_the_field_of_the_type_codes_row() -> None:
    matched = matched_row("Params.Length.User.Nick.Name", "Params.Illegal")

    assert matched.key == "Params.Illegal"
    assert matched.meaning == row("Params.Illegal", field="nick_name")


def test_the_field_of_the_type_codes_row_takes_precedence_over_the_parameter() -> None:
    assert matched_row("Params.New.User.Nick", "Params.Blank.Code").meaning.field == "code"


def test_derived_fields_differ_from_published_fields_for_thirteen_codes_only(
    table: dict[str, Meaning],
) -> None:
    codes = [code for code in CODES if code.startswith("Params.") and CODES[code].field]
    fields = {code: CODES[code].field for code in codes if "*" not in code}
    for code in fields:
        del table[code]
    forget_rows()
    derived = {code: matched_row(code).meaning.field for code in fields}

    assert {code for code in fields if fields[code] != derived[code]} == {
        "Params.Blank.CaptchaCode",
        "Params.Blank.CaptchaText",
        "Params.Blank.Gesture.Sign",
        "Params.Blank.Upload.File",
        "Params.Blank.User.Extension.AttrValue",
        "Params.Blank.User.Uuid",
        "Params.Illegal.Dictionary.Value",
        "Params.Illegal.User.Extension.AttrValue",
        "Params.Illegal.User.Password.Policy",
        "Params.Illegal.User.Password.Same.Old",
        "Params.Illegal.User.Username.Policy",
        "Params.Illegal.User.Uuid",
        "Params.Illegal.Username.Equal.Phone",
    }


# --- CIAM_ERROR_OVERRIDES ---------------------------------------------------------------------


def row_with_override(
    key: str, value: object, *, code: str | None = None, **arguments: Any
) -> MatchedRow:
    """The row of ``code``, or of ``key``, with the override ``{key: value}``."""
    with override_settings(CIAM_ERROR_OVERRIDES={key: value}):
        row = matched_row(key if code is None else code, **arguments)
        str(row.meaning.message)
        return row


@pytest.mark.parametrize("key", [LOCKED, LOCKED.lower(), LOCKED.upper()])
def test_a_text_override_replaces_only_the_message(key: str) -> None:
    matched = row_with_override(key, "Call us.", code=LOCKED)

    assert matched == MatchedRow(
        LOCKED, row(LOCKED, message="Call us."), "exact", has_project_message=True
    )


def test_a_lazy_text_override_replaces_the_message() -> None:
    assert str(row_with_override(LOCKED, lazystr("Call us.")).meaning.message) == "Call us."


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": 423}, {"status": 423}),
        ({"action": "restart"}, {"action": Action.RESTART}),
        ({"field": "username"}, {"field": "username"}),
        ({"field": None}, {"field": None}),
        ({"audience": "developer"}, {"audience": Audience.DEVELOPER}),
        ({"retry": True}, {"retry": True}),
        ({"collapse": None}, {"collapse": None}),
        ({"collapse": "sign_up"}, {"collapse": Collapse.SIGN_UP}),
        ({"message": "M.", "status": 400}, {"message": "M.", "status": 400}),
        ({}, {}),
        # Another kind also sets its status and action, unless the override has them.
        (
            {"kind": "flow"},
            {"kind": Kind.FLOW, "status": 400, "action": Action.RESTART},
        ),
        (
            {"kind": Kind.FLOW, "status": 410, "action": "none"},
            {"kind": Kind.FLOW, "status": 410, "action": Action.NONE},
        ),
    ],
    ids=str,
)
def test_a_dict_override_replaces_only_its_fields(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    matched = row_with_override(LOCKED, fields)

    assert matched.meaning == row(LOCKED, **expected)
    assert matched.has_project_message is ("message" in fields)


def test_an_override_of_a_family_applies_to_all_its_codes() -> None:
    with override_settings(CIAM_ERROR_OVERRIDES={"Params.Blank.*": {"status": 422}}):
        assert meaning_of("Params.Blank.Code") == row("Params.Blank.Code", status=422)
        assert meaning_of("Params.Blank.User.Nick.Name").status == 422
        assert meaning_of("Params.Blank.OauthClient.Client_Id").status == 422
        assert meaning_of("Params.Blank.*").status == 422
        assert meaning_of("Params.Blank").status == 400
        assert meaning_of("Params.Illegal.Type").status == 400
        assert not matched_row("Params.Blank.Code").has_project_message


def test_an_override_of_the_suffix_family_applies_to_all_its_codes() -> None:
    with override_settings(CIAM_ERROR_OVERRIDES={"*.Too.Frequency": "Slow down."}):
        assert meaning_of("Operation.Failure.Send.SMS.Too.Frequency").message == "Slow down."
        assert meaning_of("New.Too.Frequency").message == "Slow down."


def test_longer_families_and_then_the_exact_code_take_precedence_field_by_field() -> None:
    overrides = {
        LOCKED: {"status": 423},
        "Operation.Failure.User.*": {"status": 401, "action": "retry"},
        "Operation.Failure.*": {"status": 400, "action": "wait", "message": "All of them."},
    }
    with override_settings(CIAM_ERROR_OVERRIDES=overrides):
        matched = matched_row(LOCKED)

        assert matched.meaning == row(
            LOCKED, status=423, action=Action.RETRY, message="All of them."
        )
        assert not matched.has_project_message, "only a family has the message"
        assert meaning_of("Operation.Failure.User.Archived").status == 401


def test_a_family_of_the_project_matches_codes_without_a_row() -> None:
    matched = row_with_override(
        "My.Codes.*", "Mine.", code="my.codes.new", type_code="Params.Blank"
    )

    assert matched == MatchedRow("My.Codes.*", row(UNKNOWN, message="Mine."), "family")


def test_a_longer_family_of_the_project_overrides_a_shorter_family_of_the_table() -> None:
    matched = row_with_override("Params.Blank.Pet.*", {"status": 422}, code="Params.Blank.Pet.Name")

    assert matched.key == "Params.Blank.*"
    assert matched.meaning == row("Params.Blank.*", status=422, field="pet_name")


@pytest.mark.parametrize(
    "value",
    [
        {"mesage": "Call us."},
        {"status": 200},
        {"status": "400"},
        {"kind": "lunch"},
        {"kind": "success"},
        {"kind": ["flow"]},
        {"action": ""},
        {"field": 7},
        {"message": ""},
        {"message": {}},
        {"message": {1: "Call us."}},
        {"retry": "yes"},
        None,
    ],
)
def test_a_wrong_override_is_ignored(value: object, settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: value, 7: "Call us.", "access_denied": "Call us."}

    assert meaning_of(LOCKED) == CODES[LOCKED]
    assert meaning_of("access_denied").message == "Call us."


@pytest.mark.parametrize("setting", [None, [], "Call us."])
def test_overrides_that_are_no_dict_are_ignored(setting: object, settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = setting

    assert meaning_of(LOCKED) == CODES[LOCKED]


@pytest.mark.parametrize("code", ["My.Own.Code", "my.own.code"])
def test_an_override_makes_an_unknown_code_known(code: str) -> None:
    matched = row_with_override("My.Own.Code", {"message": "Mine.", "kind": "conflict"}, code=code)

    assert matched.key == "My.Own.Code"
    assert matched.matched_by == "exact"
    assert matched.has_project_message
    assert matched.meaning == row(
        UNKNOWN,
        message="Mine.",
        kind=Kind.CONFLICT,
        status=409,
        action=Action.CHANGE_INPUT,
    )


def test_an_override_with_a_wrong_collapse_still_hides_its_row() -> None:
    matched = row_with_override("My.Own.Code", {"message": "Mine.", "collapse": "nowhere"})

    assert matched.meaning.collapse is Collapse.SIGN_IN


def test_an_override_of_an_unpublished_code_keeps_the_other_fields_of_its_family() -> None:
    matched = row_with_override("Params.Blank.Pet", "Name your pet.")

    assert matched.key == "Params.Blank.Pet"
    assert matched.meaning == row("Params.Blank.*", message="Name your pet.", field="pet")


def test_an_override_of_the_type_code_applies_to_codes_without_a_row() -> None:
    matched = row_with_override("Params.Blank", "Mine.", code="New", type_code="Params.Blank")

    assert matched.meaning.message == "Mine."
    assert not matched.has_project_message


def test_overrides_apply_to_the_unknown_row_and_the_status_row() -> None:
    assert row_with_override(UNKNOWN, "Mine.", code="New").meaning.message == "Mine."
    assert (
        row_with_override(
            "too_many_requests", "Mine.", code="New", upstream_status=429
        ).meaning.message
        == "Mine."
    )


def test_the_override_of_an_alias_takes_precedence_over_the_override_of_its_row() -> None:
    alias, key = next(iter(ALIASES.items()))
    overrides: dict[str, object] = {key: {"message": "Row.", "status": 410}}
    with override_settings(CIAM_ERROR_OVERRIDES=overrides):
        assert matched_row(alias).meaning == row(key, message="Row.", status=410)
    with override_settings(CIAM_ERROR_OVERRIDES={**overrides, alias: "Alias."}):
        assert matched_row(alias).meaning == row(key, message="Alias.", status=410)
        assert matched_row(alias).has_project_message
        assert matched_row(key).meaning.message == "Row."


def test_the_override_of_the_row_of_an_alias_takes_precedence_over_the_families_of_the_alias() -> (
    None
):
    overrides = {
        "Operation.Failure.User.Not.Exist": {"status": 410},
        "Operation.Failure.User.*": {"status": 401},
    }
    with override_settings(CIAM_ERROR_OVERRIDES=overrides):
        assert meaning_of("Operation.Failure.User.NotFound").status == 410
        assert meaning_of("Operation.Failure.User.Locked").status == 401


def test_a_row_for_developers_has_a_general_message_and_the_reason() -> None:
    sentence, message = KINDS[Kind.ACCOUNT_STATE].sentence, CODES[LOCKED].message
    family, type_code = {"Operation.Failure.User.*": {"audience": "developer"}}, LOCKED
    for overrides, code, expected in (
        ({LOCKED: {"message": "Rule 12.", "audience": "developer"}}, LOCKED, "Rule 12."),
        ({LOCKED: {"audience": "developer"}}, LOCKED, message),
        (family, LOCKED, message),
        (family, "Operation.Failure.User.New", CODES["Operation.Failure.User.*"].message),
        ({LOCKED: {"audience": "developer"}}, "New", message),
    ):
        with override_settings(CIAM_ERROR_OVERRIDES=overrides):
            matched = matched_row(code, type_code)
            assert (matched.message_for_users, matched.reason) == (sentence, expected)
    for overrides in ({**family, LOCKED: {"audience": "user"}}, {LOCKED: {"audience": "user"}}, {}):
        with override_settings(CIAM_ERROR_OVERRIDES=overrides):
            matched = matched_row(LOCKED)
            assert (matched.message_for_users, matched.reason) == (message, "")
    with override_settings(CIAM_ERROR_OVERRIDES={"Params.Blank.FId": {"audience": "developer"}}):
        hidden = matched_row("Params.Blank.FId").reason
    assert hidden == f"{KINDS[Kind.FLOW].sentence}; {CODES['Params.Blank.FId'].reason}"


def test_a_changed_override_takes_effect_at_once(settings: Settings) -> None:
    before = meaning_of(LOCKED).message
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: "One."}
    first = meaning_of(LOCKED).message
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: "Two."}
    second = meaning_of(LOCKED).message
    settings.CIAM_ERROR_OVERRIDES = {}

    assert (first, second) == ("One.", "Two.")
    assert meaning_of(LOCKED).message == before


@pytest.mark.parametrize("language", ["en", "zh-hans", "zh-hant"])
def test_a_text_override_applies_to_all_languages(language: str) -> None:
    with translation.override(language):
        assert str(row_with_override(LOCKED, "拨打 95187").meaning.message) == "拨打 95187"


TEXTS = {"en": "Call us.", "zh-hans": "致电我们。", "zh-Hant": "致電我們。"}


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Call us."),
        ("en-gb", "Call us."),
        ("zh-hans", "致电我们。"),
        ("zh-hans-cn", "致电我们。"),
        ("zh-cn", "致电我们。"),
        ("zh-sg", "致电我们。"),
        ("zh-hant", "致電我們。"),
        ("zh-hant-hk", "致電我們。"),
        ("zh-tw", "致電我們。"),
        ("zh-hk", "致電我們。"),
    ],
)
def test_texts_by_language_fall_back_as_in_django(language: str, text: str) -> None:
    matched = row_with_override(LOCKED, {"message": TEXTS})
    with translation.override(language):
        assert str(matched.meaning.message) == text


def test_a_text_by_language_is_chosen_when_the_message_is_rendered() -> None:
    with override_settings(CIAM_ERROR_OVERRIDES={LOCKED: {"message": TEXTS}}):
        message = meaning_of(LOCKED).message

    with translation.override("zh-hans"):
        assert str(message) == "致电我们。"
    with translation.override("en"):
        assert str(message) == "Call us."


def test_a_language_without_a_text_gets_the_message_of_the_row() -> None:
    with (
        override_settings(CIAM_ERROR_OVERRIDES={LOCKED: {"message": {"zh-hans": "致电我们。"}}}),
        translation.override("en"),
    ):
        assert str(meaning_of(LOCKED).message) == str(CODES[LOCKED].message)


@pytest.mark.parametrize(
    ("language_code", "text"),
    [("zh-hans", "致电我们。"), ("zh-cn", "致电我们。"), ("zh-hant", "致電我們。"), ("de", None)],
)
def test_a_language_without_a_text_gets_the_text_of_language_code(
    language_code: str, text: str | None, settings: Settings
) -> None:
    settings.LANGUAGE_CODE = language_code
    texts = {name: value for name, value in TEXTS.items() if name != "en"}
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"message": texts}}
    with translation.override("en"):
        assert str(meaning_of(LOCKED).message) == (text or str(CODES[LOCKED].message))


def test_texts_by_language_use_language_code_without_an_active_language(settings: Settings) -> None:
    settings.LANGUAGE_CODE = "zh-hans"
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"message": TEXTS}}
    with translation.override(None):
        assert str(meaning_of(LOCKED).message) == "致电我们。"


@pytest.mark.parametrize(
    ("code", "status"),
    [("server_error", 502), (UNKNOWN, 502), ("New", 502), ("timeout", 502), (LOCKED, 403)],
)
def test_a_setting_has_the_status_of_upstream_failures(code: str, status: int) -> None:
    with override_settings(CIAM_UPSTREAM_STATUS=502):
        assert meaning_of(code).status == status


def test_an_override_takes_precedence_over_the_setting_of_the_upstream_status() -> None:
    with override_settings(
        CIAM_UPSTREAM_STATUS=502, CIAM_ERROR_OVERRIDES={"timeout": {"status": 504}}
    ):
        assert meaning_of("timeout").status == 504


# --- Both entry points ------------------------------------------------------------------------


def test_the_override_of_the_readme_is_answered_by_both_entry_points(rf: RequestFactory) -> None:
    text = "Call us on 95187 to unlock your account."
    with override_settings(CIAM_ERROR_OVERRIDES={LOCKED: text}):
        middleware = CiamErrorMiddleware(lambda request: HttpResponse())
        html = middleware.process_exception(
            rf.get("/", headers={"accept": "text/html"}), CiamError(LOCKED)
        )
        drf = exception_handler(CiamError(LOCKED, stage="password"), {"request": rf.get("/")})
        answer = answer_to(CiamError(LOCKED, stage="password"))

    assert text in str(getattr(html, "content", b""), "utf-8")
    assert drf is not None
    assert drf.data["detail"] == answer.detail == text
    assert drf.data["code"] == LOCKED


def test_the_allowed_values_of_each_field_are_described() -> None:
    assert all(field.allowed_text for field in OVERRIDABLE_FIELDS.values())


def test_the_title_of_a_row_belongs_to_its_kind(settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"access_denied": {"kind": "token"}}

    assert (meaning_of("access_denied").title, meaning_of("access_denied").is_cancel) == ("", False)
