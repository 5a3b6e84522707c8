"""The questions about what only production shows: processes, workers, clocks and replicas."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import runpy
import secrets
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.sessions.backends.cached_db import SessionStore as CachedSessionStore
from django.core.cache import caches
from django.db import connections, router
from django.utils import timezone

from ciam_django.checks.caches import cache_fault
from ciam_django.conf import conf
from ciam_django.doctor import cache_process
from ciam_django.doctor.examination import Examination
from ciam_django.doctor.findings import Finding, Status

# --- Processes that share the cache -------------------------------------------------------------

_PROCESSES: Final = 4
_KEYS: Final = 20
# Seconds for the start of the processes, beside CIAM_TIMEOUT for the cache.
_START_SECONDS: Final = 20.0


def examine_cache_processes(examination: Examination) -> Iterator[Finding]:
    """Let several processes add the same keys to the cache: one process must win each key."""
    asked = f"the default cache: {_PROCESSES} processes that add the same {_KEYS} keys"
    try:
        winners = _winners()
    except (OSError, ValueError) as error:
        yield Finding(
            Status.WARNING,
            asked,
            f"no answer ({type(error).__name__})",
            "Correct the errors of the question 'cache', and ask again. If there are none, your "
            "cache needs more of your project than the settings CACHES and DATABASES.",
        )
        return
    if set(winners) == {1}:
        yield Finding(Status.OK, asked, "one winner of each key")
        return
    found = f"{min(winners)} to {max(winners)} winners of a key"
    if settings.DEBUG:
        yield Finding(Status.OK, asked, f"{found}; it is good enough with DEBUG and one process")
        return
    # The question 'cache' warns of a backend that is known.
    fault = cache_fault("default")
    yield Finding(
        Status.WARNING if fault else Status.ERROR,
        asked,
        f"{found}: the cache is {fault}" if fault else found,
        "The processes do not share the cache, or its add is not atomic: the limits let too much "
        "pass, a callback can be used twice, and each process has its own circuits. Use Redis or "
        "Memcached for the default cache in CACHES.",
    )


def _winners() -> list[int]:
    """Return the number of processes that have added each key.

    Raises ``OSError`` or ``ValueError`` if a process ends early or takes too long.
    """
    prefix = f"ciam_django.doctor.{secrets.token_hex(8)}"
    values = {name: getattr(settings, name) for name in cache_process.SETTINGS}
    task = json.dumps({"settings": values, "prefix": prefix, "keys": _KEYS}, default=_as_json)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    processes = [
        subprocess.Popen(  # noqa: S603  (the command is constant)
            [sys.executable, "-m", cache_process.__name__],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(_PROCESSES)
    ]

    def kill_processes() -> None:
        for process in processes:
            process.kill()

    # A read then ends at once.
    timer = threading.Timer(_START_SECONDS + conf.CIAM_TIMEOUT, kill_processes)
    timer.start()
    try:
        # The task has the passwords of the settings. Other users can read arguments of a command.
        _write_lines(processes, task)
        for process in processes:
            assert process.stdout
            if process.stdout.readline() != cache_process.READY:
                raise ValueError
        _write_lines(processes, "start")
        results = [json.loads(process.communicate()[0]) for process in processes]
    finally:
        timer.cancel()
        for process in processes:
            process.kill()
            # The end of the block waits for the process. A pipe of a killed process can be broken.
            with contextlib.suppress(OSError), process:
                pass
    caches["default"].delete_many([f"{prefix}.{number}" for number in range(_KEYS)])
    return [sum(added) for added in zip(*results, strict=True)]


def _write_lines(processes: list[subprocess.Popen[str]], line: str) -> None:
    for process in processes:
        assert process.stdin
        process.stdin.write(f"{line}\n")
        process.stdin.flush()


def _as_json(value: object) -> str:
    """Return a value of the settings as text: a function as its dotted path, and a path."""
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', '')}"
    return str(value)


# --- Workers ------------------------------------------------------------------------------------

# The file that gunicorn reads without --config.
_GUNICORN_FILE: Final = "gunicorn.conf.py"
_TIMEOUT_OPTION: Final = "--worker-timeout"
# gunicorn's own defaults (https://docs.gunicorn.org/en/stable/settings.html).
_GUNICORN_DEFAULTS: Final[Mapping[str, Any]] = {
    "timeout": 30,
    "workers": 1,
    "threads": 1,
    "worker_class": "sync",
}
# gunicorn also takes numbers that are texts.
_GUNICORN_TYPES: Final[Mapping[str, Any]] = {
    "timeout": lambda value: float(value) if isinstance(value, str) else value + 0,
    "workers": int,
    "threads": int,
    "worker_class": str,
}

# Seconds of a request beside its calls to CIAM.
_PAGE_SECONDS: Final = 5


def examine_workers(examination: Examination) -> Iterator[Finding]:
    """Compare the workers of the server with the time and the number of the calls to CIAM."""
    try:
        values, sources = _worker_settings(examination)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (the file is a program of the project)
        yield Finding(
            Status.ERROR,
            f"the settings of gunicorn, in WEB_CONCURRENCY, GUNICORN_CMD_ARGS and {_GUNICORN_FILE} "
            "or the file of --gunicorn-config",
            # The text of the exception may have secrets.
            f"the exception {type(error).__name__}",
            "Correct the numbers of the variables, the path and the program of the file: gunicorn "
            "fails, too. Name the time limit of another server with --worker-timeout.",
        )
        return
    if not sources:
        yield Finding(
            Status.SKIPPED,
            "workers",
            "the settings of the server are unknown: name them with --worker-timeout or "
            f"--gunicorn-config, in {_GUNICORN_FILE}, in GUNICORN_CMD_ARGS or in WEB_CONCURRENCY",
        )
        return
    # The option says nothing about the other settings, also if the server is gunicorn.
    names = ["timeout"] if sources == [_TIMEOUT_OPTION] else list(values)
    timeout, workers, threads = values["timeout"], values["workers"], values["threads"]
    # The other classes of workers have no time limit for a request.
    has_limit = values["worker_class"] == "sync" and threads == 1 and timeout > 0
    is_killed = has_limit and timeout <= conf.CIAM_TIMEOUT
    advice = []
    if is_killed:
        advice.append("A worker is killed while it waits for CIAM, and the sign-in is lost.")
    if has_limit and timeout < conf.CIAM_TIMEOUT + _PAGE_SECONDS:
        advice.append(
            f"Let the timeout be {conf.CIAM_TIMEOUT + _PAGE_SECONDS:g} seconds or more: the calls "
            "of a request take CIAM_TIMEOUT at most, and the page needs time beside the calls."
        )
    if "workers" in names and workers == threads == 1 and values["worker_class"] == "sync":
        advice.append(
            "Use more workers or threads: one worker serves nobody else while a sign-in waits for "
            "CIAM."
        )
    if 1 < threads <= conf.CIAM_MAX_CALLS:
        advice.append(
            f"Let CIAM_MAX_CALLS be below {threads}: calls to a slow CIAM can hold all threads of "
            "a process."
        )
    found = ", ".join(f"{name} {values[name]}" for name in names)
    yield Finding(
        Status.ERROR if is_killed else Status.WARNING if advice else Status.OK,
        f"the workers of the server, in {', '.join(sources)}",
        f"{found}; CIAM_TIMEOUT is {conf.CIAM_TIMEOUT:g}, and CIAM_MAX_CALLS {conf.CIAM_MAX_CALLS}",
        " ".join(advice),
    )


def _worker_settings(examination: Examination) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of the workers, and the sources that have set one.

    The order is that of gunicorn: a later source has precedence.
    """
    arguments = vars(
        _gunicorn_parser().parse_known_args(shlex.split(os.environ.get("GUNICORN_CMD_ARGS", "")))[0]
    )
    named_file = examination.gunicorn_config or arguments.pop("config")
    file = Path(named_file or _GUNICORN_FILE)
    in_file = runpy.run_path(str(file)) if named_file or file.exists() else {}
    of_environment = {"workers": int(os.environ.get("WEB_CONCURRENCY") or 0) or None}
    values, sources = dict(_GUNICORN_DEFAULTS), []
    for source, found in (
        ("WEB_CONCURRENCY", of_environment),
        (str(file), in_file),
        ("GUNICORN_CMD_ARGS", arguments),
        (_TIMEOUT_OPTION, {"timeout": examination.worker_timeout}),
    ):
        known = {
            name: _GUNICORN_TYPES[name](value)
            for name, value in found.items()
            if name in _GUNICORN_TYPES and value is not None
        }
        values |= known
        if known:
            sources.append(source)
    return values, sources


