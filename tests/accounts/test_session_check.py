"""Sessions last exactly as long as CIAM says, and CIAM being down ends none."""

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
from ciam_django.accounts.session_check import access_token_of, refresh_or_end_session
from ciam_django.accounts.session_store import end_sessions, is_check_due
from ciam_django.accounts.signals import signed_out
from ciam_django.accounts.tokens import Tokens, decrypted_tokens, encrypted_tokens
from ciam_django.client import CiamClient
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
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
    """Somebody who is signed in, with tokens that CIAM's API takes."""
    client = dict(settings.AUTHLIB_OAUTH_CLIENTS["ciam"])
    client["client_kwargs"] = {"scope": "openid USER_API"}
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
    assert browser.sign_in().status_code == 302
    return browser


def kept() -> Tokens:
    return decrypted_tokens(CiamSession.objects.active().get().sealed)


def change(browser: Browser, **changed: Any) -> None:
    """Change what is kept, and have the next request look at it."""
    tokens = kept()
    given = {name: getattr(tokens, name) for name in tokens.__dataclass_fields__} | changed
    CiamSession.objects.update(sealed=encrypted_tokens(Tokens(**given)))
    due(browser)


def due(browser: Browser) -> None:
    session = browser.client.session
    session["ciam_session"] = {**session["ciam_session"], "look_at": 1}
    session.save()


def about_to_end(browser: Browser) -> None:
    change(browser, refresh_from=1.0)


def at_their_end(browser: Browser) -> None:
    change(browser, refresh_from=1.0, expires_at=2.0)


def stages(ciam: FakeCiam) -> list[str]:
    return [request.stage for request in ciam.requests]


# --- What is kept -----------------------------------------------------------------------------


def test_the_tokens_are_on_the_server_and_sealed(person: Browser, ciam: FakeCiam) -> None:
    tokens = kept()
    assert {tokens.access_token} == set(ciam.access_tokens)
    assert {tokens.refresh_token} == set(ciam.refresh_tokens)

    shown = json.dumps(list(CiamSession.objects.values()), default=str)
    shown += json.dumps(dict(person.client.session.items()))
    shown += "".join(str(cookie) for cookie in person.client.cookies.values())
    session_key = str(person.client.session.session_key)
    for secret in (tokens.access_token, tokens.refresh_token):
        assert secret not in shown
    assert session_key not in json.dumps(list(CiamSession.objects.values()), default=str)
    assert "t-1" not in repr(Tokens("k", access_token="t-1", refresh_token="t-1", id_token="t-1"))


def test_a_key_that_was_rotated_still_opens_them(person: Browser, settings: Settings) -> None:
    before = kept()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]

    assert kept() == before


def test_a_key_that_is_gone_ends_the_session(person: Browser, settings: Settings) -> None:
    CiamSession.objects.update(sealed="nothing that anybody sealed")
    due(person)

    assert person.client.get("/").status_code == 401
    assert person.client.get("/").content == b"False"


