"""Test the questions about processes, workers, clocks and replicas."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings
from pytest_django.fixtures import Settings
from pytest_django.plugin import DjangoDbBlocker

from ciam_django.doctor import production
from ciam_django.doctor.findings import Status
from tests.caches import DOWN_CACHES, make_key
from tests.doctor.conftest import Ask
from tests.doctor.test_site import cache_setting, status_and_text
from tests.rows import for_each_row

MEMORY: Final = "django.core.cache.backends.locmem.LocMemCache"


# --- Processes ----------------------------------------------------------------------------------


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(production, "_PROCESSES", 2)
    monkeypatch.setattr(production, "_KEYS", 2)


@pytest.mark.usefixtures("two_processes")
@pytest.mark.parametrize(("is_debug", "status"), [(False, Status.WARNING), (True, Status.OK)])
def test_processes_that_do_not_share_the_cache_have_several_winners(
    settings: Settings, ask: Ask, is_debug: bool, status: Status
) -> None:
    settings.DEBUG = is_debug
    settings.CACHES = cache_setting(MEMORY, KEY_FUNCTION=make_key, LOCATION=Path("shop"))["CACHES"]
    found = status_and_text(ask("cache processes"))

    assert found[0] is status
    assert found[1].startswith("2 to 2 winners of a key")


@pytest.mark.usefixtures("two_processes")
def test_an_unknown_backend_whose_add_is_not_atomic_is_an_error(
    settings: Settings, ask: Ask
) -> None:
    settings.CACHES = cache_setting("tests.caches.ForgettingCache")["CACHES"]

    assert status_and_text(ask("cache processes"))[0] is Status.ERROR


@pytest.mark.slow("deployments of several processes")
def test_one_process_wins_each_key_of_a_shared_cache(
    settings: Settings, ask: Ask, redis: Path
) -> None:
    settings.CACHES = cache_setting(
        "django.core.cache.backends.redis.RedisCache", LOCATION=f"unix://{redis}"
    )["CACHES"]

    assert status_and_text(ask("cache processes")) == (Status.OK, "one winner of each key ")


@pytest.mark.usefixtures("two_processes")
def test_a_cache_without_its_server_is_a_question_without_an_answer(
    settings: Settings, ask: Ask
) -> None:
    settings.CACHES = {"default": DOWN_CACHES["Redis is down"]}
    status, text = status_and_text(ask("cache processes"))

    assert status is Status.WARNING
    assert text.startswith("no answer (ValueError)")


@pytest.mark.usefixtures("two_processes")
def test_processes_that_take_too_long_are_killed(
    settings: Settings, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(production, "_START_SECONDS", 0.0)
    settings.CIAM_TIMEOUT = 0.001

    assert status_and_text(ask("cache processes"))[0] is Status.WARNING


# --- Workers ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, without variables of a server."""
    for name in ("GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask_about_workers(*options: str) -> tuple[str, str]:
    """Return the status and the texts of the finding about the workers."""
    output = io.StringIO()
    try:
        call_command("ciam_doctor", "--only", "workers", "--json", *options, stdout=output)
    except CommandError as error:
        assert "workers" in str(error)  # noqa: PT017  (only some rows raise)
    (finding,) = json.loads(output.getvalue())["findings"]
    return finding["status"], f"{finding['asked']}: {finding['found']} {finding['advice']}"


@for_each_row(
    "variables, file, options, finding",
    [
        ({}, "", (), ("skipped", "name them with --worker-timeout")),
        (
            {},
            "",
            ("--worker-timeout", "60"),
            ("ok", "in --worker-timeout: timeout 60.0; CIAM_TIME"),
        ),
        ({}, "", ("--worker-timeout", "10"), ("error", "the sign-in is lost. Let the timeout")),
        ({}, "", ("--worker-timeout", "14.9"), ("warning", "be 15 seconds or more")),
        ({}, "", ("--worker-timeout", "0"), ("ok", "timeout 0.0")),
        ({"WEB_CONCURRENCY": "3"}, "", (), ("ok", "in WEB_CONCURRENCY: timeout 30, workers 3")),
        ({"WEB_CONCURRENCY": "1"}, "", (), ("warning", "Use more workers or threads")),
        (
            {},
            "workers = 4\ntimeout = 9",
            (),
            ("error", "in gunicorn.conf.py: timeout 9, workers 4"),
        ),
        ({}, "threads = 8\ntimeout = 9", (), ("ok", "threads 8")),
        (
            {},
            "workers = '4'\ntimeout = '9'\nthreads = None",
            (),
            ("error", "timeout 9.0, workers 4"),
        ),
        *(
            (variables, file, options, ("error", "the settings of gunicorn"))
            for variables, file, options in (
                ({"GUNICORN_CMD_ARGS": "--timeout=soon"}, "", ()),
                ({"GUNICORN_CMD_ARGS": "--timeout '9"}, "", ()),
                ({"WEB_CONCURRENCY": "auto"}, "", ()),
                ({}, "raise SystemExit('boom')", ()),
                ({}, "timeout = [9]", ()),
                ({}, "", ("--gunicorn-config", "missing.py")),
            )
        ),
        ({}, "threads = 6", (), ("warning", "Let CIAM_MAX_CALLS be below 6")),
        ({}, "worker_class = 'gevent'", (), ("ok", "worker_class gevent")),
        ({"WEB_CONCURRENCY": "2"}, "workers = 4", (), ("ok", "workers 4")),
        (
            {"GUNICORN_CMD_ARGS": "-w 2 --timeout=5 --bind :80"},
            "workers = 4\ntimeout = 60",
            (),
            ("error", "in gunicorn.conf.py, GUNICORN_CMD_ARGS: timeout 5.0, workers 2"),
        ),
        (
            {"GUNICORN_CMD_ARGS": "--timeout=5"},
            "workers = 4",
            ("--worker-timeout", "60"),
            ("ok", "timeout 60.0, workers 4"),
        ),
    ],
)
def test_the_workers_are_judged_by_what_gunicorn_would_read(
    folder: Path, variables: Mapping[str, str], file: str, options: tuple[str, ...], finding: Any
) -> None:
    status, text = finding
    configuration = folder / "gunicorn.conf.py"
    configuration.unlink(missing_ok=True)
    if file:
        configuration.write_text(file, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        found = ask_about_workers(*options)

    assert found[0] == status, found
    assert text in found[1]


@for_each_row("text", ["nan", "inf", "-1", "soon", ""])
def test_a_wrong_number_of_seconds_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="invalid number of seconds value"):
        call_command("ciam_doctor", "--only", "workers", f"--worker-timeout={text}")


@pytest.mark.parametrize("is_in_variable", [True, False])
def test_the_configuration_of_gunicorn_can_have_another_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_in_variable: bool
) -> None:
    (folder / "shop.py").write_text("workers = 5", encoding="utf-8")
    if is_in_variable:
        monkeypatch.setenv("GUNICORN_CMD_ARGS", "--config shop.py")
        status, text = ask_about_workers()
    else:
        status, text = ask_about_workers("--gunicorn-config", "shop.py")

    assert status == "ok"
    assert "in shop.py: timeout 30, workers 5" in text


