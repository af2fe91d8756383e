"""The sessions behind pydantic-ai's conversations: sync calls on a store.

A write reads the state of the conversation, says which one it expects, and decides anew if another one was faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace
from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord
from pydantic_ai.exceptions import UserError

from convtree import (
    Branch,
    Entry,
    EntryNotFound,
    MessageEntry,
    Session,
    SessionChanged,
    SessionExists,
    SessionInfo,
    SessionNotFound,
    StaleLeaf,
)
from convtree.adapters import _pydantic_ai_codec as codec
from convtree.adapters._base import Engine, StoreLike, address
from convtree.adapters._cleaning import append_clean, write_clean
from convtree.adapters._kept import Recent

T = TypeVar("T")

_MARK = {"framework": codec.SHAPE}  # metadata by which the sessions are found


class Sessions:
    """The calls of one `ConvtreeConversationStore`. Thread-safe."""

    def __init__(self, store: StoreLike) -> None:
        self.engine = Engine(store, "ConvtreeConversationStore")
        self._places: Recent[str] = Recent()  # the sessions of messages
        self._records: Recent[tuple[str | None, int, ConversationRecord]] = Recent()  # of sessions, for lists

    async def read(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self.engine.read(partial(work, *arguments))

    async def write(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self.engine.write(partial(work, *arguments))

    def open(self, conversation_id: str) -> AbstractContextManager[Session]:
        return self.engine.session(conversation_id, create=False)

    def state(self, conversation_id: str) -> codec.State | None:
        try:
            with self.open(conversation_id) as log:
                state = codec.state_of(log, conversation_id)
        except SessionNotFound:
            return None
        self._remember(state.record, state.session_id)
        return state

    def records(self, scope: str | None) -> list[ConversationRecord]:
        store, found = self.engine.store, []
        owner = None if store.owner else scope or None  # a handle of an owner lists what is theirs
        for info in store.list(owner=owner, metadata=_MARK, limit=None):
            with suppress(SessionNotFound):  # deleted meanwhile
                record = self._listed(info)
                if scope is None or record.scope == scope:
                    found.append(record)
        return sorted(found, key=lambda record: record.updated_at, reverse=True)

    def _listed(self, info: SessionInfo) -> ConversationRecord:
        """Returns the record of a session in a list. The leaf and the number of entries tell whether it is known."""
        known = self._records.get(info.id)
        if known is not None and known[:2] == (info.leaf_id, info.entries):
            return deepcopy(known[2])
        with self.engine.store.open(info.id, read_only=True) as log:
            state = codec.state_of(log)
        if state.leaf_id == info.leaf_id and state.record.deferred_tool_requests is None:  # those may be redacted
            self._records.put(info.id, (info.leaf_id, info.entries, deepcopy(state.record)))
        return state.record

    def save(self, record: ConversationRecord, new: Sequence[ConversationEntry], expected_revision: str | None) -> None:
        _check_chain(record, new)
        entries = [*map(codec.message_entry, new), codec.record_entry(record)]
        base_id = new[0].parent_id if new else record.head_id
        while True:
            state = self.state(record.conversation_id)
            if (None if state is None else state.record.revision) != expected_revision:
                raise ConversationConflict(record.conversation_id)
            try:
                if state is None:
                    session_id = self._begin(record, base_id, entries)
                else:
                    session_id = self._append(record, base_id, entries, state)
            except (StaleLeaf, SessionNotFound):
                continue
            except (SessionExists, EntryNotFound, KeyError):
                raise ConversationConflict(record.conversation_id) from None
            return self._remember(record, session_id)

    def _begin(self, record: ConversationRecord, base_id: str | None, entries: Sequence[Entry]) -> str:
        """Begins a session with entries, or with the path to a message that another session has."""
        store, named = self.engine.store, address(record.conversation_id)
        owner = store.owner or record.scope or None
        if base_id is None:
            with store.create(**named, owner=owner, metadata=_MARK) as log:
                append_clean(log, entries, expect_revision=None)
                return log.id
        named = {f"new_{name}": value for name, value in named.items()}

        def fork(log: Session, entry_id: str) -> str:
            with write_clean(
                lambda then: store.fork(log.id, entry_id, **named, owner=owner, then=then), entries
            ) as forked:
                _mark(forked)
                return forked.id

        return self._at(base_id, fork)

    def _append(
        self, record: ConversationRecord, base_id: str | None, entries: Sequence[Entry], state: codec.State
    ) -> str:
        if record.scope != state.record.scope:
            raise UserError(f"the scope of a conversation stays as it is: {record.conversation_id!r}; fork it instead")
        with self.open(record.conversation_id) as log:
            parent_id = state.leaf_id
            if base_id != state.record.head_id:
                parent_id = codec.end_of_records(log, None if base_id is None else codec.stored_id(base_id))
            append_clean(log, entries, parent_id=parent_id, expect_revision=state.revision)
            if not state.has_record:
                _mark(log)
        return state.session_id

    def delete(self, conversation_id: str, expected_revision: str) -> None:
        while True:
            state = self.state(conversation_id)
            if state is None or state.record.revision != expected_revision:
                raise ConversationConflict(conversation_id)
            with suppress(StaleLeaf, SessionNotFound, SessionChanged):
                self.engine.store.delete(state.session_id, expect_revision=state.revision)
                return

    def history(self, head_id: str | None, limit: int | None) -> list[ConversationEntry]:
        if head_id is None or (limit is not None and limit <= 0):
            return []

        def read(log: Session, entry_id: str) -> list[ConversationEntry]:
            window = None if limit is None else limit + 1
            found = log.path(entry_id, last=window, type=MessageEntry, seen_by="model")
            cut = limit is not None and len(found) > limit
            return codec.conversation_entries(found[cut:], found[0] if cut else None)

        return self._at(head_id, read)

    def branches(self, conversation_id: str) -> list[Branch]:
        with self.open(conversation_id) as log:
            head = next(codec.upwards(log, log.leaf_id), None)
            found: dict[str, Branch] = {}
            for branch in log.branches():
                last = next(codec.upwards(log, branch.leaf.id), None)
                if last is None or not (last == head or _is_end(log, last.id)):
                    continue  # a place that the conversation went back to and left again
                labels = found[last.id].labels if last.id in found else ()
                found[last.id] = replace(branch, leaf=last, labels=(*labels, *branch.labels))
            return list(found.values())

    def end_of(self, conversation_id: str, entry: str) -> str:
        """Returns pydantic-ai's id of the last message on the branch that has a message."""
        with self.open(conversation_id) as log:
            last = next(codec.upwards(log, log.tip(log.resolve(entry))), None)
            if last is None:
                raise EntryNotFound(f"{log.location}: there is no message at {entry!r}", id=entry)
            return codec.id_of(last)

    def _at(self, message_id: str, work: Callable[[Session, str], T]) -> T:
        """Calls a function with a session that has a message, and the message's id there.

        Raises:
            KeyError: no session has it.
        """
        stored = codec.stored_id(message_id)
        for session_id in self._sessions_with(message_id, stored):
            with suppress(SessionNotFound, EntryNotFound), self.engine.store.session(session_id) as log:
                found = next(codec.upwards(log, stored), None)
                if found is not None and found.id == stored:
                    return work(log, stored)
        raise KeyError(message_id)

    def _sessions_with(self, message_id: str, stored: str) -> Iterator[str]:
        known = self._places.get(message_id)
        if known is not None:
            yield known
        yield from self.engine.store.sessions_with(stored)

    def _remember(self, record: ConversationRecord, session_id: str) -> None:
        for id in (*record.branches, record.head_id):
            if id is not None:
                self._places.put(id, session_id)


def _check_chain(record: ConversationRecord, new: Sequence[ConversationEntry]) -> None:
    ids = [each.id for each in new]
    if new and (ids[-1] != record.head_id or ids[:-1] != [each.parent_id for each in new[1:]]):
        raise UserError("new_entries: each has to follow the one before it, and the last has to be the record's head")


def _mark(log: Session) -> None:
    if any(log.metadata.get(name) != value for name, value in _MARK.items()):
        log.update_metadata(_MARK)


def _is_end(log: Session, message_id: str) -> bool:
    """Returns whether no message follows a message."""
    waiting = [message_id]
    while waiting:
        below = log.children(waiting.pop())
        if any(isinstance(each, MessageEntry) for each in below):
            return False
        waiting += [each.id for each in below]
    return True
