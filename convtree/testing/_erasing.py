"""What `delete` and `erase` say about the words that are left."""

from __future__ import annotations

import pytest

from convtree._model.entries import ParentSession
from convtree._model.errors import InvalidMessage, SessionHeld, SessionNotFound
from convtree.stores._session_store import SessionStore
from convtree.testing._base import StoreTests, begin, ids


class ErasingTests(StoreTests):
    """A deletion names the sessions that hold a copy, and can be finished later."""

    def test_forks_hold_copies(self, store: SessionStore) -> None:
        """At any depth, and through a session that is gone."""
        begin(store, "a", "one", "two")
        store.fork("a", new_id="f").close()
        store.fork("f", new_id="g").close()
        store.fork("a", new_id="h").close()
        begin(store, "x", "one", "two")
        assert store.delete("a").copies == ("f", "g", "h")
        assert store.delete("h").copies == ("f", "g")
        assert store.delete("g").copies == ("f",)
        assert store.delete("f").copies == ()
        assert store.delete("x").copies == ()

    def test_copies_are_found_past_a_fork_that_is_gone(self, store: SessionStore) -> None:
        """Below it, above it and beside it. They are named again when the rest is overwritten once more."""
        begin(store, "a", "one", "two")
        store.fork("a", new_id="f").close()
        store.fork("f", new_id="g").close()
        store.fork("f", new_id="h").close()
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        store.fork("t", new_id="u").close()
        store.delete("t")
        assert store.delete("f").copies == ("a", "g", "h")
        assert store.delete("h").copies == ("a", "g")
        assert store.delete("a").copies == ("g",)
        assert store.erase("a").copies == ("g",)
        assert store.delete("g").copies == ()
        assert store.delete("u").copies == ()

    def test_a_fork_leaves_a_copy_where_it_came_from(self, store: SessionStore) -> None:
        """What it said itself is gone."""
        begin(store, "a", "one")
        store.fork("a", new_id="f").close()
        assert store.delete("f").copies == ("a",)
        assert store.delete("a").copies == ()

    def test_a_fork_without_an_entry_holds_no_copy(self, store: SessionStore) -> None:
        """Nor does a session that only names another as its parent, or a sub-agent's."""
        begin(store, "a", "one")
        store.fork("a", None, new_id="f").close()
        begin(store, "named", parent_session=ParentSession(id="a"))
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        erased = store.delete("a")
        assert (erased, erased.copies) == (["t", "a"], ())

    def test_forks_of_sub_agents_hold_copies(self, store: SessionStore) -> None:
        """They were deleted with the session."""
        begin(store, "a")
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        store.fork("t", new_id="f").close()
        assert store.delete("a").copies == ("f",)

    def test_nothing_is_pending_if_nobody_reads(self, store: SessionStore) -> None:
        """What is complete is not pending."""
        begin(store, "a")
        erased = store.delete("a")
        assert (erased, erased.pending) == (["a"], ())
        assert len({*erased.complete}) == len(erased.complete)

    def test_erase_can_be_called_again(self, store: SessionStore) -> None:
        """A session that is gone is no error. The other sessions stay."""
        begin(store, "a")
        begin(store, "b")
        assert store.erase("a") == ["a"]
        with pytest.raises(SessionNotFound):
            store.open("a")
        again = store.erase("a")
        assert (again, again.pending, again.copies) == ([], (), ())
        assert ids(store.list()) == ["b"]

    def test_erase_keeps_what_is_on_hold(self, store: SessionStore) -> None:
        """And refuses what cannot be an id."""
        begin(store, "a")
        store.hold("a")
        with pytest.raises(SessionHeld):
            store.erase("a")
        with pytest.raises(InvalidMessage):
            store.erase("../a")
        assert ids(store.list()) == ["a"]
