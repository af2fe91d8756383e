"""What `vacuum` of a store drops, what it keeps, and who notices."""

from __future__ import annotations

from typing import Any

import pytest

from convtree._model.entries import (
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    ParentSession,
    VacuumEntry,
)
from convtree._model.errors import (
    EntryNotFound,
    IdConflict,
    InvalidCompaction,
    InvalidMessage,
    SessionHeld,
    SessionNotFound,
    StaleLeaf,
)
from convtree._session.session import Session
from convtree.stores._session_store import SessionStore
from convtree.stores._vacuum import Vacuumed
from convtree.testing._base import Clock, StoreTests, asked, assistant, begin, user

SOURCE: list[Entry] = [
    MessageEntry(id="system", message={"role": "system", "content": "be kind"}, pinned=True),
    MessageEntry(id="q1", parent_id="system", message=user("apple")),
    MessageEntry(id="a1", parent_id="q1", message=assistant("pear"), model="m", usage={"output_tokens": 5}),
    ModelChangeEntry(id="set", parent_id="a1", provider="p", model="n", settings={"effort": "low"}),
    ExtensionDataEntry(id="todo", parent_id="set", ext_type="todo", data=["pack"]),
    MessageEntry(id="q2", parent_id="todo", message=user("plum")),
    MessageEntry(id="a2", parent_id="q2", message=assistant("fig"), usage={"output_tokens": 7}),
    CompactionEntry(id="sum", parent_id="a2", summary="fruit", first_kept_entry_id="q2"),
    MessageEntry(id="q3", parent_id="sum", message=user("lime")),
    MessageEntry(id="side", parent_id="a1", message=user("cherry"), model="m", usage={"output_tokens": 9}),
]
"""A system prompt, two turns, a compaction that keeps the second, and another branch that is left."""


def fill(session: Session) -> None:
    """Writes `SOURCE`, with the leaf at its end, a name and labels."""
    session.extend(SOURCE, move_leaf=True)
    session.branch("q3")
    session.label("q2", "plums")
    session.label("side", "cherries")
    session.rename("Fruit")


def vacuumed(store: SessionStore, id: str, keep: Any = None, **options: Any) -> Vacuumed:
    """Vacuums a session; skips the test if the store is one that cannot."""
    try:
        return store.vacuum(id, keep, **({"dry_run": False} | options))
    except NotImplementedError as error:
        pytest.skip(str(error))


def said(session: Session, leaf: str | None = None) -> list[Any]:
    """Returns what the context at a leaf holds."""
    context = session.build_context() if leaf is None else session.build_context(leaf=leaf)
    return [*context.messages, context.provider, context.model, context.settings, context.produced_by]


