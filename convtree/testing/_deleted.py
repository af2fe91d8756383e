"""What an open session does when it is deleted meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from convtree._model.errors import SessionNotFound
from convtree._session.session import Session
from convtree.stores._session_store import SessionStore
from convtree.testing._base import Clock, StoreTests, assistant, begin, ids, user

#: queries that read lines
_READS: dict[str, Callable[[Session], list[str]]] = {
    "build_context": lambda session: [message["content"] for message in session.build_context().messages],
    "path": lambda session: [entry.text for entry in session.path()],  # type: ignore[attr-defined]
    "records": lambda session: [record.text for _, record in session.records()],  # type: ignore[union-attr]
    "siblings": lambda session: [entry.text for entry in session.siblings(session.path()[0].id)],
}
#: calls that look at what others did
_LOOKS: dict[str, Callable[[Session], object]] = {
    "refresh": Session.refresh,
    "append": lambda session: session.append(assistant("late")),
    "extend": lambda session: session.append_many([assistant("late"), user("later")]),
    "rename": lambda session: session.rename("late"),
    "follow": lambda session: next(session.follow(poll_s=0.01, timeout_s=1)),
}


class DeletedElsewhereTests(StoreTests):
    """A session that was deleted is missing, not damaged."""

    @pytest.mark.parametrize("read_only", [False, True])
    @pytest.mark.parametrize("look", _LOOKS)
    def test_deleted_elsewhere(self, store: SessionStore, look: str, read_only: bool) -> None:
        """Queries return what they did before, or raise SessionNotFound. All that looks again raises it."""
        if read_only and look not in ("refresh", "follow"):
            pytest.skip("a session that is read-only refuses this anyway")
        begin(store, "a", "one", "two")
        with store.open("a", read_only=read_only) as session:
            expected = {name: read(session) for name, read in _READS.items()}
            following = session.follow(poll_s=0.01, timeout_s=1)
            store.delete("a")
            assert {name: _result(read, session, expected[name]) for name, read in _READS.items()} == expected
            with pytest.raises(SessionNotFound):
                _LOOKS[look](session)
            with pytest.raises(SessionNotFound):
                next(following)
            assert {name: _result(read, session, expected[name]) for name, read in _READS.items()} == expected
            assert session.findings == ()
        assert ids(store.list(archived=None, tasks=True)) == []
        assert store.findings == []

    def test_deleted_elsewhere_and_begun_again(self, store: SessionStore, clock: Clock) -> None:
        """No query returns messages of the session that has the id now, until `refresh`."""
        begin(store, "a", "one", "two")
        with store.open("a") as session:
            expected = {name: read(session) for name, read in _READS.items()}
            store.delete("a")
            clock.pass_by(seconds=1)
            begin(store, "a", "uno", "due")
            assert {name: _result(read, session, expected[name]) for name, read in _READS.items()} == expected
            try:
                session.refresh()
            except SessionNotFound:
                return  # a store need not go on with the session that has the id now
            assert _READS["path"](session) == ["uno", "due"]
            assert session.findings == ()


def _result(read: Callable[[Session], list[str]], session: Session, expected: list[str]) -> list[str]:
    """Returns what a query returns; what is expected of it if the session is gone."""
    try:
        return read(session)
    except SessionNotFound:
        return expected
