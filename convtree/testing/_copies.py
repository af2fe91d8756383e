"""Usage of copied entries: it counts once, in a session that is there."""

from __future__ import annotations

from convtree._model.entries import Header, MessageEntry, ParentSession
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, assistant


def spend(store: SessionStore, id: str, *tokens: int) -> str:
    """Appends an answer for each number of output tokens, and returns the id of the last one."""
    with store.open(id, create=True) as session:
        return [
            session.append(assistant("x"), provider="p", model="m", usage={"output_tokens": each}).id for each in tokens
        ][-1]


def counted(store: SessionStore) -> dict[str, int]:
    """Returns the output tokens of each session. The sum by model must be the same."""
    listed = {info.id: info.usage.output_tokens for info in store.list(archived=None, limit=None)}
    assert sum(row.usage.output_tokens for row in store.usage(by="model")) == sum(listed.values())
    return listed


class CopyTests(StoreTests):
    """Usage of copied entries."""

    def test_a_copy_counts_when_its_parent_is_deleted(self, store: SessionStore) -> None:
        """The fork counts what it has copied, also by branch. What only the parent had is gone."""
        last = spend(store, "a", 1, 10)
        spend(store, "a", 100)
        store.fork("a", last, new_id="f").close()
        spend(store, "f", 1000)
        assert counted(store) == {"a": 111, "f": 1000}
        store.delete("a")
        assert counted(store) == {"f": 1011}
        assert [row.usage.output_tokens for row in store.usage("f", by="branch")] == [1011]
        assert store.info("f").models == ("m",)

    def test_copies_of_a_session_that_is_gone_count_once(self, store: SessionStore) -> None:
        """Forks of different places share a part of the path; it counts in the first one by id."""
        first = spend(store, "a", 1)
        second = spend(store, "a", 10)
        for id, place in (("f", first), ("h", second), ("g", second)):
            store.fork("a", place, new_id=id).close()
            spend(store, id, 1000)
        store.delete("a")
        assert counted(store) == {"f": 1001, "g": 1010, "h": 1000}
        store.delete("f")
        assert counted(store) == {"g": 1011, "h": 1000}

    def test_the_middle_of_a_chain_is_deleted(self, store: SessionStore) -> None:
        """A fork of a fork finds the session that both come from, past the one that is gone."""
        spend(store, "a", 1)
        for parent, id, tokens in (("a", "f", 10), ("f", "g", 100), ("g", "h", 1000), ("f", "e", 10_000)):
            store.fork(parent, new_id=id).close()
            spend(store, id, tokens)
        store.delete("f")
        assert counted(store) == {"a": 1, "e": 10_010, "g": 100, "h": 1000}
        store.delete("g")
        assert counted(store) == {"a": 1, "e": 10_010, "h": 1100}
        store.delete("a")
        assert counted(store) == {"e": 10_011, "h": 1100}

    def test_a_new_session_under_the_id_of_a_parent(self, store: SessionStore, clock: Clock) -> None:
        """It began after the fork, so the fork has copied nothing of it."""
        spend(store, "a", 1)
        store.fork("a", new_id="f").close()
        store.delete("a")
        clock.pass_by(minutes=1)
        spend(store, "a", 10)
        assert counted(store) == {"a": 10, "f": 1}

    def test_sessions_that_name_each_other_as_parent(self, store: SessionStore) -> None:
        """Such headers can be written. The store answers, and counts what neither has copied."""
        for id, parent in (("a", "b"), ("b", "a"), ("c", "b"), ("d", "d")):
            entries = [
                MessageEntry(
                    id=str(number), parent_id=None, message=assistant("x"), model="m", usage={"output_tokens": 1}
                )
                for number in range(3)
            ]
            header = Header(id=id, parent_session=ParentSession(id=parent), copied_to="1")
            with store.open_or_create(header) as session:
                session.extend(entries)
        found = {info.id: info.usage.output_tokens for info in store.list()}
        assert all(1 <= tokens <= 3 for tokens in found.values())
