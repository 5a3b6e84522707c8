"""HTTP to CIAM: pooled connections, one deadline for a whole call, small bodies only."""

from __future__ import annotations

import contextvars
import functools
import logging
import os
import socket
import ssl
import time
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final

import requests
from authlib.integrations.requests_client import OAuth2Session
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.util.ssl_ import create_urllib3_context

from ciam_django.conf import conf
from ciam_django.errors import CiamError

# Bytes, after decompression.
LARGEST_BODY: Final = 1024 * 1024
_CHUNK: Final = 64 * 1024

_deadline: contextvars.ContextVar[float] = contextvars.ContextVar("ciam_django_deadline")


def _remaining_seconds() -> float:
    """The seconds that the call under way has left; a TimeoutError when there are none."""
    seconds = _deadline.get() - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("CIAM_TIMEOUT is over")
    return seconds


# --- Sockets that know the deadline -----------------------------------------------------------
# A read timeout bounds the wait for one byte, so that an answer of a byte a second never ends.


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
        """Connect within the deadline, however many addresses the name has."""
        name = self._dns_host
        try:
            found = socket.getaddrinfo(name, self.port, type=socket.SOCK_STREAM)
        except OSError:
            # urllib3 knows best which of its exceptions this is.
            found = []
        try:
            for *_, address in found[:-1]:
                self._dns_host, self.timeout = str(address[0]), _remaining_seconds()
                try:
                    return _wrap_socket(super()._new_conn())
                except NewConnectionError:
                    continue
            self._dns_host = str(found[-1][4][0]) if found else name
            self.timeout = _remaining_seconds()
            return _wrap_socket(super()._new_conn())
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error
        finally:
            self._dns_host = name


def _wrap_socket(connection: socket.socket) -> socket.socket:
    timed = _TimedSocket(fileno=connection.detach())
    timed.settimeout(_remaining_seconds())
    return timed


class _TimedTLSConnection(_TimedConnection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTLSConnection


_POOLS: Final = {"http": _Pool, "https": _TLSPool}


# --- The one adapter of a process -------------------------------------------------------------


class _Adapter(HTTPAdapter):
    """requests' adapter with our pools, and with TLS contexts that are loaded once.

    Reading the CA bundle for every new session is most of what a login costs elsewhere.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the TLS context has it all."""

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
        is_folder = Path(ca_path).is_dir()
        context.load_verify_locations(**{"capath" if is_folder else "cafile": ca_path})
    if cert:
        context.load_cert_chain(*([cert] if isinstance(cert, str) else cert))
    return context


@functools.cache
def _adapter() -> _Adapter:
    return _Adapter(pool_connections=8, pool_maxsize=32, max_retries=0)


def _discard_connections() -> None:
    _adapter.cache_clear()
    _tls_context.cache_clear()


# A connection shared with the parent process would mix up two conversations.
os.register_at_fork(after_in_child=_discard_connections)


# --- What is not logged -----------------------------------------------------------------------
# urllib3 logs addresses with their queries, and headers that it cannot read, traceback and all.
# A call of ours that fails has a line of ours.


def _is_outside_our_calls(record: logging.LogRecord) -> bool:
    return _deadline.get(None) is None


for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_is_outside_our_calls)


# --- The session of one call ------------------------------------------------------------------


class HttpSession(OAuth2Session):
    """A session made for each call: no cookie jar, no redirects, no .netrc, one deadline.

    Proxies and CA bundles of the environment are honoured, and the ``verify``, ``cert`` and
    ``proxies`` of the project's ``client_kwargs`` before them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.uses_environment = self.trust_env
        # For the same switch reads .netrc, and sends its passwords in place of ours.
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.adapters.clear()
        self.mount("https://", _adapter())
        self.mount("http://", _adapter())

    def close(self) -> None:
        """Nothing: the connections are the process's."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: CIAM's API does not redirect, and whoever does is not to see our secrets."""

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        self.trust_env = self.uses_environment
        try:
            merged = super().merge_environment_settings(*args, **kwargs)
        finally:
            self.trust_env = False
        if self.verify is not True:
            merged["verify"] = self.verify
        return merged

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """The answer, read to its end; a ``CiamError`` if that is late, too far or unreadable."""
        token = _deadline.set(time.monotonic() + conf.CIAM_TIMEOUT)
        try:
            response: requests.Response = super().send(
                request, **{**kwargs, "stream": True, "timeout": conf.CIAM_TIMEOUT}
            )
            response._content = _read_body(response)
            return response
        finally:
            _deadline.reset(token)


def _read_body(response: requests.Response) -> bytes:
    chunks, size = [], 0
    try:
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            size += len(chunk)
            if size > LARGEST_BODY:
                raise CiamError(
                    "unreadable_answer",
                    upstream_text="the body is over 1 MiB",
                    upstream_status=response.status_code,
                )
            chunks.append(chunk)
    except HTTPError as error:
        code = "timeout" if isinstance(error, ReadTimeoutError) else "unreadable_answer"
        raise CiamError(
            code, upstream_text=type(error).__name__, upstream_status=response.status_code
        ) from error
    finally:
        # What was not read to its end must not be read on by the next call.
        response.close()
    return b"".join(chunks)
