"""The question for the user's consent before the browser leaves for a provider or for CIAM."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from ciam_django.login.state import state_from_cookie
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import PASSWORD
from tests.browser import Browser, query_of
from tests.login.person import FormBrowser
from tests.login.test_api import AGREED
from tests.login.test_social import registered_at
from tests.login.test_state import state_cookie_names
from tests.rows import for_each_row

HOSTED, QQ = "/ciam/authorize/", "/ciam/with/qq/"
JSON = {"Accept": "application/json"}


@pytest.fixture
def mode() -> str:
    return "oidc"


@pytest.fixture(autouse=True)
def offered(ciam: FakeCiam, settings: Settings) -> None:
    """The login page offers a form, a provider and CIAM's own page."""
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(ciam)
    settings.CIAM_LOGIN_METHODS = ["password", "hosted"]


@for_each_row(
    "url, fields, is_asked",
    [
        (HOSTED, {}, True),
        (QQ, {}, True),
        (QQ, {"consent": ["terms"]}, True),
        (QQ, {"consent": ["terms privacy other"]}, True),
        (HOSTED, {"consent": AGREED}, False),
        (QQ, {"consent": AGREED}, False),
        (HOSTED, {"consent": ["terms privacy"]}, False),
        (QQ, {"consent": ["terms privacy"]}, False),
    ],
)
@pytest.mark.parametrize("is_signed_in", [False, True])
def test_the_browser_leaves_only_with_the_consent(
    browser: Browser, is_signed_in: bool, url: str, fields: dict[str, Any], is_asked: bool
) -> None:
    client = browser.client
    client.cookies.clear()
    if is_signed_in:
        user, _ = User.objects.get_or_create(username="li")
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    page = client.post(url, {"next": "/cart/", **fields})
    has_state = bool(state_cookie_names(client.cookies))
    answer = client.post(url, {"next": "/cart/", **fields}, headers=JSON)

    assert has_state is not is_asked
    if is_asked:
        for response in (page, answer):
            assert (response.status_code, response["Ciam-Error-Code"]) == (
                400,
                "Params.Illegal.Consent",
            )
        members = answer.json()
        assert (members["kind"], members["field"], members["action"]) == (
            "consent",
            "consent",
            "give_consent",
        )
    else:
        assert page.status_code == 302
        assert answer.json()["status"] == "redirect"


@for_each_row("url, button", [(QQ, "Continue with QQ"), (HOSTED, "Continue to sign in")])
def test_the_page_with_the_question_sends_the_request_again(
    person: FormBrowser, url: str, button: str
) -> None:
    person.open_page("/ciam/login/?next=/cart/")
    fields = {"next": "/cart/", "csrfmiddlewaretoken": person.client.cookies["csrftoken"].value}
    person.response = person.client.post(url, fields)
    page = person.response.content.decode()

    assert person.response["Referrer-Policy"] == "same-origin"
    assert f'action="{url}"' in page
    assert f">{button}</button>" in page
    assert 'href="/ciam/login/?next=%2Fcart%2F"' in page
    # The first page is a question, and no error.
    assert "<title>Please agree to continue</title>" in page
    assert "Review these before you continue." in page
    assert "ciam_consent_error" not in page

    headers = {"Referer": f"http://testserver{url}"}
    person.response = person.client.post(url, fields, headers=headers)
    page = person.response.content.decode()
    assert "<title>Error: Please agree to continue</title>" in page
    assert "Review these" not in page
    assert re.search(
        r'value="terms privacy" required data-ciam-consent aria-invalid="true"'
        r' aria-describedby="ciam_consent_error" autofocus>',
        page,
    )
    assert page.count("Agree to") == page.count('id="ciam_consent_error"') == 1

    person.submit_form()
    state = query_of(person.response["Location"])["state"]
    request: Any = person.response.wsgi_request
    request.COOKIES = {name: morsel.value for name, morsel in person.client.cookies.items()}
    sign_in_state = state_from_cookie(request, state, "qq" if url == QQ else "ciam")
    assert sign_in_state
    assert sign_in_state.next == "/cart/"


def test_ciam_gets_the_consent_with_the_code_of_a_provider(person: FormBrowser) -> None:
    person.ciam.requires_consents = True
    person.open_page("/ciam/login/")
    token = person.client.cookies["csrftoken"].value
    answer = person.client.post(QQ, {"consent": AGREED, "csrfmiddlewaretoken": token})
    callback = person.ciam.authorize_at_provider(answer["Location"], username="li")
    assert callback
    person.client.get(callback.partition("testserver")[2])

    assert person.user_id
    (request,) = [request for request in person.ciam.requests if request.stage == "social"]
    assert b'"consents": ["terms", "privacy"]' in request.body


