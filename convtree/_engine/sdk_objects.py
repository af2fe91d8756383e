"""Turns an argument of `append` (a message, an object of a provider's SDK, an entry) into the entry to store. Pure.

No SDK is imported: an object is recognised by its attributes, and kept as its own SDK would send it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

from convtree._engine import codec
from convtree._engine.json_values import jsonable
from convtree._messages.reading import role_of
from convtree._model.entries import Entry, MessageEntry, Status, Visibility

PINNED_ROLES = frozenset({"system", "developer"})  # messages of these stay in contexts after a compaction


@runtime_checkable
class SDKObject(Protocol):
    """An object of a provider's SDK: a pydantic model."""

    def model_dump(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns the object as plain values."""
        ...


def entry_of(
    item: Entry | Mapping[str, Any] | SDKObject,
    *,
    id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    usage: Mapping[str, Any] | SDKObject | None = None,
    shape: str | None = None,
    visible_to: Visibility = "all",
    pinned: bool | None = None,
    status: Status | None = None,
    extra: Mapping[str, Any] | None = None,
    replaces: str | None = None,
    reply_to: str | None = None,
) -> Entry:
    """Returns the entry to be stored for an argument of `append`.

    Args:
        item: a message, an object of a provider's SDK, or an entry.
        id: the entry's id; None keeps an entry's own, or leaves it empty, for the write batch to fill in.
        provider: as in `message_entry`.
        model: as in `message_entry`.
        usage: as in `message_entry`.
        shape: as in `message_entry`.
        visible_to: as in `message_entry`.
        pinned: as in `message_entry`.
        status: as in `message_entry`.
        extra: as in `message_entry`.
        replaces: the entry that the message replaces; None keeps that of an entry.
        reply_to: the entry that the message answers; None keeps that of an entry.

    Raises:
        InvalidMessage: `id` is not an id.
        TypeError: `item` is not a message or an entry, or an entry came with arguments of messages.
    """
    if id is not None:
        codec.check_id(id, "id")
    if not isinstance(item, Entry):
        return message_entry(
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
            replaces=replaces,
            reply_to=reply_to,
        )
    if visible_to != "all" or any(
        value is not None for value in (provider, model, usage, shape, pinned, status, extra)
    ):
        raise TypeError("an entry brings its own fields; these arguments go with a message only")
    links = {"replaces": replaces, "reply_to": reply_to}
    own: dict[str, Any] = {name: value for name, value in ({"id": id} | links).items() if value is not None}
    if isinstance(item, MessageEntry):
        if item.pinned is None and item.role in PINNED_ROLES:
            own["pinned"] = True
    elif own.keys() & links.keys():
        raise TypeError(f"`replaces` and `reply_to` go with a message only, not with a {type(item).__name__}")
    return msgspec.structs.replace(item, **own) if own else item


def message_entry(
    item: Mapping[str, Any] | SDKObject,
    *,
    id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    usage: Any = None,
    shape: str | None = None,
    visible_to: Visibility = "all",
    pinned: bool | None = None,
    status: Status | None = None,
    extra: Any = None,
    replaces: str | None = None,
    reply_to: str | None = None,
) -> MessageEntry:
    """Makes an entry of a message. Of an SDK's object it keeps the part that may be sent back to its provider.

    Args:
        item: a message, or an object of a provider's SDK.
        id: the entry's id; None leaves it empty, for the write batch to fill in.
        provider: the provider that made the message.
        model: the model that made it; None: as the SDK's object says.
        usage: the tokens it took; None: as the SDK's object says.
        shape: the provider format of the message; None: as the SDK's object says.
        visible_to: who sees the message.
        pinned: whether it survives compactions; None: as its role says.
        status: "interrupted" for a reply that was stopped.
        extra: data to be given back with the message.
        replaces: the entry that the message replaces.
        reply_to: the entry that the message answers.

    Raises:
        TypeError: `item` is not a message; the text says what to pass instead.
    """
    message: Mapping[str, Any]
    if isinstance(item, Mapping):
        message = item
    elif isinstance(item, SDKObject) and not isinstance(item, type):
        message, known = _from_sdk(item)
        model = known.get("model") if model is None else model
        usage = known.get("usage") if usage is None else usage
        shape = known.get("shape") if shape is None else shape
    else:
        raise TypeError(f"append takes a message or an entry, not {type(item).__name__}{_hint(item)}")
    if pinned is None:
        pinned = role_of(message) in PINNED_ROLES
    return MessageEntry(
        id=id or "",
        message=message if isinstance(message, dict) else dict(message),
        provider=provider,
        model=model,
        usage=usage,
        shape=shape,
        visible_to=visible_to,
        pinned=pinned or None,
        status=status,
        extra=dict(extra) if isinstance(extra, Mapping) else extra,
        replaces=replaces,
        reply_to=reply_to,
    )


def _hint(item: Any) -> str:
    if isinstance(item, list | tuple):
        return ": use append_many for several"
    return ': use {"role": …, "content": …}' if isinstance(item, str) else ""


def _from_sdk(item: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the part of an SDK's object that may be sent back, and the fields of an entry that it states."""
    if isinstance(choices := getattr(item, "choices", None), list) and choices:
        facts = {"model": item.model, "usage": item.usage, "shape": "openai-chat"}
        return jsonable(choices[0].message), facts
    if isinstance(getattr(item, "output", None), list) and getattr(item, "object", None) == "response":
        raise TypeError("a Response holds several items: use append_many(r.output, model=r.model, usage=r.usage)")
    if isinstance(candidates := getattr(item, "candidates", None), list) and candidates:
        facts = {"model": item.model_version, "usage": item.usage_metadata, "shape": "gemini"}
        return jsonable(candidates[0].content), facts
    dumped = jsonable(item)
    if dumped.get("type") == "message" and "stop_reason" in dumped and hasattr(item, "usage"):
        message = {"role": dumped["role"], "content": dumped["content"]}
        return message, {"model": dumped["model"], "usage": item.usage, "shape": "anthropic"}
    return dumped, {}
