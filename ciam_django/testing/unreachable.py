"""Where there is no CIAM, for ``FakeCiam.unreachable``: how -> an address that is of no use."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from typing import Final

from ciam_django.testing import keys

_HOST: Final = "127.0.0.1"


def _refused(until: contextlib.ExitStack) -> str:
    # Bound, so that nobody else takes the port; not listening, so that it is closed.
    bound = until.enter_context(socket.socket())
    bound.bind((_HOST, 0))
    return f"http://{_HOST}:{bound.getsockname()[1]}"


def _tls_silent(until: contextlib.ExitStack) -> str:
    return _listening(until, None)


def _tls_nonsense(until: contextlib.ExitStack) -> str:
    def greet(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    return _listening(until, greet)


def _tls_untrusted(until: contextlib.ExitStack) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(keys.certificate())
        file.flush()
        context.load_cert_chain(file.name)

    def greet(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1024)

    return _listening(until, greet)


def _listening(until: contextlib.ExitStack, greet: Callable[[socket.socket], None] | None) -> str:
    """An https address where each connection is greeted, or only accepted by the system."""
    listener = until.enter_context(socket.create_server((_HOST, 0)))

    def serve() -> None:
        # It ends when the listener is shut down; what the other side thinks of it is its own.
        while greet:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                greet(connection)

    thread = threading.Thread(target=serve, name="no CIAM", daemon=True)
    thread.start()
    until.callback(thread.join)
    until.callback(listener.shutdown, socket.SHUT_RDWR)
    return f"https://{_HOST}:{listener.getsockname()[1]}"


UNREACHABLE: Final[dict[str, Callable[[contextlib.ExitStack], str]]] = {
    "refused": _refused,
    "tls_silent": _tls_silent,
    "tls_nonsense": _tls_nonsense,
    "tls_untrusted": _tls_untrusted,
}
