"""``FakeCiam``: the server, what it remembers, and what it can be told to do."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from joserfc.jwk import RSAKey
from werkzeug import Request, Response
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from ciam_django.testing import keys
from ciam_django.testing.endpoints import (
    APP_ID,
    CLIENT_SECRET,
    ENDPOINTS,
    PREFIX,
    Outcome,
    Refused,
    SignIn,
)
from ciam_django.testing.failures import BEHAVIOURS, STAGES, Failure, Misbehaviour, one_of

# Seconds: longer than anybody waits.
_PATIENCE: Final = 30.0
_INPUT: Final = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the fake was sent."""

    stage: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class FakeCiam:
    """CIAM, played on loopback: real HTTP, real RS256 tokens, and any failure on demand.

    ``https`` serves TLS with a certificate of its own, whose PEM file is ``ca_file``; ``port`` 0
    takes one that is free. Use it with ``with``, or with ``start`` and ``stop``.

    It checks what a real server checks: client, redirect URI (this machine's own are registered,
    others go into ``redirect_uris``), PKCE, and that a code is used once and soon.

    The stages: authorize, discovery, jwks, token, refresh, userinfo, api (``user/info``), logout.
    """

    def __init__(self, *, https: bool = False, port: int = 0) -> None:
        self.redirect_uris: set[str] = set()
        self.seconds = _PATIENCE
        self.ca_file: str | None = None
        self.connections = 0
        self.stopped = threading.Event()
        self._https = https
        self._port = port
        self._lock = threading.Lock()
        self._server: BaseWSGIServer | None = None
        self._sockets: set[socket.socket] = set()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.reset()

    # --- Its life -----------------------------------------------------------------------------

    def start(self) -> FakeCiam:
        """Listen on loopback; returns itself."""
        context: ssl.SSLContext | None = None
        if self._https:
            self._folder = tempfile.TemporaryDirectory(prefix="ciam_django-")
            self.ca_file = str(Path(self._folder.name) / "fake-ciam.pem")
            Path(self.ca_file).write_bytes(keys.certificate())
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.ca_file)
        self.stopped.clear()
        self._server = make_server(
            "127.0.0.1",
            self._port,
            _respond,
            threaded=True,
            request_handler=_handler_of(self),
            ssl_context=context,
        )
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="fake CIAM", daemon=True
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
        self.key: RSAKey = keys.first_key()
        self.id_token_claims: dict[str, Any] = {}
        self.id_token_header: dict[str, Any] = {}
        self.codes: dict[str, SignIn] = {}
        self.access_tokens: dict[str, SignIn] = {}
        self.refresh_tokens: dict[str, SignIn] = {}
        self._planned: dict[str, list[tuple[Failure | Misbehaviour, int | None]]] = {}
        self._requests: list[RecordedRequest] = []

    # --- Where it is --------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The address without a path: ``http://127.0.0.1:54321``."""
        if self._server is None:
            raise RuntimeError("The fake CIAM is not running: use it with 'with', or start() it.")
        return f"http{'s' if self._https else ''}://127.0.0.1:{self._server.server_port}"

    @property
    def issuer(self) -> str:
        """The ``iss`` of its tokens."""
        return self.address(f"oidc/{APP_ID}")

    def address(self, path: str) -> str:
        """The address of a path below CIAM's prefix."""
        return f"{self.url}{PREFIX}{path}"

    def client(self, mode: str = "oidc") -> dict[str, Any]:
        """What belongs into ``AUTHLIB_OAUTH_CLIENTS["ciam"]``, for mode ``oidc`` or ``ciam``."""
        client: dict[str, Any] = {
            "client_id": APP_ID,
            "client_secret": CLIENT_SECRET,
            "api_base_url": self.url,
        }
        if one_of("mode", mode, ("oidc", "ciam")) == "oidc":
            client["server_metadata_url"] = f"{self.issuer}/.well-known/openid-configuration"
        else:
            client["authorize_url"] = self.address("oauth/authorize")
            client["access_token_url"] = self.address("oauth/token")
        if self.ca_file:
            client["client_kwargs"] = {"verify": self.ca_file}
        return client

    # --- What it is told ----------------------------------------------------------------------

    def fail(self, stage: str, *, code: str, times: int | None = 1, **how: Any) -> None:
        """Answer the next request of a stage with a failure that has this code.

        ``how``: ``format`` (``ciam`` or ``oauth``; by the code), ``type_code``, ``status`` (200
        for ciam, 400 for oauth), ``content_type``, ``text``, ``request_id``, ``headers``.
        ``times`` None is until ``reset``.
        """
        self.plan(stage, Failure(code, **how), times=times)

    def misbehave(
        self, stage: str, behaviour: str, *, times: int | None = 1, seconds: float | None = None
    ) -> None:
        """Answer the next request of a stage with bad manners, of ``failures.BEHAVIOURS``.

        ``seconds`` is how long the slow ones take, 30 or until the fake stops.
        """
        one_of("behaviour", behaviour, BEHAVIOURS)
        patience = self.seconds if seconds is None else seconds
        self.plan(stage, Misbehaviour(behaviour, patience), times=times)

    def plan(self, stage: str, what: Failure | Misbehaviour, *, times: int | None) -> None:
        """Have something happen at a stage so many times, after what is planned already."""
        one_of("stage", stage, STAGES)
        with self._lock:
            self._planned.setdefault(stage, []).append((what, times))

    def rotate_keys(self) -> None:
        """Sign with a new key from now on; the old one is no longer published."""
        self.key = keys.new_key()

    def sign_id_token(self, sign_in: SignIn) -> str:
        """The id_token of a sign-in, with ``id_token_claims`` and ``id_token_header`` over it.

        A value of None takes the claim away.
        """
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": sign_in.user_id,
            "aud": APP_ID,
            "iat": now,
            "auth_time": now,
            "exp": now + 3600,
            "nonce": sign_in.nonce,
            **sign_in.profile,
            **self.id_token_claims,
        }
        header = {"alg": "RS256", "kid": self.key.kid, "typ": "JWT", **self.id_token_header}
        return keys.signed(
            {name: value for name, value in header.items() if value is not None},
            {name: value for name, value in claims.items() if value is not None},
            self.key,
        )

    # --- What happened ------------------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests since the last ``reset``, in their order."""
        with self._lock:
            return list(self._requests)

    def authorize(self, url: str, *, username: str = "li") -> str:
        """Play the browser at the authorize page; the callback that the fake sends it to."""
        status, page = self._fetch("GET", url)
        if status >= 400:
            raise RuntimeError(f"The authorize page answered {status}: {page}")
        if status >= 300:
            return page
        fields = {unescape(name): unescape(value) for name, value in _INPUT.findall(page)}
        form = urlencode({**fields, "username": username, "decision": "sign_in"})
        status, location = self._fetch("POST", url, form)
        if not 300 <= status < 400:
            raise RuntimeError(f"The authorize form answered {status}: {location}")
        return location

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

    def outcome(self, request: Request) -> Outcome:
        """What a request gets: what is planned for its stage, or what its endpoint answers."""
        endpoint = ENDPOINTS.get(request.path.removeprefix(PREFIX))
        if endpoint is None:
            return Failure("Resource.NotFound", status=404).response
        stage = endpoint.stage
        if stage == "token" and b"refresh_token" in request.get_data():
            stage = "refresh"
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
            planned = self._next_planned(stage)
        if planned:
            return planned.response if isinstance(planned, Failure) else planned
        if request.method not in endpoint.methods:
            return Failure("Unsupported.Media.Type", status=405).response
        try:
            return endpoint.answer(self, request)
        except Refused as refused:
            return refused.failure.response

    def _next_planned(self, stage: str) -> Failure | Misbehaviour | None:
        planned = self._planned.get(stage)
        if not planned:
            return None
        what, times = planned[0]
        if times is not None:
            planned[0] = (what, times - 1)
            if times <= 1:
                planned.pop(0)
        return what

    def opened(self, connection: socket.socket) -> None:
        """Count a connection."""
        with self._lock:
            self.connections += 1
            self._sockets.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._sockets.discard(connection)


# --- HTTP -------------------------------------------------------------------------------------


def _respond(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Any:
    raise NotImplementedError("the handler answers")


def _handler_of(fake: FakeCiam) -> type[WSGIRequestHandler]:
    class Handler(WSGIRequestHandler):
        """Keeps connections open, which werkzeug's own does not, and can be as rude as asked."""

        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            fake.opened(self.connection)

        def finish(self) -> None:
            fake.closed(self.connection)
            with contextlib.suppress(OSError):
                super().finish()

        def run_wsgi(self) -> None:
            request = Request(self.make_environ())
            # Read now: what stays unread would be taken for the next request.
            request.get_data(cache=True, parse_form_data=False)
            outcome = fake.outcome(request)
            if isinstance(outcome, Misbehaviour):
                outcome.play(self.connection, fake.stopped)
                self.close_connection = True
                return
            self._write(outcome)

        def _write(self, response: Response) -> None:
            # As the edge in front of CIAM does, at every answer.
            response.set_cookie("acw_tc", "0a3dd2f1fake", max_age=1800, path="/", httponly=True)
            body = response.get_data()
            self.send_response(response.status_code)
            for name, value in response.headers.items():
                if name != "Content-Length":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
            """Nothing."""

    return Handler
