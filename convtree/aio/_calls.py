"""How a sync object becomes one for async callers: its methods awaited, and what opens it usable with `async with`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, Protocol, Self, TypeVar

from convtree._model.resources import Uncopyable
from convtree.aio._executor import SerialQueue, run_in_background
from convtree.aio._waiting import check_cancelled, finish, wait_for

P = ParamSpec("P")
T = TypeVar("T")


class _Closes(Protocol):
    def close(self) -> None: ...


class _ClosesAwaited(Protocol):
    async def close(self) -> None: ...


S_co = TypeVar("S_co", bound=_Closes, covariant=True)
R = TypeVar("R", bound=_ClosesAwaited | None)


class AsyncOnly:
    """Answers a plain `with` by saying that it takes an `async with`."""

    if not TYPE_CHECKING:  # a type checker must go on rejecting it

        def __enter__(self) -> NoReturn:
            raise TypeError(f"{type(self).__name__} of convtree.aio: use `async with`, not `with`")

        def __exit__(self, *exception: object) -> None:
            """Is there for `with` to look up `__enter__`."""


class AwaitableContext(AsyncOnly, Coroutine[Any, Any, R]):
    """A session or store that is being opened.

    `await` returns it, and the caller closes it. `async with` returns it and closes it. Like a coroutine, it can be
    used once.
    """

    def __init__(self, opening: Coroutine[Any, Any, R]) -> None:
        self._opening = opening
        self._opened: R | None = None

    def __await__(self) -> Generator[Any, Any, R]:
        return self._opening.__await__()

    def send(self, value: Any) -> Any:
        """Continues the coroutine; called by the event loop."""
        return self._opening.send(value)

    def throw(self, *exception: Any) -> Any:
        """Continues the coroutine with an exception; called by the event loop."""
        return self._opening.throw(*exception)

    def close(self) -> None:
        """Closes the coroutine. If it was not awaited, nothing is opened."""
        self._opening.close()

    async def __aenter__(self) -> R:
        opened = await self._opening
        self._opened = opened
        return opened

    async def __aexit__(self, *exception: object) -> None:
        if self._opened is not None:
            await self._opened.close()

    if not TYPE_CHECKING:  # a type checker must go on rejecting unknown attributes

        def __enter__(self) -> NoReturn:
            self._opening.close()
            super().__enter__()

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"{name!r} of a session or store that is not open yet: await it first, or use `async with`"
            )


async def _open(queue: SerialQueue, work: Callable[[], T], wrap: Callable[[T], R]) -> R:
    """Opens and wraps a sync object. If the caller is cancelled meanwhile, the object is closed."""
    await check_cancelled()
    future = queue.submit(work)
    try:
        return wrap(await wait_for(future))
    except BaseException:  # asyncio and trio have their own for a caller that is cancelled
        future.add_done_callback(_close_unclaimed)
        raise


def _close_unclaimed(future: Future[Any]) -> None:
    if not future.cancelled() and future.exception() is None and (opened := future.result()) is not None:
        run_in_background(opened.close)


class AsyncFacade(AsyncOnly, Uncopyable, Generic[S_co]):
    """A sync object and the queue of the calls on it."""

    def __init__(self, sync: S_co, width: int) -> None:
        self._sync = sync
        self._queue = SerialQueue(width)

    async def close(self) -> None:
        """Closes it after the calls that were made before; twice is the same as once. Cancelling does not stop it."""
        await finish(self._queue.submit(self._sync.close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<aio of {self._sync!r}>"


def awaited(
    method: Callable[Concatenate[S_co, P], T],
) -> Callable[Concatenate[AsyncFacade[S_co], P], Coroutine[Any, Any, T]]:
    """Returns the method that awaits a sync method."""

    @wraps(method)
    async def call(self: AsyncFacade[S_co], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._queue.call(partial(method, self._sync, *args, **kwargs))

    return call


def opening_method(
    method: Callable[Concatenate[S_co, P], T], wrap: Callable[[T], R]
) -> Callable[Concatenate[AsyncFacade[S_co], P], AwaitableContext[R]]:
    """Returns the method that opens and wraps what a sync method opens."""

    @wraps(method)
    def call(self: AsyncFacade[S_co], /, *args: P.args, **kwargs: P.kwargs) -> AwaitableContext[R]:
        return AwaitableContext(_open(self._queue, partial(method, self._sync, *args, **kwargs), wrap))

    return call


def opening_function(function: Callable[P, T], wrap: Callable[[T], R]) -> Callable[P, AwaitableContext[R]]:
    """Returns the function that opens and wraps what a sync function opens."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> AwaitableContext[R]:
        return AwaitableContext(_open(SerialQueue(), partial(function, *args, **kwargs), wrap))

    return call
