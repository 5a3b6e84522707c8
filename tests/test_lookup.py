"""Every code finds its row, in the order of the steps, with what the project's settings replace."""

from __future__ import annotations

import dataclasses
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
from ciam_django.kinds import Action, Audience, Kind
from ciam_django.lookup import MatchedRow, generic_row, is_known, matched_row, meaning_of
from ciam_django.middleware import CiamErrorMiddleware
from tests.conftest import forget_rows
from tests.rows import for_each_row

LOCKED = "Operation.Failure.User.Locked"
LOCKED_FOLDED = LOCKED.casefold()


def row(code: str, **fields: Any) -> Meaning:
    """A row of the table with other fields."""
    return dataclasses.replace(CODES[code], **fields)


# --- The steps --------------------------------------------------------------------------------


@for_each_row("code", CODES)
def test_every_code_finds_its_own_row_in_any_case(code: str) -> None:
    generator = random.Random(code)
    mixed = "".join(generator.choice([c.lower(), c.upper()]) for c in code)

    for spelling in (code, code.lower(), code.upper(), mixed):
        assert matched_row(spelling) == MatchedRow(code, CODES[code], "exact")


@for_each_row("alias", ALIASES)
def test_an_alias_finds_the_row_that_it_stands_for(alias: str) -> None:
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
        ("wechat.40029", "wechat.*"),
        # A prefix comes before the suffix.
        ("Params.Blank.X.Too.Frequency", "Params.Blank.*"),
        ("PARAMS.BLANK.SOMETHING.NEW", "Params.Blank.*"),
    ],
)
def test_an_unpublished_code_takes_its_family_meaning(code: str, family: str) -> None:
    found = matched_row(code)

    assert found.key == family
    assert found.matched_by == "family"
    assert dataclasses.replace(found.meaning, field=None) == CODES[family]


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
def test_a_code_that_nothing_names_is_unknown(code: str) -> None:
    assert matched_row(code) == MatchedRow(UNKNOWN, CODES[UNKNOWN], "unknown")


def test_the_key_of_another_is_no_family_of_its_longer_ones() -> None:
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
def test_ciams_type_code_is_asked_when_the_code_says_nothing(type_code: str, key: str) -> None:
    found = matched_row("Something.New", type_code)

    assert found.key == key
    assert dataclasses.replace(found.meaning, field=CODES[key].field) == CODES[key]
    assert found.matched_by == ("unknown" if key == UNKNOWN else "type code")


@pytest.mark.parametrize("code", ["Params.Blank.Code", "Params.Blank.New"])
def test_the_code_comes_before_the_type_code_and_the_status(code: str) -> None:
    found = matched_row(code, "Operation.Denied", 429)

    assert found.meaning.kind in ("verification", "validation")


def test_the_type_code_comes_before_the_status() -> None:
    assert matched_row("New", "Operation.Denied", 429).key == "Operation.Denied"


def test_429_is_the_one_status_that_means_something() -> None:
    assert matched_row("New", "New", 429).key == "too_many_requests"
    assert matched_row("New", "New", 429).matched_by == "status"
    for status in (None, 200, 400, 401, 403, 404, 500, 502, 503):
        assert matched_row("New", "New", status).key == UNKNOWN


def test_a_meaning_is_that_of_the_finding() -> None:
    assert meaning_of(LOCKED) == CODES[LOCKED]
    assert meaning_of("New", "Params.Blank") == CODES["Params.Blank"]
    assert meaning_of("New") == CODES[UNKNOWN]


def test_a_row_that_is_taken_out_falls_to_its_family(table: dict[str, Meaning]) -> None:
    assert matched_row(LOCKED).key == LOCKED
    del table[LOCKED]
    forget_rows()

    assert matched_row(LOCKED).key == "Operation.Failure.User.*"
    assert matched_row(LOCKED).meaning.collapse is Collapse.SIGN_IN


def test_a_row_that_is_put_in_is_found(table: dict[str, Meaning]) -> None:
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
def test_a_known_code_has_a_row_or_an_override(code: str, known: bool) -> None:
    with override_settings(CIAM_ERROR_OVERRIDES={"My.Code": "Mine."}):
        assert is_known(code) is known


@pytest.mark.parametrize(
    ("collapse", "key"),
    [
        (Collapse.SIGN_IN, "Operation.Failure.Username.Or.Password.Error"),
        (Collapse.SIGN_UP, "sign_up_refused"),
    ],
)
def test_what_collapses_has_a_generic_row(collapse: Collapse, key: str) -> None:
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
        # What is no name of a field is none.
        ("Params.Blank.2fa", None),
        ("Params.Blank." + "a" * 41, None),
        ("Params.Blank." + "a" * 40, "a" * 40),
        # No input of the person's.
        ("Params.Blank.OauthClient.New", None),
        ("Operation.Failure.User.New", None),
    ],
)
def test_an_unpublished_parameter_is_the_field(code: str, field: str | None) -> None:
    assert matched_row(code).meaning.field == field


