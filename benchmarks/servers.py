"""Conversations on a PostgreSQL server: convtree, the floors, and the peers. A path here is the URL of a database.

Each is used as its documentation says: convtree with psycopg 3, the Agents SDK with asyncpg, which prepares its
statements, and LangGraph with a connection in autocommit mode and a pipeline for each put.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import module_from_spec, spec_from_file_location
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from conversation import KEPT, SUMMARY, LoopPeer, Peer, messages, pieces
from harness import Batch, timed
from peers import AgentsSQLite, LangGraph

ID = "benchmark"


def absent(needs: tuple[str, ...]) -> str | None:
    """Returns a note about the first distribution that is not installed, or None."""
    for each in needs:
        try:
            version(each)
        except PackageNotFoundError:
            return f"skipped, `{each}` is not installed"
    return None


class ServerPeer(Peer):
    """A conversation on a server."""

    needs: ClassVar[tuple[str, ...]] = ()  # distributions

    @classmethod
    def missing(cls, npm: Path) -> str | None:
        del npm
        return absent(cls.needs)

    def connect(self, url: str) -> None:
        """Connects to the server."""
        raise NotImplementedError

    def fetch(self) -> int:
        """Opens the conversation on an open connection and reads the last 50 messages. Returns their number."""
        raise NotImplementedError

    def resume(self, path: str) -> int:
        self.connect(path)
        return self.fetch()


# --- convtree, and the floors -------------------------------------------------------------------------------------


class Convtree(ServerPeer):
    """A session of `open_store("postgresql://…")`."""

    name = "convtree"
    distribution = "convtree"
    needs = ("sqlalchemy", "psycopg")

    def __init__(self) -> None:
        import psycopg  # noqa: F401  # the imports are not counted
        import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

        import convtree
        import convtree.stores._open
        import convtree.stores._sql

        self.convtree = convtree

    def connect(self, url: str) -> None:
        self.store = self.convtree.open_store(url, create=True)

    def make(self, path: str, entries: int) -> None:
        """Writes and closes the session, then opens it again, compacts and closes it, as two requests would."""
        with self.convtree.open_store(path, create=True) as store:
            with store.create(id=ID) as session:
                ids = [
                    each.id for chain in pieces(islice(messages(), entries - 1)) for each in session.append_many(chain)
                ]
            with store.open(ID) as session:
                session.append(self.convtree.CompactionEntry(summary=SUMMARY, first_kept_entry_id=ids[-KEPT]))

    def fetch(self) -> int:
        with self.store.open(ID) as session:
            return len(session.build_context().messages)

    def appender(self, path: str) -> Batch:
        self.connect(path)
        return timed(self.store.open(ID).append, messages())

    def close(self) -> None:
        self.store.close()


class Statements(ServerPeer):
    """The two SQL statements of convtree's append behind another writer, with psycopg in one transaction.

    The values are created before the clock starts. No line or checksum is made, and nothing is checked.
    """

    name = "psycopg, the same two statements"
    needs = ("sqlalchemy", "psycopg")  # the first creates the tables
    session_id: ClassVar[str] = "statements"

    def __init__(self) -> None:
        import psycopg
        import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

        import convtree
        from convtree._catalogue import record_summary, tables

        self.psycopg, self.convtree, self.tables, self.record_summary = psycopg, convtree, tables, record_summary
        self.update, self.insert = map(_by_name, (tables.ADVANCE, self.insert_of_convtree()))

    def insert_of_convtree(self) -> str:
        found: list[str] = []
        self.tables.add_lines(lambda sql, _: found.append(sql) or [], ())
        return found[0]

    def make(self, path: str, entries: int) -> None:
        with self.convtree.open_store(path, create=True) as store, store.create(id=self.session_id) as session:
            for chain in pieces(islice(messages(), entries)):
                session.append_many(chain)

    def appender(self, path: str) -> Batch:
        self.connection = self.psycopg.connect(_plain(path), prepare_threshold=None)
        (start,) = self.connection.execute(
            "SELECT size FROM ct_sessions WHERE session_id = %s", [self.session_id]
        ).fetchone()
        self.connection.commit()

        def append(values: tuple[Any, Any]) -> None:
            self.connection.execute(self.update, values[0]).fetchall()
            self.connection.execute(self.insert, values[1])
            self.connection.commit()

        return timed(append, self.values(start))

    def values(self, position: int) -> Iterator[tuple[Any, Any]]:
        """Yields the values that an append binds, with lines of convtree's length."""
        parent, session = None, self.convtree.Session.memory()
        for message in messages():
            entry = session.append(message)
            each = self.record_summary.summarise_record(entry)._replace(parent_id=parent)
            line = json.dumps(
                {
                    "type": "message",
                    "id": each.id,
                    "parent_id": parent,
                    "timestamp": entry.timestamp,
                    "message": message,
                    "crc": "00000000",
                },
                separators=(",", ":"),
            )
            yield (
                self.tables.update_session_row(self.session_id, [each], len(line) + 1, 2**31),
                self.tables.line_of(self.session_id, position, each, line),
            )
            parent, position = each.id, position + len(line) + 1

    def close(self) -> None:
        self.connection.close()


