"""What a database does when the connection is lost during a commit, and when a session cannot be read for a moment."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers import assistant, contents, user
from postgres import new_database

from convtree import ConvtreeError, OutcomeUnknown, ParentSession, SessionStore, open_store
from convtree._engine.log_index import Index
from convtree._logs import sql_errors
from convtree._logs.sql import SqlLog
from convtree._logs.sql_database import SqlDatabase
from convtree._logs.sql_transaction import Transaction


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    if request.param == "sqlite":
        with open_store(f"sqlite:///{tmp_path}/s.db", durability="process") as opened:
            yield opened
        return
    with new_database(request.getfixturevalue("postgres_server")) as url, open_store(url, create=True) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with ExitStack() as patches:
        for module in ("sql", "sql_database", "sql_whole"):
            patches.enter_context(patch(f"convtree._logs.{module}.back_off"))
        yield


class Lost:
    """Loses the answers of the next commits; `stored` says whether they take effect."""

    def __init__(self, *stored: bool) -> None:
        self._stored = [*stored]
        self._commit = Transaction.commit

    def commit(self, transaction: Any, *last: Any) -> Any:
        if not self._stored:
            return self._commit(transaction, *last)
        if self._stored.pop(0):
            self._commit(transaction, *last)
        raise OutcomeUnknown("the answer was lost")


def losing(*stored: bool) -> Any:
    lost = Lost(*stored)

    def commit(transaction: Any, *last: Any) -> Any:
        return lost.commit(transaction, *last)

    return patch.object(Transaction, "commit", commit)


def begin(store: SessionStore, id: str, **described: Any) -> None:
    with store.create(id=id, **described) as session:
        session.append(user("one"), id="one")
        session.append(assistant("two"), usage={"output_tokens": 3})
        session.append(user("aside"), parent_id="one", move_leaf=False)


def used(store: SessionStore) -> int:
    here = sum(row.usage.output_tokens for row in store.usage())
    return here + sum(row.usage.output_tokens for row in store.ledger())


@pytest.mark.parametrize("stored", [True, False])
def test_a_delete_whose_answer_is_lost_is_done_once(store: SessionStore, stored: bool) -> None:
    """It says what was deleted, and the ledger counts it once."""
    begin(store, "a")
    with losing(stored, False):
        assert list(store.delete("a")) == ["a"]
    assert (list(store.list()), used(store)) == ([], 3)


def test_a_session_that_got_the_id_of_a_deleted_one_stays(store: SessionStore) -> None:
    """Nobody takes the new session for the old one, which is gone."""
    begin(store, "a")
    other = open_store(store.location) if store.location.startswith("sqlite") else store
    commit = Transaction.commit
    deleted: list[bool] = []

    def replace(transaction: Any, *last: Any) -> Any:
        rows = commit(transaction, *last)
        if not deleted:
            deleted.append(True)
            with other.create(id="a") as session:
                session.append(user("new"))
            raise OutcomeUnknown("the answer was lost")
        return rows

    with patch.object(Transaction, "commit", replace):
        assert list(store.delete("a")) == ["a"]
    with store.open("a") as session:
        assert contents(session) == ["new"]


@pytest.mark.parametrize("stored", [True, False])
def test_a_vacuum_whose_answer_is_lost_is_done_once(store: SessionStore, stored: bool) -> None:
    """Its result says what went, and the log has one vacuum entry."""
    begin(store, "a")
    with losing(stored):
        assert store.vacuum("a", dry_run=False).done
    with store.open("a") as session:
        assert [each.type for _, each in session.records()][:3] == ["vacuum", "message", "message"]
    assert used(store) == 3


def test_a_fork_whose_answer_is_lost_is_there(store: SessionStore) -> None:
    """The call returns the fork as if nothing had happened."""
    begin(store, "a")
    with losing(True), store.fork("a", new_id="b") as fork:
        assert contents(fork) == ["one", "two"]


def test_a_fork_that_was_not_stored_says_so(store: SessionStore) -> None:
    """The call can be made again with the same id."""
    begin(store, "a")
    with losing(False), pytest.raises(OSError, match="the connection was lost; nothing was written"):
        store.fork("a", new_id="b")
    with store.fork("a", new_id="b") as fork:
        assert contents(fork) == ["one", "two"]


@pytest.mark.parametrize("call", ["delete", "vacuum", "fork"])
def test_an_outcome_that_stays_unknown_is_an_error_of_its_own(store: SessionStore, call: str) -> None:
    """The server never answers again: nobody can say whether the call took effect."""
    begin(store, "a")
    calls: dict[str, Callable[[], Any]] = {
        "delete": lambda: store.delete("a"),
        "vacuum": lambda: store.vacuum("a", dry_run=False),
        "fork": lambda: store.fork("a", new_id="b"),
    }
    writing = SqlDatabase.writing
    begun: list[bool] = []

    def once(database: Any) -> Any:
        if begun:
            raise OSError("the server does not answer")
        begun.append(True)
        return writing(database)

    lost = losing(True), patch.object(SqlDatabase, "writing", once)
    with lost[0], lost[1], pytest.raises(OutcomeUnknown):
        calls[call]()
    assert issubclass(OutcomeUnknown, ConvtreeError)
    assert issubclass(OutcomeUnknown, OSError)


def test_a_fork_is_looked_for_again_when_the_look_fails(store: SessionStore) -> None:
    """The second connection may be lost, too."""
    begin(store, "a")
    read_at, failures = SqlLog.read_at, [OSError("the connection was lost")]

    def failing(log: SqlLog, spans: Any) -> list[bytes]:
        if failures:
            raise failures.pop()
        return read_at(log, spans)

    with losing(True):
        lookup = patch.object(SqlLog, "read_at", failing)
        with patch("convtree._logs.sql_whole.back_off", side_effect=lambda _: lookup.start() if failures else None):
            store.fork("a", new_id="b").close()
        lookup.stop()
    assert not failures


# --- an append that is tried again ---


def test_what_others_wrote_is_read_once_however_often_an_append_is_tried(store: SessionStore) -> None:
    """The second try is given the same lines of the other writer, and one more."""
    begin(store, "a")
    with store.open("a", on_stale="rebase") as slow, store.open("a") as other:
        other.append(user("news"))
        commit = Transaction.commit
        failures = [sql_errors.RolledBack("the connection was lost")] * 2

        def fail(transaction: Any, *last: Any) -> Any:
            if failures:
                raise failures.pop()
            return commit(transaction, *last)

        with patch.object(Transaction, "commit", fail):
            slow.append(user("mine"))
        assert (contents(slow), slow.findings) == (["one", "two", "news", "mine"], ())
        assert len(list(slow.records())) == 6
        slow.append(user("more"))
    with store.open("a", read_only=True) as session:
        assert (contents(session), session.findings) == (["one", "two", "news", "mine", "more"], ())


def test_an_append_whose_connection_is_lost_while_it_reads_starts_again(store: SessionStore) -> None:
    """Whatever part of a line was read."""
    begin(store, "a")
    scan, failures = Index.scan, [sql_errors.RolledBack("the connection was lost")]

    def fail(index: Index, *chunk: Any) -> None:
        scan(index, *chunk)
        if failures:
            raise failures.pop()

    with store.open("a", on_stale="rebase") as slow, store.open("a") as other:
        other.append(user("news"))
        with patch.object(Index, "scan", fail):
            slow.append(user("mine"))
        assert (contents(slow), slow.findings, failures) == (["one", "two", "news", "mine"], (), [])


def test_a_call_that_outlasts_the_close_leaves_no_connection(tmp_path: Path) -> None:
    """What it gives back to the pool is closed then, and not by the garbage collector."""
    database = SqlDatabase.connect(f"sqlite:///{tmp_path}/s.db", durability="process")
    database.create_tables()
    database.close()
    gc.disable()
    try:
        before = len(os.listdir("/dev/fd"))
        with database.reading() as execute:
            database.close()
            assert execute("SELECT 1") == [(1,)]
        assert len(os.listdir("/dev/fd")) == before
        with database.reading() as execute:  # a session that is still open connects again
            assert execute("SELECT 1") == [(1,)]
        assert len(os.listdir("/dev/fd")) == before
    finally:
        gc.enable()


# --- one that cannot be read is not one that is not there ---


def failing_once(when: int = 0) -> Any:
    """Loses the connection when a log is opened for the n-th time."""
    find, left = SqlLog._find, [when]

    def fail(log: SqlLog, **arguments: Any) -> Any:
        left[0] -= 1
        if left[0] == -1:
            raise OSError("the connection was lost")
        return find(log, **arguments)

    return patch.object(SqlLog, "_find", fail)


def test_a_search_that_cannot_read_a_session_raises(store: SessionStore) -> None:
    """It does not say that there are fewer hits."""
    begin(store, "a")
    with failing_once(), pytest.raises(OSError, match="the connection was lost"):
        store.search("one")
    assert [hit.entry_id for hit in store.search("one")] == ["one"]


def test_a_sub_agent_whose_parent_cannot_be_read_does_not_begin_without_an_owner(store: SessionStore) -> None:
    """Its owner is that of the parent, which is not known."""
    begin(store, "a", owner="ann")
    parent = ParentSession(id="a", kind="task")
    with failing_once(), pytest.raises(OSError, match="the connection was lost"):
        store.create(parent_session=parent)
    with store.create(id="b", parent_session=parent) as session:
        session.append(user("x"))
    assert store.info("b").owner == "ann"
    for id in ("nobody", "not an id"):  # a parent that is not here has no owner
        store.create(parent_session=ParentSession(id=id, kind="task")).close()


def test_a_cancelled_statement_is_a_timeout() -> None:
    """PostgreSQL says 57014 when `statement_timeout` is over."""
    error = sql_errors._os_error("57014", "here: canceled")
    assert (type(error), str(error)) == (TimeoutError, "here: canceled; nothing was written")
