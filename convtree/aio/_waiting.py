"""Waits in an event loop, of asyncio or of trio, for calls that run in threads.

The threads do not know of event loops: a call is a `concurrent.futures.Future`. Neither library has to be installed or
imported for the other: trio is used if it is what runs the caller.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")


async def check_cancelled() -> None:
    """Raises if the caller is in a scope of trio that is cancelled: a call there must not start."""
    trio = _trio()
    if trio is not None:
        await trio.lowlevel.checkpoint_if_cancelled()


async def wait_for(future: Future[T]) -> T:
    """Waits for a call. If the caller is cancelled, a call that has not started does not run."""
    trio = _trio()
    if trio is None:
        return await asyncio.wrap_future(future)
    done, token = trio.Event(), trio.lowlevel.current_trio_token()

    def wake(_: Future[T]) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    future.add_done_callback(wake)
    try:
        await done.wait()
    except BaseException:
        future.cancel()
        raise
    return future.result()


async def finish(future: Future[T]) -> T:
    """Waits for a call that runs in any case.

    In asyncio, cancelling ends the waiting. In trio, where everything in a cancelled scope is cancelled again and
    again, the waiting ends with the call.
    """
    trio = _trio()
    if trio is None:
        return await asyncio.shield(asyncio.wrap_future(future))
    with trio.CancelScope(shield=True):
        return await wait_for(future)


async def settle(future: Future[T]) -> T:
    """Waits for the outcome of a call, also when the caller is cancelled: the cancellation goes on afterwards."""
    trio = _trio()
    if trio is not None:
        return await finish(future)  # the caller's next checkpoint raises
    outcome = asyncio.wrap_future(future)
    cancelled: asyncio.CancelledError | None = None
    while not outcome.done():
        try:
            await asyncio.wait({outcome})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        outcome.exception()  # the caller does not get it
        raise cancelled
    return outcome.result()


async def sleep(seconds: float) -> None:
    """Waits for some time."""
    await (_trio() or asyncio).sleep(seconds)


def current_task() -> object:
    """Returns the task of the caller; None if the coroutine is driven by hand."""
    trio = _trio()
    if trio is not None:
        return trio.lowlevel.current_task()
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _trio() -> Any:
    """Returns the module `trio` if the caller runs under it; else None."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    sniffio = import_module("sniffio")  # which trio needs, and which tells it from asyncio in the same thread
    try:
        return trio if sniffio.current_async_library() == "trio" else None
    except sniffio.AsyncLibraryNotFoundError:
        return None  # the coroutine is driven by hand