class FewestColumns(Statements):
    """The same, with only the columns that a log and its search need."""

    name = "psycopg, the fewest columns"
    session_id = "fewest"

    def __init__(self) -> None:
        super().__init__()
        self.update = "UPDATE ct_sessions SET size = size + %(grown)s WHERE session_id = %(session_id)s RETURNING size"
        self.insert = (
            "INSERT INTO ct_lines (session_id, position, id, type, visible_to, excerpt, words, line) VALUES "
            "(%(session_id)s, %(position)s, %(id)s, %(type)s, %(visible_to)s, %(excerpt)s, %(words)s, %(line)s)"
        )


class OneStatement(Statements):
    """An append as one statement, with the conditions of convtree's. The values are created before the clock starts."""

    name = "psycopg, one statement"
    session_id = "one-statement"

    def appender(self, path: str) -> Batch:
        return timed(self.append, self.statements(path, self.session_id))

    def append(self, values: tuple[str, Any]) -> None:
        """Runs one statement, which commits by itself."""
        assert self.connection.execute(*values).fetchall() == [(True,)]

    def statements(self, path: str, session_id: str) -> Iterator[tuple[str, Any]]:
        """Connects, and yields the statements of appends after the last line of a session."""
        self.connection = self.psycopg.connect(_plain(path), prepare_threshold=None, autocommit=True)
        row = self.connection.execute(
            "SELECT size, last_crc, created_ms, (SELECT MAX(position) FROM ct_lines l WHERE l.session_id = "
            "s.session_id) FROM ct_sessions s WHERE session_id = %s",
            [session_id],
        ).fetchone()
        size, crc, created_ms, position = row
        for changes, line in self.values(size):
            after = {"after_size": size, "after_crc": crc, "after_position": position}
            same = {"created_ms": created_ms, "rewrites": 0, "session_id": session_id}
            sql, values = self.statement_of({**changes, **after, **same}, {**line, **same})
            yield _by_name(sql), values
            size, crc, position = size + changes["grown"], changes["crc"], size

    def statement_of(self, changes: dict[str, Any], line: dict[str, Any]) -> tuple[str, Any]:
        """Returns the statement and its values."""
        columns = [name for name in self.tables.LINE_COLUMNS if name != "session_id"]
        numbers = ("position", "time_ms", "said_ms")
        values = ", ".join(f"CAST(:{each} AS {'BIGINT' if each in numbers else 'TEXT'})" for each in columns)
        same = " AND created_ms = :created_ms AND rewrites = :rewrites AND copying_to IS NULL"
        return (
            f"WITH changed AS ({self.tables.UPDATE_ROW.format(condition=self.tables.IS_AFTER + same)} RETURNING "
            f"session_id), added AS (INSERT INTO ct_lines (session_id, {', '.join(columns)}) "
            f"SELECT session_id, {values} FROM changed) SELECT TRUE FROM changed"
        ), {**changes, **line}


class SameCall(OneStatement):
    """The call of a function on the server that is convtree's append. Values are created before the clock starts."""

    name = "psycopg, the same call"
    session_id = "same-call"

    def statement_of(self, changes: dict[str, Any], line: dict[str, Any]) -> tuple[str, Any]:
        from convtree._catalogue.append_statement import append_statement

        return append_statement(changes, [line], ())


def _by_name(sql: str) -> str:
    return re.sub(r":(\w+)", r"%(\1)s", sql)


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg:", "postgresql:")


# --- peers --------------------------------------------------------------------------------------------------------


