"""Change the functions of an imported module, so that a run of the tests needs no new imports."""

from __future__ import annotations

import gc
import inspect
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

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
    if any(_import_code(each) != _import_code(other) for each, other in pairs):
        return None
    return {
        (each.co_qualname, each.co_firstlineno): other
        for each, other in pairs
        if _is_function(each)
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
    old: types.CodeType, new: types.CodeType
) -> Iterator[tuple[types.CodeType, types.CodeType]]:
    """Yield two codes, and the pairs of the codes in their constants.

    Raises ``ValueError`` if the codes do not have the same number of inner codes.
    """
    yield old, new
    for each, other in zip(_codes_in(old), _codes_in(new), strict=True):
        yield from _pairs(each, other)


def _codes_in(code: types.CodeType) -> list[types.CodeType]:
    return [each for each in code.co_consts if isinstance(each, types.CodeType)]


def _is_function(code: types.CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_OPTIMIZED)


def _import_code(code: types.CodeType) -> object:
    """Return what the import executes of the code of a module or a class; None for a function."""
    if _is_function(code):
        return None
    constants = [repr(each) for each in code.co_consts if not isinstance(each, types.CodeType)]
    return code.co_code, code.co_names, constants