def _gunicorn_parser() -> argparse.ArgumentParser:
    """Return a parser of the options of gunicorn that matter here."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config")
    parser.add_argument("-t", "--timeout", type=float)
    parser.add_argument("-w", "--workers", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("-k", "--worker-class")
    return parser


# --- Databases ----------------------------------------------------------------------------------

# The vendor of a database server -> the query of its time, in seconds since the epoch.
_TIME_QUERIES: Final[Mapping[str, str]] = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
}
# The seconds of a clock that is good.
_GOOD_SECONDS: Final = 30


def examine_database_clock(examination: Examination) -> Iterator[Finding]:
    """Compare this machine's clock with the clock of the database server."""
    alias = router.db_for_write(apps.get_model("ciam_accounts", "CiamSession"))
    query = _TIME_QUERIES.get(connections[alias].vendor)
    if query is None:
        reason = f"the database {alias!r} has no server with a clock that is known"
        yield Finding(Status.SKIPPED, "database clock", reason)
        return
    began_at = time.time()
    with connections[alias].cursor() as cursor:
        cursor.execute(query)
        difference = float(cursor.fetchone()[0]) - (began_at + time.time()) / 2
    word = "ahead of" if difference > 0 else "behind"
    found = f"a clock that is {abs(difference):.1f} seconds {word} this machine's"
    is_good = abs(difference) <= _GOOD_SECONDS
    yield Finding(
        Status.OK if is_good else Status.WARNING,
        f"the time of the server of the database {alias!r}",
        found,
        ""
        if is_good
        else "Synchronize the clocks of all machines (NTP): the processes compare times that other "
        "machines have stored.",
    )


