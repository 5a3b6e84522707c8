"""Several processes with one database and one cache, as a deployment has them."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import cache
from django.core.management import call_command
from django.db.models.signals import pre_delete
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import include, path

from ciam_django.accounts import backends
from ciam_django.accounts.linking import unlink_identity
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.tokens import decrypted_tokens, encrypted_tokens
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from ciam_django.login import state
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from tests.browser import HTML
from tests.deployed import set_up_django

PROCESSES = 4

pytestmark = pytest.mark.slow("deployments of several processes")


def who(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username())


urlpatterns = [path("", who), path("ciam/", include("ciam_django.urls"))]


@pytest.fixture
def database(postgres: Path | None, tmp_path: Path) -> dict[str, Any]:
    """A database of its own, empty; SQLite where there is no PostgreSQL."""
    if postgres is None:
        # Whoever writes waits for whoever does.
        options = {"timeout": 20, "transaction_mode": "IMMEDIATE"}
        place = str(tmp_path / "db.sqlite3")
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": place, "OPTIONS": options}
    name = f"tests_{uuid.uuid4().hex}"
    with psycopg.connect(
        host=str(postgres), user="tests", dbname="postgres", autocommit=True
    ) as server:
        server.execute(f"CREATE DATABASE {name}")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": "tests",
        "HOST": str(postgres),
    }


@pytest.fixture
def shared_cache(redis_or_none: Path | None) -> dict[str, Any]:
    """A cache for all processes; in the database where there is no Redis."""
    if redis_or_none is None:
        return {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}
    place = f"unix://{redis_or_none}"
    return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": place}


@pytest.fixture
def mode() -> str:
    return "oidc"


@pytest.fixture
def processes(
    shared_cache: Mapping[str, Any], database: Mapping[str, Any], fake_ciam: FakeCiam, mode: str
) -> Iterator[ProcessPoolExecutor]:
    """A deployment, whose processes are up and know nothing yet."""
    configured = {
        "DATABASES": {"default": database},
        "CACHES": {"default": shared_cache},
        "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
        "AUTHLIB_OAUTH_CLIENTS": {"ciam": fake_ciam.client(mode)},
        "ROOT_URLCONF": __name__,
        "ALLOWED_HOSTS": ["testserver"],
    }
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, spawn, set_up_django, (configured,)) as pool:
        pool.submit(_migrate).result()
        all_at_once(pool, time.time)
        yield pool


def _migrate() -> None:
    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)


def _at(moment: float, function: Callable[[], Any]) -> Any:
    time.sleep(max(0, moment - time.time()))
    return function()


def all_at_once(processes: ProcessPoolExecutor, function: Callable[[], Any]) -> list[Any]:
    return list(processes.map(_at, repeat(time.time() + 0.3, PROCESSES), repeat(function)))


# --- What CIAM publishes, and states ----------------------------------------------------------


def _key_id() -> object:
    return ciam_app()._cached_keys().get_copy().content.keys[0].kid


def _newer_key_id() -> object:
    keys = ciam_app()._cached_keys()
    return keys.get_newer_copy(keys.get_copy()).content.keys[0].kid


def test_one_process_fetches_for_all(processes: ProcessPoolExecutor, fake_ciam: FakeCiam) -> None:
    assert set(all_at_once(processes, _key_id)) == {fake_ciam.key.kid}
    assert sorted(request.stage for request in fake_ciam.requests) == ["discovery", "jwks"]


def test_rotated_keys_are_fetched_by_one(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    all_at_once(processes, _key_id)
    fake_ciam.rotate_keys()

    assert set(all_at_once(processes, _newer_key_id)) == {fake_ciam.key.kid}
    # And no second time in the same minute.
    assert set(all_at_once(processes, _newer_key_id)) == {fake_ciam.key.kid}
    assert sorted(request.stage for request in fake_ciam.requests) == ["discovery", "jwks", "jwks"]


def _spend(sign_in: state.SignInState) -> bool:
    return state.claim_state(sign_in)


def test_a_state_is_spent_once(processes: ProcessPoolExecutor) -> None:
    sign_in = state.new_sign_in_state(next_url="/")

    assert sorted(processes.map(_spend, [sign_in] * 20)) == [False] * 19 + [True]


# --- Accounts ---------------------------------------------------------------------------------


def _user_of(person: Person) -> int:
    return int(backends.get_or_create_user(person).pk)


def _counts() -> tuple[int, int]:
    return CiamIdentity.objects.count(), User.objects.count()


def test_first_sign_ins_at_the_same_moment_make_one_user(processes: ProcessPoolExecutor) -> None:
    people = [Person("https://ciam.example", f"u-{number}") for number in range(10)]
    tasks = [person for person in people for _ in range(PROCESSES)]
    users = list(processes.map(_user_of, tasks))

    assert len(set(users)) == 10
    assert all(len(set(users[i : i + PROCESSES])) == 1 for i in range(0, 40, PROCESSES))
    assert processes.submit(_counts).result() == (10, 10)


# --- Sessions ---------------------------------------------------------------------------------


class Answered(NamedTuple):
    status: int
    location: str
    content: str
    cookies: dict[str, str]


def _answered(method: str, url: str, cookies: Mapping[str, str], data: Any = None) -> Answered:
    client = Client(headers={"Accept": HTML})
    client.cookies.load(dict(cookies))
    response = getattr(client, method)(url, data)
    kept = {name: it.value for name, it in client.cookies.items() if it.value}
    return Answered(
        response.status_code, response.get("Location", ""), response.content.decode(), kept
    )


def signed_in(
    processes: ProcessPoolExecutor, ciam: FakeCiam, username: str = "li"
) -> dict[str, str]:
    """The cookies of somebody whose every request was another process's."""
    leaves = processes.submit(_answered, "post", "/ciam/authorize/", {}).result()
    assert leaves.status == 302, leaves.content
    back = urlsplit(ciam.authorize(leaves.location, username=username))
    url = f"{back.path}?{back.query}"
    came = processes.submit(_answered, "get", url, leaves.cookies).result()
    assert came.status == 302, came.content
    return dict(came.cookies)


