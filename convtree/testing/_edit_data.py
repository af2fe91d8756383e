"""What `edit_data` of a store changes and drops, what it keeps, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from convtree._model.entries import CompactionEntry, ExtensionDataEntry
from convtree._model.errors import EntryNotFound, InvalidMessage, SessionHeld, SessionNotFound, StaleLeaf
from convtree.stores._edit_data import EditedData
from convtree.stores._session_store import SessionStore
from convtree.testing._base import StoreTests, assistant, user


def edited(store: SessionStore, id: str, **options: Any) -> EditedData:
    """Edits a session; skips the test if the store is one that cannot."""
    try:
        return store.edit_data(id, **({"dry_run": False} | options))
    except NotImplementedError as error:
        pytest.skip(str(error))


def data(id: str, value: Any, parent_id: str | None) -> ExtensionDataEntry:
    return ExtensionDataEntry(id=id, parent_id=parent_id, ext_type="snapshot", data=value)


def begun(store: SessionStore) -> str:
    """Begins a session: a question, two snapshots, an answer, and a snapshot beside them where the leaf is."""
    with store.create(id="a") as session:
        session.append(user("Where?"), id="q")
        session.append(data("s1", {"n": 1}, None))
        session.append(data("s2", {"n": 2}, None))
        session.append(assistant("Rome"), id="r")
        session.append(data("s3", "x" * 2000, None), parent_id="q")
        session.label("s1", "first")
        assert session.revision is not None
        return session.revision


class DataEditingTests(StoreTests):
    """Extension data goes or is another one. Messages keep their ids, and the tree holds together."""

    def test_data_is_changed_and_dropped(self, store: SessionStore) -> None:
        """What was below a dropped entry is below the one above that; its label goes, and the leaf moves up."""
        revision = begun(store)
        wanted: dict[str, Any] = {"drop": ["s1", "s3"], "change": {"s2": {"n": 9}}, "expect_revision": revision}
        planned = edited(store, "a", dry_run=True, **wanted)
        assert (planned.done, planned.size_after < planned.size_before - 2000) == (False, True)
        with store.open("a") as session:
            assert session.leaf_id == "s3"
        done = edited(store, "a", remove_original=True, **wanted)
        assert (done.done, done.size_after, done.original) == (True, planned.size_after, None)
        with store.open("a") as session:
            assert [(entry.id, entry.parent_id) for entry in session.path("r")] == [
                ("q", None),
                ("s2", "q"),
                ("r", "s2"),
            ]
            assert (session.leaf_id, session.labels, session.findings) == ("q", {}, ())
            assert session.state("snapshot", leaf="r") == {"n": 9}
            session.append(user("goes on"), parent_id="r")
            assert session.build_context().messages == [user("Where?"), assistant("Rome"), user("goes on")]
        assert store.info("a").entries == 4

    def test_a_shared_session_notices(self, store: SessionStore) -> None:
        """It reads the new log when it is handed out again."""
        begun(store)
        with store.session("a") as session:
            assert len(session.path()) == 2
        edited(store, "a", drop=["s3"])
        with store.session("a") as session:
            assert [entry.id for entry in session.path()] == ["q"]

    def test_what_it_refuses(self, store: SessionStore) -> None:
        """Nothing is changed then."""
        revision = begun(store)
        with store.open("a") as session:
            session.append(ExtensionDataEntry(id="paid", ext_type="t", data=1, usage={"output_tokens": 3}))
            session.append(CompactionEntry(id="c", summary="s", first_kept_entry_id="s2"), parent_id="r")
        refused: list[tuple[dict[str, Any], type[Exception]]] = [
            ({"drop": ["s1"], "expect_revision": revision}, StaleLeaf),
            ({"drop": ["nowhere"]}, EntryNotFound),
            ({"drop": ["q"]}, ValueError),
            ({"change": {"q": 1}}, ValueError),
            ({"drop": ["paid"]}, ValueError),
            ({"drop": ["s2"]}, ValueError),
            ({"drop": ["s1"], "change": {"s1": 1}}, ValueError),
            ({"change": {"s1": "\ud83d"}}, InvalidMessage),
        ]
        for options, error in refused:
            with pytest.raises(error):
                edited(store, "a", **options)
        assert not edited(store, "a").done
        with pytest.raises(SessionNotFound):
            edited(store, "b", drop=["s1"])
        store.hold("a")
        with pytest.raises(SessionHeld):
            edited(store, "a", drop=["s1"])
        with store.open("a") as session:
            assert [entry.id for entry in session.path("c")] == ["q", "s1", "s2", "r", "c"]

    def test_a_copy_has_a_key(self, store: SessionStore) -> None:
        """As a session that is created with one."""
        begun(store)
        with store.copy("a", new_key=("user", "a b")) as session:
            assert session.header.key == ["user", "a b"]
        with store.open(key=("user", "a b")) as session:
            assert session.leaf_id == "s3"
