"""Sessions that are resumed, renamed, put away and deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from convtree._model.entries import ParentSession
from convtree._model.errors import ConvtreeError, SessionNotFound
from convtree.stores._session_store import SessionStore
from convtree.testing._basis import Clock, StoreTests, begin, ids, user


class Keeping(StoreTests):
    """Sessions that are resumed, renamed, put away and deleted."""

    def test_resume_opens_the_last_session_of_a_directory(self, store: SessionStore, clock: Clock) -> None:
        """Same directory or same git root; the last active one."""
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

    def test_resume_leaves_what_is_old_archived_or_a_task(self, store: SessionStore, clock: Clock) -> None:
        """And what is exactly as old as it may be is taken; no age means never."""
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

    def test_resume_changes_nothing_by_looking(self, store: SessionStore, clock: Clock) -> None:
        """Only a note does, which the model sees and the user does not."""
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
        assert (after.messages, after.last_user_message, after.last_activity) == (2, "hello", clock.text())

    def test_rename_and_take_the_name_away(self, store: SessionStore) -> None:
        """A name is found by its words, and gone when it is gone."""
        begin(store, "a", name="first")
        store.rename("a", "second try")
        assert (store.info("a").name, ids(store.list(text="try")), ids(store.list(text="first"))) == (
            "second try",
            ["a"],
            [],
        )
        store.rename("a", None)
        assert (store.info("a").name, ids(store.list(text="try"))) == (None, [])

    def test_archive_and_take_back(self, store: SessionStore) -> None:
        """What is archived is in no list unless asked for, and still there."""
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

    def test_delete_takes_sub_agents_along_and_leaves_forks(self, store: SessionStore) -> None:
        """At any depth; the ids of all that are gone come back, the session's own last."""
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

    def test_sub_agents_of_each_other_end_nothing(self, store: SessionStore) -> None:
        """Nobody should make such a ring; whoever does, sees every call end."""
        begin(store, "a", parent_session=ParentSession(id="b", kind="task"))
        begin(store, "b", parent_session=ParentSession(id="a", kind="task"))
        assert ids(store.children("a")) == ["b"]
        assert store.usage("a")[0].session_id == "a"
        assert store.delete("a") == ["b", "a"]

    def test_deleting_what_is_not_there_deletes_nothing(self, store: SessionStore) -> None:
        """Not the sub-agents of a session that was never stored, either."""
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        with pytest.raises(SessionNotFound):
            store.delete("a")
        assert ids(store.list(tasks=True)) == ["t"]

    def test_an_id_can_be_used_again(self, store: SessionStore) -> None:
        """What was deleted leaves no trace in what comes after it under its name."""
        for text in ("first", "other"):
            begin(store, "a", text, name=text)
            info = store.info("a")
            assert (info.messages, info.first_user_message, info.name) == (1, text, text)
            assert len(store.search(text)) == 1
            store.delete("a")
            assert (list(store.list()), store.search(text)) == ([], [])

    def test_who_has_a_deleted_session_open_is_told(self, store: SessionStore) -> None:
        """Nothing is written into nowhere."""
        begin(store, "a")
        with store.open("a") as session:
            store.delete("a")
            with pytest.raises(ConvtreeError):
                session.append(user("is anybody there?"))
        assert list(store.list(archived=None, tasks=True)) == []

    def test_prune_by_age_and_number(self, store: SessionStore, clock: Clock) -> None:
        """It first says what would go; sub-agents go with theirs, and other owners' sessions stay."""
        for id in "abcde":
            begin(store, id, owner="ann")
            clock.pass_by(days=1)
        begin(store, "z", owner="bob")
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        store.archive("e")  # archived sessions count as well, and this was activity
        assert ids(store.prune(keep=3)) == ["c", "b", "a"]
        assert ids(store.prune(max_age=timedelta(days=3.5), owner="ann")) == ["b", "a"]
        assert ids(store.prune(max_age=timedelta(days=3.5).total_seconds(), owner="ann")) == ["b", "a"]
        assert ids(store.prune(max_age=timedelta(days=9), keep=4, owner="ann")) == ["a"]
        assert ids(store.prune(keep=0, owner="bob")) == ["z"]
        assert len(store.list(archived=None)) == 6
        assert ids(store.prune(max_age=timedelta(days=3.5), owner="ann", dry_run=False)) == ["b", "a"]
        assert sorted(ids(store.list(archived=None, tasks=True))) == ["c", "d", "e", "z"]

    def test_prune_deletes_nothing_by_mistake(self, store: SessionStore) -> None:
        """It needs a rule, and a rule that says something."""
        begin(store, "a")
        wrong: list[dict[str, Any]] = [{}, {"keep": -1}, {"max_age": 0}, {"max_age": timedelta(days=-1)}]
        for rules in wrong:
            with pytest.raises(ValueError, match=r"prune|keep|max_age"):
                store.prune(**rules, dry_run=False)
        assert ids(store.prune(keep=1, dry_run=False)) == ids(store.prune(max_age=1, dry_run=False)) == []
        assert ids(store.list()) == ["a"]
