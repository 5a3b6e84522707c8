"""Tests of the forms of the steps, their fields and the codes of their fields."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from django.forms import ChoiceField
from django.test import RequestFactory
from django.utils.translation import override
from pytest_django.fixtures import Settings

from ciam_django.client.results import Consent
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import (
    CODES_OF_FIELDS,
    PROFILE_FIELDS,
    CiamForm,
    CodeField,
    PhoneRegionSelect,
    ProfileForm,
    snake_case_name,
)
from ciam_django.login.steps.results import FLOW_TYPES
from ciam_django.login.steps.table import NATIVE, STEPS
from ciam_django.lookup import matched_row
from tests.rows import for_each_row


def form_of(name: str) -> CiamForm:
    step_data = {"asked": list(PROFILE_FIELDS), "channels": {"SMS": ""}}
    return STEPS[name].form({}, flow=Flow(name, "", step_data=step_data))


@for_each_row("name", STEPS)
def test_the_code_of_each_blank_field_is_added_to_the_field(name: str) -> None:
    form = form_of(name)
    form.add_captcha()
    errors = list(form.validation_errors())

    required = [name for name, field in form.fields.items() if field.required]
    assert len(errors) == len(required) >= 1
    for error in errors:
        form.add_ciam_error(error, RequestFactory().post("/"))
    # The user does not type into the fields of these forms, so their errors have no field.
    if not name.startswith("mini_program") and name not in ("second_factor", NATIVE):
        assert not form.non_field_errors()


@for_each_row("name", STEPS)
def test_a_value_that_is_no_text_has_the_code_of_its_field(name: str) -> None:
    step_data = {"asked": list(PROFILE_FIELDS), "channels": {"SMS": ""}}
    flow = Flow(name, "", step_data=step_data)
    form = STEPS[name].form({key: ["<b>"] for key in form_of(name).fields}, flow=flow)

    assert [error.code for error in form.validation_errors()] == [
        CODES_OF_FIELDS[form._table_field(field)][1] for field in form.fields
    ]


@for_each_row("field", CODES_OF_FIELDS)
def test_the_codes_of_each_field_are_in_the_table(field: str) -> None:
    for code in CODES_OF_FIELDS[field]:
        assert matched_row(code).matched_by in ("exact", "family")


@for_each_row("name", PROFILE_FIELDS)
def test_each_member_of_a_profile_has_a_field_with_codes(name: str) -> None:
    assert snake_case_name(name) in CODES_OF_FIELDS
    form = ProfileForm({}, flow=Flow("profile", "", step_data={"asked": [name]}))

    region = ["phone_region"] if name == "phoneNumber" else []
    assert list(form.fields) == [snake_case_name(name), *region]


# Field -> type, autocomplete and inputmode of its input. A phone must not capitalize or correct the
# text of a literal input.
INPUTS = {
    "PasswordForm.username": "literal text username",
    "PasswordForm.password": "literal password current-password",
    "ConfirmPasswordForm.password": "literal password current-password",
    "NewPasswordForm.password": "literal password new-password",
    "CodeAndPasswordForm.password": "literal password new-password",
    "CodeAndPasswordForm.code": "literal text one-time-code numeric",
    "SignUpForm.password": "literal password new-password",
    "SignUpForm.code": "literal text one-time-code numeric",
    "CodeForm.code": "literal text one-time-code numeric",
    "SmsForm.phone_number": "literal text tel tel",
    "phone_region": "select Country code tel-country-code",
    "EmailForm.email": "literal text email email",
    "RecipientForm.receiver": "literal text username",
    "ChannelForm.channel": "radio",
    "ProfileForm.display_name": "text name",
    "ProfileForm.en_display_name": "text off",
    "ProfileForm.email": "text email",
    "ProfileForm.phone_number": "text tel",
    "ProfileForm.birthday": "date bday",
    "ProfileForm.gender": "select sex",
    "ProfileForm.country": "text country-name",
    "ProfileForm.region": "text address-level3",
    "ProfileForm.province": "text address-level1",
    "ProfileForm.city": "text address-level2",
    "ProfileForm.street": "text address-line1",
    "ProfileForm.address": "text street-address",
}
# The labels of the fields of all forms but the profile.
LABELS = {
    "username": {"Mobile number, email or username"},
    "password": {"Password", "New password", "Choose a password"},
    "code": {"Verification code"},
    "captcha": {"Characters in the image"},
    "phone_number": {"Mobile number"},
    "phone_region": {"Country code"},
    "email": {"Email address"},
    "receiver": {"Mobile number or email address"},
}
# The fields that have another limit than 255 characters.
LIMITS = {"code": 1000, "channel": 10, "encrypted_data": 8192, "phone_region": 0, "gender": 0}


def test_each_field_has_an_input_that_phones_and_password_managers_understand() -> None:
    inputs, limits = {}, {}
    labels: dict[str, set[str]] = {}
    # An app sends the code of an SDK: nobody types the code.
    for name in (name for name in STEPS if name != NATIVE):
        form = form_of(name)
        form.add_captcha()
        for field_name, field in form.fields.items():
            attributes = {"type": field.widget.input_type, **field.widget.attrs}
            limits[field_name] = int(attributes.pop("maxlength", getattr(field, "max_length", 0)))
            is_literal = (
                attributes.pop("autocapitalize", "") == "none"
                and attributes.pop("spellcheck", "") == "false"
            )
            if field.label and name != "profile":
                labels.setdefault(field_name, set()).add(str(field.label))
            words = ["literal"] * is_literal + [str(value) for value in attributes.values()]
            is_shared = field_name in ("captcha", "phone_region")
            key = field_name if is_shared else f"{type(form).__name__}.{field_name}"
            inputs[key] = " ".join(words)
            # A channel has a button, and no input.
            if key in INPUTS and field_name != "channel":
                assert "autocomplete" in field.widget.attrs, key

    assert inputs.pop("captcha") == "literal text off"
    assert {key: words for key, words in inputs.items() if words != "text"} == INPUTS
    assert labels == LABELS
    assert {name: limit for name, limit in limits.items() if limit != 255} == LIMITS


@for_each_row(
    "language, listed, setting, shown",
    [
        ("en", [], [], "female: Female, male: Male"),
        ("zh-hans", [["M", "男"], ["F", "女"]], [], "M: 男, F: 女"),
        ("en", [["M", "男"], ["9", "保密"]], [], "M: Male, 9: Prefer not to say"),
        (
            "en",
            [],
            ["F", "m", "secret", "其他"],
            "F: Female, m: Male, secret: Prefer not to say, 其他: Other",
        ),
        (
            "en",
            [],
            ["女性", "男性", "未知", "other"],
            "女性: Female, 男性: Male, 未知: Prefer not to say, other: Other",
        ),
        ("zh-hant", [["x", "X"]], ["unknown", "y"], "unknown: 不公開, y: y"),
    ],
)
def test_the_gender_is_selected_in_the_language_of_the_page(
    settings: Settings, language: str, listed: list[list[str]], setting: list[str], shown: str
) -> None:
    settings.CIAM_PROFILE_OPTIONS = {"gender": setting}
    step_data = {"asked": ["gender"], "options": {"gender": listed}}
    with override(language):
        form = ProfileForm({"gender": "<b>"}, flow=Flow("profile", "", step_data=step_data))
        choices: Any = cast("ChoiceField", form.fields["gender"]).choices
        assert ", ".join(f"{value}: {label}" for value, label in [*choices][1:]) == shown

    (error,) = form.validation_errors()
    assert error.code == "Params.Illegal.User.Gender"


@for_each_row(
    "home, language, asked, has_city",
    [
        ("CN", "zh-hant", ["province", "city"], False),
        ("TW", "zh-tw", ["province", "city"], False),
        ("CN", "zh-hant", ["city"], True),
        ("HK", "zh-hant", ["province", "city"], True),
        ("TW", "en", ["province", "city"], True),
        ("CN", "zh-hans", ["province", "city"], True),
    ],
)
def test_a_page_for_taiwan_does_not_ask_for_a_city_beside_a_province(
    settings: Settings, home: str, language: str, asked: list[str], has_city: bool
) -> None:
    settings.CIAM_PHONE_REGION = home
    settings.LANGUAGES = [*settings.LANGUAGES, ("zh-tw", "zh-tw")]
    with override(language):
        form = ProfileForm(flow=Flow("profile", "", step_data={"asked": asked}))

    assert ("city" in form.fields) == has_city


def test_the_list_of_country_codes_has_an_option_for_each_region(settings: Settings) -> None:
    settings.CIAM_PHONE_REGIONS = ["CN", "HK", "US"]
    settings.CIAM_PHONE_REGION = "HK"
    with override("en"):
        html = PhoneRegionSelect(attrs={"class": "x"}).render("region", "US", {"id": "i"})

    assert html == (
        '<select class="x" id="i" name="region">'
        '<option value="HK">+852\u2003Hong Kong</option>'
        '<option value="CN">+86\u2007\u2003Mainland China</option>'
        '<option value="US" selected>+1\u2007\u2007\u2003United States</option>'
        "</select>"
    )


def test_each_channel_of_the_second_factor_has_a_button_with_its_recipient() -> None:
    channels = {"PWD": "", "EMAIL": "l***@a.test", "SMS": "138****1234"}
    flow = Flow("second_factor", "", step_data={"channels": channels})
    form: Any = STEPS["second_factor"].form({}, flow=flow)

    assert [(name, str(label), shown) for name, label, shown in form.channels] == [
        ("PWD", "Enter my password", ""),
        ("EMAIL", "Email me a code", "l***@a.test"),
        ("SMS", "Text me a code", "138****1234"),
    ]


@for_each_row("name", ["recover_code", "sign_up_code"])
def test_a_user_types_the_code_before_the_new_password(name: str) -> None:
    assert list(form_of(name).fields) == ["code", "password"]


def test_the_terms_are_the_last_field_also_below_a_captcha() -> None:
    consents = [Consent("a", "a", "", True, {})]
    form = STEPS["password"].form({}, flow=Flow("password", ""), consents=consents)
    form.add_captcha()

    assert list(form.fields) == ["username", "password", "captcha", "consent"]


def test_each_recipient_has_the_pattern_and_the_messages_of_its_checks() -> None:
    patterns = {}
    for name in ("sms", "email", "recover", "code", "profile"):
        form = form_of(name)
        form.set_client_checks(RequestFactory().get("/"))
        for field_name, field in form.fields.items():
            attrs = field.widget.attrs
            assert ("data-ciam-blank" in attrs) is field.required, field_name
            has_check = field_name in ("phone_number", "email", "receiver", "birthday")
            if name != "profile":
                assert ("data-ciam-invalid" in attrs) is has_check, field_name
                assert ("pattern" in attrs) is has_check, field_name
            if "pattern" in attrs:
                patterns[field_name] = re.compile(attrs["pattern"].replace(r"\p{Nd}", "\\d"))

    texts = {"li@example.com": (False, True), "１３８ 0000-0000": (True, False), "li": (False,) * 2}
    for text, (is_number, is_email) in texts.items():
        assert bool(patterns["phone_number"].fullmatch(text)) is is_number
        assert bool(patterns["email"].fullmatch(text)) is is_email
        assert bool(patterns["receiver"].fullmatch(text)) is (is_number or is_email)


def test_the_rule_of_new_passwords_is_shown_at_their_field_once() -> None:
    form = form_of("recover_code")
    form.show_password_hint("8 letters")
    hints = {name: form[name].help_text for name in form.fields}
    assert hints == {"code": "", "password": "8 letters"}
    form.add_error("password", "Use 8 letters.")
    form.show_password_hint("8 letters")
    assert form["password"].help_text == ""
    form = form_of("password")
    form.show_password_hint("8 letters")
    assert form["password"].help_text == ""


def test_the_focus_is_on_the_first_error_or_the_first_empty_field() -> None:
    def focused(form: CiamForm) -> list[str]:
        form.remove_autofocus()
        form.set_autofocus()
        return [name for name, field in form.fields.items() if field.widget.attrs.get("autofocus")]

    form = STEPS["password"].form({"username": "li", "password": "x"}, flow=Flow("password", ""))
    # The page never has the password.
    assert focused(form) == ["password"]
    form.add_error("username", "Wrong.")
    assert focused(form) == ["username"]
    form.remove_autofocus()
    assert not any("autofocus" in field.widget.attrs for field in form.fields.values())
    form = STEPS["recover_code"].form({"code": "1"}, flow=Flow("recover_code", ""))
    assert focused(form) == ["password"]
    form = STEPS["code"].form({"code": "1"}, flow=Flow("code", ""))
    assert focused(form) == ["code"]
    form.keep_typed_code()
    assert focused(form) == []


def test_each_step_that_ciam_asks_for_is_in_the_table_of_steps() -> None:
    assert set(FLOW_TYPES.values()) <= set(STEPS)


def test_a_text_that_is_too_long_has_the_code_of_an_invalid_value() -> None:
    form = STEPS["password"].form(
        {"username": "x" * 300, "password": "x"}, flow=Flow("password", "")
    )

    assert [error.code for error in form.validation_errors()] == ["Params.Illegal.User.Username"]


# Text -> the code that is sent to CIAM; None for a text that is refused.
CODE_TEXTS = {
    "246810": "246810",
    " 246 810 ": "246810",
    "246-810": "246810",
    "24 68 10": "246810",
    "2468 10": "246810",
    "246\u2013810": "246810",
    "246810。": "246810",
    "２４６８１０": "246810",
    "٢٤٦٨١٠": "246810",
    "246\u200b810": "246810",
    "\u2068246810\u2069\ufeff": "246810",
    "G-246810": "246810",
    "246810\n": "246810",
    "2468": "2468",
    "24681012": "24681012",
    "0042": "0042",
    "【某某】您的验证码是246810，5分钟内有效": "246810",
    "【某某】5分钟内有效，您的验证码是２４６８１０。": "246810",
    "【某某】您的验证码是246 810，5分钟内有效": "246810",
    "Your code is 24-68-10. It is valid for 10 minutes.": "246810",
    "Use 246810 to sign in. Call 13800001234 for help.": "246810",
    # More or less than one run: a short text is sent as it is typed.
    "1": "1",
    "123": "123",
    "123456789": "123456789",
    "Ab12": "Ab12",
    "code 2468 or 1357": "code2468or1357",
    "您的验证码是246810，请于2026年使用，客服电话是95187": None,
    "【某某】您的验证码已经发送到您的手机上，请注意查收": None,
    "2" * 1001: None,
    "a" * 1000: None,
}


STEPS_WITH_CODE = [
    name for name, step in STEPS.items() if isinstance(step.form.base_fields.get("code"), CodeField)
]


@for_each_row("name", STEPS_WITH_CODE)
def test_each_form_with_a_code_finds_the_digits_in_a_pasted_text(name: str) -> None:
    for text, code in CODE_TEXTS.items():
        form = STEPS[name].form({"code": text, "password": "x"}, flow=Flow(name, ""))

        assert form.is_valid() == (code is not None), text
        assert form.cleaned_data.get("code") == code, text
        if code is None:
            (error,) = form.validation_errors()
            assert error.code == "Operation.Failure.SMS.Code.Error"


def test_the_code_of_a_mini_program_is_not_changed() -> None:
    data = {"login_code": "a-1", "phone_code": "246-810 2"}
    form = STEPS["mini_program_phone"].form(data, flow=Flow("mini_program_phone", ""))

    assert form.is_valid()
    assert form.cleaned_data["phone_code"] == "246-810 2"


@pytest.mark.parametrize(
    ("required", "agreed_ids", "is_refused"),
    [
        ((True, True), ["a"], True),
        ((True, True), ["a", "b"], False),
        ((True, False), ["a"], False),
        ((True, False), ["b"], True),
        ((False, False), [], False),
        ((True, False), [], True),
        ((False, False), ["c"], True),
    ],
)
def test_a_user_must_agree_only_to_required_terms(
    required: tuple[bool, bool],
    agreed_ids: list[str],
    is_refused: bool,
) -> None:
    consents = [
        Consent(name, name, "", is_required, {})
        for name, is_required in zip("ab", required, strict=True)
    ]
    data = {"username": "li", "password": "x", "consent": agreed_ids}
    form = STEPS["password"].form(data, flow=Flow("password", ""), consents=consents)

    assert [e.code for e in form.validation_errors()] == (
        ["Params.Illegal.Consent"] if is_refused else []
    )
