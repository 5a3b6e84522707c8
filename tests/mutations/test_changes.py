"""Tests of the one-line changes of a source, and of the report of the changes that survive."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mutations import __main__ as program
from tests.mutations.changes import (
    Change,
    changes_of,
    first_changed_line,
    is_in_cached_function,
    is_in_function,
    lines_of_statement,
    lines_of_users,
)
from tests.mutations.swaps import changed_functions, replace_functions
from tests.mutations.table import MODULES, ROOT, guards_of, path_of
from tests.rows import for_each_row

pytestmark = pytest.mark.slow("the measurement of the tests")


def changed_sources(source: str) -> set[str]:
    """Return the source after each of its changes."""
    encoded = source.encode()
    return {change.apply(encoded).decode() for change in changes_of(encoded)}


@for_each_row(
    "source, expected",
    [
        ("if a:\n    b = c", {"if not (a):\n    b = c"}),
        ("a = b if c else d", {"a = b if not (c) else d"}),
        ("a = {b for b in c if b}", {"a = {b for b in c if not (b)}"}),
        ("a = b == c", {"a = b != c"}),
        ("a = b < c", {"a = b <= c"}),
        ("a = b not in (c)", {"a = b in (c)"}),
        ("a = (b) is not c", {"a = (b) is c"}),
        ("a = b < c > d", {"a = b <= c > d", "a = b < c >= d"}),
        ("a = b and c and d", {"a = b or c and d", "a = b and c or d"}),
        ("a = True", {"a = False"}),
        # An order at a clock differs for one exact instant only.
        ("a = b <= time.time()", set()),
        ("a = now - b > c", set()),
        ("a = now - b == c", {"a = now - b != c"}),
        ("a = 0 < b <= now", {"a = 0 <= b <= now", "a = 1 < b <= now"}),
        ("a = 0", {"a = 1"}),
        ("a = 600", {"a = 1200"}),
        ("a = '流'", {"a = ''"}),
        ("a = ''", {"a = 'changed'"}),
        ("a = b(c, d=e)", {"a = b(c, )"}),
        ("a = b(c=d, e=f)", {"a = b( e=f)", "a = b(c=d, )"}),
        ("b()", {"pass"}),
        ("a.b = c", {"pass"}),
        ("a[b] = c", {"pass"}),
        ("raise a", {"pass"}),
        ("def a():\n    return b", {"def a():\n    return None"}),
        (
            "def a() -> bool:\n    return b",
            {"def a() -> bool:\n    return True", "def a() -> bool:\n    return False"},
        ),
        ("@a\ndef b(): ...", {"\ndef b(): ..."}),
        # Texts, annotations and decorators without an effect on the result do not change.
        ('"""Words."""', set()),
        ("a: Literal['b'] = c", set()),
        ("a = TypeVar('a', bound=b)", set()),
        ("a = ParamSpec('a')", set()),
        ("A = Mapping[str, tuple['B', Literal['c']]]", set()),
        ("a = B['c']", {"a = B['']"}),
        (
            "a = ContextVar('a', default=False)",
            {"a = ContextVar('a', default=True)", "a = ContextVar('a', )"},
        ),
        ("if TYPE_CHECKING:\n    a = 1", set()),
        ("logger.info('words', a)", {"pass"}),
        ("a = b(upstream_text='words')", set()),
        ("a = f'words {b}'", set()),
        ("a = pgettext_lazy('words', 'words')", set()),
        ("@property\ndef a(): ...", set()),
    ],
)
def test_each_kind_of_statement_has_its_one_line_changes(source: str, expected: set[str]) -> None:
    assert changed_sources(source) == expected


def test_a_change_is_shown_by_the_first_line_that_differs() -> None:
    source = "a = '流'\nb = (\n    c == d\n)\n".encode()
    last = changes_of(source)[-1]

    assert first_changed_line(source, last) == (3, "c == d", "c != d")


@for_each_row(
    "change, expected, is_in_body",
    [
        ("== b", range(2, 3), False),
        ("e = 1", range(3, 5), False),
        ("f(g)", range(5, 8), False),
        ("j=3", range(5, 8), False),
        ("k = 2", range(8, 9), True),
    ],
)
def test_the_lines_of_a_change_are_those_of_the_innermost_statement(
    change: str, expected: range, is_in_body: bool
) -> None:
    source = (
        b"# a\nif a == b:\n    c = d(\n        e = 1)\n@f(g)\ndef h(\n    i, j=3):\n    k = 2\n"
    )
    start = source.index(change.encode())

    assert lines_of_statement(source, Change("", start, start, b"")) == expected
    assert is_in_function(source, Change("", start, start, b"")) is is_in_body


@for_each_row("decorator, is_cached", [("", False), ("@functools.cache", True), ("@a", False)])
def test_the_body_of_a_cached_function_is_executed_once(decorator: str, is_cached: bool) -> None:
    source = f"{decorator}\ndef a():\n    return b\nc = d\n".encode()

    for text, expected in ((b"return", is_cached), (b"c =", False)):
        start = source.index(text)
        assert is_in_cached_function(source, Change("", start, start, b"")) is expected


@for_each_row(
    "change, expected",
    [("1", {1, 2, 5, 6}), ("9", {7}), ("3", {3, 4, 5, 6, 7}), ("f()", {3, 4, 5, 6, 7})],
)
def test_the_users_of_a_change_are_the_lines_with_its_name(change: str, expected: set[int]) -> None:
    source = b"A = 1\nB = [A]\n@f()\ndef h(\n    i=A):\n    return B + 3\nC = h() + 9\n"
    start = source.index(change.encode())

    assert lines_of_users(source, Change("", start, start, b"")) == expected


@for_each_row(
    "old, new, result",
    [
        ("return price + TAX", "return price - TAX", 1),
        ("return price + TAX", "return price", 3),
        # The import runs these lines, so that a new process has to import them.
        ("TAX = 2", "TAX = 3", None),
        ("price: int = 3", "price: int = 4", None),
        ("tax for tax in (2,)", "-tax for tax in (2,)", None),
        ("tax for tax in (4,)", "-tax for tax in (4,)", 5),
        # The function has no other variable of its caller's function any more.
        ("return net(price) + extra", "return net(price)", False),
    ],
)
def test_a_changed_function_of_an_imported_module_runs_its_new_code(
    old: str, new: str, result: object
) -> None:
    source = (
        "TAX = 2\nTAXES = [tax for tax in (2,)]\n"
        "def net(price: int = 3) -> int:\n"
        "    taxes = [tax for tax in (4,)]\n    return price + TAX\n"
        "def adding(extra: int):\n    def gross(price: int) -> int:\n"
        "        return net(price) + extra\n    return gross\ngross = adding(1)\n"
    )
    path = Path("/prices.py")
    namespace: dict[str, Any] = {}
    exec(compile(source, str(path), "exec"), namespace)  # noqa: S102  (the imported module)
    functions = changed_functions(path, source.encode(), source.replace(old, new).encode())

    if result is None:
        assert functions is None
    else:
        assert functions is not None
        assert replace_functions(path, functions) is (result is not False)
        assert result is False or namespace["net"]() == result


@for_each_row("module", ["login/cookies", "login/redirects", "login/state", "client/cache"])
def test_each_change_of_a_module_is_valid_python_with_another_meaning(module: str) -> None:
    source = (ROOT / path_of(module)).read_bytes()
    original = ast.dump(ast.parse(source))

    assert all(
        ast.dump(ast.parse(change.apply(source))) != original for change in changes_of(source)
    )


@for_each_row("module", MODULES)
def test_each_module_of_the_table_has_tests_and_changes(module: str) -> None:
    assert program.mutations_of(module)
    assert guards_of(module)
    assert all((ROOT / "tests" / name).exists() for name in MODULES[module])


def test_each_equivalent_change_exists_and_has_a_reason_and_a_stale_change_is_found() -> None:
    equivalents = program.read_equivalents(program.EQUIVALENT.read_text(encoding="utf-8"))
    mutations = [
        mutation
        for module in {module for module, _, _ in equivalents}
        for mutation in program.mutations_of(module)
    ]

    assert all(equivalents.values())
    assert program.stale_equivalents(equivalents, mutations) == []
    assert program.stale_equivalents({("errors", "a", "b"): "c"}, program.mutations_of("errors"))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree with a module of two lines, and a test of the first line only."""
    (tmp_path / "ciam_django").mkdir()
    (tmp_path / "ciam_django" / "prices.py").write_text("PRICE = 1\nTAX = 2\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_prices.py").write_text(
        "from ciam_django.prices import PRICE\n\ndef test_price():\n    assert PRICE == 1\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    for module in (program, sys.modules[guards_of.__module__]):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setitem(MODULES, "prices", ())
    return tmp_path


@pytest.mark.slow("a process for each change")
def test_the_report_names_a_change_that_makes_no_test_fail(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--module", "prices", "--processes", "2"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert "prices: 1 of 2 caught, 1 survived" in lines
    assert f"  {path_of('prices')}:2  other constant" in lines
    assert lines[-1] == "1 of 2 caught: 50.0 %"
    # The run has changed only copies of the tree.
    assert (shop / "ciam_django" / "prices.py").read_text() == "PRICE = 1\nTAX = 2\n"
    (shop / "tests" / "test_prices.py").write_text("def test_price():\n    assert False\n")
    with pytest.raises(SystemExit, match="fail without a change"):
        program.main(["--module", "prices"])


@pytest.mark.slow("a process for each change")
def test_a_kept_measurement_is_used_until_a_test_changes(shop: Path) -> None:
    kept = shop / "kept.json"
    arguments = ["--module", "prices", "--processes", "1", "--kept", str(kept)]
    assert program.main(arguments) == 1
    measured = kept.read_text()
    assert program.main(arguments) == 1
    assert kept.read_text() == measured
    test = shop / "tests" / "test_prices.py"
    test.write_text(test.read_text().replace("PRICE == 1", "PRICE != 2"))

    assert program.main(arguments) == 1
    assert len(json.loads(kept.read_text())) == len(json.loads(measured)) + 1


@pytest.mark.slow("a process for each change")
def test_a_change_of_a_function_that_an_import_has_called_is_imported(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "ciam_django" / "prices.py").write_text("def price(): return 1\n")
    (shop / "tests" / "test_prices.py").write_text(
        "from ciam_django.prices import price\n\nPRICE = price()\n\n"
        "def test_price():\n    assert PRICE == 1\n"
    )

    assert program.main(["--module", "prices", "--processes", "1"]) == 0
    assert "prices: 2 of 2 caught, 0 survived" in capsys.readouterr().out


@pytest.mark.slow("a process for each change")
def test_a_change_that_only_a_test_of_another_file_notices_is_caught(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "tests" / "test_shop.py").write_text(
        "from ciam_django.prices import TAX\n\ndef test_tax():\n    assert TAX == 2\n"
    )

    assert program.main(["--module", "prices", "--processes", "2"]) == 0
    assert "prices: 2 of 2 caught, 0 survived" in capsys.readouterr().out
    (shop / "tests" / "test_shop.py").write_text("def test_tax():\n    assert False\n")
    with pytest.raises(SystemExit, match="the quick tests fail in a copy of the tree"):
        program.main(["--module", "prices", "--processes", "2"])


def test_a_seed_always_gives_the_same_sample(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for seed in ("1", "1", "2"):
        assert program.main(["--list", "--sample", "20", "--seed", seed]) == 0
        outputs.append(capsys.readouterr().out)

    assert outputs[0] == outputs[1] != outputs[2]
    assert outputs[0].endswith("\n20 changes\n")
