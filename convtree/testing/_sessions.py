"""Creating and opening sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convtree._model.entries import ParentSession
from convtree._model.errors import InvalidMessage, ReadOnlySession, SessionExists, SessionNotFound
from convtree.stores._session_store import SessionStore
from convtree.testing._base import StoreTests, begin, ids, user

NOT_IDS = (
    "",
    ".",
    "..",
    "../up",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "-a",
    ".a",
    "a b",
    "ä",
    "a\0",
    "a\n",
    "x" * 129,
    "\udc80",
)


class SessionTests(StoreTests):
    """Creating and opening sessions."""

    def test_a_new_store_is_empty(self, store: SessionStore) -> None:
        """Every query returns nothing, and there are no findings."""
        assert list(store.list()) == []
        assert (store.latest(), store.resume(cwd="/a"), store.usage(), store.search("a")) == (None, None, [], [])
        assert store.findings == []
        assert store.location
        assert store.location in repr(store)

    def test_nothing_is_stored_before_the_first_record(self, store: SessionStore) -> None:
        """A new session can be listed and opened from its first record on."""
        with store.create(id="s") as session:
            assert list(store.list()) == []
            with pytest.raises(SessionNotFound):
                store.open("s")
            session.append(user("hello"))
            assert ids(store.list()) == ["s"]
        with store.open("s") as session:
            assert session.id == "s"
            assert [entry.message for entry in session.path()] == [user("hello")]  # type: ignore[attr-defined]

    def test_create_stores_its_arguments(self, store: SessionStore) -> None:
        """All arguments of `create` are stored in the header."""
        parent = ParentSession(id="p", entry_id="e", kind="task")
        header: dict[str, Any] = {
            "name": "N",
            "cwd": "/c",
            "git_root": "/g",
            "owner": "o",
            "metadata": {"k": [1, None]},
        }
        begin(store, "s", **header, parent_session=parent)
        with store.open("s", read_only=True) as session:
            assert {key: getattr(session.header, key) for key in header} == header
            assert session.header.parent_session == parent
            assert (session.name, session.metadata) == ("N", {"k": [1, None]})
            session.metadata["k"].append("a change of a copy")
            (session.header.metadata or {})["k"].append("a change of a copy")
            assert session.metadata == session.header.metadata == {"k": [1, None]}

    def test_create_makes_an_id(self, store: SessionStore) -> None:
        """Two sessions get different ids."""
        with store.create() as one, store.create() as two:
            assert one.id != two.id
            one.append(user("1"))
            two.append(user("2"))
        assert sorted(ids(store.list())) == sorted([one.id, two.id])

    def test_a_session_can_only_be_created_once(self, store: SessionStore) -> None:
        """The second `create`, or its first append, raises SessionExists and stores nothing."""
        begin(store, "s", "first")
        with pytest.raises(SessionExists), store.create(id="s") as session:
            session.append(user("second"))
        assert store.info("s").messages == 1

    def test_of_two_creates_one_can_append(self, store: SessionStore) -> None:
        """If both were created before either appended, the second append raises SessionExists."""
        with store.create(id="s") as one, store.create(id="s") as two:
            one.append(user("first"))
            with pytest.raises(SessionExists):
                two.append(user("second"))
            one.append(user("third"))
        assert store.info("s").messages == 2

    def test_a_missing_session_is_not_found(self, store: SessionStore) -> None:
        """Every call that needs a session raises SessionNotFound, and creates none."""
        calls: list[Callable[[str], object]] = [
            store.open,
            lambda each: store.open(each, read_only=True),
            store.fork,
            lambda each: store.rename(each, "n"),
            store.archive,
            store.unarchive,
            store.delete,
            store.info,
            store.usage,
            lambda each: store.usage(each, by="model"),
            lambda each: store.usage(each, by="branch"),
        ]
        for call in calls:
            with pytest.raises(SessionNotFound):
                call("nobody")
        assert (store.children("nobody"), list(store.list())) == ([], [])

    @pytest.mark.parametrize("id", NOT_IDS)
    def test_invalid_ids_are_refused(self, store: SessionStore, id: str) -> None:
        """Invalid ids raise InvalidMessage, in every call."""
        for call in (store.open, store.fork, store.delete, store.info, store.archive, store.usage):
            with pytest.raises(InvalidMessage):
                call(id)
        with pytest.raises(InvalidMessage):
            store.create(id=id)
        with pytest.raises(InvalidMessage):
            store.open(id, create=True)
        begin(store, "s")
        with pytest.raises(InvalidMessage):
            store.fork("s", new_id=id)
        assert ids(store.list()) == ["s"]

    @pytest.mark.parametrize("id", ["0", "A", "a.b", "a:b-c_d", "x" * 128, "CON", "a.jsonl", "a..b"])
    def test_valid_ids(self, store: SessionStore, id: str) -> None:
        """Every id that the grammar allows."""
        begin(store, id)
        begin(store, f"b{id}"[:128])
        assert sorted(ids(store.list())) == sorted([id, f"b{id}"[:128]])
        assert store.delete(id) == [id]
        assert ids(store.list()) == [f"b{id}"[:128]]

    def test_open_with_create(self, store: SessionStore) -> None:
        """With `create=True`. If the session exists, the header arguments have no effect."""
        with store.open("s", create=True, name="first", owner="o") as session:
            session.append(user("hello"))
        with store.open("s", create=True, name="second") as session:
            session.append(user("again"))
            assert (session.name, session.header.owner) == ("first", "o")
        assert store.info("s").messages == 2

    def test_two_handles_open_a_new_session_with_create(self, store: SessionStore, other: SessionStore) -> None:
        """Two handles that open with `create=True` write to one session."""
        with store.open("s", create=True) as one, other.open("s", create=True, on_stale="rebase") as two:
            first = one.append(user("first"))
            second = two.append(user("second"))
            assert second.parent_id == first.id
            assert [entry.id for entry in one.refresh()] == [second.id]
        assert store.info("s").messages == other.info("s").messages == 2

    def test_arguments_that_contradict_each_other(self, store: SessionStore) -> None:
        """`create` with `read_only`, header arguments without `create`, unknown arguments."""
        begin(store, "s")
        with pytest.raises(ValueError, match="read_only"):
            store.open("s", create=True, read_only=True)
        with pytest.raises(TypeError, match="name"):
            store.open("s", name="n")
        with pytest.raises(TypeError, match="colour"):
            store.open("t", create=True, colour="red")  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="on_stale"):
            store.open("s", on_stale="never")  # type: ignore[arg-type]

    def test_a_read_only_session_refuses_writes(self, store: SessionStore) -> None:
        """Every write of a read-only session raises ReadOnlySession."""
        begin(store, "s")
        before = store.info("s")
        with store.open("s", read_only=True) as session:
            for write in (lambda: session.append(user("x")), lambda: session.rename("x"), session.archive):
                with pytest.raises(ReadOnlySession):
                    write()
        assert store.info("s") == before

    def test_values_that_json_cannot_hold_are_refused(self, store: SessionStore) -> None:
        """Values that JSON cannot hold raise InvalidMessage, and nothing is stored."""
        for header in ({"name": "\udc80"}, {"cwd": "\ud800"}, {"metadata": {"a": float("nan")}}):
            with pytest.raises(InvalidMessage):
                store.create(**header)
        with store.create() as session, pytest.raises(InvalidMessage):
            session.append(user("\ud800"))
        assert list(store.list()) == []
