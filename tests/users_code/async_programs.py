"""Programs for asyncio: every call of `convtree.aio`, with the type that a user sees."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, assert_type

import convtree
from convtree import Entry, Mark, MessageEntry, aio


async def converse(path: Path) -> None:
    """One conversation."""
    async with aio.Session.open(path, mode="a", durability="process", name="Trip") as session:
        assert_type(session, aio.Session)
        question = await session.append({"role": "user", "content": "Where shall we go?"}, provider=None)
        assert_type(question, MessageEntry)
        await asyncio.gather(
            session.append({"role": "assistant", "content": "Rome?"}, parent_id=question.id),
            session.append({"role": "assistant", "content": "Oslo?"}, reply_to=question.id, model="claude"),
        )
        assert_type(await session.append_many([{"role": "user", "content": "Why?"}]), list[Entry])
        state = convtree.ExtensionDataEntry(ext_type="my.state", data=1)
        assert_type(await session.append(state), convtree.ExtensionDataEntry)
        context = await session.build_context()
        assert_type(context, convtree.Context)
        assert_type(await session.siblings(question.id), list[MessageEntry])
        assert_type(await session.path(), list[Entry])
        assert_type(await session.path(last=1, type=MessageEntry), list[MessageEntry])
        assert_type(session.walk_up(), AsyncGenerator[Entry, None])
        view = await session.view(question.id)
        assert_type(view, aio.View)
        assert_type(view[0], convtree.ViewEntry)
        assert_type(await view.to("assistant-ui"), dict[str, Any])
        assert_type(session.walk_up(question.id, type=MessageEntry), AsyncGenerator[MessageEntry, None])
        assert_type((await session.diff(question.id)).ancestor_id, str | None)
        await session.label(question.id, "start")
        await session.rename("A trip")
        await session.update_metadata(ticket=8)
        assert_type(await session.compact(summarize, keep_tokens=2), convtree.CompactionEntry | None)
        assert_type(await session.branch(question.id, summarize=retell), convtree.BranchSummaryEntry | None)
        assert_type((await session.outline()).leaf, int)
        assert_type((session.id, session.leaf_id), tuple[str, str | None])
        assert_type(session.findings, tuple[convtree.Finding, ...])
        async with session.fork(path.with_name("fork.jsonl")) as fork:
            assert_type(fork, aio.Session)
        async for number, record in session.records():
            assert_type((number, record), tuple[int, Entry | Mark])
        news = session.follow(timeout_s=0)
        assert_type(news, AsyncGenerator[Entry | Mark, None])
        async with aclosing(news):
            async for record in news:
                print(record.id)


async def summarize(plan: convtree.CompactionPlan) -> str:
    """Stands for a model."""
    return f"{len(plan.messages)} messages"


async def retell(plan: convtree.BranchPlan) -> str:
    """Stands for a model."""
    return f"{len(plan.messages)} messages"


async def serve(url: str) -> None:
    """Many conversations."""
    store = await aio.open_store(url)
    assert_type(store, aio.SessionStore)
    async with store, store.create(id="s", cwd="/home/me") as session:
        assert_type(session, aio.Session)
        await session.append({"role": "user", "content": "Hello"})
        async with store.open("t", create=True, on_stale="branch") as other:
            await other.append({"role": "user", "content": "Hello"})
        async with store.session("t") as shared:
            assert_type(shared, aio.Session)
        async with store.fork("s") as fork:
            assert_type(fork.leaf_id, str | None)
        assert_type([info.id for info in await store.list(limit=10)], list[str])
        assert_type([hit.entry_id for hit in await store.search("hello")], list[str])
        resumed = await store.resume(cwd="/home/me")
        assert_type(resumed, aio.Session | None)
        if resumed is not None:
            await resumed.close()
        usage: dict[str | None, int] = {row.session_id: row.usage.input_tokens for row in await store.usage()}
        assert usage
        assert_type([finding.code for finding in await store.findings()], list[str])
        assert_type(await store.delete("t"), convtree.Erased)


def main(folder: Path) -> None:
    """Runs it all."""
    said: list[Any] = []

    async def both() -> None:
        await converse(folder / "trip.jsonl")
        await serve("memory:")
        async with aio.Session.memory() as session:
            said.extend((await session.build_context()).messages)

    asyncio.run(both())
    assert said == []
