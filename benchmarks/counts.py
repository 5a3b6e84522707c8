"""What does a sign-in in a warm process ask of CIAM and of the database?"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from ciam_django.testing import FakeCiam

# What a transaction is made of is no question to the database.
_OF_TRANSACTIONS = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")


def counts(place: str, fake: FakeCiam) -> dict[str, int]:
    """Calls to CIAM, new connections to it, and queries, of the second sign-in there."""
    from django.db import connection  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    from benchmarks.logins import sign_in  # noqa: PLC0415

    found: Counter[str] = Counter()

    def counted(request: Callable[[], Any]) -> Any:
        before = len(fake.requests), fake.connections
        with CaptureQueriesContext(connection) as captured:
            response = request()
        found["calls"] += len(fake.requests) - before[0]
        found["connections"] += fake.connections - before[1]
        found["queries"] += sum(
            not query["sql"].startswith(_OF_TRANSACTIONS) for query in captured.captured_queries
        )
        return response

    sign_in(place, "li", lambda request: request())
    sign_in(place, "li", counted)
    return dict(found)


def main() -> None:
    """Print the counts of ours and of Authlib's as JSON."""
    with FakeCiam(https=True) as fake:
        os.environ["BENCHMARKS_CIAM"] = json.dumps({"ciam": fake.client()})
        from benchmarks.ask import cases_of  # noqa: PLC0415

        cases_of("logins")
        found = {place: counts(place, fake) for place in ("ciam", "authlib")}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
