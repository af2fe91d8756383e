"""Resuming, renaming, archiving, deleting and pruning sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from convtree._model.entries import ParentSession
from convtree._model.errors import ConvtreeError, SessionNotFound
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, begin, ids, user


class LifecycleTests(StoreTests):
    """Resuming, renaming, archiving, deleting and pruning sessions."""

    def test_resume_opens_the_last_session_of_a_directory(self, store: SessionStore, clock: Clock) -> None:
        """The last active one of the same directory or the same git root."""
        begin(store, "a", cwd="/x", git_root="/g")
        clock.pass_by(seconds=1)
        begin(store, "b", cwd="/y", git_root="/g")
        clock.pass_by(seconds=1)
        begin(store, "c", cwd="/z")

        def resumed(**place: Any) -> str | None:
            session = store.resume(**place)
            if session is None:
                return None
            with session:
                return session.id

        assert resumed(cwd="/x") == "a"
        assert resumed(cwd="/x", git_root="/g") == "b"
        assert resumed(cwd="/new", git_root="/g") == "b"
        assert resumed(cwd="/new") is None
        assert resumed(cwd=None) is None
        assert resumed(cwd="/x", owner="ann") is None

    def test_resume_skips_old_and_archived_sessions_and_tasks(self, store: SessionStore, clock: Clock) -> None:
        """An age of exactly `max_age` is included. A `max_age` that is not above zero finds nothing."""
        begin(store, "a", cwd="/x")
        begin(store, "t", cwd="/x", parent_session=ParentSession(id="a", kind="task"))
        clock.pass_by(hours=1)
        hour: list[Any] = [timedelta(hours=1), 3600, float("inf"), timedelta.max]
        for age in hour:
            session = store.resume(cwd="/x", max_age=age)
            assert session is not None
            assert session.id == "a"
            session.close()
        never: list[Any] = [timedelta(0), 0, -1, timedelta(days=-1), float("-inf"), 3599.9]
        assert [store.resume(cwd="/x", max_age=age) for age in never] == [None] * len(never)
        with pytest.raises(ValueError, match="age"):
            store.resume(cwd="/x", max_age=float("nan"))
        store.archive("a")
        assert store.resume(cwd="/x", max_age=timedelta(days=1)) is None

    def test_resume_writes_nothing_without_a_note(self, store: SessionStore, clock: Clock) -> None:
        """Without a note nothing is written. The note is visible to the model only."""
        begin(store, "a", "hello", cwd="/x")
        before = store.info("a")
        clock.pass_by(minutes=5)
        session = store.resume(cwd="/x")
        assert session is not None
        session.close()
        assert store.info("a") == before
        session = store.resume(cwd="/x", note="5 minutes later")
        assert session is not None
        with session:
            assert session.build_context().messages == [user("hello"), user("5 minutes later")]
            assert [entry.visible_to for entry in session.path()] == ["all", "model"]  # type: ignore[attr-defined]
        after = store.info("a")
        assert (after.messages, after.last_user_message, after.last_activity) == (2, "hello", before.last_activity)

    def test_rename_and_remove_the_name(self, store: SessionStore) -> None:
        """`list(text=)` finds the current name only."""
        begin(store, "a", name="first")
        store.rename("a", "second try")
        assert (store.info("a").name, ids(store.list(text="try")), ids(store.list(text="first"))) == (
            "second try",
            ["a"],
            [],
        )
        store.rename("a", None)
        assert (store.info("a").name, ids(store.list(text="try"))) == (None, [])

    def test_archive_and_restore(self, store: SessionStore) -> None:
        """Lists skip archived sessions by default. They can still be opened."""
        begin(store, "a")
        store.archive("a")
        store.archive("a")
        assert (ids(store.list()), store.latest(), ids(store.list(archived=True))) == ([], None, ["a"])
        assert store.info("a").archived
        with store.open("a") as session:
            assert session.archived
        store.unarchive("a")
        assert (ids(store.list()), ids(store.list(archived=True))) == (["a"], [])
        assert not store.info("a").archived

    def test_delete_includes_sub_agents_and_leaves_forks(self, store: SessionStore) -> None:
        """At any depth. Returns the deleted ids, the session's own last."""
        begin(store, "a")
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        begin(store, "u", parent_session=ParentSession(id="t", kind="task"))
        store.fork("a", new_id="f").close()
        begin(store, "v", parent_session=ParentSession(id="f", kind="task"))
        assert store.delete("a") == ["u", "t", "a"]
        assert sorted(ids(store.list(tasks=True))) == ["f", "v"]
        for id in "atu":
            with pytest.raises(SessionNotFound):
                store.open(id)
        with store.open("f") as session:
            assert len(session.path()) == 1

    def test_parents_in_a_ring(self, store: SessionStore) -> None:
        """A ring of parents makes no call endless."""
        begin(store, "a", parent_session=ParentSession(id="b", kind="task"))
        begin(store, "b", parent_session=ParentSession(id="a", kind="task"))
        assert ids(store.children("a")) == ["b"]
        assert store.usage("a")[0].session_id == "a"
        assert store.delete("a") == ["b", "a"]

    def test_delete_of_a_missing_session_deletes_nothing(self, store: SessionStore) -> None:
        """The sub-agents of a session that does not exist stay."""
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        with pytest.raises(SessionNotFound):
            store.delete("a")
        assert ids(store.list(tasks=True)) == ["t"]

    def test_an_id_can_be_used_again(self, store: SessionStore) -> None:
        """A new session with the id of a deleted one starts empty."""
        for text in ("first", "other"):
            begin(store, "a", text, name=text)
            info = store.info("a")
            assert (info.messages, info.first_user_message, info.name) == (1, text, text)
            assert len(store.search(text)) == 1
            store.delete("a")
            assert (list(store.list()), store.search(text)) == ([], [])

    def test_a_deleted_session_that_is_open_refuses_appends(self, store: SessionStore) -> None:
        """An append to a deleted session raises."""
        begin(store, "a")
        with store.open("a") as session:
            store.delete("a")
            with pytest.raises(ConvtreeError):
                session.append(user("is anybody there?"))
        assert list(store.list(archived=None, tasks=True)) == []

    def test_prune_by_age_and_number(self, store: SessionStore, clock: Clock) -> None:
        """A dry run deletes none. Sub-agents are deleted with their session. Sessions of other owners stay."""
        for id in "abcde":
            begin(store, id, owner="ann")
            if id == "a":
                begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
            clock.pass_by(days=1)
        begin(store, "z", owner="bob")
        store.archive("e")  # archived sessions count as well
        assert ids(store.prune(keep=3)) == ["c", "b", "a", "t"]
        assert ids(store.prune(max_age=timedelta(days=3.5), owner="ann")) == ["b", "a", "t"]
        assert ids(store.prune(max_age=timedelta(days=3.5).total_seconds(), owner="ann")) == ["b", "a", "t"]
        assert ids(store.prune(max_age=timedelta(days=9), keep=4, owner="ann")) == ["a", "t"]
        assert ids(store.prune(keep=0, owner="bob")) == ["z"]
        assert len(store.list(archived=None)) == 6
        assert ids(store.prune(max_age=timedelta(days=3.5), owner="ann", dry_run=False)) == ["b", "a", "t"]
        assert sorted(ids(store.list(archived=None, tasks=True))) == ["c", "d", "e", "z"]

    def test_prune_needs_a_valid_rule(self, store: SessionStore) -> None:
        """Missing or meaningless rules raise ValueError."""
        begin(store, "a")
        wrong: list[dict[str, Any]] = [{}, {"keep": -1}, {"max_age": 0}, {"max_age": timedelta(days=-1)}]
        for rules in wrong:
            with pytest.raises(ValueError, match=r"prune|keep|max_age"):
                store.prune(**rules, dry_run=False)
        assert ids(store.prune(keep=1, dry_run=False)) == ids(store.prune(max_age=1, dry_run=False)) == []
        assert ids(store.list()) == ["a"]
