"""Make coroutine functions of the functions that call CIAM and the database.

A twin runs its function in a thread, as Django's own asynchronous methods do. The thread is that of
the request, so that the function has the connections and the transaction of the request, and
``request_finished`` closes the connections. ``tests/coroutines.py`` measures the cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from ciam_django.privacy import clear_frames

P = ParamSpec("P")
T = TypeVar("T")


def async_twin(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return a coroutine function with the arguments, the result and the errors of the function.

    The thread has a copy of the caller's context. If the coroutine is cancelled, the function still
    runs to its end, so that a refreshed token is stored. No error report shows the arguments.
    """
    call_in_thread = sync_to_async(function)

    @functools.wraps(function)
    async def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call_in_thread(*args, **kwargs)
        except BaseException as error:
            # The frame of this function still runs, so it can't be cleared.
            del args, kwargs
            clear_frames(error)
            raise

    return twin
