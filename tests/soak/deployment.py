"""Run nginx, gunicorn, uvicorn, PostgreSQL, Redis and the fake CIAM, and let them fail."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import psycopg
import redis

from ciam_django.testing import FakeCiam
from ciam_django.testing.keys import generate_certificate
from tests.servers import HOST

_NGINX = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream site {{
        # nginx would leave out a server for 10 seconds after one failure.
        server unix:{folder}/gunicorn max_fails=0;
        server unix:{folder}/uvicorn max_fails=0;
    }}
    server {{
        listen unix:{folder}/nginx ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/certificate.pem;
        location / {{
            proxy_pass http://site;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-For $http_x_visitor;
        }}
    }}
}}
"""
# Seconds without Redis, and with a CIAM that sends nothing.
OUTAGE_SECONDS: Final = 1.5
CIAM_TIMEOUT: Final = 3.0
_SITE: Final = "tests.soak.site"


def _wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


class _Service:
    """A server that can be started again after a failure."""

    def __init__(self, command: Sequence[str | Path], log: Path, **options: Any) -> None:
        self._command, self._log, self._options = command, log, options
        self.start()

    def start(self) -> None:
        """Start the server."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, **self._options)

    def stop(self, sign: signal.Signals) -> None:
        """Send a signal, and wait for the end of the server."""
        self.process.send_signal(sign)
        self.process.wait(60)

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        # multiprocessing starts a process beside uvicorn's workers.
        return [int(each) for each in children if b"resource_tracker" not in _command_line(each)]


def _command_line(pid: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _run_ciam(pipe: Connection, token_seconds: int) -> None:
    ciam = FakeCiam()
    ciam.token_lifetime = token_seconds
    with ciam:
        client = {**ciam.client("oidc"), "client_kwargs": {"scope": "openid USER_API"}}
        pipe.send(client)
        pipe.recv()


def _kill_worker(server: _Service) -> None:
    for worker in server.workers()[:1]:
        os.kill(worker, signal.SIGKILL)


@dataclass(frozen=True)
class Usage:
    """The memory (bytes), descriptors and connections of the workers."""

    memory: int
    descriptors: int
    database_connections: int
    cache_connections: int


@dataclass
class Deployment:
    """The running servers."""

    folder: Path
    context: ssl.SSLContext
    database: Mapping[str, Any]
    postgres: _Service
    cache: _Service
    gunicorn: _Service
    uvicorn: _Service
    ciam: Any

    def faults(self, only: str) -> Iterator[str]:
        """Let one part after the other fail, without an end; yield the name of each fault.

        Only the faults happen whose name has the text ``only``.
        """
        faults: dict[str, Callable[[], None]] = {
            "a worker of gunicorn is killed": functools.partial(_kill_worker, self.gunicorn),
            "Redis is killed": self._kill_redis,
            "PostgreSQL is restarted": self._restart_postgres,
            "CIAM is silent": self._silence_ciam,
            "a worker of uvicorn is killed": functools.partial(_kill_worker, self.uvicorn),
        }
        chosen = {name: fail for name, fail in faults.items() if only in name}
        for name, fail in itertools.cycle(chosen.items()):
            fail()
            yield name

    def _kill_redis(self) -> None:
        self.cache.stop(signal.SIGKILL)
        time.sleep(OUTAGE_SECONDS)
        (self.folder / "redis").unlink(missing_ok=True)
        self.cache.start()

    def _restart_postgres(self) -> None:
        # SIGINT is PostgreSQL's fast shutdown, as in "systemctl restart".
        self.postgres.stop(signal.SIGINT)
        self.postgres.start()
        _wait_until(self.has_database)

    def _silence_ciam(self) -> None:
        os.kill(self.ciam.pid, signal.SIGSTOP)
        time.sleep(OUTAGE_SECONDS)
        os.kill(self.ciam.pid, signal.SIGCONT)

    def has_database(self) -> bool:
        """Return True if PostgreSQL answers."""
        try:
            self.query("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def query(self, statement: Any, name: str = "postgres") -> Any:
        """Return the first row of a statement."""
        database = name if name == "postgres" else self.database["NAME"]
        with psycopg.connect(
            host=str(self.folder), user="tests", dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchone() if cursor.description else None

    def usage(self) -> Usage:
        """Return what the site uses now."""
        pids = [*self.gunicorn.workers(), *self.uvicorn.workers()]
        page = os.sysconf("SC_PAGE_SIZE")
        memory = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in pids]
        descriptors = [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids]
        (connections,) = self.query(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'soak'", "soak"
        )
        with redis.Redis(unix_socket_path=str(self.folder / "redis")) as client:
            cached: Any = client.info("clients")
        return Usage(sum(memory), sum(descriptors), connections, cached["connected_clients"])


@contextlib.contextmanager
def running_deployment(folder: Path, token_seconds: int) -> Iterator[Deployment]:
    """Run all servers in the folder, whose path must be short enough for Unix sockets."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    ciam = spawn.Process(target=_run_ciam, args=(theirs, token_seconds))
    ciam.start()
    client = ours.recv()
    with contextlib.ExitStack() as stack:
        stack.callback(ciam.join)
        stack.callback(ours.send, "stop")
        postgres = stack.enter_context(_stopping(_start_postgres(folder)))
        cache_command = ["redis-server", "--port", "0", "--unixsocket", str(folder / "redis")]
        cache_command += ["--save", "", "--dir", str(folder)]
        cache = stack.enter_context(_stopping(_Service(cache_command, folder / "redis.log")))
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "soak",
            "USER": "tests",
            "HOST": str(folder),
        }
        environment = _site_environment(folder, client, database)
        set_up = (
            f"import {_SITE}\nfrom django.core.management import call_command\n"
            "call_command('migrate', verbosity=0)"
        )
        subprocess.run([sys.executable, "-c", set_up], check=True, env=environment)
        gunicorn, uvicorn = (
            stack.enter_context(_stopping(_Service(command, folder / "site.log", env=environment)))
            for command in _site_commands(folder)
        )
        (folder / "certificate.pem").write_bytes(generate_certificate())
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = folder / "nginx.conf"
        configuration.write_text(_NGINX.format(folder=folder, user=user), encoding="utf-8")
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        nginx = _Service([program, "-c", configuration], folder / "nginx.log")
        stack.enter_context(_stopping(nginx))
        for name in ("gunicorn", "uvicorn", "nginx"):
            _wait_until((folder / name).exists)
        context = ssl.create_default_context(cafile=folder / "certificate.pem")
        yield Deployment(folder, context, database, postgres, cache, gunicorn, uvicorn, ciam)


