"""Send HTTP requests to CIAM, with pooled connections, a deadline and limited bodies."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from urllib.request import getproxies, getproxies_environment

import requests
from authlib.integrations.requests_client import OAuth2Session
from django.utils.asyncio import async_unsafe
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util.ssl_ import create_urllib3_context

from ciam_django.client.calls import send_and_record
from ciam_django.client.circuit_breaker import ASYNC_MESSAGE, call_deadline, guarded_call
from ciam_django.client.endpoints import OTHER_ENDPOINT, EndpointGroup
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.events import CALL_FINISHED, request_scope
from ciam_django.privacy import own_text, shown_file_name

# The size of the largest body in bytes, after decompression.
LARGEST_BODY: Final = 1024 * 1024
_CHUNK: Final = 64 * 1024
# The variables with which requests replaces the CA bundle.
_CA_BUNDLE_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

_deadline: contextvars.ContextVar[float] = contextvars.ContextVar("ciam_django_deadline")

P = ParamSpec("P")
T = TypeVar("T")


def _remaining_seconds() -> float:
    """Return the seconds until the call's deadline; raise ``TimeoutError`` after the deadline."""
    seconds = _deadline.get() - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("CIAM_TIMEOUT has passed")
    return seconds


# --- Sockets with a deadline ------------------------------------------------------------------
# A read timeout limits only the wait for the next byte: a response of one byte per second could
# take any time.


class _TimedSocket(socket.socket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_remaining_seconds())
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(_remaining_seconds())
        super().sendall(*args, **kwargs)


class _TimedTLSSocket(_TimedSocket, ssl.SSLSocket):
    def do_handshake(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(_remaining_seconds())
        super().do_handshake(*args, **kwargs)


class _TimedConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """Connect to one of the host's addresses, within one deadline for all attempts."""
        host = self._dns_host
        try:
            candidates = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
        except OSError:
            # urllib3 repeats the failed look-up below and raises its own exception.
            candidates = []
        try:
            for *_, address in candidates[:-1]:
                self._dns_host, self.timeout = str(address[0]), _remaining_seconds()
                try:
                    return _wrap_socket(super()._new_conn())
                except NewConnectionError:
                    continue
            self._dns_host = str(candidates[-1][4][0]) if candidates else host
            self.timeout = _remaining_seconds()
            return _wrap_socket(super()._new_conn())
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error
        finally:
            self._dns_host = host


def _wrap_socket(connection: socket.socket) -> socket.socket:
    timed = _TimedSocket(fileno=connection.detach())
    try:
        timed.settimeout(_remaining_seconds())
    except TimeoutError:
        # The pool does not know this socket yet.
        timed.close()
        raise
    return timed


class _TimedTLSConnection(_TimedConnection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTLSConnection


_POOLS: Final = {"http": _Pool, "https": _TLSPool}


# --- The adapter of a process -----------------------------------------------------------------


class _Adapter(HTTPAdapter):
    """The adapter of requests with our pools, and with TLS contexts that are loaded once.

    Without this adapter, each new session reads the CA bundle, which takes most of the time of a
    login.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the TLS context has the certificates."""

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] != "https":
            return host, {}
        context = _tls_context(verify, tuple(cert) if isinstance(cert, list) else cert)
        return host, {"ssl_context": context, "cert_reqs": context.verify_mode}


@functools.lru_cache(maxsize=8)
def _tls_context(verify: bool | str, cert: str | tuple[str, ...] | None) -> ssl.SSLContext:
    context = create_urllib3_context()
    context.sslsocket_class = _TimedTLSSocket
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        ca_path = DEFAULT_CA_BUNDLE_PATH if verify is True else verify
        variables = f" or the variable {' or '.join(_CA_BUNDLE_VARIABLES)}"
        with _naming_file(ca_path, "verify", variables):
            is_folder = Path(ca_path).is_dir()
            context.load_verify_locations(**{"capath" if is_folder else "cafile": ca_path})
    if cert:
        with _naming_file(cert, "cert"):
            context.load_cert_chain(*([cert] if isinstance(cert, str) else cert))
    return context


@contextlib.contextmanager
def _naming_file(file: object, option: str, others: str = "") -> Iterator[None]:
    """Raise ``bad_configuration`` with the names of the file and of the option for an ``OSError``.

    The errors of the module ssl, for a file without a certificate, are such errors, too.
    """
    try:
        yield
    except OSError as error:
        place = f'{option!r} in the client_kwargs of AUTHLIB_OAUTH_CLIENTS["ciam"]{others}'
        reason = error.strerror or type(error).__name__
        name = shown_file_name(file)
        text = f"cannot read the certificates of {name}, which comes from {place}: {reason}"
        raise CiamError("bad_configuration", upstream_text=own_text(text)) from error


@functools.cache
def _adapter() -> _Adapter:
    return _Adapter(pool_connections=8, pool_maxsize=32, max_retries=0)


def _discard_connections() -> None:
    _adapter.cache_clear()
    _tls_context.cache_clear()


# A connection that two processes share would mix up the responses to their requests.
os.register_at_fork(after_in_child=_discard_connections)


# --- Log filters ------------------------------------------------------------------------------
# urllib3 logs URLs with their query strings, and unreadable headers with a traceback. This package
# logs its own failed calls.


def _is_outside_our_calls(record: logging.LogRecord) -> bool:
    return _deadline.get(None) is None


for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_is_outside_our_calls)


# --- The session of one call ------------------------------------------------------------------


