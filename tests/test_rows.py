"""Test the decorator ``for_each_row``, which runs a test for each row of a table."""

from __future__ import annotations

import pytest

from tests.rows import for_each_row


def test_a_failure_names_every_wrong_row() -> None:
    seen = []

    @for_each_row("number", range(6))
    def is_even(number: int) -> None:
        seen.append(number)
        assert number % 2 == 0, "odd"

    with pytest.raises(AssertionError) as failed:
        is_even()

    assert seen == [0, 1, 2, 3, 4, 5]
    assert str(failed.value).splitlines()[0] == "3 of 6 rows are wrong:"
    assert [line for line in str(failed.value).splitlines() if "number" in line] == [
        "number = 1: AssertionError: odd",
        "number = 3: AssertionError: odd",
        "number = 5: AssertionError: odd",
    ]


def test_a_row_that_raises_is_wrong_and_the_next_rows_are_tested() -> None:
    @for_each_row("number", [0, 1])
    def is_divided(number: int) -> None:
        assert 1 / number

    with pytest.raises(
        AssertionError, match="1 of 2 rows are wrong:\nnumber = 0: ZeroDivisionError"
    ):
        is_divided()


def test_two_tables_are_tested_in_all_combinations() -> None:
    seen = []

    @for_each_row("letter", "ab")
    @for_each_row("number", [1, 2])
    def is_right(letter: str, number: int) -> None:
        seen.append((letter, number))
        assert (letter, number) != ("b", 2)

    with pytest.raises(AssertionError, match=r"letter = 'b': .*\n.*number = 2"):
        is_right()

    assert seen == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_a_row_gives_several_arguments() -> None:
    @for_each_row("number, squared", [(2, 4), (3, 8)])
    def is_squared(number: int, squared: int) -> None:
        assert number * number == squared

    with pytest.raises(AssertionError, match=r"1 of 2 rows .*\nnumber, squared = \(3, 8\)"):
        is_squared()


def test_an_empty_table_is_refused() -> None:
    @for_each_row("row", [])
    def is_right(row: object) -> None:
        pass

    with pytest.raises(AssertionError, match="there is no row for 'row'"):
        is_right()


def test_a_test_without_the_argument_is_refused() -> None:
    def is_right(row: object) -> None:
        pass

    with pytest.raises(AssertionError, match="does not take 'code'"):
        for_each_row("code", [1])(is_right)


@for_each_row("number", [1, 2])
def test_arguments_without_a_table_are_fixtures(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIAM_DJANGO_ROW", str(number))
    assert isinstance(monkeypatch, pytest.MonkeyPatch)
