"""The stores of frameworks, and convtree in their place, for `adapters.py`.

A store is measured through the calls that its framework makes. Messages are those of `conversation.py`. Where a
framework stores steps, a step has one message of that size.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from importlib import import_module
from itertools import count, islice
from typing import Any, ClassVar
from uuid import UUID

from conversation import CHAIN, KEPT, LoopPeer, Peer, messages, pieces
from harness import Batch, timed

import convtree

_SQL = "convtree.stores._sql"
_OURS = {
    "folder": ("convtree.stores._folder",),
    "SQLite": (_SQL, "convtree._logs.sqlite_connections"),
    "PostgreSQL": (_SQL, "sqlalchemy", "sqlalchemy.dialects.postgresql.psycopg", "psycopg"),
}


class Stored(Peer):
    """A store behind a framework. `calls` has what is measured, by name; `first` reads once in a new process.

    Attributes:
        modules: what is imported before the clock starts.
        where: "folder", "SQLite" or "PostgreSQL".
        durability: of convtree; empty for a store of the framework.
    """

    framework: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ()
    where: ClassVar[str] = "SQLite"
    durability: ClassVar[str] = ""

    def __init__(self) -> None:
        for name in (*self.modules, *(_OURS[self.where] if self.durability else ())):
            import_module(name)

    def open(self, url: str) -> None:
        """Opens the store."""
        raise NotImplementedError

    def calls(self) -> dict[str, Batch]:
        """Returns the measured calls of the store that is open."""
        raise NotImplementedError

    def first(self) -> int:
        """Reads as a new process does before it goes on; returns how much was found."""
        raise NotImplementedError


def _convtree(url: str, durability: str) -> Any:
    return convtree.open_store(url, durability="process" if durability == "process" else "power", create=True)


# --- OpenAI Agents SDK --------------------------------------------------------------------------------------------


class _Agents(LoopPeer, Stored):
    framework = "openai-agents"
    distribution = "openai-agents"
    chain: ClassVar[int] = CHAIN
    session: Any

    def make(self, path: str, entries: int) -> None:
        self.open(path)
        for chain in pieces(islice(messages(), entries), self.chain):
            self.run(self.session.add_items(chain))

    def calls(self) -> dict[str, Batch]:
        async def read(_: int) -> None:
            assert len(await self.session.get_items(limit=KEPT)) == KEPT

        return {
            "add_items of 2": self.awaited(self.session.add_items, pieces(messages(), 2)),
            "the last 50 items": self.awaited(read, count()),
        }

    def first(self) -> int:
        return len(self.run(self.session.get_items(limit=KEPT)))


class AgentsSQLite(_Agents):
    modules = ("agents",)
    name = "SQLiteSession"

    def open(self, url: str) -> None:
        from agents import SQLiteSession

        self.session = SQLiteSession("benchmark", url)


class AgentsAsync(_Agents):
    modules = ("agents.extensions.memory.async_sqlite_session",)
    name = "AsyncSQLiteSession"

    def open(self, url: str) -> None:
        from agents.extensions.memory import AsyncSQLiteSession

        self.session = AsyncSQLiteSession("benchmark", url)


class AgentsAdvanced(_Agents):
    modules = ("agents.extensions.memory.advanced_sqlite_session",)
    name = "AdvancedSQLiteSession"
    chain = 5_000  # every call reads the branch, so larger pieces create the same rows faster

    def open(self, url: str) -> None:
        from agents.extensions.memory import AdvancedSQLiteSession

        self.session = AdvancedSQLiteSession(session_id="benchmark", db_path=url, create_tables=True)


class AgentsServer(_Agents):
    modules = ("agents.extensions.memory.sqlalchemy_session", "asyncpg")
    name = "SQLAlchemySession"
    where = "PostgreSQL"

    def open(self, url: str) -> None:
        from agents.extensions.memory import SQLAlchemySession

        address = url.replace("postgresql+psycopg", "postgresql+asyncpg").replace("postgresql:", "postgresql+asyncpg:")
        self.session = SQLAlchemySession.from_url("benchmark", url=address, create_tables=True)


class _AgentsConvtree(_Agents):
    modules = ("convtree.adapters.openai_agents",)
    durability = "power"

    def open(self, url: str) -> None:
        from convtree.adapters.openai_agents import ConvtreeSession

        self.session = ConvtreeSession("benchmark", _convtree(url, self.durability))


# --- LangGraph ----------------------------------------------------------------------------------------------------


class _Graph(Stored):
    framework = "langgraph"
    distribution = "langgraph-checkpoint"
    saver: Any
    thread: ClassVar[Any] = {"configurable": {"thread_id": "benchmark", "checkpoint_ns": ""}}

    def make(self, path: str, entries: int) -> None:
        self.open(path)
        self.config = self.thread
        for message in islice(messages(), entries):
            self.put(message)

    def put(self, message: dict[str, Any]) -> None:
        """Stores a step whose state has one message."""
        from langgraph.checkpoint.base import empty_checkpoint

        step = self.step = getattr(self, "step", 0) + 1
        checkpoint = empty_checkpoint() | {
            "channel_values": {"said": message["content"]},
            "channel_versions": {"said": step},
        }
        metadata: Any = {"source": "loop", "step": step, "parents": {}}
        self.config = self.saver.put(self.config, checkpoint, metadata, {"said": step})

    def calls(self) -> dict[str, Batch]:
        found = self.saver.get_tuple(self.thread)
        self.config, self.step = found.config, found.metadata["step"]
        writes = ((("said", each["content"]),) for each in messages())
        tasks = (str(UUID(int=number)) for number in count(1))

        def put_writes(write: Any) -> None:
            self.saver.put_writes(self.config, write, next(tasks))

        return {
            "put": timed(self.put, messages()),
            "put_writes": timed(put_writes, writes),
            "get_tuple": timed(self.saver.get_tuple, (self.thread for _ in count())),
        }

    def first(self) -> int:
        return int(self.saver.get_tuple(self.thread) is not None)


class GraphSQLite(_Graph):
    modules = ("langgraph.checkpoint.sqlite",)
    name = "SqliteSaver"

    def open(self, url: str) -> None:
        from langgraph.checkpoint.sqlite import SqliteSaver

        self._manager = SqliteSaver.from_conn_string(url)
        self.saver = self._manager.__enter__()

    def close(self) -> None:
        self._manager.__exit__(None, None, None)


class GraphServer(_Graph):
    modules = ("langgraph.checkpoint.postgres", "psycopg")
    name = "PostgresSaver"
    where = "PostgreSQL"

    def open(self, url: str) -> None:
        from langgraph.checkpoint.postgres import PostgresSaver

        self._manager = PostgresSaver.from_conn_string(url.replace("+psycopg", ""))
        self.saver = self._manager.__enter__()
        self.saver.setup()

    def close(self) -> None:
        self._manager.__exit__(None, None, None)


class _GraphConvtree(_Graph):
    modules = ("convtree.adapters.langgraph",)
    durability = "power"

    def open(self, url: str) -> None:
        from convtree.adapters.langgraph import ConvtreeSaver

        self._store = _convtree(url, self.durability)
        self.saver = ConvtreeSaver(self._store)

    def close(self) -> None:
        self._store.close()


# --- Google ADK ---------------------------------------------------------------------------------------------------


class _Adk(LoopPeer, Stored):
    framework = "google-adk"
    distribution = "google-adk"
    service: Any
    who: ClassVar[dict[str, str]] = {"app_name": "app", "user_id": "ann", "session_id": "benchmark"}

    def event(self, message: dict[str, Any]) -> Any:
        from google.adk.events import Event
        from google.genai import types

        role = "user" if message["role"] == "user" else "model"
        content = types.Content(role=role, parts=[types.Part(text=message["content"])])
        return Event(author="user" if role == "user" else "agent", invocation_id="i", content=content)

    def make(self, path: str, entries: int) -> None:
        self.open(path)
        session = self.run(self.service.create_session(**self.who))
        for message in islice(messages(), entries):
            self.run(self.service.append_event(session, self.event(message)))

    def recent(self) -> Coroutine[Any, Any, Any]:
        from google.adk.sessions.base_session_service import GetSessionConfig

        return self.service.get_session(**self.who, config=GetSessionConfig(num_recent_events=KEPT))  # type: ignore[no-any-return]

    def calls(self) -> dict[str, Batch]:
        session = self.run(self.recent())

        async def append(event: Any) -> None:
            await self.service.append_event(session, event)

        async def read(_: int) -> None:
            assert len((await self.recent()).events) == KEPT

        return {
            "append_event": self.awaited(append, (self.event(each) for each in messages())),
            "the last 50 events": self.awaited(read, count()),
        }

    def first(self) -> int:
        return len(self.run(self.recent()).events)


class AdkSQLite(_Adk):
    modules = ("google.adk.sessions.sqlite_session_service",)
    name = "SqliteSessionService"

    def open(self, url: str) -> None:
        from google.adk.sessions.sqlite_session_service import SqliteSessionService

        self.service = SqliteSessionService(url)


class _AdkConvtree(_Adk):
    modules = ("convtree.adapters.google_adk",)
    durability = "power"

    def open(self, url: str) -> None:
        from convtree.adapters.google_adk import ConvtreeSessionService

        self.service = ConvtreeSessionService(_convtree(url, self.durability))


# --- Claude Agent SDK ---------------------------------------------------------------------------------------------


class _Claude(LoopPeer, Stored):
    framework = "claude-agent-sdk"
    distribution = "claude-agent-sdk"
    store: Any
    key: ClassVar[Any] = {"project_key": "benchmark", "session_id": str(UUID(int=1))}

    def make(self, path: str, entries: int) -> None:
        self.open(path)
        for chain in pieces(islice(self.lines(1), entries), CHAIN):
            self.run(self.store.append(self.key, chain))

    def lines(self, first: int) -> Iterator[dict[str, Any]]:
        """Yields lines of a transcript, from a number on."""
        placed = {"sessionId": self.key["session_id"], "isSidechain": False, "timestamp": "2026-01-01T00:00:00.000Z"}
        for number, message in zip(count(first), messages(), strict=False):
            line = {"type": message["role"], "uuid": str(UUID(int=number)), "message": message} | placed
            yield line | {"parentUuid": str(UUID(int=number - 1)) if number > 1 else None}

    def calls(self) -> dict[str, Batch]:
        there = len(self.run(self.store.load(self.key)))

        async def append(lines: Any) -> None:
            await self.store.append(self.key, lines)

        async def load(_: int) -> None:
            assert len(await self.store.load(self.key)) >= there

        return {
            "append of 2 lines": self.awaited(append, pieces(self.lines(there + 1), 2)),
            "load of all": self.awaited(load, count()),
        }

    def first(self) -> int:
        return len(self.run(self.store.load(self.key)))


class _ClaudeConvtree(_Claude):
    modules = ("convtree.adapters.claude_agent_sdk",)
    durability = "power"

    def open(self, url: str) -> None:
        from convtree.adapters.claude_agent_sdk import ConvtreeSessionStore

        self.store = ConvtreeSessionStore(_convtree(url, self.durability))


# --- all of them --------------------------------------------------------------------------------------------------


def _kinds(base: type[Stored]) -> list[type[Stored]]:
    """Returns convtree behind a framework, on every store."""
    kinds = (("folder", "power"), ("folder", "process"), ("SQLite", "power"), ("PostgreSQL", "power"))
    made = []
    for where, durability in kinds:
        name = f"convtree, {where}" + (', durability="process"' if durability == "process" else "")
        made.append(type(name, (base,), {"name": name, "where": where, "durability": durability}))
    return made


STORES: dict[str, list[type[Stored]]] = {
    "openai-agents": [AgentsSQLite, AgentsAsync, AgentsAdvanced, AgentsServer, *_kinds(_AgentsConvtree)],
    "langgraph": [GraphSQLite, GraphServer, *_kinds(_GraphConvtree)],
    "google-adk": [AdkSQLite, *_kinds(_AdkConvtree)],
    "claude-agent-sdk": _kinds(_ClaudeConvtree),  # the SDK has a store in memory only
}