def seen(
    processes: ProcessPoolExecutor, cookies: Mapping[str, str], times: int = 1
) -> list[Answered]:
    asked = (repeat(given, times) for given in ("get", "/", cookies))
    return list(processes.map(_answered, *asked))


def _due(session_key: str, changed: Mapping[str, Any]) -> None:
    """Have the next request look at the session, whose tokens are changed."""
    kept = CiamSession.objects.get()
    CiamSession.objects.update(
        sealed=encrypted_tokens(dataclasses.replace(decrypted_tokens(kept.sealed), **changed))
    )
    session = SessionStore(session_key)
    session["ciam_session"] = {**session["ciam_session"], "look_at": 1}
    session.save()


def due(processes: ProcessPoolExecutor, cookies: Mapping[str, str], **changed: Any) -> None:
    processes.submit(_due, cookies["sessionid"], {"refresh_from": 1.0, **changed}).result()


def test_one_request_renews_while_others_use_the_old_tokens(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    cookies = signed_in(processes, fake_ciam)
    due(processes, cookies)
    answers = seen(processes, cookies, 20)

    assert {answer.status for answer in answers} == {200}
    assert all(answer.content for answer in answers)
    assert [request.stage for request in fake_ciam.requests].count("refresh") == 1


def test_one_request_renews_while_others_wait(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    cookies = signed_in(processes, fake_ciam)
    due(processes, cookies, expires_at=2.0)
    fake_ciam.misbehave("refresh", "slow", seconds=0.5)
    answers = seen(processes, cookies, 20)

    assert all(answer.status == 200 and answer.content for answer in answers)
    # The slow one had no answer, so that it is asked once more at most.
    assert [request.stage for request in fake_ciam.requests].count("refresh") <= 2


def test_a_session_that_has_ended_is_so_for_all(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    cookies = signed_in(processes, fake_ciam)
    fake_ciam.revoke_tokens("li")
    due(processes, cookies)
    statuses = [answer.status for answer in seen(processes, cookies, 12)]

    assert 401 in statuses
    assert {answer.content for answer in seen(processes, cookies, 4)} == {""}


def test_a_failure_never_takes_the_place_of_tokens(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    cookies = signed_in(processes, fake_ciam)
    due(processes, cookies)
    fake_ciam.misbehave("refresh", "html")
    assert {answer.status for answer in seen(processes, cookies, 12)} == {200}

    assert processes.submit(_access_token).result() in fake_ciam.access_tokens


def _access_token() -> str:
    return decrypted_tokens(CiamSession.objects.get().sealed).access_token


# --- Signed out by CIAM -----------------------------------------------------------------------


def _logged_out(token: str) -> int:
    return Client().post("/ciam/logout/back/", {"logout_token": token}).status_code


def test_a_logout_token_ends_sessions_everywhere_and_is_good_once(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    people = [signed_in(processes, fake_ciam, name) for name in ("li", "li", "wang")]
    token = fake_ciam.sign_logout_token(sub=user_id_of("li"))
    statuses = list(processes.map(_logged_out, [token] * 12))

    assert sorted(statuses) == [200] + [400] * 11
    for cookies, stays in zip(people, (False, False, True), strict=True):
        assert {bool(it.content) for it in seen(processes, cookies, 4)} == {stays}


# --- Ways in ----------------------------------------------------------------------------------


def _two_ways_in() -> list[int]:
    user = User.objects.get(pk=_user_of(Person("https://ciam.example", "u-1")))
    for subject in ("u-2", "u-3", "u-4"):
        CiamIdentity.objects.create(user=user, issuer="https://ciam.example", subject=subject)
    return [identity.pk for identity in CiamIdentity.objects.all()]


def _wait_for_all(place: str, seconds: float) -> None:
    """Wait for all processes to come to a place, but for no longer than these seconds."""
    cache.add(place, 0)
    cache.incr(place)
    until = time.monotonic() + seconds
    while cache.get(place) < PROCESSES and time.monotonic() < until:
        time.sleep(0.01)


def _wait_before_deleting(sender: object, **kwargs: object) -> None:
    """A receiver of ``pre_delete``: all who come here have seen that another way in stays."""
    _wait_for_all("deleting", 2)


def _unlinked(identity_id: int) -> str:
    pre_delete.connect(_wait_before_deleting, sender=CiamIdentity)
    identity = CiamIdentity.objects.filter(pk=identity_id).first()
    request = RequestFactory().post("/")
    request.session = SessionStore()
    request.user = User.objects.get()
    _wait_for_all("beginning", 60)
    try:
        unlink_identity(request, identity_id)
    except CiamError as error:
        return error.code
    return "gone" if identity else "never there"


def test_however_fast_they_go_one_way_in_stays(processes: ProcessPoolExecutor) -> None:
    identities = processes.submit(_two_ways_in).result()
    codes = list(processes.map(_unlinked, identities))

    assert sorted(codes) == ["gone", "gone", "gone", "last_way_in"]
    assert processes.submit(_counts).result() == (1, 1)
