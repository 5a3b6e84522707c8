"""A test over all rows of a table names every wrong row in one failure."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

Test = Callable[..., None]


def for_each_row(names: str, rows: Iterable[Any]) -> Callable[[Test], Test]:
    """Have one test try all rows: it is called with each of them as the argument of this name.

    Several names, with commas between them, take the parts of a row. All rows have the same
    fixtures.
    """
    arguments = names.split(", ")

    def of_all_rows(test: Test) -> Test:
        signature = inspect.signature(test)
        assert set(arguments) <= set(signature.parameters), f"the test does not take {names!r}"
        others = [it for it in signature.parameters.values() if it.name not in arguments]

        @functools.wraps(test)
        def over_rows(**fixtures: Any) -> None:
            tried, wrong = 0, []
            for tried, row in enumerate(rows, start=1):  # noqa: B007  (counted for the next line)
                parts = row if len(arguments) > 1 else [row]
                try:
                    test(**fixtures, **dict(zip(arguments, parts, strict=True)))
                except Exception as error:  # noqa: BLE001  (a row that raises is a wrong row, too)
                    wrong.append(f"{names} = {row!r:.200}: {type(error).__name__}: {error}")
            assert tried, f"there is no row for {names!r}"
            assert not wrong, f"{len(wrong)} of {tried} rows are wrong:\n" + "\n".join(wrong)

        # What pytest takes the names of the fixtures from.
        over_rows.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return over_rows

    return of_all_rows
