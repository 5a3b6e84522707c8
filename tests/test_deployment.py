"""Tests of several processes with one database and one cache, as in a deployment."""

from __future__ import annotations

import dataclasses
import shutil
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import cache
from django.core.management import call_command
from django.db.models.signals import pre_delete
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import include, path

from ciam_django.accounts.linking import unlink_identity
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.accounts.session_store import (
    decrypted_tokens,
    encrypted_tokens,
    end_sessions,
)
from ciam_django.client.app import ciam_app
from ciam_django.client.person import Person
from ciam_django.errors import CiamError
from ciam_django.login import state
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from ciam_django.testing.keys import generate_certificate
from tests.browser import HTML, query_of
from tests.deployed import set_up_django
from tests.processes import forking_context
from tests.servers import SiteBrowser, running_gunicorn, running_nginx
from tests.silent_ciam import SERVERS, measure
from tests.users import get_or_create_user

PROCESSES = 4

pytestmark = pytest.mark.slow("deployments of several processes")


def show_username(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username())


urlpatterns = [path("", show_username), path("ciam/", include("ciam_django.urls"))]


@pytest.fixture
def database(
    postgres: Path | None, tmp_path: Path, request: pytest.FixtureRequest
) -> dict[str, Any]:
    """A new empty database in PostgreSQL, or in SQLite without PostgreSQL."""
    if postgres is None:
        # A process waits for the writes of other processes.
        options = {"timeout": 20, "transaction_mode": "IMMEDIATE"}
        place = str(tmp_path / "db.sqlite3")
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": place, "OPTIONS": options}
    # This fixture skips the test without PostgreSQL.
    created: dict[str, Any] = request.getfixturevalue("create_database")()
    return created


@pytest.fixture
def shared_cache(redis_or_none: Path | None) -> dict[str, Any]:
    """A cache for all processes in Redis, or in the database without Redis."""
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
    """A pool of processes with Django set up and with empty caches."""
    overrides = {
        "DATABASES": {"default": database},
        "CACHES": {"default": shared_cache},
        "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
        "AUTHLIB_OAUTH_CLIENTS": {"ciam": fake_ciam.client(mode)},
        "ROOT_URLCONF": __name__,
        "ALLOWED_HOSTS": ["testserver"],
    }
    with ProcessPoolExecutor(PROCESSES, forking_context, set_up_django, (overrides,)) as pool:
        pool.submit(_migrate).result()
        run_at_once(pool, time.time)
        yield pool


def _migrate() -> None:
    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)


def _run_at(moment: float, function: Callable[[], Any]) -> Any:
    time.sleep(max(0, moment - time.time()))
    return function()


def run_at_once(processes: ProcessPoolExecutor, function: Callable[[], Any]) -> list[Any]:
    return list(processes.map(_run_at, repeat(time.time() + 0.3, PROCESSES), repeat(function)))


# --- CIAM's documents, and states -------------------------------------------------------------


def _key_id() -> object:
    return ciam_app()._cached_keys(ciam_app().load_server_metadata()).get_copy().content.keys[0].kid


def _newer_key_id() -> object:
    keys = ciam_app()._cached_keys(ciam_app().load_server_metadata())
    return keys.get_newer_copy(keys.get_copy()).content.keys[0].kid


