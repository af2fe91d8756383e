"""Families: a session and its sub-agents' are judged by their logs, and deleted as one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from convtree._model.entries import Header, MessageEntry, ParentSession
from convtree._model.errors import SessionChanged, SessionHeld, SessionNotFound
from convtree.stores._session_store import SessionStore
from convtree.stores.base import Deletion, Filter
from convtree.testing._base import Clock, StoreTests, append_to, begin, ids, racing, user

_DAY = timedelta(days=1)


def _task(store: SessionStore, id: str, parent: str, **header: Any) -> str:
    return begin(store, id, parent_session=ParentSession(id=parent, kind="task"), **header)


class FamilyTests(StoreTests):
    """A session and its sub-agents' are judged by their logs, and deleted as one."""

    def test_a_family_is_as_young_as_its_youngest_member(self, store: SessionStore, clock: Clock) -> None:
        """At any depth. `keep` counts families."""
        for id in ("a", "b", "c"):
            begin(store, id)
            clock.pass_by(hours=1)
        _task(store, "t", "a")
        _task(store, "u", "t")
        clock.pass_by(days=2)
        append_to(store, "u", "still at work")
        assert ids(store.prune(max_age=_DAY)) == ["c", "b"]
        assert ids(store.prune(keep=1)) == ["c", "b"]
        assert ids(store.prune(keep=2)) == ["b"]
        assert ids(store.prune(keep=0)) == ["a", "t", "u", "c", "b"]
        assert ids(store.list()) == ["c", "b", "a"]  # a list is about sessions
        clock.pass_by(days=2)
        assert ids(store.prune(max_age=_DAY, dry_run=False)) == ["a", "t", "u", "c", "b"]
        assert list(store.list(tasks=True)) == []

    def test_a_sub_agent_whose_parent_is_gone(self, store: SessionStore, clock: Clock) -> None:
        """It is a family of its own, with its own sub-agents; also where a fork, or itself, is called its parent."""
        _task(store, "orphan", "ghost")
        _task(store, "below", "orphan")
        _task(store, "self", "self")
        begin(store, "fork", parent_session=ParentSession(id="orphan", kind="fork"))
        clock.pass_by(days=2)
        append_to(store, "fork", "still here")
        assert ids(store.prune(max_age=_DAY, dry_run=False)) == ["self", "orphan", "below"]
        assert ids(store.list(tasks=True)) == ["fork"]

    def test_parents_in_a_ring_are_one_family(self, store: SessionStore, clock: Clock) -> None:
        """Their youngest member counts."""
        for id, parent in {"b": "a", "c": "b", "a": "c", "d": "c"}.items():
            _task(store, id, parent)
        clock.pass_by(days=2)
        append_to(store, "c", "still here")
        assert ids(store.prune(max_age=_DAY)) == []
        clock.pass_by(days=2)
        assert ids(store.prune(max_age=_DAY, dry_run=False)) == ["a", "b", "c", "d"]

    def test_arrival_counts(self, store: SessionStore, clock: Clock) -> None:
        """An import of old lines is not old yet. Lists are in the order of activity, nevertheless."""
        begin(store, "mine")
        clock.pass_by(days=2)
        entry = MessageEntry(id="m", parent_id=None, timestamp="2029-01-02T00:00:00Z", message=user("long ago"))
        for id, arrives in (("old", False), ("new", True)):
            header = Header(id=id, timestamp="2029-01-01T00:00:00Z")
            with store.open_or_create(header, arrives=arrives) as session:
                session.extend([entry])
        assert ids(store.list()) == ["mine", "old", "new"]
        assert ids(store.prune(max_age=_DAY)) == ["mine", "old"]
        pruned = store.prune(keep=1)
        assert ids(pruned) == ["mine", "old"]
        assert {id: (each.last_activity, each.arrived, each.age_s) for id, each in pruned.judged.items()} == {
            "mine": ("2030-01-01T00:00:00.000Z", None, 2 * 86400),
            "old": ("2029-01-02T00:00:00.000Z", None, 366 * 86400),
        }
        assert store.info("new").last_activity == "2029-01-02T00:00:00.000Z"
        clock.pass_by(days=2)
        pruned = store.prune(max_age=_DAY)
        assert ids(pruned) == ["new", "mine", "old"]
        assert (pruned.judged["new"].arrived, pruned.judged["new"].age_s) == ("2030-01-03T00:00:00.000Z", 2 * 86400)

    def test_a_dry_run_says_what_would_go(self, store: SessionStore, clock: Clock) -> None:
        """Sub-agents' sessions included, with the state of their logs. A longer log is larger."""
        begin(store, "a", "1", "2", "3", name="N")
        _task(store, "t", "a", name="helper")
        clock.pass_by(days=2)
        pruned = store.prune(max_age=_DAY)
        assert [(info.id, info.name) for info in pruned] == [("a", "N"), ("t", "helper")]
        assert sorted(pruned.judged) == ["a", "t"]
        one, two = pruned.judged["a"], pruned.judged["t"]
        assert one.size > two.size > 0
        assert one.last_crc != two.last_crc
        assert (one.id, one.held, one.age_s) == ("a", False, 2 * 86400)
        assert sorted(ids(store.list(tasks=True))) == ["a", "t"]

    def test_an_unknown_age(self, store: SessionStore, clock: Clock) -> None:
        """It is neither too old nor among the first or last: it goes with `keep=0` only."""
        clock.pass_by(days=9)
        begin(store, "ahead")
        clock.pass_by(days=-9)
        begin(store, "b")
        assert ids(store.prune(max_age=_DAY)) == ids(store.prune(keep=1)) == []
        assert ids(store.prune(keep=0)) == ["b", "ahead"]

    @pytest.mark.parametrize("written_to", ["a", "t", "u"])
    def test_prune_skips_a_family_of_which_one_is_written_to(
        self, store: SessionStore, other: SessionStore, clock: Clock, written_to: str
    ) -> None:
        """The append comes after the judgement. The other families go."""
        begin(store, "a")
        begin(store, "b")
        _task(store, "t", "a")
        _task(store, "u", "t")
        clock.pass_by(days=2)
        raced = racing(store, clock, lambda: append_to(other, written_to, "still here"))
        pruned = raced.prune(max_age=_DAY, dry_run=False)
        assert (ids(pruned), ids(pruned.skipped)) == (["b"], ["a"])
        assert sorted(ids(other.list(tasks=True))) == ["a", "t", "u"]
        assert other.info(written_to).messages == 2

    @pytest.mark.parametrize("parent", ["a", "t"])
    def test_a_sub_agent_that_begins_meanwhile_keeps_the_family(
        self, store: SessionStore, other: SessionStore, clock: Clock, parent: str
    ) -> None:
        """It begins after the judgement: `prune` skips the family, `delete` raises SessionChanged."""
        begin(store, "a")
        _task(store, "t", "a")
        clock.pass_by(days=2)
        pruned = racing(store, clock, lambda: _task(other, "new", parent)).prune(max_age=_DAY, dry_run=False)
        assert (ids(pruned), ids(pruned.skipped)) == ([], ["a"])
        with pytest.raises(SessionChanged, match="try again") as caught:
            racing(store, clock, lambda: _task(other, "newer", parent)).delete("a")
        assert caught.value.ids == (parent,)
        assert sorted(ids(other.list(tasks=True))) == ["a", "new", "newer", "t"]
        assert store.delete("a")[-1] == "a"
        assert list(other.list(tasks=True)) == []

    def test_a_sub_agent_outlives_a_parent_that_is_deleted_before_it_begins(self, store: SessionStore) -> None:
        """It is stored, and is a family of its own."""
        begin(store, "a")
        with store.create(id="t", parent_session=ParentSession(id="a", kind="task")) as session:
            assert store.delete("a") == ["a"]
            session.append(user("at work"))
        assert ids(store.list(tasks=True)) == ["t"]
        with pytest.raises(SessionNotFound):
            store.delete("a")
        assert store.delete("t") == ["t"]

    def test_a_hold_protects_the_family(self, store: SessionStore, clock: Clock) -> None:
        """Of `prune`, all of it; of `delete`, that of the session and its sub-agents."""
        begin(store, "a")
        _task(store, "t", "a")
        _task(store, "u", "a")
        store.hold("a")
        clock.pass_by(days=2)
        pruned = store.prune(max_age=_DAY, dry_run=False)
        assert (ids(pruned), ids(pruned.held), ids(pruned.skipped)) == ([], ["a"], [])
        assert store.delete("t") == ["t"]
        with pytest.raises(SessionHeld):
            store.delete("a")
        assert sorted(ids(store.list(tasks=True))) == ["a", "u"]

    def test_a_backend_lists_tasks_again(self, store: SessionStore) -> None:
        """With stamps, a task that is not among the ids is a change of its parent. Without, it stays."""
        begin(store, "a")
        _task(store, "t", "a")
        backend = store._backend
        stamps = {each.info.id: each.stamp for each in backend.catalogue().sessions(Filter(tasks=True))}
        assert backend.delete(["a"], stamps) == Deletion([], ["a"])
        assert backend.delete(["a"], {}) == Deletion([], ["a"])
        assert sorted(ids(store.list(tasks=True))) == ["a", "t"]
        assert backend.delete(["a"]) == Deletion(["a"], [])
        assert ids(store.list(tasks=True)) == ["t"]
