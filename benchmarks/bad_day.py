"""Measure how a site lives through a silent CIAM: ``python -m benchmarks.bad_day``.

The table has a row for each server of ``tests.silent_ciam``. The exit status is 1 if a bound is
missed. The argument is ``CIAM_TIMEOUT``, by default 4 seconds. The cache is Redis if it is
installed, or else a table of the database.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ciam_django.testing import FakeCiam
from tests.servers import running
from tests.silent_ciam import DATABASE_CACHE, SERVERS, Measurement, Timed, measure, median_of

# Milliseconds in which a sign-in must be refused.
_REFUSED_MS: Final = 100


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, its text, and the bound that a measurement must keep."""

    title: str
    text: Callable[[Measurement], str]
    is_kept: Callable[[Measurement], bool] = lambda measured: True


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def _longest(timed: Sequence[Timed]) -> float:
    return max(each.seconds for each in timed)


def _answers(timed: Sequence[Timed]) -> str:
    """Return the statuses, and the longest Retry-After in seconds."""
    statuses = sorted({str(each.response.status) for each in timed})
    wait = max(int(each.response.headers.get("Retry-After", 0)) for each in timed)
    return f"{' and '.join(statuses)}, Retry-After {wait}" if wait else " and ".join(statuses)


def _are_refused(timed: Sequence[Timed]) -> bool:
    return all(
        each.response.status == 503 and "Retry-After" in each.response.headers for each in timed
    )


COLUMNS: Final = (
    Column("page, calm", lambda measured: _ms(median_of(measured.calm))),
    Column(
        "page, CIAM silent",
        lambda measured: _ms(median_of(measured.silent)),
        lambda measured: median_of(measured.silent) < 2 * median_of(measured.calm),
    ),
    Column("longest page", lambda measured: _ms(_longest(measured.silent))),
    Column(
        "sign-in, CIAM silent",
        lambda measured: _answers(measured.refused),
        lambda measured: _are_refused(measured.refused),
    ),
    Column(
        "its median",
        lambda measured: _ms(median_of(measured.refused)),
    ),
    Column(
        "its longest",
        lambda measured: _ms(_longest(measured.refused)),
        lambda measured: 1000 * _longest(measured.refused) < _REFUSED_MS,
    ),
    Column(
        "sign-in, CIAM back",
        lambda measured: _answers(measured.recovered),
        lambda measured: {each.response.status for each in measured.recovered} == {302},
    ),
)


@contextlib.contextmanager
def _running_cache(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Run Redis if it is installed, and yield the setting of the cache."""
    program = shutil.which("redis-server")
    if program is None:
        yield DATABASE_CACHE
        return
    place = folder / "redis"
    options = ["--port", "0", "--unixsocket", str(place), "--save", "", "--dir", str(folder)]
    with running([program, *options], place):
        yield {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"unix://{place}",
        }


def main() -> None:
    """Measure each server, print the table, and exit with 1 if a bound is missed."""
    timeout = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    missed: list[str] = []
    sys.stdout.write(f"| server | {' | '.join(column.title for column in COLUMNS)} |\n")
    sys.stdout.write(f"|---|{'---|' * len(COLUMNS)}\n")
    for server in SERVERS:
        # The path of a Unix socket must be short.
        with (
            FakeCiam() as ciam,
            tempfile.TemporaryDirectory(prefix="ciam_django-", dir="/tmp") as folder,
            _running_cache(Path(folder)) as cache,
        ):
            measured = measure(ciam, Path(folder), server, timeout=timeout, cache=cache)
        texts = [column.text(measured) for column in COLUMNS]
        sys.stdout.write(f"| {server} | {' | '.join(texts)} |\n")
        sys.stdout.flush()
        missed += [
            f"{server}: {column.title}" for column in COLUMNS if not column.is_kept(measured)
        ]
    if missed:
        sys.exit(f"Missed bounds: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
