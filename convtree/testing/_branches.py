"""Branches that are named by labels."""

from __future__ import annotations

import pytest

from convtree._model.errors import AmbiguousLabel, EntryNotFound
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, assistant, begin, user


class BranchTests(StoreTests):
    """Branches that are named by labels."""

    def test_a_label_names_an_entry(self, store: SessionStore) -> None:
        """Wherever an id is asked for, if no other entry has the label. An id wins over a label."""
        begin(store, "a", "where")
        with store.open("a") as session:
            rome = session.append(assistant("Rome"), label="idea")
            oslo = session.append(assistant("Oslo"), parent_id=rome.parent_id, label="other")
        with store.open("a") as session:
            assert session.entry("idea") == rome
            assert session.append(user("when"), parent_id="idea", expect_leaf="other").parent_id == rome.id
            session.branch("other")
            assert session.leaf_id == oslo.id
            session.label(oslo, rome.id)
            assert session.entry(rome.id) == rome
            session.label(oslo, "idea")
            with pytest.raises(AmbiguousLabel) as caught:
                session.branch("idea")
            assert sorted(caught.value.ids) == sorted([rome.id, oslo.id])
            session.label(rome, None)
            assert session.entry("idea") == oslo
            with pytest.raises(EntryNotFound):
                session.branch("other")
        with store.fork("a", "idea", new_id="f") as fork:
            assert fork.leaf_id == oslo.id

    def test_a_branch_is_checked_out(self, store: SessionStore) -> None:
        """The leaf moves to the newest leaf below the label, which another handle may just have appended."""
        begin(store, "a", "where")
        with store.open("a") as one, store.open("a") as two:
            idea = one.append(assistant("Rome"), label="idea")
            two.refresh()
            newest = one.append(user("when"))
            one.branch(None)
            two.checkout("idea", id="m")
            assert two.leaf_id == newest.id
            one.append(user("how"), parent_id=newest, move_leaf=False)
            one.checkout(idea, id="m")
            assert two.refresh()[-1].parent_id == newest.id
            assert two.leaf_id == newest.id

    def test_branches_are_listed(self, store: SessionStore, clock: Clock) -> None:
        """Tips in log order, with the labels that lead there, where they leave the leaf's path, and their last time."""
        begin(store, "a", "where")
        with store.open("a") as session:
            where = session.path()[0]
            clock.pass_by(minutes=1)
            rome = session.append(assistant("Rome"), label="idea")
            when, then = session.append_many([user("when"), assistant("soon")])
            clock.pass_by(minutes=1)
            oslo = session.append(assistant("Oslo"), parent_id=where, label="other")
            session.label(where, "start")
            listed = [
                (each.leaf, each.labels, each.first_id, each.fork_id, each.last_activity) for each in session.branches()
            ]
            assert listed == [
                (then, ("idea",), rome.id, where.id, "2030-01-01T00:01:00.000000Z"),
                (oslo, ("start", "other"), None, oslo.id, "2030-01-01T00:02:00.000000Z"),
            ]
            session.branch(when)
            assert [(each.first_id, each.fork_id) for each in session.branches()] == [
                (then.id, when.id),
                (oslo.id, where.id),
            ]
