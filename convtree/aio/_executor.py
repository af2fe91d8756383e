"""Calls of async callers, carried out in threads: one pool, and lines in which calls wait for their turn.

The order is kept on the side of the threads, where nobody is cancelled: an abandoned call can neither break it nor run
beside the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from convtree._model.resources import ForkAware, watch_forks

T = TypeVar("T")

_THREADS = 16  # most of them wait for a disk, or for a lock that another process holds


class _Pool(ForkAware):
    """The threads of the process: a thread starts when there is work for it."""

    def __init__(self) -> None:
        self._after_fork()
        watch_forks(self)

    def _after_fork(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="convtree")

    def submit(self, work: Callable[[], object]) -> None:
        """Runs `work` in one of the threads; raises RuntimeError when the interpreter is shutting down."""
        self._threads.submit(work)


_pool = _Pool()


class SerialQueue(ForkAware):
    """Calls that wait for their turn: so many at a time are carried out, first come, first served."""

    def __init__(self, width: int = 1) -> None:
        self._width = width
        self._after_fork()
        watch_forks(self)

    def _after_fork(self) -> None:
        """Starts empty."""
        self._lock = Lock()  # held for a few instructions, never while something is carried out
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._running = 0

    async def call(self, work: Callable[[], T]) -> T:
        """Has some work carried out in its turn."""
        return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Puts some work at the end of the line."""
        future: Future[T] = Future()
        with self._lock:
            if self._running < self._width:
                _pool.submit(self._run)  # raises when the interpreter is on its way out
                self._running += 1
            self._waiting.append((future, partial(copy_context().run, work)))
        return future

    def _run(self) -> None:
        while True:
            self._serve()
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
            with suppress(RuntimeError):  # the interpreter is on its way out: there is this thread still
                _pool.submit(self._run)  # behind the others, so that a busy session leaves them their turn
                return

    def _serve(self) -> None:
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


def in_background(work: Callable[[], object]) -> None:
    """Has something carried out that nobody waits for."""
    with suppress(RuntimeError):  # the interpreter is on its way out, and closes what is open
        _pool.submit(work)
