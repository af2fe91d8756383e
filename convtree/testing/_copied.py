"""Copies of whole sessions, and forks with the entries that follow."""

from __future__ import annotations

from typing import Any

import pytest

from convtree._model.entries import CompactionEntry, ModelChangeEntry, ParentSession
from convtree._model.errors import IdConflict, InvalidCompaction, InvalidMessage, SessionExists
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, assistant, begin, ids, user


def content(store: SessionStore, id: str) -> dict[str, Any]:
    """Returns what a session says, without its header."""
    with store.open(id, read_only=True) as session:
        return {
            "records": [record for _, record in session.records()],
            "leaf": session.leaf_id,
            "labels": session.labels,
            "name": session.name,
            "metadata": session.metadata,
            "archived": session.archived,
            "directories": (session.cwd, session.git_root),
            "context": session.build_context().messages,
        }


class CopiedTests(StoreTests):
    """`copy`, and `fork(then=)`."""

    def test_copy_a_session(self, store: SessionStore, clock: Clock) -> None:
        """All branches and marks, the leaf, names and directories of now. Later appends are separate."""
        with store.create(id="a", name="N", cwd="/x", owner="o", metadata={"k": 1}) as session:
            first = session.append(user("1"))
            session.append(assistant("2"))
            other = session.append(assistant("two"), parent_id=first.id)
            session.label(first.id, "start")
            session.hide(other.id)
            session.rename("M")
            session.set_directories(cwd="/y")
            session.update_metadata(k=2, l=3)
            session.archive()
            session.branch(first.id)
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        clock.pass_by(seconds=1)
        with store.copy("a", "c") as copy:
            parent = ParentSession(id="a", entry_id=first.id)
            assert (copy.id, copy.header.parent_session, copy.header.copied_to) == ("c", parent, other.id)
            assert (copy.header.owner, copy.header.timestamp) == ("o", f"{clock.text()[:-1]}000Z")
            assert copy.findings == ()
        assert content(store, "c") == content(store, "a")
        assert ids(store.children("c")) == []
        with store.open("c") as copy:
            copy.append(user("3"))
        assert (store.info("a").entries, store.info("c").entries) == (3, 4)
        assert len(store.copy("a").id) == 32

    def test_a_copy_of_an_empty_log_and_of_a_long_one(self, store: SessionStore) -> None:
        """A log with a name only, and one of more records than a batch."""
        with store.create(id="e") as session:
            session.rename("only a name")
        with store.copy("e", "f") as copy:
            assert (copy.name, copy.path(), copy.header.copied_to) == ("only a name", [], None)
        with store.create(id="a") as session:
            session.append_many([user(str(number)) for number in range(1200)])
        with store.copy("a", "c") as copy:
            assert [entry.text for entry in copy.path()] == [str(number) for number in range(1200)]  # type: ignore[attr-defined]
        assert content(store, "c") == content(store, "a")

    def test_a_hold_is_not_copied(self, store: SessionStore) -> None:
        """The copy can be deleted. The original stays on hold."""
        begin(store, "a")
        store.hold("a")
        store.copy("a", "c").close()
        assert [(info.id, info.held) for info in sorted(store.list(), key=lambda each: each.id)] == [
            ("a", True),
            ("c", False),
        ]
        assert store.delete("c").copies == ("a",)

    def test_a_copy_is_stored_whole_or_not_at_all(self, store: SessionStore) -> None:
        """A refused copy overwrites nothing."""
        begin(store, "a", "1")
        begin(store, "b", "2", "3")
        with pytest.raises(SessionExists):
            store.copy("a", "b")
        with pytest.raises(SessionExists):
            store.copy("a", "a")
        with pytest.raises(InvalidMessage):
            store.copy("a", "../b")
        assert (sorted(ids(store.list())), store.info("b").messages) == (["a", "b"], 2)

    def test_usage_of_a_copy_counts_once(self, store: SessionStore) -> None:
        """In the original, on all branches; in the copy, when that is gone."""
        with store.create(id="a") as session:
            question = session.append(user("q"))
            for tokens in (1, 10):
                usage = {"output_tokens": tokens}
                session.append(assistant("x"), parent_id=question.id, model="m", usage=usage)
            session.label(question.id, "q")
        store.copy("a", "c").close()
        with store.open("c") as session:
            session.append(assistant("y"), model="m", usage={"output_tokens": 100})
        counted = {info.id: info.usage.output_tokens for info in store.list()}
        assert counted == {"a": 11, "c": 100}
        assert sorted(row.usage.output_tokens for row in store.usage("c", by="branch")) == [0, 100]
        store.delete("a")
        assert store.info("c").usage.output_tokens == 111
        store.delete("c")
        assert sum(row.usage.output_tokens for row in store.ledger()) == 111

    def test_a_fork_and_the_entries_that_follow(self, store: SessionStore, clock: Clock) -> None:
        """In one write, with labels and name; usage of what follows is the fork's own."""
        with store.create(id="a", name="N") as session:
            first = session.append(assistant("1"), model="m", usage={"output_tokens": 1})
            session.append(user("2"))
            session.label(first.id, "start")
        clock.pass_by(seconds=1)
        then = [ModelChangeEntry(id="own", provider="p", model="n"), user("two")]
        with store.fork("a", first.id, new_id="f", then=iter(then)) as fork:
            path = fork.path()
            assert [entry.id for entry in path[:2]] == [first.id, "own"]
            assert [entry.parent_id for entry in path] == [None, first.id, "own"]
            assert (path[2].timestamp, fork.leaf_id) == (f"{clock.text()[:-1]}000Z", path[2].id)
            assert (fork.labels, fork.name, fork.header.copied_to) == ({first.id: "start"}, "N", first.id)
            assert fork.build_context().model == "n"
            assert fork.findings == ()
        assert (store.info("f").last_user_message, store.info("f").usage.output_tokens) == ("two", 0)
        with store.fork("a", None, new_id="g", then=[assistant("new")]) as fork:
            assert [entry.parent_id for entry in fork.path()] == [None]

    def test_a_fork_with_a_key_and_an_owner_of_its_own(self, store: SessionStore) -> None:
        """Left out, the fork has no key, and the owner of the original."""
        with store.create(key="the original", owner="o") as session:
            first = session.append(user("1"))
        for given, header in (
            ({}, (None, "o")),
            ({"new_key": ("user@example.com", 2)}, (["user@example.com", 2], "o")),
            ({"new_key": "a/b", "owner": "p"}, (["a/b"], "p")),
            ({"owner": None}, (None, None)),
        ):
            with store.fork(session.id, **given) as fork:
                assert ((fork.header.key, fork.header.owner), fork.leaf_id) == (header, first.id)
        with store.open(key="a/b") as fork:
            fork.append(user("2"))
        assert [(info.key, info.messages) for info in store.list(owner="p")] == [(["a/b"], 2)]
        with pytest.raises(SessionExists):
            store.fork(session.id, new_key="a/b")
        with pytest.raises(TypeError, match="either an id or a key"):
            store.fork(session.id, new_id="x", new_key="y")

    def test_entries_that_cannot_follow(self, store: SessionStore) -> None:
        """Nothing is stored: an id that the parent has, a reference off the path, something that is no entry."""
        with store.create(id="a") as session:
            first = session.append(user("1"))
            second = session.append(user("2"))
        refused: list[tuple[Any, type[Exception]]] = [
            (ModelChangeEntry(id=second.id, provider="p", model="n"), IdConflict),
            (CompactionEntry(summary="s", first_kept_entry_id=second.id), InvalidCompaction),
            ({"role": "user", "content": float("nan")}, InvalidMessage),
            (7, TypeError),
        ]
        for item, error in refused:
            with pytest.raises(error):
                store.fork("a", first.id, new_id="f", then=[item])
        with pytest.raises(IdConflict):
            store.fork("a", new_id="f", then=[ModelChangeEntry(id="x", provider="p", model=each) for each in "mn"])
        assert ids(store.list()) == ["a"]