# --- Databases ----------------------------------------------------------------------------------


class ReplicaRouter:
    """Read the sessions from a replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "replica" if model is Session else None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "primary" if model is Session else None


@contextmanager
def added_databases(
    blocker: DjangoDbBlocker, databases: Mapping[str, Mapping[str, Any]]
) -> Iterator[None]:
    """Add the databases to the project, without the transactions of ``django_db``."""
    configured = connections.configure_settings({"default": {}, **databases})
    connections.settings.update({alias: configured[alias] for alias in databases})
    try:
        with blocker.unblock():
            yield
    finally:
        for alias in databases:
            connections[alias].close()
            del connections[alias]
            del connections.settings[alias]


@pytest.fixture
def replicated(
    tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> Iterator[Callable[[str], None]]:
    """A project with a replica; the function creates the replica in a file of this name."""
    settings.DATABASE_ROUTERS = [f"{__name__}.ReplicaRouter"]
    settings.CIAM_TIMEOUT = 0.2

    def database(name: str) -> dict[str, Any]:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / name)}

    databases = {"primary": database("primary"), "replica": database("replica")}
    with added_databases(django_db_blocker, databases):

        def create(name: str) -> None:
            connections["replica"].settings_dict["NAME"] = str(tmp_path / name)
            for alias in dict.fromkeys(["primary", name]):
                with connections[alias].schema_editor() as editor:
                    editor.create_model(Session)

        yield create


def test_a_replica_that_has_the_session_at_once_is_ok(
    replicated: Callable[[str], None], ask: Ask
) -> None:
    replicated("primary")

    assert status_and_text(ask("replication")) == (
        Status.OK,
        "the session at once (written to 'primary', read from 'replica') ",
    )
    assert not Session.objects.using("primary").exists()


def test_a_replica_without_the_session_is_an_error(
    replicated: Callable[[str], None], ask: Ask
) -> None:
    replicated("replica")
    status, text = status_and_text(ask("replication"))

    assert status is Status.ERROR
    assert text.startswith("no session within 0.2 seconds (written to 'primary'")
    assert not Session.objects.using("primary").exists()


def test_the_lag_of_a_replica_is_an_error_with_its_seconds(
    replicated: Callable[[str], None],
    ask: Ask,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.CIAM_TIMEOUT = 30.0
    replicated("replica")

    def replicate(seconds: float) -> None:
        for session in Session.objects.using("primary"):
            session.save(using="replica", force_insert=True)

    # The question waits between two reads of the replica.
    monkeypatch.setattr(time, "sleep", replicate)
    status, text = status_and_text(ask("replication"))

    assert status is Status.ERROR
    assert text.startswith("the session after 0.")


@pytest.mark.django_db
@for_each_row(
    "engine, text",
    [
        ("db", "the database 'default' for reads and writes"),
        ("cached_db", "sessions that the cache or a cookie has"),
        ("signed_cookies", "sessions that the cache or a cookie has"),
    ],
)
def test_sessions_that_no_replica_has_are_ok(ask: Ask, engine: str, text: str) -> None:
    with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        found = status_and_text(ask("replication"))

    assert found[0] is Status.OK
    assert text in found[1]


@pytest.mark.django_db
def test_a_database_without_a_server_has_no_clock(ask: Ask) -> None:
    (found,) = ask("database clock")

    assert found.status is Status.SKIPPED


# The seconds since the epoch in SQLite.
NOW: Final = "(julianday('now') - 2440587.5) * 86400"


@pytest.mark.django_db
@for_each_row(
    "query, status, text",
    [
        (f"SELECT {NOW}", Status.OK, "a clock that is 0.0 seconds"),
        (f"SELECT {NOW} + 60", Status.WARNING, "ahead of this machine's Synchronize"),
        (f"SELECT {NOW} - 60", Status.WARNING, "behind this machine's Synchronize"),
    ],
)
def test_the_clock_of_the_database_is_judged(
    ask: Ask, query: str, status: Status, text: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(production, "_TIME_QUERIES", {"sqlite": query})
        found = status_and_text(ask("database clock"))

    assert found[0] is status
    assert text in found[1]


@pytest.mark.slow("several databases")
def test_postgresql_tells_its_time(
    create_database: Callable[[], dict[str, Any]],
    ask: Ask,
    settings: Settings,
    django_db_blocker: DjangoDbBlocker,
) -> None:
    with added_databases(django_db_blocker, {"primary": create_database()}):
        settings.DATABASE_ROUTERS = [f"{__name__}.PrimaryRouter"]
        status, text = status_and_text(ask("database clock"))

    assert status is Status.OK
    assert text.startswith("a clock that is 0.")


class PrimaryRouter:
    """Write all rows into the database ``primary``."""

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "primary"
