"""Forks and sub-agents."""

from __future__ import annotations

import pytest

from convtree._model.entries import ParentSession
from convtree._model.errors import EntryNotFound, SessionExists
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, assistant, begin, ids, user


class ForkTests(StoreTests):
    """Forks and sub-agents."""

    def test_fork_a_whole_session(self, store: SessionStore, clock: Clock) -> None:
        """Entries keep their ids. Labels, name and header fields are copied. Later appends are separate."""
        with store.create(id="a", name="N", cwd="/x", owner="o", metadata={"k": 1}) as session:
            first = session.append(user("1"))
            second = session.append(assistant("2"))
            session.label(first.id, "start")
        clock.pass_by(seconds=1)
        with store.fork("a", new_id="f") as fork:
            assert [entry.id for entry in fork.path()] == [first.id, second.id]
            assert (fork.id, fork.name, fork.labels, fork.metadata) == ("f", "N", {first.id: "start"}, {"k": 1})
            assert fork.header.parent_session == ParentSession(id="a", entry_id=second.id, kind="fork")
            third = fork.append(user("3"))
        info = store.info("f")
        assert (info.name, info.cwd, info.owner, info.entries, info.leaf_id) == ("N", "/x", "o", 3, third.id)
        assert (info.created, store.info("a").entries) == (clock.text(), 2)
        assert ids(store.list()) == ["f", "a"]

    def test_fork_up_to_an_entry(self, store: SessionStore) -> None:
        """Copies the path to the entry, and the labels on that path."""
        with store.create(id="a") as session:
            first = session.append(user("1"))
            session.append(user("2"))
            third = session.append(user("3"), parent_id=first.id)
            for entry, text in ((first, "one"), (third, "three")):
                session.label(entry.id, text)
            session.branch(None)
        with store.fork("a", first.id) as one, store.fork("a", third.id) as two, store.fork("a", None) as none:
            assert [entry.id for entry in one.path()] == [first.id]
            assert [entry.id for entry in two.path()] == [first.id, third.id]
            assert (one.labels, two.labels) == ({first.id: "one"}, {first.id: "one", third.id: "three"})
            assert none.path() == []
        with store.fork("a") as at_leaf:  # which is before the first entry
            assert at_leaf.path() == []

    def test_a_fork_is_stored_whole_or_not_at_all(self, store: SessionStore) -> None:
        """A refused fork stores nothing and overwrites nothing."""
        begin(store, "a", "1")
        begin(store, "b", "2", "3")
        with pytest.raises(EntryNotFound):
            store.fork("a", "nothing", new_id="f")
        with pytest.raises(SessionExists):
            store.fork("a", new_id="b")
        assert sorted(ids(store.list())) == ["a", "b"]
        assert store.info("b").messages == 2

    def test_a_long_session_is_forked_whole(self, store: SessionStore) -> None:
        """A fork of more entries than one batch."""
        with store.create(id="a") as session:
            session.append_many([user(str(number)) for number in range(1200)])
            label = session.leaf_id
            assert label is not None
            session.label(label, "end")
        with store.fork("a", new_id="f") as fork:
            assert [entry.text for entry in fork.path()] == [str(number) for number in range(1200)]  # type: ignore[attr-defined]
        assert (store.info("f").entries, store.info("f").last_user_message) == (1200, "1199")

    def test_children_are_forks_and_sub_agents(self, store: SessionStore, clock: Clock) -> None:
        """`children` returns both kinds, last active first. `list(parent=)` leaves out tasks unless asked."""
        begin(store, "a")
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        clock.pass_by(seconds=1)
        store.fork("a", new_id="f").close()
        store.fork("f", new_id="g").close()
        assert ids(store.children("a")) == ["f", "t"]
        assert ids(store.list(parent="a")) == ["f"]
        assert ids(store.list(parent="a", tasks=True)) == ["f", "t"]
        assert [info.parent_session and info.parent_session.kind for info in store.children("a")] == ["fork", "task"]

    def test_sub_agents_are_left_out_by_default(self, store: SessionStore, clock: Clock) -> None:
        """`list`, `latest` and `search` leave out sub-agents' sessions unless `tasks=True`."""
        begin(store, "a", "plan", cwd="/x")
        clock.pass_by(seconds=1)
        begin(store, "t", "plan", cwd="/x", parent_session=ParentSession(id="a", kind="task"))
        assert (ids(store.list()), ids(store.list(tasks=True))) == (["a"], ["t", "a"])
        latest = store.latest(cwd="/x")
        assert latest is not None
        assert latest.id == "a"
        assert [hit.session_id for hit in store.search("plan")] == ["a"]
        assert sorted(hit.session_id for hit in store.search("plan", tasks=True)) == ["a", "t"]
        assert store.info("t").id == "t"
