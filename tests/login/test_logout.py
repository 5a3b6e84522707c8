"""Tests of the back-channel and front-channel logout by CIAM."""

from __future__ import annotations

import json
import logging
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from django.utils import timezone
from joserfc import jws
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.signals import signed_out
from ciam_django.testing import FakeCiam, keys
from ciam_django.testing.accounts import user_id_of
from tests.browser import Browser
from tests.rows import for_each_row

BACK = "/ciam/logout/back/"
FRONT = "/ciam/logout/front/"


def public(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user.is_authenticated))


class SessionStore(DatabaseStore):
    """Django's session store, which calls ``before_delete`` before it deletes a session."""

    before_delete: ClassVar[Callable[[], object]] = int

    def delete(self, session_key: str | None = None) -> None:
        type(self).before_delete()
        super().delete(session_key)


urlpatterns = [path("", public), path("ciam/", include("ciam_django.urls"))]


@pytest.fixture
def mode() -> str:
    return "oidc"


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    cache.clear()


@pytest.fixture
def people(ciam: FakeCiam, db: None) -> list[Browser]:
    """Two browsers in which Li is signed in, and one in which Wang is signed in."""
    browsers = [Browser(ciam) for _ in range(3)]
    for browser, name in zip(browsers, ["li", "li", "wang"], strict=True):
        assert browser.sign_in(name).status_code == 302
    return browsers


def sids(ciam: FakeCiam) -> list[str]:
    return [sign_in.sid for sign_in in ciam.access_tokens.values()]


def are_signed_in(people: list[Browser]) -> list[bool]:
    return [person.client.get("/").content == b"True" for person in people]


def send_logout_token(token: object) -> Any:
    return Client(enforce_csrf_checks=True).post(BACK, {"logout_token": token})


# --- Back channel -----------------------------------------------------------------------------


def test_a_token_with_a_sid_ends_only_the_session_of_the_sid(
    people: list[Browser], ciam: FakeCiam
) -> None:
    answer = send_logout_token(ciam.sign_logout_token(sid=sids(ciam)[0]))

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["Cache-Control"] == "no-store"
    assert are_signed_in(people) == [False, True, True]
    assert people[0].client.session.is_empty()


def test_a_token_with_a_sub_ends_all_sessions_of_the_user(
    people: list[Browser], ciam: FakeCiam
) -> None:
    assert send_logout_token(ciam.sign_logout_token(sub=user_id_of("li"))).status_code == 200
    assert are_signed_in(people) == [False, False, True]


def test_sessions_end_in_a_project_without_time_zones(
    ciam: FakeCiam, db: None, settings: Settings
) -> None:
    settings.USE_TZ = False
    browser = Browser(ciam)
    browser.sign_in()

    assert send_logout_token(ciam.sign_logout_token(sub=user_id_of("li"))).status_code == 200
    assert are_signed_in([browser]) == [False]


def test_a_token_with_the_sid_of_another_user_ends_no_session(
    people: list[Browser], ciam: FakeCiam
) -> None:
    token = ciam.sign_logout_token(sid=sids(ciam)[2], sub=user_id_of("li"))

    assert send_logout_token(token).status_code == 200
    assert are_signed_in(people) == [True, True, True]


def test_a_token_with_an_unknown_sid_or_sub_is_answered_with_200(
    people: list[Browser], ciam: FakeCiam
) -> None:
    assert send_logout_token(ciam.sign_logout_token(sid="x")).status_code == 200
    assert send_logout_token(ciam.sign_logout_token(sub="x" * 255)).status_code == 200
    assert are_signed_in(people) == [True, True, True]


def test_a_session_that_is_newer_than_the_token_does_not_end(
    people: list[Browser], ciam: FakeCiam
) -> None:
    CiamSession.objects.filter(sid_key="").update(sid_key="x")
    later = timezone.now() + timedelta(minutes=5)
    newest = CiamSession.objects.order_by("pk")[1]
    CiamSession.objects.filter(pk=newest.pk).update(created_at=later)
    send_logout_token(ciam.sign_logout_token(sub=user_id_of("li")))

    assert are_signed_in(people) == [False, True, True]


def test_a_key_that_ciam_has_just_rotated_is_loaded(people: list[Browser], ciam: FakeCiam) -> None:
    ciam.rotate_keys()

    assert send_logout_token(ciam.sign_logout_token(sub=user_id_of("li"))).status_code == 200
    assert are_signed_in(people) == [False, False, True]


