"""Runs the calls of async callers in threads: one pool for the process, and queues that keep calls in order.

The order is kept by the threads and not by the event loop, because only tasks are cancelled: an abandoned call can
neither change the order nor run at the same time as the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from convtree._model.resources import ForkAware, watch_forks
from convtree.aio._waiting import check_cancelled, settle, wait_for

T = TypeVar("T")

_THREADS = 16  # most of them wait for a disk, or for a lock that another process holds


class _Pool(ForkAware):
    """The threads of the process. A thread starts when there is work for it."""

    def __init__(self) -> None:
        self._after_fork()
        watch_forks(self)

    def _after_fork(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="convtree")

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Runs `work` in one of the threads; returns its outcome.

        Raises:
            RuntimeError: the interpreter is shutting down.
        """
        return self._threads.submit(work)


_pool = _Pool()


class SerialQueue(ForkAware):
    """A queue of calls, of which at most `width` run at the same time; first come, first served."""

    def __init__(self, width: int = 1) -> None:
        self._width = width
        self._after_fork()
        watch_forks(self)

    def _after_fork(self) -> None:
        """Starts empty: in a forked child, the threads that served the queue are gone."""
        self._lock = Lock()  # protects the two below; held for a few instructions, never while a call runs
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._running = 0  # threads that serve this queue

    async def call(self, work: Callable[[], T]) -> T:
        """Runs `work` when its turn comes; returns what it returns."""
        await check_cancelled()
        return await wait_for(self.submit(work))

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Adds `work` to the queue, with a copy of the caller's context variables.

        Raises:
            RuntimeError: the interpreter is shutting down.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._running < self._width:
                _pool.submit(self._serve)
                self._running += 1
            self._waiting.append((future, partial(copy_context().run, work)))
        return future

    def _serve(self) -> None:
        """Runs calls until the queue is empty. Goes to the end of the pool's queue after each, to let others run."""
        while True:
            self._run_next()
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
            with suppress(RuntimeError):  # the interpreter is shutting down: this thread goes on
                _pool.submit(self._serve)
                return

    def _run_next(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            future, work = self._waiting.popleft()
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
            del future  # the traceback holds this frame
        else:
            future.set_result(result)


async def call_in_thread(work: Callable[[], T], *, settled: bool = False) -> T:
    """Runs a function of sync calls in one of convtree's threads, from asyncio or trio, and returns its result.

    For several sync calls that belong together: a hop to a thread costs more than most of them. Calls run in parallel,
    in any order.

    Args:
        work: the function, without arguments. It sees a copy of the caller's context variables.
        settled: a caller that is cancelled waits for the outcome, and is cancelled then. So nothing of `work` happens
            after the call. Otherwise, `work` runs to its end unseen if it has started.

    Raises:
        RuntimeError: the interpreter is shutting down.
        Whatever `work` raises.
    """
    await check_cancelled()
    future = _pool.submit(partial(copy_context().run, work))
    return await (settle if settled else wait_for)(future)


def run_in_background(work: Callable[[], object]) -> None:
    """Runs `work` in the pool without waiting for it. Does nothing if the interpreter is shutting down."""
    with suppress(RuntimeError):
        _pool.submit(work)
