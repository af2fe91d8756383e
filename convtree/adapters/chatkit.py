"""The `Store` of OpenAI's ChatKit: threads as trees, in which a retried answer is a sibling.

    from convtree.adapters.chatkit import ConvtreeStore
    server = MyChatKitServer(store=ConvtreeStore("conversations"))

A thread is a session, and an item an entry. What is deleted from the end of a thread, as ChatKit does for a retry,
stays as another branch. The texts of items are messages of chat completions; every other item is extension data.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, cast

from convtree import Branch, MessageEntry, Session
from convtree.adapters import _chatkit_items as items
from convtree.adapters._base import StoreLike
from convtree.adapters._cleaning import append_clean
from convtree.adapters._dumping import dump_clean

try:
    from chatkit.store import NotFoundError, Store
    from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata
    from pydantic import TypeAdapter
except ImportError as error:
    raise ImportError("convtree.adapters.chatkit: run pip install 'convtree[chatkit]'") from error

from convtree.adapters._chatkit_threads import ATTACHMENT, THREAD, Threads, page_of, thread_of

__all__ = ["ConvtreeStore"]

_ITEMS: TypeAdapter[Any] = TypeAdapter(ThreadItem)
_ATTACHMENTS: TypeAdapter[Any] = TypeAdapter(Attachment)


class ConvtreeStore(Store[Any]):
    """Threads of ChatKit in a convtree store. Any number of processes may share it.

    What JSON cannot hold is cleaned. An item that is too long raises `convtree.InvalidMessage`, and nothing is stored.

    Args:
        store: a folder, a URL, or a `convtree.SessionStore`, which stays the caller's.
        owner: returns the owner of a request's threads from ChatKit's context. Threads and attachments of others are
            not found. None: all are everybody's.
    """

    def __init__(self, store: StoreLike = "conversations", *, owner: Callable[[Any], str] | None = None) -> None:
        self._threads = Threads(store, owner)

    # --- threads ---

    async def load_thread(self, thread_id: str, context: Any) -> ThreadMetadata:
        """Returns a thread without its items.

        Raises:
            NotFoundError: there is no such thread.
        """
        return await self._threads.read((thread_id,), context, thread_of)

    async def save_thread(self, thread: ThreadMetadata, context: Any) -> None:
        """Stores a thread, or what has changed of it. Its title is the session's name."""
        fields = set(ThreadMetadata.model_fields)
        dumped = dump_clean(partial(type(thread).model_dump, mode="json", include=fields), thread)
        await self._threads.describe((thread.id,), context, THREAD, dumped, name=thread.title)

    async def load_threads(self, limit: int, after: str | None, order: str, context: Any) -> Page[ThreadMetadata]:
        """Returns a page of threads in the order in which they were created.

        Raises:
            NotFoundError: there is no thread `after`.
        """
        return await self._threads.page(limit, after, descending=order == "desc", context=context)

    async def delete_thread(self, thread_id: str, context: Any) -> None:
        """Erases a thread with all its branches.

        Raises:
            SessionHeld: it is on hold.
        """
        await self._threads.delete((thread_id,), context)

    # --- items ---

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: Any
    ) -> Page[ThreadItem]:
        """Returns a page of a thread's items.

        Raises:
            NotFoundError: there is no such thread, or no item `after`.
        """

        def read(log: Session) -> Page[ThreadItem]:
            found = items.thread_at(log, log.leaf_id).items
            page = page_of(dict(reversed(found.items())) if order == "desc" else found, limit, after)
            data = [_ITEMS.validate_python(each) for each in page.data]
            return Page(data=data, has_more=page.has_more, after=page.after)

        return await self._threads.read((thread_id,), context, read)

    async def load_item(self, thread_id: str, item_id: str, context: Any) -> ThreadItem:
        """Returns an item.

        Raises:
            NotFoundError: there is no such thread or item.
        """

        def read(log: Session) -> ThreadItem:
            found = items.thread_at(log, log.leaf_id).items.get(item_id)
            if found is None:
                raise NotFoundError(f"there is no item {item_id!r} in thread {thread_id!r}")
            return cast(ThreadItem, _ITEMS.validate_python(found))

        return await self._threads.read((thread_id,), context, read)

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: Any) -> None:
        """Stores a new item, behind the others.

        Raises:
            NotFoundError: there is no such thread.
            InvalidMessage: the item cannot be stored, for example because it is too long.
        """
        await self.save_item(thread_id, item, context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: Any) -> None:
        """Stores an item, or what it has become, in its place. What it was stays in the log.

        Raises:
            NotFoundError, InvalidMessage: as `add_thread_item`.
        """
        dumped = dump_clean(partial(_ITEMS.dump_python, mode="json"), item)

        def write(log: Session) -> None:
            leaf = log.leaf_id
            entries = items.entries_of(log, dumped, items.thread_at(log, leaf).entries.get(item.id))
            append_clean(log, entries, parent_id=leaf, expect_leaf=leaf)

        await self._threads.write((thread_id,), context, write)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: Any) -> None:
        """Deletes an item from a thread. At its end, that is a move up: what was there stays as another branch.

        Raises:
            NotFoundError: there is no such thread.
        """

        def write(log: Session) -> None:
            leaf = log.leaf_id
            thread = items.thread_at(log, leaf)
            if item_id not in thread.items:
                return
            rest = {id: item for id, item in thread.items.items() if id != item_id}
            is_there, place = items.place_of(log, leaf, rest)
            if is_there:
                log.branch(place, expect_leaf=leaf)
            else:
                log.append(items.deletion_of(item_id, thread.entries[item_id]), parent_id=leaf, expect_leaf=leaf)

        await self._threads.write((thread_id,), context, write)

    # --- attachments ---

    async def save_attachment(self, attachment: Attachment, context: Any) -> None:
        """Stores what is known of an attachment, in a log of its own, which no list shows."""
        dumped = dump_clean(partial(_ATTACHMENTS.dump_python, mode="json"), attachment)
        await self._threads.describe(_attachment(attachment.id), context, ATTACHMENT, dumped, archived=True)

    async def load_attachment(self, attachment_id: str, context: Any) -> Attachment:
        """Returns what is known of an attachment.

        Raises:
            NotFoundError: there is none with this id.
        """
        found = await self._threads.read(_attachment(attachment_id), context, lambda log: log.metadata[ATTACHMENT])
        return cast(Attachment, _ATTACHMENTS.validate_python(found))

    async def delete_attachment(self, attachment_id: str, context: Any) -> None:
        """Erases what is known of an attachment. The file itself is not here."""
        await self._threads.delete(_attachment(attachment_id), context)

    # --- what a tree adds: the same names in every adapter ---

    def log(self, thread_id: str, context: Any = None) -> AbstractContextManager[Session]:
        """Gives the convtree session of a thread: `with store.log(thread_id) as log: log.path()`.

        Raises:
            SessionNotFound: when the block begins: there is no such thread.
        """
        return self._threads.engine(context).session(thread_id, create=False)

    async def branches(self, thread_id: str, context: Any = None) -> list[Branch]:
        """Returns the ways that a thread went, see `convtree.Session.branches`.

        Raises:
            NotFoundError: there is no such thread.
        """

        def read(log: Session) -> list[Branch]:
            return [each for each in log.branches() if log.path(each.leaf.id, last=1, type=MessageEntry)]

        return await self._threads.read((thread_id,), context, read)

    async def branch(self, thread_id: str, entry: str | None, context: Any = None) -> None:
        """Goes on behind an earlier item. What followed it stays, as another branch.

        Args:
            thread_id: the thread.
            entry: the last item to keep: the item's id, or the id or label of an entry. None begins anew.
            context: ChatKit's context, if the store has owners.

        Raises:
            NotFoundError, EntryNotFound: there is no such thread, or no such item.
        """

        def write(log: Session) -> None:
            log.branch(None if entry is None else items.resolve(log, entry))

        await self._threads.write((thread_id,), context, write)

    async def checkout(self, thread_id: str, entry: str, context: Any = None) -> None:
        """Goes to the end of the branch that has an item; the arguments are those of `branch`."""
        await self._threads.write(
            (thread_id,), context, lambda log: cast(None, log.branch(log.tip(items.resolve(log, entry))))
        )

    def close(self) -> None:
        """Closes the object. Its store is closed when no object of the process uses it any more."""
        self._threads.close()


def _attachment(id: str) -> tuple[str, ...]:
    return ("chatkit", "attachment", id)
