"""The end of a path, walks upwards, and records from the last to the first."""

from __future__ import annotations

from itertools import islice

from convtree._model.entries import ExtensionDataEntry, MessageEntry
from convtree.stores._session_store import SessionStore
from convtree.testing._base import StoreTests, assistant, user


class WalkTests(StoreTests):
    """Reading a session from its end."""

    def test_the_end_of_a_path(self, store: SessionStore) -> None:
        """The last entries of a path, in its order, of one class or of all; the same after the session is reopened."""
        with store.create(id="s") as session:
            entries = session.append_many([user("a"), assistant("b"), ExtensionDataEntry(ext_type="x.y", data=1)])
            side = session.append(user("c"), parent_id=entries[0].id)
        with store.open("s", read_only=True) as session:
            assert session.path(last=1) == [side]
            assert session.path(entries[2].id, last=2) == entries[1:]
            assert session.path(entries[2].id, last=2, type=MessageEntry) == entries[:2]
            assert session.path(entries[2].id, type=ExtensionDataEntry) == entries[2:]
            assert session.path(last=9) == [entries[0], side]

    def test_a_walk_upwards(self, store: SessionStore) -> None:
        """Every entry from the leaf to the first, across batches of any size; a walk may end early."""
        with store.create(id="s") as session:
            entries = session.append_many(user(str(number)) for number in range(1200))
            assert list(session.walk_up()) == entries[::-1]
            assert list(islice(session.walk_up(entries[7].id, type=MessageEntry), 3)) == entries[7:4:-1]

    def test_records_in_reverse(self, store: SessionStore) -> None:
        """Entries and marks with their numbers, the last one first."""
        with store.create(id="s") as session:
            first = session.append(user("a"))
            session.label(first.id, "L")
            session.append_many(user(str(number)) for number in range(700))
            forwards = list(session.records())
            assert [number for number, _ in forwards] == list(range(702))
            assert list(session.records(reverse=True)) == forwards[::-1]
            assert list(session.records(700, reverse=True)) == forwards[:699:-1]
