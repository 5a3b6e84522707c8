"""``FakeCiam`` is the fake's HTTP server, with the methods that a test plans failures by."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final
from urllib.parse import urlencode, urlsplit

from werkzeug import Request, Response
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from ciam_django.testing import keys
from ciam_django.testing.api import API_ROUTES
from ciam_django.testing.endpoints import OAUTH_ROUTES, Reply, failure_response, s256, stage_of
from ciam_django.testing.failures import (
    BEHAVIOURS,
    EDGE_COOKIE,
    STAGES,
    Failure,
    Misbehaviour,
    RefusedError,
    checked_choice,
)
from ciam_django.testing.forgeries import FORGERIES
from ciam_django.testing.providers import AUTHORIZE_PATH, PROVIDER_PAGES, PROVIDER_ROUTES
from ciam_django.testing.tenant import PREFIX, Tenant
from ciam_django.testing.unreachable import UNREACHABLE

_HIDDEN_INPUT: Final = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_FORM_ACTION: Final = re.compile(r'<form method="post" action="([^"]*)">')


_ROUTES: Final = {**OAUTH_ROUTES, **API_ROUTES, **PROVIDER_ROUTES}


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the fake has received; ``stage`` is empty if the fake has no such address."""

    stage: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class FakeCiam(Tenant):
    """A fake CIAM on loopback, with real HTTP, real RS256 tokens, and any failure on demand.

    ``https`` serves TLS with a self-signed certificate, whose PEM file is ``ca_file``; ``port`` 0
    selects a free port. Use the fake in a ``with`` statement, or call ``start`` and ``stop``.

    The fake checks what a real server checks: the client, the redirect URI (the addresses of this
    machine are registered, add other addresses to ``redirect_uris``), PKCE, and the single use and
    the age of a code.

    ``connections`` is the number of connections accepted since the fake was created, ``requests``
    is the list of requests since the last ``reset``.

    The stages are those of ``failures.STAGES``. The API accepts the password and the code of the
    module ``accounts``. The tables of ``accounts`` say which user names have further steps, and
    which user names cannot sign in. ``consents`` is the list of the terms, as CIAM sends them. With
    ``requires_consents``, the API requires the user's consents; with ``wants_captcha``, it requires
    a CAPTCHA before it sends a code. ``login_page`` overrides members of the login page's
    configuration. ``api_id_token`` selects the API's
    id_token: ``oidc``, or ``ciam`` as CIAM documents it.

    The fake also serves social providers at ``provider_urls``; ``authorize_at_provider`` acts as
    the browser there.
    """

    def __init__(self, *, https: bool = False, port: int = 0) -> None:
        self.ca_file: str | None = None
        self.connections = 0
        self.stopped = threading.Event()
        self._https = https
        self._port = port
        self._server: BaseWSGIServer | None = None
        self._sockets: set[socket.socket] = set()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._requests: list[RecordedRequest] = []
        self._cleanup = contextlib.ExitStack()
        self._unreachable_urls: dict[str, str] = {}
        super().__init__()

    # --- Start and stop -----------------------------------------------------------------------

    def start(self) -> FakeCiam:
        """Listen on loopback and return the fake; raise ``OSError`` if the port is taken."""
        if self._server is not None:
            raise RuntimeError(f"The fake CIAM is running already, at {self.url}.")
        # This socket raises OSError if the port is taken. Werkzeug would end the process.
        listener = socket.create_server(("127.0.0.1", self._port))
        context: ssl.SSLContext | None = None
        if self._https:
            self._folder = tempfile.TemporaryDirectory(prefix="ciam_django-")
            self.ca_file = str(Path(self._folder.name) / "fake-ciam.pem")
            Path(self.ca_file).write_bytes(keys.generate_certificate())
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.ca_file)
        self.stopped.clear()
        with listener:
            self._server = server = make_server(
                "127.0.0.1",
                self._port,
                _unused_application,
                threaded=True,
                request_handler=_handler_class_for(self),
                fd=listener.fileno(),
            )
        if context:
            # The handshake runs in the connection's own thread. In this thread, a client that sends
            # nothing would block all other clients.
            server.ssl_context = context
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(
            target=server.serve_forever, args=(0.02,), name="fake CIAM", daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Stop listening, close the open connections, and delete the certificate."""
        if self._server is None:
            return
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        with self._lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        if self._folder:
            self._folder.cleanup()
            self._folder = None
        self._unreachable_urls.clear()
        self._cleanup.close()

    def __enter__(self) -> FakeCiam:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def reset(self) -> None:
        """Delete all planned faults, codes, tokens, accounts and recorded requests."""
        super().reset()
        self._requests = []

    # --- Address ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base address, for example ``http://127.0.0.1:54321``.

        ``RuntimeError`` is raised if the fake is not running.
        """
        if self._server is None:
            raise RuntimeError("The fake CIAM is not running: use it with 'with', or start() it.")
        return f"http{'s' if self._https else ''}://127.0.0.1:{self._server.port}"

    # --- Planned faults -----------------------------------------------------------------------

    def fail(
        self,
        stage: str,
        *,
        code: str,
        type_code: str = "",
        format: str = "",  # noqa: A002  (the vendor's word)
        status: int = 0,
        content_type: str = "application/json",
        text: str = "",
        request_id: str = "",
        headers: Mapping[str, str] | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer the next request of a stage with a failure that has this code.

        ``format`` is ``ciam`` or ``oauth``; the default is ``ciam`` for a code with a dot, and
        ``oauth`` for other codes. The default of ``status`` is 200 for ``ciam`` and 400 for
        ``oauth``; at the authorize page, the default is a redirect to the client with ``?error=``.
        ``text`` is the upstream text for developers. ``times`` is the number of requests that fail;
        None lets all requests fail until ``reset``.
        """
        failure = Failure(
            code, type_code, format, status, content_type, text, request_id, headers or {}
        )
        self.plan(stage, failure, times=times)

    def misbehave(
        self, stage: str, behaviour: str, *, times: int | None = 1, seconds: float | None = None
    ) -> None:
        """Answer the next request of a stage with a behaviour of ``failures.BEHAVIOURS``.

        ``seconds`` is the duration of a slow behaviour, which also ends when the fake stops; the
        default is ``slow_seconds``, 30. ``times`` is the number of requests that the fake answers
        so; None means all requests until ``reset``.
        """
        checked_choice("behaviour", behaviour, BEHAVIOURS)
        duration = self.slow_seconds if seconds is None else seconds
        self.plan(stage, Misbehaviour(behaviour, duration), times=times)

    def unreachable(self, stage: str, how: str) -> None:
        """Publish an unreachable address for a stage in the metadata and in ``client()``.

        Call this method before the test reads the metadata or ``client()``; ``reset`` ends it.
        ``how`` is a key of ``unreachable.UNREACHABLE``: ``refused``, ``tls_silent``,
        ``tls_nonsense`` (the server does not answer with TLS) or ``tls_untrusted``.
        """
        checked_choice("stage", stage, STAGES)
        start = UNREACHABLE[checked_choice("how", how, UNREACHABLE)]
        if how not in self._unreachable_urls:
            self._unreachable_urls[how] = start(self._cleanup)
        self.base_urls[stage] = self._unreachable_urls[how]

    def forge(self, forgery: str) -> None:
        """Forge the answers about the user until ``reset``.

        ``forgery`` is a key of ``forgeries.FORGERIES``, for example ``wrong_aud`` or ``alg_none``.
        The id_token, the key set or userinfo is then as an attacker or a misconfiguration would
        make it. All other answers stay correct.
        """
        self.forgery = FORGERIES[checked_choice("forgery", forgery, FORGERIES)]

    @property
    def provider_urls(self) -> dict[str, str]:
        """Name of a social provider -> the address of the provider's authorize page."""
        return {name: self.url + AUTHORIZE_PATH.format(name=name) for name in PROVIDER_PAGES}

    # --- Requests, and the browser ------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests since the last ``reset``, oldest first."""
        with self._lock:
            return list(self._requests)

    def authorize(self, url: str, *, username: str = "li") -> str:
        """Act as the browser at the authorize page and return the address of the callback."""
        _, location = self._submit_decision(url, username, "sign_in")
        return location

    def authorize_at_provider(
        self, url: str, *, username: str = "li", cancel: bool = False
    ) -> str | None:
        """Act as the browser at a social provider's page and return the address of the callback.

        Return None if the provider does not redirect to the client.
        """
        _, location = self._submit_decision(url, username, "cancel" if cancel else "sign_in")
        return location or None

    def native_code(self, username: str = "li", *, code_verifier: str = "", nonce: str = "") -> str:
        """Return a new code, as the SDK of a social provider gives it to a native app.

        The provider binds the code to the challenge of the ``code_verifier`` and to the ``nonce``.
        """
        challenge = s256(code_verifier) if code_verifier else ""
        return self.accounts.issue_social_code(username, challenge=challenge, nonce=nonce)

    def post_at_provider(
        self, url: str, *, username: str = "li", cancel: bool = False
    ) -> tuple[str, dict[str, str]]:
        """Act as the browser at a social provider that answers with a form, such as Apple.

        Return the address of the callback, and the fields that the browser posts to it.
        """
        page, _ = self._submit_decision(url, username, "cancel" if cancel else "sign_in")
        action = _FORM_ACTION.search(page)
        if not action:
            raise RuntimeError(f"The provider answered without a form for the callback: {page}")
        return unescape(action[1]), _hidden_inputs(page)

    def _submit_decision(self, url: str, username: str, decision: str) -> tuple[str, str]:
        """Return the page and the address of the redirect; one of them is empty."""
        status, page = self._fetch("GET", url)
        if status >= 400:
            raise RuntimeError(f"The authorize page answered {status}: {page}")
        if status >= 300:
            return "", page
        form = urlencode({**_hidden_inputs(page), "username": username, "decision": decision})
        status, location = self._fetch("POST", url, form)
        if status >= 400:
            raise RuntimeError(f"The authorize form answered {status}: {location}")
        return ("", location) if status >= 300 else (location, "")

    def _fetch(self, method: str, url: str, form: str = "") -> tuple[int, str]:
        """Return the status, and the address of the redirect or else the body."""
        parts = urlsplit(url)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca_file)
            connection = http.client.HTTPSConnection(parts.netloc, timeout=10, context=context)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Connection": "close"}
            connection.request(method, f"{parts.path}?{parts.query}", form, headers)
            response = connection.getresponse()
            body = response.read().decode()
            return response.status, response.headers.get("Location") or body

    # --- Answering ----------------------------------------------------------------------------

    def handle_request(self, request: Request) -> Reply:
        """Return the planned fault of the request's stage, or else the answer of its endpoint."""
        endpoint = _ROUTES.get(request.path.removeprefix(PREFIX))
        stage = stage_of(endpoint, request) if endpoint else ""
        with self._lock:
            self._requests.append(
                RecordedRequest(
                    stage=stage,
                    method=request.method,
                    path=request.path,
                    query=request.args.to_dict(),
                    headers=dict(request.headers),
                    body=request.get_data(),
                )
            )
        if endpoint is None:
            return Failure("Resource.NotFound", status=404).response
        planned = self.take_planned(stage)
        if isinstance(planned, Failure):
            return failure_response(self, request, stage, planned)
        if planned:
            return planned
        if request.method.replace("HEAD", "GET") not in endpoint.methods:
            return Failure("Unsupported.Media.Type", status=405).response
        try:
            return endpoint.handle(self, request)
        except RefusedError as refused:
            return refused.failure.response

    def add_connection(self, connection: socket.socket) -> None:
        """Count a new connection, and record its socket for ``stop``."""
        with self._lock:
            self.connections += 1
            self._sockets.add(connection)

    def remove_connection(self, connection: socket.socket) -> None:
        """Remove the socket of a closed connection."""
        with self._lock:
            self._sockets.discard(connection)


# --- HTTP -------------------------------------------------------------------------------------


def _hidden_inputs(page: str) -> dict[str, str]:
    return {unescape(name): unescape(value) for name, value in _HIDDEN_INPUT.findall(page)}


def _unused_application(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Any:
    raise AssertionError("The handler answers each request, not the application.")


class _DatedHandler(WSGIRequestHandler):
    """Write the header Date that the fake shows."""

    fake: ClassVar[FakeCiam]

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.fake.shown_date(super().date_time_string(timestamp))


def _handler_class_for(fake_ciam: FakeCiam) -> type[WSGIRequestHandler]:
    class Handler(_DatedHandler):
        """Keep connections open, which werkzeug's handler does not, and run misbehaviours."""

        fake = fake_ciam
        protocol_version = "HTTP/1.1"
        # With Nagle's algorithm, each answer on an open connection waits 40 ms for the client's
        # acknowledgement.
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.fake.add_connection(self.connection)

        def finish(self) -> None:
            self.fake.remove_connection(self.connection)
            with contextlib.suppress(OSError):
                super().finish()

        def run_wsgi(self) -> None:
            request = Request(self.make_environ())
            # The server would take an unread body for the next request.
            request.get_data(cache=True, parse_form_data=False)
            outcome = self.fake.handle_request(request)
            if isinstance(outcome, Misbehaviour):
                outcome.play(self.connection, self.fake.stopped)
                self.close_connection = True
                return
            self._write_response(outcome)

        def _write_response(self, response: Response) -> None:
            body = response.get_data()
            self.send_response(response.status_code)
            for name, value in response.headers.items():
                if name != "Content-Length":
                    self.send_header(name, value)
            self.send_header("Set-Cookie", EDGE_COOKIE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # The client would take a body after a HEAD for the next answer.
            if self.command != "HEAD":
                self.wfile.write(body)

        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
            """Log nothing."""

    return Handler
