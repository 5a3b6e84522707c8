"""Import a module when it is first used, and not when the project starts.

A module with a lazy module has the same import twice, once for the reader and the type checker::

    if TYPE_CHECKING:
        from joserfc import jwt
    else:
        jwt = LazyModule("joserfc.jwt")

``tests/test_imports.py`` compares the two names. It also lists the modules that the start of a
project must not load. Several threads may use a lazy module at the same time: Python lets all of
them wait until the module is complete.
"""

from __future__ import annotations

import importlib
from typing import Any


class _LoadedModule:
    """The attributes of a module, as fast as the attributes of the module itself."""

    __slots__ = "__dict__", "_name"


class LazyModule:
    """The attributes of the module ``name``, which the first access to an attribute imports."""

    __slots__ = "__dict__", "_name"

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        module = importlib.import_module(self._name)
        # The two classes differ in this method, which makes each access slow.
        self.__dict__ = module.__dict__
        self.__class__ = _LoadedModule  # type: ignore[assignment]  # the slots are the same
        return getattr(module, attribute)
