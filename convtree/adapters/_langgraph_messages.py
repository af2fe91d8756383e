"""Messages of LangChain as messages of a log, and back. Reads no log and writes none.

If the JSON of a message does not give back the same message, the serialized one is kept beside it, in `extra`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeGuard

from langchain_core.messages import BaseMessage, messages_from_dict
from langgraph.checkpoint.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic_core import to_jsonable_python

from convtree import Entry, MessageEntry
from convtree.adapters._cleaning import clean
from convtree.adapters._dumping import dump_clean
from convtree.adapters._langgraph_codec import Packed, derived_id, packed_of, text_of

SHAPE = "langchain"
OWN = "langgraph"  # the key in the `extra` of a message
CHANNELS = ("messages", "__root__")  # that hold the conversation


def conversation_in(values: Mapping[str, Any], serde: SerializerProtocol) -> str | None:
    """Returns the channel that holds messages to be stored as such; None if there is none.

    What a serializer of the user's writes, such as an encrypting one, is not written beside it for everybody to read.
    """
    if not isinstance(serde, JsonPlusSerializer):
        return None
    for name in CHANNELS:
        value = values.get(name)
        if type(value) is list and value and all(isinstance(each, BaseMessage) for each in value):
            return name
    return None


def chain_ids(salt: str, messages: Sequence[Packed]) -> list[str]:
    """Returns the ids of the entries of messages: each stands for all messages up to it."""
    ids, above = list[str](), salt
    for kind, data in messages:
        above = derived_id(above, kind, data)
        ids.append(above)
    return ids


def message_entry(serde: SerializerProtocol, message: BaseMessage, value: Packed, id: str, paid: bool) -> MessageEntry:
    """Returns the entry of a message; `paid`: its tokens are counted in another entry."""
    dumped, replaced = dump_clean(_as_json, message.model_dump())
    said, changes = clean(dumped)
    cleaned = [*replaced, *changes]
    extra: dict[str, Any] = {OWN: None if _says_all(serde, said, value) else text_of(value)}
    if cleaned:
        extra["cleaned"] = cleaned
    stated = message.response_metadata
    model = stated.get("model_name") or stated.get("model")
    return MessageEntry(
        id=id,
        message=said,
        shape=SHAPE,
        provider=_text(stated.get("model_provider")),
        model=_text(model),
        usage=None if paid else clean(dict(getattr(message, "usage_metadata", None) or {})).value or None,
        pinned=False,
        extra=extra,
    )


_as_json = partial(to_jsonable_python, bytes_mode="base64", inf_nan_mode="constants")


def _says_all(serde: SerializerProtocol, said: dict[str, Any], value: Packed) -> bool:
    try:
        return bool(serde.dumps_typed(_message_from(said)) == value)
    except (TypeError, ValueError, KeyError):
        return False


def _message_from(said: dict[str, Any]) -> BaseMessage:
    return messages_from_dict([{"type": said["type"], "data": said}])[0]


def _text(value: Any) -> str | None:
    return clean(value).value if isinstance(value, str) else None


def is_own(entry: Entry) -> TypeGuard[MessageEntry]:
    """Returns whether a message is of a checkpoint, and not of another tool."""
    return isinstance(entry, MessageEntry) and OWN in (entry.extra or {})


def message_of(serde: SerializerProtocol, entry: MessageEntry) -> Any:
    """Returns the message of an entry as LangGraph had it."""
    kept = (entry.extra or {})[OWN]
    return _message_from(entry.message) if kept is None else serde.loads_typed(packed_of(kept))
