"""CIAM signs somebody out: the sessions meant end, on whatever machine, and no others."""

from __future__ import annotations

import logging
import time
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
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamSession
from ciam_django.accounts.signals import signed_out
from ciam_django.client.logout_tokens import MAX_AGE
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from tests.browser import Browser

BACK = "/ciam/logout/back/"
FRONT = "/ciam/logout/front/"


def public(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user.is_authenticated))


class SessionStore(DatabaseStore):
    """Django's, to which something happens first."""

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
    """Two browsers of Li's, and one of Wang's."""
    browsers = [Browser(ciam) for _ in range(3)]
    for browser, name in zip(browsers, ["li", "li", "wang"], strict=True):
        assert browser.sign_in(name).status_code == 302
    return browsers


def sids(ciam: FakeCiam) -> list[str]:
    return [sign_in.sid for sign_in in ciam.access_tokens.values()]


def are_in(people: list[Browser]) -> list[bool]:
    return [person.client.get("/").content == b"True" for person in people]


def sends(token: object) -> Any:
    return Client(enforce_csrf_checks=True).post(BACK, {"logout_token": token})


# --- Back channel -----------------------------------------------------------------------------


def test_a_session_of_a_sid_ends_and_no_other(people: list[Browser], ciam: FakeCiam) -> None:
    answer = sends(ciam.sign_logout_token(sid=sids(ciam)[0]))

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["Cache-Control"] == "no-store"
    assert are_in(people) == [False, True, True]
    assert people[0].client.session.is_empty()


def test_all_sessions_of_a_person_end(people: list[Browser], ciam: FakeCiam) -> None:
    assert sends(ciam.sign_logout_token(sub=user_id_of("li"))).status_code == 200
    assert are_in(people) == [False, False, True]


def test_a_project_without_time_zones_ends_them_as_well(
    ciam: FakeCiam, db: None, settings: Settings
) -> None:
    settings.USE_TZ = False
    browser = Browser(ciam)
    browser.sign_in()

    assert sends(ciam.sign_logout_token(sub=user_id_of("li"))).status_code == 200
    assert are_in([browser]) == [False]


def test_a_sid_of_somebody_else_ends_nothing(people: list[Browser], ciam: FakeCiam) -> None:
    token = ciam.sign_logout_token(sid=sids(ciam)[2], sub=user_id_of("li"))

    assert sends(token).status_code == 200
    assert are_in(people) == [True, True, True]


def test_who_is_unknown_is_no_failure(people: list[Browser], ciam: FakeCiam) -> None:
    assert sends(ciam.sign_logout_token(sid="x")).status_code == 200
    assert sends(ciam.sign_logout_token(sub="x")).status_code == 200
    assert are_in(people) == [True, True, True]


def test_whoever_has_signed_in_since_stays(people: list[Browser], ciam: FakeCiam) -> None:
    CiamSession.objects.filter(sid_key="").update(sid_key="x")
    later = timezone.now() + timedelta(minutes=5)
    newest = CiamSession.objects.order_by("pk")[1]
    CiamSession.objects.filter(pk=newest.pk).update(created_at=later)
    sends(ciam.sign_logout_token(sub=user_id_of("li")))

    assert are_in(people) == [False, True, True]


def test_a_key_that_has_just_been_rotated_is_fetched(people: list[Browser], ciam: FakeCiam) -> None:
    ciam.rotate_keys()

    assert sends(ciam.sign_logout_token(sub=user_id_of("li"))).status_code == 200
    assert are_in(people) == [False, False, True]


