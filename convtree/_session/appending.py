"""Appending messages and entries: methods of `Session`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, overload

from convtree._engine.leaf import LEAF, AtLeaf, OnStale
from convtree._engine.sdk_objects import SDKObject, entry_of
from convtree._model.entries import Entry, MessageEntry, Status, Visibility
from convtree._session.client import HasClient

E = TypeVar("E", bound=Entry)


@overload
def append(
    self: HasClient,
    item: E,
    /,
    *,
    parent_id: str | AtLeaf | None = LEAF,
    id: str | None = None,
    on_stale: OnStale | None = None,
) -> E: ...
@overload
def append(
    self: HasClient,
    item: Mapping[str, Any] | SDKObject,
    /,
    *,
    parent_id: str | AtLeaf | None = LEAF,
    id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    usage: Mapping[str, Any] | SDKObject | None = None,
    shape: str | None = None,
    visible_to: Visibility = "all",
    pinned: bool | None = None,
    status: Status | None = None,
    extra: Mapping[str, Any] | None = None,
    on_stale: OnStale | None = None,
) -> MessageEntry: ...
def append(
    self: HasClient,
    item: Any,
    /,
    *,
    parent_id: str | AtLeaf | None = LEAF,
    id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    usage: Mapping[str, Any] | SDKObject | None = None,
    shape: str | None = None,
    visible_to: Visibility = "all",
    pinned: bool | None = None,
    status: Status | None = None,
    extra: Mapping[str, Any] | None = None,
    on_stale: OnStale | None = None,
) -> Any:
    """Appends one message or entry and moves the leaf to it; when this returns, it is stored.

    An entry's own `parent_id` and `timestamp` are replaced; its id is kept if it has one.

    Args:
        self: the session.
        item: a message (a dict is always a message), an object of a provider's SDK, or an `Entry`.
        parent_id: the entry to append below; left out, the session's leaf; None, the place before the first
            entry. Branches and appends in one record.
        id: the new entry's id; left out, a fresh one. Makes a retry safe: if it is stored already with equal
            content, the stored entry is returned and nothing is written.
        provider: the provider that made the message.
        model: the model that made the message.
        usage: the tokens it took, as the provider reports them.
        shape: the provider format of the message, as in `Context.to`.
        visible_to: "all", "user" (not in contexts), "model" (for the model only) or "nobody".
        pinned: whether it survives compactions; left out, true for the roles `system` and `developer`.
        status: "interrupted" for a reply that was stopped: its calls without a result count as interrupted.
        extra: data that a framework must get back with the message; never sent to a model.
        on_stale: what to do if another session moved the leaf: "raise", "branch" (continue the leaf that this
            session has seen) or "rebase" (continue the new leaf); left out, as the session was opened with.

    The arguments from `provider` to `extra` go with a message only.

    Raises:
        TypeError: `item` is not a message or an entry, or an entry came with arguments of messages.
        InvalidMessage: a value cannot be stored; the error names the place.
        StaleLeaf: another session moved the leaf (never with `parent_id`).
        EntryNotFound, IdConflict, InvalidCompaction, LeafUncertain, ReadOnlySession, SessionLocked,
        SessionFailed, SessionClosed: nothing was written.
        OSError: the disk refused; the log was cut back to whole lines, or the session is failed.
    """
    entry = entry_of(
        item,
        id=id,
        provider=provider,
        model=model,
        usage=usage,
        shape=shape,
        visible_to=visible_to,
        pinned=pinned,
        status=status,
        extra=extra,
    )
    return self._client.append([entry], parent_id, on_stale)[0]


def append_many(
    self: HasClient,
    items: Iterable[Any],
    /,
    *,
    parent_id: str | AtLeaf | None = LEAF,
    provider: str | None = None,
    model: str | None = None,
    usage: Mapping[str, Any] | SDKObject | None = None,
    shape: str | None = None,
    visible_to: Visibility = "all",
    pinned: bool | None = None,
    status: Status | None = None,
    extra: Mapping[str, Any] | None = None,
    on_stale: OnStale | None = None,
) -> list[Entry]:
    """Appends a chain with one write and one sync.

    Not a transaction: after a crash, a prefix of the chain may be stored. A retry is safe for entries with ids.

    Args:
        self: the session.
        items: messages and entries, as `append` takes them; each is the parent of the next.
        parent_id: the parent of the first, as in `append`.
        provider: as in `append`, for every message.
        model: as in `append`, for every message.
        usage: as in `append`, for the last item if it is a message.
        shape: as in `append`, for every message.
        visible_to: as in `append`, for every message.
        pinned: as in `append`, for every message.
        status: as in `append`, for the last item if it is a message.
        extra: as in `append`, for the last item if it is a message.
        on_stale: as in `append`.

    Raises:
        As `append`.
    """
    listed = list(items)
    common: dict[str, Any] = {"provider": provider, "model": model, "shape": shape}
    common |= {"visible_to": visible_to, "pinned": pinned}
    entries: list[Entry] = []
    for number, item in enumerate(listed, 1):
        own = (
            {}
            if isinstance(item, Entry)
            else common | ({"usage": usage, "status": status, "extra": extra} if number == len(listed) else {})
        )
        entries.append(entry_of(item, **own))
    return self._client.append(entries, parent_id, on_stale) if entries else []
