"""The asynchronous twins of functions run in the thread of the request, and hide the arguments."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import traceback

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync

from ciam_django.coroutines import async_twin

number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)


def fail(secret: str) -> None:
    raise ValueError("wrong")


def place() -> tuple[int, int]:
    """Return the thread, and the context variable of the caller."""
    return threading.get_ident(), number.get()


def test_a_twin_has_the_context_of_the_caller_and_the_thread_of_the_request() -> None:
    async def call() -> tuple[tuple[int, int], tuple[int, int]]:
        number.set(7)
        async with ThreadSensitiveContext():
            return await async_twin(place)(), await async_twin(place)()

    first, second = asyncio.run(call())

    assert first == second
    assert first[1] == 7
    assert first[0] != threading.get_ident()


def test_the_arguments_of_a_failed_twin_are_in_no_frame_of_the_package() -> None:
    async def call() -> None:
        await async_twin(fail)("s3cret")

    with pytest.raises(ValueError, match="wrong") as raised:
        asyncio.run(call())

    values = [
        repr(frame.f_locals.items())
        for frame, _ in traceback.walk_tb(raised.value.__traceback__)
        if "/tests/" not in frame.f_code.co_filename
    ]
    assert not [value for value in values if "s3cret" in value]


def test_a_cancelled_twin_runs_to_its_end() -> None:
    may_end, has_ended = threading.Event(), threading.Event()

    def work() -> None:
        may_end.wait(10)
        has_ended.set()

    async def cancel() -> None:
        async with ThreadSensitiveContext():
            task = asyncio.create_task(async_twin(work)())
            await asyncio.sleep(0.01)
            task.cancel()
            asyncio.get_running_loop().call_later(0.01, may_end.set)
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel())

    assert has_ended.wait(10)


def test_a_twin_works_in_a_coroutine_that_synchronous_code_runs() -> None:
    here = threading.get_ident()

    assert async_to_sync(async_twin(place))()[0] == here
