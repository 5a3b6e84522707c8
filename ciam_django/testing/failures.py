"""The faults that a test can plan for the fake: failure bodies, and misbehaviour on the wire."""

from __future__ import annotations

import contextlib
import difflib
import functools
import gzip
import json
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from werkzeug import Response

STAGES: Final = (
    "authorize", "discovery", "jwks", "token", "refresh", "userinfo", "application", "api",
    "password", "send_code", "verify_code", "social", "register", "recover", "profile",
    "logout",
)  # fmt: skip
FORMATS: Final = ("ciam", "oauth")
# The edge server in front of CIAM sets a cookie with each answer.
EDGE_COOKIE: Final = "acw_tc=0a3dd2f1fake;path=/;HttpOnly;Max-Age=1800"


def checked_choice(kind: str, value: str, allowed: Iterable[str]) -> str:
    """Return the value if it is allowed.

    Raise ``ValueError`` otherwise. The error lists the allowed values and suggests a similar value.
    ``kind`` names the kind of value in the error.
    """
    allowed = list(allowed)
    if value in allowed:
        return value
    close = difflib.get_close_matches(value, allowed, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"Unknown {kind} {value!r}, must be one of: {', '.join(allowed)}.{hint}")


def new_request_id() -> str:
    """Return a new request id in CIAM's format: milliseconds, a dollar sign and a UUID."""
    return f"{time.time_ns() // 1_000_000}${uuid.uuid4()}"


@dataclass(frozen=True)
class Failure:
    """A failure response in one of CIAM's two formats, ``ciam`` or ``oauth``.

    An empty ``format`` means ``ciam`` for a code with a dot, and ``oauth`` for other codes. An
    empty ``type_code`` is derived from the code. ``status`` 0 means 200 for ``ciam`` and 400 for
    ``oauth``.
    """

    code: str
    type_code: str = ""
    format: str = ""
    status: int = 0
    content_type: str = "application/json"
    text: str = ""
    request_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        default_format = "ciam" if "." in self.code else "oauth"
        object.__setattr__(
            self, "format", checked_choice("format", self.format or default_format, FORMATS)
        )

    @property
    def response(self) -> Response:
        """The failure as an HTTP response."""
        request_id = self.request_id or new_request_id()
        body: dict[str, Any]
        if self.format == "oauth":
            body = {"error": self.code, "error_description": self.text, "requestId": request_id}
        else:
            body = {
                "success": False,
                "code": self.type_code or _type_code_of(self.code),
                "message": f"{self.code}{self.text and f': {self.text}'}",
                "requestId": request_id,
                "data": None,
            }
        status = self.status or (400 if self.format == "oauth" else 200)
        response = Response(json.dumps(body, ensure_ascii=False), status, self.headers)
        if self.content_type:
            response.headers["Content-Type"] = self.content_type
        else:
            del response.headers["Content-Type"]
        return response


# Prefix of the code in ``message`` -> the type code in ``code``. Without a known prefix, the type
# code is the code itself.
_TYPE_CODES: Final = {
    "Operation.Failure.": "Operation.Failure",
    "Params.Blank.": "Params.Blank",
    "Params.Exist.": "Params.Illegal",
    "Params.Illegal.": "Params.Illegal",
    "Server.Access.Denied": "Operation.Denied",
}


class RefusedError(Exception):
    """A request that a real server refuses; ``failure`` is the answer."""

    def __init__(self, code: str, text: str = "", status: int = 0) -> None:
        super().__init__(code)
        self.failure = Failure(code, text=text, status=status)


def _type_code_of(code: str) -> str:
    return next(
        (type_code for prefix, type_code in _TYPE_CODES.items() if code.startswith(prefix)), code
    )


# --- Misbehaviour on the wire -----------------------------------------------------------------


