"""Sessions end when CIAM refuses the person, and continue while CIAM is down."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.decorators import login_required
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, RequestFactory
from django.urls import include, path
from django.utils import timezone
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.session_check import refresh_or_end_session
from ciam_django.accounts.session_store import (
    Tokens,
    decrypted_tokens,
    encrypted_tokens,
    end_sessions,
    is_check_due,
)
from ciam_django.accounts.signals import signed_out
from ciam_django.client import CiamClient
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from ciam_django.tokens import access_token_of
from tests.browser import HTML, Browser

DISABLED = "Operation.Failure.User.Disabled"


def public(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user.is_authenticated))


def profile(request: HttpRequest) -> HttpResponse:
    return HttpResponse(CiamClient().user_info(access_token_of(request)).username)


urlpatterns = [
    path("", public),
    path("cart/", login_required(public)),
    path("profile/", profile),
    path("ciam/", include("ciam_django.urls")),
]


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    cache.clear()


@pytest.fixture
def person(browser: Browser, ciam: FakeCiam, settings: Settings) -> Browser:
    """A signed-in browser with tokens that CIAM's API accepts."""
    client = dict(settings.AUTHLIB_OAUTH_CLIENTS["ciam"])
    client["client_kwargs"] = {"scope": "openid USER_API"}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    assert browser.sign_in().status_code == 302
    return browser


def stored_tokens() -> Tokens:
    return decrypted_tokens(CiamSession.objects.active().get().sealed)


def change_tokens(browser: Browser, **changes: Any) -> None:
    """Change the stored tokens, and make the next check due."""
    tokens = stored_tokens()
    values = {name: getattr(tokens, name) for name in tokens.__dataclass_fields__} | changes
    CiamSession.objects.update(sealed=encrypted_tokens(Tokens(**values)))
    make_check_due(browser)


def make_check_due(browser: Browser) -> None:
    session = browser.client.session
    session["ciam_session"] = {**session["ciam_session"], "look_at": 1}
    session.save()


def make_tokens_due(browser: Browser) -> None:
    change_tokens(browser, refresh_from=1.0)


def expire_tokens(browser: Browser) -> None:
    change_tokens(browser, refresh_from=1.0, expires_at=2.0)


def stages(ciam: FakeCiam) -> list[str]:
    return [request.stage for request in ciam.requests]


# --- Stored tokens ----------------------------------------------------------------------------


def test_tokens_are_stored_encrypted_and_only_on_the_server(
    person: Browser, ciam: FakeCiam
) -> None:
    tokens = stored_tokens()
    assert {tokens.access_token} == set(ciam.access_tokens)
    assert {tokens.refresh_token} == set(ciam.refresh_tokens)

    visible_text = json.dumps(list(CiamSession.objects.values()), default=str)
    visible_text += json.dumps(dict(person.client.session.items()))
    visible_text += "".join(str(cookie) for cookie in person.client.cookies.values())
    session_key = str(person.client.session.session_key)
    for secret in (tokens.access_token, tokens.refresh_token):
        assert secret not in visible_text
    assert session_key not in json.dumps(list(CiamSession.objects.values()), default=str)
    assert "t-1" not in repr(Tokens("k", access_token="t-1", refresh_token="t-1", id_token="t-1"))


def test_a_rotated_secret_key_still_decrypts_the_tokens(
    person: Browser, settings: Settings
) -> None:
    before = stored_tokens()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]

    assert stored_tokens() == before


def test_unreadable_tokens_end_the_session(person: Browser, settings: Settings) -> None:
    CiamSession.objects.update(sealed="not encrypted tokens")
    make_check_due(person)

    assert person.client.get("/").status_code == 401
    assert person.client.get("/").content == b"False"