EVENT = "http://schemas.openid.net/event/backchannel-logout"
WRONG: dict[str, Callable[[FakeCiam, dict[str, Any]], object]] = {
    "nothing": lambda ciam, who: "",
    "no token": lambda ciam, who: "not.a.token",
    "bytes": lambda ciam, who: "\0\ud7ff" * 20,
    "too long": lambda ciam, who: ciam.sign_logout_token(**who, more="x" * 10_000),
    "another issuer": lambda ciam, who: ciam.sign_logout_token(**who, iss="https://evil.example"),
    "no issuer": lambda ciam, who: ciam.sign_logout_token(**who, iss=None),
    "another client": lambda ciam, who: ciam.sign_logout_token(**who, aud="other"),
    "no audience": lambda ciam, who: ciam.sign_logout_token(**who, aud=None),
    "no time": lambda ciam, who: ciam.sign_logout_token(**who, iat=None),
    "time as a text": lambda ciam, who: ciam.sign_logout_token(**who, iat="now"),
    "of tomorrow": lambda ciam, who: ciam.sign_logout_token(**who, iat=int(time.time()) + 86400),
    "of yesterday": lambda ciam, who: ciam.sign_logout_token(**who, iat=int(time.time()) - 86400),
    "ended": lambda ciam, who: ciam.sign_logout_token(**who, exp=int(time.time()) - 300),
    "endless": lambda ciam, who: ciam.sign_logout_token(**who, exp=None),
    "no events": lambda ciam, who: ciam.sign_logout_token(**who, events=None),
    "another event": lambda ciam, who: ciam.sign_logout_token(**who, events={"x": {}}),
    "an event of no kind": lambda ciam, who: ciam.sign_logout_token(**who, events={EVENT: 1}),
    "events as a list": lambda ciam, who: ciam.sign_logout_token(**who, events=[EVENT]),
    "no id": lambda ciam, who: ciam.sign_logout_token(**who, jti=None),
    "an id of no kind": lambda ciam, who: ciam.sign_logout_token(**who, jti={"x": 1}),
    "nobody": lambda ciam, who: ciam.sign_logout_token(),
    "somebody of no kind": lambda ciam, who: ciam.sign_logout_token(**{**who, "sub": ["x"]}),
    "a session of no kind": lambda ciam, who: ciam.sign_logout_token(**{**who, "sid": 1}),
    "half a line": lambda ciam, who: ciam.sign_logout_token(**{**who, "sid": "a\nb"}),
    "a nonce": lambda ciam, who: ciam.sign_logout_token(**who, nonce="x"),
    "an access token": lambda ciam, who: ciam.sign_logout_token(**who, header={"typ": "at+jwt"}),
    "no signature": lambda ciam, who: ciam.sign_logout_token(**who, header={"alg": "none"}),
    "a shared secret": lambda ciam, who: ciam.sign_logout_token(**who, header={"alg": "HS256"}),
    "an unknown key": lambda ciam, who: ciam.sign_logout_token(**who, header={"kid": "x"}),
    "an id_token": lambda ciam, who: ciam.sign_id_token(
        next(iter(ciam.access_tokens.values())), ""
    ),
    "two": lambda ciam, who: [ciam.sign_logout_token(**who), ciam.sign_logout_token(**who)],
}


