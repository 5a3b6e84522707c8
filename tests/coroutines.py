"""Measure calls to CIAM from coroutines: ``python -m tests.coroutines``.

A server answers each call after 0.1 seconds. 64 coroutines call the server at the same time: with
``CiamClient`` in two kinds of threads, and as a floor with asyncio and with httpx alone.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any, Final

from asgiref.sync import ThreadSensitiveContext, sync_to_async

from tests.deployed import set_up_django

AT_A_TIME: Final = 64
ROUNDS: Final = 5
SECONDS: Final = 0.1
BODY: Final = json.dumps(
    {"success": True, "code": "200", "message": None, "data": {"userId": "u-1", "username": "li"}}
).encode()


# --- The server, in a process of its own ------------------------------------------------------


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    try:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            for line in request.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line.split(b":")[1]))
            await asyncio.sleep(SECONDS)
            writer.write(head % len(BODY) + BODY)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _serve(port: Connection) -> None:
    async def run() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=256)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


# --- The measurement --------------------------------------------------------------------------


async def _measure(name: str, call: Callable[[], Awaitable[Any]]) -> str:
    """Call 64 times at a time, in several rounds; return the row of the table."""
    await asyncio.gather(*(call() for _ in range(AT_A_TIME)))
    before = resource.getrusage(resource.RUSAGE_SELF)
    began_at, peak = time.perf_counter(), 0
    for _ in range(ROUNDS):
        calls = asyncio.gather(*(call() for _ in range(AT_A_TIME)))
        while not calls.done():
            peak = max(peak, threading.active_count())
            await asyncio.sleep(0.005)
        await calls
    seconds = (time.perf_counter() - began_at) / ROUNDS
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"| {name} | {seconds:.2f} | {cpu / ROUNDS / AT_A_TIME * 1000:.2f} | {peak} |"


async def _ask(url: str) -> bytes:
    host, port = url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST / HTTP/1.1\r\n\r\n")
    body = await reader.readexactly(len(BODY))
    writer.close()
    return body


async def _run(url: str) -> None:
    from ciam_django.client import CiamClient  # noqa: PLC0415  (after the setup)

    client = CiamClient()

    def call() -> Any:
        return client.user_info("token")

    free = sync_to_async(call, thread_sensitive=False)
    sensitive = sync_to_async(call, thread_sensitive=True)

    async def call_in_request() -> Any:
        # Django's ASGI handler does this for each request.
        async with ThreadSensitiveContext():
            return await sensitive()

    rows = [
        await _measure("threads of the event loop (`thread_sensitive=False`)", free),
        await _measure("a thread for each request (`thread_sensitive=True`)", call_in_request),
    ]
    rows.append(await _measure("asyncio's streams alone, with a new connection", lambda: _ask(url)))
    try:
        # Not at the top of the module, because httpx may be missing.
        import httpx  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    except ImportError:
        _write("httpx is not installed, so that its row is missing.")
    else:
        limits = httpx.Limits(max_connections=AT_A_TIME)
        async with httpx.AsyncClient(limits=limits) as http:
            rows.append(await _measure("httpx alone, without threads", lambda: http.post(url)))
    _write(f"| {AT_A_TIME} calls at a time | seconds | CPU ms for each call | threads |")
    _write("|---|---|---|---|", *rows)


def _write(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def main() -> None:
    """Print the table."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}/"
    client = {
        "client_id": "tests",
        "client_secret": "not-a-secret",
        "authorize_url": f"{url}authorize",
        "access_token_url": f"{url}token",
        "api_base_url": url,
    }
    set_up_django({"AUTHLIB_OAUTH_CLIENTS": {"ciam": client}, "CIAM_MAX_CALLS": AT_A_TIME})
    asyncio.run(_run(f"{url}api/user"))
    server.terminate()


if __name__ == "__main__":
    main()
