"""Compare-and-set over handles and threads, and calls that are repeated because their answer was lost."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest

from convtree._model.errors import IdConflict, SessionChanged, SessionNotFound, StaleLeaf
from convtree._session.session import Session
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, append_to, assistant, begin, racing, user

_ITEMS, _THREADS = 200, 4


def _text(session: Session, id: str) -> str:
    return session.entry(id).text  # type: ignore[attr-defined, no-any-return]


def _together(work: Callable[[int], None]) -> None:
    """Calls `work` in four threads that start together, and raises the first error of any."""
    start, failed = Barrier(_THREADS), list[BaseException]()

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [Thread(target=run, args=(number,)) for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


class ExpectationTests(StoreTests):
    """Compare-and-set over handles and threads, and calls that are repeated because their answer was lost."""

    def test_threads_pop_every_item_once(self, store: SessionStore) -> None:
        """Each reads the leaf and moves it one up, if it still is the leaf: 200 items come out once each."""
        with store.create(id="a") as session:
            session.append_many([user(str(number)) for number in range(_ITEMS)])
        popped: list[list[str]] = [[] for _ in range(_THREADS)]

        def pop(number: int) -> None:
            with store.open("a") as session:
                while (leaf := session.leaf_id) is not None:
                    entry = session.entry(leaf)
                    try:
                        session.branch(entry.parent_id, expect_leaf=entry)
                    except StaleLeaf:
                        session.refresh()
                    else:
                        popped[number].append(entry.text)  # type: ignore[attr-defined]

        _together(pop)
        assert sorted(int(text) for each in popped for text in each) == list(range(_ITEMS))

    def test_threads_that_expect_a_leaf_make_one_chain(self, store: SessionStore) -> None:
        """Each appends only behind what it has read, so no entry has two children."""
        begin(store, "a")

        def say(number: int) -> None:
            with store.open("a") as session:
                for count in range(10):
                    while True:
                        try:
                            entry = session.append(user(f"{number}-{count}"), expect_leaf=(leaf := session.leaf_id))
                        except StaleLeaf:
                            session.refresh()
                        else:
                            assert entry.parent_id == leaf
                            break

        _together(say)
        with store.open("a") as session:
            assert (len(session.path()), len(session.leaves())) == (1 + 10 * _THREADS, 1)

    def test_the_expected_leaf_is_compared_with_the_log(self, store: SessionStore) -> None:
        """Not with the leaf that the session has seen: a leaf known from elsewhere is continued, an old one is not."""
        begin(store, "a", "one")
        with store.open("a") as old, store.open("a") as new:
            first = old.leaf_id
            second = new.append(user("two"))
            with pytest.raises(StaleLeaf) as caught:
                old.append(user("three"), expect_leaf=first)
            assert (caught.value.expected, caught.value.actual) == (first, second.id)
            assert old.append(user("three"), expect_leaf=second.id).parent_id == second.id
            with pytest.raises(StaleLeaf):
                new.append(user("four"), parent_id=first, expect_leaf=second)
            assert [_text(old, entry.id) for entry in old.path()] == ["one", "two", "three"]

    def test_an_expected_revision_sees_marks(self, store: SessionStore) -> None:
        """A name that is set elsewhere is a record, and moves no leaf. A refresh makes it a seen one."""
        begin(store, "a")
        with store.open("a") as session:
            leaf, revision = session.leaf_id, session.revision
            assert revision == leaf
            store.rename("a", "N")
            with pytest.raises(StaleLeaf):
                session.append(user("two"), expect_revision=revision)
            with pytest.raises(StaleLeaf):
                session.branch(None, expect_revision=revision)
            assert session.revision == revision
            session.refresh()
            assert (session.leaf_id, session.revision == revision) == (leaf, False)
            entry = session.append(user("two"), expect_leaf=leaf, expect_revision=session.revision)
            assert session.revision == entry.id

    def test_none_is_the_place_before_the_first_entry(self, store: SessionStore) -> None:
        """A session that does not exist yet is expected so, and only one of two writers begins it."""
        with store.open("a", create=True) as one, store.open("a", create=True) as two:
            assert (one.leaf_id, one.revision) == (None, None)
            first = one.append(user("one"), expect_leaf=None, expect_revision=None)
            expectations: list[dict[str, Any]] = [{"expect_leaf": None}, {"expect_revision": None}]
            for empty in expectations:
                with pytest.raises(StaleLeaf) as caught:
                    two.append(user("two"), **empty)
                assert (caught.value.expected, caught.value.actual) == (None, first.id)

    def test_calls_that_are_repeated(self, store: SessionStore) -> None:
        """A call with an id that is stored writes nothing, whatever the leaf is and whichever session stored it."""
        begin(store, "a", "one", "two")
        with store.open("a") as session:
            one, two = session.path()

        def calls(session: Session) -> list[Any]:
            return [
                session.append(assistant("three"), id="c1", expect_leaf=two),
                session.branch(one, id="c2", expect_leaf="c1"),
                session.branch(two, summary="S", id="c3", expect_leaf=one),
                session.label(one, "L", id="c4"),
                session.rename("N", id="c5"),
                session.compact(lambda plan: f"{len(plan.messages)}", keep_tokens=0, id="c6", expect_leaf="c3"),
                session.branch(one, summarize=lambda _: "T", id="c7", expect_leaf="c6"),
            ]

        with store.open("a") as session:
            made = calls(session)
            session.rename("M")
            session.label(one, None)
            records = list(session.records())
        with store.open("a") as session:
            assert calls(session) == made
            assert list(session.records()) == records
            assert (session.name, session.labels, session.leaf_id) == ("M", {}, "c7")
            with pytest.raises(IdConflict):
                session.branch(two, id="c2")
            with pytest.raises(IdConflict):
                session.label(one, "other", id="c4")

    def test_a_delete_compares_the_log(self, store: SessionStore) -> None:
        """A session that went on is kept. `erase` with the same expectation repeats a delete whose answer was lost."""
        begin(store, "a")
        with store.open("a") as session:
            leaf, revision = session.leaf_id, session.revision
        append_to(store, "a", "on and on")
        with pytest.raises(StaleLeaf):
            store.delete("a", expect_leaf=leaf)
        with pytest.raises(StaleLeaf):
            store.erase("a", expect_revision=revision)
        with store.open("a") as session:
            leaf = session.leaf_id
            store.rename("a", "N")
        with pytest.raises(StaleLeaf):
            store.delete("a", expect_leaf=leaf, expect_revision=leaf)
        assert store.delete("a", expect_leaf=leaf) == ["a"]
        with pytest.raises(SessionNotFound):
            store.delete("a", expect_leaf=leaf)
        assert store.erase("a", expect_leaf=leaf) == []
        begin(store, "a", "another one")
        with pytest.raises(StaleLeaf):
            store.erase("a", expect_leaf=leaf)
        assert store.info("a").first_user_message == "another one"

    def test_a_delete_that_is_raced(self, store: SessionStore, clock: Clock) -> None:
        """A write after the look is noticed: it moved the leaf, or the call can be repeated."""
        begin(store, "a")
        leaf = store.info("a").leaf_id
        with pytest.raises(SessionChanged):
            racing(store, clock, lambda: store.rename("a", "N")).delete("a", expect_leaf=leaf)
        with pytest.raises(StaleLeaf):
            racing(store, clock, lambda: append_to(store, "a", "two")).delete("a", expect_leaf=leaf)
        assert store.info("a").messages == 2
