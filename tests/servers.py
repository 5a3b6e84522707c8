"""Run gunicorn and nginx on Unix sockets, and send them requests as a browser does."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from ciam_django.testing import FakeCiam

HOST = "localhost"
_HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


@contextlib.contextmanager
def running(command: Sequence[str | Path], place: Path, **options: Any) -> Iterator[None]:
    """Run a server; the block starts when the socket of the server exists."""
    options = {"stdout": subprocess.DEVNULL, **options}
    with subprocess.Popen(command, **options) as server:
        try:
            until = time.monotonic() + 180
            while not place.exists():
                assert server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.01)
            yield
        finally:
            server.send_signal(signal.SIGINT)


@contextlib.contextmanager
def running_gunicorn(
    folder: Path,
    settings: Mapping[str, Any],
    *options: str,
    site: str = "tests.deployed_site",
    source: Path | None = None,
) -> Iterator[Path]:
    """Run a site in gunicorn; the options are those of gunicorn's command line.

    The other arguments and the result are those of ``running_site``.
    """
    place = folder / "gunicorn"
    command = ["gunicorn", "--bind", f"unix:{place}", *options, f"{site}:application"]
    with running_site(folder, settings, place, command, site=site, source=source):
        yield place


@contextlib.contextmanager
def running_uvicorn(folder: Path, settings: Mapping[str, Any], *options: str) -> Iterator[Path]:
    """Run ``deployed_site`` in uvicorn; the options are those of uvicorn's command line.

    The arguments and the result are those of ``running_site``.
    """
    place = folder / "uvicorn"
    site = "tests.deployed_site:asgi_application"
    command = ["uvicorn", "--uds", str(place), "--no-access-log", *options, site]
    with running_site(folder, settings, place, command):
        yield place


@contextlib.contextmanager
def running_site(
    folder: Path,
    settings: Mapping[str, Any],
    place: Path,
    module: Sequence[str],
    *,
    site: str = "tests.deployed_site",
    source: Path | None = None,
) -> Iterator[None]:
    """Run the server ``python -m module`` with these settings and an SQLite database.

    ``place`` is the path of the server's socket, and ``site`` the module of the site. ``source`` is
    the folder of the packages ``ciam_django`` and ``tests``, if it is not the current folder.
    """
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3")}
    site_settings = {"ALLOWED_HOSTS": [HOST], "DATABASES": {"default": database}, **settings}
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "SITE_SETTINGS": json.dumps(site_settings),
    }
    if source:
        environment["PYTHONPATH"] = str(source)
    set_up = (
        f"import {site}\nfrom django.core.management import call_command\n"
        "call_command('migrate', verbosity=0)\ncall_command('createcachetable', verbosity=0)"
    )
    subprocess.run([sys.executable, "-c", set_up], check=True, env=environment, cwd=source)
    command = [sys.executable, "-m", *module]
    with running(command, place, env=environment, cwd=source, stderr=subprocess.DEVNULL):
        yield


_NGINX = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen unix:{folder}/nginx ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        location / {{
            proxy_pass http://unix:{gunicorn};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-For 192.0.2.7;
        }}
    }}
}}
"""


@contextlib.contextmanager
def running_nginx(program: str, folder: Path, gunicorn: Path, certificate: Path) -> Iterator[Path]:
    """Run nginx with TLS in front of gunicorn; yield the path of nginx's socket."""
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _NGINX.format(
            folder=folder,
            gunicorn=gunicorn,
            certificate=certificate,
            # Otherwise, a worker of root's nginx has another user, who can't open the folder.
            user="user root;" if os.geteuid() == 0 else "",
        ),
        encoding="utf-8",
    )
    place = folder / "nginx"
    with running([program, "-c", configuration], place, stderr=subprocess.DEVNULL):
        yield place


class _Connection(http.client.HTTPConnection):
    """A connection to a Unix socket, with TLS if there is a context."""

    def __init__(self, place: Path, context: ssl.SSLContext | None) -> None:
        super().__init__(HOST, timeout=60)
        self._place, self._context = place, context

    def connect(self) -> None:
        """Connect to the socket, which exists shortly before its server listens."""
        until = time.monotonic() + 60
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(60)
        while (refusal := plain.connect_ex(str(self._place))) == errno.ECONNREFUSED:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert refusal == 0, os.strerror(refusal)
        context = self._context
        self.sock = context.wrap_socket(plain, server_hostname=HOST) if context else plain


@dataclass(frozen=True)
class SiteResponse:
    """The response of a site."""

    status: int
    headers: Mapping[str, str]
    content: str


@dataclass
class SiteBrowser:
    """A browser that opens a site at the socket of its server; ``context`` is for TLS."""

    place: Path
    context: ssl.SSLContext | None = None
    cookies: dict[str, str] = field(default_factory=dict)

    def open(
        self, url: str, form: Mapping[str, str] | None = None, **more_headers: str
    ) -> SiteResponse:
        """Get the URL, or post the form to the URL with the CSRF token of the cookie."""
        headers = {
            "Accept": _HTML,
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            "Referer": f"{'https' if self.context else 'http'}://{HOST}/",
            **more_headers,
        }
        body = None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode({**form, "csrfmiddlewaretoken": self.cookies.get("csrftoken", "")})
        with contextlib.closing(_Connection(self.place, self.context)) as connection:
            connection.request("GET" if body is None else "POST", url, body, headers)
            response = connection.getresponse()
            content = response.read().decode()
        for line in response.headers.get_all("Set-Cookie", ()):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return SiteResponse(response.status, dict(response.headers), content)

    def start_sign_in(self) -> SiteResponse:
        """Post the form that leads to CIAM, from the login page."""
        if "csrftoken" not in self.cookies:
            self.open("/ciam/login/")
        return self.open("/ciam/authorize/", {})

    def sign_in(self, ciam: FakeCiam, username: str = "li") -> SiteResponse:
        """Sign in from start to end, and return the response of the callback."""
        location = self.start_sign_in().headers["Location"]
        parts = urlsplit(ciam.authorize(location, username=username))
        return self.open(f"{parts.path}?{parts.query}")