# Seconds between two reads of the replica.
_POLL_INTERVAL: Final = 0.01


def examine_replication(examination: Examination) -> Iterator[Finding]:
    """Store a session of Django, and read it from the database for reads."""
    engine = importlib.import_module(settings.SESSION_ENGINE)
    store = engine.SessionStore
    asked = "a new session of Django, in the database for reads"
    if not hasattr(store, "get_model_class") or issubclass(store, CachedSessionStore):
        found = f"sessions that the cache or a cookie has ({settings.SESSION_ENGINE})"
        yield Finding(Status.OK, asked, found)
        return
    model = store.get_model_class()
    writes, reads = router.db_for_write(model), router.db_for_read(model)
    if writes == reads:
        yield Finding(Status.OK, asked, f"the database {writes!r} for reads and writes")
        return
    rows = model._default_manager
    key = f"ciam-doctor-{secrets.token_hex(10)}"
    expire_date = timezone.now() + timedelta(minutes=1)
    model(session_key=key, session_data="", expire_date=expire_date).save(using=writes)
    try:
        began_at = time.monotonic()
        is_read = rows.using(reads).filter(session_key=key).exists()
        is_at_once = is_read
        while not is_read and time.monotonic() - began_at < conf.CIAM_TIMEOUT:
            time.sleep(_POLL_INTERVAL)
            is_read = rows.using(reads).filter(session_key=key).exists()
        seconds = time.monotonic() - began_at
    finally:
        rows.using(writes).filter(session_key=key).delete()
    places = f"written to {writes!r}, read from {reads!r}"
    if is_at_once:
        yield Finding(Status.OK, asked, f"the session at once ({places})")
        return
    lag = f"the session after {seconds:.2f} seconds" if is_read else "no session"
    yield Finding(
        Status.ERROR,
        asked,
        f"{lag} ({places})"
        if is_read
        else f"{lag} within {conf.CIAM_TIMEOUT:g} seconds ({places})",
        "A user who has just signed in is anonymous at the next page. Let the router read the app "
        "'sessions' from the database for writes, or set SESSION_ENGINE to "
        "'django.contrib.sessions.backends.cached_db'.",
    )
