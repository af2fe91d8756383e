"""Several handles on one store, several threads, and the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest

from convtree._model.errors import SessionClosed, SessionExists, StaleLeaf
from convtree.stores._session_store import SessionStore
from convtree.testing._basis import Clock, StoreTests, assistant, begin, user


class Sharing(StoreTests):
    """Several handles on one store, several threads, and the end."""

    def test_what_one_handle_writes_the_other_lists(self, store: SessionStore, other: SessionStore) -> None:
        """At once, and all of it."""
        begin(store, "a", "needle", name="N")
        assert other.info("a") == store.info("a")
        assert len(other.search("needle")) == 1
        other.rename("a", "M")
        assert store.info("a").name == "M"
        with other.open("a") as session:
            session.append(assistant("thread"), usage={"output_tokens": 3})
        assert (store.info("a").messages, store.usage("a")[0].usage.output_tokens) == (2, 3)
        assert len(store.search("thread")) == 1
        store.delete("a")
        assert (list(other.list()), other.search("needle")) == ([], [])

    def test_sessions_of_two_handles_are_two_parties(self, store: SessionStore, other: SessionStore) -> None:
        """Who has not seen the last word is told before anything is written."""
        begin(store, "a")
        with store.open("a") as one, other.open("a") as two:
            first = one.append(user("one"))
            with pytest.raises(StaleLeaf) as caught:
                two.append(user("two"))
            assert caught.value.actual == first.id
            assert [entry.id for entry in two.refresh()] == [first.id]
            assert two.append(user("two")).parent_id == first.id
        assert (store.info("a").messages, other.info("a").messages) == (3, 3)

    def test_two_handles_cannot_both_create(self, store: SessionStore, other: SessionStore) -> None:
        """The second to append is told, also across handles."""
        with store.create(id="a") as one, other.create(id="a") as two:
            two.append(user("first"))
            with pytest.raises(SessionExists):
                one.append(user("second"))
        assert store.info("a").first_user_message == "first"

    def test_a_store_outlives_its_handle(self, store: SessionStore, tmp_path: Path, clock: Clock) -> None:
        """What was in it is there when it is opened again."""
        if not self.lasting:
            pytest.skip("gone with its handle")
        begin(store, "a", "needle", name="N")
        before = store.info("a")
        store.close()
        with self.open_store(tmp_path, clock) as again:
            assert list(again.list()) == [before]
            assert len(again.search("needle")) == 1

    def test_threads_share_a_store(self, store: SessionStore) -> None:
        """Each with a session of its own, and all lists true at the end."""
        start, failed = Barrier(4), []

        def run(name: str) -> None:
            try:
                start.wait()
                for number in range(5):
                    begin(store, f"{name}{number}", f"needle {name}")
                    assert store.info(f"{name}{number}").messages == 1
                    assert len(store.search(name)) == number + 1
                store.delete(f"{name}0")
            except BaseException as error:
                failed.append(error)

        threads = [Thread(target=run, args=(f"t{number}x",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(store.list()) == 16

    def test_a_closed_store_says_so(self, store: SessionStore) -> None:
        """Closing twice is closing once; sessions that are open stay open."""
        with store.create(id="a") as session:
            session.append(user("1"))
            store.close()
            store.close()
            session.append(user("2"))
            assert len(session.path()) == 2
        calls: list[Callable[[], object]] = [
            store.list,
            store.latest,
            lambda: store.open("a"),
            store.create,
            lambda: store.search("1"),
            lambda: store.delete("a"),
            lambda: store.findings,
        ]
        for call in calls:
            with pytest.raises(SessionClosed):
                call()
