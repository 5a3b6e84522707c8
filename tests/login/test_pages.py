"""Tests of the pages of a sign-in, with the fake CIAM."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django.fixtures import Settings

from ciam_django.errors import CiamError
from ciam_django.login.error_responses import answer_error
from ciam_django.login.steps.flow import Flow, decrypted_flow, encrypted_flow
from ciam_django.login.steps.submit import build_form
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CAPTCHA_TEXT, CODE, PASSWORD
from tests.browser import HTML
from tests.login.person import FormBrowser, check_field_error
from tests.login.test_state import aged
from tests.rows import for_each_row

EVERY = ["password", "sms", "email", "hosted", "recover", "sign_up"]
NUMBER = "138 0000 1234"


@pytest.fixture(autouse=True)
def all_login_methods(settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = EVERY
    # A test may send more than one code.
    settings.CIAM_SEND_LIMITS = {}


@pytest.fixture
def mode() -> str:
    return "ciam"


# --- The login page ---------------------------------------------------------------------------


def test_the_first_login_method_is_a_form_and_the_other_methods_are_links(
    person: FormBrowser,
) -> None:
    page = person.open_page("/ciam/login/?next=/cart/").content.decode()

    assert 'name="username"' in page
    assert 'href="/ciam/login/?method=sms&amp;next=%2Fcart%2F"' in page
    assert 'href="/ciam/recover/?next=%2Fcart%2F"' in page
    assert f'action="{reverse("ciam:authorize")}"' in page


@pytest.mark.parametrize("fallback", ["en", "zh-hans"])
def test_a_page_in_a_language_without_a_catalogue_is_wholly_in_the_fallback_language(
    person: FormBrowser, settings: Settings, fallback: str
) -> None:
    settings.LANGUAGE_CODE = fallback
    settings.LANGUAGES = [*settings.LANGUAGES, ("ar", "العربيّة")]
    settings.CIAM_SOCIAL_PROVIDERS = {"qq": {"app_id": "1", "source": "s"}}

    def pages(language: str, phone_number: str) -> list[str]:
        """The texts of the pages, without values that differ for each page."""
        person.client.cookies.clear()
        person.client.defaults["HTTP_ACCEPT_LANGUAGE"] = language
        paths = ("recover", "sign-up", "done", "step/none", "login")
        seen = [person.open_page(f"/ciam/{path}/") for path in paths]
        seen.append(person.submit_form())
        seen.append(person.open_page("/ciam/login/?method=sms"))
        seen.append(person.submit_form(phone_number=phone_number))
        assert {response["Content-Language"] for response in seen} == {fallback}
        varying = r'value="[^"]*"|local-\w+|/ciam/step/[\w-]+/|form=[\w-]+|\d+'
        return [re.sub(varying, "", response.content.decode()) for response in seen]

    expected = pages(fallback, NUMBER)

    assert f'<html lang="{fallback}" dir="ltr">' in expected[0]
    # Django has "Password" and other short texts in Arabic.
    assert pages("ar", "139 0000 1234") == expected


def test_the_project_chooses_the_login_methods(person: FormBrowser, settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = ["email"]

    page = person.open_page("/ciam/login/?method=password").content.decode()

    assert 'name="email"' in page
    assert "ciam-methods" not in page
    assert reverse("ciam:authorize") not in page
    assert person.open_page("/ciam/recover/").status_code == 404


def test_the_hosted_page_is_offered_if_neither_setting_nor_ciam_names_a_method(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = []
    person.ciam.fail("api", code="Service.Internal.Error", times=None)

    # CIAM cannot answer, and CIAM's hosted page always exists.
    page = person.open_page("/ciam/login/").content.decode()

    assert 'name="username"' not in page
    assert reverse("ciam:authorize") in page


def test_a_login_page_without_a_form_takes_no_post(person: FormBrowser, settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = ["hosted"]
    client = Client(headers={"Accept": HTML})

    assert client.post("/ciam/login/", {"username": "li"}).status_code == 405
    assert [request.path for request in person.ciam.requests] == []


# --- Password ---------------------------------------------------------------------------------


def test_a_password_signs_in(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?next=/cart/")
    answer = person.submit_form(username="li", password=PASSWORD)

    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert person.user_id


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_a_password_signs_in_the_same_user_as_the_hosted_page(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD)
    by_password = person.user_id

    leave = person.client.post(
        reverse("ciam:authorize"),
        {"consent": ["terms", "privacy"]},
        headers={"X-CSRFToken": person.client.cookies["csrftoken"].value},
    )
    callback = person.ciam.authorize(leave["Location"], username="li")
    assert callback
    person.client.get(callback.partition("testserver")[2])

    assert by_password == person.user_id is not None


def test_the_error_of_a_wrong_password_is_shown_at_the_password(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    answer = person.submit_form(username="li", password="wrong-word")
    page = answer.content.decode()

    assert answer.status_code == 401
    assert answer["Ciam-Error-Code"] == "Operation.Failure.Username.Or.Password.Error"
    assert "username or password" in check_field_error(answer, "password")
    assert 'value="li"' in page
    assert "wrong-word" not in page
    assert person.user_id is None


# Address -> the fields of the form that leads to the next page, if there is one.
TYPED: dict[str, dict[str, str]] = {
    "/ciam/login/": {},
    "/ciam/login/?method=sms": {},
    "/ciam/login/?method=sms&code": {"phone_number": NUMBER},
    "/ciam/recover/": {"receiver": "li@example.com"},
    "/ciam/sign-up/": {"receiver": NUMBER},
}
PASSWORD_FORM = {"username": "zhang", "password": "typed-secret"}
CODE_FORM = {"code": CODE, "password": "typed-secret"}
# Address, stage, code of CIAM (empty: no failure is planned), typed values, and the field of the
# error. An error without a field of the form is one line above the fields.
TYPING_ERRORS = [
    ("/ciam/login/", "password", "Operation.Failure.User.Locked", PASSWORD_FORM, "password"),
    ("/ciam/login/", "password", "login_failed", PASSWORD_FORM, "password"),
    ("/ciam/login/", "password", "Params.Illegal.User.Password", PASSWORD_FORM, "password"),
    ("/ciam/login/", "password", "Params.Illegal.Whatever", PASSWORD_FORM, ""),
    ("/ciam/login/", "", "", {"username": "zhang", "password": ""}, "password"),
    ("/ciam/login/?method=sms", "", "", {"phone_number": "12345"}, "phone_number"),
    ("/ciam/login/?method=sms", "send_code", "Operation.Failure.Captcha.Error",
        {"phone_number": NUMBER}, "captcha"),
    ("/ciam/login/?method=sms&code", "", "", {"code": "135790"}, "code"),
    ("/ciam/recover/", "recover", "Operation.Failure.Email.Code.Error", CODE_FORM, "code"),
    ("/ciam/recover/", "recover", "Params.Illegal.User.Password.Policy", CODE_FORM, "password"),
    ("/ciam/sign-up/", "register", "Params.Exist.User.Phone.Number", CODE_FORM, "code"),
]  # fmt: skip


@for_each_row("address, stage, code, typed, field", TYPING_ERRORS)
def test_an_error_of_typing_is_one_line_at_its_field_and_keeps_what_was_typed(  # noqa: PLR0917  (a row)
    person: FormBrowser, address: str, stage: str, code: str, typed: dict[str, str], field: str
) -> None:
    cache.clear()
    person.client.cookies.clear()
    person.ciam.accounts._last_sends.clear()
    person.open_page(address)
    if TYPED[address]:
        person.submit_form(**TYPED[address])
    if code:
        person.ciam.fail(stage, code=code)
    answer = person.submit_form(**typed)
    page = answer.content.decode()

    if field:
        assert check_field_error(answer, field)
        assert 'role="alert"' not in page
    else:
        assert '<p class="ciam-error" role="alert" tabindex="-1" autofocus>' in page
    assert page.count('class="ciam-error"') == 1
    assert 'class="ciam-answer' not in page
    assert "ciam-reference" not in page
    assert answer["Ciam-Request-Id"] not in page
    assert "<title>Error: " in page
    assert "typed-secret" not in page
    # A code stays in the form unless it is wrong.
    shown = {name: value for name, value in typed.items() if name not in ("password", field)}
    shown |= {name: typed[name] for name in ("phone_number",) if name in typed}
    assert all(f'value="{value}"' in page for value in shown.values())


def test_a_weak_new_password_does_not_cost_the_code(person: FormBrowser) -> None:
    for address, receiver in (("/ciam/recover/", "li@example.com"), ("/ciam/sign-up/", NUMBER)):
        person.open_page(address)
        person.submit_form(receiver=receiver)
        # More refused passwords than wrong codes are allowed.
        for _ in range(7):
            answer = person.submit_form(code=CODE, password="short")
            assert check_field_error(answer, "password")
            assert f'value="{CODE}"' in answer.content.decode()
        assert person.submit_form(code=CODE, password="a-new-passw0rd").status_code in (200, 302)
        assert "Error: " not in person.response.content.decode()


@pytest.mark.parametrize("username", ["li", "nobody", "locked"])
def test_after_a_wrong_password_everybody_reads_that_an_account_may_be_locked(
    person: FormBrowser, settings: Settings, username: str
) -> None:
    def page(methods: list[str]) -> str:
        settings.CIAM_LOGIN_METHODS = methods
        assert "may be locked" not in person.open_page("/ciam/login/?next=/cart/").content.decode()
        return str(person.submit_form(username=username, password="wrong").content.decode())

    shown = page(EVERY)
    assert "an account may be locked for a while" in shown
    assert '<a class="ciam-link" href="/ciam/recover/?next=%2Fcart%2F">Reset your' in shown
    assert '"/ciam/login/?method=sms&amp;next=%2Fcart%2F">Sign in with a code<' in shown
    assert "If so, wait before you try again." in page(["password"])


# Address -> the messages of a blank and of a malformed value, for each input that has them.
CLIENT_CHECKS = {
    "/ciam/login/": {"username": False, "password": False},
    "/ciam/login/?method=sms": {"phone_number": True},
    "/ciam/login/?method=email": {"email": True},
    "/ciam/recover/": {"receiver": True},
}


@for_each_row("address, fields", CLIENT_CHECKS.items())
def test_the_inputs_have_the_messages_of_the_server_for_the_script(
    person: FormBrowser, address: str, fields: dict[str, bool]
) -> None:
    cache.clear()
    page = person.open_page(address).content.decode()
    for field, has_pattern in fields.items():
        (control,) = re.findall(rf'<input[^>]* name="{field}"[^>]*>', page)
        assert " required" in control
        assert (" pattern=" in control) == (" data-ciam-invalid=" in control) == has_pattern
        for value, attribute in (("", "blank"), ("x", "invalid"))[: 1 + has_pattern]:
            shown = person.submit_form(**{field: value}).content.decode()
            error = re.search(rf'id="ciam_{field}_error">(.*?)</p>', shown)
            assert error
            assert f'data-ciam-{attribute}="{error[1]}"' in control


@for_each_row(
    "address, receiver, text",
    [
        ("/ciam/recover/", "li@example.com", "Enter a new password."),
        ("/ciam/sign-up/", NUMBER, "Choose a password."),
    ],
)
def test_the_error_of_a_blank_new_password_has_the_word_of_its_label(
    person: FormBrowser, settings: Settings, address: str, receiver: str, text: str
) -> None:
    settings.CIAM_ERROR_OVERRIDES = {}
    person.open_page(address)
    page = person.submit_form(receiver=receiver).content.decode()
    assert f'data-ciam-blank="{text}"' in page
    assert check_field_error(person.submit_form(code=CODE, password=""), "password") == text

    # A message of the project for the code has precedence.
    settings.CIAM_ERROR_OVERRIDES = {"Params.Blank.User.Password": "Type it."}
    answer = person.submit_form(code=CODE, password="")
    assert check_field_error(answer, "password") == "Type it."
    assert 'data-ciam-blank="Type it."' in answer.content.decode()


def test_a_date_of_birth_has_the_message_of_an_invalid_value() -> None:
    flow = Flow("profile", "", step_data={"asked": ["birthday", "gender"]})
    form = build_form(flow, None)
    form.set_client_checks(RequestFactory().get("/"))

    assert "data-ciam-invalid" in form.fields["birthday"].widget.attrs
    assert "data-ciam-invalid" not in form.fields["gender"].widget.attrs


RULE = "At least 8 characters, with letters and digits."
RULE_BY_LANGUAGE = {"zh-hans": "至少 8 位，且包含字母和数字。"}


def test_the_rule_of_passwords_is_shown_before_a_password_breaks_it(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_PASSWORD_HINT = RULE
    person.open_page("/ciam/recover/")
    page = person.submit_form(receiver="li@example.com").content.decode()
    assert f'<p class="ciam-help" id="ciam_password_helptext">{RULE}</p>' in page
    control = re.search(r'<input[^>]* name="password"[^>]*>', page)
    assert control
    assert 'aria-describedby="ciam_password_helptext"' in control[0]

    # The error says the rule itself.
    answer = person.submit_form(code=CODE, password="short")
    assert check_field_error(answer, "password") == f"Choose a stronger password: {RULE}"
    assert answer.content.decode().count(RULE) == 1
    # Another error is beside the rule.
    page = person.submit_form(code="1", password="short").content.decode()
    assert page.count(RULE) == 1
    assert "Choose a stronger" not in page
    # The current password has no rule.
    assert RULE not in person.open_page("/ciam/login/").content.decode()


def test_a_rule_in_another_language_is_marked_and_not_a_part_of_the_error(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_PASSWORD_HINT, settings.LANGUAGE_CODE = RULE_BY_LANGUAGE, "zh-hans"
    (rule,) = RULE_BY_LANGUAGE.values()
    person.client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    person.open_page("/ciam/recover/")
    page = person.submit_form(receiver="li@example.com").content.decode()
    assert f'_helptext" lang="zh-hans" dir="auto">{rule}</p>' in page
    answer = person.submit_form(code=CODE, password="short")
    assert "Choose a stronger password: longer" in answer.content.decode()

    person.client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-CN"
    answer = person.submit_form(code=CODE, password="short")
    assert f"请设置更安全的密码：{rule}" in answer.content.decode()
    settings.LANGUAGE_CODE = "en"
    person.client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    assert "ciam-help" not in person.submit_form(code=CODE, password="short").content.decode()


def test_an_error_that_is_not_of_typing_has_the_focus_and_its_reference(
    person: FormBrowser,
) -> None:
    person.open_page("/ciam/login/")
    person.ciam.fail("password", code="Service.Internal.Error")
    answer = person.submit_form(username="li", password=PASSWORD)
    page = answer.content.decode()

    assert 'role="alert" tabindex="-1" autofocus>' in page
    assert page.index('role="alert"') < page.index("<h1")
    assert answer["Ciam-Request-Id"] in page


@pytest.mark.parametrize("username", ["nobody", "locked", "disabled", "archived"])
def test_a_missing_or_closed_account_has_the_status_and_code_of_a_wrong_password(
    person: FormBrowser, username: str
) -> None:
    person.open_page("/ciam/login/")
    answer = person.submit_form(username=username, password=PASSWORD)

    assert answer.status_code == 401
    assert answer["Ciam-Error-Code"] == "Operation.Failure.Username.Or.Password.Error"


def test_blank_fields_have_errors_without_a_request_to_ciam(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    request_count = len(person.ciam.requests)
    answer = person.submit_form(username=" ", password="")

    assert answer.status_code == 400
    assert "username" in check_field_error(answer, "username").lower()
    assert 'id="ciam_password_error"' in answer.content.decode()
    assert len(person.ciam.requests) == request_count


def test_a_page_with_a_form_sets_its_referrer_policy_and_is_not_stored(
    person: FormBrowser, settings: Settings
) -> None:
    # Django's middleware would set the Referrer-Policy as well.
    settings.SECURE_REFERRER_POLICY = None
    for answer in (
        person.open_page("/ciam/login/"),
        person.submit_form(username="li", password="wrong"),
    ):
        assert answer["Referrer-Policy"] == "same-origin"
        assert "no-store" in answer["Cache-Control"]


def test_a_captcha_must_be_solved_after_failures(person: FormBrowser, settings: Settings) -> None:
    # Django's middleware would set the header of the image as well.
    settings.SECURE_CONTENT_TYPE_NOSNIFF = False
    person.open_page("/ciam/login/")
    for _ in range(4):
        answer = person.submit_form(username="li", password="wrong")
    assert answer["Ciam-Error-Code"] == "Params.Blank.CaptchaCode"
    page = answer.content.decode()
    assert 'src="/ciam/captcha/?form=' in page

    image = person.load_captcha()
    assert image["Content-Type"] == "image/png"
    assert image["X-Content-Type-Options"] == "nosniff"
    assert image["Content-Security-Policy"] == "default-src 'none'"
    assert "no-store" in image["Cache-Control"]
    # CIAM may check the CAPTCHA only if the account exists, so the answer does not name it.
    for wrong in ({"captcha": "not this"}, {"captcha": CAPTCHA_TEXT, "password": "wrong"}):
        answer = person.submit_form(**{"username": "li", "password": PASSWORD, **wrong})
        assert (answer.status_code, answer["Ciam-Error-Code"]) == (
            401,
            "password_or_captcha_refused",
        )
        person.load_captcha()

    answer = person.submit_form(username="li", password=PASSWORD, captcha=CAPTCHA_TEXT)
    assert answer.status_code == 302
    assert person.user_id


def test_forms_in_two_tabs_have_captchas_of_their_own(person: FormBrowser) -> None:
    person.ciam.wants_captcha = True
    tabs = []
    for method in ("sms", "email"):
        page = person.open_page(f"/ciam/login/?method={method}")
        person.load_captcha()
        tabs.append(page)

    for page, recipient in zip(
        tabs, ({"phone_number": NUMBER}, {"email": "li@example.com"}), strict=True
    ):
        person.response = page
        person.submit_form(captcha=CAPTCHA_TEXT, **recipient)
        assert person.title == "Enter the code"


def test_the_captcha_of_a_form_without_an_id_is_the_last_captcha(person: FormBrowser) -> None:
    # The project's own template may have neither the id nor the address of the form's image.
    person.ciam.wants_captcha = True
    person.open_page("/ciam/login/?method=sms")
    person.load_captcha()
    for query in ("", "?form=", "?form=a b", f"?form={'x' * 17}"):
        assert person.client.get(f"/ciam/captcha/{query}").status_code == 200

    names = [name for name in person.client.cookies if name.startswith("ciam_captcha_")]
    assert len(names) == 2
    assert "ciam_captcha_last" in names
    person.submit_form(phone_number=NUMBER, captcha=CAPTCHA_TEXT, captcha_form="")
    assert person.title == "Enter the code"


def test_the_captcha_is_required_for_names_without_an_account(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_CAPTCHA_AFTER = 2
    person.open_page("/ciam/login/")
    codes = [
        person.submit_form(username=name, password="wrong")["Ciam-Error-Code"]
        for name in ("nobody", "Nobody", "nobody", "locked")
    ]

    wrong = "Operation.Failure.Username.Or.Password.Error"
    assert codes == [wrong, wrong, "Params.Blank.CaptchaCode", wrong]


@pytest.mark.parametrize("code", ["not_found", "Service.Internal.Error"])
def test_no_name_needs_a_captcha_while_ciam_gives_no_captcha(
    person: FormBrowser, settings: Settings, code: str
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    settings.CIAM_CAPTCHA_AFTER = 1
    stranger = FormBrowser(person.ciam)
    person.ciam.fail("api", code=code, status=404, times=None)
    for name in ("li", "nobody"):
        stranger.open_page("/ciam/login/")
        for _ in range(2):
            page = stranger.submit_form(username=name, password="wrong")
            assert page["Ciam-Error-Code"] == "Operation.Failure.Username.Or.Password.Error"
            assert "/ciam/captcha/" not in page.content.decode()

    person.open_page("/ciam/login/")
    assert person.submit_form(username="li", password=PASSWORD).status_code == 302
    assert [request.path for request in person.ciam.requests if "captcha" in request.path] == [
        "/api/bff/v1.2/developer/ciam/captcha"
    ]


def test_only_refused_passwords_count_towards_a_captcha(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_CAPTCHA_AFTER = 1
    person.open_page("/ciam/login/")
    for _ in range(3):
        person.ciam.fail("password", code="Service.Internal.Error")
        assert person.submit_form(username="li", password=PASSWORD).status_code == 503
    for _ in range(3):
        person.open_page("/ciam/login/")
        assert person.submit_form(username="li", password=PASSWORD).status_code == 302
        person.client.logout()


def test_a_failure_of_ciam_after_a_solved_captcha_does_not_forget_refused_passwords(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_CAPTCHA_AFTER = 1
    person.open_page("/ciam/login/")
    for _ in range(2):
        person.submit_form(username="li", password="wrong")
    for _ in range(2):
        person.load_captcha()
        person.ciam.fail("password", code="Service.Internal.Error")
        solved = {"username": "li", "password": PASSWORD, "captcha": CAPTCHA_TEXT}
        assert person.submit_form(**solved).status_code == 503

    person.open_page("/ciam/login/")
    answer = person.submit_form(username="li", password=PASSWORD)
    assert answer["Ciam-Error-Code"] == "Params.Blank.CaptchaCode"


def test_a_captcha_that_only_ciam_asks_for_is_hidden(
    person: FormBrowser, settings: Settings
) -> None:
    for limit, code in (
        (9, "Operation.Failure.Username.Or.Password.Error"),
        (0, "Operation.Failure.Username.Or.Password.Error"),
    ):
        settings.CIAM_CAPTCHA_AFTER = limit
        person.open_page("/ciam/login/")
        person.ciam.fail("password", code="Params.Blank.CaptchaCode")
        assert person.submit_form(username="li", password=PASSWORD)["Ciam-Error-Code"] == code


def test_captcha_images_have_a_rate_limit(person: FormBrowser, settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ("2/min",)}

    statuses = [person.client.get("/ciam/captcha/").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_strangers_at_the_same_address_do_not_use_up_the_captchas_of_a_known_browser(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD)
    settings.CIAM_TRY_LIMITS = {"address": ("1/min",), "site": ("1/min",)}
    stranger = FormBrowser(person.ciam)
    statuses = [stranger.client.get("/ciam/captcha/").status_code for _ in range(2)]

    assert statuses == [200, 429]
    assert [person.client.get("/ciam/captcha/").status_code for _ in range(2)] == [200, 429]


def test_a_password_that_was_reset_links_to_the_recovery_page(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    person.ciam.fail("password", code="Operation.Failure.Password.Has.Initialized")
    page = person.submit_form(username="li", password=PASSWORD).content.decode()

    assert '<a class="ciam-link" href="/ciam/recover/">Reset your password</a>' in page


def test_the_page_shows_the_true_code_in_debug_mode(
    person: FormBrowser, settings: Settings
) -> None:
    settings.DEBUG = True
    person.open_page("/ciam/login/")
    assert "Operation.Failure.User.Locked" in (
        person.submit_form(username="locked", password=PASSWORD).content.decode()
    )
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number=NUMBER)
    assert "Operation.Failure.SMS.Code.Error" in person.submit_form(code="1").content.decode()


def test_a_captcha_that_is_no_image_is_not_sent_to_the_browser(person: FormBrowser) -> None:
    person.ciam.misbehave("api", "html")

    answer = person.client.get("/ciam/captcha/")

    assert (answer.status_code, answer.content) == (503, b"")


def test_required_terms_must_be_accepted_before_ciam_gets_a_request(person: FormBrowser) -> None:
    page = person.open_page("/ciam/login/").content.decode()
    assert 'href="https://example.com/terms"' in page
    assert "checked" not in page

    request_count = len(person.ciam.requests)
    answer = person.submit_form(username="li", password=PASSWORD, consent=["terms"])

    assert answer.status_code == 400
    assert answer["Ciam-Error-Code"] == "Params.Illegal.Consent"
    page = answer.content.decode()
    assert 'name="consent" value="terms privacy" required' in page
    assert 'value="li"' in page
    assert len(person.ciam.requests) == request_count


def test_a_form_without_a_csrf_token_is_refused(ciam: FakeCiam, db: None) -> None:
    client = Client(headers={"Accept": HTML}, enforce_csrf_checks=True)
    answer = client.post("/ciam/login/", {"username": "li", "password": PASSWORD})

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (403, "csrf_failed")


def test_password_attempts_have_a_rate_limit(person: FormBrowser, settings: Settings) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("2/min",)}
    person.open_page("/ciam/login/")
    for _ in range(2):
        person.submit_form(username="li", password="wrong")
    answer = person.submit_form(username="li", password=PASSWORD)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (429, "too_many_requests")
    assert int(answer["Retry-After"]) > 50


# --- Codes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "field", "typed", "shown"),
    [
        ("sms", "phone_number", NUMBER, "+86 138****1234"),
        ("email", "email", "Li@Example.com", "L***@example.com"),
    ],
)
def test_a_code_signs_in(
    person: FormBrowser, method: str, field: str, typed: str, shown: str
) -> None:
    person.open_page(f"/ciam/login/?method={method}&next=/cart/")
    page = person.submit_form(**{field: typed}).content.decode()
    assert f"If \u2068{shown}\u2069 has an account" in page

    answer = person.submit_form(code=f" {CODE[:3]} {CODE[3:]} ")
    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert person.user_id


@for_each_row(
    "path, field, chosen, typed, answer",
    [
        ("login/?method=sms", "phone_number", "CN", NUMBER, "+86 138****1234"),
        ("login/?method=sms", "phone_number", "TW", "0912345678", "+886 91****678"),
        ("login/?method=sms", "phone_number", "TW", "+852 9123 4567", "+852 91****67"),
        ("recover/", "receiver", "HK", "9223 4567", "+852 92****67"),
        ("sign-up/", "receiver", "HK", "li@example.com", "l***@example.com"),
        ("sign-up/", "receiver", "CN", "0912345678", "such as Taiwan +886."),
        ("login/?method=sms", "phone_number", "CN", "91234567", "such as Hong Kong +852"),
        ("login/?method=sms", "phone_number", "CN", "1", "check the country code"),
        # A browser that sends another region than the page offers.
        ("login/?method=sms", "phone_number", "JP", "0912345678", "We don&#x27;t send"),
        ("recover/", "receiver", "&lt;", "0912345678", "We don&#x27;t send"),
    ],
)
def test_the_country_code_belongs_to_a_number_without_a_country_code(  # noqa: PLR0917  (the row)
    person: FormBrowser,
    settings: Settings,
    path: str,
    field: str,
    chosen: str,
    typed: str,
    answer: str,
) -> None:
    settings.CIAM_PHONE_REGIONS = ["CN", "HK", "MO", "TW"]
    person.client.cookies.clear()
    page = person.open_page(f"/ciam/{path}").content.decode()
    choice = re.search(r'<select[^>]*name="phone_region"[^>]*>(.*?)</select>', page)
    assert choice
    assert 'aria-label="Country code"' in choice[0]
    assert re.findall('value="(..)"', choice[0]) == ["CN", "HK", "MO", "TW"]

    page = person.submit_form(**{field: typed, "phone_region": chosen}).content.decode()
    assert answer in page
    if 'class="ciam-error"' in page:
        check_field_error(person.response, field)
        assert f'value="{typed}"' in page
        assert (f'value="{chosen}" selected' in page) == (chosen in ("CN", "TW"))


def test_the_only_country_code_is_a_text(person: FormBrowser, settings: Settings) -> None:
    settings.CIAM_PHONE_REGIONS = ["CN"]
    page = person.open_page("/ciam/login/?method=sms").content.decode()

    assert '<span class="ciam-prefix">+86</span>' in page
    assert "<select" not in page
    # The field takes email addresses, too.
    assert "ciam-prefix" not in person.open_page("/ciam/recover/").content.decode()
    answer = person.submit_form(receiver="0912345678", phone_region="TW")
    assert answer["Ciam-Error-Code"] == "unsupported_phone_region"


@pytest.mark.parametrize("number", ["12345", "010-6234-5678", "li@example.com"])
def test_an_invalid_mobile_number_has_an_error_at_the_field(
    person: FormBrowser, number: str
) -> None:
    person.open_page("/ciam/login/?method=sms")
    request_count = len(person.ciam.requests)
    answer = person.submit_form(phone_number=number)

    assert answer.status_code == 400
    assert "mobile number" in check_field_error(answer, "phone_number")
    assert number in answer.content.decode()
    assert len(person.ciam.requests) == request_count


def test_a_wrong_code_has_an_error_at_the_field_and_is_not_shown_again(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number=NUMBER)
    answer = person.submit_form(code="135790")

    assert answer.status_code == 400
    assert check_field_error(answer, "code")
    assert "135790" not in answer.content.decode()


def test_a_step_can_be_reloaded_in_another_language(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?method=sms")
    page = person.submit_form(phone_number=NUMBER)
    address = page.wsgi_request.path

    chinese = person.client.get(address, headers={"Accept-Language": "zh-CN"}).content.decode()
    assert "您将收到验证码" in chinese
    assert "+86 138****1234" in chinese


def test_a_second_flow_does_not_end_the_first_flow(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?method=sms")
    first = person.submit_form(phone_number=NUMBER).wsgi_request.path
    person.open_page("/ciam/login/?method=email")
    person.submit_form(email="li@example.com")

    person.open_page(first)
    assert person.submit_form(code=CODE).status_code == 302
    assert person.user_id


@pytest.mark.parametrize("address", ["/ciam/step/unknown/", "/ciam/step/%00/"])
def test_an_unknown_step_links_to_the_login_page(person: FormBrowser, address: str) -> None:
    answer = person.open_page(address)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (
        410,
        "Operation.Failure.FId.Not.Found",
    )
    assert 'href="/ciam/login/"' in answer.content.decode()


def test_a_step_whose_flow_ciam_has_deleted_links_to_the_login_page(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?next=/cart/")
    person.submit_form(username="careful", password=PASSWORD)
    person.submit_form(channel="SMS")
    person.ciam.accounts._flows.clear()
    answer = person.submit_form(code=CODE)

    assert answer.status_code == 410
    assert 'href="/ciam/login/?next=%2Fcart%2F"' in answer.content.decode()


def test_a_code_whose_flow_ciam_has_deleted_is_refused_like_a_wrong_code(
    person: FormBrowser,
) -> None:
    # Without an account, CIAM never has a flow.
    person.open_page("/ciam/login/?method=sms&next=/cart/")
    person.submit_form(phone_number=NUMBER)
    person.ciam.accounts._flows.clear()
    person.ciam.accounts._last_sends.clear()
    answer = person.submit_form(code=CODE)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (
        400,
        "Operation.Failure.SMS.Code.Error",
    )
    person.submit_form(do="resend")
    assert person.submit_form(code=CODE).status_code == 302


def test_sent_codes_have_a_rate_limit_and_the_page_shows_the_wait(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/min",)}
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number=NUMBER)
    request_count = len(person.ciam.requests)
    page = person.response.content.decode()
    assert re.search(r'value="resend"[^>]*data-ciam-wait="(60|59)"', page)

    answer = person.submit_form(do="resend")

    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 50
    assert len(person.ciam.requests) == request_count


# First page -> the field of the recipient, and the code page's link to the first page.
FIRST_PAGES = {
    "/ciam/login/?method=sms&next=/cart/": ("phone_number", NUMBER, "Change number"),
    "/ciam/login/?method=email&next=/cart/": (
        "email",
        "li@example.com",
        "Change email address",
    ),
    "/ciam/recover/?next=/cart/": ("receiver", NUMBER, "Change number"),
    "/ciam/sign-up/?next=/cart/": ("receiver", "li@example.com", "Change email address"),
}


@for_each_row("address", FIRST_PAGES)
def test_the_back_button_and_another_click_lead_to_the_page_of_the_code_again(
    address: str, person: FormBrowser, settings: Settings
) -> None:
    field, recipient, _ = FIRST_PAGES[address]
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/min", "5/hour")}
    cache.clear()
    person.ciam.accounts._last_sends.clear()
    person.open_page(address)
    code_page = person.submit_form(**{field: recipient}).wsgi_request.path
    request_count = len(person.ciam.requests)

    person.open_page(f"{address.replace('/cart/', '/shelf/')}&change=1")
    answer = person.submit_form(**{field: recipient})

    assert (answer.status_code, answer.wsgi_request.path) == (200, code_page)
    assert [r.stage for r in person.ciam.requests[request_count:] if r.stage != "api"] == []
    assert "next=%2Fshelf%2F" in answer.content.decode()
    # Another recipient has a page of its own.
    person.open_page(f"{address}&change=1")
    other = "wang@example.com" if "@" in recipient else "13800004321"
    assert person.submit_form(**{field: other}).wsgi_request.path != code_page


@for_each_row("address", FIRST_PAGES)
def test_the_page_of_a_code_links_to_the_page_where_the_recipient_was_typed(
    address: str, person: FormBrowser
) -> None:
    field, recipient, label = FIRST_PAGES[address]
    cache.clear()
    person.ciam.accounts._last_sends.clear()
    person.open_page(address)
    page = person.submit_form(**{field: recipient}).content.decode()

    href = address.replace("/cart/", "%2Fcart%2F").replace("&", "&amp;") + "&amp;change=1"
    assert f'<a class="ciam-link" href="{href}">{label}</a>' in page
    code_page = person.response.wsgi_request.path
    page = person.open_page(unescape(href)).content.decode()
    assert f'name="{field}"' in page
    assert f'<a class="ciam-link" href="{code_page}">Enter the code for <bdi>' in page


@for_each_row("address", FIRST_PAGES)
def test_a_first_page_that_is_opened_again_leads_to_the_page_of_the_code(
    address: str, person: FormBrowser
) -> None:
    field, recipient, _ = FIRST_PAGES[address]
    cache.clear()
    person.client.cookies.clear()
    person.ciam.accounts._last_sends.clear()
    person.open_page(address)
    code_page = person.submit_form(**{field: recipient}).wsgi_request.path

    # The browser has restarted, and another page wants a sign-in.
    answer = person.open_page(address.replace("/cart/", "/shelf/"))
    assert (answer.status_code, answer["Location"]) == (302, code_page)
    assert "next=%2Fshelf%2F" in person.follow_redirect().content.decode()
    assert person.open_page(address.partition("?next")[0])["Location"] == code_page
    # A tab of the login page loads the form, and other login methods have no code.
    tab = person.client.get(address, headers={"Sec-Fetch-Dest": "empty"})
    assert f'href="{code_page}"' in tab.content.decode()
    assert person.open_page("/ciam/login/?method=password").status_code == 200
    # The code has expired, and the cookie is newer.
    change_time_of_code(person, -600)
    assert f'name="{field}"' in person.open_page(address).content.decode()
    # The flow is over.
    for name, morsel in person.client.cookies.items():
        if name.startswith("ciam_flow_"):
            person.client.cookies[name] = aged(morsel.value, 601, "ciam_django.login.steps.flow")
    assert f'name="{field}"' in person.open_page(address).content.decode()


def test_a_rate_limit_leads_to_the_page_of_the_last_code(
    person: FormBrowser, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",)}
    person.open_page("/ciam/login/?method=sms")
    code_page = person.submit_form(phone_number=NUMBER).wsgi_request.path
    change_time_of_code(person, -90)

    person.open_page("/ciam/login/?method=sms&change=1")
    with caplog.at_level(logging.INFO):
        answer = person.submit_form(phone_number=NUMBER)

    assert (answer.status_code, answer.wsgi_request.path) == (200, code_page)
    assert "code=Operation.Failure.Send.SMS.Too.Frequency" in caplog.text
    assert person.submit_form(code=CODE).status_code == 302


def test_another_failure_of_a_second_code_is_shown(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number=NUMBER)
    change_time_of_code(person, -90)
    person.ciam.fail("send_code", code="Operation.Failure.Send.SMS.Fail")

    person.open_page("/ciam/login/?method=sms&change=1")
    assert person.submit_form(phone_number=NUMBER).status_code == 503


def change_time_of_code(person: FormBrowser, seconds: int) -> None:
    """Change the time at which the last code was sent, in the flow of the browser."""
    (name,) = [name for name in person.client.cookies if name.startswith("ciam_flow_")]
    flow = decrypted_flow(person.client.cookies[name].value)
    assert flow
    person.client.cookies[name] = encrypted_flow(
        dataclasses.replace(flow, sent_at=flow.sent_at + seconds)
    )


def test_the_script_can_read_a_wait_that_the_page_shows_with_a_thousand_separator(
    person: FormBrowser, settings: Settings
) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",)}
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number=NUMBER)
    page = person.submit_form(do="resend").content.decode()

    assert re.search(r'value="resend"[^>]*data-ciam-wait="3[56]\d\d"', page)
    assert re.search(r"in 3,[56]\d\d seconds", page)


def test_the_page_after_too_many_code_entries_offers_a_new_code_with_a_wait(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("1/hour",)}
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number=NUMBER)
    person.submit_form(code="1")
    answer = person.submit_form(code="2")

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (429, "too_many_requests")
    assert re.search(r'value="resend"[^>]*data-ciam-wait="(60|59)"', answer.content.decode())


def test_the_pages_need_no_context_processors_of_the_project(
    person: FormBrowser, settings: Settings
) -> None:
    engine = {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
    settings.TEMPLATES = [engine]
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number=NUMBER)
    assert f'action="{person.response.wsgi_request.path}"' in person.response.content.decode()
    assert person.submit_form(code=CODE).status_code == 302


def test_a_new_code_is_sent_with_the_same_consents(person: FormBrowser) -> None:
    person.ciam.requires_consents = True
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number=NUMBER)
    person.ciam.accounts._last_sends.clear()
    person.submit_form(do="resend")

    assert person.response.status_code == 200
    assert person.submit_form(code=CODE).status_code == 302


def test_a_client_that_accepts_json_gets_the_error_as_json(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    person.client.defaults["HTTP_ACCEPT"] = "application/json"
    answer = person.submit_form(username="li", password="wrong")

    assert answer["Content-Type"] == "application/json"
    assert answer.json()["code"] == "Operation.Failure.Username.Or.Password.Error"


# --- The second step --------------------------------------------------------------------------


def test_the_second_step_offers_the_channels_of_the_tenant(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?next=/cart/")
    page = person.submit_form(username="careful", password=PASSWORD).content.decode()
    assert person.title == "Verify it&#x27;s you"
    assert "138****0000" in page
    assert 'value="SMS"' in page
    assert 'value="PWD"' in page
    assert 'value="EMAIL"' not in page

    page = person.submit_form(channel="SMS").content.decode()
    assert "sent a code to \u2068138****0000\u2069" in page
    answer = person.submit_form(code=CODE)
    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert person.user_id


def test_the_codes_of_the_second_step_are_counted_for_the_account(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/hour",)}
    for status in (200, 429):
        person.open_page("/ciam/login/")
        person.submit_form(username="careful", password=PASSWORD)
        assert person.submit_form(channel="SMS").status_code == status
    # Another channel does not start a new count.
    person.open_page("/ciam/login/")
    person.submit_form(username="careful", password=PASSWORD)
    for _ in range(2):
        person.submit_form(channel="PWD")
        person.submit_form(do="other")
        assert person.submit_form(channel="SMS").status_code == 429


def test_the_second_step_hides_that_the_account_is_locked_behind_the_generic_error(
    person: FormBrowser,
) -> None:
    person.open_page("/ciam/login/")
    person.submit_form(username="careful", password=PASSWORD)
    person.ciam.fail("send_code", code="Operation.Failure.User.Locked")

    answer = person.submit_form(channel="SMS")
    assert answer.status_code == 401
    assert answer["Ciam-Error-Code"] == "Operation.Failure.Username.Or.Password.Error"
    assert person.title == "Verify it&#x27;s you"


def test_another_channel_can_be_chosen_at_the_second_step(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    person.submit_form(username="careful", password=PASSWORD)
    person.submit_form(channel="SMS")
    person.submit_form(do="other")
    person.submit_form(channel="PWD")
    assert person.submit_form(password=PASSWORD).status_code == 302
    assert person.user_id


def test_a_channel_whose_code_is_new_leads_to_the_page_of_the_code_again(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_SEND_LIMITS = {"receiver": ("1/min",)}
    person.open_page("/ciam/login/")
    person.submit_form(username="careful", password=PASSWORD)
    person.submit_form(channel="SMS")
    person.submit_form(do="other")
    person.submit_form(channel="PWD")
    person.submit_form(do="other")

    assert person.submit_form(channel="SMS").status_code == 200
    assert person.submit_form(code=CODE).status_code == 302


def test_a_channel_that_is_not_offered_is_refused(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    person.submit_form(username="careful", password=PASSWORD)
    answer = person.submit_form(channel="EMAIL")

    assert answer.status_code == 400
    assert answer["Ciam-Error-Code"] == "Params.Illegal.Type"


def test_the_error_of_a_channel_is_shown_above_the_channels(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    person.submit_form(username="careful", password=PASSWORD)
    person.ciam.fail("send_code", code="Operation.Failure.Send.SMS.Fail")
    answer = person.submit_form(channel="SMS")

    assert answer.status_code == 503
    assert 'role="alert"' in answer.content.decode()
    assert 'value="PWD"' in answer.content.decode()


# --- Further steps that CIAM asks for ---------------------------------------------------------


def test_a_password_that_is_too_old_must_be_changed(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?next=/cart/")
    person.submit_form(username="stale", password=PASSWORD)
    assert person.title == "Choose a new password"

    assert check_field_error(person.submit_form(password="short"), "password")
    assert check_field_error(person.submit_form(password=PASSWORD), "password")
    answer = person.submit_form(password="a-new-passw0rd")
    assert (answer.status_code, answer["Location"]) == (302, "/cart/")

    person.client.logout()
    person.open_page("/ciam/login/")
    assert person.submit_form(username="stale", password=PASSWORD).status_code == 401


def test_ciam_can_ask_for_terms_after_the_password(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    person.submit_form(username="hesitant", password=PASSWORD)
    assert person.title == "Please agree to our terms"

    answer = person.submit_form(consent=[])
    assert (answer.status_code, answer["Ciam-Error-Code"]) == (400, "Params.Illegal.Consent")
    assert person.submit_form().status_code == 302
    assert person.user_id


def test_the_profile_page_asks_for_missing_members(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    person.submit_form(username="unfinished", password=PASSWORD)
    assert person.title == "Complete your profile"

    answer = person.submit_form(display_name="Li", email="not an address")
    assert check_field_error(answer, "email")
    assert 'value="Li"' in answer.content.decode()
    assert check_field_error(
        person.submit_form(display_name="Li", email="taken@example.com"), "email"
    )
    assert person.submit_form(display_name="Li", email="li@example.com").status_code == 302
    assert person.user_id


@for_each_row(
    "language, country, city",
    [
        ("en", "Select an option for “Country or region”.", "深圳"),
        ("zh-hans", "请选择国家或地区。", "深圳"),
        # The province is the city, too.
        ("zh-hant", "請選擇國家或地區。", ""),
    ],
)
def test_the_details_with_a_list_of_values_are_selected(
    person: FormBrowser, language: str, country: str, city: str
) -> None:
    person.client.cookies.clear()
    person.client.defaults["HTTP_ACCEPT_LANGUAGE"] = language
    person.open_page("/ciam/login/")
    page = person.submit_form(username="unfinished_options", password=PASSWORD).content.decode()
    assert '<span class="ciam-select"><select name="gender" autocomplete="sex"' in page
    assert re.findall(r'<option value="(\w+)"', page) == [
        "female", "male", "CN", "TW", "广东省", "台北市"
    ]  # fmt: skip
    assert ('name="city"' in page) == bool(city)
    assert f'data-ciam-blank="{country}"' in page

    typed = {"gender": "female", "province": "广东省", **({"city": city} if city else {})}
    assert check_field_error(person.submit_form(**typed), "country") == country
    assert 'value="female" selected' in person.response.content.decode()
    assert person.submit_form(**typed, country="FR")["Ciam-Error-Code"] == "Params.Illegal.*"
    assert person.submit_form(**typed, country="CN").status_code == 302
    sent = json.loads([r for r in person.ciam.requests if r.path.endswith("complete")][-1].body)
    assert sent | typed | {"country": "CN", "city": city or "广东省"} == sent


def test_ciam_refuses_a_value_that_only_the_project_lists(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_PROFILE_OPTIONS = {"country": ["FR"]}
    person.open_page("/ciam/login/")
    person.submit_form(username="unfinished_options", password=PASSWORD)
    typed = {"gender": "female", "province": "广东省", "city": "深圳", "country": "FR"}

    assert check_field_error(person.submit_form(**typed), "country")


def test_the_mobile_number_of_the_profile_is_checked_and_normalized(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    person.submit_form(username="unfinished_phone", password=PASSWORD)
    assert check_field_error(person.submit_form(phone_number="12345"), "phone_number")
    assert person.submit_form(phone_number="+86 138-0000-1234").status_code == 302
    sent = [request for request in person.ciam.requests if request.path.endswith("complete")]
    assert json.loads(sent[-1].body)["phoneNumber"] == "13800001234"


def test_the_profile_can_be_skipped_only_if_ciam_allows_it(person: FormBrowser) -> None:
    person.open_page("/ciam/login/")
    person.submit_form(username="unfinished_must", password=PASSWORD)
    answer = person.submit_form(do="skip")
    assert (answer.status_code, answer["Ciam-Error-Code"]) == (
        403,
        "Operation.Failure.Unsupported.Ignore.Complete",
    )

    person.open_page("/ciam/login/")
    person.submit_form(username="unfinished", password=PASSWORD)
    assert person.submit_form(do="skip").status_code == 302
    assert person.user_id


def test_a_sign_in_can_have_several_steps(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?next=/cart/")
    person.submit_form(username="thorough", password=PASSWORD)
    person.submit_form(channel="SMS")
    person.submit_form(code=CODE)
    assert person.title == "Please agree to our terms"
    person.submit_form()
    assert person.title == "Complete your profile"
    answer = person.submit_form(display_name="Li", email="li@example.com")

    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert person.user_id


def test_an_unsupported_step_is_shown_and_logged_as_one_warning(
    person: FormBrowser, caplog: pytest.LogCaptureFixture
) -> None:
    person.open_page("/ciam/login/")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        answer = person.submit_form(username="odd", password=PASSWORD)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (503, "unsupported_step")
    assert answer["Ciam-Request-Id"] in answer.content.decode()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "NEED_MAGIC" in caplog.text
    assert "NEED_MAGIC" not in answer.content.decode()
    assert person.user_id is None


def test_a_setting_maps_a_step_of_the_tenant_to_a_supported_step(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_FLOW_TYPES = {"NEED_MAGIC": "new_password"}
    person.open_page("/ciam/login/")
    person.submit_form(username="odd", password=PASSWORD)

    assert person.title == "Choose a new password"


# --- Recovery and sign-up ---------------------------------------------------------------------


def test_a_user_can_recover_a_lost_password(person: FormBrowser) -> None:
    person.open_page("/ciam/recover/?next=/cart/")
    person.submit_form(receiver="li@example.com")
    assert check_field_error(person.submit_form(code=CODE[::-1], password="a-new-passw0rd"), "code")
    page = person.submit_form(code=CODE, password="a-new-passw0rd").content.decode()
    assert "Your password has been changed." in page
    assert 'name="next" value="/cart/"' in page
    assert (
        "Your password has been changed." not in person.open_page("/ciam/login/").content.decode()
    )

    assert (
        person.submit_form(username="li@example.com", password="a-new-passw0rd").status_code == 302
    )


@pytest.mark.parametrize("place", ["recover", "login"])
def test_the_pages_are_equal_with_and_without_an_account(person: FormBrowser, place: str) -> None:
    pages = []
    for number in ("13800000001", "13800001234"):
        address = "/ciam/recover/" if place == "recover" else "/ciam/login/?method=sms"
        field = "receiver" if place == "recover" else "phone_number"
        person.client.cookies.clear()
        person.open_page(address)
        person.submit_form(**{field: number})
        text = person.response.content.decode()
        assert person.response.status_code == 200
        # Each code becomes invalid after five wrong entries, with the same answer.
        for _ in range(6):
            answer = person.submit_form(code="135790", password="a-new-passw0rd")
            text += f"{answer.status_code} {answer['Ciam-Error-Code']} "
        pages.append(text)

    def comparable_text(page: str) -> str:
        for name in ("csrfmiddlewaretoken", "action"):
            page = re.sub(rf'{name}(" value)?="[^"]*"', "", page)
        return re.sub(r"138\*{4}\d{4}|data-ciam-wait=\S+|in \d+ s\S+", "", page)

    assert comparable_text(pages[0]) == comparable_text(pages[1])
    assert "429 Operation.Failure.SMS.Code.Too.Frequency" in pages[0]


@pytest.mark.parametrize("code", ["User.Not.Exist", "User.Locked", "User.Disabled"])
def test_the_recovery_page_hides_each_error_that_depends_on_the_account(
    person: FormBrowser, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    person.open_page("/ciam/recover/")
    person.ciam.fail("recover", code=f"Operation.Failure.{code}")
    with caplog.at_level(logging.INFO):
        page = person.submit_form(receiver="li@example.com").content.decode()

    assert " has an account, " in page
    # The log contains the true code.
    assert f"code=Operation.Failure.{code} " in caplog.text


def test_a_code_that_was_not_sent_is_still_checked_at_ciam(person: FormBrowser) -> None:
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number="13800000001")
    request_count = len(person.ciam.requests)
    answer = person.submit_form(code=CODE)

    assert answer["Ciam-Error-Code"] == "Operation.Failure.SMS.Code.Error"
    assert [request.stage for request in person.ciam.requests[request_count:]] == ["verify_code"]


def test_an_account_can_be_created(person: FormBrowser) -> None:
    person.open_page("/ciam/sign-up/?next=/cart/")
    page = person.submit_form(receiver=NUMBER).content.decode()
    assert "can be used for a new account" in page
    assert check_field_error(person.submit_form(code=CODE, password="short"), "password")
    answer = person.submit_form(code=CODE, password="a-new-passw0rd")

    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert person.user_id


def test_the_sign_up_does_not_tell_that_an_account_exists(person: FormBrowser) -> None:
    person.open_page("/ciam/sign-up/")
    person.submit_form(receiver=NUMBER)
    person.ciam.fail("register", code="Params.Exist.User.Phone.Number")
    answer = person.submit_form(code=CODE, password="a-new-passw0rd")

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (400, "sign_up_refused")


def test_the_tenant_can_require_a_captcha_before_each_code(person: FormBrowser) -> None:
    person.ciam.wants_captcha = True
    person.open_page("/ciam/login/?method=sms")
    assert check_field_error(person.submit_form(phone_number=NUMBER), "captcha")
    assert person.load_captcha().status_code == 200
    person.submit_form(phone_number=NUMBER, captcha=CAPTCHA_TEXT)
    assert person.title == "Enter the code"
    # A new code needs a new CAPTCHA. CIAM is not asked: its answer may depend on the account.
    request_count = len(person.ciam.requests)
    assert check_field_error(person.submit_form(do="resend"), "captcha")
    assert len(person.ciam.requests) == request_count
    person.load_captcha()
    person.ciam.accounts._last_sends.clear()
    person.submit_form(do="resend", captcha=CAPTCHA_TEXT)
    assert person.submit_form(code=CODE).status_code == 302


def test_the_page_says_that_the_account_of_an_inactive_user_is_disabled(
    person: FormBrowser,
) -> None:
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD)
    User.objects.update(is_active=False)
    person.client.logout()
    person.open_page("/ciam/login/")
    answer = person.submit_form(username="li", password=PASSWORD)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (403, "account_inactive")
    assert "This account has been disabled." in answer.content.decode()


# --- Pages that a signed-in user opens again --------------------------------------------------


def test_a_signed_in_user_who_goes_back_to_the_login_page_is_redirected_to_next(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    settings.LOGIN_REDIRECT_URL = "/home/"
    person.open_page("/ciam/login/?next=/cart/")
    person.submit_form(username="li", password=PASSWORD)
    assert person.open_page("/ciam/login/?next=/cart/")["Location"] == "/cart/"
    person.client.cookies.pop("ciam_onward")
    assert person.open_page("/ciam/login/")["Location"] == "/home/"
    person.client.cookies.pop("ciam_onward")
    done = person.open_page("/ciam/login/?next=/ciam/done/%3Fnext=/cart/")
    assert done["Location"] == "/ciam/done/?next=/cart/"
    assert done["Cross-Origin-Opener-Policy"] == "same-origin"


def test_a_signed_in_user_without_the_permission_for_next_reaches_the_login_page(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD)
    address = "/ciam/login/?next=/reports/"
    redirect = person.open_page(address)
    assert redirect["Location"] == "/reports/"
    assert redirect.cookies["ciam_onward"]["max-age"] == 10

    # A view with ``permission_required`` redirects back to the login page.
    assert person.open_page(address).status_code == 200
    assert person.submit_form(username="wang", password=PASSWORD)["Location"] == "/reports/"


def test_a_signed_in_user_can_sign_in_again_with_prompt_login(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password", "sms"]
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD)
    page = person.open_page("/ciam/login/?next=/cart/&prompt=login")

    assert page.status_code == 200
    assert "method=sms&amp;next=%2Fcart%2F&amp;prompt=login" in page.content.decode()


def test_only_a_page_of_a_signed_in_user_is_redirected_to_next(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD)
    for destination, status in (("image", 200), ("script", 200), ("empty", 200), ("document", 302)):
        headers = {"Accept": "*/*", "Sec-Fetch-Dest": destination, "Sec-Fetch-Site": "cross-site"}
        answer = person.client.get("/ciam/login/?next=/favicon.ico", headers=headers)
        assert answer.status_code == status


def test_the_login_page_does_not_redirect_to_itself(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    settings.LOGIN_REDIRECT_URL = "ciam:login"
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD)

    assert person.open_page("/ciam/login/").status_code == 200


def test_a_signed_in_user_who_goes_back_to_a_finished_step_is_redirected_to_its_next(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    settings.LOGIN_REDIRECT_URL = "/home/"
    person.open_page("/ciam/login/?next=/cart/")
    person.submit_form(username="hesitant", password=PASSWORD)
    address = person.response.request["PATH_INFO"]
    assert address.startswith("/ciam/step/")
    assert person.submit_form()["Location"] == "/cart/"

    assert person.open_page(address)["Location"] == "/cart/"
    assert person.open_page("/ciam/step/unknown/")["Location"] == "/home/"
    answer = person.client.get(address, headers={"Accept": "application/json"})
    assert answer["Ciam-Error-Code"] == "Operation.Failure.FId.Not.Found"
    person.client.logout()
    assert person.open_page(address)["Ciam-Error-Code"] == "Operation.Failure.FId.Not.Found"


def test_a_signed_in_user_can_open_the_step_of_another_sign_in(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD)
    person.open_page("/ciam/login/?prompt=login")
    person.submit_form(username="hesitant", password=PASSWORD)

    assert person.response.request["PATH_INFO"].startswith("/ciam/step/")
    assert person.response.status_code == 200


# --- The login page of the project ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("login_url", "way_out"),
    [
        ("/enter/", "/enter/?next=%2Fcart%2F"),
        ("/enter/?from=shop", "/enter/?from=shop&amp;next=%2Fcart%2F"),
        ("ciam:login", "/ciam/login/?next=%2Fcart%2F"),
    ],
)
def test_another_way_to_sign_in_is_on_the_login_page_of_the_project(
    login_url: str, way_out: str, settings: Settings, rf: RequestFactory
) -> None:
    settings.LOGIN_URL = login_url
    request = rf.get("/ciam/callback/", headers={"accept": "text/html"})

    answer = answer_error(request, CiamError("account_exists"), next_url="/cart/")

    assert f'href="{way_out}"' in answer.content.decode()
