"""Count the calls to CIAM and the database queries of a login in a warm process."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks.ask import load_cases
from ciam_django.testing import FakeCiam

# Statements that only begin or end a transaction are not counted as queries.
_OF_TRANSACTIONS = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")


def count_calls(url_prefix: str, fake: FakeCiam) -> dict[str, int]:
    """Count the calls to CIAM, new connections to CIAM, and queries of the second login.

    ``first queries`` counts the queries of the first login, which creates the user.
    """
    # The import needs models. ``load_cases`` sets Django up.
    from benchmarks.logins import sign_in  # noqa: PLC0415

    totals: Counter[str] = Counter()

    def count(request: Callable[[], Any]) -> Any:
        before = len(fake.requests), fake.connections
        with CaptureQueriesContext(connection) as captured:
            response = request()
        totals["calls"] += len(fake.requests) - before[0]
        totals["connections"] += fake.connections - before[1]
        totals["queries"] += sum(
            not query["sql"].startswith(_OF_TRANSACTIONS) for query in captured.captured_queries
        )
        return response

    # A login by another package has created the user in the same database.
    get_user_model().objects.all().delete()
    sign_in(url_prefix, "li", count)
    first_queries = totals["queries"]
    totals.clear()
    sign_in(url_prefix, "li", count)
    return {**totals, "first queries": first_queries}


def main() -> None:
    """Print the counts for each package as JSON."""
    with FakeCiam(https=True) as fake:
        os.environ["BENCHMARKS_CIAM"] = json.dumps({"ciam": fake.client()})
        load_cases("logins")
        counts = {prefix: count_calls(prefix, fake) for prefix in ("ciam", "authlib", "by_hand")}
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    main()
