"""A lazy module is imported at the first use of one of its names."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ciam_django.lazy_modules import LazyModule


@pytest.fixture
def slow_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the name of a module whose import takes a while."""
    name = "slow_module_of_a_test"
    source = "import time\nfirst = 1\ntime.sleep(0.05)\nlast = object()\n"
    (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_the_first_use_imports_the_module(slow_module: str) -> None:
    lazy = LazyModule(slow_module)

    assert slow_module not in sys.modules
    assert lazy.first == 1
    assert lazy.last is sys.modules[slow_module].last
    for unused in (lazy, LazyModule(slow_module)):
        with pytest.raises(AttributeError, match="has no attribute 'next'"):
            _ = unused.next


def test_a_changed_name_of_the_module_is_seen(
    slow_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy = LazyModule(slow_module)

    assert lazy.first == 1
    monkeypatch.setattr(sys.modules[slow_module], "first", 2)
    assert lazy.first == 2


def test_threads_that_use_a_lazy_module_at_the_same_time_get_the_complete_module(
    slow_module: str,
) -> None:
    lazy, barrier = LazyModule(slow_module), threading.Barrier(8)

    def use() -> int:
        barrier.wait()
        return id(lazy.last)

    with ThreadPoolExecutor(8) as pool:
        found = {future.result() for future in [pool.submit(use) for _ in range(8)]}

    assert found == {id(sys.modules[slow_module].last)}


def test_a_missing_module_is_an_error_at_each_use() -> None:
    lazy = LazyModule("ciam_django.no_such_module")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            _ = lazy.name