def test_the_documents_are_fetched_by_one_process_for_all_processes(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    assert set(run_at_once(processes, _key_id)) == {fake_ciam.key.kid}
    assert sorted(request.stage for request in fake_ciam.requests) == ["discovery", "jwks"]


def test_rotated_keys_are_fetched_by_one_process(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    run_at_once(processes, _key_id)
    fake_ciam.rotate_keys()

    assert set(run_at_once(processes, _newer_key_id)) == {fake_ciam.key.kid}
    # The keys are not fetched a second time in the same minute.
    assert set(run_at_once(processes, _newer_key_id)) == {fake_ciam.key.kid}
    assert sorted(request.stage for request in fake_ciam.requests) == ["discovery", "jwks", "jwks"]


def _claim_state(sign_in: state.SignInState) -> bool:
    return state.claim_state(sign_in)


def test_a_state_is_spent_once(processes: ProcessPoolExecutor) -> None:
    sign_in = state.new_sign_in_state(next_url="/")

    assert sorted(processes.map(_claim_state, [sign_in] * 20)) == [False] * 19 + [True]


def _open_callback(url: str, cookies: Mapping[str, str]) -> RecordedResponse:
    """Open a callback until its outcome is known, as the page of a callback does by itself."""
    response = _send_request("get", url, cookies)
    until = time.monotonic() + 20
    while response.status == 200 and time.monotonic() < until:
        time.sleep(0.1)
        response = _send_request("get", url, cookies)
    return response


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_simultaneous_callbacks_of_a_browser_have_one_session_in_all_processes(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    authorize = processes.submit(_send_request, "post", "/ciam/authorize/", {}).result()
    parts = urlsplit(fake_ciam.authorize(authorize.location))
    url = f"{parts.path}?{parts.query}"
    fake_ciam.requests.clear()
    arguments = (repeat(argument, PROCESSES) for argument in (url, authorize.cookies))
    answers = list(processes.map(_open_callback, *arguments))

    assert {answer.status for answer in answers} == {302}
    assert len({answer.cookies["sessionid"] for answer in answers}) == 1
    assert [request.stage for request in fake_ciam.requests].count("token") == 1
    assert processes.submit(_count_sessions).result() == 1
    # With any of the responses, the user is signed in, and CIAM can end the session.
    for answer in answers:
        assert open_home_page(processes, answer.cookies)[0].content
    assert processes.submit(_end_all_sessions).result() == 1
    assert processes.submit(_open_callback, url, authorize.cookies).result().status == 400


def _count_sessions() -> int:
    return CiamSession.objects.count()


def _end_all_sessions() -> int:
    return end_sessions(CiamSession.objects.all(), "back_channel")


# --- Accounts ---------------------------------------------------------------------------------


def _user_of(person: Person) -> int:
    return int(get_or_create_user(person).pk)


def _counts() -> tuple[int, int]:
    return CiamIdentity.objects.count(), User.objects.count()


def test_simultaneous_first_sign_ins_create_one_user(processes: ProcessPoolExecutor) -> None:
    people = [Person("https://ciam.example", f"u-{number}") for number in range(10)]
    tasks = [person for person in people for _ in range(PROCESSES)]
    users = list(processes.map(_user_of, tasks))

    assert len(set(users)) == 10
    assert all(len(set(users[i : i + PROCESSES])) == 1 for i in range(0, 40, PROCESSES))
    assert processes.submit(_counts).result() == (10, 10)


# --- Sessions ---------------------------------------------------------------------------------


class RecordedResponse(NamedTuple):
    status: int
    location: str
    content: str
    cookies: dict[str, str]


def _send_request(
    method: str, url: str, cookies: Mapping[str, str], data: Any = None
) -> RecordedResponse:
    client = Client(headers={"Accept": HTML})
    client.cookies.load(dict(cookies))
    response = getattr(client, method)(url, data)
    values = {name: morsel.value for name, morsel in client.cookies.items() if morsel.value}
    return RecordedResponse(
        response.status_code, response.get("Location", ""), response.content.decode(), values
    )


def sign_in_across_processes(
    processes: ProcessPoolExecutor, ciam: FakeCiam, username: str = "li"
) -> dict[str, str]:
    """Sign in with each request in another process, and return the cookies."""
    authorize = processes.submit(_send_request, "post", "/ciam/authorize/", {}).result()
    assert authorize.status == 302, authorize.content
    parts = urlsplit(ciam.authorize(authorize.location, username=username))
    url = f"{parts.path}?{parts.query}"
    callback = processes.submit(_send_request, "get", url, authorize.cookies).result()
    assert callback.status == 302, callback.content
    return dict(callback.cookies)


def open_home_page(
    processes: ProcessPoolExecutor, cookies: Mapping[str, str], times: int = 1
) -> list[RecordedResponse]:
    arguments = (repeat(argument, times) for argument in ("get", "/", cookies))
    return list(processes.map(_send_request, *arguments))


def _make_refresh_due(session_key: str, changes: Mapping[str, Any]) -> None:
    """Change the stored tokens, and let the next request check the session."""
    stored = CiamSession.objects.get()
    CiamSession.objects.update(
        sealed=encrypted_tokens(dataclasses.replace(decrypted_tokens(stored.sealed), **changes))
    )
    session = SessionStore(session_key)
    session["ciam_session"] = {**session["ciam_session"], "look_at": 1}
    session.save()


def make_refresh_due(
    processes: ProcessPoolExecutor, cookies: Mapping[str, str], **changes: Any
) -> None:
    processes.submit(
        _make_refresh_due, cookies["sessionid"], {"refresh_from": 1.0, **changes}
    ).result()


def test_a_refresh_lets_other_requests_use_the_old_tokens(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    cookies = sign_in_across_processes(processes, fake_ciam)
    make_refresh_due(processes, cookies)
    answers = open_home_page(processes, cookies, 20)

    assert {answer.status for answer in answers} == {200}
    assert all(answer.content for answer in answers)
    assert [request.stage for request in fake_ciam.requests].count("refresh") == 1


def test_a_refresh_of_expired_tokens_makes_other_requests_wait(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    cookies = sign_in_across_processes(processes, fake_ciam)
    make_refresh_due(processes, cookies, expires_at=2.0)
    fake_ciam.misbehave("refresh", "slow", seconds=0.5)
    answers = open_home_page(processes, cookies, 20)

    assert all(answer.status == 200 and answer.content for answer in answers)
    # The slow refresh has no valid answer, so at most one more refresh follows.
    assert [request.stage for request in fake_ciam.requests].count("refresh") <= 2


def test_an_ended_session_is_ended_in_all_processes(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    cookies = sign_in_across_processes(processes, fake_ciam)
    fake_ciam.revoke_tokens("li")
    make_refresh_due(processes, cookies)
    statuses = [answer.status for answer in open_home_page(processes, cookies, 12)]

    assert 401 in statuses
    assert {answer.content for answer in open_home_page(processes, cookies, 4)} == {""}


def test_a_failed_refresh_never_replaces_the_tokens(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    cookies = sign_in_across_processes(processes, fake_ciam)
    make_refresh_due(processes, cookies)
    fake_ciam.misbehave("refresh", "html")
    assert {answer.status for answer in open_home_page(processes, cookies, 12)} == {200}

    assert processes.submit(_access_token).result() in fake_ciam.access_tokens


def _access_token() -> str:
    return decrypted_tokens(CiamSession.objects.get().sealed).access_token


# --- Back-channel logout ----------------------------------------------------------------------


def _post_logout_token(token: str) -> int:
    return Client().post("/ciam/logout/back/", {"logout_token": token}).status_code


def test_a_logout_token_ends_sessions_in_all_processes_and_is_valid_once(
    processes: ProcessPoolExecutor, fake_ciam: FakeCiam
) -> None:
    sessions = [
        sign_in_across_processes(processes, fake_ciam, name) for name in ("li", "li", "wang")
    ]
    token = fake_ciam.sign_logout_token(sub=user_id_of("li"))
    statuses = list(processes.map(_post_logout_token, [token] * 12))

    assert sorted(statuses) == [200] + [400] * 11
    for cookies, is_signed_in in zip(sessions, (False, False, True), strict=True):
        answers = open_home_page(processes, cookies, 4)
        assert {bool(answer.content) for answer in answers} == {is_signed_in}


# --- Identities -------------------------------------------------------------------------------


def _create_four_identities() -> list[int]:
    user = User.objects.get(pk=_user_of(Person("https://ciam.example", "u-1")))
    for subject in ("u-2", "u-3", "u-4"):
        CiamIdentity.objects.create(user=user, issuer="https://ciam.example", subject=subject)
    return [identity.pk for identity in CiamIdentity.objects.all()]


def _wait_for_all(place: str, seconds: float) -> None:
    """Wait until all processes have reached ``place``, but at most ``seconds``."""
    cache.add(place, 0)
    cache.incr(place)
    until = time.monotonic() + seconds
    while cache.get(place) < PROCESSES and time.monotonic() < until:
        time.sleep(0.01)


def _wait_before_deleting(sender: object, **kwargs: object) -> None:
    """Receive ``pre_delete``: each waiting process has found another login method."""
    _wait_for_all("deleting", 2)


def _unlink_identity(identity_id: int) -> str:
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


def test_simultaneous_unlinking_keeps_the_last_identity(processes: ProcessPoolExecutor) -> None:
    identities = processes.submit(_create_four_identities).result()
    codes = list(processes.map(_unlink_identity, identities))

    assert sorted(codes) == ["gone", "gone", "gone", "last_way_in"]
    assert processes.submit(_counts).result() == (1, 1)


# --- Servers ----------------------------------------------------------------------------------


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="ciam_django-", dir="/tmp") as folder:
        yield Path(folder)


def test_a_person_signs_in_with_gunicorn_on_a_unix_socket(
    server_folder: Path, fake_ciam: FakeCiam
) -> None:
    settings = {"AUTHLIB_OAUTH_CLIENTS": {"ciam": fake_ciam.client("oidc")}}
    with running_gunicorn(server_folder, settings, "--workers", "2") as place:
        browser = SiteBrowser(place)
        response = browser.sign_in(fake_ciam)

        assert (response.status, response.headers["Location"]) == (302, "/accounts/profile/")
        assert browser.open("/").content


def test_a_person_signs_in_with_gunicorn_behind_nginx_with_tls(
    server_folder: Path, fake_ciam: FakeCiam
) -> None:
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        pytest.skip("nginx is not installed, so that no proxy ends TLS")
    certificate = server_folder / "certificate.pem"
    certificate.write_bytes(generate_certificate())
    settings = {
        "AUTHLIB_OAUTH_CLIENTS": {"ciam": fake_ciam.client("oidc")},
        "SECURE_PROXY_SSL_HEADER": ["HTTP_X_FORWARDED_PROTO", "https"],
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
    }
    context = ssl.create_default_context(cafile=certificate)
    with (
        running_gunicorn(server_folder, settings, "--workers", "2") as gunicorn,
        running_nginx(program, server_folder, gunicorn, certificate) as nginx,
    ):
        browser = SiteBrowser(nginx, context)
        start = browser.start_sign_in()
        response = browser.sign_in(fake_ciam)

        assert query_of(start.headers["Location"])["redirect_uri"] == (
            "https://localhost/ciam/callback/"
        )
        assert "; Secure" in start.headers["Set-Cookie"]
        assert (response.status, response.headers["Location"]) == (302, "/accounts/profile/")
        assert browser.open("/").content


@pytest.mark.parametrize("server", SERVERS)
def test_pages_are_fast_and_sign_ins_fail_at_once_while_ciam_is_silent(
    server_folder: Path, fake_ciam: FakeCiam, server: str
) -> None:
    """A busy machine has more time than ``benchmarks.bad_day``, which prints the times."""
    timeout = 4.0
    measured = measure(fake_ciam, server_folder, server, timeout=timeout)

    assert {timed.response.status for timed in (*measured.first, *measured.refused)} == {503}
    assert all(timed.seconds < 2 * timeout for timed in measured.first)
    assert all("Retry-After" in timed.response.headers for timed in measured.refused)
    assert all(timed.seconds < timeout / 2 for timed in measured.refused)
    # One visitor waits for CIAM, and the other visitors do not.
    assert sum(timed.seconds >= timeout for timed in measured.retried) <= 1
    assert all(timed.seconds < timeout / 2 for timed in measured.silent)
    assert {timed.response.status for timed in measured.recovered} == {302}