def test_a_project_can_store_no_tokens(browser: Browser, settings: Settings, mode: str) -> None:
    settings.CIAM_KEEP_TOKENS = False
    browser.sign_in()

    assert (
        stored_tokens().access_token,
        stored_tokens().refresh_token,
        stored_tokens().id_token,
    ) == ("", "", "")
    assert stored_tokens().session_key == browser.client.session.session_key
    answer = browser.client.get("/profile/", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")


def test_an_id_token_is_stored_only_in_oidc_mode(person: Browser, mode: str) -> None:
    assert bool(stored_tokens().id_token) == (mode == "oidc")


def test_a_second_sign_in_replaces_the_session(person: Browser) -> None:
    active_sessions = CiamSession.objects.active()
    first = active_sessions.get().pk
    person.sign_in()
    assert active_sessions.get().pk != first
    person.sign_in("wang")

    assert active_sessions.get().identity.user_id == int(person.user_id or 0)
    assert stored_tokens().session_key == person.client.session.session_key


def test_the_check_of_a_session_deletes_the_users_earlier_session_that_has_ended(
    person: Browser, ciam: FakeCiam
) -> None:
    ended = CiamSession.objects.get()
    CiamSession.objects.update(ends_at="2000-01-01T00:00:00Z")
    later, of_other_user = Browser(ciam), Browser(ciam)
    later.sign_in()
    of_other_user.sign_in("wang")
    make_check_due(later)
    later.client.get("/")
    # Django has extended the session of the other browser.
    assert CiamSession.objects.count() == 3
    person.client.session.delete()
    make_check_due(later)
    later.client.get("/")

    assert CiamSession.objects.count() == 2
    assert not CiamSession.objects.filter(pk=ended.pk).exists()


def test_the_check_of_a_session_does_not_end_the_users_other_sessions(
    person: Browser, ciam: FakeCiam
) -> None:
    newer = Browser(ciam)
    newer.sign_in()
    assert CiamSession.objects.active().count() == 2
    make_check_due(newer)
    assert newer.client.get("/").content == b"True"

    assert CiamSession.objects.active().count() == 2
    make_check_due(person)
    assert person.client.get("/").content == b"True"


def test_the_row_of_a_session_stays_after_the_logout_without_tokens_and_sid(
    person: Browser,
) -> None:
    person.client.post("/ciam/logout/")
    ended = CiamSession.objects.get()

    assert (ended.sealed, ended.sid_key) == ("", "")
    assert ended.created_at <= ended.ends_at <= timezone.now()


def test_a_later_end_of_the_session_is_stored(person: Browser, settings: Settings) -> None:
    before = CiamSession.objects.get().ends_at
    settings.SESSION_COOKIE_AGE *= 2
    make_check_due(person)
    person.client.get("/")

    assert CiamSession.objects.get().ends_at > before


# --- Refresh ----------------------------------------------------------------------------------


def test_ciam_is_not_asked_before_a_check_is_due(
    person: Browser, ciam: FakeCiam, django_assert_num_queries: Callable[..., Any]
) -> None:
    before = len(ciam.requests)
    # One query for the session, and one query for the user.
    with django_assert_num_queries(2):
        assert person.client.get("/").content == b"True"

    assert len(ciam.requests) == before


def test_tokens_are_refreshed_before_they_expire(person: Browser, ciam: FakeCiam) -> None:
    before = stored_tokens()
    make_tokens_due(person)
    assert person.client.get("/").content == b"True"

    after = stored_tokens()
    assert stages(ciam).count("refresh") == 1
    assert after.access_token != before.access_token
    assert after.refresh_token in ciam.refresh_tokens
    assert after.expires_at > time.time()
    assert person.client.get("/").content == b"True"
    assert stages(ciam).count("refresh") == 1


@pytest.mark.parametrize("behaviour", ["reset", "html", "no_token", "errcode"])
def test_a_failed_refresh_keeps_the_old_tokens(
    person: Browser, ciam: FakeCiam, behaviour: str
) -> None:
    make_tokens_due(person)
    before = stored_tokens()
    ciam.misbehave("refresh", behaviour)
    assert person.client.get("/").content == b"True"

    assert stored_tokens() == before
    # The next check does not ask CIAM again. After the back-off, a refresh succeeds.
    make_check_due(person)
    assert person.client.get("/").content == b"True"
    assert stages(ciam).count("refresh") == 1
    cache.clear()
    make_check_due(person)
    assert person.client.get("/").content == b"True"
    assert stored_tokens() != before


@pytest.mark.parametrize(
    ("code", "status"),
    [("Operation.Failure", 500), ("invalid_client", 401), ("Resource.NotFound", 404)],
)
def test_a_failure_of_ciam_or_of_the_site_ends_no_session(
    person: Browser, ciam: FakeCiam, code: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    expire_tokens(person)
    ciam.fail("refresh", code=code, status=status, times=None)
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    with caplog.at_level(logging.INFO, "ciam_django"):
        assert person.client.get("/", headers=headers).content == b"True"

    lines = [vars(record) for record in caplog.records]
    assert [line["ciam_event"] for line in lines] == ["refresh_failed", "failed"]
    assert {line["ciam_trace_id"] for line in lines} == {trace_id}
    assert all(line["ciam_ms"] is not None for line in lines)
    # A view that needs the access token fails, because the token has expired.
    answer = person.client.get("/profile/")
    assert answer.status_code in (500, 503)
    assert person.client.get("/").content == b"True"


@pytest.mark.parametrize(
    "answer", [{"userId": "somebody-else"}, {"sub": "somebody-else"}, {"uuid": 7}], ids=str
)
def test_a_session_whose_token_belongs_to_another_person_ends(
    answer: dict[str, Any], person: Browser, ciam: FakeCiam
) -> None:
    make_check_due(person)
    assert person.client.get("/").content == b"True"

    ciam.token_check = answer
    make_check_due(person)
    person.client.get("/")
    assert person.user_id is None


def test_an_inactive_access_token_is_replaced_by_a_refresh(person: Browser, ciam: FakeCiam) -> None:
    before = stored_tokens()
    ciam.token_check = {"active": False}
    make_check_due(person)

    assert person.client.get("/").content == b"True"
    assert stored_tokens().access_token != before.access_token


def test_a_person_whose_refresh_fails_does_not_stop_the_checks_of_others(
    person: Browser, ciam: FakeCiam
) -> None:
    make_tokens_due(person)
    ciam.fail("refresh", code="consent_required")
    assert person.client.get("/").content == b"True"

    other = Browser(ciam)
    other.sign_in("wang")
    make_check_due(other)
    before = stages(ciam).count("api")
    assert other.client.get("/").content == b"True"
    assert stages(ciam).count("api") == before + 1


@pytest.mark.parametrize("code", ["invalid_grant", DISABLED, "Operation.Failure.User.Not.Exist"])
@pytest.mark.parametrize("age_tokens", [make_tokens_due, expire_tokens])
def test_a_person_whose_refresh_is_refused_is_signed_out(
    person: Browser,
    ciam: FakeCiam,
    code: str,
    age_tokens: Callable[[Browser], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    age_tokens(person)
    ciam.fail("refresh", code=code, text="upstream words")
    with caplog.at_level(logging.INFO, "ciam_django"):
        answer = person.client.get("/cart/", headers={"Accept": "application/json"})

    body = answer.json()
    assert (answer.status_code, body["code"], body["action"]) == (401, "session_ended", "login")
    assert f"type_code={code}" in caplog.text
    assert "upstream words" not in answer.content.decode()
    assert person.user_id is None
    assert not CiamSession.objects.active().exists()
    # A public page has the status 401 only once.
    assert person.client.get("/").content == b"False"


@pytest.mark.parametrize(
    ("headers", "next_url"),
    [
        ({}, "%2Fcart%2F%3Fa%3D1"),
        # htmx shows a part of the page that has sent the request.
        ({"HX-Request": "true", "Referer": "http://testserver/shop/"}, "%2Fshop%2F"),
    ],
)
def test_the_page_of_an_ended_session_links_to_the_login_page(
    person: Browser, ciam: FakeCiam, headers: dict[str, str], next_url: str
) -> None:
    expire_tokens(person)
    ciam.fail("refresh", code="invalid_grant")
    page = person.client.get("/cart/?a=1", headers=headers)

    assert page.status_code == 401
    assert "You have been signed out." in page.content.decode()
    assert f'href="/ciam/login/?next={next_url}"' in page.content.decode()


def test_a_callback_succeeds_although_the_old_session_ends(person: Browser, ciam: FakeCiam) -> None:
    callback = person.sign_in_at_ciam(person.start_sign_in())
    expire_tokens(person)
    ciam.fail("refresh", code="invalid_grant")
    answer = person.open_callback(callback)

    assert (answer.status_code, answer["Location"]) == (302, "/accounts/profile/")
    assert person.client.get("/").content == b"True"


def test_the_first_request_after_the_end_of_a_session_has_401_also_for_an_unknown_url(
    person: Browser, ciam: FakeCiam
) -> None:
    expire_tokens(person)
    ciam.fail("refresh", code="invalid_grant")

    assert person.client.get("/nowhere/").status_code == 401
    assert person.client.get("/nowhere/").status_code == 404


def test_a_post_request_gets_a_login_link_without_next(person: Browser, ciam: FakeCiam) -> None:
    expire_tokens(person)
    ciam.fail("refresh", code="invalid_grant")
    page = person.client.post("/cart/", {"card": "1"})

    assert page.status_code == 401
    assert 'href="/ciam/login/"' in page.content.decode()


def test_a_session_continues_with_an_expired_token_that_cannot_be_refreshed(
    person: Browser, ciam: FakeCiam
) -> None:
    change_tokens(person, refresh_token="", refresh_from=1.0, expires_at=2.0)

    assert person.client.get("/").content == b"True"
    assert stages(ciam).count("refresh") == 0
    assert person.client.get("/profile/").status_code == 401
    assert person.client.get("/").content == b"True"


def test_tokens_of_unknown_lifetime_are_not_refreshed(person: Browser, ciam: FakeCiam) -> None:
    change_tokens(person, refresh_from=0.0, expires_at=0.0)

    assert person.client.get("/profile/").content == b"li"
    assert stages(ciam).count("refresh") == 0


# --- Checks at CIAM ---------------------------------------------------------------------------


def test_only_the_first_request_after_a_due_check_asks_ciam(
    person: Browser, ciam: FakeCiam
) -> None:
    make_check_due(person)
    before = stages(ciam).count("api")
    for _ in range(3):
        assert person.client.get("/").content == b"True"

    assert stages(ciam).count("api") == before + 1


def test_a_check_keeps_the_changes_of_a_parallel_request(
    person: Browser, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_check_due(person)
    user_check = CiamClient.user_check

    def slow_check(client: CiamClient, access_token: str) -> Any:
        # A parallel request changes the session.
        session = person.client.session
        session["cart"] = ["tea"]
        session.save()
        return user_check(client, access_token)

    monkeypatch.setattr(CiamClient, "user_check", slow_check)
    assert person.client.get("/").content == b"True"

    assert person.client.session["cart"] == ["tea"]
    assert person.client.session["ciam_session"]["look_at"] > time.time()


@pytest.mark.parametrize("is_during_save", [True, False])
@pytest.mark.covering
def test_a_check_does_not_restore_a_deleted_session(
    person: Browser, monkeypatch: pytest.MonkeyPatch, is_during_save: bool
) -> None:
    make_check_due(person)
    key = str(person.client.session.session_key)
    save = SessionStore.save

    def delete_and_save(store: SessionStore, must_create: bool = False) -> None:
        SessionStore(key).delete()
        save(store, must_create)

    if is_during_save:
        monkeypatch.setattr(SessionStore, "save", delete_and_save)
    else:
        user_check = CiamClient.user_check

        def slow_check(client: CiamClient, access_token: str) -> Any:
            SessionStore(key).delete()
            return user_check(client, access_token)

        monkeypatch.setattr(CiamClient, "user_check", slow_check)
    person.client.get("/")

    assert not SessionStore(key).exists(key)
    assert not Session.objects.exists()


@pytest.fixture
def cache_browser(browser: Browser, settings: Settings) -> Browser:
    """A signed-in browser with a due check, and a session store that reads before it writes."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    assert browser.sign_in().status_code == 302
    make_check_due(browser)
    return browser


def test_a_session_that_ends_during_the_save_of_a_check_stays_ended(
    cache_browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(cache_browser.client.session.session_key)
    pending = iter([True])
    set_in_cache = LocMemCache.set

    def set_late(cache: LocMemCache, name: str, *args: Any, **kwargs: Any) -> None:
        if key in name and next(pending, False):
            end_sessions(CiamSession.objects.all(), "ended")
        set_in_cache(cache, name, *args, **kwargs)

    monkeypatch.setattr(LocMemCache, "set", set_late)
    assert cache_browser.client.get("/", headers={"Accept": HTML}).status_code == 401

    assert not next(pending, False)
    assert not cache_browser.client.session.exists(key)


def test_a_check_that_saves_during_the_deletion_does_not_restore_the_session(
    cache_browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    session = cache_browser.client.session
    pending = iter([True])
    delete = type(session).delete

    def delete_early(store: SessionBase, session_key: str | None = None) -> None:
        delete(store, session_key)
        if next(pending, False):
            session.save(must_create=True)

    monkeypatch.setattr(type(session), "delete", delete_early)
    with django_capture_on_commit_callbacks(execute=True):
        assert end_sessions(CiamSession.objects.all(), "ended") == 1

    assert not next(pending, False)
    assert not session.exists(str(session.session_key))


def test_ciam_session_check_of_0_schedules_only_the_refresh_of_the_tokens(
    person: Browser, ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_SESSION_CHECK = 0
    person.sign_in()
    look_at = person.client.session["ciam_session"]["look_at"]

    assert look_at == stored_tokens().refresh_from


def test_a_disabled_person_is_signed_out(person: Browser, ciam: FakeCiam) -> None:
    ciam.accounts.set_state("li", DISABLED)
    make_check_due(person)

    assert person.client.get("/").status_code == 401
    assert person.user_id is None


def test_an_access_token_that_expires_early_is_refreshed(person: Browser, ciam: FakeCiam) -> None:
    before = stored_tokens()
    ciam.expire_access_tokens()
    make_check_due(person)

    assert person.client.get("/").content == b"True"
    assert stored_tokens().access_token != before.access_token


def test_a_person_with_revoked_tokens_is_signed_out(person: Browser, ciam: FakeCiam) -> None:
    ciam.revoke_tokens("li")
    make_check_due(person)

    assert person.client.get("/").status_code == 401


@pytest.mark.parametrize("code", ["Operation.Denied", "Operation.Failure", "access_denied"])
def test_an_error_that_does_not_concern_the_person_ends_no_session(
    person: Browser, ciam: FakeCiam, code: str
) -> None:
    make_check_due(person)
    ciam.fail("api", code=code, status=403)

    assert person.client.get("/").content == b"True"


def test_only_one_session_asks_ciam_while_ciam_is_down(person: Browser, ciam: FakeCiam) -> None:
    other = Browser(ciam)
    other.sign_in("wang")
    make_check_due(person)
    make_check_due(other)
    before = stages(ciam).count("api")
    ciam.misbehave("api", "reset", times=None)

    assert person.client.get("/").content == b"True"
    assert other.client.get("/").content == b"True"
    assert stages(ciam).count("api") == before + 1
    ciam.reset()


def test_a_token_without_the_api_scope_is_not_checked(
    browser: Browser, ciam: FakeCiam, mode: str
) -> None:
    browser.sign_in()
    make_check_due(browser)
    browser.client.get("/")

    assert stages(ciam).count("api") == (0 if mode == "oidc" else 1)


def request_of(browser: Browser) -> HttpRequest:
    request = RequestFactory().get("/")
    request.session = SessionStore(str(browser.client.session.session_key))
    return request


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"access_token": ""}, "missing_token"),
        # The access token has expired and cannot be refreshed.
        ({"expires_at": 2.0, "refresh_from": 0.0}, "session_ended"),
        ({"expires_at": 2.0, "refresh_from": 1.0, "refresh_token": ""}, "session_ended"),
    ],
)
def test_access_token_of_refuses_a_missing_or_expired_token_and_shows_no_local_variables(
    person: Browser, changed: dict[str, Any], code: str
) -> None:
    change_tokens(person, **changed)
    with pytest.raises(CiamError) as raised:
        access_token_of(request_of(person))

    assert (raised.value.code, raised.value.stage) == (code, "refresh")
    # A report must not show the local variables of the function.
    frames = traceback.walk_tb(raised.value.__traceback__)
    variables = {frame.f_code.co_name: dict(frame.f_locals) for frame, _line in frames}
    assert variables["access_token_of"] == {}


def test_access_token_of_refuses_a_session_without_a_row(person: Browser) -> None:
    CiamSession.objects.all().delete()
    with pytest.raises(CiamError) as raised:
        access_token_of(request_of(person))

    assert (raised.value.code, raised.value.stage) == ("missing_token", "refresh")


def test_a_refresh_in_a_view_schedules_the_next_check(person: Browser) -> None:
    expire_tokens(person)
    request = request_of(person)
    assert access_token_of(request) == stored_tokens().access_token

    assert request.session["ciam_session"]["look_at"] > time.time()
    assert not is_check_due(request)


def test_the_error_of_a_refused_refresh_has_the_type_code_and_the_upstream_data_of_ciam(
    person: Browser, ciam: FakeCiam
) -> None:
    make_tokens_due(person)
    ciam.fail("refresh", code=DISABLED, status=418, request_id="id-1", format="ciam")
    error = refresh_or_end_session(request_of(person))

    assert error is not None
    assert (error.code, error.type_code, error.stage) == ("session_ended", DISABLED, "refresh")
    assert (error.upstream_status, error.request_id) == (418, "id-1")
    assert error.upstream_text


def test_the_error_of_a_session_without_a_row_has_no_type_code(person: Browser) -> None:
    make_check_due(person)
    CiamSession.objects.all().delete()
    error = refresh_or_end_session(request_of(person))

    assert error is not None
    assert (error.code, error.type_code, error.stage) == ("session_ended", "", "refresh")


def test_an_ended_session_is_deleted_and_sends_signed_out_with_the_reason_ended(
    person: Browser,
    ciam: FakeCiam,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    reasons: list[object] = []

    def receive(sender: object, **arguments: Any) -> None:
        reasons.append(arguments["reason"])

    ciam.revoke_tokens("li")
    make_check_due(person)
    request = request_of(person)
    key = str(request.session.session_key)
    signed_out.connect(receive)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            assert refresh_or_end_session(request) is not None
    finally:
        signed_out.disconnect(receive)

    assert reasons == ["ended"]
    assert not CiamSession.objects.active().exists()
    assert not SessionStore().exists(key)


def test_a_session_without_a_row_ends_only_when_its_check_is_due(person: Browser) -> None:
    CiamSession.objects.all().delete()

    assert refresh_or_end_session(request_of(person)) is None
    make_check_due(person)
    assert refresh_or_end_session(request_of(person)) is not None


# --- Sign-out, and a new session key -------------------------------------------------------------


def test_signing_out_ends_the_ciam_session(person: Browser) -> None:
    person.client.post("/ciam/logout/")

    assert not CiamSession.objects.active().exists()


def test_a_new_session_key_is_stored(person: Browser) -> None:
    session = person.client.session
    session.cycle_key()
    session.save()
    person.client.cookies["sessionid"] = str(session.session_key)

    assert person.client.get("/").content == b"True"
    assert stored_tokens().session_key == session.session_key


def test_a_session_without_a_row_ends_at_its_next_check(person: Browser) -> None:
    CiamSession.objects.all().delete()
    assert person.client.get("/").content == b"True"
    make_check_due(person)

    assert person.client.get("/").status_code == 401


def test_a_session_without_a_ciam_sign_in_continues_without_a_request_to_ciam(
    browser: Browser, django_user_model: Any
) -> None:
    browser.client.force_login(
        django_user_model.objects.create_user("staff"),
        "django.contrib.auth.backends.ModelBackend",
    )

    assert browser.client.get("/").content == b"True"
    assert not browser.ciam.requests


# --- async ---------------------------------------------------------------------------------------


def test_the_middleware_works_under_asgi(person: Browser, ciam: FakeCiam) -> None:
    session_key = str(person.client.session.session_key)

    async def get_page(**cookies: str) -> tuple[int, bytes]:
        client = AsyncClient(headers={"Accept": HTML})
        client.cookies.load(cookies)
        answer = await client.get("/")
        return answer.status_code, answer.content

    assert async_to_sync(get_page)() == (200, b"False")
    assert async_to_sync(get_page)(sessionid=session_key) == (200, b"True")
    ciam.revoke_tokens("li")
    make_check_due(person)
    assert async_to_sync(get_page)(sessionid=session_key)[0] == 401
