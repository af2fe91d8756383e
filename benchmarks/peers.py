"""The peers. Each is used as its documentation says. Its data is created in the way that is cheapest for it.

Creating a peer imports its packages, so that no import is timed.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from conversation import CHAIN, KEPT, SUMMARY, LoopPeer, Peer, messages, pieces
from harness import Batch, Figure, timed

# --- databases ----------------------------------------------------------------------------------------------------


class SQLiteTable(Peer):
    """sqlite3 written by hand and written well: integer keys, a parent_id, one recursive query."""

    name = "sqlite3 by hand"
    file = "table.sqlite"

    _SCHEMA = """
        PRAGMA journal_mode = WAL;
        CREATE TABLE entry (id INTEGER PRIMARY KEY, parent_id INTEGER, first_kept_id INTEGER, body BLOB NOT NULL);
        CREATE TABLE head (leaf_id INTEGER);
        INSERT INTO head VALUES (NULL);
    """
    _INSERT = "INSERT INTO entry (parent_id, first_kept_id, body) VALUES (?, ?, ?)"
    _CONTEXT = """
        WITH RECURSIVE path (id, parent_id, body, stop, depth) AS (
            SELECT id, parent_id, body, first_kept_id, 0 FROM entry WHERE id = (SELECT leaf_id FROM head)
            UNION ALL
            SELECT entry.id, entry.parent_id, entry.body, coalesce(path.stop, entry.first_kept_id), depth + 1
            FROM path JOIN entry ON entry.id = path.parent_id WHERE path.id IS NOT path.stop
        ) SELECT body FROM path ORDER BY depth DESC
    """

    def __init__(self) -> None:
        import orjson

        self.dumps, self.loads = orjson.dumps, orjson.loads

    @classmethod
    def version(cls) -> str:
        return sqlite3.sqlite_version

    def open(self, path: str) -> None:
        self.database = sqlite3.connect(path, isolation_level=None)

    def make(self, path: str, entries: int) -> None:
        self.open(path)
        self.database.executescript(self._SCHEMA + "PRAGMA synchronous = OFF;")
        self.leaf = None
        for chain in pieces(islice(messages(), entries - 1)):
            self.append(chain)
        self.append([{"role": "user", "content": SUMMARY}], first_kept=(self.leaf or 0) - KEPT + 1)
        self.close()

    def append(self, chain: list[dict[str, Any]], first_kept: int | None = None) -> None:
        """Appends messages in one transaction, as children of the leaf."""
        self.database.execute("BEGIN IMMEDIATE")
        for message in chain:
            self.leaf = self.database.execute(self._INSERT, (self.leaf, first_kept, self.dumps(message))).lastrowid
        self.database.execute("UPDATE head SET leaf_id = ?", (self.leaf,))
        self.database.execute("COMMIT")

    def resume(self, path: str) -> int:
        self.open(path)
        return len([self.loads(body) for (body,) in self.database.execute(self._CONTEXT)])

    read_all = resume

    def make_short(self, path: str, entries: int) -> None:
        self.open(path)
        self.database.executescript(self._SCHEMA + "PRAGMA synchronous = OFF;")
        self.leaf = None
        for message in islice(messages(), entries):
            self.append([message])
        self.close()

    def batch(self, path: str, length: int) -> Batch:
        self.open(path)
        self.database.execute("PRAGMA synchronous = FULL")
        (self.leaf,) = self.database.execute("SELECT leaf_id FROM head").fetchone()
        return timed(self.append, pieces(messages(), length))

    def appender(self, path: str) -> Batch:
        return self.batch(path, 1)

    def many(self, path: str) -> Batch:
        """One call appends 100 messages in one transaction."""
        return self.batch(path, 100)

    def close(self) -> None:
        self.database.close()


class _KeyValues(Peer):
    """An embedded store of keys and values, as the physical reference of a durable append: a number and a text."""

    def __init__(self) -> None:
        import orjson

        self.dumps = orjson.dumps

    def put(self, key: bytes, value: bytes) -> object:
        raise NotImplementedError

    def add(self, chain: list[dict[str, Any]]) -> None:
        for message in chain:
            self.put(self.count.to_bytes(8), self.dumps(message))
            self.count += 1

    def make(self, path: str, entries: int) -> None:
        """Creates nothing: what an append costs does not depend on the number of keys."""

    def appender(self, path: str) -> Batch:
        self.count = 0
        self.open(path)
        return timed(self.add, pieces(messages(), 1))

    def open(self, path: str) -> None:
        raise NotImplementedError


class RocksDB(_KeyValues):
    """RocksDB, whose log is synced by every write."""

    name = "RocksDB"
    file = "rocks"
    distribution = "rocksdict"

    def open(self, path: str) -> None:
        from rocksdict import Options, Rdict, WriteOptions

        synced = WriteOptions()
        synced.sync = True
        self.database = Rdict(f"{path}.{os.getpid()}", Options(raw_mode=True))
        self.database.set_write_options(synced)

    def put(self, key: bytes, value: bytes) -> None:
        self.database[key] = value

    def close(self) -> None:
        self.database.close()


class LMDB(_KeyValues):
    """LMDB, which syncs every transaction."""

    name = "LMDB"
    file = "lmdb"
    distribution = "lmdb"

    def open(self, path: str) -> None:
        import lmdb

        self.environment = lmdb.open(f"{path}.{os.getpid()}", map_size=2**30)

    def put(self, key: bytes, value: bytes) -> None:
        with self.environment.begin(write=True) as transaction:
            transaction.put(key, value)

    def close(self) -> None:
        self.environment.close()


class AgentsSQLite(LoopPeer):
    """The flat session of the OpenAI Agents SDK. It has no compaction, so the last 50 items are requested."""

    name = "SQLiteSession"
    file = "agents.sqlite"
    distribution = "openai-agents"
    chain: ClassVar[int] = CHAIN

    def __init__(self) -> None:
        super().__init__()
        from agents import SQLiteSession

        self.session_type: Any = SQLiteSession

    def open(self, path: str) -> None:
        self.session = self.session_type("benchmark", path)

    def make(self, path: str, entries: int) -> None:
        self.open(path)
        for chain in pieces(islice(messages(), entries), self.chain):
            self.run(self.session.add_items(chain))
        self.close()

    def resume(self, path: str) -> int:
        self.open(path)
        return len(self.run(self.session.get_items(limit=KEPT)))

    def make_short(self, path: str, entries: int) -> None:
        self.make(path, entries)

    def read_all(self, path: str) -> int:
        self.open(path)
        return len(self.run(self.session.get_items()))

    def appender(self, path: str) -> Batch:
        self.open(path)
        return self.awaited(self.session.add_items, pieces(messages(), 1))

    def many(self, path: str) -> Batch:
        """One call adds 100 items."""
        self.open(path)
        return self.awaited(self.session.add_items, pieces(messages(), 100))

    def close(self) -> None:
        self.session.close()
        super().close()


class AgentsAdvanced(AgentsSQLite):
    """The session with branches of the OpenAI Agents SDK."""

    name = "AdvancedSQLiteSession"
    file = "advanced.sqlite"
    chain = 5_000  # every call reads the branch, so larger pieces create the same rows faster

    def __init__(self) -> None:
        super().__init__()
        from agents.extensions.memory import AdvancedSQLiteSession

        self.session_type = AdvancedSQLiteSession

    def open(self, path: str) -> None:
        self.session = self.session_type(session_id="benchmark", db_path=path, create_tables=True)


class LangGraph(Peer):
    """The checkpointer of LangGraph. The messages are the state, so every step stores all of them."""

    name = "SqliteSaver"
    file = "checkpoints.sqlite"
    distribution = "langgraph-checkpoint-sqlite"
    most = 100_000
    why_no_more = "a checkpoint is the whole state"

    def __init__(self) -> None:
        from langgraph.checkpoint.base import empty_checkpoint
        from langgraph.checkpoint.sqlite import SqliteSaver

        self.empty_checkpoint, self.saver_type = empty_checkpoint, SqliteSaver

    def open(self, path: str) -> None:
        self.manager = self.saver_type.from_conn_string(path)
        self.saver = self.manager.__enter__()
        self.config: Any = {"configurable": {"thread_id": "benchmark", "checkpoint_ns": ""}}

    def put(self, state: list[dict[str, Any]]) -> None:
        """Stores the state as the graph does after a step."""
        step = len(state)
        checkpoint = self.empty_checkpoint()
        checkpoint["channel_values"] = {"messages": state}
        checkpoint["channel_versions"] = {"messages": step}
        metadata = {"source": "loop", "step": step, "parents": {}}
        self.config = self.saver.put(self.config, checkpoint, metadata, {"messages": step})

    def make(self, path: str, entries: int) -> None:
        """Stores the last checkpoint only. All of them would take quadratic space, and resuming reads one."""
        self.open(path)
        self.put(list(islice(messages(), entries)))
        self.close()

    def state(self) -> list[dict[str, Any]]:
        found = self.saver.get_tuple({"configurable": {"thread_id": "benchmark"}})
        self.config = found.config
        state: list[dict[str, Any]] = found.checkpoint["channel_values"]["messages"]
        return state

    def resume(self, path: str) -> int:
        self.open(path)
        return len(self.state()[-KEPT:])

    def appender(self, path: str) -> Batch:
        self.open(path)
        state = self.state()

        def step(message: dict[str, Any]) -> None:
            state.append(message)
            self.put(state)

        return timed(step, messages())

    def close(self) -> None:
        self.manager.__exit__(None, None, None)


# --- pi -----------------------------------------------------------------------------------------------------------


def write_pi_session(path: str, entries: int) -> None:
    """Writes a session in pi's format, version 3, with the content that pi's own writer would produce."""
    stamp = "2026-01-01T00:00:00.000Z"
    source, parent = messages(), None

    def line(kind: str, number: int, **fields: Any) -> str:
        entry = {"type": kind, "id": f"{number:08x}", "parentId": parent, "timestamp": stamp, **fields}
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"

    header = {"type": "session", "version": 3, "id": "benchmark", "timestamp": stamp, "cwd": os.path.dirname(path)}
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(header, separators=(",", ":")) + "\n")
        for number in range(1, entries):
            file.write(line("message", number, message=pi_message(next(source))))
            parent = f"{number:08x}"
        kept = f"{entries - KEPT:08x}"
        file.write(line("compaction", entries, summary=SUMMARY, firstKeptEntryId=kept, tokensBefore=entries * 240))


def pi_message(message: dict[str, Any]) -> dict[str, Any]:
    """Makes a message in pi's format: text of the user as a string, text of the assistant as a block."""
    if message["role"] == "user":
        return message | {"timestamp": 1767225600000}
    content = [{"type": "text", "text": message["content"]}]
    return {"role": "assistant", "content": content, "stopReason": "stop", "timestamp": 1767225600000}