@pytest.mark.parametrize("claims", [{"iat": 100}, {"iat": -200, "exp": -100}], ids=str)
def test_the_clock_of_ciam_may_differ_by_up_to_two_minutes(
    people: list[Browser], ciam: FakeCiam, claims: dict[str, int]
) -> None:
    now = int(time.time())
    times: dict[str, Any] = {name: now + seconds for name, seconds in claims.items()}

    assert send_logout_token(ciam.sign_logout_token(sub="x", **times)).status_code == 200


def test_a_token_without_a_type_is_accepted(people: list[Browser], ciam: FakeCiam) -> None:
    payload = ciam.sign_logout_token(sub=user_id_of("wang")).split(".")[1]
    content = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    # ``jwt.encode`` would add the type "JWT".
    token = jws.serialize_compact({"alg": "RS256", "kid": ciam.key.kid}, content, ciam.key)

    assert send_logout_token(token).status_code == 200
    assert are_signed_in(people) == [True, True, False]


def test_a_token_without_exp_ends_the_session_until_ten_minutes_after_iat(
    people: list[Browser], ciam: FakeCiam
) -> None:
    # The claim is required only since the end of 2023, and servers are older.
    now = int(time.time())
    old = ciam.sign_logout_token(sub=user_id_of("li"), exp=None, iat=now - 601)
    assert send_logout_token(old).status_code == 400
    assert are_signed_in(people) == [True, True, True]

    token = ciam.sign_logout_token(sub=user_id_of("li"), exp=None)
    assert send_logout_token(token).status_code == 200
    assert are_signed_in(people) == [False, False, True]
    assert send_logout_token(token).status_code == 400


def test_a_claim_that_is_null_is_a_missing_claim(people: list[Browser], ciam: FakeCiam) -> None:
    correct = ciam.sign_logout_token(sub=user_id_of("wang")).split(".")[1]
    claims = json.loads(urlsafe_b64decode(correct + "=" * (-len(correct) % 4)))
    header = {"alg": "RS256", "kid": ciam.key.kid}
    for missing in ("sub", "jti", "events", "iat"):
        token = keys.sign_token(header, {**claims, missing: None}, ciam.key)
        assert send_logout_token(token).status_code == 400, missing
    assert are_signed_in(people) == [True, True, True]

    token = keys.sign_token(header, {**claims, "sid": None, "exp": None, "nonce": None}, ciam.key)
    assert send_logout_token(token).status_code == 200
    assert are_signed_in(people) == [True, True, False]


EVENT = "http://schemas.openid.net/event/backchannel-logout"
INVALID_TOKENS: dict[str, Callable[[FakeCiam, dict[str, Any]], object]] = {
    "an empty text": lambda ciam, claims: "",
    "no token": lambda ciam, claims: "not.a.token",
    "control characters": lambda ciam, claims: "\0\ud7ff" * 20,
    "too long": lambda ciam, claims: ciam.sign_logout_token(**claims, more="x" * 10_000),
    "another issuer": lambda ciam, claims: ciam.sign_logout_token(
        **claims, iss="https://evil.example"
    ),
    "no issuer": lambda ciam, claims: ciam.sign_logout_token(**claims, iss=None),
    "another client": lambda ciam, claims: ciam.sign_logout_token(**claims, aud="other"),
    "no audience": lambda ciam, claims: ciam.sign_logout_token(**claims, aud=None),
    "no iat": lambda ciam, claims: ciam.sign_logout_token(**claims, iat=None),
    "iat as a text": lambda ciam, claims: ciam.sign_logout_token(**claims, iat="now"),
    "iat of tomorrow": lambda ciam, claims: ciam.sign_logout_token(
        **claims, iat=int(time.time()) + 86400
    ),
    "iat of yesterday": lambda ciam, claims: ciam.sign_logout_token(
        **claims, iat=int(time.time()) - 86400
    ),
    "iat more than two minutes ahead": lambda ciam, claims: ciam.sign_logout_token(
        **claims, iat=int(time.time()) + 130
    ),
    "expired": lambda ciam, claims: ciam.sign_logout_token(**claims, exp=int(time.time()) - 130),
    "exp as a text": lambda ciam, claims: ciam.sign_logout_token(**claims, exp="soon"),
    "no events": lambda ciam, claims: ciam.sign_logout_token(**claims, events=None),
    "another event": lambda ciam, claims: ciam.sign_logout_token(**claims, events={"x": {}}),
    "event as a number": lambda ciam, claims: ciam.sign_logout_token(**claims, events={EVENT: 1}),
    "events as a list": lambda ciam, claims: ciam.sign_logout_token(**claims, events=[EVENT]),
    "no jti": lambda ciam, claims: ciam.sign_logout_token(**claims, jti=None),
    "jti as an object": lambda ciam, claims: ciam.sign_logout_token(**claims, jti={"x": 1}),
    "no sub and no sid": lambda ciam, claims: ciam.sign_logout_token(),
    "sub as a list": lambda ciam, claims: ciam.sign_logout_token(**{**claims, "sub": ["x"]}),
    "sid as a number": lambda ciam, claims: ciam.sign_logout_token(**{**claims, "sid": 1}),
    "sid with a line break": lambda ciam, claims: ciam.sign_logout_token(
        **{**claims, "sid": "a\nb"}
    ),
    "sid of 256 characters": lambda ciam, claims: ciam.sign_logout_token(
        **{**claims, "sid": "s" * 256}
    ),
    "a nonce": lambda ciam, claims: ciam.sign_logout_token(**claims, nonce="x"),
    "an access token": lambda ciam, claims: ciam.sign_logout_token(
        **claims, header={"typ": "at+jwt"}
    ),
    "no signature": lambda ciam, claims: ciam.sign_logout_token(**claims, header={"alg": "none"}),
    "a shared secret": lambda ciam, claims: ciam.sign_logout_token(
        **claims, header={"alg": "HS256"}
    ),
    "an unknown key": lambda ciam, claims: ciam.sign_logout_token(**claims, header={"kid": "x"}),
    "an id_token": lambda ciam, claims: ciam.sign_id_token(
        next(iter(ciam.access_tokens.values())), ""
    ),
    "two tokens": lambda ciam, claims: [
        ciam.sign_logout_token(**claims),
        ciam.sign_logout_token(**claims),
    ],
}


