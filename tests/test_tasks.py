"""Sub-agents' sessions, where stores differ; `convtree.testing` has what every store must do."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers import HEADER, as_file, node, sealed, user

from convtree import LeafUncertain, ParentSession, SessionStore, aio, open_store
from convtree.stores._memory import MemoryBackend
from convtree.stores.base import Filter, ListedSession, Progress
from convtree.testing import begin


def test_a_damaged_parent(tmp_path: Path) -> None:
    """A task may begin at an entry that can be read. At the leaf it may not, if the damage may have moved that."""
    store = open_store(tmp_path / "store")
    lines = sealed([HEADER, node("a", None), node("b", "a")])
    (tmp_path / "store" / "p.jsonl").write_bytes(as_file([*lines, b"damage"]))
    with pytest.raises(LeafUncertain, match=r"branch\('b'\)"):
        store.create_task("p")
    with store.create_task("p", "a", id="t") as task:
        task.append(user("look"))
    assert store.info("t").parent_session == ParentSession(id="p", entry_id="a", kind="task")
    with store.open("p", read_only=True) as parent:
        assert parent.id == "p"
    store.close()


def test_a_catalogue_that_does_not_count() -> None:
    """Its sessions are listed and counted."""

    class Lister:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def sessions(self, filters: Filter, *page: Any) -> Sequence[ListedSession]:
            listed: Sequence[ListedSession] = self._inner.sessions(filters, *page)
            return listed

    class Backend(MemoryBackend):
        def catalogue(self, progress: Progress | None = None) -> Any:
            return Lister(super().catalogue(progress))

    with SessionStore(Backend()) as store:
        for id in ("a", "b"):
            begin(store, id)
        with store.create_task("a") as task:
            task.append(user("look"))
        assert (store.count(), store.count(tasks=True)) == (2, 3)


def test_create_task_for_asyncio() -> None:
    """`async with` opens and closes it."""

    async def main() -> None:
        async with aio.open_store("memory:") as store:
            async with store.create(id="a") as session:
                question = await session.append(user("Where?"))
            async with store.create_task("a", question.id, id="t") as task:
                await task.append(user("look"))
            assert [info.id for info in await store.children("a")] == ["t"]
            assert (await store.count(), await store.count(tasks=True)) == (1, 2)

    asyncio.run(main())
