"""What people type in place of the id of a session."""

from __future__ import annotations

import pytest

from convtree._model.entries import ParentSession
from convtree._model.errors import AmbiguousId, InvalidMessage, SessionNotFound
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, begin


class ResolvingTests(StoreTests):
    """`resolve`."""

    def test_what_stands_for_a_session(self, store: SessionStore, clock: Clock) -> None:
        """An id, the beginning of one id, and `@latest`; archived sessions and sub-agents' are found by their ids."""
        for id in ("abcd", "Abce1", "abce2"):
            clock.pass_by(seconds=1)
            begin(store, id)
        begin(store, "task-1", parent_session=ParentSession(id="abcd", kind="task"))
        begin(store, "gone-1")
        store.archive("gone-1")
        for text, expected in {
            "abcd": "abcd",
            "Abce": "Abce1",
            "abce": "abce2",
            "task": "task-1",
            "gone": "gone-1",
            "@latest": "abce2",
        }.items():
            assert store.resolve(text) == expected

    def test_what_stands_for_no_session(self, store: SessionStore) -> None:
        """Three characters are no prefix; nothing in a text is a pattern."""
        with pytest.raises(SessionNotFound, match="@latest"):
            store.resolve("@latest")
        begin(store, "abcd")
        for text in ("abc", "", "a%cd", "abc_", "ABCD", "@", "@lates", "abc\0", "é", "x" * 500):
            with pytest.raises(SessionNotFound):
                store.resolve(text)
        for text in ("abc_", "abc%"):
            with pytest.raises((SessionNotFound, InvalidMessage)):
                store.info(text)

    def test_several_sessions_with_a_prefix(self, store: SessionStore, clock: Clock) -> None:
        """The error lists them, last active first; of very many, the first 20."""
        for id in ("same-1", "same-2", "same"):
            clock.pass_by(seconds=1)
            begin(store, id)
        assert store.resolve("same") == "same"
        with pytest.raises(AmbiguousId, match="begins with 'same-': 'same-2', 'same-1'; give more") as caught:
            store.resolve("same-")
        assert (caught.value.text, caught.value.ids) == ("same-", ("same-2", "same-1"))
        for number in range(21):
            clock.pass_by(seconds=1)
            begin(store, f"many-{number}")
        with pytest.raises(AmbiguousId, match="'many-1', and more") as caught:
            store.resolve("many")
        assert caught.value.ids == tuple(f"many-{number}" for number in range(20, 0, -1))

    def test_both_ends_of_an_id(self, store: SessionStore) -> None:
        """As lists show a long id: with an ellipsis or three dots. Several ids with these ends are named."""
        for id in ("0199-aaaa-3f4e", "0199-bbbb-3f4e", "0199-bbbb-77aa"):
            begin(store, id)
        for text in ("0199…77aa", "0199...77aa", "0199-…77aa", "0199-b…7aa"):
            assert store.resolve(text) == "0199-bbbb-77aa"
        with pytest.raises(AmbiguousId) as caught:
            store.resolve("0199…3f4e")
        assert sorted(caught.value.ids) == ["0199-aaaa-3f4e", "0199-bbbb-3f4e"]
        for text in ("019…77aa", "0199…", "0199…77ab", "0199…%"):
            with pytest.raises(SessionNotFound):
                store.resolve(text)

    def test_one_owner_resolves_no_session_of_another(self, store: SessionStore) -> None:
        """Neither by its beginning nor by its id."""
        begin(store, "abc-1", owner="ann")
        begin(store, "abc-2", owner="bob")
        ann = store.scoped(owner="ann")
        assert (ann.resolve("abc-"), ann.resolve("@latest")) == ("abc-1", "abc-1")
        for text in ("abc-2", "abc-2x"):
            with pytest.raises(SessionNotFound):
                ann.resolve(text)
