"""pydantic-ai's messages and records as entries of a log, and back. Reads logs, writes none.

An entry holds pydantic-ai's own JSON. What that cannot hold, an object in the result of a tool, becomes its `repr`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeGuard

from pydantic import ConfigDict, TypeAdapter
from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage

from convtree import Entry, ExtensionDataEntry, Mark, MessageEntry, Session, is_session_id, session_key
from convtree.adapters._base import session_id
from convtree.adapters._cleaning import Cleaned
from convtree.adapters._dumping import dump_clean

SHAPE = "pydantic-ai"
_RECORD = "pydantic-ai.record"

# As pydantic-ai's own adapter of messages, but what is not finite stays a number, so that its cleaning is noted.
_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants", defer_build=True)
_MESSAGES: TypeAdapter[list[ModelMessage]] = TypeAdapter(list[ModelMessage], config=_CONFIG)
_RECORDS: TypeAdapter[list[ConversationRecord]] = TypeAdapter(list[ConversationRecord], config=_CONFIG)


def stored_id(id: str) -> str:
    """Returns the id in a log for one of pydantic-ai's, which may be any text. No two share one."""
    return id if is_session_id(id) else session_key(id)


# --- messages ---


def message_entry(entry: ConversationEntry) -> MessageEntry:
    """Returns the entry that stores a message."""
    message, cleaned = _dump(_MESSAGES, entry.message)
    id = stored_id(entry.id)
    extra: dict[str, Any] = {"id": entry.id} if id != entry.id else {}
    if cleaned:
        extra["cleaned"] = cleaned
    return MessageEntry(
        id=id,
        message=message,
        shape=SHAPE,
        provider=message.get("provider_name"),
        model=message.get("model_name"),
        usage=message.get("usage"),
        extra=extra or None,
    )


def upwards(log: Session, entry_id: str | None) -> Iterator[MessageEntry]:
    """Yields the messages of a history, the last first."""
    return log.walk_up(entry_id, type=MessageEntry, seen_by="model")


def conversation_entries(stored: Sequence[MessageEntry], parent: MessageEntry | None) -> list[ConversationEntry]:
    """Returns pydantic-ai's entries for messages that follow each other, the first behind `parent`.

    Raises:
        UserError: a message is none of pydantic-ai's.
    """
    for each in stored:
        if each.shape != SHAPE:
            raise UserError(
                f"entry {each.id!r} is a message of the shape {each.shape!r}, not {SHAPE!r}: another tool wrote it; "
                "go on in another conversation, or branch off above it"
            )
    messages = _MESSAGES.validate_python([each.message for each in stored])
    above = [parent, *stored]
    return [
        ConversationEntry(id=id_of(each), parent_id=None if before is None else id_of(before), message=message)
        for each, before, message in zip(stored, above, messages, strict=False)
    ]


def id_of(entry: MessageEntry) -> str:
    """Returns pydantic-ai's id of a stored message."""
    own: str = (entry.extra or {}).get("id", entry.id)
    return own


# --- records ---


class State(NamedTuple):
    """What a log says about a conversation.

    Attributes:
        record: pydantic-ai's record.
        session_id: the id of the session.
        leaf_id: the entry that the next one continues.
        revision: the log's last record, or an earlier one. A write that expects it changes nothing that is newer.
        has_record: the log has a record of pydantic-ai.
    """

    record: ConversationRecord
    session_id: str
    leaf_id: str | None
    revision: str | None
    has_record: bool


def record_entry(record: ConversationRecord) -> ExtensionDataEntry:
    """Returns the entry that stores a record."""
    data, cleaned = _dump(_RECORDS, record)
    return ExtensionDataEntry(ext_type=_RECORD, data=data | {"cleaned": cleaned} if cleaned else data)


def state_of(log: Session, conversation_id: str | None = None) -> State:
    """Reads the state of a conversation; the log may be written to meanwhile.

    Args:
        log: its session.
        conversation_id: its id; None: as its record says, unless the session is a copy of another one.
    """
    while True:
        revision, leaf_id = log.revision, log.leaf_id
        newest = next((each for _, each in log.records(reverse=True) if _is_record(each)), None)
        record = _imported(log) if newest is None else _RECORDS.validate_python([newest.data])[0]
        if newest is None or newest.id != leaf_id:
            _follow(log, leaf_id, record)
        if log.revision == revision:
            break
    if conversation_id is None:
        conversation_id = record.conversation_id if session_id(record.conversation_id) == log.id else log.id
    record.conversation_id = conversation_id
    return State(record, log.id, leaf_id, revision, newest is not None)


def end_of_records(log: Session, entry_id: str | None) -> str | None:
    """Returns the last of the records behind a message. What goes on there makes no branch of the records.

    Raises:
        EntryNotFound: there is no such message.
    """
    while len(below := log.children(entry_id)) == 1 and _is_record(below[0]):
        entry_id = below[0].id
    return entry_id


def _is_record(each: Entry | Mark) -> TypeGuard[ExtensionDataEntry]:
    return isinstance(each, ExtensionDataEntry) and each.ext_type == _RECORD


def _imported(log: Session) -> ConversationRecord:
    """Returns a record for a session that has none, such as an import: all that is known is what the header says."""
    said = {"updated_at": log.header.timestamp} if log.header.timestamp else {}
    return _RECORDS.validate_python(
        [{"conversation_id": log.id, "head_id": None, "scope": log.header.owner, "revision": "", **said}]
    )[0]


def _follow(log: Session, leaf_id: str | None, record: ConversationRecord) -> None:
    """Changes a record behind which others have moved the leaf, or added messages."""
    messages = upwards(log, leaf_id)
    last = next(messages, None)
    head_id = None if last is None else id_of(last)
    if head_id == record.head_id:
        return
    if record.head_id is not None and all(id_of(each) != record.head_id for each in messages):
        record.branches = [id for id in record.branches if id != record.head_id] + [record.head_id]
    record.branches = [id for id in record.branches if id != head_id]
    record.deferred_tool_requests = None
    record.head_id = head_id
    record.revision = f"{record.revision}@{leaf_id}"


def _dump(adapter: TypeAdapter[Any], value: Any) -> Cleaned:
    """Returns a value as JSON, and what had to be changed for that."""
    return dump_clean(lambda each, fallback: adapter.dump_python([each], mode="json", fallback=fallback)[0], value)
