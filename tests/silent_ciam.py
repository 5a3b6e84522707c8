"""Measure a site while CIAM is silent: ``python -m tests.silent_ciam``.

gunicorn has two sync workers, and their cache is a database. CIAM accepts connections, and sends
nothing. Eight visitors start to sign in at the same time, and another visitor opens a page that
does not need CIAM. Then CIAM answers again.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ciam_django.client.circuit_breaker import PAUSE_SECONDS
from ciam_django.testing import FakeCiam
from tests.servers import SiteBrowser, SiteResponse, running_gunicorn

VISITORS = 8
WORKERS = 2


@dataclass(frozen=True)
class Timed:
    """A response with the time of the request and of the response."""

    began_at: float
    ended_at: float
    response: SiteResponse

    @property
    def seconds(self) -> float:
        """The time that the visitor waited."""
        return self.ended_at - self.began_at


@dataclass(frozen=True)
class Measurement:
    """The responses of the site; a page is opened all the time.

    ``first`` are the sign-ins that start when CIAM becomes silent, ``refused`` the sign-ins during
    the pause, ``retried`` the sign-ins after the pause, while CIAM is still silent. ``recovered``
    are the sign-ins after CIAM answers again.
    """

    first: Sequence[Timed]
    refused: Sequence[Timed]
    retried: Sequence[Timed]
    recovered: Sequence[Timed]
    pages: Sequence[Timed]

    @property
    def first_timeout_at(self) -> float:
        """The time at which the first sign-in had an answer."""
        return min(timed.ended_at for timed in self.first)

    @property
    def longest_page(self) -> float:
        """The longest time of a page that was opened after the first timeout."""
        return max(timed.seconds for timed in self.pages if timed.began_at > self.first_timeout_at)


def _timed(request: Callable[[], SiteResponse]) -> Timed:
    began_at = time.monotonic()
    response = request()
    return Timed(began_at, time.monotonic(), response)


def _start_sign_ins(browsers: Sequence[SiteBrowser]) -> list[Timed]:
    with ThreadPoolExecutor(len(browsers)) as pool:
        return list(pool.map(lambda browser: _timed(browser.start_sign_in), browsers))


@contextmanager
def _opening_pages(place: Path) -> Iterator[list[Timed]]:
    """Open a page again and again during the block; yield the list of the responses."""
    pages: list[Timed] = []
    has_ended = threading.Event()

    def open_pages() -> None:
        while not has_ended.wait(0.05):
            pages.append(_timed(lambda: SiteBrowser(place).open("/")))

    thread = threading.Thread(target=open_pages)
    thread.start()
    try:
        yield pages
    finally:
        has_ended.set()
        thread.join()


def measure(ciam: FakeCiam, folder: Path, *, timeout: float) -> Measurement:
    """Run the site, let CIAM be silent and answer again, and return the responses."""
    settings = {
        "AUTHLIB_OAUTH_CLIENTS": {"ciam": ciam.client("oidc")},
        "CACHES": {
            "default": {
                "BACKEND": "django.core.cache.backends.db.DatabaseCache",
                "LOCATION": "cache",
            }
        },
        "CIAM_TIMEOUT": timeout,
    }
    with running_gunicorn(folder, settings, "--workers", str(WORKERS)) as place:
        browsers = [SiteBrowser(place) for _ in range(VISITORS)]
        for browser in browsers:
            browser.open("/ciam/login/")
        ciam.misbehave("discovery", "silent", times=None, seconds=600)
        with _opening_pages(place) as pages:
            first = _start_sign_ins(browsers)
            refused = _start_sign_ins(browsers)
            time.sleep(PAUSE_SECONDS)
            retried = _start_sign_ins(browsers)
            ciam.reset()
            time.sleep(PAUSE_SECONDS + 1)
            recovered = _start_sign_ins(browsers[:1]) + _start_sign_ins(browsers)
    return Measurement(first, refused, retried, recovered, pages)


def _line(name: str, timed: Sequence[Timed]) -> str:
    seconds = ", ".join(f"{each.seconds:.2f}" for each in timed)
    statuses = sorted({each.response.status for each in timed})
    waits = sorted({each.response.headers.get("Retry-After", "-") for each in timed})
    return f"{name:<20} status {statuses}, Retry-After {waits}, seconds {seconds}\n"


def main() -> None:
    """Measure with the time limit of the command line, by default 10 seconds, and print."""
    timeout = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with FakeCiam() as ciam, tempfile.TemporaryDirectory() as folder:
        measured = measure(ciam, Path(folder), timeout=timeout)
    for name in ("first", "refused", "retried", "recovered"):
        sys.stdout.write(_line(name, getattr(measured, name)))
    sys.stdout.write(
        f"{len(measured.pages)} pages; the longest after the first timeout took "
        f"{measured.longest_page:.2f} seconds\n"
    )


if __name__ == "__main__":
    main()
