"""Send HTTP requests to CIAM, with pooled connections, a deadline, limits and a circuit breaker."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import hashlib
import logging
import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

import requests
from authlib.integrations.requests_client import OAuth2Session
from django.utils.asyncio import async_unsafe
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util.ssl_ import create_urllib3_context

from ciam_django.client.cache import (
    acquire_once,
    delete_cached,
    get_cached,
    is_acquired,
    set_cached,
)
from ciam_django.client.endpoints import OTHER_ENDPOINT
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.events import CIRCUIT_CLOSED, record
from ciam_django.privacy import own_text

P = ParamSpec("P")
T = TypeVar("T")

# The size of the largest body in bytes, after decompression.
LARGEST_BODY: Final = 1024 * 1024
_CHUNK: Final = 64 * 1024

_deadline: contextvars.ContextVar[float] = contextvars.ContextVar("ciam_django_deadline")

ASYNC_MESSAGE: Final = (
    "ciam_django's calls to CIAM are synchronous: use a thread or sync_to_async()."
)


@dataclass(slots=True)
class _Budget:
    """The end of the time for all calls of a function, set by its first call.

    A task that the function has started in the background has a copy of the function's context, and
    goes on after the function. ``is_over`` is then True.
    """

    ends_at: float | None = None
    is_over: bool = False


_budget: contextvars.ContextVar[_Budget | None] = contextvars.ContextVar(
    "ciam_django_budget", default=None
)


def sharing_one_deadline(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function: all its calls, and its waits for others' calls, have one deadline.

    Together they may take ``CIAM_TIMEOUT``. A decorated function that another decorated function
    calls has the deadline of its caller.
    """

    @functools.wraps(function)
    def function_with_deadline(*args: P.args, **kwargs: P.kwargs) -> T:
        outer = _budget.get()
        if outer and not outer.is_over:
            return function(*args, **kwargs)
        budget = _Budget()
        token = _budget.set(budget)
        try:
            return function(*args, **kwargs)
        finally:
            budget.is_over = True
            _budget.reset(token)

    return function_with_deadline


_ignores_circuits: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "ciam_django_ignores_circuits", default=False
)


