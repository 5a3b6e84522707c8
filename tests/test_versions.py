"""Test that each version of the package reads what another version has stored.

During a deploy, requests reach the old and the new version in turn. A newer version may store
members that this version does not know. An older version may lack members that this version stores.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import include, path
from pytest_django.fixtures import Settings

from ciam_django.accounts import bearer, last_failure
from ciam_django.accounts.backends import name_digest
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import Tokens, decrypted_tokens
from ciam_django.client.app import ciam_app
from ciam_django.client.cache import get_cached, set_cached
from ciam_django.client.cached_documents import cache_key
from ciam_django.client.crypto import fernet_for
from ciam_django.conf import clear_settings_caches
from ciam_django.errors import CiamError
from ciam_django.login.notices import notice_from_cookie, set_error_notice, set_success_notice
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE
from tests.browser import Browser
from tests.login.person import FormBrowser
from tests.login.test_api import App

pytestmark = pytest.mark.django_db

LATER: Final = {"later": {"a": [1]}}


def show_user(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username())


urlpatterns = [path("", show_user), path("ciam/", include("ciam_django.urls"))]


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


def rewritten(encrypted: str, purpose: str, change: Callable[[Any], Any]) -> str:
    """Return an encrypted text whose content another version has written."""
    fernet = fernet_for(purpose)
    content = change(json.loads(fernet.decrypt(encrypted)))
    return fernet.encrypt(json.dumps(content).encode()).decode()


def without(content: Mapping[str, Any], *names: str) -> dict[str, Any]:
    assert set(names) <= set(content)
    return {name: value for name, value in content.items() if name not in names}


# --- Sessions ---------------------------------------------------------------------------------

OPTIONAL_TOKENS: Final = ("refresh_token", "id_token", "refresh_from", "expires_at", "may_check")


def test_the_tokens_of_version_0_1_stay_readable() -> None:
    # With SECRET_KEY = "for tests only". A version that can't read this text ends all sessions.
    encrypted = (
        "gAAAAABrCNpuI3U42aEoixGsFqgr1yqobKm_agCF5rsBkRXeiw-yKwjWP7huVZAFq_2JdB5EL_CgpcGq8mr80OSX"
        "afTjY2Ah1IzU0L0LjJbeI0KsH8oawhls9GnwITo8BkUQDYeDeg9pIhDcDmRj-MpH-JN1dsgH52pxXuI6_CfuPJjh"
        "w2TxVATjceij_truUKmw8BsRn9mFaIV-n_HkB9aLhPDUeCrf9adB83wMVGBomnmTVNDQZ4lSCwT5MMaPFcuVG9M1"
        "qnwt"
    )

    assert decrypted_tokens(encrypted) == Tokens("k", "a", "r", "i", 1.5, 2.5, may_check=True)


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    browser.sign_in()
    return browser


def change_entry(browser: Browser, entry: object) -> None:
    session: SessionBase = browser.client.session
    session["ciam_session"] = entry
    session.save()


def entry_of(browser: Browser) -> dict[str, Any]:
    return dict(browser.client.session["ciam_session"])


@pytest.mark.parametrize(
    "change", [lambda tokens: {**tokens, **LATER}, lambda tokens: without(tokens, *OPTIONAL_TOKENS)]
)
@pytest.mark.parametrize("mode", ["oidc"])
def test_the_tokens_of_another_version_keep_the_session(
    change: Callable[[Any], Any], signed_in: Browser
) -> None:
    stored = CiamSession.objects.get()
    before = decrypted_tokens(stored.sealed)
    sealed = rewritten(stored.sealed, "ciam_django.accounts.tokens", change)
    CiamSession.objects.update(sealed=sealed)
    change_entry(signed_in, {**entry_of(signed_in), "look_at": 1})

    assert signed_in.client.get("/").content
    assert decrypted_tokens(sealed).access_token == before.access_token


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda entry: {**entry, **LATER}, 200),
        (lambda entry: without(entry, "look_at"), 200),
        (lambda entry: without(entry, "key"), 200),
        # These entries do not tell which session to check, so that the session ends.
        (lambda entry: without(entry, "id"), 401),
        (lambda entry: {**entry, "look_at": "soon"}, 401),
        (lambda entry: list(entry.values()), 401),
        (lambda entry: 7, 401),
    ],
)
@pytest.mark.parametrize("mode", ["oidc"])
def test_the_entry_of_another_version_in_the_session_is_no_500(
    change: Callable[[Any], Any], status: int, signed_in: Browser
) -> None:
    change_entry(signed_in, change(entry_of(signed_in)))

    assert signed_in.client.get("/").status_code == status
    assert bool(signed_in.user_id) is (status == 200)


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_session_with_an_unreadable_entry_can_be_signed_out(signed_in: Browser) -> None:
    change_entry(signed_in, 7)

    assert signed_in.client.post("/ciam/logout/").status_code == 302
    assert signed_in.user_id is None


# --- Sign-ins under way -----------------------------------------------------------------------


def rewrite_cookies(client: Client, kind: str, purpose: str, change: Callable[[Any], Any]) -> None:
    names = [name for name, morsel in client.cookies.items() if kind in name and morsel.value]
    assert names
    for name in names:
        client.cookies[name] = rewritten(client.cookies[name].value, purpose, change)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda state: {**state, **LATER}, 302),
        (lambda state: without(state, "link_to_user", "redirect_uri", "sign_in"), 302),
        (lambda state: without(state, "nonce"), 400),
        (lambda state: {**state, "next": None}, 400),
    ],
)
@pytest.mark.parametrize("mode", ["oidc"])
def test_the_state_of_another_version_is_read_or_absent(
    change: Callable[[Any], Any], status: int, browser: Browser
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    rewrite_cookies(browser.client, "state_", "ciam_django.login.state", change)

    assert browser.open_callback(callback).status_code == status
    assert bool(browser.user_id) is (status == 302)


FLOW_CHANGES: Final = [
    (lambda flow: {**flow, **LATER}, True),
    (lambda flow: without(flow, "padding", "sent_at", "masked_recipient"), True),
    (lambda flow: without(flow, "step"), False),
    (lambda flow: {**flow, "step": "palm"}, False),
    (lambda flow: {**flow, "recipient": "13800001234"}, False),
]


@pytest.mark.parametrize(("change", "is_read"), FLOW_CHANGES)
@pytest.mark.parametrize("mode", ["ciam"])
def test_the_flow_of_another_version_is_read_or_absent(
    change: Callable[[Any], Any], is_read: bool, person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["sms", "email"]
    person.open_page("/ciam/login/?method=sms")
    person.submit_form(phone_number="138 0000 1234")
    rewrite_cookies(person.client, "flow_", "ciam_django.login.steps.flow", change)
    person.submit_form(code=CODE)
    app = App()
    app.send("email", email="li@example.com")
    app.flow = rewritten(app.flow, "ciam_django.login.steps.flow", change)
    answer = app.send("code", code=CODE)

    assert bool(person.user_id) is bool(app.user_id) is is_read
    if not is_read:
        assert person.response["Ciam-Error-Code"] == "Operation.Failure.FId.Not.Found"
        assert answer["code"] == "Operation.Failure.FId.Not.Found"


@pytest.mark.parametrize(
    ("change", "has_answer"),
    [
        (lambda stored: {**stored, **LATER}, True),
        (lambda stored: without(stored, "stage", "request_id"), True),
        (lambda stored: {**stored, "stage": "palm"}, True),
        (lambda stored: without(stored, "code"), False),
        (lambda stored: 7, False),
    ],
)
def test_the_notice_of_another_version_is_read_or_absent(
    change: Callable[[Any], Any], has_answer: bool
) -> None:
    client, response = Client(), HttpResponse()
    request = RequestFactory().get("/")
    error = CiamError("account_inactive", stage="callback")
    set_error_notice(request, response, error, is_cancelled=False)
    client.cookies = response.cookies
    rewrite_cookies(
        client,
        "notice_",
        "ciam_django.login.notices",
        lambda content: {**content, **LATER, "error": change(content["error"])},
    )
    request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
    answer, text = notice_from_cookie(request)

    assert (answer.code if answer else None) == ("account_inactive" if has_answer else None)
    assert text == ""


def test_an_unknown_notice_of_a_success_shows_no_text() -> None:
    response, request = HttpResponse(), RequestFactory().get("/")
    set_success_notice(request, response, "palm_added")
    request.COOKIES = {name: morsel.value for name, morsel in response.cookies.items()}

    assert notice_from_cookie(request) == (None, "")


# --- The cache --------------------------------------------------------------------------------


def change_in_cache(key: str, change: Callable[[Any], Any]) -> None:
    value = get_cached(key)
    assert value is not None
    set_cached(key, change(value), seconds=60)


@pytest.mark.parametrize(
    ("change", "fetches"),
    [
        (lambda stored: {**stored, **LATER}, 1),
        (lambda stored: without(stored, "fresh_until"), 2),
        (lambda stored: {**stored, "document": {}}, 2),
        (lambda stored: list(stored.values()), 2),
        (lambda stored: "metadata", 2),
    ],
)
@pytest.mark.parametrize("mode", ["oidc"])
def test_the_metadata_of_another_version_in_the_cache_is_read_or_absent(
    change: Callable[[Any], Any], fetches: int, ciam: FakeCiam
) -> None:
    ciam_app().load_server_metadata()
    change_in_cache(cache_key(ciam.metadata_and_jwks_urls[0]), change)
    # Another process has only the copy in Django's cache.
    clear_settings_caches()

    assert ciam_app().load_server_metadata()["issuer"] == ciam.issuer
    assert [request.stage for request in ciam.requests].count("discovery") == fetches


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        (lambda grant: {**grant, **LATER}, 1),
        (lambda grant: {**grant, "person": {**grant["person"], **LATER}}, 1),
        (lambda grant: {**grant, "person": without(grant["person"], "provider")}, 1),
        (lambda grant: {**grant, "person": without(grant["person"], "subject")}, 2),
        (lambda grant: without(grant, "scopes"), 2),
        (lambda grant: {"code": 7}, 2),
        (lambda grant: "grant", 2),
    ],
)
@pytest.mark.parametrize("mode", ["ciam"])
def test_the_bearer_token_that_another_version_remembers_is_read_or_absent(
    change: Callable[[Any], Any], checks: int, ciam: FakeCiam
) -> None:
    token = sign_in_for_token(ciam)
    request = RequestFactory().get("/", headers={"authorization": f"Bearer {token}"})
    first = bearer.user_and_bearer(request)
    change_in_cache(bearer._cache_key(token), change)

    assert bearer.user_and_bearer(request) == first
    assert [r.path.rpartition("/")[2] for r in ciam.requests].count("check") == checks


def sign_in_for_token(ciam: FakeCiam) -> str:
    Browser(ciam).sign_in()
    (token,) = ciam.access_tokens
    return token


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda record: [{**record, **LATER}], ["invalid_grant"]),
        (lambda record: [without(record, "code"), record], ["invalid_grant"]),
        (lambda record: [[*record.values(), "more"]], []),
        (lambda record: record, []),
    ],
)
@pytest.mark.parametrize("mode", ["oidc"])
def test_the_last_failure_that_another_version_has_recorded_is_read_or_absent(
    change: Callable[[Any], Any], codes: list[str], browser: Browser
) -> None:
    browser.sign_in()
    identity = CiamIdentity.objects.get()
    digest = name_digest(identity.key)
    record = {"at": time.time(), "code": "invalid_grant", "request_id": "1"}
    set_cached(last_failure._cache_key(digest), change(record), seconds=60)

    assert [each.code for each in last_failure.last_failures_of(identity)] == codes