@contextlib.contextmanager
def _stopping(service: _Service) -> Iterator[_Service]:
    try:
        yield service
    finally:
        service.stop(signal.SIGINT)


def _site_commands(folder: Path) -> Iterator[list[str]]:
    gunicorn = ["gunicorn", "--worker-class", "gthread", "--workers", "2", "--threads", "8"]
    yield [
        sys.executable, "-m", *gunicorn, "--bind", f"unix:{folder}/gunicorn",
        f"{_SITE}:application",
    ]  # fmt: skip
    yield [
        sys.executable, "-m", "uvicorn", "--workers", "2", "--uds", f"{folder}/uvicorn",
        "--no-access-log", f"{_SITE}:asgi_application",
    ]  # fmt: skip


def _site_environment(
    folder: Path, client: Mapping[str, Any], database: Mapping[str, Any]
) -> dict[str, str]:
    settings = {
        "ALLOWED_HOSTS": [HOST],
        "AUTHLIB_OAUTH_CLIENTS": {"ciam": client},
        "CACHES": {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": f"unix://{folder}/redis",
                "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
            }
        },
        "CIAM_CLIENT_IP": "ciam_django.network.forwarded_for",
        "CIAM_TIMEOUT": CIAM_TIMEOUT,
        "CIAM_TRUSTED_PROXIES": 1,
        "CSRF_COOKIE_SECURE": True,
        "DATABASES": {"default": database},
        "LOGGING": {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"stream": {"class": "logging.StreamHandler"}},
            "root": {"handlers": ["stream"], "level": "WARNING"},
        },
        "LOGIN_REDIRECT_URL": "/person/",
        "SECURE_PROXY_SSL_HEADER": ["HTTP_X_FORWARDED_PROTO", "https"],
        "SESSION_COOKIE_SECURE": True,
    }
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "SITE_SETTINGS": json.dumps(settings),
    }


def _start_postgres(folder: Path) -> _Service:
    candidates = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    programs = next(Path(path).resolve().parent for path in reversed(candidates) if path)
    options: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        # PostgreSQL does not run as root.
        shutil.chown(folder, "postgres")
        options["user"] = "postgres"
    data = ["-D", str(folder / "data")]
    initdb: list[str | Path] = [
        programs / "initdb",
        *data,
        "-U",
        "tests",
        "-A",
        "trust",
        "--no-sync",
    ]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **options)
    command: list[str | Path] = [programs / "postgres", *data, "-k", str(folder)]
    for option in ("listen_addresses=", "fsync=off", "max_connections=200"):
        command += ["-c", option]
    service = _Service(command, folder / "postgres.log", **options)

    def create() -> bool:
        try:
            with psycopg.connect(
                host=str(folder), user="tests", dbname="postgres", autocommit=True
            ) as connection:
                connection.execute("CREATE DATABASE soak")
        except psycopg.OperationalError:
            return False
        return True

    _wait_until(create)
    return service