def test_an_unpublished_parameter_is_the_field_for_the_type_code_too() -> None:
    found = matched_row("Params.Length.User.Nick.Name", "Params.Illegal")

    assert found.key == "Params.Illegal"
    assert found.meaning == row("Params.Illegal", field="nick_name")


def test_a_type_code_that_has_a_field_keeps_it() -> None:
    assert matched_row("Params.New.User.Nick", "Params.Blank.Code").meaning.field == "code"


def test_the_fields_of_published_codes_are_mostly_what_would_be_derived(
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


def overridden(code: str, value: object, **asked: Any) -> MatchedRow:
    with override_settings(CIAM_ERROR_OVERRIDES={code: value}):
        found = matched_row(asked.pop("asked", code), **asked)
        str(found.meaning.message)
        return found


@pytest.mark.parametrize("key", [LOCKED, LOCKED.lower(), LOCKED.upper()])
def test_a_text_replaces_the_message_and_nothing_else(key: str) -> None:
    found = overridden(key, "Call us.", asked=LOCKED)

    assert found == MatchedRow(
        LOCKED, row(LOCKED, message="Call us."), "exact", has_project_message=True
    )


def test_a_lazy_text_replaces_the_message() -> None:
    assert str(overridden(LOCKED, lazystr("Call us.")).meaning.message) == "Call us."


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
        # Another kind brings its status and action, unless they are named as well.
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
def test_a_dict_replaces_the_fields_that_it_names(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = overridden(LOCKED, fields)

    assert found.meaning == row(LOCKED, **expected)
    assert found.has_project_message is ("message" in fields)


def test_a_family_of_the_table_is_replaced_for_all_its_codes() -> None:
    with override_settings(CIAM_ERROR_OVERRIDES={"Params.Blank.*": {"status": 422}}):
        assert meaning_of("Params.Blank.Code") == row("Params.Blank.Code", status=422)
        assert meaning_of("Params.Blank.User.Nick.Name").status == 422
        assert meaning_of("Params.Blank.OauthClient.Client_Id").status == 422
        assert meaning_of("Params.Blank.*").status == 422
        assert meaning_of("Params.Blank").status == 400
        assert meaning_of("Params.Illegal.Type").status == 400
        assert not matched_row("Params.Blank.Code").has_project_message


def test_the_suffix_family_is_replaced_too() -> None:
    with override_settings(CIAM_ERROR_OVERRIDES={"*.Too.Frequency": "Slow down."}):
        assert meaning_of("Operation.Failure.Send.SMS.Too.Frequency").message == "Slow down."
        assert meaning_of("New.Too.Frequency").message == "Slow down."


def test_the_longer_family_and_then_the_code_come_last_field_by_field() -> None:
    overrides = {
        LOCKED: {"status": 423},
        "Operation.Failure.User.*": {"status": 401, "action": "retry"},
        "Operation.Failure.*": {"status": 400, "action": "wait", "message": "All of them."},
    }
    with override_settings(CIAM_ERROR_OVERRIDES=overrides):
        found = matched_row(LOCKED)

        assert found.meaning == row(LOCKED, status=423, action=Action.RETRY, message="All of them.")
        assert not found.has_project_message, "it is not the exact code that has the message"
        assert meaning_of("Operation.Failure.User.Archived").status == 401


def test_a_family_that_the_table_does_not_have_answers_for_its_codes() -> None:
    found = overridden("My.Codes.*", "Mine.", asked="my.codes.new", type_code="Params.Blank")

    assert found == MatchedRow("My.Codes.*", row(UNKNOWN, message="Mine."), "family")


def test_a_family_of_the_project_comes_on_top_of_a_shorter_one_of_the_table() -> None:
    found = overridden("Params.Blank.Pet.*", {"status": 422}, asked="Params.Blank.Pet.Name")

    assert found.key == "Params.Blank.*"
    assert found.meaning == row("Params.Blank.*", status=422, field="pet_name")


@pytest.mark.parametrize(
    "slip",
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
def test_a_slip_in_the_settings_leaves_the_rest_as_it_is(slip: object, settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: slip, 7: "Call us.", "access_denied": "Call us."}

    assert meaning_of(LOCKED) == CODES[LOCKED]
    assert meaning_of("access_denied").message == "Call us."


@pytest.mark.parametrize("slip", [None, [], "Call us."])
def test_overrides_that_are_no_dict_override_nothing(slip: object, settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = slip

    assert meaning_of(LOCKED) == CODES[LOCKED]


@pytest.mark.parametrize("asked", ["My.Own.Code", "my.own.code"])
def test_an_unknown_code_becomes_known(asked: str) -> None:
    found = overridden("My.Own.Code", {"message": "Mine.", "kind": "conflict"}, asked=asked)

    assert found.key == "My.Own.Code"
    assert found.matched_by == "exact"
    assert found.has_project_message
    assert found.meaning == row(
        UNKNOWN,
        message="Mine.",
        kind=Kind.CONFLICT,
        status=409,
        action=Action.CHANGE_INPUT,
    )


def test_an_unknown_code_of_a_family_keeps_what_it_does_not_name() -> None:
    found = overridden("Params.Blank.Pet", "Name your pet.")

    assert found.key == "Params.Blank.Pet"
    assert found.meaning == row("Params.Blank.*", message="Name your pet.", field="pet")


def test_the_type_codes_row_is_replaced_too() -> None:
    found = overridden("Params.Blank", "Mine.", asked="New", type_code="Params.Blank")

    assert found.meaning.message == "Mine."
    assert not found.has_project_message


def test_unknown_itself_and_the_status_row_are_replaced() -> None:
    assert overridden(UNKNOWN, "Mine.", asked="New").meaning.message == "Mine."
    assert (
        overridden("too_many_requests", "Mine.", asked="New", upstream_status=429).meaning.message
        == "Mine."
    )


def test_an_alias_takes_the_rows_words_and_then_its_own() -> None:
    alias, key = next(iter(ALIASES.items()))
    overrides: dict[str, object] = {key: {"message": "Row.", "status": 410}}
    with override_settings(CIAM_ERROR_OVERRIDES=overrides):
        assert matched_row(alias).meaning == row(key, message="Row.", status=410)
    with override_settings(CIAM_ERROR_OVERRIDES={**overrides, alias: "Alias."}):
        assert matched_row(alias).meaning == row(key, message="Alias.", status=410)
        assert matched_row(alias).has_project_message
        assert matched_row(key).meaning.message == "Row."


def test_overrides_work_at_once_and_only_while_they_are_set(settings: Settings) -> None:
    before = meaning_of(LOCKED).message
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: "One."}
    first = meaning_of(LOCKED).message
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: "Two."}
    second = meaning_of(LOCKED).message
    settings.CIAM_ERROR_OVERRIDES = {}

    assert (first, second) == ("One.", "Two.")
    assert meaning_of(LOCKED).message == before


@pytest.mark.parametrize("language", ["en", "zh-hans", "zh-hant"])
def test_one_text_is_for_all_languages(language: str) -> None:
    with translation.override(language):
        assert str(overridden(LOCKED, "拨打 95187").meaning.message) == "拨打 95187"


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
def test_a_text_per_language_falls_back_as_django_does(language: str, text: str) -> None:
    found = overridden(LOCKED, {"message": TEXTS})
    with translation.override(language):
        assert str(found.meaning.message) == text


def test_a_text_per_language_is_chosen_when_it_is_read() -> None:
    with override_settings(CIAM_ERROR_OVERRIDES={LOCKED: {"message": TEXTS}}):
        message = meaning_of(LOCKED).message

    with translation.override("zh-hans"):
        assert str(message) == "致电我们。"
    with translation.override("en"):
        assert str(message) == "Call us."


def test_a_language_without_a_text_keeps_the_rows() -> None:
    with (
        override_settings(CIAM_ERROR_OVERRIDES={LOCKED: {"message": {"zh-hans": "致电我们。"}}}),
        translation.override("en"),
    ):
        assert str(meaning_of(LOCKED).message) == str(CODES[LOCKED].message)


def test_without_a_language_the_projects_own_is_spoken(settings: Settings) -> None:
    settings.LANGUAGE_CODE = "zh-hans"
    settings.CIAM_ERROR_OVERRIDES = {LOCKED: {"message": TEXTS}}
    with translation.override(None):
        assert str(meaning_of(LOCKED).message) == "致电我们。"


@pytest.mark.parametrize(
    ("code", "status"),
    [("server_error", 502), (UNKNOWN, 502), ("New", 502), ("timeout", 502), (LOCKED, 403)],
)
def test_the_status_of_upstream_trouble_is_a_setting(code: str, status: int) -> None:
    with override_settings(CIAM_UPSTREAM_STATUS=502):
        assert meaning_of(code).status == status


def test_an_override_of_an_upstream_rows_status_comes_before_that() -> None:
    with override_settings(
        CIAM_UPSTREAM_STATUS=502, CIAM_ERROR_OVERRIDES={"timeout": {"status": 504}}
    ):
        assert meaning_of("timeout").status == 504


# --- Through both doors -----------------------------------------------------------------------


def test_the_readmes_own_override_is_read_through_both_doors(rf: RequestFactory) -> None:
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
