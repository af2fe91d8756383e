"""Sessions and stores for asyncio and trio: `Session`, `SessionStore` and `open_store`, named as the sync ones.

>>> import asyncio
>>> from convtree import aio
>>> async def main() -> None:
...     async with aio.Session.memory() as session:  # or: session = await aio.Session.memory()
...         await session.append({"role": "user", "content": "Where shall we go?"})
...         context = await session.build_context()
...         print(context.messages[-1]["content"])
>>> asyncio.run(main())
Where shall we go?

Every call that may touch a disk or a socket is awaited; properties are not. The sync classes do the work, in a pool of
threads, and their docstrings say what each call does. The rules that an event loop adds:

* **Order.** Calls on one session run one at a time, in the order in which they start: the order of the arguments of
  `asyncio.gather`, for example. A nursery of trio starts its tasks in any order. Different sessions run in parallel,
  and so do up to four calls on one store: await a call before one that depends on it.
* **Cancelling.** A call that is cancelled before it starts in its thread does not run. After that it runs to its end,
  and the session's next call waits for it. So a cancelled append may be stored; repeat it with the same `id`. `close`
  always runs, and a session or store that a cancelled call has opened is closed. In trio, a task that is cancelled
  waits for its `close`, so that whatever comes next finds the lock free.
* **Arguments** are read when the call starts, in a thread. This includes iterables and functions (`render`, `clock`).
* **The end of the program** waits for calls that have started. Several event loops may share a session, also one of
  asyncio and one of trio.

Opening gives an `AwaitableContext`: await it, or use it with `async with`. `call_in_thread` runs a function of your own
that makes several sync calls.
"""

from convtree.aio._calls import AwaitableContext
from convtree.aio._executor import call_in_thread
from convtree.aio._facade import Outline, Session, SessionStore, View, open_store

__all__ = ["AwaitableContext", "Outline", "Session", "SessionStore", "View", "call_in_thread", "open_store"]
