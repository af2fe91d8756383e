"""The end of a path, walks upwards, records from the last to the first, and a session as a person sees it."""

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

    def test_what_a_model_sees_of_a_path(self, store: SessionStore) -> None:
        """Without messages that were appended for the user, or hidden since; the same after the session is reopened."""
        with store.create(id="s") as session:
            entries = session.append_many(user(str(number)) for number in range(600))
            notice = session.append(assistant("notice"), visible_to="user")
            session.hide(entries[598], visible_to="nobody")
        seen = [*entries[:598], entries[599]]
        with store.open("s", read_only=True) as session:
            assert session.path(last=2, seen_by="model") == [entries[597], entries[599]]
            assert session.path(seen_by="model") == seen
            assert list(session.walk_up(seen_by="model")) == seen[::-1]
            assert session.path(last=2, type=MessageEntry, seen_by="user") == [entries[599], notice]

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

    def test_a_view_for_user_interfaces(self, store: SessionStore) -> None:
        """Alternatives across a note and a hidden message; all branches for chat components."""
        with store.create(id="s") as session:
            question = session.append(user("q"), id="q")
            session.append(assistant("1"), id="a")
            session.append(user("a note"), id="n", parent_id=question.id, visible_to="model")
            session.append(assistant("2"), id="b")
            hidden = session.append(user("hidden"), id="h", parent_id=question.id)
            session.append(assistant("3"), id="c")
            session.hide(hidden, visible_to="nobody")
        with store.open("s", read_only=True) as session:
            view = session.view()
            assert [(each.entry.id, each.number, each.of) for each in view] == [("q", 1, 1), ("c", 3, 3)]
            assert (view[1].previous, view[1].next) == ("b", None)
            assert [each.of for each in session.view("b", last=1)] == [3]
            exported = view.to("assistant-ui")
            assert exported["headId"] == "c"
            parents = [(item["message"]["id"], item["parentId"]) for item in exported["messages"]]
            assert parents == [("q", None), ("a", "q"), ("b", "q"), ("c", "q")]
