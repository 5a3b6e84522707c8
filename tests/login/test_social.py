"""Signing in at social providers, whose pages the fake serves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.login import state
from ciam_django.login.cookies import remember_browser
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE
from ciam_django.testing.providers import PROVIDER_PAGES
from tests.browser import HTML, query_of
from tests.login.person import FormBrowser
from tests.login.test_api import AGREED
from tests.login.test_hints import BROWSERS, IN_APP
from tests.login.test_state import state_cookie_names
from tests.rows import for_each_row


def registered_at(fake: FakeCiam) -> dict[str, Any]:
    """The registrations of all providers, with the addresses of the fake."""
    registrations: dict[str, Any] = {}
    for name, url in fake.provider_urls.items():
        kind, _, part = name.partition("-")
        row = {"app_id": f"app_{name}", "authorize_url": url}
        row["source"] = f"source_{name.replace('-', '_')}"
        if name == "generic":
            row["label"] = "Example"
        if part:
            registrations.setdefault(kind, {})[part] = row
        else:
            registrations[kind] = row
    return registrations


FORM = "application/x-www-form-urlencoded"


@pytest.fixture(autouse=True)
def registered(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(ciam)
    settings.CIAM_LOGIN_METHODS = ["password", "hosted"]


@pytest.fixture
def mode() -> str:
    return "ciam"


def start_sign_in(person: FormBrowser, name: str, next_url: str = "/cart/") -> str:
    """Begin a sign-in and return the address at the provider."""
    person.open_page(f"/ciam/login/?next={next_url}")
    token = person.client.cookies["csrftoken"].value
    answer = person.client.post(
        reverse("ciam:provider", args=[name]),
        {"next": next_url, "csrfmiddlewaretoken": token, "consent": AGREED},
    )
    assert answer.status_code == 302
    return str(answer["Location"])


def open_callback(person: FormBrowser, callback: str) -> Any:
    parts = urlsplit(callback)
    person.response = person.client.get(f"{parts.path}?{parts.query}")
    return person.follow_redirect()


def sign_in_at(
    person: FormBrowser, name: str, username: str = "li", *, cancel: bool = False
) -> Any:
    """Sign in at the provider and open the callback."""
    url = start_sign_in(person, name).partition("#")[0]
    callback = person.ciam.authorize_at_provider(url, username=username, cancel=cancel)
    assert callback
    return open_callback(person, callback)


PROOFS = [
    ("google", ["pkce", "nonce"]),
    ("google", ["nonce"]),
    ("apple", ["nonce"]),
    ("feishu", ["pkce"]),
    ("generic", ["pkce"]),
]


def register_proofs(settings: Settings, name: str, proofs: list[str]) -> None:
    rows = settings.CIAM_SOCIAL_PROVIDERS
    settings.CIAM_SOCIAL_PROVIDERS = {**rows, name: {**rows[name], "proofs": proofs}}


@pytest.mark.parametrize(("name", "proofs"), PROOFS)
def test_a_provider_binds_its_code_to_the_proofs_that_ciam_checks(
    name: str, proofs: list[str], person: FormBrowser, settings: Settings
) -> None:
    register_proofs(settings, name, proofs)
    first, second = (query_of(start_sign_in(person, name)) for _ in range(2))
    assert ("nonce" in first) is ("nonce" in proofs)
    assert first.get("code_challenge_method") == ("S256" if "pkce" in proofs else None)
    for parameter in ("nonce", "code_challenge"):
        assert first.get(parameter) != second.get(parameter, "")

    assert sign_in_at(person, name)["Location"] == "/cart/"
    (request,) = [request for request in person.ciam.requests if request.stage == "social"]
    assert (b"codeVerifier" in request.body) is ("pkce" in proofs)
    assert (b"nonce" in request.body) is ("nonce" in proofs)


@pytest.mark.parametrize(("name", "proofs"), PROOFS)
def test_a_code_of_another_sign_in_is_refused_by_its_proofs(
    name: str, proofs: list[str], person: FormBrowser, ciam: FakeCiam, settings: Settings
) -> None:
    register_proofs(settings, name, proofs)
    code = PROVIDER_PAGES[name].code
    stolen = ciam.authorize_at_provider(start_sign_in(FormBrowser(ciam), name), username="wang")
    own = ciam.authorize_at_provider(start_sign_in(person, name), username="li")
    assert stolen
    assert own
    open_callback(person, own.replace(query_of(own)[code], query_of(stolen)[code]))

    assert person.user_id is None


@pytest.mark.parametrize("name", ["google", "apple", "feishu", "generic"])
def test_no_proof_is_sent_that_ciam_may_not_know(name: str, person: FormBrowser) -> None:
    query = query_of(start_sign_in(person, name))
    assert not {"nonce", "code_challenge", "code_challenge_method"} & set(query)
    sign_in_at(person, name)
    (request,) = [request for request in person.ciam.requests if request.stage == "social"]
    assert b"codeVerifier" not in request.body
    assert b"nonce" not in request.body


@pytest.mark.parametrize("name", PROVIDER_PAGES)
@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_each_provider_signs_a_user_in(person: FormBrowser, name: str) -> None:
    answer = sign_in_at(person, name)

    # A browser would keep WeChat's fragment if the URL had none.
    next_url = "/cart/#" if name.startswith("wechat") else "/cart/"
    assert (answer.status_code, answer["Location"]) == (302, next_url)
    assert CiamIdentity.objects.get(user_id=person.user_id or 0).provider == name
    requests = [request for request in person.ciam.requests if request.stage == "social"]
    assert len(requests) == 1
    assert f'"source_{name.replace("-", "_")}"'.encode() in requests[0].body


PROVIDERS_WITH_REFUSALS = [
    name for name, row in PROVIDER_PAGES.items() if row.refusal_parameters is not None
]


@pytest.mark.parametrize("name", PROVIDERS_WITH_REFUSALS)
def test_a_cancelled_sign_in_shows_a_neutral_notice_once_at_the_login_page(
    person: FormBrowser, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    answer = sign_in_at(person, name, cancel=True)
    page = answer.content.decode()

    assert answer.status_code == 200
    assert "Ciam-Error-Code" not in answer
    assert 'role="status"><p>Sign-in was cancelled. Try again' in page
    assert 'role="alert"' not in page
    assert "No access" not in page
    assert 'name="username"' in page
    assert 'name="next" value="/cart/"' in page
    assert person.user_id is None
    assert "code=access_denied" in caplog.text
    assert "stage=social " in caplog.text
    # The notice is shown once.
    assert 'role="status"' not in person.open_page("/ciam/login/").content.decode()


def test_an_error_of_the_provider_is_logged_with_its_code_and_its_stage(
    person: FormBrowser, caplog: pytest.LogCaptureFixture
) -> None:
    state_value = query_of(start_sign_in(person, "qq"))["state"]
    address = f"/ciam/with/qq/callback/?state={state_value}&error=temporarily_unavailable"
    answer = open_callback(person, address)

    assert answer["Ciam-Error-Code"] == "temporarily_unavailable"
    assert "code=temporarily_unavailable " in caplog.text
    assert "stage=social " in caplog.text


def test_a_refusal_by_ciam_is_no_cancel(person: FormBrowser) -> None:
    answer = sign_in_at(person, "qq", "fail:access_denied")

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (403, "access_denied")
    notice = answer.content.decode().partition("<h1")[0]
    assert "<strong>No access</strong>" in notice
    assert "cancelled" not in notice
    assert answer["Ciam-Request-Id"] in notice
    # The notice has no link to the page that the user sees already.
    assert 'href="/ciam/login/' not in notice


def test_the_login_page_in_an_app_offers_to_copy_its_address(person: FormBrowser) -> None:
    agent = {"User-Agent": IN_APP["Facebook"]}
    page = person.client.get("/ciam/login/?next=/cart/%3Fa%3D1", headers=agent).content.decode()

    assert "To sign in with Google, open this page in your browser." in page
    address = "http://testserver/ciam/login/?next=%2Fcart%2F%3Fa%3D1"
    assert f'data-ciam-copy="{address}"' in page
    assert "/ciam/with/google/" not in page
    page = person.client.get("/ciam/login/?next=/cart/").content.decode()
    assert "open this page in your browser" not in page
    assert "/ciam/with/google/" in page


OTHER_NAMES = ["weibo", "dingtalk", "feishu", "apple", "google", "generic"]
IN_APP_NAMES = ["weibo", "dingtalk", "feishu", "apple", "generic"]
OPEN_WECHAT = "To sign in with WeChat, open this page in WeChat."
# The User-Agent -> the button above the form, the marks, the other buttons, and the advice.
BUTTONS: dict[str, tuple[str, list[str], list[str], list[str]]] = {
    BROWSERS["Firefox"]: ("", ["wechat-website", "qq", "alipay"], OTHER_NAMES, []),
    BROWSERS["Safari"]: ("", ["qq", "alipay"], OTHER_NAMES, [OPEN_WECHAT]),
    IN_APP["WeChat on iOS"]: (
        "wechat-in_app",
        ["qq"],
        IN_APP_NAMES,
        ["To sign in with Alipay or Google, open this page in your browser."],
    ),
    **{
        IN_APP[app]: (
            app.lower(),
            [name for name in ("qq", "alipay") if name != app.lower()],
            [name for name in IN_APP_NAMES if name != app.lower()],
            [OPEN_WECHAT, "To sign in with Google, open this page in your browser."],
        )
        for app in ("Alipay", "QQ", "Weibo", "DingTalk")
    },
}


def test_each_browser_gets_the_buttons_that_work_there_and_a_link_to_copy_for_others(
    person: FormBrowser,
) -> None:
    for agent, buttons in BUTTONS.items():
        page = person.client.get("/ciam/login/", headers={"User-Agent": agent}).content.decode()
        assert shown_buttons(page) == buttons, agent
        assert ("data-ciam-copy" in page) is bool(buttons[3])


def shown_buttons(page: str) -> tuple[str, list[str], list[str], list[str]]:
    names = r'formaction="/ciam/with/([^/]*)/"'
    above, _, below = page.partition("data-ciam-tabs")
    marks, _, others = below.partition("ciam-grid")
    advice = re.findall(r"<span>(To sign in with .*?)</span>", below)
    first = "".join(re.findall(names, above))
    return first, re.findall(names, marks), re.findall(names, others), advice


def test_the_others_are_closed_only_below_marks(person: FormBrowser, settings: Settings) -> None:
    assert "<details" in person.open_page("/ciam/login/").content.decode()
    rows = settings.CIAM_SOCIAL_PROVIDERS
    settings.CIAM_SOCIAL_PROVIDERS = {"weibo": rows["weibo"]}
    page = person.open_page("/ciam/login/").content.decode()
    assert 'formaction="/ciam/with/weibo/"' in page
    assert "<details" not in page


@pytest.mark.parametrize(
    ("last", "methods", "first", "dividers"),
    [
        ("", ["password", "hosted"], "", ["or with"]),
        ("", ["password"], "", ["or with"]),
        ("", ["hosted"], "", ["or with"]),
        ("hosted", ["password", "hosted"], "Continue to sign in", ["or", "or with"]),
        ("hosted", ["hosted"], "", ["or with"]),
        ("qq", ["password", "hosted"], "Sign in with QQ", ["or", "or with"]),
        ("qq", ["hosted"], "Sign in with QQ", ["or", "or with"]),
        ("weibo", ["password"], "Sign in with Weibo", ["or", "or with"]),
    ],
)
def test_the_button_of_the_last_sign_in_is_above_the_form(
    last: str, methods: list[str], first: str, dividers: list[str], settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = methods
    client, response = Client(headers={"Accept": HTML}), HttpResponse()
    remember_browser(RequestFactory().get("/"), response, method=last)
    client.cookies = response.cookies
    page = client.get("/ciam/login/").content.decode()

    assert re.findall(r'ciam-or"><span>(.*?)</span>', page) == dividers
    above = page.partition("data-ciam-tabs")[0]
    assert ("Last used" in above) is ("ciam-first" in above) is bool(first)
    assert first in above
    assert page.count(">Continue to sign in") == (
        1 if methods == ["hosted"] or first == "Continue to sign in" else 0
    )
    # With the focus, the keyboard of a phone would hide the button above the form.
    assert ("autofocus" in page) is ("password" in methods and not first)


@for_each_row(
    "agent, methods, parts",
    [
        # The button to CIAM's page is the last button below a form, and the first without a form.
        (BROWSERS["Firefox"], ["password", "hosted"], ["ciam-marks", "More sign-in options"]),
        (BROWSERS["Firefox"], ["hosted"], ["Continue to sign in", "ciam-marks"]),
        (
            BROWSERS["Safari"],
            ["password", "hosted"],
            ["ciam-marks", "More sign-in options", "ciam-elsewhere"],
        ),
        (BROWSERS["Safari"], ["hosted"], ["Continue to sign in", "ciam-marks", "ciam-elsewhere"]),
    ],
)
def test_the_ways_to_sign_in_have_one_order(
    agent: str, methods: list[str], parts: list[str], settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = methods
    headers = {"Accept": HTML, "User-Agent": agent}
    page = Client(headers=headers).get("/ciam/login/").content.decode()

    every = ["ciam-marks", "More sign-in options", "Continue to sign in", "ciam-elsewhere"]
    shown = [part for part in every if f"{part}<" in page or f'class="{part}"' in page]
    assert sorted(shown, key=page.index) == parts


@pytest.mark.parametrize("is_on", [False, True])
def test_only_the_setting_loads_the_script_of_wechats_qr_code(
    is_on: bool, person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_WECHAT_QR = is_on
    page = person.open_page("/ciam/login/").content.decode()

    assert ('data-ciam-qr="https://res.wx.qq.com/' in page) is is_on
    assert ('src="/static/ciam_django/wechat_qr.js"' in page) is is_on
    assert ("data-ciam-qr-dialog" in page) is is_on
    in_wechat = {"User-Agent": IN_APP["WeChat on iOS"]}
    page = person.client.get("/ciam/login/", headers=in_wechat).content.decode()
    assert "data-ciam-qr" not in page


def test_a_new_wechat_sign_in_works_after_a_refusal_at_the_qr_code(person: FormBrowser) -> None:
    url = start_sign_in(person, "wechat-website")

    assert url.endswith("#wechat_redirect")
    assert person.ciam.authorize_at_provider(url.partition("#")[0], cancel=True) is None
    assert sign_in_at(person, "wechat-website").status_code == 302


def test_wechats_state_has_only_letters_and_digits(person: FormBrowser) -> None:
    assert query_of(start_sign_in(person, "wechat-in_app").partition("#")[0])["state"].isalnum()


def test_a_code_is_refused_at_the_callback_of_another_provider(person: FormBrowser) -> None:
    callback = person.ciam.authorize_at_provider(start_sign_in(person, "qq"))
    assert callback
    answer = open_callback(person, callback.replace("/with/qq/", "/with/weibo/"))

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert [r for r in person.ciam.requests if r.stage == "social"] == []


def test_a_repeated_callback_redirects_without_a_second_request_until_the_logout(
    person: FormBrowser,
) -> None:
    callback = person.ciam.authorize_at_provider(start_sign_in(person, "qq"))
    assert callback
    open_callback(person, callback)
    user_id = person.user_id
    answer = open_callback(person, callback)

    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert person.user_id == user_id
    assert len([r for r in person.ciam.requests if r.stage == "social"]) == 1

    person.client.logout()
    assert open_callback(person, callback)["Ciam-Error-Code"] == "mismatching_state"


def copy_with_state_cookies(person: FormBrowser) -> FormBrowser:
    """Return a new browser that has only the current state cookies of ``person``."""
    copy = FormBrowser(person.ciam)
    for name in state_cookie_names(person.client.cookies):
        copy.client.cookies[name] = person.client.cookies[name].value
    return copy


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_a_second_callback_continues_the_session_of_the_first_callback(
    person: FormBrowser,
) -> None:
    callback = person.ciam.authorize_at_provider(start_sign_in(person, "wechat-in_app"))
    assert callback
    # The browser never gets the first response.
    second = copy_with_state_cookies(person)
    open_callback(person, callback)
    answer = open_callback(second, callback)

    assert (answer.status_code, answer["Location"]) == (302, "/cart/#")
    assert second.client.session.session_key == person.client.session.session_key
    assert len([r for r in person.ciam.requests if r.stage == "social"]) == 1
    assert CiamSession.objects.count() == 1


@pytest.mark.parametrize("is_first_lost", [True, False])
def test_a_second_callback_continues_with_the_step_of_the_first_callback(
    person: FormBrowser, is_first_lost: bool
) -> None:
    callback = person.ciam.authorize_at_provider(start_sign_in(person, "qq"), username="stranger")
    assert callback
    second = copy_with_state_cookies(person)
    open_callback(person, callback)
    address = person.response.request["PATH_INFO"]
    open_callback(second, callback)
    assert second.response.request["PATH_INFO"] == address
    browser = second if is_first_lost else person

    browser.submit_form(do="create")
    assert browser.user_id


def test_a_second_callback_shows_the_failure_of_the_first_callback(person: FormBrowser) -> None:
    callback = person.ciam.authorize_at_provider(start_sign_in(person, "qq"), username="locked")
    assert callback
    second = copy_with_state_cookies(person)
    answers = [open_callback(browser, callback) for browser in (person, second)]

    for answer in answers:
        assert answer["Ciam-Error-Code"] == "Operation.Failure.User.Locked"
        assert answer["Ciam-Request-Id"] == answers[0]["Ciam-Request-Id"]
    assert len([r for r in person.ciam.requests if r.stage == "social"]) == 1


def test_a_callback_in_another_browser_is_refused(person: FormBrowser) -> None:
    callback = person.ciam.authorize_at_provider(start_sign_in(person, "qq"))
    assert callback
    victim = FormBrowser(person.ciam)
    answer = open_callback(victim, callback)

    assert answer["Ciam-Error-Code"] == "mismatching_state"
    assert victim.user_id is None


def test_a_late_callback_shows_that_the_state_has_expired(
    person: FormBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = person.ciam.authorize_at_provider(start_sign_in(person, "qq"))
    assert callback
    monkeypatch.setattr(state, "STATE_SECONDS", -1)

    assert "more than 10 minutes" in open_callback(person, callback).content.decode()


def test_a_social_sign_in_continues_with_the_second_step_that_ciam_requires(
    person: FormBrowser,
) -> None:
    sign_in_at(person, "qq", "careful")
    assert person.title == "Verify it&#x27;s you"


@pytest.mark.parametrize(
    "recipient", [{"receiver": "138 0000 1234"}, {"receiver": "li@example.com"}]
)
def test_a_social_account_is_linked_by_a_code(
    person: FormBrowser, recipient: dict[str, str]
) -> None:
    sign_in_at(person, "qq", "stranger")
    assert person.title == "Link your account"
    link_page = person.response.wsgi_request.path
    code_page = person.submit_form(**recipient)
    # The recipient can be changed, and the same recipient leads to the page of the code again.
    assert f'href="{link_page}">Change ' in code_page.content.decode()
    assert 'name="receiver"' in person.open_page(link_page).content.decode()
    assert person.submit_form(**recipient).wsgi_request.path == code_page.wsgi_request.path
    answer = person.submit_form(code=CODE)

    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert CiamIdentity.objects.get(user_id=person.user_id or 0).provider == "qq"


def test_a_social_account_without_an_account_at_ciam_can_create_an_account(
    person: FormBrowser,
) -> None:
    sign_in_at(person, "qq", "stranger")
    answer = person.submit_form(do="create")

    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert CiamIdentity.objects.get(user_id=person.user_id or 0).provider == "qq"


@pytest.mark.parametrize(
    ("username", "status", "code"),
    [
        ("unlinked", 409, "Operation.Failure.Social.User.Not.Bind"),
        ("locked", 403, "Operation.Failure.User.Locked"),
        ("fail:Operation.Failure.Social.Login", 400, "Operation.Failure.Social.Login"),
        ("fail:Service.Internal.Error", 503, "Service.Internal.Error"),
    ],
)
def test_a_failure_is_shown_at_the_login_page(
    person: FormBrowser, username: str, status: int, code: str
) -> None:
    answer = sign_in_at(person, "qq", username)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (status, code)
    page = answer.content.decode()
    assert 'role="alert"' in page
    assert answer["Ciam-Request-Id"] in page
    assert 'name="username"' in page
    assert person.user_id is None


def test_an_error_of_the_provider_is_answered_with_its_code(person: FormBrowser) -> None:
    callback = query_of(start_sign_in(person, "qq"))["redirect_uri"]
    current_state = query_of(start_sign_in(person, "qq"))["state"]
    query = f"state={current_state}&error=temporarily_unavailable&x=<b>"
    answer = open_callback(person, f"{callback}?{query}")

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (503, "temporarily_unavailable")
    current_state = query_of(start_sign_in(person, "qq"))["state"]
    answer = open_callback(person, f"{callback}?state={current_state}&error=%3Cb%3E")
    assert answer["Ciam-Error-Code"] == "oauth_error"


def test_a_failure_at_the_callback_is_json_for_a_client_that_accepts_json(
    person: FormBrowser,
) -> None:
    callback = person.ciam.authorize_at_provider(start_sign_in(person, "qq"), username="locked")
    assert callback
    person.client.defaults["HTTP_ACCEPT"] = "application/json"
    answer = open_callback(person, callback)

    assert (answer.status_code, answer.json()["code"]) == (403, "Operation.Failure.User.Locked")


@pytest.mark.parametrize("name", ["unknown", "wechat-mini_program", "company"])
def test_a_provider_without_a_complete_web_registration_is_not_found(
    person: FormBrowser, settings: Settings, name: str
) -> None:
    mini = {"mini_program": {"app_id": "1", "source": "s"}}
    settings.CIAM_SOCIAL_PROVIDERS = {"wechat": mini, "company": {"provider": "generic"}}

    assert person.client.get(f"/ciam/with/{name}/callback/").status_code == 404
    person.open_page("/ciam/login/")
    token = person.client.cookies["csrftoken"].value
    answer = person.client.post(f"/ciam/with/{name}/", {"csrfmiddlewaretoken": token})
    assert answer.status_code == 404


def test_a_front_end_gets_the_addresses_of_the_provider_and_of_ciam_as_json(
    person: FormBrowser,
) -> None:
    login_methods = person.client.get("/ciam/api/").json()
    (weibo,) = [row for row in login_methods["providers"] if row["name"] == "weibo"]
    assert weibo == {
        "name": "weibo",
        "label": "Weibo",
        "url": "/ciam/with/weibo/",
        "icon": None,
        "group": "other",
    }

    for address in (weibo["url"], reverse("ciam:authorize")):
        answer = person.client.post(
            address,
            {"next": "/cart/", "consent": AGREED},
            headers={"Accept": "application/json", "X-CSRFToken": login_methods["csrf_token"]},
        )
        assert answer.json()["status"] == "redirect"
        assert answer["Cache-Control"] == "no-store"
        url = answer.json()["url"]
        callback = (
            person.ciam.authorize(url) if "oauth" in url else person.ciam.authorize_at_provider(url)
        )
        assert callback
        assert open_callback(person, callback)["Location"] == "/cart/"
        person.client.logout()
        login_methods = person.client.get("/ciam/api/").json()


def test_a_start_without_a_csrf_token_is_refused(person: FormBrowser) -> None:
    answer = person.client.post("/ciam/with/qq/")

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (403, "csrf_failed")


def test_the_login_page_offers_the_providers_that_work_in_the_browser(person: FormBrowser) -> None:
    page = person.open_page("/ciam/login/?next=/cart/").content.decode()

    assert ">Weibo</button>" in page
    assert 'action="/ciam/with/wechat-website/"' in page
    assert "wechat-in_app" not in page

    phone = {"User-Agent": "Mozilla/5.0 (Linux; Android 15) Mobile"}
    page = person.client.get("/ciam/login/", headers=phone).content.decode()
    assert "open this page in WeChat" in page
    assert "wechat-website" not in page


# --- The limit of attempts --------------------------------------------------------------------


def test_guessed_codes_of_a_provider_are_limited_before_ciam_is_asked(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_TRY_LIMITS = {"address": ("2/min",)}
    for _ in range(4):
        state_value = query_of(start_sign_in(person, "qq"))["state"]
        answer = open_callback(person, f"/ciam/with/qq/callback/?code=guess&state={state_value}")

    assert answer["Ciam-Error-Code"] == "too_many_requests"
    assert len([r for r in person.ciam.requests if r.stage == "social"]) == 2


def test_failures_at_a_provider_stop_no_other_account(
    person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_TRY_LIMITS = {"receiver": ("1/hour",)}
    for _ in range(3):
        state_value = query_of(start_sign_in(person, "qq"))["state"]
        answer = open_callback(person, f"/ciam/with/qq/callback/?code=guess&state={state_value}")
        assert answer["Ciam-Error-Code"] != "too_many_requests"


# --- A callback that the browser posts --------------------------------------------------------


@pytest.fixture
def apple(settings: Settings) -> None:
    rows = settings.CIAM_SOCIAL_PROVIDERS
    settings.CIAM_SOCIAL_PROVIDERS = {**rows, "apple": {**rows["apple"], "scope": "name email"}}


def post_from_apple(
    person: FormBrowser,
    username: str = "li",
    *,
    cancel: bool = False,
    changed: Mapping[str, str] | None = None,
) -> Any:
    """Sign in at Apple, post its form without cookies as a browser does, and return the answer."""
    url = start_sign_in(person, "apple")
    address, fields = person.ciam.post_at_provider(url, username=username, cancel=cancel)
    path = urlsplit(address).path
    form = urlencode({**fields, **(changed or {})})
    return Client(enforce_csrf_checks=True).post(path, form, content_type=FORM)


def name_of_user(person: FormBrowser) -> str:
    return User.objects.get(pk=person.user_id or 0).get_full_name()


@pytest.mark.usefixtures("apple")
@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_apple_posts_the_callback_and_the_name_of_a_new_user(
    person: FormBrowser, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    # The id_token of the fake has a name, which has precedence.
    full_name = {"oidc": "Wang", "ciam": "Apple wang"}[mode]
    caplog.set_level("DEBUG")
    answer = post_from_apple(person, "wang")

    assert answer.status_code == 303
    assert (answer["Cache-Control"], answer["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert not answer.cookies
    assert set(query_of(answer["Location"])) == {"state", "code", "user"}
    assert "wang" not in answer["Location"]
    assert open_callback(person, answer["Location"])["Location"] == "/cart/"
    assert name_of_user(person) == full_name
    assert "Apple" not in caplog.text
    # Apple tells the name once, and the user keeps it.
    again = post_from_apple(person, "wang")
    assert set(query_of(again["Location"])) == {"state", "code"}
    open_callback(person, again["Location"])
    assert name_of_user(person) == full_name


@pytest.mark.usefixtures("apple")
def test_the_name_reaches_the_user_over_the_steps_of_the_sign_in(person: FormBrowser) -> None:
    open_callback(person, post_from_apple(person, "stranger_wang")["Location"])
    person.submit_form(receiver="138 0000 1234")
    person.submit_form(code=CODE)

    assert name_of_user(person) == "Apple stranger_wang"


@pytest.mark.usefixtures("apple")
def test_a_cancel_at_apple_is_a_neutral_notice(person: FormBrowser) -> None:
    answer = post_from_apple(person, cancel=True)
    page = open_callback(person, answer["Location"]).content.decode()

    assert 'role="status"><p>' in page
    assert person.user_id is None


@pytest.mark.usefixtures("apple")
@pytest.mark.parametrize(
    ("changed", "parameters"),
    [
        ({"state": "x" * 48}, set()),
        ({"state": ""}, set()),
        ({"code": "a b"}, {"state", "user"}),
        ({"code": "c" * 2049}, {"state", "user"}),
        ({"error": "<b>Call 555</b>"}, {"state", "code", "user", "error"}),
        ({"error": "Your.account.is.locked"}, {"state", "code", "user", "error"}),
        ({"user": "{"}, {"state", "code"}),
        ({"user": "[" * 3000}, {"state", "code"}),
        ({"user": '{"name": "Li"}'}, {"state", "code"}),
        ({"next": "https://evil.example/", "id_token": "x"}, {"state", "code", "user"}),
    ],
)
def test_only_parameters_in_their_form_pass_from_a_post(
    person: FormBrowser, changed: dict[str, str], parameters: set[str]
) -> None:
    answer = post_from_apple(person, changed=changed)

    assert answer.status_code == 303
    query = query_of(answer["Location"])
    assert set(query) == parameters
    assert urlsplit(answer["Location"]).path == "/ciam/with/apple/callback/"
    assert query.get("error", "oauth_error") == "oauth_error"
    assert "evil" not in answer["Location"]


@pytest.mark.usefixtures("apple")
@for_each_row(
    "error",
    [
        # RFC 6749, section 4.1.2.1.
        "invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type",
        "invalid_scope", "server_error", "temporarily_unavailable",
        # OpenID Connect Core 1.0, section 3.1.2.6.
        "interaction_required", "login_required", "account_selection_required",
        "consent_required",
        # Apple's own.
        "user_cancelled_authorize",
    ],
)  # fmt: skip
def test_an_error_of_a_standard_passes_from_a_post(client: Client, error: str) -> None:
    path = "/ciam/with/apple/callback/"
    answer = client.post(path, f"state=ab&error={error}", content_type=FORM)

    assert query_of(answer["Location"]) == {"state": "ab", "error": error}


@pytest.mark.usefixtures("apple")
def test_a_post_is_refused_from_other_providers_and_above_its_size(client: Client) -> None:
    apple, qq = "/ciam/with/apple/callback/", "/ciam/with/qq/callback/"

    refused = client.post(qq, "state=a", content_type=FORM)
    assert (refused.status_code, refused["Allow"]) == (405, "GET")
    assert client.post(apple, "user=" + "x" * 17_000, content_type=FORM).status_code == 400
    # A form with files is not parsed.
    assert client.post(apple, {"state": "a"})["Location"] == f"{apple}?"


@pytest.mark.usefixtures("apple")
def test_a_name_is_used_only_in_the_sign_in_that_it_was_told_for(person: FormBrowser) -> None:
    own = query_of(post_from_apple(person, "wang")["Location"])
    other = query_of(post_from_apple(FormBrowser(person.ciam), "evil")["Location"])
    query = urlencode({**own, "user": other["user"]})
    open_callback(person, f"/ciam/with/apple/callback/?{query}")

    assert person.user_id
    assert name_of_user(person) == ""
