"""The unreachable addresses of ``FakeCiam.unreachable``, by name."""

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


def _reserve_closed_port(cleanup: contextlib.ExitStack) -> str:
    # A bound socket reserves the port. The port is closed, because the socket does not listen.
    bound = cleanup.enter_context(socket.socket())
    bound.bind((_HOST, 0))
    return f"http://{_HOST}:{bound.getsockname()[1]}"


def _start_silent_server(cleanup: contextlib.ExitStack) -> str:
    return _start_server(cleanup, None)


def _start_non_tls_server(cleanup: contextlib.ExitStack) -> str:
    def greet(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    return _start_server(cleanup, greet)


def _start_untrusted_server(cleanup: contextlib.ExitStack) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(keys.generate_certificate())
        file.flush()
        context.load_cert_chain(file.name)

    def greet(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1024)

    return _start_server(cleanup, greet)


def _start_server(
    cleanup: contextlib.ExitStack, greet: Callable[[socket.socket], None] | None
) -> str:
    """Return an https address whose server calls ``greet`` with each connection.

    Without ``greet``, only the operating system accepts the connections.
    """
    listener = cleanup.enter_context(socket.create_server((_HOST, 0)))

    def serve() -> None:
        # The loop ends when the listener is shut down. Errors of the client do not matter here.
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
    cleanup.callback(thread.join)
    cleanup.callback(listener.shutdown, socket.SHUT_RDWR)
    return f"https://{_HOST}:{listener.getsockname()[1]}"


UNREACHABLE: Final[dict[str, Callable[[contextlib.ExitStack], str]]] = {
    "refused": _reserve_closed_port,
    "tls_silent": _start_silent_server,
    "tls_nonsense": _start_non_tls_server,
    "tls_untrusted": _start_untrusted_server,
}
