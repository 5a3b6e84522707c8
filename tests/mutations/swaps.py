"""Change the functions of an imported module, so that a run of the tests needs no new imports."""

from __future__ import annotations

import gc
import inspect
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

# The names of the codes that are run where they stand.
_COMPREHENSIONS: Final = frozenset({"<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>"})

# The name and the first line of a function in the unchanged source.
FunctionKey = tuple[str, int]


def changed_functions(
    path: Path, old: bytes, new: bytes
) -> Mapping[FunctionKey, types.CodeType] | None:
    """Return the new code of the functions of a source; None if the import runs other code."""
    old_code, new_code = (compile(source, str(path), "exec") for source in (old, new))
    try:
        pairs = list(_pairs(old_code, new_code))
    except ValueError:
        # A function has another number of inner functions.
        return None
    if any(
        _values_of(each) != _values_of(other) for each, other, is_imported in pairs if is_imported
    ):
        return None
    return {
        (each.co_qualname, each.co_firstlineno): other
        for each, other, is_imported in pairs
        if not is_imported
    }


def replace_functions(path: Path, functions: Mapping[FunctionKey, types.CodeType]) -> bool:
    """Give the functions of an imported module their new code; return False if this fails."""
    is_replaced = False
    for function in gc.get_objects():
        # isinstance() would read the class of a weak proxy whose object is gone.
        if type(function) is types.FunctionType:
            code = function.__code__
            new = functions.get((code.co_qualname, code.co_firstlineno))
            if new is not None and code.co_filename == str(path):
                if new.co_freevars != code.co_freevars:
                    return False
                function.__code__ = new
                is_replaced = True
    return is_replaced


def _pairs(
    old: types.CodeType, new: types.CodeType, *, is_imported: bool = True
) -> Iterator[tuple[types.CodeType, types.CodeType, bool]]:
    """Yield two codes, True if the import executes them, and the same for their inner codes.

    Raises ``ValueError`` if the codes do not have the same number of inner codes.
    """
    yield old, new, is_imported
    for each, other in zip(_codes_in(old), _codes_in(new), strict=True):
        is_run = is_imported and (not _is_function(each) or each.co_name in _COMPREHENSIONS)
        yield from _pairs(each, other, is_imported=is_run)


def _codes_in(code: types.CodeType) -> list[types.CodeType]:
    return [each for each in code.co_consts if isinstance(each, types.CodeType)]


def _is_function(code: types.CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_OPTIMIZED)


def _values_of(code: types.CodeType) -> object:
    """Return what a code executes, without its inner codes."""
    constants = [repr(each) for each in code.co_consts if not isinstance(each, types.CodeType)]
    return code.co_code, code.co_names, constants