class _ClosedCookieJar(RequestsCookieJar):
    """The cookie jar of a session, which takes no cookie of a response."""

    def extract_cookies(self, *args: Any) -> None:
        """Do nothing: the jar of Python would first read all headers of the response."""


class HttpSession(OAuth2Session):
    """A session for one call: no cookie jar, no redirects, no .netrc, one deadline.

    ``group`` is the group of the called endpoint, whose circuit the call passes. Proxies and CA
    bundles of the environment are used. The ``verify``, ``cert`` and ``proxies`` of the project's
    ``client_kwargs`` take precedence.
    """

    # The name of the endpoint that the session calls: of ``ENDPOINTS`` or ``OAUTH_ENDPOINTS``.
    endpoint: str = OTHER_ENDPOINT
    # Authlib's own calls are those of the token endpoint and the userinfo endpoint.
    group = EndpointGroup.TOKEN

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.uses_environment = self.trust_env
        # With trust_env, requests also reads .netrc and sends its passwords instead of ours.
        self.trust_env = False
        self.cookies = _ClosedCookieJar()
        self.adapters.clear()

    def get_adapter(self, url: str) -> BaseAdapter:
        """Return the adapter of the process; ``close`` ends only adapters of the session."""
        is_http = url.lower().startswith(("https://", "http://"))
        return _adapter() if is_http else super().get_adapter(url)

    def fetch_token(self, *args: Any, **kwargs: Any) -> Any:
        """Exchange a code for tokens, see Authlib."""
        self.endpoint = "token"
        return super().fetch_token(*args, **kwargs)

    def refresh_token(self, *args: Any, **kwargs: Any) -> Any:
        """Refresh the tokens, see Authlib."""
        self.endpoint = "refresh"
        return super().refresh_token(*args, **kwargs)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: CIAM's API does not redirect, and another host must not get our secrets."""

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        self.trust_env = self.uses_environment and _may_have_proxy()
        try:
            merged = super().merge_environment_settings(*args, **kwargs)
        finally:
            self.trust_env = False
        if self.verify is not True:
            merged["verify"] = self.verify
        elif merged["verify"] is True and self.uses_environment:
            merged["verify"] = _ca_bundle_of_environment() or True
        return merged

    @async_unsafe(ASYNC_MESSAGE)
    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send the request and return the response, with its body read completely.

        A late, too large or unreadable body raises a ``CiamError``, and so does a call that the
        circuit breaker refuses. Failures before the body raise the exceptions of requests. In a
        coroutine, raises ``SynchronousOnlyOperation``.
        """
        timeout, limit = conf.CIAM_TIMEOUT, conf.CIAM_MAX_CALLS
        deadline = call_deadline(timeout)
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise CiamError("timeout", upstream_text=own_text("the other calls took CIAM_TIMEOUT"))
        token = _deadline.set(deadline)
        try:
            with guarded_call(str(request.url), self.group, seconds=seconds, limit=limit):
                options = {**kwargs, "stream": True, "timeout": seconds}
                send = functools.partial(self._send_before, deadline, request, **options)
                if CALL_FINISHED.observers:
                    return send_and_record(self.endpoint, request, send)
                return send()
        except requests.Timeout:
            # A firewall may have dropped all idle connections, so the next call makes a new one.
            _adapter().close()
            raise
        finally:
            _deadline.reset(token)

    def _send_before(
        self, deadline: float, request: requests.PreparedRequest, **kwargs: Any
    ) -> requests.Response:
        """Send the request, and return the response with its body, before the deadline."""
        began_at = time.perf_counter()
        try:
            response: requests.Response = super().send(request, **kwargs)
            response._content = _read_body(response)
        except requests.ConnectionError as error:
            if isinstance(error, requests.Timeout) or time.monotonic() < deadline:
                raise
            # If the deadline passes while urllib3 sends, it reports an aborted connection.
            raise requests.Timeout(request=request) from error
        finally:
            if scope := request_scope.get():
                scope.seconds_at_ciam += time.perf_counter() - began_at
        return response


def _may_have_proxy() -> bool:
    """Return True if the environment may name a proxy, or a host without a proxy.

    ``getproxies`` and requests read the values of all variables several times, also if there is no
    proxy. On macOS and Windows, the settings of the system can also name a proxy.
    """
    if any(name.lower().endswith("_proxy") for name in os.environ):
        return True
    return getproxies is not getproxies_environment and bool(getproxies())


def _ca_bundle_of_environment() -> str:
    """Return the CA bundle that requests takes from the environment, or an empty text."""
    return next(filter(None, map(os.environ.get, _CA_BUNDLE_VARIABLES)), "")


def _read_body(response: requests.Response) -> bytes:
    """Read the body and close the response.

    Raises ``CiamError``: ``timeout`` after the deadline, ``unreadable_answer`` if the body is
    larger than ``LARGEST_BODY`` or can't be read.
    """
    chunks, size = [], 0
    try:
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            size += len(chunk)
            if size > LARGEST_BODY:
                raise CiamError(
                    "unreadable_answer",
                    upstream_text=own_text("the body is larger than 1 MiB"),
                    upstream_status=response.status_code,
                )
            chunks.append(chunk)
    except HTTPError as error:
        code = "timeout" if isinstance(error, ReadTimeoutError) else "unreadable_answer"
        raise CiamError(
            code, upstream_text=own_text(type(error).__name__), upstream_status=response.status_code
        ) from error
    finally:
        # The next call must not read the rest of an unfinished body.
        response.close()
    return b"".join(chunks)
