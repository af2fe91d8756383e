"""The `Session` of the OpenAI Agents SDK: history that branches, and compaction that keeps the originals.

    from convtree.adapters.openai_agents import ConvtreeSession
    session = ConvtreeSession("user-42", "conversations")  # in place of SQLiteSession("user-42", "conversations.db")

An item is a message of the shape "openai-responses". The items of a conversation are those on the path to its leaf, so
nothing is destroyed: `pop_item` and `clear_session` move the leaf. A compaction is extension data of the type
`openai.compaction`, below the items that it replaces. Only this adapter reads it, so every other provider is sent the
originals.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import convtree
from convtree import ExtensionDataEntry, MessageEntry
from convtree.adapters._base import StoreLike
from convtree.adapters._conversation import Conversation, Parallel
from convtree.adapters._openai_items import COMPACTION, Item, entry_at, messages_of, upwards

try:
    from agents.memory import SessionSettings
    from agents.memory.session_settings import coerce_session_settings, resolve_session_limit
except ImportError as error:
    raise ImportError("convtree.adapters.openai_agents: run pip install 'convtree[openai-agents]'") from error
try:  # a private part of the SDK, from 0.24 on: without it, a compaction replaces all items
    from agents.memory.session import _CompactionSnapshot
except ImportError:
    _CompactionSnapshot = None

if TYPE_CHECKING:
    from agents import RunContextWrapper, TResponseInputItem

__all__ = ["ConvtreeSession"]

_PROTOCOL = ("get_items", "add_items", "pop_item", "clear_session")


class ConvtreeSession(Conversation):
    """A conversation of the OpenAI Agents SDK in a convtree store.

    Args:
        session_id: any text. If it can be the id of a convtree session it is that, else its key.
        store: a folder, a URL, or a `convtree.SessionStore`, which stays the caller's.
        session_settings: the SDK's settings: `limit`, how many items `get_items` returns at most.
        parallel: what happens when several objects use one conversation at the same time. "line": their items follow
            each other in one line, as with the SDK's own sessions. "branch": each object goes on where it began, so
            runs at the same time become branches.
    """

    def __init__(
        self,
        session_id: str,
        store: StoreLike = "conversations",
        *,
        session_settings: SessionSettings | dict[str, Any] | None = None,
        parallel: Parallel = "line",
    ) -> None:
        self.session_id = session_id
        self.session_settings = coerce_session_settings(session_settings or SessionSettings())
        self._stored_usage: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()  # of a run, by its wrapper
        super().__init__((session_id,), store, parallel)

    # --- the SDK's protocol ---

    async def get_items(
        self, limit: int | None = None, *, wrapper: RunContextWrapper[Any] | None = None
    ) -> list[TResponseInputItem]:
        """Returns the last `limit` items in order; without a limit that of the settings, or all."""
        limit = resolve_session_limit(limit, self.session_settings)
        if wrapper is not None:
            self._stored_usage.setdefault(wrapper, _tokens(wrapper))  # a run that goes on has stored it before
        wanted = None if limit is None or limit < 0 else limit
        items = await self._read(lambda log, leaf: [*islice(upwards(log, leaf, wanted), wanted)])
        return [item.value for item in reversed(items)]

    async def add_items(
        self, items: list[TResponseInputItem], *, wrapper: RunContextWrapper[Any] | None = None
    ) -> None:
        """Appends items, all or none.

        What `json.dumps` takes and a log does not is cleaned: an item says what was changed in `extra["cleaned"]`.

        Raises:
            InvalidMessage: an item cannot be stored, for example because it is too long; the place is named.
        """
        self._engine.check_open()
        if not items:
            return
        usage = None if wrapper is None else self._new_usage(wrapper)
        messages = messages_of(items, usage)
        await self._write(lambda log, leaf: (self._append(log, leaf, messages), None), appends=True)

    async def pop_item(
        self,
        *,
        wrapper: RunContextWrapper[Any] | None = None,  # noqa: ARG002  # the SDK passes it to all four or to none
    ) -> TResponseInputItem | None:
        """Takes the last item from the end of the conversation and returns it. It stays in the tree."""

        def write(log: convtree.Session, leaf: str | None) -> tuple[str | None, Any]:
            items = upwards(log, leaf)
            last = next(items, None)
            if last is None:
                return leaf, None
            if last.entry is not None:
                return self._move(log, leaf, last.entry.parent_id), last.value
            return self._replace(log, leaf, [each.value for each in items][::-1]), last.value

        return await self._write(write)

    async def clear_session(self, *, wrapper: RunContextWrapper[Any] | None = None) -> None:  # noqa: ARG002
        """Goes back to the place before the first item. Nothing is erased: `delete_session` does that."""
        await self._write(lambda log, leaf: (self._move(log, leaf, None), None))

    async def delete_session(self) -> None:
        """Erases the conversation with all its branches."""
        await self._erase()

    async def branch(self, entry: int | str | None) -> None:
        """Goes on behind an earlier item. What followed it stays, as another branch.

        Args:
            entry: the last item to keep: its place in `get_items()` without a limit, counted from the end if it is
                negative, or the id or label of an entry. None begins anew.

        Raises:
            IndexError: there is no item at this place.
            EntryNotFound: there is no such entry.
        """
        if isinstance(entry, int):
            place = entry
            await self._write(lambda log, leaf: (self._move(log, leaf, entry_at(log, leaf, place)), None))
        else:
            await super().branch(entry)

    # --- compaction, by private parts of the SDK ---

    async def _atomic_replace_items(self, items: list[TResponseInputItem]) -> bool:
        if not self._stores_items_as_they_are():
            return False
        await self._write(lambda log, leaf: (self._replace(log, leaf, items), None))
        return True

    async def _get_compaction_snapshot(self, limit: int, *, prune_prefix: Callable[[Any], bool] | None = None) -> Any:
        if _CompactionSnapshot is None or not self._stores_items_as_they_are():
            return None

        def read(log: convtree.Session, leaf: str | None) -> tuple[list[Item], bool, str | None]:
            found = list(islice(upwards(log, leaf, limit + 1), limit + 1))
            return found[:limit][::-1], len(found) <= limit, leaf

        items, complete, seen = await self._read(read)

        async def replace_suffix(start: int, output: list[TResponseInputItem]) -> bool:
            if not items[start:]:
                return False

            def write(log: convtree.Session, leaf: str | None) -> tuple[str | None, bool]:
                if leaf != seen:
                    return leaf, False
                first = items[start]
                if first.entry is not None and prune_prefix is None:
                    return self._replace(log, leaf, output, first.entry), True
                before = [each.value for each in upwards(log, leaf)][::-1][: -len(items[start:])]
                pruned = list(before if prune_prefix is None else dropwhile(prune_prefix, before))
                return self._replace(log, leaf, pruned + output), True

            return await self._write(write)

        return _CompactionSnapshot([item.value for item in items], complete, replace_suffix)

    def _stores_items_as_they_are(self) -> bool:
        """Returns whether no subclass changes items on their way, which a compaction must not bypass."""
        return all(getattr(type(self), name) is getattr(ConvtreeSession, name) for name in _PROTOCOL)

    def _replace(
        self, log: convtree.Session, leaf: str | None, items: list[Any], first: MessageEntry | None = None
    ) -> str | None:
        """Replaces the items from a message on, or all; returns the new leaf."""
        data = {"items": items, "first_replaced": None if first is None else first.id}
        return self._append(log, leaf, [ExtensionDataEntry(ext_type=COMPACTION, data=data)])

    def _new_usage(self, wrapper: RunContextWrapper[Any]) -> dict[str, int] | None:
        """Returns the tokens of a run that no item has yet, and counts them as stored."""
        before, now = self._stored_usage.get(wrapper, {}), _tokens(wrapper)
        self._stored_usage[wrapper] = now
        new = {name: count - before.get(name, 0) for name, count in now.items()}
        return new if any(new.values()) else None


def _tokens(wrapper: RunContextWrapper[Any]) -> dict[str, int]:
    usage = wrapper.usage
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
