"""Handles on the sessions of one owner."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from convtree._model.entries import Header, MessageEntry, ParentSession
from convtree._model.errors import SessionClosed, SessionExists, SessionHeld, SessionNotFound, StaleLeaf
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, append_to, assistant, begin, ids, racing, user
from convtree.testing._vacuum import vacuumed

ANN, BOB = {"cwd": "/x", "owner": "ann"}, {"cwd": "/x", "owner": "bob"}


def _without(id: str, text: str) -> str:
    """Returns a text without an id."""
    return re.sub(rf"\b{id}\b", "ID", text)


class ScopeTests(StoreTests):
    """`scoped`: every call sees and touches the sessions of its owner only. And `erase` of an owner."""

    @pytest.fixture
    def ann(self, store: SessionStore, clock: Clock) -> SessionStore:
        """A handle of one owner. The store has sessions of another one, too, and one of nobody."""
        begin(store, "a", "plan one", **ANN)
        begin(store, "a2", "plan two", **ANN)
        begin(store, "at", "plan task", owner="ann", parent_session=ParentSession(id="a", kind="task"))
        begin(store, "b", "plan one", **BOB)
        begin(store, "nobody", "plan one", cwd="/x")
        begin(store, "bt", "plan task", owner="bob", parent_session=ParentSession(id="b", kind="task"))
        clock.pass_by(minutes=1)
        append_to(store, "b", "plan more")
        return store.scoped(owner="ann")

    def test_calls_for_one_session(self, ann: SessionStore) -> None:
        """A session of somebody else looks like one that is not there, but for the id in the message."""
        calls: list[Callable[[str], Any]] = [
            ann.open,
            lambda each: ann.open(each, read_only=True),
            ann.fork,
            lambda each: ann.fork(each, new_id="new"),
            ann.copy,
            ann.delete,
            lambda each: ann.delete(each, expect_leaf=None),
            ann.create_task,
            lambda each: ann.create_task(each, None, id="new", owner="ann"),
            lambda each: ann.session(each).__enter__(),
            ann.info,
            ann.usage,
            lambda each: ann.usage(each, by="branch"),
            ann.archive,
            ann.unarchive,
            ann.hold,
            ann.release,
            lambda each: ann.rename(each, "mine"),
            lambda each: ann.set_directories(each, cwd="/mine"),
            lambda each: ann.copy_to(ann, [each]),
            lambda each: ann.create(parent_session=ParentSession(id=each)),
            lambda each: ann.open("new", create=True, parent_session=ParentSession(id=each, kind="task")),
        ]
        for call in calls:
            said = []
            for id in ("b", "bt", "nobody", "zz"):
                with pytest.raises(SessionNotFound) as caught:
                    call(id)
                said.append(_without(id, str(caught.value)))
            assert said == [said[-1]] * 4

    def test_calls_that_answer_with_nothing(self, ann: SessionStore, store: SessionStore) -> None:
        """They answer the same for a session of somebody else and for one that is not there."""
        with store.open("b") as session:
            entry = session.path()[0]
        for id in ("b", "zz"):
            assert (ann.children(id), ids(ann.list(parent=id, tasks=True))) == ([], [])
            erased = ann.erase(id)
            assert (erased, erased.copies, erased.held, erased.skipped) == ([], (), (), ())
            assert [_without(id, name) for name in erased.complete] == [
                _without("zz", name) for name in ann.erase("zz").complete
            ]
        assert ann.sessions_with(entry.id) == []
        assert store.sessions_with(entry.id) == ["b"]
        assert sorted(ids(store.list(tasks=True))) == ["a", "a2", "at", "b", "bt", "nobody"]

    def test_ids_that_are_taken(self, ann: SessionStore, store: SessionStore) -> None:
        """That is all that shows."""
        calls: list[Callable[[str], Any]] = [
            lambda each: begin(ann, each),
            lambda each: ann.fork("a", new_id=each),
            lambda each: ann.copy("a", each),
        ]
        for call in calls:
            said = []
            for id in ("b", "a2", "nobody"):
                with pytest.raises(SessionExists) as caught:
                    call(id)
                said.append(_without(id, str(caught.value)))
            assert said == [said[0]] * 3
        for id in ("b", "nobody"):
            with pytest.raises(SessionExists, match="is taken"):
                ann.open(id, create=True)
            with pytest.raises(SessionExists, match="is taken"):
                ann.open_or_create(Header(id=id))
        assert store.info("b").messages == 2

    def test_lists_searches_and_sums(self, ann: SessionStore, store: SessionStore) -> None:
        """Of the owner's sessions. Another owner as a filter finds nothing."""
        for id, tokens in (("a", 1), ("at", 10), ("b", 100)):
            with store.open(id) as session:
                session.append(assistant("x"), model="m", usage={"output_tokens": tokens})
        assert {*ids(ann.list())} == {"a", "a2"}
        assert {*ids(ann.list(tasks=True, cwd=None, metadata={"k": None}))} == {"a", "a2", "at"}
        assert {*ids(ann.list(owner="ann", cwd="/x", text="plan"))} == {"a", "a2"}
        assert [ann.count(), ann.count(tasks=True), ann.count(owner="ann", metadata={"k": None})] == [2, 3, 2]
        assert [ann.count(owner="bob"), ann.count(parent="b", tasks=True), ann.count(metadata={"k": 1})] == [0, 0, 0]
        assert ids(ann.list(owner="bob")) == ids(ann.children("b")) == []
        assert ids(ann.children("a")) == ["at"]
        page = ann.list(limit=1)
        assert {*ids(page), *ids(ann.list(limit=1, cursor=page.cursor))} == {"a", "a2"}
        latest, resumable = ann.latest(cwd="/x"), ann.resumable(cwd="/x")
        assert latest is not None
        assert latest.owner == "ann"
        assert resumable == latest
        assert (ann.latest(owner="bob"), ann.resumable(cwd="/x", owner="bob")) == (None, None)
        resumed = ann.resume(cwd="/x", note="time passed")
        assert resumed is not None
        with resumed:
            assert resumed.header.owner == "ann"
        assert ann.resume(cwd="/x", owner="bob") is None
        assert {hit.session_id for hit in ann.search("plan", tasks=True)} == {"a", "a2", "at"}
        assert ann.search("plan", owner="bob") == ann.search("more") == []
        assert {row.session_id: row.usage.output_tokens for row in ann.usage()} == {"a": 11, "a2": 0}
        assert [row.usage.output_tokens for row in ann.usage(by="model")] == [11]
        assert [row.usage.output_tokens for row in ann.usage("a", by="branch")] == [1]
        assert (ann.usage(owner="bob"), ann.findings, ann.owner, store.owner) == ([], [], "ann", None)

    def test_what_begins_is_the_owners(self, ann: SessionStore, store: SessionStore) -> None:
        """Whatever begins it. In the whole store, too, a sub-agent's session gets the owner of its parent."""
        begin(ann, "new")
        with ann.open("opened", create=True) as session:
            session.append(user("x"))
        with ann.open_or_create(Header(id="arrived"), arrives=True) as session:
            session.append(user("x"))
        for handle, id in ((ann, "sub"), (store, "sub2")):
            with handle.create_task("a", id=id) as session:
                session.append(user("x"))
        with ann.session("shared", create=True) as session:
            session.append(user("x"))
        ann.fork("a", new_id="fork", then=[user("more")]).close()
        ann.copy("a", "copy").close()
        for parent, id in (("a", "task"), ("missing", "orphan")):
            begin(store, id, parent_session=ParentSession(id=parent, kind="task"))
        begin(store, "named", parent_session=ParentSession(id="a", kind="fork"))
        owners = {info.id: info.owner for info in store.list(tasks=True)}
        begun = ("new", "opened", "arrived", "sub", "sub2", "shared", "fork", "copy", "task")
        assert [owners[id] for id in begun] == ["ann"] * 9
        assert (owners["orphan"], owners["named"]) == (None, None)
        with pytest.raises(ValueError, match=r"owner='bob': this handle is that of 'ann'"):
            ann.create(owner="bob")
        with pytest.raises(ValueError, match=r"owner='bob': this handle is that of 'ann'"):
            ann.create_task("a", owner="bob")
        with pytest.raises(ValueError, match=r"owner='bob': this handle is that of 'ann'"):
            ann.fork("a", owner="bob")
        with pytest.raises(ValueError, match=r"owner='bob'"):
            ann.open("x", create=True, owner="bob")
        with pytest.raises(ValueError, match="leave the owner out"):
            ann.open_or_create(Header(id="x", owner="bob"))
        with pytest.raises(TypeError, match="owner describes a new session"):
            ann.open("a", owner="ann")
        ann.open("a").close()

    def test_directories_move_for_the_owner(self, ann: SessionStore, store: SessionStore) -> None:
        """Those of others stay."""
        assert sorted(ann.move_directory("/x", "/y")) == ["a", "a2"]
        assert {info.id: info.cwd for info in store.list()} == {"a": "/y", "a2": "/y", "b": "/x", "nobody": "/x"}

    def test_a_session_that_is_replaced_by_that_of_another(self, ann: SessionStore, store: SessionStore) -> None:
        """An open session does not continue the log of somebody else who got its id."""
        with ann.open("a2") as session:
            store.delete("a2")
            begin(store, "a2", "secret", **BOB)
            for call in (lambda: session.append(user("x"), on_stale="rebase"), session.refresh):
                with pytest.raises(SessionNotFound):
                    call()
        with ann.create(id="new") as session:
            begin(store, "new", "secret", **BOB)
            with pytest.raises(SessionExists):
                session.append(user("x"))
        with ann.open("newer", create=True) as session:
            begin(store, "newer", "secret", **BOB)
            with pytest.raises((SessionExists, SessionNotFound)):
                session.append(user("x"))
        assert [store.info(id).entries for id in ("a2", "new", "newer")] == [1, 1, 1]

    def test_a_session_that_two_begin(self, ann: SessionStore) -> None:
        """The second one goes on with what the first one wrote."""
        with ann.open("new", create=True) as one, ann.open("new", create=True) as two:
            first = one.append(user("1"))
            second = two.append(user("2"), on_stale="rebase")
        assert (second.parent_id, ann.info("new").entries) == (first.id, 2)

    def test_copies_between_stores(self, ann: SessionStore, store: SessionStore) -> None:
        """A handle copies the owner's sessions, and takes no others."""
        assert {each.status for each in ann.copy_to(store)} == {"unchanged"}
        assert sorted(each.id for each in ann.copy_to(store)) == ["a", "a2", "at"]
        found = {each.id: each.status for each in store.copy_to(ann)}
        assert found == {
            **dict.fromkeys(["a", "a2", "at"], "unchanged"),
            **dict.fromkeys(["b", "bt", "nobody"], "refused"),
        }

    def test_deleting_and_pruning(self, ann: SessionStore, store: SessionStore, clock: Clock) -> None:
        """Only what is the owner's. A sub-agent that somebody else began below a session does not keep it."""
        begin(store, "evil", owner="bob", parent_session=ParentSession(id="a", kind="task"))
        store.fork("a2", new_id="a3").close()
        assert ann.delete("a") == ["at", "a"]
        assert ann.delete("a2").copies == ("a3",)
        ann.hold("a3")
        with pytest.raises(SessionHeld):
            ann.delete("a3")
        begin(ann, "a4")
        clock.pass_by(days=2)
        pruned = ann.prune(max_age=3600, dry_run=False)
        assert (ids(pruned), ids(pruned.held), pruned.skipped) == (["a4"], ["a3"], ())
        assert ann.prune(keep=0, owner="bob") == []
        assert sorted(ids(store.list(tasks=True))) == ["a3", "b", "bt", "evil", "nobody"]

    def test_the_ledger_of_an_owner(self, ann: SessionStore, store: SessionStore) -> None:
        """Has what the owner's deleted sessions had used."""
        for id, tokens in (("a", 1), ("b", 10)):
            with store.open(id) as session:
                session.append(assistant("x"), model="m", usage={"output_tokens": tokens})
            store.delete(id)
        assert [(row.owner, row.usage.output_tokens) for row in ann.ledger()] == [("ann", 1)]
        assert ann.ledger(owner="bob") == []

    def test_deleting_what_is_as_expected(self, ann: SessionStore, store: SessionStore) -> None:
        """An expectation is about a session of the owner."""
        leaf = store.info("b").leaf_id
        assert ann.erase("b", expect_leaf=leaf) == ann.erase("b", expect_leaf=None) == []
        with pytest.raises(SessionNotFound):
            ann.delete("b", expect_leaf=leaf)
        for call in (ann.delete, ann.erase):
            with pytest.raises(StaleLeaf):
                call("a2", expect_leaf=leaf)
        assert ann.delete("a2", expect_leaf=ann.info("a2").leaf_id) == ["a2"]
        for named in ({"expect_leaf": None}, {"expect_revision": leaf}):
            with pytest.raises(TypeError, match="are about one session"):
                ann.erase(owner="ann", **named)
        assert sorted(ids(store.list(tasks=True))) == ["a", "at", "b", "bt", "nobody"]

    def test_vacuum_of_an_owners_session(self, ann: SessionStore, store: SessionStore) -> None:
        """A session of somebody else looks like one that is not there; one on hold is refused."""
        with store.open("b") as session:
            session.branch(None)
            session.append(user("other"))
        said = []
        for dry_run in (True, False):
            for id in ("b", "nobody", "zz"):
                with pytest.raises(SessionNotFound) as caught:
                    vacuumed(ann, id, dry_run=dry_run)
                said.append(_without(id, str(caught.value)))
        assert said == [said[0]] * 6
        assert store.info("b").entries == 3
        with ann.open("a") as session:
            session.branch(None)
            session.append(user("other"))
            session.hold()
        with pytest.raises(SessionHeld):
            vacuumed(ann, "a")
        ann.release("a")
        begin(store, "copy", owner="bob")
        with store.open("a") as session, store.open("copy") as copy:
            copy.extend([session.entry(entry.id) for _, entry in session.records() if isinstance(entry, MessageEntry)])
        done = vacuumed(ann, "a")
        assert (done.done, done.entries, "copy" in done.copies) == (True, 1, False)
        assert (ann.info("a").owner, ann.info("a").messages) == ("ann", 1)

    def test_shared_sessions_of_an_owner(self, ann: SessionStore, store: SessionStore) -> None:
        """All handles of the owner share them, and no other handle gets them."""
        with ann.session("a") as session, store.scoped(owner="ann").session("a") as same, store.session("a") as other:
            assert same is session
            assert other is not session
            entry = session.append(user("one"))
            with store.session("a") as again:
                assert again is other
                assert again.leaf_id == entry.id
        for handle in (ann, store.scoped(owner="bob")):
            with pytest.raises(SessionNotFound), handle.session("nobody"):
                pass
        with pytest.raises(SessionExists), ann.session("b", create=True):
            pass

    def test_a_shared_session_whose_id_somebody_else_gets(self, ann: SessionStore, store: SessionStore) -> None:
        """Is not found any more, by those who have it, and by those who ask."""
        with ann.session("a2") as session:
            store.delete("a2")
            begin(store, "a2", "secret", **BOB)
            for call in (session.refresh, lambda: session.append(user("x"), on_stale="rebase")):
                with pytest.raises(SessionNotFound):
                    call()
            with pytest.raises(SessionNotFound), ann.session("a2"):
                pass
            with pytest.raises(SessionExists), ann.session("a2", create=True):
                pass
        with store.scoped(owner="bob").session("a2") as theirs:
            assert theirs is not session
        assert ann.erase("a2") == []
        with store.scoped(owner="bob").session("a2") as again:
            assert again is theirs
        assert store.info("a2").entries == 1

    def test_links_lead_to_the_owners_sessions_only(self, ann: SessionStore, store: SessionStore) -> None:
        """When copies of a session are named that is gone."""
        leaf = ann.info("a2").leaf_id
        ann.fork("a2", new_id="f").close()
        ann.fork("f", new_id="g").close()
        header = Header(id="theirs", owner="bob", parent_session=ParentSession(id="a2", entry_id=leaf), copied_to=leaf)
        with store.open_or_create(header) as session:
            session.append(user("x"))
        for id in ("a2", "f"):
            ann.delete(id)
        assert (ann.erase("a2").copies, ann.erase("f").copies) == (("g",), ("g",))
        assert store.erase("a2").copies == ("g", "theirs")
        assert store.scoped(owner="bob").erase("a2").copies == ("theirs",)

    def test_copies_are_named_among_the_owners(self, store: SessionStore, ann: SessionStore) -> None:
        """Another owner's session with the same entry is not."""
        with store.open("a") as session:
            entries = session.path()
        for id, owner in (("theirs", "bob"), ("ours", "ann")):
            with store.create(id=id, owner=owner) as session:
                session.extend(entries)
        assert ann.delete("a").copies == ("ours",)
        assert store.delete("ours").copies == ("theirs",)

    def test_erase_an_owner(self, ann: SessionStore, store: SessionStore, clock: Clock) -> None:
        """All of the owner's sessions, without those on hold, which are named. Others stay."""
        begin(store, "h", "kept", **ANN)
        begin(store, "ht", owner="ann", parent_session=ParentSession(id="h", kind="task"))
        store.hold("ht")
        store.archive("a2")
        with store.open("a") as session:
            entries = session.path()
        with store.create(id="theirs", owner="bob") as session:
            session.extend(entries)
        for handle, owner in ((ann, "bob"), (store, "zoe")):
            erased = handle.erase(owner=owner)
            assert (erased, erased.held, erased.skipped) == ([], (), ())

        def write() -> None:
            for id in ("a", "a2"):
                append_to(store, id, "meanwhile")

        racing_store = racing(store, clock, write)
        erased = racing_store.erase(owner="ann")
        assert (len(erased.skipped), sorted([*erased, *erased.skipped])) in (
            (1, ["a", "a2", "at"]),
            (2, ["a", "a2", "at"]),
        )
        assert {*erased.held} == {"h", "ht"}
        erased = store.erase(owner="ann")
        assert (erased.skipped, {*erased.held}) == ((), {"h", "ht"})
        assert sorted(ids(store.list(tasks=True, archived=None))) == ["b", "bt", "h", "ht", "nobody", "theirs"]
        store.release("ht")
        assert {*ann.erase(owner="ann")} == {"h", "ht"}
        assert ids(ann.list(tasks=True, archived=None)) == []

    def test_erase_says_what_holds_copies(self, ann: SessionStore, store: SessionStore) -> None:
        """Of any of the erased sessions."""
        for id in ("a", "a2"):
            with store.open(id) as session:
                entries = session.path()
            with store.create(id=f"of-{id}", owner="bob") as session:
                session.extend(entries)
        erased = store.erase(owner="ann")
        assert ({*erased}, erased.copies) == ({"a", "a2", "at"}, ("of-a", "of-a2"))
        assert ids(ann.list()) == []

    def test_arguments(self, ann: SessionStore, store: SessionStore) -> None:
        """A handle of a handle is for the same owner; an owner is a text."""
        assert {*ids(ann.scoped(owner="ann").list())} == {"a", "a2"}
        with pytest.raises(ValueError, match="this handle is that of owner 'ann'"):
            ann.scoped(owner="bob")
        for owner in ("", "\ud800"):
            with pytest.raises(ValueError, match="owner"):
                store.scoped(owner=owner)
        for value in (None, 1, b"ann"):
            with pytest.raises(TypeError, match="owner"):
                store.scoped(owner=value)  # type: ignore[arg-type]
        for arguments in ({}, {"id": "a", "owner": "ann"}):
            with pytest.raises(TypeError, match="erase takes either"):
                store.erase(**arguments)

    def test_closing(self, ann: SessionStore, store: SessionStore) -> None:
        """A handle is closed by itself, and with its store."""
        other = store.scoped(owner="bob")
        with other.session("b") as shared:
            other.close()
        with pytest.raises(SessionClosed):
            other.list()
        with pytest.raises(SessionClosed), other.session("b"):
            pass
        assert shared.refresh() == []
        assert {*ids(ann.list())} == {"a", "a2"}
        store.close()
        for call in (ann.list, lambda: ann.open("a")):
            with pytest.raises(SessionClosed):
                call()
