"""``FakeCiam``: the server, what it remembers, and what it can be told to do."""

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
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from werkzeug import Request, Response
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from ciam_django.testing import keys
from ciam_django.testing.api import API_ROUTES
from ciam_django.testing.endpoints import OAUTH_ROUTES, Reply, failure_response, stage_of
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


_ROUTES: Final = {**OAUTH_ROUTES, **API_ROUTES, **PROVIDER_ROUTES}


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the fake was sent; its stage is empty where the fake has no such address."""

    stage: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class FakeCiam(Tenant):
    """CIAM, played on loopback: real HTTP, real RS256 tokens, and any failure on demand.

    ``https`` serves TLS with a certificate of its own, whose PEM file is ``ca_file``; ``port`` 0
    takes one that is free. Use it with ``with``, or with ``start`` and ``stop``.

    It checks what a real server checks: client, redirect URI (this machine's own are registered,
    others go into ``redirect_uris``), PKCE, and that a code is used once and soon.

    ``connections`` counts those accepted since it was made, ``requests`` has what came over them.

    The stages are those of ``failures.STAGES``. Its API lets in whoever has the password or the
    code of ``people``, where a table says which names have a step to take, or can't come in.
    ``requires_consents`` and ``wants_captcha`` make it stricter, ``login_page`` says how it is set
    up, and ``api_id_token`` which id_token the API gives: ``oidc``, or ``ciam`` as documented.

    It plays social providers at ``provider_urls``; ``authorize_at_provider`` is their browser.
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

    # --- Its life -----------------------------------------------------------------------------

    def start(self) -> FakeCiam:
        """Listen on loopback; returns itself. OSError where the port is taken."""
        if self._server is not None:
            raise RuntimeError(f"The fake CIAM is running already, at {self.url}.")
        # Ours, for werkzeug ends the process where it cannot have the port.
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
            # The handshake is left to the connection's own thread: in this one, a client that says
            # nothing would keep all others out.
            server.ssl_context = context
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(
            target=server.serve_forever, args=(0.02,), name="fake CIAM", daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Stop listening, end what is under way, and remove the certificate."""
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
        """Forget what it was told to do, and all that has happened."""
        super().reset()
        self._requests = []

    # --- Where it is --------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The address without a path: ``http://127.0.0.1:54321``."""
        if self._server is None:
            raise RuntimeError("The fake CIAM is not running: use it with 'with', or start() it.")
        return f"http{'s' if self._https else ''}://127.0.0.1:{self._server.port}"

    # --- What it is told ----------------------------------------------------------------------

    def fail(
        self,
        stage: str,
        *,
        code: str,
        type_code: str = "",
        format: str = "",  # noqa: A002  (what the vendor calls it, and nobody formats here)
        status: int = 0,
        content_type: str = "application/json",
        text: str = "",
        request_id: str = "",
        headers: Mapping[str, str] | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer the next request of a stage with a failure that has this code.

        ``format`` is ``ciam`` or ``oauth``; left out, a code with a dot is CIAM's. ``status`` left
        out is 200 for ciam and 400 for oauth, and at the authorize page the way back to the client
        with ``?error=``. ``text`` is what upstream writes for developers. ``times`` None is until
        ``reset``.
        """
        failure = Failure(
            code, type_code, format, status, content_type, text, request_id, headers or {}
        )
        self.plan(stage, failure, times=times)

    def misbehave(
        self, stage: str, behaviour: str, *, times: int | None = 1, seconds: float | None = None
    ) -> None:
        """Answer the next request of a stage with bad manners, of ``failures.BEHAVIOURS``.

        ``seconds`` is how long the slow ones take, 30 or until the fake stops.
        """
        checked_choice("behaviour", behaviour, BEHAVIOURS)
        patience = self.slow_seconds if seconds is None else seconds
        self.plan(stage, Misbehaviour(behaviour, patience), times=times)

    def unreachable(self, stage: str, how: str) -> None:
        """Have the metadata and ``client()`` name, until ``reset``, an address of no use.

        To be told before either is read. ``how`` is of ``places.UNREACHABLE``: ``refused``,
        ``tls_silent``, ``tls_nonsense`` (what answers is no TLS) or ``tls_untrusted``.
        """
        checked_choice("stage", stage, STAGES)
        start = UNREACHABLE[checked_choice("how", how, UNREACHABLE)]
        if how not in self._unreachable_urls:
            self._unreachable_urls[how] = start(self._cleanup)
        self.base_urls[stage] = self._unreachable_urls[how]

    def forge(self, forgery: str) -> None:
        """Lie about who signed in until ``reset``, in one way of ``forgeries.FORGERIES``.

        The id_token, the key set or userinfo is what an attacker or a slip would make of it, such
        as ``wrong_aud`` or ``alg_none``; all else stays honest.
        """
        self.forgery = FORGERIES[checked_choice("forgery", forgery, FORGERIES)]

    @property
    def provider_urls(self) -> dict[str, str]:
        """The authorize pages of the social providers that it plays."""
        return {name: self.url + AUTHORIZE_PATH.format(name=name) for name in PROVIDER_PAGES}

    # --- What happened ------------------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests since the last ``reset``, in their order."""
        with self._lock:
            return list(self._requests)

    def authorize(self, url: str, *, username: str = "li") -> str:
        """Play the browser at the authorize page; the callback that the fake sends it to."""
        return self._submit_decision(url, username, "sign_in") or ""

    def authorize_at_provider(
        self, url: str, *, username: str = "li", cancel: bool = False
    ) -> str | None:
        """Play the browser at a social provider's page; None where it is not sent back."""
        return self._submit_decision(url, username, "cancel" if cancel else "sign_in")

    def _submit_decision(self, url: str, username: str, decision: str) -> str | None:
        status, page = self._fetch("GET", url)
        if status >= 400:
            raise RuntimeError(f"The authorize page answered {status}: {page}")
        if status >= 300:
            return page
        fields = {unescape(name): unescape(value) for name, value in _HIDDEN_INPUT.findall(page)}
        form = urlencode({**fields, "username": username, "decision": decision})
        status, location = self._fetch("POST", url, form)
        if status >= 400:
            raise RuntimeError(f"The authorize form answered {status}: {location}")
        return location if status >= 300 else None

    def _fetch(self, method: str, url: str, form: str = "") -> tuple[int, str]:
        """Status, and where it redirects or else the body."""
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
        """What a request gets: what is planned for its stage, or what its endpoint answers."""
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
        """Count a connection."""
        with self._lock:
            self.connections += 1
            self._sockets.add(connection)

    def remove_connection(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._sockets.discard(connection)


# --- HTTP -------------------------------------------------------------------------------------


def _unused_application(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Any:
    raise AssertionError("The handler answers, never the application.")


def _handler_class_for(fake: FakeCiam) -> type[WSGIRequestHandler]:
    class Handler(WSGIRequestHandler):
        """Keeps connections open, which werkzeug's own does not, and can be as rude as asked."""

        protocol_version = "HTTP/1.1"
        # Or every answer on a kept connection waits 40 ms for the client's acknowledgement.
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            fake.add_connection(self.connection)

        def finish(self) -> None:
            fake.remove_connection(self.connection)
            with contextlib.suppress(OSError):
                super().finish()

        def run_wsgi(self) -> None:
            request = Request(self.make_environ())
            # Read now: what stays unread would be taken for the next request.
            request.get_data(cache=True, parse_form_data=False)
            outcome = fake.handle_request(request)
            if isinstance(outcome, Misbehaviour):
                outcome.play(self.connection, fake.stopped)
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
            # A body after a HEAD would be taken for the next answer.
            if self.command != "HEAD":
                self.wfile.write(body)

        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
            """Nothing."""

    return Handler
