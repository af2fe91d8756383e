"""Sessions that everybody in a process shares."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from convtree._model.errors import InvalidMessage, SessionClosed, SessionNotFound, StaleLeaf
from convtree.stores._session_store import SessionStore
from convtree.testing._base import StoreTests, begin, user


class SharedTests(StoreTests):
    """`SessionStore.session`."""

    def test_everybody_gets_the_same_session(self, store: SessionStore) -> None:
        """While one has it, and after that; what one appends, the other sees."""
        begin(store, "s", "one")
        with store.session("s") as first, store.session("s") as second:
            assert first is second
            first.append(user("two"))
            assert [entry.text for entry in second.path()] == ["one", "two"]  # type: ignore[attr-defined]
        with store.session("s") as third:
            assert third is first
            third.append(user("three"))
        assert store.info("s").messages == 3

    def test_a_shared_session_is_refreshed(self, store: SessionStore, other: SessionStore) -> None:
        """It is at the log's leaf when it is handed out, also if another process moved that."""
        begin(store, "s", "one")
        with store.session("s") as session:
            pass
        with other.open("s") as theirs:
            entry = theirs.append(user("two"))
        with store.session("s") as again:
            assert again is session
            assert again.leaf_id == entry.id
            assert again.append(user("three")).parent_id == entry.id

    def test_a_shared_session_as_it_is(self, store: SessionStore, other: SessionStore) -> None:
        """Without `refresh` it is where this process has seen it; a write finds out what others did."""
        begin(store, "s", "one")
        with store.session("s", refresh=False) as session:  # it is opened, so it knows all
            seen = session.leaf_id
        with other.open("s") as theirs:
            entry = theirs.append(user("two"))
        with store.session("s", refresh=False) as again:
            assert again is session
            assert again.leaf_id == seen
            with pytest.raises(StaleLeaf):
                again.append(user("three"), expect_leaf=seen)
            assert again.append(user("three"), on_stale="rebase").parent_id == entry.id
        other.delete("s")
        with store.session("s", refresh=False) as deleted, pytest.raises(SessionNotFound):
            deleted.append(user("four"))
        with store.session("s", create=True) as new:
            new.append(user("one"))
        assert store.info("s").messages == 1

    def test_a_session_that_does_not_exist(self, store: SessionStore) -> None:
        """Is not found, also where somebody is about to begin it; with `create`, it begins with its first record."""
        with pytest.raises(SessionNotFound), store.session("s"):
            pass
        with store.session("s", create=True) as session:
            with pytest.raises(SessionNotFound), store.session("s"):
                pass
            with store.session("s", create=True) as same:
                assert same is session
            assert list(store.list()) == []
            session.append(user("one"))
            with store.session("s") as found:
                assert found is session
        assert store.info("s").messages == 1

    def test_a_deleted_session_is_not_found(self, store: SessionStore) -> None:
        """Also while somebody has it. A session that was begun again is another one."""
        begin(store, "s", "one")
        with store.session("s") as session:
            assert store.delete("s") == ["s"]
            for _ in range(2):
                with pytest.raises(SessionNotFound), store.session("s"):
                    pass
            with pytest.raises(SessionNotFound):
                session.append(user("late"))
        begin(store, "s", "uno", "due")
        with store.session("s") as again:
            assert [entry.text for entry in again.path()] == ["uno", "due"]  # type: ignore[attr-defined]
        assert store.delete("s") == ["s"]
        with store.session("s", create=True) as third:
            third.append(user("tre"))
        assert (store.info("s").messages, store.findings) == (1, [])

    def test_a_session_that_was_deleted_elsewhere(self, store: SessionStore, other: SessionStore) -> None:
        """By another process, which may have begun it again."""
        begin(store, "s", "one")
        with store.session("s"):
            pass
        other.delete("s")
        with pytest.raises(SessionNotFound), store.session("s"):
            pass
        begin(other, "s", "uno")
        with store.session("s") as session:
            assert [entry.text for entry in session.path()] == ["uno"]  # type: ignore[attr-defined]

    def test_closing_the_store_closes_its_shared_sessions(self, store: SessionStore) -> None:
        """Those in use, too; others that are open stay open."""
        begin(store, "s", "one")
        begin(store, "t", "one")
        with store.session("t") as idle:
            pass
        with store.open("s") as own, store.session("s") as session:
            store.close()
            for closed in (idle, session):
                with pytest.raises(SessionClosed):
                    closed.path()
            assert own.id == "s"
        with pytest.raises(SessionClosed), store.session("s"):
            pass

    @pytest.mark.parametrize("id", ["", "a/b"])
    def test_an_invalid_id_is_refused(self, store: SessionStore, id: str) -> None:
        """At the call."""
        with pytest.raises(InvalidMessage):
            store.session(id)

    def test_many_threads_share_sessions(self, store: SessionStore) -> None:
        """Each append is stored once, wherever the others are; nobody meets a closed session."""
        sessions = ("a", "b", "c")

        def work(number: int) -> set[Any]:
            used = set()
            for step in range(6):
                with store.session(sessions[(number + step) % 3], create=True) as session:
                    session.append(user(f"{number}.{step}"), id=f"e-{number}-{step}")
                    used.add(session)
            return used

        with ThreadPoolExecutor(6) as pool:
            used = set().union(*pool.map(work, range(6)))
        assert len(used) == 3
        texts = []
        for id in sessions:
            with store.session(id) as session:
                texts += [record.text for _, record in session.records()]  # type: ignore[union-attr]
        assert sorted(texts) == sorted(f"{number}.{step}" for number in range(6) for step in range(6))