@for_each_row("name", INVALID_TOKENS)
def test_an_invalid_token_ends_no_session(
    people: list[Browser], ciam: FakeCiam, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    token = INVALID_TOKENS[name](ciam, {"sub": user_id_of("li"), "sid": sids(ciam)[0]})
    with caplog.at_level(logging.DEBUG):
        answer = send_logout_token(token)

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_logout_token"
    assert are_signed_in(people) == [True, True, True]
    # Anyone can send an invalid token, so it must not cause a warning.
    ours = [record for record in caplog.records if record.name.startswith("ciam_django")]
    assert [record.levelname for record in ours] == ["INFO"]
    assert vars(ours[0])["ciam_stage"] == "logout"
    assert not token or str(token) not in caplog.text


def test_a_token_with_a_forged_signature_ends_no_session(
    people: list[Browser], ciam: FakeCiam
) -> None:
    token = ciam.sign_logout_token(sub=user_id_of("li"))
    head, _, signature = token.rpartition(".")

    assert send_logout_token(f"{head}.{signature[::-1]}").status_code == 400
    assert are_signed_in(people) == [True, True, True]


def test_a_token_is_accepted_once(
    people: list[Browser], ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    token = ciam.sign_logout_token(sub=user_id_of("li"))
    assert send_logout_token(token).status_code == 200
    people[0].sign_in()

    assert send_logout_token(token).status_code == 400
    assert are_signed_in(people) == [True, False, True]
    assert "the jti has been used before" in caplog.messages[-1]
    assert vars(caplog.records[-1])["ciam_stage"] == "logout"


def test_a_token_is_refused_a_second_time_until_it_is_too_old_to_be_accepted(
    people: list[Browser], ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time())
    first, second = (ciam.sign_logout_token(sub=user_id_of("li"), exp=now + 3600) for _ in range(2))
    assert send_logout_token(first).status_code == 200
    later = now + 599
    monkeypatch.setattr(time, "time", lambda: later)

    # Another token of the same age is still accepted.
    assert send_logout_token(second).status_code == 200
    assert send_logout_token(first).status_code == 400


def test_a_token_is_answered_with_503_while_ciams_keys_cannot_be_loaded(
    people: list[Browser], ciam: FakeCiam, settings: Settings
) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
    cache.clear()
    ciam.misbehave("jwks", "reset", times=None)
    token = ciam.sign_logout_token(sub=user_id_of("li"))
    assert send_logout_token(token).status_code == 503
    ciam.reset()


def test_a_token_can_be_sent_again_after_a_failure_to_end_a_session(
    people: list[Browser],
    ciam: FakeCiam,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = ciam.sign_logout_token(sub=user_id_of("li"))
    settings.SESSION_ENGINE = __name__

    def fail() -> None:
        raise ConnectionError

    monkeypatch.setattr(SessionStore, "before_delete", fail)
    with pytest.raises(ConnectionError):
        send_logout_token(token)
    monkeypatch.undo()
    assert send_logout_token(token).status_code == 200
    assert are_signed_in(people) == [False, False, True]


def test_a_session_that_another_process_ends_at_the_same_time_sends_no_second_signal(
    people: list[Browser],
    ciam: FakeCiam,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    settings.SESSION_ENGINE = __name__
    ended = CiamSession.objects.filter(identity__user_id=int(people[0].user_id or 0))
    monkeypatch.setattr(SessionStore, "before_delete", ended.mark_ended)
    with django_capture_on_commit_callbacks() as callbacks:
        assert send_logout_token(ciam.sign_logout_token(sub=user_id_of("li"))).status_code == 200

    assert not callbacks
    assert are_signed_in(people) == [False, False, True]


def test_a_session_whose_tokens_cannot_be_decrypted_ends_too(
    people: list[Browser], ciam: FakeCiam
) -> None:
    CiamSession.objects.update(sealed="not encrypted")

    assert send_logout_token(ciam.sign_logout_token(sub=user_id_of("li"))).status_code == 200
    assert CiamSession.objects.active().count() == 1


def test_back_channel_takes_only_post_and_front_channel_only_get(db: None, ciam: FakeCiam) -> None:
    assert Client().get(BACK).status_code == 405
    assert Client().post(FRONT).status_code == 405


def test_a_logout_by_ciam_sends_the_signal_signed_out_and_has_log_lines(
    people: list[Browser],
    ciam: FakeCiam,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    signals: list[tuple[object, object]] = []

    def record_signal(sender: object, **kwargs: Any) -> None:
        signals.append((kwargs["reason"], kwargs["user"].pk))

    signed_out.connect(record_signal)
    caplog.set_level(logging.INFO, "ciam_django")
    with django_capture_on_commit_callbacks(execute=True):
        send_logout_token(ciam.sign_logout_token(sid=sids(ciam)[0]))
        send_logout_token(ciam.sign_logout_token(sid="unknown"))
    signed_out.disconnect(record_signal)

    identity = CiamSession.objects.order_by("pk")[0].identity
    assert signals == [("back_channel", identity.user_id)]
    assert sorted(caplog.messages) == [
        "Back-channel logout: sessions=0",
        "Back-channel logout: sessions=1",
        f"Sign-out: user={identity.user_id} reason=back_channel",
    ]


# --- Front channel ----------------------------------------------------------------------------


def test_a_frame_on_ciams_page_ends_the_session_of_a_sid(
    people: list[Browser],
    ciam: FakeCiam,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    caplog.set_level(logging.INFO, "ciam_django")
    # Browsers do not send our cookies in the frame.
    with django_capture_on_commit_callbacks(execute=True):
        answer = Client().get(FRONT, {"iss": ciam.issuer, "sid": sids(ciam)[1]})

    (line,) = caplog.messages
    assert re.fullmatch(r"Sign-out: user=\d+ reason=front_channel", line)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["Content-Security-Policy"].endswith(f"frame-ancestors {ciam.url}")
    assert "X-Frame-Options" not in answer
    assert are_signed_in(people) == [True, False, True]


@for_each_row(
    "query",
    [
        {},
        {"iss": "{issuer}"},
        {"sid": "{sid}"},
        {"iss": "{issuer}", "sid": ""},
        {"iss": "https://evil.example", "sid": "{sid}"},
        {"iss": "{issuer}", "sid": ["{sid}", "{sid}"]},
        {"iss": ["{issuer}", "{issuer}"], "sid": "{sid}"},
    ],
)
def test_a_frame_without_exactly_one_valid_issuer_and_sid_ends_no_session(
    people: list[Browser], ciam: FakeCiam, query: dict[str, Any]
) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(item) for item in value]
        return value.format(issuer=ciam.issuer, sid=sids(ciam)[0])

    answer = Client().get(FRONT, {name: filled(value) for name, value in query.items()})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_logout_token")
    assert are_signed_in(people) == [True, True, True]


def test_a_malformed_logout_is_answered_without_the_middleware_of_this_package(
    db: None, ciam: FakeCiam, settings: Settings
) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.startswith("ciam_")]

    for answer in (Client().get(FRONT), Client().post(BACK)):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_logout_token")


def test_a_frame_with_an_unknown_sid_is_answered_with_200(
    people: list[Browser], ciam: FakeCiam
) -> None:
    answer = Client().get(FRONT, {"iss": ciam.issuer, "sid": "x"})

    assert (answer.status_code, answer.content) == (200, b"")


def test_ciams_own_mode_has_no_logout_by_ciam(
    db: None, fake_ciam: FakeCiam, settings: Settings
) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client("ciam")}

    assert Client().post(BACK, {"logout_token": "x"}).status_code == 404
    assert Client().get(FRONT, {"iss": "x", "sid": "x"}).status_code == 404
