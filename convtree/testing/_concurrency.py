"""Several handles on one store, several threads, and closing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest

from convtree._model.entries import ParentSession
from convtree._model.errors import SessionChanged, SessionClosed, SessionExists, SessionNotFound, StaleLeaf
from convtree.stores._session_store import SessionStore
from convtree.stores.base import Deletion, Filter
from convtree.testing._base import Clock, StoreTests, append_to, assistant, begin, ids, racing, user


class ConcurrencyTests(StoreTests):
    """Several handles on one store, several threads, and closing."""

    def test_one_handle_lists_the_writes_of_another(self, store: SessionStore, other: SessionStore) -> None:
        """A write is visible to the other handle as soon as it has returned."""
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

    def test_a_stale_leaf_is_noticed_across_handles(self, store: SessionStore, other: SessionStore) -> None:
        """An append at a stale leaf raises StaleLeaf and writes nothing."""
        begin(store, "a")
        with store.open("a") as one, other.open("a") as two:
            first = one.append(user("one"))
            with pytest.raises(StaleLeaf) as caught:
                two.append(user("two"))
            assert caught.value.actual == first.id
            assert [entry.id for entry in two.refresh()] == [first.id]
            assert two.append(user("two")).parent_id == first.id
        assert (store.info("a").messages, other.info("a").messages) == (3, 3)

    def test_two_handles_cannot_create_the_same_session(self, store: SessionStore, other: SessionStore) -> None:
        """The second append raises SessionExists."""
        with store.create(id="a") as one, other.create(id="a") as two:
            two.append(user("first"))
            with pytest.raises(SessionExists):
                one.append(user("second"))
        assert store.info("a").first_user_message == "first"

    def test_a_backend_deletes_all_or_none(self, store: SessionStore) -> None:
        """With stamps, only if no session has changed. Missing sessions are left out of the result."""
        for id in "abc":
            begin(store, id)
        backend = store._backend
        stamps = {each.info.id: each.stamp for each in backend.catalogue().sessions(Filter())}
        append_to(store, "b", "again")
        assert backend.delete(["a", "b", "missing"], stamps) == Deletion([], ["b"])
        assert sorted(ids(store.list())) == ["a", "b", "c"]
        assert backend.delete(["a", "missing"], stamps) == Deletion(["a"], [])
        assert backend.delete(["c", "b", "missing"]) == Deletion(["c", "b"], [])
        assert backend.delete(["a"], stamps) == Deletion([], [])
        assert list(store.list()) == []

    def test_prune_leaves_a_session_written_to_since_it_was_judged(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        """The append comes after `prune` has listed the sessions and before it deletes the first one."""
        for id in ("a", "b"):
            begin(store, id)
        begin(store, "t", parent_session=ParentSession(id="b", kind="task"))
        clock.pass_by(days=2)
        raced = racing(store, clock, lambda: append_to(other, "a", "still here"))
        pruned = raced.prune(max_age=timedelta(days=1), dry_run=False)
        assert (ids(pruned), ids(pruned.skipped), ids(pruned.held)) == (["b", "t"], ["a"], [])
        assert ids(store.list(tasks=True)) == ids(other.list(tasks=True)) == ["a"]
        with other.open("a") as session:
            assert [entry.text for entry in session.path()] == ["hello", "still here"]  # type: ignore[attr-defined]

    @pytest.mark.parametrize("written_to", ["a", "t"])
    def test_delete_leaves_all_sessions_if_one_is_written_to(
        self, store: SessionStore, other: SessionStore, clock: Clock, written_to: str
    ) -> None:
        """The append, to a session or to one of its sub-agents, comes after `delete` has looked at them."""
        begin(store, "a")
        begin(store, "t", parent_session=ParentSession(id="a", kind="task"))
        raced = racing(store, clock, lambda: append_to(other, written_to, "still here"))
        with pytest.raises(SessionChanged, match=repr(written_to)) as caught:
            raced.delete("a")
        assert caught.value.ids == (written_to,)
        assert sorted(ids(other.list(tasks=True))) == ["a", "t"]
        assert (store.info(written_to).messages, store.info("a").messages + store.info("t").messages) == (2, 3)
        assert raced.delete("a") == ["t", "a"]

    def test_prune_leaves_a_new_session_with_the_id_of_an_old_one(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        """It has the same id and the same length, but it is not the one that was judged."""
        begin(store, "a", "one")
        clock.pass_by(days=2)

        def replace() -> None:
            other.delete("a")
            begin(other, "a", "two")

        assert racing(store, clock, replace).prune(max_age=timedelta(days=1), dry_run=False) == []
        assert other.info("a").first_user_message == "two"

    def test_prune_while_another_handle_appends(self, store: SessionStore, other: SessionStore, clock: Clock) -> None:
        """Each append either finds its session deleted, or keeps it from being deleted."""
        names = [begin(store, f"s{number:02}") for number in range(20)]
        clock.pass_by(days=2)
        start, outcomes = Barrier(2), dict[str, bool]()

        def write() -> None:
            start.wait()
            for name in names:
                try:
                    append_to(other, name, "still here")
                    outcomes[name] = True
                except SessionNotFound:
                    outcomes[name] = False

        thread = Thread(target=write)
        thread.start()
        start.wait()
        gone = set(ids(store.prune(max_age=timedelta(days=1), dry_run=False)))
        thread.join()
        assert outcomes == {name: name not in gone for name in names}
        assert {info.id: info.messages for info in store.list()} == dict.fromkeys(sorted(set(names) - gone), 2)

    def test_sessions_are_there_after_reopening(self, store: SessionStore, tmp_path: Path, clock: Clock) -> None:
        """A store that is opened again has the same sessions."""
        if not self.lasting:
            pytest.skip("sessions are gone when the store is closed")
        begin(store, "a", "needle", name="N")
        before = store.info("a")
        store.close()
        with self.open_store(tmp_path, clock) as again:
            assert list(again.list()) == [before]
            assert len(again.search("needle")) == 1

    def test_threads_share_a_store(self, store: SessionStore) -> None:
        """Each thread writes sessions of its own. All lists are right during and after."""
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

    def test_a_closed_store_refuses_calls(self, store: SessionStore) -> None:
        """Calls on a closed store raise SessionClosed. Closing twice is allowed, and open sessions stay open."""
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