def test_a_project_can_keep_none(browser: Browser, settings: Settings, mode: str) -> None:
    settings.CIAM_KEEP_TOKENS = False
    browser.sign_in()

    assert (kept().access_token, kept().refresh_token, kept().id_token) == ("", "", "")
    assert kept().session_key == browser.client.session.session_key
    answer = browser.client.get("/profile/", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")


def test_an_id_token_that_proves_nothing_is_not_kept(person: Browser, mode: str) -> None:
    assert bool(kept().id_token) == (mode == "oidc")


def test_who_signs_in_again_has_one_session(person: Browser) -> None:
    living = CiamSession.objects.active()
    first = living.get().pk
    person.sign_in()
    assert living.get().pk != first
    person.sign_in("wang")

    assert living.get().identity.user_id == int(person.user_id or 0)
    assert kept().session_key == person.client.session.session_key


def test_what_has_ended_is_swept_at_a_later_sessions_look(person: Browser, ciam: FakeCiam) -> None:
    CiamSession.objects.update(ends_at="2000-01-01T00:00:00Z")
    third, other = Browser(ciam), Browser(ciam)
    third.sign_in()
    other.sign_in("wang")
    assert CiamSession.objects.count() == 3
    due(third)
    third.client.get("/")

    assert CiamSession.objects.count() == 2


def test_a_sessions_look_leaves_the_persons_other_sessions_alone(
    person: Browser, ciam: FakeCiam
) -> None:
    newer = Browser(ciam)
    newer.sign_in()
    assert CiamSession.objects.active().count() == 2
    due(newer)
    assert newer.client.get("/").content == b"True"

    assert CiamSession.objects.active().count() == 2
    due(person)
    assert person.client.get("/").content == b"True"


def test_the_last_sign_in_is_still_known_when_it_is_over(person: Browser) -> None:
    person.client.post("/ciam/logout/")
    ended = CiamSession.objects.get()

    assert (ended.sealed, ended.sid_key) == ("", "")
    assert ended.created_at <= ended.ends_at <= timezone.now()


def test_a_session_that_lasts_longer_is_noted_to(person: Browser, settings: Settings) -> None:
    before = CiamSession.objects.get().ends_at
    settings.SESSION_COOKIE_AGE *= 2
    due(person)
    person.client.get("/")

    assert CiamSession.objects.get().ends_at > before


# --- Renewal ----------------------------------------------------------------------------------


def test_nothing_is_asked_before_it_is_time(
    person: Browser, ciam: FakeCiam, django_assert_num_queries: Callable[..., Any]
) -> None:
    before = len(ciam.requests)
    # The session, and the user.
    with django_assert_num_queries(2):
        assert person.client.get("/").content == b"True"

    assert len(ciam.requests) == before


def test_tokens_are_renewed_before_they_end(person: Browser, ciam: FakeCiam) -> None:
    before = kept()
    about_to_end(person)
    assert person.client.get("/").content == b"True"

    after = kept()
    assert stages(ciam).count("refresh") == 1
    assert after.access_token != before.access_token
    assert after.refresh_token in ciam.refresh_tokens
    assert after.expires_at > time.time()
    assert person.client.get("/").content == b"True"
    assert stages(ciam).count("refresh") == 1


@pytest.mark.parametrize("behaviour", ["reset", "html", "no_token", "errcode"])
def test_a_failure_never_takes_the_place_of_tokens(
    person: Browser, ciam: FakeCiam, behaviour: str
) -> None:
    about_to_end(person)
    before = kept()
    ciam.misbehave("refresh", behaviour)
    assert person.client.get("/").content == b"True"

    assert kept() == before
    # Nobody asks again at once, and then it goes on.
    due(person)
    assert person.client.get("/").content == b"True"
    assert stages(ciam).count("refresh") == 1
    cache.clear()
    due(person)
    assert person.client.get("/").content == b"True"
    assert kept() != before


@pytest.mark.parametrize(
    ("code", "status"),
    [("Operation.Failure", 500), ("invalid_client", 401), ("Resource.NotFound", 404)],
)
def test_what_is_not_the_persons_fault_disturbs_nobody(
    person: Browser, ciam: FakeCiam, code: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    at_their_end(person)
    ciam.fail("refresh", code=code, status=status, times=None)
    with caplog.at_level(logging.INFO, "ciam_django"):
        assert person.client.get("/").content == b"True"

    assert len(caplog.records) == 1
    # But there is no token to be had.
    answer = person.client.get("/profile/")
    assert answer.status_code in (500, 503)
    assert person.client.get("/").content == b"True"


@pytest.mark.parametrize("code", ["invalid_grant", DISABLED, "Operation.Failure.User.Not.Exist"])
@pytest.mark.parametrize("end", [about_to_end, at_their_end])
def test_who_is_gone_for_ciam_is_signed_out(
    person: Browser,
    ciam: FakeCiam,
    code: str,
    end: Callable[[Browser], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    end(person)
    ciam.fail("refresh", code=code, text="secret words")
    with caplog.at_level(logging.INFO, "ciam_django"):
        answer = person.client.get("/cart/", headers={"Accept": "application/json"})

    body = answer.json()
    assert (answer.status_code, body["code"], body["action"]) == (401, "session_ended", "login")
    assert f"type_code={code}" in caplog.text
    assert person.user_id is None
    assert not CiamSession.objects.active().exists()
    # A public page is only ever in the way once.
    assert person.client.get("/").content == b"False"


def test_a_page_says_so_and_leads_back(person: Browser, ciam: FakeCiam) -> None:
    at_their_end(person)
    ciam.fail("refresh", code="invalid_grant")
    page = person.client.get("/cart/?a=1")

    assert page.status_code == 401
    assert "You have been signed out." in page.content.decode()
    assert "/ciam/login/?next=%2Fcart%2F%3Fa%3D1" in page.content.decode()


def test_who_signs_in_again_just_then_is_not_held_up(person: Browser, ciam: FakeCiam) -> None:
    callback = person.sign_in_at_ciam(person.start_sign_in())
    at_their_end(person)
    ciam.fail("refresh", code="invalid_grant")
    answer = person.open_callback(callback)

    assert (answer.status_code, answer["Location"]) == (302, "/accounts/profile/")
    assert person.client.get("/").content == b"True"


def test_what_is_not_found_says_so_the_next_time(person: Browser, ciam: FakeCiam) -> None:
    at_their_end(person)
    ciam.fail("refresh", code="invalid_grant")

    assert person.client.get("/nowhere/").status_code == 401
    assert person.client.get("/nowhere/").status_code == 404


def test_what_was_posted_does_not_become_a_way_back(person: Browser, ciam: FakeCiam) -> None:
    at_their_end(person)
    ciam.fail("refresh", code="invalid_grant")
    page = person.client.post("/cart/", {"card": "1"})

    assert page.status_code == 401
    assert 'href="/ciam/login/"' in page.content.decode()


def test_without_a_refresh_token_the_session_goes_on(person: Browser, ciam: FakeCiam) -> None:
    change(person, refresh_token="", refresh_from=1.0, expires_at=2.0)

    assert person.client.get("/").content == b"True"
    assert stages(ciam).count("refresh") == 0
    assert person.client.get("/profile/").status_code == 401
    assert person.client.get("/").content == b"True"


def test_tokens_of_unknown_length_are_not_renewed_by_the_clock(
    person: Browser, ciam: FakeCiam
) -> None:
    change(person, refresh_from=0.0, expires_at=0.0)

    assert person.client.get("/profile/").content == b"li"
    assert stages(ciam).count("refresh") == 0


# --- Asking CIAM ------------------------------------------------------------------------------


def test_ciam_is_asked_now_and_then(person: Browser, ciam: FakeCiam) -> None:
    due(person)
    before = stages(ciam).count("api")
    for _ in range(3):
        assert person.client.get("/").content == b"True"

    assert stages(ciam).count("api") == before + 1


def test_a_look_undoes_nothing_that_another_request_does(
    person: Browser, ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    due(person)
    asked = CiamClient.user_check

    def slow_check(client: CiamClient, access_token: str) -> Any:
        # Meanwhile something is put into the cart.
        session = person.client.session
        session["cart"] = ["tea"]
        session.save()
        return asked(client, access_token)

    monkeypatch.setattr(CiamClient, "user_check", slow_check)
    assert person.client.get("/").content == b"True"

    assert person.client.session["cart"] == ["tea"]
    assert person.client.session["ciam_session"]["look_at"] > time.time()


@pytest.mark.parametrize("is_just_then", [True, False])
def test_a_look_brings_no_session_back(
    person: Browser, monkeypatch: pytest.MonkeyPatch, is_just_then: bool
) -> None:
    due(person)
    key = str(person.client.session.session_key)
    saved = SessionStore.save

    def gone(store: SessionStore, must_create: bool = False) -> None:
        SessionStore(key).delete()
        saved(store, must_create)

    if is_just_then:
        monkeypatch.setattr(SessionStore, "save", gone)
    else:
        asked = CiamClient.user_check

        def slow_check(client: CiamClient, access_token: str) -> Any:
            SessionStore(key).delete()
            return asked(client, access_token)

        monkeypatch.setattr(CiamClient, "user_check", slow_check)
    person.client.get("/")

    assert not SessionStore(key).exists(key)
    assert not Session.objects.exists()


@pytest.fixture
def cached(browser: Browser, settings: Settings) -> Browser:
    """Somebody whose next request looks at their session, of a store that looks and then writes."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    assert browser.sign_in().status_code == 302
    due(browser)
    return browser


def test_what_ends_within_the_save_of_a_look_is_over(
    cached: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(cached.client.session.session_key)
    meanwhile = iter([True])
    stored = LocMemCache.set

    def set_late(cache: LocMemCache, name: str, *args: Any, **kwargs: Any) -> None:
        if key in name and next(meanwhile, False):
            end_sessions(CiamSession.objects.all(), "ended")
        stored(cache, name, *args, **kwargs)

    monkeypatch.setattr(LocMemCache, "set", set_late)
    assert cached.client.get("/", headers={"Accept": HTML}).status_code == 401

    assert not next(meanwhile, False)
    assert not cached.client.session.exists(key)


def test_a_look_that_saves_while_the_session_is_ended_does_not_bring_it_back(
    cached: Browser,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    session = cached.client.session
    meanwhile = iter([True])
    deleted = type(session).delete

    def delete_early(store: SessionBase, session_key: str | None = None) -> None:
        deleted(store, session_key)
        if next(meanwhile, False):
            session.save(must_create=True)

    monkeypatch.setattr(type(session), "delete", delete_early)
    with django_capture_on_commit_callbacks(execute=True):
        assert end_sessions(CiamSession.objects.all(), "ended") == 1

    assert not next(meanwhile, False)
    assert not session.exists(str(session.session_key))


def test_a_project_can_ask_never(person: Browser, ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_SESSION_CHECK = 0
    person.sign_in()
    look_at = person.client.session["ciam_session"]["look_at"]

    assert look_at == kept().refresh_from


def test_who_has_been_disabled_is_signed_out(person: Browser, ciam: FakeCiam) -> None:
    ciam.accounts.set_state("li", DISABLED)
    due(person)

    assert person.client.get("/").status_code == 401
    assert person.user_id is None


def test_a_token_that_ends_early_is_renewed(person: Browser, ciam: FakeCiam) -> None:
    before = kept()
    ciam.expire_access_tokens()
    due(person)

    assert person.client.get("/").content == b"True"
    assert kept().access_token != before.access_token


def test_who_is_signed_out_everywhere_is_so_here(person: Browser, ciam: FakeCiam) -> None:
    ciam.revoke_tokens("li")
    due(person)

    assert person.client.get("/").status_code == 401


@pytest.mark.parametrize("code", ["Operation.Denied", "Operation.Failure", "access_denied"])
def test_an_answer_that_says_nothing_of_the_person_ends_nothing(
    person: Browser, ciam: FakeCiam, code: str
) -> None:
    due(person)
    ciam.fail("api", code=code, status=403)

    assert person.client.get("/").content == b"True"


def test_while_ciam_is_down_one_of_all_waits_for_it(person: Browser, ciam: FakeCiam) -> None:
    other = Browser(ciam)
    other.sign_in("wang")
    due(person)
    due(other)
    before = stages(ciam).count("api")
    ciam.misbehave("api", "reset", times=None)

    assert person.client.get("/").content == b"True"
    assert other.client.get("/").content == b"True"
    assert stages(ciam).count("api") == before + 1
    ciam.reset()


def test_a_token_for_something_else_is_not_asked_about(
    browser: Browser, ciam: FakeCiam, mode: str
) -> None:
    browser.sign_in()
    due(browser)
    browser.client.get("/")

    assert stages(ciam).count("api") == (0 if mode == "oidc" else 1)


# --- The token, for the project -----------------------------------------------------------------


def test_a_project_calls_ciam_with_the_persons_token(
    person: Browser, ciam: FakeCiam, settings: Settings
) -> None:
    assert person.client.get("/profile/").content == b"li"
    # A view can be the first to need a new one.
    change(person, refresh_from=1.0, expires_at=2.0)
    settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if "CiamSession" not in m]
    person.client.handler.load_middleware()
    assert person.client.get("/profile/").content == b"li"

    assert stages(ciam).count("refresh") == 1


def test_who_has_not_signed_in_has_none(browser: Browser) -> None:
    answer = browser.client.get("/profile/", headers={"Accept": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")


def request_of(browser: Browser) -> HttpRequest:
    request = RequestFactory().get("/")
    request.session = SessionStore(str(browser.client.session.session_key))
    return request


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"access_token": ""}, "missing_token"),
        # At its end, with nothing to renew it by.
        ({"expires_at": 2.0, "refresh_from": 0.0}, "session_ended"),
        ({"expires_at": 2.0, "refresh_from": 1.0, "refresh_token": ""}, "session_ended"),
    ],
)
def test_a_token_that_is_not_there_or_not_good_is_not_handed_out(
    person: Browser, changed: dict[str, Any], code: str
) -> None:
    change(person, **changed)
    with pytest.raises(CiamError) as raised:
        access_token_of(request_of(person))

    assert (raised.value.code, raised.value.stage) == (code, "refresh")
    # No report shows what the function worked with.
    frames = traceback.walk_tb(raised.value.__traceback__)
    found = {frame.f_code.co_name: dict(frame.f_locals) for frame, _line in frames}
    assert found["access_token_of"] == {}


def test_a_session_without_a_row_has_no_token(person: Browser) -> None:
    CiamSession.objects.all().delete()
    with pytest.raises(CiamError) as raised:
        access_token_of(request_of(person))

    assert (raised.value.code, raised.value.stage) == ("missing_token", "refresh")


def test_a_token_that_a_view_has_renewed_is_looked_at_in_its_time(person: Browser) -> None:
    at_their_end(person)
    request = request_of(person)
    assert access_token_of(request) == kept().access_token

    assert request.session["ciam_session"]["look_at"] > time.time()
    assert not is_check_due(request)


def test_the_error_of_an_ended_session_has_ciams_reason_for_the_log(
    person: Browser, ciam: FakeCiam
) -> None:
    about_to_end(person)
    ciam.fail("refresh", code=DISABLED, status=418, request_id="id-1", format="ciam")
    error = refresh_or_end_session(request_of(person))

    assert error is not None
    assert (error.code, error.type_code, error.stage) == ("session_ended", DISABLED, "refresh")
    assert (error.upstream_status, error.request_id) == (418, "id-1")
    assert error.upstream_text


def test_the_error_of_a_session_without_a_row_has_no_other_reason(person: Browser) -> None:
    due(person)
    CiamSession.objects.all().delete()
    error = refresh_or_end_session(request_of(person))

    assert error is not None
    assert (error.code, error.type_code, error.stage) == ("session_ended", "", "refresh")


def test_an_ended_session_is_over_everywhere_and_the_project_is_told(
    person: Browser,
    ciam: FakeCiam,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    heard: list[object] = []

    def hear(sender: object, **told: Any) -> None:
        heard.append(told["reason"])

    ciam.revoke_tokens("li")
    due(person)
    request = request_of(person)
    key = str(request.session.session_key)
    signed_out.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            assert refresh_or_end_session(request) is not None
    finally:
        signed_out.disconnect(hear)

    assert heard == ["ended"]
    assert not CiamSession.objects.active().exists()
    assert not SessionStore().exists(key)


def test_who_is_not_looked_at_now_is_not_ended(person: Browser) -> None:
    CiamSession.objects.all().delete()

    assert refresh_or_end_session(request_of(person)) is None
    due(person)
    assert refresh_or_end_session(request_of(person)) is not None


# --- Signing out, and another key ----------------------------------------------------------------


def test_signing_out_leaves_nothing(person: Browser) -> None:
    person.client.post("/ciam/logout/")

    assert not CiamSession.objects.active().exists()


def test_a_new_key_of_the_session_is_noticed(person: Browser) -> None:
    session = person.client.session
    session.cycle_key()
    session.save()
    person.client.cookies["sessionid"] = str(session.session_key)

    assert person.client.get("/").content == b"True"
    assert kept().session_key == session.session_key


def test_a_session_of_a_row_that_is_gone_ends_at_its_next_look(person: Browser) -> None:
    CiamSession.objects.all().delete()
    assert person.client.get("/").content == b"True"
    due(person)

    assert person.client.get("/").status_code == 401


def test_who_signed_in_with_djangos_own_password_is_left_alone(
    browser: Browser, django_user_model: Any
) -> None:
    browser.client.force_login(
        django_user_model.objects.create_user("staff"),
        "django.contrib.auth.backends.ModelBackend",
    )

    assert browser.client.get("/").content == b"True"


# --- async ---------------------------------------------------------------------------------------


def test_it_works_below_asgi(person: Browser, ciam: FakeCiam) -> None:
    session_key = str(person.client.session.session_key)

    async def asked(**cookies: str) -> tuple[int, bytes]:
        client = AsyncClient(headers={"Accept": HTML})
        client.cookies.load(cookies)
        answer = await client.get("/")
        return answer.status_code, answer.content

    assert async_to_sync(asked)() == (200, b"False")
    assert async_to_sync(asked)(sessionid=session_key) == (200, b"True")
    ciam.revoke_tokens("li")
    due(person)
    assert async_to_sync(asked)(sessionid=session_key)[0] == 401
