"""Event loops for tests of `convtree.aio`: the same test runs in asyncio and in trio.

The helpers ask which of the two is running. `run` is a fixture, with one of them as its parameter.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import pytest

LIMIT_S = 60  # no test takes that long

Main = Callable[[], Coroutine[Any, Any, Any]]
Run = Callable[[Main], Any]

_local = threading.local()  # the nursery of the test that runs in trio, in this thread


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test's coroutine function in each library."""
    if request.param == "trio":
        pytest.importorskip("trio")
    return {"asyncio": run_in_asyncio, "trio": run_in_trio}[request.param]


def run_in_asyncio(main: Main) -> Any:
    """Runs a coroutine function; what asyncio would only log is an error."""
    logged: list[dict[str, Any]] = []

    async def watched() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
        return await main()

    result = asyncio.run(asyncio.wait_for(watched(), LIMIT_S))
    assert logged == []
    return result


def run_in_trio(main: Main) -> Any:
    """Runs a coroutine function, and cancels what it leaves running, as asyncio does."""
    trio = import_module("trio")

    failed: list[Exception] = []

    async def watched() -> Any:
        result = None
        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                _local.nursery = nursery
                try:
                    result = await main()
                except Exception as error:  # not in the group that a nursery makes of it
                    failed.append(error)
                nursery.cancel_scope.cancel()
        if failed:
            raise failed[0]
        return result

    return trio.run(watched)


def in_trio() -> bool:
    """Returns whether the caller runs under trio."""
    return "trio" in sys.modules and import_module("sniffio").current_async_library() == "trio"


class Task:
    """A call that runs beside the test."""

    def __init__(self, coroutine: Awaitable[Any]) -> None:
        self._coroutine = coroutine
        self._result: Any = None
        self._error: BaseException | None = None
        self._was_cancelled = False
        if in_trio():
            trio = import_module("trio")
            self._finished, self._scope = trio.Event(), trio.CancelScope()
            _local.nursery.start_soon(self._run)
        else:
            self._task = asyncio.ensure_future(coroutine)

    async def _run(self) -> None:
        try:
            with self._scope:
                self._result = await self._coroutine
                return
            self._was_cancelled = True
        except Exception as error:
            self._error = error
        finally:
            self._finished.set()

    def cancel(self) -> None:
        """Asks it to end."""
        (self._scope if in_trio() else self._task).cancel()

    def done(self) -> bool:
        """Returns whether it has ended."""
        return bool(self._finished.is_set()) if in_trio() else self._task.done()

    def cancelled(self) -> bool:
        """Returns whether it has ended because it was cancelled."""
        return self._was_cancelled if in_trio() else self._task.cancelled()

    async def ended(self) -> None:
        """Waits until it has ended, however that was."""
        if in_trio():
            await self._finished.wait()
        else:
            await asyncio.wait([self._task])

    def result(self) -> Any:
        """Returns its result, or raises its error."""
        if not in_trio():
            return self._task.result()
        if self._error is not None:
            raise self._error
        return self._result

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from self.ended().__await__()
        return self.result()


async def begin(coroutine: Awaitable[Any]) -> Task:
    """Has a call begin, and goes on beside it."""
    task = Task(coroutine)
    await settled()
    return task


async def settled() -> None:
    """Waits until every task waits for something; in asyncio, until each has had a turn."""
    if in_trio():
        await import_module("trio").testing.wait_all_tasks_blocked()
    else:
        await asyncio.sleep(0)


async def gather(*coroutines: Awaitable[Any]) -> list[Any]:
    """Has calls begin one after the other, and returns their results. In asyncio, as `asyncio.gather`."""
    if not in_trio():
        return list(await asyncio.gather(*(_of_asyncio(each) for each in coroutines)))
    tasks = [each if isinstance(each, Task) else await begin(each) for each in coroutines]
    return [await task for task in tasks]


def _of_asyncio(each: Awaitable[Any]) -> Awaitable[Any]:
    return each._task if isinstance(each, Task) else each


async def gave_up(task: Task) -> bool:
    """Cancels a call; tells whether it ended so."""
    task.cancel()
    await task.ended()
    return task.cancelled()


async def sleep(seconds: float) -> None:
    """Waits."""
    await (import_module("trio") if in_trio() else asyncio).sleep(seconds)


async def in_thread(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Calls a function in a thread."""
    if in_trio():
        return await import_module("trio").to_thread.run_sync(partial(work, *arguments, **named))
    return await asyncio.to_thread(work, *arguments, **named)


async def all_of(futures: Iterable[Any]) -> list[Any]:
    """Waits for the results of calls in threads."""
    return [await in_thread(each.result) for each in futures]


@contextmanager
def _trio_timeout(seconds: float) -> Iterator[None]:
    trio = import_module("trio")
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise TimeoutError from None


class timeout:  # noqa: N801  # named as that of asyncio
    """Raises TimeoutError in an `async with` block that takes too long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> None:
        self._inner: Any = _trio_timeout(self._seconds) if in_trio() else asyncio.timeout(self._seconds)
        if isinstance(self._inner, AbstractContextManager):
            self._inner.__enter__()
        else:
            await self._inner.__aenter__()

    async def __aexit__(self, *exception: Any) -> bool | None:
        if isinstance(self._inner, AbstractContextManager):
            return bool(self._inner.__exit__(*exception))
        return bool(await self._inner.__aexit__(*exception))