class VacuumTests(StoreTests):
    """The contexts of what is kept stay, and what is dropped does not come back."""

    def test_contexts_stay_and_the_rest_goes(self, store: SessionStore) -> None:
        """Other branches go, and what lies before the last compaction, but not the pinned messages."""
        with store.create(id="s", cwd="/home/me", owner="ann", metadata={"a": 1}) as session:
            fill(session)
            before = said(session)
        planned = vacuumed(store, "s", dry_run=True)
        done = vacuumed(store, "s")
        assert (planned.done, planned.entries, planned.kept) == (False, 5, 5)
        assert (done.done, done.keep, done.entries, done.kept) == (True, ("q3",), 5, 5)
        assert [(each.leaf_id, each.entries, each.labels) for each in done.branches] == [("side", 1, ("cherries",))]
        assert planned.branches == done.branches
        assert done.size_after < done.size_before
        assert (done.id, done.copies[1:]) == ("s", ())
        with store.open("s") as session:
            assert said(session) == before
            root, *path = session.path()
            assert isinstance(root, VacuumEntry)
            assert [entry.id for entry in path] == ["system", "q2", "a2", "sum", "q3"]
            assert (root.provider, root.model, root.settings) == ("p", "n", {"effort": "low"})
            assert (root.state, root.dropped) == ({"todo": ["pack"]}, 5)
            assert root.usage == [
                {"answers": 2, "output_tokens": 14, "model": "m"},
            ]
            assert (session.state("todo"), session.labels, session.name) == (["pack"], {"q2": "plums"}, "Fruit")
            assert [entry.id for entry in session.leaves()] == ["q3"]
            assert session.findings == ()
        info = store.info("s")
        assert (info.name, info.cwd, info.owner, info.leaf_id) == ("Fruit", "/home/me", "ann", "q3")
        assert (info.usage.output_tokens, info.messages, info.first_user_message) == (21, 4, "plum")
        assert asked(store, "apple") == asked(store, "cherry") == []
        assert asked(store, "plum") == [("s", "q2")]

    def test_nothing_to_drop(self, store: SessionStore) -> None:
        """Then nothing is written. A second vacuum is such a one."""
        begin(store, "s", "one", "two")
        done = vacuumed(store, "s")
        assert (done.done, done.entries, done.branches, done.size_before) == (False, 0, (), done.size_after)
        with store.open("s") as session:
            fill(session)
            session.branch("q3")
        assert vacuumed(store, "s").entries == 7
        with store.open("s") as session:
            before = list(session.records())
        assert not vacuumed(store, "s").done
        with store.open("s") as session:
            assert list(session.records()) == before

    def test_dropped_records_do_not_come_back(self, store: SessionStore) -> None:
        """An import adds nothing that was dropped; an append with a dropped id is refused, a stored one is a retry."""
        with store.create(id="s") as session:
            fill(session)
        vacuumed(store, "s")
        with store.open("s") as session:
            before = [record.id for _, record in session.records()]
            assert session.extend(SOURCE) == 0
            assert [record.id for _, record in session.records()] == before
            with pytest.raises(IdConflict, match="vacuum has removed"):
                session.append(user("apple"), id="q1")
            assert session.append(user("plum"), id="q2").id == "q2"
            with pytest.raises(EntryNotFound, match="vacuum has removed"):
                session.append(user("x"), parent_id="side")
            assert session.extend([MessageEntry(id="q4", parent_id="q3", message=user("new"))]) == 1

    def test_several_leaves(self, store: SessionStore) -> None:
        """What differs between them is said where they part."""
        with store.create(id="s") as session:
            fill(session)
            session.append(user("one more"), id="third", parent_id="q1")
            before = [said(session, leaf) for leaf in ("q3", "side")]
        done = vacuumed(store, "s", ["q3", SOURCE[-1]])
        assert (done.keep, [each.leaf_id for each in done.branches]) == (("q3", "side"), ["third"])
        with store.open("s") as session:
            assert [said(session, leaf) for leaf in ("q3", "side")] == before
            assert (session.state("todo", leaf="q3"), session.state("todo", leaf="side")) == (["pack"], None)
            assert (session.leaf_id, session.labels) == ("side", {"q2": "plums", "side": "cherries"})
            assert session.findings == ()

    def test_the_leaf_of_what_is_kept(self, store: SessionStore) -> None:
        """It stays if it is kept; otherwise, it is the last of what is kept. It may be above other entries."""
        begin(store, "s")
        with store.open("s") as session:
            fill(session)
        vacuumed(store, "s", ["side", "a1"])
        with store.open("s") as session:
            assert (session.leaf_id, [entry.id for entry in session.path("side")][1:]) == (
                "a1",
                ["system", "q1", "a1", "side"],
            )
            assert session.append(user("next")).parent_id == "a1"

    def test_twice(self, store: SessionStore) -> None:
        """The second vacuum entry says what the first one said, too."""
        with store.create(id="s") as session:
            fill(session)
        vacuumed(store, "s")
        with store.open("s") as session:
            session.append(assistant("date"), id="a3", model="m", usage={"output_tokens": 1})
            session.append(CompactionEntry(summary="all", first_kept_entry_id="a3"), id="sum2")
            before = said(session)
        assert vacuumed(store, "s").entries == 4
        with store.open("s") as session:
            assert said(session) == before
            root, *path = session.path()
            assert isinstance(root, VacuumEntry)
            assert ([entry.id for entry in path], root.dropped) == (["system", "a3", "sum2"], 9)
            assert root.state == {"todo": ["pack"]}
            assert session.extend(SOURCE[1:]) == 0
        assert store.info("s").usage.output_tokens == 22

    def test_a_session_that_is_open_goes_on(self, store: SessionStore, other: SessionStore) -> None:
        """It reads the old log or the new one, and appends to the new one."""
        with store.create(id="s") as session:
            fill(session)
            with other.open("s", read_only=True) as reader, other.open("s") as third:
                seen = said(reader)
                vacuumed(store, "s")
                assert said(reader) == seen
                assert third.append(user("next"), id="q4").parent_id == "q3"
                assert [entry.id for entry in session.refresh()][-1] == "q4"
                assert reader.refresh()[-1].id == "q4"
                assert session.append(user("last"), id="q5").parent_id == "q4"
        with store.open("s") as session:
            assert [entry.id for entry in session.path()][1:] == ["system", "q2", "a2", "sum", "q3", "q4", "q5"]
            assert session.findings == ()

    def test_a_session_whose_leaf_was_dropped(self, store: SessionStore, other: SessionStore) -> None:
        """Its next append is stale, and nothing is written."""
        with store.create(id="s") as session:
            fill(session)
            with other.open("s") as writer:
                writer.branch("side")
            vacuumed(store, "s", ["side"])
            with pytest.raises(StaleLeaf):
                session.append(user("next"))
            with pytest.raises(EntryNotFound, match="vacuum has removed"):
                session.append(user("next"), on_stale="branch")
            session.refresh()
            assert session.append(user("next")).parent_id == "side"

    def test_what_is_refused(self, store: SessionStore) -> None:
        """A session on hold, one that is not there, and what cannot be kept."""
        with store.create(id="s") as session:
            fill(session)
        vacuumed(store, "s", dry_run=True)
        store.hold("s")
        for dry_run in (True, False):
            with pytest.raises(SessionHeld):
                store.vacuum("s", dry_run=dry_run)
            with pytest.raises(SessionNotFound):
                store.vacuum("t", dry_run=dry_run)
        store.release("s")
        wrong: list[Any] = ["q3", b"q3", SOURCE[0], {"q3": 1}, 7, [7], [None]]
        for keep in wrong:
            with pytest.raises(TypeError, match="keep: expected a list"):
                store.vacuum("s", keep)
        with pytest.raises(ValueError, match="keep is empty"):
            store.vacuum("s", [])
        for missing in ("nobody", "/"):
            with pytest.raises(EntryNotFound):
                store.vacuum("s", [missing])
        with pytest.raises(InvalidMessage):
            store.vacuum("../s")
        with store.open("s") as session:
            session.branch(None)
        with pytest.raises(ValueError, match="before the first entry"):
            store.vacuum("s")

    def test_a_fork_keeps_what_it_copied(self, store: SessionStore, clock: Clock) -> None:
        """It is named, and what it holds counts there from then on. The sum over the store stays the same."""
        with store.create(id="s") as session:
            fill(session)
        store.fork("s", "a1", new_id="f").close()
        clock.pass_by(days=1)
        assert store.usage(by="session")[0].usage.output_tokens == 21
        assert "f" in vacuumed(store, "s").copies
        counted = {info.id: info.usage.output_tokens for info in store.list()}
        assert counted == {"s": 16, "f": 5}
        store.fork("f", new_id="g").close()
        store.fork("s", new_id="h").close()
        assert {info.id: info.usage.output_tokens for info in store.list()} == counted | {"g": 0, "h": 0}
        store.delete("f")
        assert {info.id: info.usage.output_tokens for info in store.list()} == {"s": 16, "g": 5, "h": 0}
        store.delete("s")
        assert {info.id: info.usage.output_tokens for info in store.list()} == {"g": 5, "h": 16}
        store.delete("h")
        store.delete("g")
        assert sum(row.usage.output_tokens for row in store.ledger()) == 21

    def test_a_fork_that_is_vacuumed(self, store: SessionStore, clock: Clock) -> None:
        """What it dropped counts in the session that it was copied from."""
        with store.create(id="s") as session:
            fill(session)
        with store.fork("s", new_id="f") as session:
            session.append(assistant("date"), id="a3", model="m", usage={"output_tokens": 1})
            session.append(CompactionEntry(summary="all", first_kept_entry_id="q3"), id="sum2")
        clock.pass_by(days=1)
        before = {info.id: info.usage.output_tokens for info in store.list()}
        assert before == {"s": 21, "f": 1}
        assert "s" in vacuumed(store, "f").copies
        assert {info.id: info.usage.output_tokens for info in store.list()} == before
        vacuumed(store, "s")
        assert {info.id: info.usage.output_tokens for info in store.list()} == before
        store.delete("s")
        assert store.info("f").usage.output_tokens == 1
        store.delete("f")
        assert sum(row.usage.output_tokens for row in store.ledger()) == 22

    def test_both_are_vacuumed(self, store: SessionStore) -> None:
        """A fork and the session above it: each dropped entry still counts once."""
        with store.create(id="s") as session:
            fill(session)
        with store.fork("s", "side", new_id="f") as session:
            session.append(CompactionEntry(summary="all", first_kept_entry_id="side"), id="sum2")
        store.fork("s", "side", new_id="g").close()
        vacuumed(store, "s")
        vacuumed(store, "f")
        counted = {info.id: info.usage.output_tokens for info in store.list()}
        assert sum(counted.values()) == 21
        store.delete("g")
        left = sum(info.usage.output_tokens for info in store.list())
        assert left + sum(row.usage.output_tokens for row in store.ledger()) == 21

    def test_a_sub_agents_session_stays_one(self, store: SessionStore) -> None:
        """The header stays, and so do archive flag and metadata."""
        begin(store, "parent")
        with store.create(
            id="s", parent_session=ParentSession(id="parent", kind="task"), metadata={"a": 1, "b": 2}
        ) as session:
            fill(session)
            session.update_metadata(b=None, c=[3])
            session.archive()
        store.set_directories("s", cwd="/home/me")
        vacuumed(store, "s")
        with store.open("s") as session:
            assert session.metadata == {"a": 1, "c": [3]}
        (info,) = store.children("parent")
        assert (info.id, info.archived, info.cwd) == ("s", True, "/home/me")
        for metadata, count in (({"a": 1, "b": None, "c": [3]}, 1), ({"b": 2}, 0)):
            assert store.count(metadata=metadata, archived=None, tasks=True) == count

    def test_a_compaction_keeps_nothing_that_was_dropped(self, store: SessionStore) -> None:
        """It was made before the vacuum and comes after it. An append refuses it: no context could be built of it."""
        with store.create(id="s") as session:
            fill(session)
            vacuumed(store, "s")
            with pytest.raises(InvalidCompaction, match="'a1' is not on the path"):
                session.append(CompactionEntry(summary="S", first_kept_entry_id="a1"), on_stale="rebase")
            with pytest.raises(EntryNotFound, match="vacuum has removed it"):
                session.append(user("kiwi"), replaces="a1", on_stale="rebase")
            assert session.build_context().entries[-1].id == "q3"

    def test_sessions_of_one_handle_go_on(self, store: SessionStore) -> None:
        """They read the new log, and continue it."""
        with store.create(id="s") as session, store.open("s", create=True) as reader:
            fill(session)
            reader.refresh()
            vacuumed(store, "s")
            reader.refresh()
            assert [entry.id for entry in reader.path()[1:]] == ["system", "q2", "a2", "sum", "q3"]
            added = session.append(user("kiwi"))
            assert (added.parent_id, session.path()[1].id) == ("q3", "system")
        assert store.info("s").last_user_message == "kiwi"

    def test_what_was_dropped_is_not_found(self, store: SessionStore) -> None:
        """By its entries. What stays is."""
        with store.create(id="s") as session:
            fill(session)
        store.fork("s", "side", new_id="f").close()
        assert [store.sessions_with(id) for id in ("side", "q3")] == [["f", "s"], ["s"]]
        vacuumed(store, "s")
        assert [store.sessions_with(id) for id in ("side", "q3")] == [["f"], ["s"]]
