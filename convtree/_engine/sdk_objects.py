"""Turns an argument of `append` (a message, a provider's answer, an entry) into the entry to store. Pure.

Objects become plain values first (`plain_objects`), so an object, its dump and its JSON text give the same entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from operator import is_not
from typing import Any, Protocol, TypeAlias

import msgspec

from convtree._engine import codec
from convtree._engine.plain_objects import as_on_wire, is_convertible, plain
from convtree._messages.dialects import ROLES
from convtree._messages.parts import Text, is_plain
from convtree._messages.said import read
from convtree._model.entries import Entry, MessageEntry, Status, Visibility
from convtree._model.errors import InvalidMessage

PINNED_ROLES = frozenset({"system", "developer"})  # messages of these stay in contexts after a compaction


class _Model(Protocol):
    def model_dump(self, *args: Any, **kwargs: Any) -> Any: ...


class _ToDict(Protocol):
    def to_dict(self) -> Any: ...


#: an object of an SDK or a framework: a pydantic model, or an object with `to_dict`. A dataclass is one, too, but no
#: type says so: for a type checker, entries are dataclasses.
SDKObject: TypeAlias = _Model | _ToDict


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
    extra: Mapping[str, Any] | SDKObject | None = None,
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
    fields = (provider, model, usage, shape, pinned, status, extra)
    if visible_to != "all" or any(map(is_not, fields, repeat(None))):
        raise TypeError("an entry brings its own fields; these arguments go with a message only")
    own: dict[str, Any] = {}
    for name, value in ("id", id), ("replaces", replaces), ("reply_to", reply_to):
        if value is not None:
            own[name] = value
    if isinstance(item, MessageEntry):
        if item.pinned is None and item.role in PINNED_ROLES:
            own["pinned"] = True
    elif own.keys() - {"id"}:
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
    """Makes an entry of a message. Of an answer it keeps the message, as it may be sent back to its provider.

    Args:
        item: a message, or an answer that holds one; an object of an SDK or a framework, or a mapping.
        id: the entry's id; None leaves it empty, for the write batch to fill in.
        provider: the provider that made the message; None: as the answer tells.
        model: the model that made it; None: as the answer states.
        usage: the tokens it took; None: as the answer states.
        shape: the format of the message; None: as the answer tells.
        visible_to: who sees the message.
        pinned: whether it survives compactions; None: as its role says.
        status: "interrupted" for a reply that was stopped.
        extra: data to be given back with the message.
        replaces: the entry that the message replaces.
        reply_to: the entry that the message answers.

    Raises:
        TypeError: `item` is not a message; the text says what to pass instead.
        InvalidMessage: an answer has several messages to choose from, or `shape` is unknown.
    """
    if isinstance(item, Mapping):
        value = item if isinstance(item, dict) else dict(item)
    elif is_convertible(item):
        value = plain(item)
    else:
        raise TypeError(f"append takes a message or an entry, not {type(item).__name__}{_hint(item)}")
    if shape is not None:
        check_shape(shape)
    message, stated_shape, facts = _opened(value)
    if pinned is None:
        pinned = _is_of_system(message)
    return MessageEntry(
        id=id or "",
        message=message,
        provider=facts.get("provider") if provider is None else provider,
        model=facts.get("model") if model is None else model,
        usage=facts.get("usage") if usage is None else usage,
        shape=stated_shape if shape is None else shape,
        visible_to=visible_to,
        pinned=pinned or None,
        status=status,
        extra=dict(extra) if isinstance(extra, Mapping) else extra,
        replaces=replaces,
        reply_to=reply_to,
    )


def _is_of_system(message: dict[str, Any]) -> bool:
    """Returns whether a message is the system's, or holds a system text beside others, as pydantic-ai's do.

    A text that every request of its framework repeats is also in the requests that stay.
    """
    role = message.get("role")
    if isinstance(role, str) and role in ROLES:
        return role in PINNED_ROLES
    said = read(message)
    return said.role in PINNED_ROLES or any(
        part.role == "system" and not (isinstance(part, Text) and part.repeats) for part in said.parts
    )


def _hint(item: Any) -> str:
    if isinstance(item, list | tuple):
        return ": use append_many for several"
    return ': use {"role": …, "content": …}' if isinstance(item, str) else ""


def _opened(value: dict[str, Any]) -> tuple[dict[str, Any], str | None, dict[str, Any]]:
    """Returns the message of an answer, or a message as it is; its shape and facts, as far as it states them.

    Raises:
        InvalidMessage: an answer has several messages to choose from.
    """
    if is_plain(value):
        return value, None, {}
    from convtree._messages.frameworks.table import framework_of
    from convtree._messages.wrappers import unwrap

    wrapped = unwrap(value)
    if wrapped is None:
        framework = framework_of(value)
        if framework is not None or "parts" in value:  # others have no bytes: they are on the wire as JSON
            value = as_on_wire(value)
        return value, None, {} if framework is None else framework.stated(value)
    key, count = wrapped.alternatives
    if count > 1:
        inner = {"choices": "message", "candidates": "content"}[key]
        raise InvalidMessage(
            f"{key}: the answer has {count} {key}, and a conversation goes on from one of them; "
            f"append {key}[i].{inner} with model= and usage=, the others as its siblings with parent_id=",
            place=key,
        )
    framework = framework_of(wrapped.message) if wrapped.shape is None else None
    if framework is None:
        return wrapped.message, wrapped.shape, wrapped.facts
    return wrapped.message, framework.name, framework.stated(wrapped.message) | wrapped.facts


def check_shape(shape: str) -> None:
    from convtree._messages.frameworks.table import known_shapes

    names = known_shapes()
    if shape not in names:
        known = ", ".join(map(repr, names))
        raise InvalidMessage(f"shape: there is no shape {shape!r}; expected one of {known}", place="shape")