def test_many_long_ids_do_not_travel_in_a_cookie(browser: Browser) -> None:
    browser.ciam.consents = [{"uuid": f"{i}" * 60, "name": "Terms"} for i in range(9)]
    sent = {"consent": [row["uuid"] for row in browser.ciam.consents]}

    assert browser.client.post(QQ, sent).status_code == 302
    (name,) = state_cookie_names(browser.client.cookies)
    assert len(browser.client.cookies[name].value) < 1024


@for_each_row(
    "changes, is_asked",
    [
        ({}, {HOSTED: True, QQ: True}),
        ({"CIAM_CONSENT_BEFORE": ["social"]}, {HOSTED: False, QQ: True}),
        ({"CIAM_CONSENT_BEFORE": []}, {HOSTED: False, QQ: False}),
        ({"CIAM_LOGIN_METHODS": ["hosted"]}, {HOSTED: True, QQ: True}),
        # The login page does not offer CIAM's page: the project's own page does.
        ({"CIAM_LOGIN_METHODS": ["password"]}, {HOSTED: False, QQ: True}),
        ({"CIAM_LOGIN_METHODS": []}, {HOSTED: False, QQ: True}),
        ({"CIAM_LOGIN_METHODS": ["hosted", "sms"], "CIAM_SOCIAL_PROVIDERS": {}}, {HOSTED: True}),
    ],
)
def test_the_project_chooses_the_ways_that_need_the_consent(
    browser: Browser, settings: Settings, changes: dict[str, Any], is_asked: dict[str, bool]
) -> None:
    before = {name: getattr(settings, name, None) for name in changes}
    for name, value in changes.items():
        setattr(settings, name, value)
    answers = {url: browser.client.post(url).status_code == 400 for url in is_asked}
    for name, value in before.items():
        setattr(settings, name, value) if value is not None else delattr(settings, name)

    assert answers == is_asked


def test_a_project_with_only_the_page_of_ciam_asks_for_nothing_and_needs_no_api(
    browser: Browser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS, settings.CIAM_SOCIAL_PROVIDERS = ["hosted"], {}
    page = browser.client.get("/ciam/login/").content.decode()

    assert browser.client.post(HOSTED).status_code == 302
    assert 'name="consent"' not in page
    assert not [request for request in browser.ciam.requests if request.stage == "api"]


def test_without_terms_nobody_is_asked(browser: Browser) -> None:
    browser.ciam.consents = []
    page = browser.client.get("/ciam/login/").content.decode()

    assert browser.client.post(QQ).status_code == 302
    assert "consent" not in page


def test_terms_that_are_not_required_do_not_stop_the_browser(browser: Browser) -> None:
    browser.ciam.consents = [{"uuid": "news", "name": "News", "required": False}]

    assert browser.client.post(QQ).status_code == 302
    assert "data-ciam-ask>" not in browser.client.get("/ciam/login/").content.decode()


def test_terms_that_ciam_does_not_send_do_not_stop_the_browser(browser: Browser) -> None:
    browser.ciam.fail("api", code="Service.Internal.Error")

    assert browser.client.post(QQ).status_code == 302


@pytest.mark.parametrize("url", [HOSTED, QQ])
def test_a_signed_in_user_who_links_an_identity_is_not_asked(browser: Browser, url: str) -> None:
    user = User.objects.create_user("staff")
    browser.client.force_login(user, "django.contrib.auth.backends.ModelBackend")

    assert browser.client.post(url, {"link": "1"}).status_code == 302


def test_the_login_page_has_one_box_with_and_without_scripts(
    person: FormBrowser, settings: Settings
) -> None:
    page = person.open_page("/ciam/login/").content.decode()
    assert page.count('name="consent"') == 1
    assert page.count("data-ciam-needs-consent") == 2
    assert page.count("<dialog") == 1
    assert 'form="ciam_ways" formaction="/ciam/with/qq/">' in page
    assert 'form="ciam_ways" formaction="/ciam/authorize/">' in page

    settings.CIAM_LOGIN_METHODS = ["hosted"]
    page = person.open_page("/ciam/login/").content.decode()
    assert page.count('name="consent"') == page.count("<dialog") == page.count("<script") == 1


def test_the_password_is_in_no_form_that_leaves(person: FormBrowser) -> None:
    page = person.open_page("/ciam/login/").content.decode()
    forms = re.findall(r"(?s)<form.*?</form>", page)

    assert [("password" in form, "ciam_ways" in form) for form in forms] == [
        (True, False),
        (False, True),
    ]
    assert not re.search(r'<input[^>]* form="', page)


def test_a_ticked_box_signs_in_with_a_password(person: FormBrowser) -> None:
    person.ciam.requires_consents = True
    person.open_page("/ciam/login/")
    person.submit_form(username="li", password=PASSWORD, consent="terms privacy")

    assert person.user_id
