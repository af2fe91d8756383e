"""Sessions on hold, and sessions that move to other directories."""

from __future__ import annotations

from datetime import timedelta

import pytest

from convtree._model.entries import ParentSession
from convtree._model.errors import SessionChanged, SessionHeld
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, append_to, begin, ids, racing


class HoldTests(StoreTests):
    """Sessions on hold, and sessions that move to other directories."""

    def test_hold_and_release(self, store: SessionStore) -> None:
        """A session on hold can be read, written to, renamed, archived and forked. The fork is not on hold."""
        begin(store, "a", name="N")
        begin(store, "b")
        store.hold("a")
        store.hold("a")
        append_to(store, "a", "more")
        store.rename("a", "M")
        store.archive("a")
        store.fork("a", new_id="f").close()
        assert {info.id: info.held for info in store.list(archived=None)} == {"a": True, "b": False, "f": False}
        assert (ids(store.list(held=True, archived=None)), ids(store.list(held=False))) == (["a"], ["f", "b"])
        with store.open("a") as session:
            assert session.held
            session.hold(False)
            assert not session.held
        assert (store.info("a").held, store.info("a").name, store.info("a").messages) == (False, "M", 2)
        assert store.delete("a") == ["a"]

    @pytest.mark.parametrize("held", ["a", "t", "u"])
    def test_a_session_on_hold_is_not_deleted(self, store: SessionStore, held: str) -> None:
        """Nor is the session whose sub-agent is on hold, at any depth. The error names the one on hold."""
        parents = {"a": None, "t": "a", "u": "t"}
        for id, parent in parents.items():
            begin(store, id, parent_session=None if parent is None else ParentSession(id=parent, kind="task"))
        store.hold(held)
        with pytest.raises(SessionHeld, match="release") as caught:
            store.delete("a")
        assert caught.value.id == held
        assert sorted(ids(store.list(tasks=True))) == ["a", "t", "u"]
        store.release(held)
        assert store.delete("a") == ["u", "t", "a"]

    def test_prune_keeps_and_lists_sessions_on_hold(self, store: SessionStore, clock: Clock) -> None:
        """Those that its rules chose. A hold of a sub-agent keeps its session, too."""
        for id in "abcd":
            begin(store, id)
        begin(store, "t", parent_session=ParentSession(id="c", kind="task"))
        for id in ("b", "t"):
            store.hold(id)
        clock.pass_by(days=2)
        begin(store, "new")
        store.hold("new")
        for dry_run in (True, False):
            pruned = store.prune(max_age=timedelta(days=1), dry_run=dry_run)
            assert (ids(pruned), ids(pruned.held)) == (["d", "a"], ["c", "b"])
        assert sorted(ids(store.list(tasks=True))) == ["b", "c", "new", "t"]
        for id in ("b", "t"):
            store.release(id)
        pruned = store.prune(keep=0)
        assert (ids(pruned), ids(pruned.held)) == (["c", "t", "b"], ["new"])

    @pytest.mark.parametrize("held", ["a", "t"])
    def test_a_hold_that_comes_after_delete_has_looked(
        self, store: SessionStore, other: SessionStore, clock: Clock, held: str
    ) -> None:
        """It changes the log, so nothing is deleted."""
        begin(store, "a")
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        with pytest.raises(SessionChanged, match=repr(held)):
            racing(store, clock, lambda: other.hold(held)).delete("a")
        assert sorted(ids(other.list(tasks=True))) == ["a", "t"]
        with pytest.raises(SessionHeld):
            store.delete("a")

    def test_a_hold_that_comes_after_prune_has_looked(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        """Before it deletes the first session: both have changed."""
        for id in "ab":
            begin(store, id)
        clock.pass_by(days=2)

        def hold() -> None:
            for id in "ab":
                other.hold(id)

        pruned = racing(store, clock, hold).prune(max_age=timedelta(days=1), dry_run=False)
        assert (ids(pruned), ids(pruned.held), ids(pruned.skipped)) == ([], [], ["b", "a"])
        assert sorted(ids(other.list(held=True))) == ["a", "b"]

    def test_directories_change(self, store: SessionStore, clock: Clock) -> None:
        """Lists, filters, searches and `resume` use the last ones, a fork begins with them, the header stays."""
        begin(store, "a", "needle", cwd="/old", git_root="/git")
        begin(store, "b", "needle", cwd="/old", git_root="/git")
        clock.pass_by(seconds=1)
        store.set_directories("a", cwd="/new \0")
        with store.open("a") as session:
            session.set_directories(git_root=None)
            assert (session.cwd, session.git_root, session.header.cwd, session.header.git_root) == (
                "/new \0",
                None,
                "/old",
                "/git",
            )
        info = store.info("a")
        assert (info.cwd, info.git_root) == ("/new \0", None)
        assert (ids(store.list(cwd="/new \0")), ids(store.list(cwd="/old"))) == (["a"], ["b"])
        assert ids(store.list(git_root="/git")) == ["b"]
        assert [hit.session_id for hit in store.search("needle", cwd="/new \0")] == ["a"]
        found = store.resumable(cwd="/new \0")
        assert found is not None
        assert found.id == "a"
        with store.fork("a", new_id="f") as fork:
            assert (fork.header.cwd, fork.header.git_root, fork.cwd) == ("/new \0", None, "/new \0")

    def test_a_change_of_nothing_is_refused(self, store: SessionStore) -> None:
        """TypeError, and nothing is written."""
        begin(store, "a")
        before = store.info("a")
        with pytest.raises(TypeError, match="cwd, git_root, or both"):
            store.set_directories("a")
        assert store.info("a") == before
