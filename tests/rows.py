"""``for_each_row`` runs a test with all rows of a table and lists the wrong rows in one failure."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

Test = Callable[..., None]


def for_each_row(names: str, rows: Iterable[Any]) -> Callable[[Test], Test]:
    """Return a decorator that calls a test with each row, as the argument with this name.

    Several names, separated by commas, take the parts of a row. All rows share the same fixtures.
    """
    arguments = names.split(", ")

    def decorate(test: Test) -> Test:
        signature = inspect.signature(test)
        assert set(arguments) <= set(signature.parameters), f"the test does not take {names!r}"
        fixture_parameters = [
            parameter
            for parameter in signature.parameters.values()
            if parameter.name not in arguments
        ]

        @functools.wraps(test)
        def test_all_rows(**fixtures: Any) -> None:
            tried, wrong = 0, []
            for tried, row in enumerate(rows, start=1):  # noqa: B007  (counted for the next line)
                parts = row if len(arguments) > 1 else [row]
                try:
                    test(**fixtures, **dict(zip(arguments, parts, strict=True)))
                except Exception as error:  # noqa: BLE001  (a row that raises is a wrong row, too)
                    wrong.append(f"{names} = {row!r:.200}: {type(error).__name__}: {error}")
            assert tried, f"there is no row for {names!r}"
            if wrong:
                # pytest would change the message of an assert statement.
                message = f"{len(wrong)} of {tried} rows are wrong:\n" + "\n".join(wrong)
                raise AssertionError(message)

        # Pytest reads the names of the fixtures from this signature.
        test_all_rows.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=fixture_parameters
        )
        return test_all_rows

    return decorate
