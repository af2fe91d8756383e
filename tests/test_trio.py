"""convtree.aio in trio, and with anyio in both: what differs between the two libraries. test_aio.py runs in each."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import contents, user
from loops import Run, begin, settled, sleep

from convtree import Session, aio

ALONE = """
import asyncio, sys
from convtree import aio

async def main():
    async with aio.Session.memory() as session:
        await session.append({"role": "user", "content": "a"})
        async for _ in session.records():
            pass

asyncio.run(main())
print([name for name in ("anyio", "sniffio", "trio") if name in sys.modules])
"""


def test_asyncio_programs_import_no_other_library() -> None:
    """Nothing has to be installed for asyncio."""
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_both_libraries_use_one_session(log_path: Path) -> None:
    """A loop of asyncio and one of trio, one after the other, in one process in which both are imported."""
    trio: Any = pytest.importorskip("trio")

    async def say(session: aio.Session, text: str) -> None:
        await session.append(user(text))

    session = aio.Session(Session.open(log_path, durability="process"))
    asyncio.run(say(session, "a"))
    trio.run(say, session, "b")
    asyncio.run(say(session, "c"))
    trio.run(session.close)
    with Session.open(log_path, mode="r") as stored:
        assert contents(stored) == ["a", "b", "c"]


def test_a_cancelled_scope_of_trio_leaves_no_lock(log_path: Path) -> None:
    """Everything that is awaited in the scope is cancelled again, the `close` of the session as well: it runs."""
    trio: Any = pytest.importorskip("trio")

    async def main() -> None:
        for _ in range(20):
            with trio.CancelScope() as scope:
                async with aio.Session.open(log_path, exclusive=True) as session:
                    await session.append(user("a"), parent_id=None)
                    scope.cancel()
                    await session.append(user("never begun"))
            async with aio.Session.open(log_path, exclusive=True, lock_timeout_s=0):
                pass
            with trio.move_on_after(0):
                await aio.Session.open(log_path, exclusive=True)
                raise AssertionError

    trio.run(main)
    with Session.open(log_path, mode="r") as stored:
        assert [record.text for _, record in stored.records() if hasattr(record, "text")] == ["a"] * 20


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_scope_of_anyio_leaves_no_lock(backend: str, log_path: Path) -> None:
    """In both: an acknowledged append is stored, and the lock comes free."""
    anyio: Any = pytest.importorskip("anyio")
    pytest.importorskip(backend)

    async def main() -> None:
        for number in range(20):
            acknowledged = []
            with anyio.move_on_after(number / 1000):
                async with aio.Session.open(log_path, exclusive=True, durability="process") as session:
                    while True:
                        acknowledged.append(await session.append(user("a")))
            async with aio.Session.open(log_path, exclusive=True, lock_timeout_s=10) as session:
                stored = [entry.id for entry in await session.path()]
                assert [entry.id for entry in acknowledged if entry.id not in stored] == []

    anyio.run(main, backend=backend)


def test_items_end_as_those_of_a_generator_do(run: Run) -> None:
    """When they are closed, after an error, and after a cancellation: items may be missing then."""

    async def main() -> None:
        async with aio.Session.memory() as session:
            await session.append_many([user("a"), user("b")])
            items = session.walk_up()
            assert (await anext(items)).parent_id is not None
            await items.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(items)
            items = session.walk_up()
            with pytest.raises(KeyError):
                await items.athrow(KeyError)
            with pytest.raises(KeyError, match="x"):
                await items.athrow(KeyError, KeyError("x"), None)
            assert [each async for each in items] == []
            with pytest.raises(ValueError, match="start: expected at least 0"):
                session.records(-1)
            news = session.follow(poll_s=60)
            waiting = await begin(anext(news))
            await settled()
            waiting.cancel()
            await waiting.ended()
            await session.append(user("c"))
            assert [each async for each in news] == []

    run(main)


def test_a_loop_that_ends_early_needs_no_closing(run: Run) -> None:
    """Trio warns of generators that are left; warnings are errors here."""

    async def main() -> None:
        async with aio.Session.memory() as session:
            await session.append_many([user("a"), user("b")])
            async for _ in session.records():
                break
            async for _ in session.walk_up():
                break
            await sleep(0)

    run(main)
