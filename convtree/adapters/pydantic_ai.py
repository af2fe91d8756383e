"""The `ConversationStore` of pydantic-ai: a conversation is a session, and a fork a session with a copied path.

    from convtree.adapters.pydantic_ai import ConvtreeConversationStore
    store = ConvtreeConversationStore("conversations")  # in place of InMemoryConversationStore()

A message is an entry of the shape "pydantic-ai" with pydantic-ai's own id. What belongs to no message (usage, deferred
requests, branches, revision) is a record: extension data behind the messages of a save, in the same write. The newest
record counts, and a write is a compare-and-set on the end of the log. pydantic-ai's entry ids name no conversation: the
store remembers where it has seen the ends of histories, and asks the catalogue otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress

from convtree import Branch, Session
from convtree.adapters._base import Closable, StoreLike

try:
    from pydantic_ai.conversation import Conversation
    from pydantic_ai.conversation_store import (
        ConversationConflict,
        ConversationEntry,
        ConversationRecord,
        ConversationStore,
    )
except ImportError as error:
    raise ImportError("convtree.adapters.pydantic_ai: run pip install 'convtree[pydantic-ai]'") from error

from convtree.adapters._pydantic_ai_sessions import Sessions

__all__ = ["ConvtreeConversationStore"]


class ConvtreeConversationStore(ConversationStore, Closable):
    """The conversations of pydantic-ai in a convtree store. Thread-safe; any number of processes may share a store.

    A conversation id is that of the session if it can be one, else its key; `scope` is the session's owner. `branch`
    and a save that rewrites the history keep what they leave as a branch of the tree. Deleting a conversation erases
    its messages; forks have copies and stay whole. Archived conversations are not listed.

    What JSON cannot hold is cleaned, and the entry says what was changed in `extra["cleaned"]`. A message that is too
    long raises `convtree.InvalidMessage` and nothing is stored.

    Args:
        store: a folder, a URL, or a `convtree.SessionStore`, which stays the caller's.
    """

    # The base class is made of private methods of its own: this one attribute and public methods are all there is here.

    def __init__(self, store: StoreLike = "conversations") -> None:
        self._convtree = Sessions(store)

    # --- pydantic-ai's protocol ---

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Returns the record of a conversation, or None if the store does not have it."""
        state = await self._convtree.read(self._convtree.state, conversation_id)
        return None if state is None else state.record

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """Returns the records, of one scope unless None, last saved first; at most `limit`."""
        return (await self._convtree.read(self._convtree.records, scope))[:limit]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Stores a record and the messages that its history adds: all or nothing.

        Raises:
            ConversationConflict: the stored revision is another one, or the history begins at an unknown message.
            UserError: the messages are not the end of the record's history, or the scope has changed.
            InvalidMessage: a message cannot be stored; the place is named.
        """
        await self._convtree.write(self._convtree.save, record, new_entries, expected_revision)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Erases a conversation with all its messages and branches. Forks of it have copies.

        Raises:
            ConversationConflict: the stored revision is another one.
            SessionHeld: the session is on hold.
        """
        await self._convtree.write(self._convtree.delete, conversation_id, expected_revision)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Returns a message by its id, whatever conversation it is in; KeyError if there is none."""
        return (await self._convtree.read(self._convtree.history, entry_id, 1))[-1]

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """Returns the messages down to one, or the last `limit` of them; KeyError if there is no such message."""
        return await self._convtree.read(self._convtree.history, head_id, limit)

    # --- what a tree adds: the same names in every adapter; `branch` is pydantic-ai's ---

    def log(self, conversation_id: str) -> AbstractContextManager[Session]:
        """Gives the convtree session, shared by the process: `with store.log("trip") as log: log.path()`.

        What is appended or moved in it counts for pydantic-ai as well.

        Raises:
            SessionNotFound: when the block begins: there is no such conversation.
        """
        return self._convtree.open(conversation_id)

    async def branches(self, conversation_id: str) -> list[Branch]:
        """Returns the ways that a conversation went. The `leaf` of each is its last message."""
        return await self._convtree.read(self._convtree.branches, conversation_id)

    async def checkout(self, conversation_id: str, entry: str) -> Conversation:
        """Goes to the end of the branch that has a message, by its id or label, and returns the conversation there.

        Raises:
            SessionNotFound, EntryNotFound: there is no such conversation, or message.
        """
        while True:
            end = await self._convtree.read(self._convtree.end_of, conversation_id, entry)
            record = await self.read_record(conversation_id)
            revision = None if record is None else record.revision
            with suppress(ConversationConflict):
                return await self.branch(conversation_id, from_entry=end, expected_revision=revision)

    def close(self) -> None:
        """Closes the object. Its store is closed when no object of the process uses it any more."""
        self._convtree.engine.close()
