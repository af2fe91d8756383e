"""The `Session` of the OpenAI Agents SDK: history that branches, and compaction that keeps the originals.

    from convtree.adapters.openai_agents import ConvtreeSession
    session = ConvtreeSession("user-42", "conversations")  # in place of SQLiteSession("user-42", "conversations.db")

An item is a message of the shape "openai-responses". The items of a conversation are those on the path to its leaf, so
nothing is destroyed: `pop_item` and `clear_session` move the leaf. A compaction is extension data of the type
`openai.compaction`, below the items that it replaces. Only this adapter reads it, so every other provider is sent the
originals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

import convtree
from convtree import BranchSummaryEntry, CompactionEntry, Entry, ExtensionDataEntry, MessageEntry
from convtree.adapters._base import StoreLike
from convtree.adapters._conversation import Conversation, Parallel

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

_SHAPE: Literal["openai-responses"] = "openai-responses"
_COMPACTION = "openai.compaction"
_PROTOCOL = ("get_items", "add_items", "pop_item", "clear_session")


class _Item(NamedTuple):
    """An item of a conversation, with the message that it is, or the entry that it is a part of."""

    value: Any
    entry: MessageEntry | None
    summary: Entry | None = None


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
        return await self._read(lambda log, leaf: [item.value for item in islice(_upwards(log, leaf), wanted)][::-1])

    async def add_items(
        self, items: list[TResponseInputItem], *, wrapper: RunContextWrapper[Any] | None = None
    ) -> None:
        """Appends items, all or none.

        What `json.dumps` takes and a log does not is cleaned: an item says what was changed in `extra["cleaned"]`.

        Raises:
            InvalidMessage: an item cannot be stored, for example because it is too long; the place is named.
        """
        self._check_open()
        if not items:
            return
        usage = None if wrapper is None else self._new_usage(wrapper)
        messages = _messages(items, usage)

        await self._write(lambda log, leaf: (self._append(log, leaf, messages, follows=True), None))

    async def pop_item(
        self,
        *,
        wrapper: RunContextWrapper[Any] | None = None,  # noqa: ARG002  # the SDK passes it to all four or to none
    ) -> TResponseInputItem | None:
        """Takes the last item from the end of the conversation and returns it. It stays in the tree."""

        def write(log: convtree.Session, leaf: str | None) -> tuple[str | None, Any]:
            items = _upwards(log, leaf)
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
            await self._write(lambda log, leaf: (self._move(log, leaf, _entry_at(log, leaf, place)), None))
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

        def read(log: convtree.Session, leaf: str | None) -> tuple[list[_Item], bool, str | None]:
            found = list(islice(_upwards(log, leaf), limit + 1))
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
                before = [each.value for each in _upwards(log, leaf)][::-1][: -len(items[start:])]
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
        return self._append(log, leaf, [ExtensionDataEntry(ext_type=_COMPACTION, data=data)])

    def _new_usage(self, wrapper: RunContextWrapper[Any]) -> dict[str, int] | None:
        """Returns the tokens of a run that no item has yet, and counts them as stored."""
        before, now = self._stored_usage.get(wrapper, {}), _tokens(wrapper)
        self._stored_usage[wrapper] = now
        new = {name: count - before.get(name, 0) for name, count in now.items()}
        return new if any(new.values()) else None


def _tokens(wrapper: RunContextWrapper[Any]) -> dict[str, int]:
    usage = wrapper.usage
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def _messages(items: list[Any], usage: dict[str, int] | None) -> list[MessageEntry]:
    """Returns the entries of items. The last item that a model has written gets the usage."""
    written = [number for number, item in enumerate(items) if _is_output(item)]
    paid = written[-1] if written else len(items) - 1
    return [
        MessageEntry(message=item, shape=_SHAPE, pinned=False, usage=usage if number == paid else None)
        for number, item in enumerate(items)
    ]


def _is_output(item: Any) -> bool:
    kind = str(item.get("type", "message"))
    return item.get("role") == "assistant" if kind == "message" else not kind.endswith("_output")


def _upwards(log: convtree.Session, leaf: str | None) -> Iterator[_Item]:
    """Yields the items of a conversation, the last first."""
    at = leaf
    while at is not None:
        above = None
        for entry in log.walk_up(at):
            if isinstance(entry, MessageEntry) and entry.shape == _SHAPE:
                if log.visible_to(entry) in ("all", "model"):
                    yield _Item(entry.message, entry)
            elif isinstance(entry, ExtensionDataEntry) and entry.ext_type == _COMPACTION:
                for item in reversed(entry.data["items"]):
                    yield _Item(item, None, entry)
                first = entry.data["first_replaced"]
                above = None if first is None else log.entry(first).parent_id
                break
            elif isinstance(entry, MessageEntry | CompactionEntry | BranchSummaryEntry):
                yield from _of_others(log, entry)
                break
        at = above


def _of_others(log: convtree.Session, entry: Entry) -> Iterator[_Item]:
    """Yields what a model should see of a conversation down to an entry that this adapter did not write."""
    request = log.build_context(leaf=entry).to(_SHAPE)
    for item in reversed(request["input"]):
        yield _Item(item, None, entry)
    if request.get("instructions"):
        yield _Item({"role": "system", "content": request["instructions"]}, None, entry)


def _entry_at(log: convtree.Session, leaf: str | None, place: int) -> str:
    """Returns the id of the entry behind which the item at a place is the last one."""
    items = list(_upwards(log, leaf))[::-1]
    item = items[place]
    if item.entry is not None:
        return item.entry.id
    assert item.summary is not None
    following = items[place + 1 :] if place != -1 else []
    if following and following[0].summary is item.summary:
        raise IndexError(f"item {place} is inside of a compaction or of another tool's history; name an entry instead")
    return item.summary.id
