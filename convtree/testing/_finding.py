"""Finding sessions by their entries and by their metadata."""

from __future__ import annotations

from typing import Any

import pytest

from convtree._model.entries import ParentSession, SessionInfoMark
from convtree._model.errors import InvalidMessage, SessionNotFound
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, begin, ids, racing, user

#: by session; equal values are those of one row
VALUES: dict[str, Any] = {
    "one": 1,
    "real": 1.5,
    "text": "1",
    "true": True,
    "false": False,
    "zero": 0,
    "list": [1, "a", None],
    "turned": ["a", 1, None],
    "object": {"a": {"b": [1, 2.0]}, "ä \0 %_'": ""},
    "inner": {"b": [1, 2.0]},
    "empty": {},
    "nothing": [],
    "long": "x" * 9000,
}


class FindingTests(StoreTests):
    """`sessions_with`, and `list(metadata=)`."""

    def test_sessions_that_hold_an_entry(self, store: SessionStore, clock: Clock) -> None:
        """Its own first, then its forks and copies, also those that are archived or whose parent is gone."""
        with store.create(id="z", parent_session=ParentSession(id="p", kind="task")) as session:
            first = session.append(user("1"))
            second = session.append(user("2"))
            session.rename("N")
            mark_id = [record.id for _, record in session.records()][-1]
        for number, (parent, place, id) in enumerate((("z", second.id, "f"), ("z", first.id, "g"), ("f", None, "h"))):
            clock.pass_by(seconds=number + 1)
            store.fork(parent, place, new_id=id).close()
        store.copy("f", "e").close()
        store.archive("f")
        begin(store, "b")
        assert store.sessions_with(first.id) == store.sessions_with(first) == ["z", "f", "g", "e"]
        assert store.sessions_with(second.id) == ["z", "f", "e"]
        store.delete("f")
        assert store.sessions_with(second.id) == ["z", "e"]
        assert (store.sessions_with("nothing"), store.sessions_with(mark_id)) == ([], [])
        with pytest.raises(InvalidMessage, match="entry_id"):
            store.sessions_with("no id")

    def test_an_erasure_names_every_holder(self, store: SessionStore) -> None:
        """Also forks of a fork that is gone, and a session that was copied without a link to it."""
        begin(store, "a", "1")
        store.fork("a", new_id="f").close()
        store.copy("f", "g").close()
        store.fork("g", new_id="h").close()
        for id in ("f", "g"):
            store.delete(id)
        with store.open("a") as session:
            entries = session.path()
        with store.create(id="imported") as session:
            session.extend(entries)
        assert store.erase("a").copies == ("h", "imported")
        assert store.erase("h").copies == ("imported",)

    def test_a_fork_that_is_made_meanwhile_is_named(self, store: SessionStore, clock: Clock) -> None:
        """Copies are looked for when the session is gone."""
        begin(store, "a", "1")
        racing_store = racing(store, clock, lambda: store.fork("a", new_id="f").close())
        assert racing_store.delete("a").copies == ("f",)

    def test_lists_by_metadata(self, store: SessionStore) -> None:
        """Equal as JSON: numbers by value, objects whatever the order of their keys, and nothing else."""
        for id, value in VALUES.items():
            begin(store, id, metadata={"k": value, "all": 0})
        begin(store, "none")
        for id, value in VALUES.items():
            assert ids(store.list(metadata={"k": value})) == [id]
        assert ids(store.list(metadata={"k": 1.0})) == ["one"]
        assert ids(store.list(metadata={"k": -0.0})) == ["zero"]
        assert ids(store.list(metadata={"k": (1, "a", None)})) == ["list"]
        assert ids(store.list(metadata={"k": {"ä \0 %_'": "", "a": {"b": [1.0, 2]}}})) == ["object"]
        for value in ("x" * 8999, {"a": {"b": [1, 2]}}, [1, "a"], 1.25, "True", {"k": 1}):
            assert ids(store.list(metadata={"k": value})) == []
        assert ids(store.list(metadata={"all": 0, "k": True})) == ["true"]
        assert ids(store.list(metadata={"all": None, "k": None})) == ["none"]
        assert len(store.list(metadata={})) == len(VALUES) + 1
        assert len(store.list(metadata={"all": 0, "no key": None})) == len(VALUES)
        with pytest.raises(TypeError, match="metadata: expected a mapping"):
            store.list(metadata=[("k", 1)])  # type: ignore[arg-type]
        with pytest.raises(InvalidMessage, match=r"metadata\.k"):
            store.list(metadata={"k": float("nan")})

    def test_metadata_that_changes(self, store: SessionStore) -> None:
        """The list follows every change, and forks and copies have what is there now."""
        begin(store, "a", metadata={"k": 1, "l": 1, "m": None})
        with store.open("a") as session:
            session.update_metadata(k=2, l=None, n=[3])
        store.fork("a", new_id="f").close()
        store.copy("a", "c").close()
        for id in ("a", "f", "c"):
            with store.open(id) as session:
                assert session.metadata == {"k": 2, "n": [3]}
        everyone = {"a", "f", "c"}
        found = [{*ids(store.list(metadata={name: value}))} for name, value in (("k", 2), ("n", [3]), ("l", None))]
        assert found == [everyone] * 3
        assert [ids(store.list(metadata={name: 1})) for name in "kl"] == [[], []]
        with store.open("a") as session:
            session._client.add_mark(SessionInfoMark(metadata=None))
        assert {*ids(store.list(metadata={"k": 2}))} == {"f", "c"}
        assert ids(store.list(metadata={"k": None, "n": None})) == ["a"]
        store.delete("f")
        begin(store, "f")
        assert {*ids(store.list(metadata={"k": None}))} == {"a", "f"}

    def test_pages_of_a_list_by_metadata(self, store: SessionStore, clock: Clock) -> None:
        """They go with the other filters and with cursors."""
        for number in range(5):
            clock.pass_by(seconds=1)
            begin(store, f"s{number}", owner="ann" if number else "bob", metadata={"odd": bool(number % 2)})
        page = store.list(metadata={"odd": False}, owner="ann", limit=1)
        assert ids(page) == ["s4"]
        assert ids(store.list(metadata={"odd": False}, owner="ann", limit=1, cursor=page.cursor)) == ["s2"]
        with pytest.raises(SessionNotFound):
            store.copy("nothing")