@pytest.mark.parametrize("what", WRONG)
def test_a_token_that_is_wrong_in_any_part_ends_nothing(
    people: list[Browser], ciam: FakeCiam, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = WRONG[what](ciam, {"sub": user_id_of("li"), "sid": sids(ciam)[0]})
    with caplog.at_level(logging.DEBUG):
        answer = sends(token)

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_logout_token"
    assert are_in(people) == [True, True, True]
    # Whoever sends it has proved nothing, and can set off no alarm.
    ours = [record for record in caplog.records if record.name.startswith("ciam_django")]
    assert [record.levelname for record in ours] == ["INFO"]
    assert not token or str(token) not in caplog.text


def test_a_forged_signature_ends_nothing(people: list[Browser], ciam: FakeCiam) -> None:
    token = ciam.sign_logout_token(sub=user_id_of("li"))
    head, _, signature = token.rpartition(".")

    assert sends(f"{head}.{signature[::-1]}").status_code == 400
    assert are_in(people) == [True, True, True]


def test_a_token_is_good_once(people: list[Browser], ciam: FakeCiam) -> None:
    token = ciam.sign_logout_token(sub=user_id_of("li"))
    assert sends(token).status_code == 200
    people[0].sign_in()

    assert sends(token).status_code == 400
    assert are_in(people) == [True, False, True]


def test_a_token_is_good_once_for_as_long_as_it_would_be_taken(
    people: list[Browser], ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_an_hour = int(time.time()) + 3600
    first, second = (ciam.sign_logout_token(sub=user_id_of("li"), exp=in_an_hour) for _ in range(2))
    assert sends(first).status_code == 200
    later = time.time() + MAX_AGE - 1
    monkeypatch.setattr(time, "time", lambda: later)

    # Another of the same age is still taken.
    assert sends(second).status_code == 200
    assert sends(first).status_code == 400


def test_while_ciams_keys_are_out_of_reach_it_is_not_the_tokens_fault(
    people: list[Browser], ciam: FakeCiam, settings: Settings
) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = dict(settings.AUTHLIB_OAUTH_CLIENTS)
    cache.clear()
    ciam.misbehave("jwks", "reset", times=None)
    token = ciam.sign_logout_token(sub=user_id_of("li"))
    assert sends(token).status_code == 503
    ciam.reset()


def test_what_could_not_be_ended_can_be_asked_for_again(
    people: list[Browser],
    ciam: FakeCiam,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = ciam.sign_logout_token(sub=user_id_of("li"))
    settings.SESSION_ENGINE = __name__

    def fails() -> None:
        raise ConnectionError

    monkeypatch.setattr(SessionStore, "before_delete", fails)
    with pytest.raises(ConnectionError):
        sends(token)
    monkeypatch.undo()
    assert sends(token).status_code == 200
    assert are_in(people) == [False, False, True]


def test_what_another_process_ends_at_the_same_moment_is_told_of_once(
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
        assert sends(ciam.sign_logout_token(sub=user_id_of("li"))).status_code == 200

    assert not callbacks
    assert are_in(people) == [False, False, True]


def test_what_no_key_opens_is_over_all_the_same(people: list[Browser], ciam: FakeCiam) -> None:
    CiamSession.objects.update(sealed="nothing that anybody sealed")

    assert sends(ciam.sign_logout_token(sub=user_id_of("li"))).status_code == 200
    assert CiamSession.objects.active().count() == 1


def test_only_a_post_is_taken(db: None, ciam: FakeCiam) -> None:
    assert Client().get(BACK).status_code == 405
    assert Client().post(FRONT).status_code == 405


def test_a_project_is_told(
    people: list[Browser],
    ciam: FakeCiam,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    heard: list[tuple[object, object]] = []

    def hear(sender: object, **told: Any) -> None:
        heard.append((told["reason"], told["user"].pk))

    signed_out.connect(hear)
    with django_capture_on_commit_callbacks(execute=True):
        sends(ciam.sign_logout_token(sid=sids(ciam)[0]))
    signed_out.disconnect(hear)

    identity = CiamSession.objects.order_by("pk")[0].identity
    assert heard == [("back_channel", identity.user_id)]


# --- Front channel ----------------------------------------------------------------------------


def test_a_frame_of_ciams_ends_the_session_of_a_sid(people: list[Browser], ciam: FakeCiam) -> None:
    # Browsers withhold our cookies there.
    answer = Client().get(FRONT, {"iss": ciam.issuer, "sid": sids(ciam)[1]})

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["Content-Security-Policy"].endswith(f"frame-ancestors {ciam.url}")
    assert "X-Frame-Options" not in answer
    assert are_in(people) == [True, False, True]


@pytest.mark.parametrize(
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
def test_a_frame_that_names_no_session_ends_none(
    people: list[Browser], ciam: FakeCiam, query: dict[str, Any]
) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(each) for each in value]
        return value.format(issuer=ciam.issuer, sid=sids(ciam)[0])

    answer = Client().get(FRONT, {name: filled(value) for name, value in query.items()})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_logout_token")
    assert are_in(people) == [True, True, True]


def test_an_unknown_sid_tells_nothing(people: list[Browser], ciam: FakeCiam) -> None:
    answer = Client().get(FRONT, {"iss": ciam.issuer, "sid": "x"})

    assert (answer.status_code, answer.content) == (200, b"")


def test_ciams_own_mode_has_neither(db: None, fake_ciam: FakeCiam, settings: Settings) -> None:
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake_ciam.client("ciam")}

    assert Client().post(BACK, {"logout_token": "x"}).status_code == 404
    assert Client().get(FRONT, {"iss": "x", "sid": "x"}).status_code == 404
