"""The `SessionStore` of the Claude Agent SDK: transcripts as trees, with every line as it was.

    from convtree.adapters.claude_agent_sdk import ConvtreeSessionStore
    options = ClaudeAgentOptions(session_store=ConvtreeSessionStore("conversations"))

A transcript is a session, a line an entry, and rewinds are branches. The transcript of a sub-agent is a task of its
session. `load` gives the lines back in their order. A line with a known uuid is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec import UNSET

from convtree import (
    Branch,
    InvalidMessage,
    LeafMark,
    MessageEntry,
    Record,
    Session,
    SessionChanged,
    SessionInfo,
    SessionInfoMark,
    SessionNotFound,
    StaleLeaf,
    session_key,
)
from convtree.adapters._base import Closable, Engine, StoreLike, check_dicts
from convtree.adapters._claude_lines import Line, described, is_main, lines_of, lines_pointing_at, name_of, now
from convtree.adapters._claude_summaries import STATE, Summaries
from convtree.adapters._claude_tree import Growing
from convtree.adapters._cleaning import clean

try:
    from claude_agent_sdk import fold_session_summary
except ImportError as error:
    raise ImportError("convtree.adapters.claude_agent_sdk: run pip install 'convtree[claude-agent-sdk]'") from error

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStoreEntry, SessionStoreListEntry
    from claude_agent_sdk.types import SessionSummaryEntry

__all__ = ["ConvtreeSessionStore"]
T = TypeVar("T")


class ConvtreeSessionStore(Closable):
    """Transcripts of the Claude Agent SDK in a convtree store. Runs under asyncio and trio.

    Args:
        store: a folder, a URL, or a `convtree.SessionStore`, which stays the caller's.
    """

    def __init__(self, store: StoreLike = "conversations") -> None:
        self._engine = Engine(store, type(self).__name__)
        self._summaries = Summaries(self._engine.store)
        self._lock = Lock()  # protects what follows
        self._last_ms = 0

    # --- the SDK's protocol ---

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Appends lines, all or none; those with a known uuid are passed over.

        A line that `json.dumps` takes and a log does not comes back as it was, and is cleaned for everybody else.

        Raises:
            InvalidMessage: a line cannot be stored, for example because it is too long. Nothing was written.
            TypeError: one is not a dict.
        """
        self._engine.check_open()
        lines = cast("list[Line]", list(entries))
        check_dicts("entries", lines)
        if lines:
            await self._engine.write(lambda: self._append(key, lines))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Returns the lines of a transcript in the order in which they came; None if there is none.

        Entries of another origin are no lines: `log` has them.

        Raises:
            CorruptLog: lines of it are damaged; repair it first.
        """
        lines = await self._read(key, lines_of)
        return cast("list[SessionStoreEntry]", lines) if lines else None

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Returns the ids of a project's sessions, and when each was written last."""
        found = await ConvtreeSessionStore.list_session_summaries(self, project_key)  # not that of a subclass
        return [{"session_id": each["session_id"], "mtime": each["mtime"]} for each in found]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """Returns the SDK's summaries of a project's sessions. A session that has not changed is not read again."""
        found = await self._engine.read(lambda: self._summaries.of(project_key))
        return cast("list[SessionSummaryEntry]", found)

    async def delete(self, key: SessionKey) -> None:
        """Erases a transcript, and with a session the transcripts of its sub-agents.

        Raises:
            SessionHeld: one of them is on hold.
        """
        await self._engine.write(lambda: self._delete(key))

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Returns the subpaths of the sub-agents' transcripts of a session."""
        names = await self._engine.read(lambda: [each.key for each in self._tasks(key)])
        return [name[2] for name in names if isinstance(name, list | tuple) and len(name) == 3]

    # --- what a tree adds: the same names in every adapter ---

    def log(self, key: SessionKey) -> AbstractContextManager[Session]:
        """Gives the convtree session of a transcript: `with store.log(key) as log: log.path()`.

        Raises:
            SessionNotFound: when the block begins: there is no such transcript.
        """
        return self._engine.session(*name_of(key), create=False)

    async def branches(self, key: SessionKey) -> list[Branch]:
        """Returns the ways that a conversation went, see `convtree.Session.branches`. None for no transcript."""

        def read(log: Session) -> list[Branch]:
            return [each for each in log.branches() if log.path(each.leaf.id, last=1, type=MessageEntry)]

        return await self._read(key, read) or []

    async def branch(self, key: SessionKey, entry: str) -> None:
        """Lets Claude go on behind an earlier line when it resumes. What followed stays, as another branch.

        To begin anew, leave `resume` out: a session of Claude begins once.

        Args:
            key: the transcript.
            entry: the uuid of the last line to keep, or a label.

        Raises:
            SessionNotFound, EntryNotFound: there is no such transcript, or no such line in it.
        """
        await self._go_on(key, lambda log: log.resolve(entry))

    async def checkout(self, key: SessionKey, entry: str) -> None:
        """Lets Claude go on at the end of the branch that has a line, by its uuid or label."""
        await self._go_on(key, lambda log: log.tip(log.resolve(entry)))

    def close(self) -> None:
        """Closes the object. Its store is closed when no object of the process uses it any more."""
        self._engine.close()

    async def _read(self, key: SessionKey, work: Callable[[Session], T]) -> T | None:
        """Runs a function of a session that changes nothing. None if there is no such session."""

        def read() -> T | None:
            with suppress(SessionNotFound), self._engine.session(*name_of(key), create=False) as log:
                return work(log)
            return None

        return await self._engine.read(read)

    def _append(self, key: SessionKey, lines: Sequence[Line]) -> None:
        cleans = False
        with self._engine.session(*name_of(key), **described(self._engine.store, key, lines)) as log:
            while True:
                revision = log.revision
                records, state = self._records(log, key, lines, cleans=cleans)
                try:
                    if records:
                        log.extend(records, expect_revision=revision)
                except StaleLeaf:
                    log.refresh()
                except InvalidMessage:
                    if cleans:
                        raise
                    cleans = True
                else:
                    break
        if records and is_main(key):
            self._summaries.note(key["project_key"], log, state["entries"], state["summary"])

    def _records(
        self, log: Session, key: SessionKey, lines: Sequence[Line], *, cleans: bool
    ) -> tuple[list[Record], dict[str, Any]]:
        """Returns the records of the lines that are new, the last of which keeps a state; and this state."""
        growing = Growing(log, is_agents=not is_main(key), cleans=cleans)
        new = [line for line in lines if growing.add(line)]
        if not new:
            return [], {}
        records: list[Record] = [*growing.entries.values()]
        if growing.leaf != records[-1].id:
            records.append(LeafMark(target_id=growing.leaf, timestamp=now()))
        before = log.metadata.get(STATE) or {}
        state: dict[str, Any] = {"beside": growing.beside, "rank": growing.rank}
        state["entries"] = before.get("entries", 0) + len(new)
        if is_main(key):
            summary = fold_session_summary(before.get("summary"), key, cast("list[SessionStoreEntry]", new))
            state["summary"] = {**summary, "mtime": self._next_ms()}
        title = growing.title
        if cleans:
            state, title = clean(state).value, clean(title).value
        name = UNSET if title is None else title
        return [*records, SessionInfoMark(metadata={STATE: state}, name=name, timestamp=now())], state

    def _delete(self, key: SessionKey) -> None:
        ids = [session_key(*name_of(key))]
        self._summaries.forget(key["project_key"], ids[0])
        if is_main(key):  # with the session itself, or without one
            ids += [each.id for each in self._tasks(key)]
        while ids:
            with suppress(SessionChanged):  # it was written to meanwhile: again
                with suppress(SessionNotFound):
                    self._engine.store.delete(ids[0])
                del ids[0]

    def _tasks(self, key: SessionKey | SessionListSubkeysKey) -> list[SessionInfo]:
        children = self._engine.store.children(session_key(key["project_key"], key["session_id"]))
        return [each for each in children if each.parent_session is not None and each.parent_session.kind == "task"]

    async def _go_on(self, key: SessionKey, find: Callable[[Session], str]) -> None:
        """Appends the lines that make Claude Code resume behind an entry: it goes on where a branch ends."""

        def write() -> None:
            with self._engine.session(*name_of(key), create=False) as log:
                lines = lines_pointing_at(log, key["session_id"], find(log))
            self._append(key, lines)

        await self._engine.write(write)

    def _next_ms(self) -> int:
        """Returns the time in milliseconds since 1970; it rises with every call."""
        with self._lock:
            self._last_ms = max(time.time_ns() // 1_000_000, self._last_ms + 1)
            return self._last_ms
