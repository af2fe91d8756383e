"""The history of Microsoft Agent Framework: sessions as trees, each message with the framework's own contents.

    from convtree.adapters.agent_framework import ConvtreeHistoryProvider
    agent = Agent(client=client, context_providers=[ConvtreeHistoryProvider("conversations")])

A message is an entry of the shape "agent-framework". The messages of a session are those on the path to its leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from itertools import islice
from typing import Any, ClassVar, TypeVar

from convtree import Branch, Session, StaleLeaf
from convtree.adapters._base import Engine, StoreLike
from convtree.adapters._cleaning import append_clean

try:
    from agent_framework import HistoryProvider, Message
except ImportError as error:
    raise ImportError("convtree.adapters.agent_framework: run pip install 'convtree[agent-framework]'") from error
try:  # a private part of the framework, from 1.20 on: what it gives twice is stored once
    from agent_framework._sessions import filter_new_messages
except ImportError:
    filter_new_messages = None

from convtree.adapters._agent_framework_messages import entries_of, message_of, upwards

__all__ = ["ConvtreeHistoryProvider"]

T = TypeVar("T")

_DEFAULT = "default"  # the session of runs without an id (None), as in the framework's own provider of files

# of the run that is being stored: its model and its usage
_paid: ContextVar[tuple[str | None, dict[str, Any] | None]] = ContextVar("_paid", default=(None, None))


class ConvtreeHistoryProvider(HistoryProvider):
    """The history of agents in a convtree store. Any number of processes may share it.

    What JSON cannot hold is cleaned: an entry says what was changed in `extra["cleaned"]`. A message that is too long
    raises `convtree.InvalidMessage`, and nothing of its run is stored.

    Args:
        store: a folder, a URL, or a `convtree.SessionStore`, which stays the caller's.
        source_id: the framework's id of this provider.
        load_messages: whether agents get the history. False for an audit log.
        skip_excluded: leaves out messages that a compaction of the framework has marked as excluded.
        options: the framework's `store_inputs`, `store_outputs`, `store_context_messages`, `store_context_from`.
    """

    DEFAULT_SOURCE_ID: ClassVar[str] = "convtree"

    def __init__(
        self,
        store: StoreLike = "conversations",
        *,
        source_id: str = DEFAULT_SOURCE_ID,
        load_messages: bool = True,
        skip_excluded: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(source_id, load_messages=load_messages, **options)
        self.skip_excluded = skip_excluded
        self._engine = Engine(store)
        self._is_closed = False

    # --- the framework's protocol ---

    async def get_messages(
        self,
        session_id: str | None,
        *,
        state: dict[str, Any] | None = None,  # noqa: ARG002  # history is in the store
        **_: Any,
    ) -> list[Message]:
        """Returns the messages of a session in order."""
        found = await self._read(session_id, lambda log: [*map(message_of, upwards(log, log.leaf_id))][::-1])
        if self.skip_excluded:
            return [each for each in found if not each.additional_properties.get("_excluded", False)]
        return found

    async def save_messages(
        self,
        session_id: str | None,
        messages: Sequence[Message],
        *,
        state: dict[str, Any] | None = None,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Appends messages to a session, all or none. Those that repeat the end of its history are passed over.

        Raises:
            InvalidMessage: a message cannot be stored, for example because it is too long; the place is named.
        """
        self._check_open()
        given, (model, usage) = list(messages), _paid.get()
        if not given:
            return

        def write() -> None:
            with self.log(session_id) as log:
                while True:
                    leaf, new = log.leaf_id, given
                    if filter_new_messages is not None:
                        known = [*islice(upwards(log, leaf, len(given) + 1), len(given) + 1)][::-1]
                        new = filter_new_messages([*map(message_of, known)], given)
                    try:
                        if new:
                            append_clean(log, entries_of(new, model, usage), parent_id=leaf, expect_leaf=leaf)
                        return
                    except StaleLeaf:
                        log.refresh()

        await self._engine.write(write)

    async def after_run(self, *, context: Any, **run: Any) -> None:
        """Stores the messages of a run, with its model and its usage."""
        response = context.response
        usage = None if response is None or not response.usage_details else dict(response.usage_details)
        model = getattr(getattr(response, "raw_representation", None), "model", None)
        token = _paid.set((model, usage))
        try:
            await super().after_run(context=context, **run)
        finally:
            _paid.reset(token)

    # --- what a tree adds: the same names in every adapter ---

    def log(self, session_id: str | None) -> AbstractContextManager[Session]:
        """Gives the convtree session: `with provider.log(session_id) as log: log.path()`."""
        self._check_open()
        return self._engine.session(_DEFAULT if session_id is None else session_id)

    async def branches(self, session_id: str | None) -> list[Branch]:
        """Returns the ways that a session went, see `convtree.Session.branches`."""
        return await self._read(session_id, lambda log: log.branches())

    async def branch(self, session_id: str | None, entry: int | str | None) -> None:
        """Goes on behind an earlier message. What followed it stays, as another branch.

        Args:
            session_id: the session.
            entry: the last message to keep: its place in `get_messages()`, counted from the end if it is negative, or
                the id or label of an entry. None begins anew.

        Raises:
            IndexError, EntryNotFound: there is no such message.
        """

        def find(log: Session) -> str | None:
            if not isinstance(entry, int):
                return entry and log.resolve(entry)
            return [each.id for each in upwards(log, log.leaf_id)][::-1][entry]

        await self._move(session_id, find)

    async def checkout(self, session_id: str | None, entry: str) -> None:
        """Goes to the end of the branch that has an entry, by its id or label."""
        await self._move(session_id, lambda log: log.tip(log.resolve(entry)))

    async def delete_session(self, session_id: str | None) -> None:
        """Erases a session with all its branches."""
        self._check_open()
        await self._engine.write(lambda: self._engine.delete(_DEFAULT if session_id is None else session_id))

    def close(self) -> None:
        """Closes the object. Its store is closed when no object of the process uses it any more."""
        self._is_closed = True
        self._engine.close()

    async def _read(self, session_id: str | None, work: Callable[[Session], T]) -> T:
        def read() -> T:
            with self.log(session_id) as log:
                return work(log)

        self._check_open()
        return await self._engine.read(read)

    async def _move(self, session_id: str | None, find: Callable[[Session], str | None]) -> None:
        def write() -> None:
            with self.log(session_id) as log:
                log.branch(find(log))

        self._check_open()
        await self._engine.write(write)

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError(f"{type(self).__name__} is closed")