def _head_bytes(status: str, **headers: str) -> bytes:
    """Return the status line and the headers without Content-Length and the empty line."""
    lines = {"Set-Cookie": EDGE_COOKIE, "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    status_line = f"HTTP/1.1 {status}\r\n"
    header_lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return (status_line + header_lines).encode()


_HEAD: Final = _head_bytes("200 OK", Content_Type="application/json")
_BODY: Final = b'{"access_token": "dripped", "token_type": "Bearer"}'
_PAGE: Final = b"<!DOCTYPE html><title>405</title><h1>Your request has been blocked</h1>"


@dataclass(frozen=True, slots=True)
class Connection:
    """A client's connection, with the number of seconds that a slow behaviour takes."""

    socket: socket.socket
    stopped: threading.Event
    seconds: float

    def send(self, content: bytes) -> None:
        """Write all bytes at once."""
        self.socket.sendall(content)

    def drip(self, content: bytes) -> None:
        """Write one byte at a time, spread over ``seconds``."""
        for byte in content:
            self.send(bytes([byte]))
            if self.stopped.wait(self.seconds / len(content)):
                return

    def wait(self) -> None:
        """Wait for ``seconds``, or until the fake stops."""
        self.stopped.wait(self.seconds)


def _response_bytes(content: bytes, head: bytes = _HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)


def _send_late(wire: Connection) -> None:
    wire.wait()
    wire.send(_response_bytes(_BODY))


def _reset_connection(wire: Connection) -> None:
    # With a linger time of 0, close() resets the connection (socket(7)). This function closes the
    # socket itself, because the server shuts the connection down first, and the client then sees an
    # orderly end.
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(wire.socket.detach())


def _drip_headers(wire: Connection) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\n")
    wire.drip(b"X-Padding: " + b"." * 500 + b"\r\n\r\n")


def _drip_body(wire: Connection) -> None:
    wire.send(_HEAD + b"Content-Length: %d\r\n\r\n" % len(_BODY))
    wire.drip(_BODY)


def _send_enormous_body(wire: Connection) -> None:
    size = 100 * 1024 * 1024
    wire.send(_HEAD + b'Content-Length: %d\r\n\r\n{"padding": "' % size)
    chunk = b"." * (64 * 1024)
    while size > 0 and not wire.stopped.is_set():
        wire.send(chunk)
        size -= len(chunk)


@functools.cache
def _gzip_bomb_bytes() -> bytes:
    """Return 50 KiB that decompress to 50 MiB."""
    return gzip.compress(b'{"padding": "' + b"." * (50 * 1024 * 1024), 9)


def _send_gzip_bomb(wire: Connection) -> None:
    wire.send(_response_bytes(_gzip_bomb_bytes(), _HEAD + b"Content-Encoding: gzip\r\n"))


def _redirect_sender(status: str) -> Callable[[Connection], None]:
    # A client that follows the redirect appears in FakeCiam.requests, with its headers and body.
    head = _head_bytes(status, Location="/elsewhere")
    return lambda wire: wire.send(_response_bytes(b"", head))


def _body_sender(
    content: bytes, content_type: str = "application/json"
) -> Callable[[Connection], None]:
    head = _head_bytes("200 OK", Content_Type=content_type)
    return lambda wire: wire.send(_response_bytes(content, head))


BEHAVIOURS: Final[dict[str, Callable[[Connection], None]]] = {
    "slow": _send_late,
    "silent": Connection.wait,
    "reset": _reset_connection,
    "drip_status": lambda wire: wire.drip(b"HTTP/1.1 200 OK\r\n"),
    "drip_headers": _drip_headers,
    "drip_body": _drip_body,
    "html": lambda wire: wire.send(
        _response_bytes(_PAGE, _head_bytes("405 Not Allowed", Content_Type="text/html"))
    ),
    "empty": _body_sender(b""),
    "truncated": lambda wire: wire.send(_HEAD + b"Content-Length: 999\r\n\r\n" + _BODY[:20]),
    "enormous": _send_enormous_body,
    "gzip_bomb": _send_gzip_bomb,
    "redirect": _redirect_sender("302 Found"),
    "redirect_307": _redirect_sender("307 Temporary Redirect"),
    "list": _body_sender(b'[{"access_token": "a"}]'),
    "null": _body_sender(b"null"),
    "deep": _body_sender(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "wrong_charset": _body_sender(
        '{"success": false, "code": "Operation.Failure", "message": "操作失败"}'.encode("gbk")
    ),
    "no_token": _body_sender(b'{"success": true, "code": "Operation.Success", "data": {}}'),
    # WeChat's error body, with WeChat's media type.
    "errcode": _body_sender(
        b'{"errcode": 40029, "errmsg": "invalid code, rid: 63-marker"}', "text/plain"
    ),
}


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """A key of ``BEHAVIOURS``, with the number of seconds that it takes if it is slow."""

    behaviour: str
    seconds: float

    def play(self, connection: socket.socket, stopped: threading.Event) -> None:
        """Run the behaviour on the connection, until the client closes the connection."""
        # A client that gives up closes the connection, which a test of the client expects.
        with contextlib.suppress(OSError):
            BEHAVIOURS[self.behaviour](Connection(connection, stopped, self.seconds))