class Pi(Peer):
    """pi's SessionManager, run and timed by node. The import of its module is not counted."""

    name = "pi"
    file = "pi.jsonl"
    # The bundle that `pi` itself runs; it needs no other package.
    _MODULE = "node_modules/@earendil-works/pi-coding-agent"
    npm: ClassVar[Path] = Path()

    @classmethod
    def missing(cls, npm: Path) -> str | None:
        if not (npm / cls._MODULE).is_dir():
            return "skipped, `@earendil-works/pi-coding-agent` is not installed (--npm)"
        if cls.node(npm) is None:
            return "skipped, there is no `node`"
        cls.npm = npm
        return None

    @classmethod
    def version(cls) -> str:
        node = subprocess.run([str(cls.node(cls.npm)), "--version"], capture_output=True, text=True, check=True)
        package = json.loads((cls.npm / cls._MODULE / "package.json").read_text())
        return f"{package['version']} (node {node.stdout.strip().removeprefix('v')})"

    @staticmethod
    def node(npm: Path) -> str | None:
        """Returns the path of node: the one installed with the package, or that of the system."""
        return shutil.which("node", path=npm / "node_modules/.bin") or shutil.which("node")

    def make(self, path: str, entries: int) -> None:
        write_pi_session(path, entries)

    def start(self) -> None:
        script = Path(__file__).with_name("pi.mjs")
        module = self.npm / self._MODULE / "dist/bundle/index.js"
        command = [str(self.node(self.npm)), str(script), str(module)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *request: Any) -> Any:
        """Sends a request to node and waits for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def resumed(self, path: str) -> Figure:
        self.start()
        found: Figure = self.ask("resume", path)
        self.close()
        return found

    def appender(self, path: str) -> Batch:
        self.start()
        self.ask("open", path)
        return lambda calls: self.ask("append", calls)

    def close(self) -> None:
        self.process.communicate()


class PiPython(LoopPeer):
    """The Python port of pi's session storage."""

    name = "pi-agent-harness-lc"
    file = "pi-python.jsonl"
    distribution = "pi-agent-harness-lc"
    most = 100_000
    why_no_more = "a path of n entries costs it n² moves"

    def __init__(self) -> None:
        super().__init__()
        from pi_agent_harness.session import JsonlSessionStorage, Session

        self.storage_type, self.session_type = JsonlSessionStorage, Session

    def make(self, path: str, entries: int) -> None:
        write_pi_session(path, entries)

    def open(self, path: str) -> None:
        self.session = self.session_type(self.run(self.storage_type.open_path(path)))

    def resume(self, path: str) -> int:
        self.open(path)
        return len(self.run(self.session.build_context()).messages)

    def appender(self, path: str) -> Batch:
        self.open(path)
        return self.awaited(self.session.append_message, map(pi_message, messages()))
