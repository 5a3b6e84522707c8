"""Time errors that views raise in several threads of one process, through WSGI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Final

from benchmarks import errors
from benchmarks.cases import Case, Row, measure

THREADS: Final = {1: "1 thread", 8: "8 threads", 64: "64 threads"}
# The requests of a loop, which the threads of a case share.
_REQUESTS: Final = 64
# The suite `errors` has the target for one thread. The profile of a case sees one thread only.
ROWS = [
    Row(
        f"A raised error in {threads}, over the same by hand",
        f"ciam_django, {number}",
        f"by hand, {number}",
        None,
    )
    for number, threads in THREADS.items()
] + [
    Row(f"… by `{name}` in {THREADS[number]}, over one", f"{name}, {number}", f"{name}, 1", None)
    for number in (8, 64)
    for name in ("ciam_django", "by hand")
]
urlpatterns = errors.urlpatterns


def cases() -> Mapping[str, Case]:
    return {
        f"{name}, {number}": _case_in_threads(request, number)
        for name, request in errors.wsgi_requests().items()
        for number in THREADS
    }


def _case_in_threads(request: Callable[[], object], number: int) -> Case:
    """Return a case whose loops are divided among threads, which send their requests at once."""
    pool, barrier = ThreadPoolExecutor(number), Barrier(number)

    def send(requests: int) -> None:
        # Each thread waits here for all others, so that no thread takes the share of another one.
        barrier.wait()
        for _ in range(requests):
            request()

    def send_all(loops: int) -> None:
        list(pool.map(send, [loops * _REQUESTS // number] * number))

    return lambda loops: measure(lambda: send_all(loops))[0]