class AgentsPostgres(AgentsSQLite, ServerPeer):
    """The flat session of the OpenAI Agents SDK. It has no compaction, so the last 50 items are requested."""

    name = "SQLAlchemySession"
    needs = ("openai-agents", "sqlalchemy", "asyncpg")

    @classmethod
    def missing(cls, npm: Path) -> str | None:
        del npm
        return absent(cls.needs)

    def __init__(self) -> None:
        LoopPeer.__init__(self)
        import asyncpg  # noqa: F401
        import sqlalchemy.dialects.postgresql.asyncpg
        import sqlalchemy.ext.asyncio  # noqa: F401
        from agents.extensions.memory import SQLAlchemySession

        self.session_type = SQLAlchemySession

    def connect(self, url: str, create: bool = False) -> None:
        url = _plain(url).replace("postgresql:", "postgresql+asyncpg:")
        self.session = self.session_type.from_url(ID, url=url, create_tables=create)

    def open(self, path: str) -> None:
        self.connect(path)

    def make(self, path: str, entries: int) -> None:
        self.connect(path, create=True)
        for chain in pieces(islice(messages(), entries)):
            self.run(self.session.add_items(chain))
        self.close()

    def fetch(self) -> int:
        return len(self.run(self.session.get_items(limit=KEPT)))

    def resume(self, path: str) -> int:
        return ServerPeer.resume(self, path)

    def close(self) -> None:
        self.run(self.session.engine.dispose())
        LoopPeer.close(self)


class LangGraphPostgres(LangGraph, ServerPeer):
    """The checkpointer of LangGraph. The messages are the state, so every step stores all of them."""

    name = "PostgresSaver"
    distribution = "langgraph-checkpoint-postgres"
    needs = ("langgraph-checkpoint-postgres", "psycopg")
    most = 10_000

    @classmethod
    def missing(cls, npm: Path) -> str | None:
        del npm
        return absent(cls.needs)

    def __init__(self) -> None:
        from langgraph.checkpoint.base import empty_checkpoint
        from langgraph.checkpoint.postgres import PostgresSaver

        self.empty_checkpoint, self.saver_type = empty_checkpoint, PostgresSaver

    def connect(self, url: str) -> None:
        LangGraph.open(self, _plain(url))

    def open(self, path: str) -> None:
        self.connect(path)

    def make(self, path: str, entries: int) -> None:
        self.connect(path)
        self.saver.setup()
        self.close()
        super().make(path, entries)

    def fetch(self) -> int:
        return len(self.state()[-KEPT:])

    def resume(self, path: str) -> int:
        return ServerPeer.resume(self, path)


_PEERS = (Convtree, OneStatement, SameCall, Statements, FewestColumns, AgentsPostgres, LangGraphPostgres)
SERVER_PEERS: dict[str, type[ServerPeer]] = {peer.name: peer for peer in _PEERS}


# --- the server ---------------------------------------------------------------------------------------------------


class NoServer(Exception):
    """No server is available. The message has the reason."""


@contextmanager
def server(url: str | None) -> Iterator[Callable[[], str]]:
    """Yields a function that creates an empty database on the server of `url`, or on a private one that syncs.

    The databases are removed afterwards. The private server is that of the tests, so it needs a checkout.

    Raises:
        NoServer: no server is available.
    """
    for each in Convtree.needs:
        try:
            version(each)
        except PackageNotFoundError:
            raise NoServer(f"skipped, `{each}` is not installed") from None
    path = Path(__file__).parents[1] / "tests/private_postgres.py"
    spec = spec_from_file_location(path.stem, path)
    if not path.exists() or spec is None or spec.loader is None:
        raise NoServer("skipped, a private server can only be started in a checkout")
    postgres = module_from_spec(spec)
    spec.loader.exec_module(postgres)
    with ExitStack() as ends:
        if url is None:
            try:
                url = ends.enter_context(postgres.private_server(sync=True)).url
            except postgres.Absent as reason:
                raise NoServer(f"skipped, {reason}") from None
        yield lambda: ends.enter_context(postgres.new_database(url))


def server_version(url: str) -> str:
    """Returns the version of the server and its sync settings."""
    import psycopg

    with psycopg.connect(_plain(url)) as connection:
        shown = [
            connection.execute(f"SHOW {name}").fetchone() for name in ("server_version", "fsync", "synchronous_commit")
        ]
    number, fsync, commit = (row[0] for row in shown if row)
    return f"{number.split()[0]} (fsync {fsync}, synchronous_commit {commit})"