def asking_directly(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function of a diagnosis: its calls have one deadline, and ignore the circuits.

    An open circuit would hide the cause of the failures. A failure on this machine must not stop
    the calls of the site.
    """
    function_with_deadline = sharing_one_deadline(function)

    @functools.wraps(function)
    def asking_function(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _ignores_circuits.set(True)
        try:
            return function_with_deadline(*args, **kwargs)
        finally:
            _ignores_circuits.reset(token)

    return asking_function


def call_deadline(timeout: float) -> float:
    """Return the time (of ``time.monotonic``) at which a call or wait that begins now must end.

    ``timeout`` is ``CIAM_TIMEOUT``.
    """
    ends_at = time.monotonic() + timeout
    budget = _budget.get()
    if budget is None or budget.is_over:
        return ends_at
    budget.ends_at = min(ends_at, budget.ends_at or ends_at)
    return budget.ends_at


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
    timed.settimeout(_remaining_seconds())
    return timed


class _TimedTLSConnection(_TimedConnection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTLSConnection


_POOLS: Final = {"http": _Pool, "https": _TLSPool}


# --- The circuit breaker ----------------------------------------------------------------------
# The first call without an answer opens the circuit of its origin for PAUSE_SECONDS, in all
# processes that share Django's cache, unless another call has had an answer in the meantime. Then
# one call at a time tries again. The first answer closes the circuit, even if the answer is an
# error. Without a cache, each process has its own circuits.

# Seconds without calls after a call without an answer.
PAUSE_SECONDS: Final = 10
# Seconds for which the processes share the state of a circuit.
_STATE_LIFETIME: Final = 600
# Seconds between two answers whose time a process shares.
_SHARING_INTERVAL: Final = 1.0
# Seconds for which a call waits while CIAM_MAX_CALLS other calls of the process run.
_MAX_WAIT: Final = 1.0


class _Circuit:
    """The circuit of an origin, as this process knows it."""

    def __init__(self, origin: str) -> None:
        self._host = urlsplit(origin).hostname
        self._key = f"ciam_django.circuit.{hashlib.sha256(origin.encode()).hexdigest()}"
        self._lock = threading.Lock()
        self._is_open = False
        self._paused_until = 0.0
        self._trying_until = 0.0
        self._answered_at = 0.0
        self._shared_at = -_SHARING_INTERVAL

    def load_state(self) -> None:
        """Load the state that the other processes share; keep the own state if the cache fails."""
        if self._is_open:
            self._is_open = not is_acquired(f"{self._key}.answered")
        else:
            self._is_open = is_acquired(f"{self._key}.silent")

    def refuse_during_pause(self) -> None:
        """Raise ``no_connection`` during the pause of an open circuit."""
        if not self._is_open:
            return
        seconds = math.ceil(self._paused_until - time.monotonic())
        if seconds > 0 or is_acquired(f"{self._key}.pause"):
            reason = f"{self._host} was silent"
            raise _refusal(reason, seconds if seconds > 0 else PAUSE_SECONDS)

    def refuse_while_open(self) -> None:
        """Raise ``no_connection`` until the circuit is closed."""
        self.refuse_during_pause()
        if self._is_open:
            reason = f"{self._host} was silent, and another call tries again"
            raise _refusal(reason, PAUSE_SECONDS)

    def claim_attempt(self) -> None:
        """Claim the only attempt; raise ``no_connection`` during the attempt of another call.

        Do nothing if the circuit is closed.
        """
        if not self._is_open:
            return
        self.refuse_during_pause()
        seconds = math.ceil(conf.CIAM_TIMEOUT) + 1
        # The lock and the time keep other threads of this process out, even if the cache fails.
        with self._lock:
            is_free = time.monotonic() >= self._trying_until and acquire_once(
                f"{self._key}.attempt", seconds=seconds
            )
            if is_free:
                self._trying_until = time.monotonic() + seconds
        if not is_free:
            reason = f"{self._host} was silent, and another call tries again"
            raise _refusal(reason, PAUSE_SECONDS)

    def release_attempt(self) -> None:
        """Let the next call try again, after an attempt that proved nothing."""
        if self._is_open:
            self._trying_until = 0.0
            delete_cached(f"{self._key}.attempt")

    def record_answer(self) -> None:
        """Close the circuit."""
        self._answered_at = time.monotonic()
        if self._answered_at - self._shared_at >= _SHARING_INTERVAL:
            self._shared_at = self._answered_at
            set_cached(f"{self._key}.answered_at", time.time(), seconds=_STATE_LIFETIME)
        if self._is_open:
            delete_cached(f"{self._key}.silent")
            delete_cached(f"{self._key}.pause")
            acquire_once(f"{self._key}.answered", seconds=_STATE_LIFETIME)
            self.release_attempt()
            self._is_open = False
            record(CIRCUIT_CLOSED, host=self._host)

    def record_silence(self, began_at: float) -> None:
        """Open the circuit, unless a call of any process has had an answer since ``began_at``.

        One slow call among many answers must not stop the calls of all processes. The failed call
        has a log line of its own.
        """
        if self._answered_at > began_at or self._is_answered_elsewhere(began_at):
            return
        self._is_open = True
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        delete_cached(f"{self._key}.answered")
        acquire_once(f"{self._key}.silent", seconds=_STATE_LIFETIME)
        acquire_once(f"{self._key}.pause", seconds=PAUSE_SECONDS)
        self.release_attempt()

    def _is_answered_elsewhere(self, began_at: float) -> bool:
        """Return True if another process has had an answer since ``began_at``."""
        now = time.time()
        answered_at = get_cached(f"{self._key}.answered_at")
        # The clock of another host can be ahead.
        return isinstance(answered_at, float) and (
            now - (time.monotonic() - began_at) < answered_at <= now
        )


def _refusal(reason: str, retry_after: int) -> CiamError:
    return CiamError("no_connection", retry_after=retry_after, upstream_text=own_text(reason))


class _Calls:
    """Counts the calls of this process that wait for CIAM."""

    def __init__(self) -> None:
        self._running = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def counting(self, limit: int) -> Iterator[None]:
        """Count a call; raise ``no_connection`` if ``limit`` calls run for too long."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._running < limit, timeout=_MAX_WAIT):
                raise _refusal("CIAM_MAX_CALLS calls run already", 1)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify()


_circuits: dict[str, _Circuit] = {}
_calls = _Calls()


def forget_circuits() -> None:
    """Forget the state of this process."""
    # After a fork, a lock that another thread of the parent has held would stay locked for ever.
    global _calls  # noqa: PLW0603  (the functions of this module use the new object)
    _calls = _Calls()
    _circuits.clear()


os.register_at_fork(after_in_child=forget_circuits)


def _circuit_of(url: str) -> _Circuit:
    """Return the circuit of the URL's origin, with the state that the processes share."""
    scheme, host = urlsplit(url)[:2]
    # The URL of a setting can have upper case, and requests sends the URL in lower case.
    origin = f"{scheme}://{host.lower()}"
    if origin not in _circuits:
        _circuits.setdefault(origin, _Circuit(origin))
    circuit = _circuits[origin]
    circuit.load_state()
    return circuit


def refuse_while_open(url: str) -> None:
    """Raise ``no_connection``, with ``retry_after``, while the circuit of the URL is open."""
    _circuit_of(url).refuse_while_open()


@contextlib.contextmanager
def guarded_call(url: str, *, seconds: float, limit: int) -> Iterator[None]:
    """Guard the block, which calls ``url`` and waits at most ``seconds`` for the answer.

    ``limit`` is the number of calls that this process makes at the same time.

    Raises ``no_connection``, with ``retry_after``, if the call must not begin. A block that ends,
    or that raises a ``CiamError`` about the answer, closes the circuit. A block that gets no
    connection or no answer in time opens the circuit. In a function of ``asking_directly``, the
    block is not guarded.
    """
    if _ignores_circuits.get():
        yield
        return
    circuit = _circuit_of(url)
    circuit.refuse_during_pause()
    with _calls.counting(limit):
        circuit.claim_attempt()
        began_at = time.monotonic()
        try:
            yield
        except BaseException as error:
            if _is_silence(error) and seconds >= conf.CIAM_TIMEOUT / 2:
                circuit.record_silence(began_at)
            elif isinstance(error, CiamError) and error.code != "timeout":
                circuit.record_answer()
            else:
                # A reset connection, or a call at the end of its request's time, proves nothing.
                circuit.release_attempt()
            raise
        circuit.record_answer()


def _is_silence(error: BaseException) -> bool:
    """Return True if there was no connection or no complete answer in time."""
    if isinstance(error, CiamError):
        return error.code == "timeout"
    if isinstance(error, requests.exceptions.SSLError):
        # The server has answered with a wrong certificate: the operators have to correct it.
        return False
    # requests raises a ConnectionError with a MaxRetryError only if there was no connection.
    return isinstance(error, requests.Timeout) or (
        isinstance(error, requests.ConnectionError)
        and any(isinstance(argument, MaxRetryError) for argument in error.args)
    )


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


class HttpSession(OAuth2Session):
    """A session for one call: no cookie jar, no redirects, no .netrc, one deadline.

    Proxies and CA bundles of the environment are used. The ``verify``, ``cert`` and ``proxies`` of
    the project's ``client_kwargs`` take precedence.
    """

    # The name of the endpoint that the session calls: of ``ENDPOINTS`` or ``OAUTH_ENDPOINTS``.
    endpoint: str = OTHER_ENDPOINT

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.uses_environment = self.trust_env
        # With trust_env, requests also reads .netrc and sends its passwords instead of ours.
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.adapters.clear()
        self.mount("https://", _adapter())
        self.mount("http://", _adapter())

    def close(self) -> None:
        """Do nothing: the connections belong to the process."""

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
        self.trust_env = self.uses_environment
        try:
            merged = super().merge_environment_settings(*args, **kwargs)
        finally:
            self.trust_env = False
        if self.verify is not True:
            merged["verify"] = self.verify
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
            with guarded_call(str(request.url), seconds=seconds, limit=limit):
                try:
                    response: requests.Response = super().send(
                        request, **{**kwargs, "stream": True, "timeout": seconds}
                    )
                except requests.ConnectionError as error:
                    if time.monotonic() < deadline:
                        raise
                    # If the deadline passes while urllib3 sends, it reports an aborted connection.
                    raise requests.Timeout(request=request) from error
                response._content = _read_body(response)
                return response
        except requests.Timeout:
            # A firewall may have dropped all idle connections, so the next call makes a new one.
            _adapter().close()
            raise
        finally:
            _deadline.reset(token)


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
