"""What `verify` and `repair` of a store say about sound sessions: nothing, whatever was done with them."""

from __future__ import annotations

import pytest

from convtree._model.entries import MessageEntry
from convtree._model.errors import SessionNotFound
from convtree._session.repairing import Repair
from convtree.stores._session_store import SessionStore
from convtree.testing._base import StoreTests, assistant, begin, user


def problems(store: SessionStore) -> list[object]:
    """Returns what a check of the whole store finds."""
    return [report for report in store.verify() if report.findings or report.rows]


def planned(store: SessionStore) -> list[Repair]:
    """Returns what a repair of the whole store would do; skips the test if the store is one that cannot."""
    try:
        return store.repair()
    except NotImplementedError as error:
        pytest.skip(str(error))


class CheckingTests(StoreTests):
    """A sound store, and one with much history."""

    def test_verify_reports_each_session(self, store: SessionStore) -> None:
        """Of the whole store by id, else in the order of the ids."""
        begin(store, "b", "one", "two")
        begin(store, "a", "one")
        store.rename("a", "A")
        done: list[tuple[int, int]] = []
        reports = store.verify(progress=lambda number, of: done.append((number, of)))
        assert [(each.path, each.entries, each.marks) for each in reports] == [("a", 1, 1), ("b", 2, 0)]
        assert done == [(1, 2), (2, 2)]
        assert [each.path for each in store.verify(["b", "a"])] == ["b", "a"]
        assert [(each.path, each.damaged, each.error) for each in store.verify("b")] == [("b", False, None)]

    def test_an_unknown_session_is_not_found(self, store: SessionStore) -> None:
        """As everywhere; ids are checked first."""
        begin(store, "a", "one")
        with pytest.raises(SessionNotFound):
            store.verify(["a", "nope"])
        with pytest.raises(ValueError, match="id"):
            store.verify("no id")
        planned(store)
        with pytest.raises(SessionNotFound):
            store.repair("nope")

    def test_a_sound_store_needs_no_repair(self, store: SessionStore) -> None:
        """Whatever was done with its sessions: the tables say what the lines say."""
        with store.create(id="a", name="Ünï", owner="ann", metadata={"k": [1]}, cwd="/x") as session:
            question = session.append(user("apple pear"))
            session.append(assistant("fig"), model="m", provider="p", usage={"output_tokens": 5, "cost": 0.1})
            session.append(assistant("lime"), parent_id=question.id, model="n", usage={"output_tokens": 7, "cost": 0.2})
            session.label(question.id, "first")
            session.hide(question.id)
            session.append(user("plum"), visible_to="model")
            session.rename("Other")
            session.hold()
            session.extend([MessageEntry(id="old", message=user("kiwi"), timestamp="2001-01-01T00:00:00Z")])
        store.fork("a", question.id, new_id="f", then=[user("more")]).close()
        store.copy("a", "c").close()
        store.archive("f")
        with store.create_task("a", id="t") as task:
            task.append(assistant("nut"), model="m", usage={"output_tokens": 3})
        store.release("a")
        assert problems(store) == []
        assert planned(store) == []
        store.vacuum("c", dry_run=False)
        store.delete("a")
        assert problems(store) == []
        assert planned(store) == []
        assert [(each.path, each.needed, each.done) for each in store.repair("f", dry_run=False)] == [
            ("f", False, False)
        ]
        assert store.findings == []

    def test_a_scope_checks_its_own_sessions(self, store: SessionStore) -> None:
        """Those of others do not exist."""
        begin(store, "a", "one", owner="ann")
        begin(store, "b", "one", owner="bob")
        ann = store.scoped(owner="ann")
        assert [each.path for each in ann.verify()] == ["a"]
        assert planned(ann) == []
        with pytest.raises(SessionNotFound):
            ann.verify("b")
