"""Measure a site while CIAM is silent.

A server runs ``deployed_site``. First, CIAM is calm, and a visitor opens a page that does not need
CIAM. Then CIAM accepts connections, and sends nothing. Eight visitors start to sign in at the same
time, and another visitor goes on to open the page. At last, CIAM answers again.
``python -m benchmarks.bad_day`` prints the times.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from ciam_django.client.circuit_breaker import PAUSE_SECONDS
from ciam_django.testing import FakeCiam
from tests.servers import SiteBrowser, SiteResponse, running_gunicorn, running_uvicorn

VISITORS: Final = 8
# Sign-ins during the pause, one after the other.
REFUSED: Final = 20
# Seconds between two requests for the page.
_PAGE_INTERVAL: Final = 0.05
_CALM_PAGES: Final = 60

# Name of a server -> a context manager that runs the server, with the folder and the settings.
SERVERS: Final[Mapping[str, Callable[[Path, Mapping[str, Any]], Any]]] = {
    "gunicorn, 3 sync workers": lambda folder, settings: running_gunicorn(
        folder, settings, "--workers", "3"
    ),
    "gunicorn, 3 workers with 8 threads": lambda folder, settings: running_gunicorn(
        folder, settings, "--workers", "3", "--threads", "8"
    ),
    "uvicorn": running_uvicorn,
}

DATABASE_CACHE: Final[Mapping[str, Any]] = {
    "BACKEND": "django.core.cache.backends.db.DatabaseCache",
    "LOCATION": "cache",
}


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

    ``calm`` are the pages before CIAM is silent, and ``pages`` the pages afterwards. ``first`` are
    the sign-ins that start when CIAM becomes silent, ``refused`` the sign-ins during the pause, and
    ``retried`` the sign-ins after the pause, while CIAM is still silent. ``recovered`` are the
    sign-ins after CIAM answers again.
    """

    calm: Sequence[Timed]
    first: Sequence[Timed]
    refused: Sequence[Timed]
    retried: Sequence[Timed]
    recovered: Sequence[Timed]
    pages: Sequence[Timed]

    @property
    def silent(self) -> Sequence[Timed]:
        """The pages that were opened after the first timeout."""
        first_timeout_at = min(timed.ended_at for timed in self.first)
        return [timed for timed in self.pages if timed.began_at > first_timeout_at]


def median_of(timed: Sequence[Timed]) -> float:
    """Return the median of the seconds."""
    return statistics.median(each.seconds for each in timed)


def _timed(request: Callable[[], SiteResponse]) -> Timed:
    began_at = time.monotonic()
    response = request()
    return Timed(began_at, time.monotonic(), response)


def _start_sign_ins(browsers: Sequence[SiteBrowser]) -> list[Timed]:
    with ThreadPoolExecutor(len(browsers)) as pool:
        return list(pool.map(lambda browser: _timed(browser.start_sign_in), browsers))


def _open_page(place: Path) -> Timed:
    time.sleep(_PAGE_INTERVAL)
    return _timed(partial(SiteBrowser(place).open, "/"))


@contextmanager
def _opening_pages(place: Path) -> Iterator[list[Timed]]:
    """Open a page again and again during the block; yield the list of the responses."""
    pages: list[Timed] = []
    has_ended = threading.Event()

    def open_pages() -> None:
        while not has_ended.is_set():
            pages.append(_open_page(place))

    thread = threading.Thread(target=open_pages)
    thread.start()
    try:
        yield pages
    finally:
        has_ended.set()
        thread.join()


def measure(
    ciam: FakeCiam,
    folder: Path,
    server: str,
    *,
    timeout: float,
    cache: Mapping[str, Any] = DATABASE_CACHE,
) -> Measurement:
    """Run the site, let CIAM be silent and answer again, and return the responses.

    ``server`` is a key of ``SERVERS``, ``timeout`` is ``CIAM_TIMEOUT``, and ``cache`` is the
    default cache of the site.
    """
    settings = {
        "AUTHLIB_OAUTH_CLIENTS": {"ciam": ciam.client("oidc")},
        "CACHES": {"default": cache},
        "CIAM_TIMEOUT": timeout,
    }
    with SERVERS[server](folder, settings) as place:
        browsers = [SiteBrowser(place) for _ in range(VISITORS)]
        # Each worker imports the views at its first request.
        for browser in [*browsers, *browsers]:
            browser.open("/ciam/login/")
        calm = [_open_page(place) for _ in range(_CALM_PAGES)]
        ciam.misbehave("discovery", "silent", times=None, seconds=600)
        with _opening_pages(place) as pages:
            first = _start_sign_ins(browsers)
            refused = [_timed(browsers[0].start_sign_in) for _ in range(REFUSED)]
            time.sleep(PAUSE_SECONDS)
            retried = _start_sign_ins(browsers)
            ciam.reset()
            time.sleep(PAUSE_SECONDS + 1)
            recovered = _start_sign_ins(browsers[:1]) + _start_sign_ins(browsers)
    return Measurement(calm, first, refused, retried, recovered, pages)
