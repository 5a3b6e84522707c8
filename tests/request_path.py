"""Count the modules of the package that a request passes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Self


@dataclass
class RequestPath:
    """A context manager that counts the calls into the package in the current thread.

    ``modules`` maps each module to the number of calls into it. ``changes`` is the number of calls
    into another module than the call before. ``deepest`` is the largest number of the package's
    frames on the stack. The fake CIAM runs in other threads and is not counted.
    """

    modules: Counter[str] = field(default_factory=Counter)
    changes: int = 0
    deepest: int = 0
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    _last: str = ""
    _depth: int = 0
    _previous: Any = None

    def __enter__(self) -> Self:
        self._previous = sys.getprofile()
        sys.setprofile(self._count)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(self._previous)

    def __str__(self) -> str:
        modules = ", ".join(f"{name} {calls}" for name, calls in self.modules.most_common())
        return (
            f"{len(self.modules)} modules, {self.changes} changes, {self.deepest} frames: {modules}"
        )

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        module = str(frame.f_globals.get("__name__", ""))
        if not module.startswith("ciam_django."):
            return
        if event == "call":
            self.modules[module] += 1
            self._depth += 1
            self.deepest = max(self.deepest, self._depth)
            if module != self._last:
                self.changes += 1
                self.pairs[self._last, module] += 1
            self._last = module
        elif event == "return":
            self._depth -= 1


def path_of(request: Callable[[], object]) -> RequestPath:
    """The path of what ``request`` does, which is called once."""
    with RequestPath() as path:
        request()
    return path
